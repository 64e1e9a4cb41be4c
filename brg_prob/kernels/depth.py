"""Depth as an RG direction: the flow of the kernel, its fixed points and its phases (T15).

Of one input, K^{l+1} = σ_b² + σ_w²⟨φ²⟩_K; of two of equal variance K, c′ = (σ_b² + σ_w² E[φφ])/K′
for their correlation c. Around a fixed point K* deviations of K shrink by χ_∥ per layer, and
those of c from 1 by χ_⊥.

Sources: Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, arXiv:1611.01232; Roberts, Yaida, Hanin,
arXiv:2106.10165, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real
from scipy.optimize import brentq

from brg_prob.activations import Activation, gaussian_expectation, moments
from brg_prob.activations import activation as resolved
from brg_prob.kernels.checked_options import any_traced
from brg_prob.kernels.tuned_activations import tuned_to

SMALL = 2.0**-40  # a variance that stands for K → 0
LARGE = 2.0**40  # and one for K → ∞
ORDER = 2048  # nodes of a smooth φ without a closed form: tanh to rounding error up to K of about 100
CRITICAL = 1e-6  # |χ_⊥ − 1| below which a network counts as critical

Values = Float[Array, "*shape"]
Number = Real[ArrayLike, ""]


class Susceptibilities(NamedTuple):
    """How fast deviations grow per layer.

    Attributes
    ----------
    parallel
        χ_∥ = σ_w² d⟨φ²⟩_K/dK, equal to σ_w²/(2K²) ⟨φ²(z² − K)⟩ where φ does not depend on K.
    perpendicular
        χ_⊥ = σ_w²⟨φ′²⟩_K; infinite for sign and step.
    """

    parallel: Values
    perpendicular: Values


@dataclass(frozen=True)
class FixedPoint:
    """Where the kernel flows to with depth.

    Attributes
    ----------
    variance
        K*: 0 and ∞ are limits, at which the rest is the limit too.
    parallel, perpendicular
        χ_∥ and χ_⊥ at K*.
    phase
        ``ordered`` (χ_⊥ < 1), ``critical`` or ``chaotic`` (χ_⊥ > 1).
    correlation
        c*, to which the correlation of two different inputs flows; None where K* is 0 or ∞.
    variance_length
        −1/log |χ_∥|, layers over which K forgets the input; ∞ where |χ_∥| ≥ 1.
    correlation_length
        ξ = −1/log of the slope of the correlation map at c*, layers; None where K* is 0 or ∞.
    """

    variance: float
    parallel: float
    perpendicular: float
    phase: str
    correlation: float | None
    variance_length: float
    correlation_length: float | None


def susceptibilities(
    activation: Any, variance: Real[ArrayLike, "*#shape"], weight_variance: Real[ArrayLike, "*#shape"] = 1.0
) -> Susceptibilities:
    """Return χ_∥ and χ_⊥ of one layer at a variance K of its pre-activations (T15).

    Parameters
    ----------
    activation
        A name, a function or an Activation.
    variance
        K, any shape; 0 means the limit K → 0.
    weight_variance
        σ_w², broadcast against K.

    Examples
    --------
    >>> parallel, perpendicular = susceptibilities("relu", 3.0, 2.0)
    >>> round(float(parallel), 6), round(float(perpendicular), 6)
    (1.0, 1.0)
    """
    act = resolved(activation)
    k, weight = jnp.broadcast_arrays(
        jnp.asarray(variance, dtype=float), jnp.asarray(weight_variance, dtype=float)
    )
    return Susceptibilities(*_susceptibilities(act, k, weight))


@partial(jax.jit, static_argnames="act")
def _susceptibilities(act: Activation, k: Values, weight: Values) -> tuple[Values, Values]:
    k = jnp.maximum(k, SMALL)
    if act.numeric is None:
        _, parallel = jax.jvp(lambda k: act.dual(k, k, k), (k,), (jnp.ones_like(k),))
        perpendicular = act.dual_derivative(k, k, k)
    else:
        found = moments(act, k, order=None if act.kinks else ORDER)
        parallel, perpendicular = found.stretch, found.slope_square
    if act.name in ("sign", "step"):  # a jump; the convention φ′ = 0 would call it ordered
        perpendicular = jnp.full_like(k, jnp.inf)
    return weight * parallel, weight * perpendicular


def correlation_map(
    activation: Any,
    correlation: Real[ArrayLike, "*#shape"],
    *,
    variance: Real[ArrayLike, "*#shape"],
    weight_variance: Number,
    bias_variance: Number,
) -> Values:
    """Return c′, the correlation one layer on of two inputs of variance K and correlation c (T15).

    Parameters
    ----------
    activation
        A name, a function or an Activation.
    correlation, variance
        c in [−1, 1] and K > 0, broadcast against each other; K* for the map at the fixed point.
    weight_variance, bias_variance
        σ_w² and σ_b².

    Examples
    --------
    >>> options = dict(variance=1.0, weight_variance=2.0, bias_variance=0.0)
    >>> (
    ...     round(float(correlation_map("relu", 0.0, **options)), 4),
    ...     float(correlation_map("relu", 1.0, **options)),
    ... )
    (0.3183, 1.0)
    """
    c, k = jnp.broadcast_arrays(jnp.asarray(correlation, dtype=float), jnp.asarray(variance, dtype=float))
    act = resolved(activation)
    if not any_traced(k):
        act = tuned_to(act, float(k.max()))
    return _correlation(act, c, k, weight_variance, bias_variance)


@partial(jax.jit, static_argnames="act")
def _correlation(act: Activation, c: Values, k: Values, weight: Any, bias: Any) -> Values:
    return (bias + weight * act.dual(k, k, c * k)) / (bias + weight * act.dual(k, k, k))


def fixed_correlation(
    activation: Any, *, variance: float, weight_variance: float, bias_variance: float
) -> float:
    """Return c*, to which the correlation of two inputs of variance K* flows from 0 ≤ c < 1 (T15).

    The map is a power series of c with coefficients that are not negative, so it is convex on
    [0, 1]: c* = 1 where its slope there is at most 1, and otherwise the one fixed point below.

    Parameters
    ----------
    activation
        A name, a function or an Activation.
    variance
        K*, positive and finite.
    weight_variance, bias_variance
        σ_w² and σ_b².

    Examples
    --------
    >>> fixed_correlation("relu", variance=1.0, weight_variance=1.0, bias_variance=0.5)
    1.0
    """
    act, k = tuned_to(resolved(activation), variance), jnp.asarray(variance, dtype=float)

    def excess(c: float) -> float:
        return float(_correlation(act, jnp.asarray(c, dtype=float), k, weight_variance, bias_variance)) - c

    slope = float(_slope(act, jnp.ones_like(k), k, weight_variance, bias_variance))
    if slope <= 1 + CRITICAL:
        return 1.0
    if excess(0.0) <= 4 * float(jnp.finfo(k.dtype).eps):
        return 0.0
    gap = 0.5  # negative all the way from c* to 1
    while excess(1 - gap) >= 0:
        gap /= 2
        if gap < SMALL:
            return 1.0
    return _root(excess, 1 - 2 * gap, 1 - gap)


@partial(jax.jit, static_argnames="act")
def _slope(act: Activation, c: Values, k: Values, weight: Any, bias: Any) -> Values:
    """Return dc′/dc; at c = 1 it is χ_⊥ K/K′."""
    inside = act.dual_derivative(k, k, c * k)
    at_one = _susceptibilities(act, k, jnp.ones_like(k))[1]
    return weight * k * jnp.where(c == 1, at_one, inside) / (bias + weight * act.dual(k, k, k))


def fixed_point(
    activation: Any, *, weight_variance: float, bias_variance: float, start: float = 1.0
) -> FixedPoint:
    """Return the fixed point that the variance flows to with depth, and what happens around it (T15).

    Parameters
    ----------
    activation
        A name, a function or an Activation, with ⟨φ²⟩_K monotone between the start and K*.
    weight_variance, bias_variance
        σ_w² and σ_b², of every layer.
    start
        K¹ > 0, from which the flow starts. Where every K is a fixed point (critical ReLU), it is K*.

    Raises
    ------
    ValueError
        A variance that is negative or not finite, or a start that is not positive.

    Examples
    --------
    >>> point = fixed_point("erf", weight_variance=1.0, bias_variance=0.5)
    >>> point.phase, point.correlation
    ('ordered', 1.0)
    >>> fixed_point("relu", weight_variance=2.0, bias_variance=0.0, start=3.0).variance
    3.0
    """
    act = resolved(activation)
    for name, value in (("weight_variance", weight_variance), ("bias_variance", bias_variance)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} = {value} must be finite and not negative")
    if not 0 < start < math.inf:
        raise ValueError(f"start = {start} must be a positive, finite variance")
    variance = _fixed_variance(act, float(weight_variance), float(bias_variance), float(start))
    at = min(max(variance, SMALL), LARGE)
    parallel, perpendicular = (float(chi) for chi in susceptibilities(act, at, weight_variance))
    correlation, length = None, None
    if 0 < variance < math.inf:
        options = dict(weight_variance=weight_variance, bias_variance=bias_variance)
        correlation = fixed_correlation(act, variance=variance, **options)
        k = jnp.asarray(variance, dtype=float)
        slope = _slope(
            tuned_to(act, variance), jnp.asarray(correlation, dtype=float), k, weight_variance, bias_variance
        )
        length = _length(float(slope))
    return FixedPoint(
        variance, parallel, perpendicular, _phase(perpendicular), correlation, _length(parallel), length
    )


def phase(activation: Any, *, weight_variance: float, bias_variance: float, start: float = 1.0) -> str:
    """Return ``ordered``, ``critical`` or ``chaotic``: χ_⊥ below, at or above 1 at K* (T15).

    Parameters, Raises
        As :func:`fixed_point`. Critical means |χ_⊥ − 1| ≤ 1e-6.

    Examples
    --------
    >>> phase("relu", weight_variance=2.0, bias_variance=0.0)
    'critical'
    """
    return fixed_point(
        activation, weight_variance=weight_variance, bias_variance=bias_variance, start=start
    ).phase


def critical_weight_variance(activation: Any) -> float:
    """Return the σ_w² that makes a network without biases critical, lim K/⟨φ²⟩_K as K → 0 (T15).

    χ_∥ = χ_⊥ = 1 at every K for the scale-invariant class (identity 1, ReLU 2, leaky ReLU
    2/(1 + α²)); and at K* = 0, σ_w² = 1/φ′(0)², where φ(0) = 0 and φ′(0) ≠ 0 (tanh 1, erf π/4).
    Of the latter K* = 0 attracts only if ⟨φ²⟩_K/K falls with K: GELU and swish leave it.

    Raises
    ------
    ValueError
        An activation of neither class.

    Examples
    --------
    >>> round(critical_weight_variance("relu"), 6), round(critical_weight_variance("erf"), 6)
    (2.0, 0.785398)
    """
    act = resolved(activation)
    k = jnp.asarray([1e-5, 2e-5], dtype=float)
    one, two = (float(r) for r in _square(act, k) / k)
    if not (one > 0 and abs(two / one - 1) < 1e-2):
        raise ValueError(
            f"activation {act.name!r} has no critical weight variance without biases: "
            "it needs φ(0) = 0 and a finite slope at 0 on one side at least"
        )
    return 1 / (2 * one - two)  # the limit, the slope in K taken out


def _fixed_variance(act: Activation, weight: float, bias: float, start: float) -> float:
    """Return the first zero of K′ − K in the direction of the flow, 0 or ∞ if there is none."""

    def excess(k: float) -> float:
        return float(_next_variance(act, jnp.asarray(k, dtype=float), weight, bias)) - k

    noise = 8 * float(jnp.finfo(jnp.result_type(float)).eps)
    here = excess(start)
    if abs(here) <= noise * start:
        return start
    factor, near = (2.0 if here > 0 else 0.5), start
    while SMALL * min(start, 1.0) < near < LARGE * max(start, 1.0) or (0 < near <= bias):
        far = factor * near
        value = excess(far)
        if value == 0 or (value > 0) != (here > 0):
            return _root(excess, min(near, far), max(near, far))
        near = far
    return math.inf if here > 0 else 0.0


@partial(jax.jit, static_argnames="act")
def _next_variance(act: Activation, k: Values, weight: Any, bias: Any) -> Values:
    return bias + weight * _square(act, k)


def _square(act: Activation, k: Values) -> Values:
    """Return ⟨φ²⟩_K: without a closed form at any variance, which a tuned dual kernel is not for."""
    if act.numeric is None:
        return act.dual(k, k, k)
    return gaussian_expectation(lambda z: act(z) ** 2, k, order=None if act.kinks else ORDER, kinks=act.kinks)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=4e-16 * max(high, 1e-300), rtol=1e-15))


def _length(slope: float) -> float:
    """Return the number of layers in which a deviation falls by e."""
    if abs(slope) >= 1 - CRITICAL:
        return math.inf
    return -1 / math.log(abs(slope)) if slope else 0.0


def _phase(perpendicular: float) -> str:
    if abs(perpendicular - 1) <= CRITICAL:
        return "critical"
    return "ordered" if perpendicular < 1 else "chaotic"
