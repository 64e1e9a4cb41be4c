"""Activations without a closed form: Mehler's series or quadrature, chosen on the host (T2).

Every expectation needed is E_ij = E[φ⁽ⁱ⁾(u)φ⁽ʲ⁾(v)]; the dual kernel is E_00, that of φ′ is E_11, and
derivatives stay in the family, since a Gaussian density obeys the heat equation (Price's theorem):

    ∂_c E_ij = E_{i+1,j+1},     ∂_a E_ij = ½ E_{i+2,j},     ∂_b E_ij = ½ E_{i,j+2}.

None of these is singular at coincident points or at zero variance. With kinks φ″ has delta functions;
there ∂_a E_00 = (E[u φ′(u) φ(v)] − c E_11)/2a, by parts, and E_11 is differentiated through its rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from brg_prob.activations import mehler
from brg_prob.activations.base import Activation
from brg_prob.activations.quadrature import (
    KINKED_ORDER,
    REACH,
    REACH_PAIRS,
    SMOOTH_ORDER,
    Elementwise,
    gaussian_expectation,
    pair_expectation,
    unit_rule,
)
from brg_prob.activations.stable import Block, Entry, Pairs, geometric_mean, on_blocks, quotient

MAX_DEGREE = 4096  # beyond it quadrature: for tanh, at 1e-10, beyond variances of about 45
DEFAULT_VARIANCE = 2.0
DEFAULT_TOLERANCE = 1e-10
SMOOTH_ORDERS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
KINKED_ORDERS = (40, 60, 80, 120, 160)


@dataclass(frozen=True)
class Numeric:
    """How the dual kernels of φ are computed; the ``numeric`` attribute of an Activation.

    Attributes
    ----------
    name, function
        φ, elementwise, of jax.numpy.
    kinks
        Points where φ, φ′ or φ″ jumps.
    order
        Quadrature nodes per piece, of a coefficient and of each variable of a pair.
    degrees
        Degrees in Mehler's series of φ, those of φ⁽ⁱ⁾ being i less; empty: quadrature.
    """

    name: str
    function: Elementwise
    kinks: tuple[float, ...]
    order: int
    degrees: mehler.Degrees

    def degrees_of(self, *times: int) -> mehler.Degrees:
        """Return the degrees that the series of all these derivatives of φ have."""
        shared = set.intersection(*({k - i for k in self.degrees if k >= i} for i in times))
        return tuple(sorted(shared))

    def coefficients(self, variance: Float[Array, "*points"], *times: int) -> Float[Array, "*points K"]:
        """Return the coefficients of φ⁽ⁱ⁾, i the first of ``times``, at the degrees that all share."""
        function, degrees = nth_derivative(self.function, times[0]), self.degrees_of(*times)
        return mehler.coefficients(function, variance, degrees, self.order)

    def tuned(self, max_variance: float, tolerance: float, max_correlation: float) -> Activation:
        """Return φ computed as cheaply as the variance and the tolerance allow; on the host."""
        return _activation(tune(self, max_variance, tolerance, max_correlation))

    def mean_square(self, variances: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Return E[φ²] at variances (m,), on the host: nothing is compiled for it but φ."""
        order = self.order if self.kinks else SMOOTH_ORDER
        rules = [_host_rule(self.kinks, math.sqrt(v), order) for v in variances]
        nodes, weights = np.stack(rules, axis=1)
        return np.sum(weights * _at_nodes(self, np.sqrt(variances)[:, None] * nodes)[0] ** 2, axis=1)

    def error_estimate(self, a: Entry, b: Entry, c: Entry) -> Pairs:
        """Return an estimate of the error of E_00: bound of the series, error of the quadrature, rounding."""
        if not self.degrees:
            coarse = replace(self, order=_coarser(self.order))
            values = [_expectation(method, 0, 0)(a, b, c) for method in (self, coarse)]
            return jnp.abs(values[0] - values[1]) + 64 * jnp.finfo(c.dtype).eps * jnp.abs(values[0])
        tail, quadrature = zip(*(self._point_error(v) for v in (a, b)), strict=True)
        rho = jnp.abs(mehler.correlation(a, b, c))
        return rho ** (self.degrees[-1] + 1) * geometric_mean(*tail) + jnp.maximum(*quadrature)

    def _point_error(
        self, variance: Float[Array, "*points"]
    ) -> tuple[Float[Array, "*points"], Float[Array, "*points"]]:
        """Return E[φ²] beyond the series, and what a coarser rule, or rounding, changes in E[φ²]."""
        fine, coarse = (
            gaussian_expectation(lambda z: self.function(z) ** 2, variance, order=order)
            for order in (self.order, _coarser(self.order))
        )
        kept = jnp.sum(self.coefficients(variance, 0) ** 2, axis=-1)
        rounding = 8 * jnp.finfo(fine.dtype).eps * fine
        return jnp.maximum(fine - kept, 0), jnp.abs(fine - coarse) + rounding


def _coarser(order: int) -> int:
    return max(3 * order // 4, 8)


@lru_cache(maxsize=1024)
def nth_derivative(function: Elementwise, times: int) -> Elementwise:
    """Return the elementwise derivative, so many times."""
    if times == 0:
        return function
    lower = nth_derivative(function, times - 1)
    return lambda z: jax.jvp(lower, (z,), (jnp.ones_like(z),))[1]


@lru_cache(maxsize=1024)
def derivatives(
    function: Elementwise, count: int
) -> Callable[[Float[Array, "*shape"]], Float[Array, " count *shape"]]:
    """Return the compiled function of φ, φ′, …, (count, …)."""
    return jax.jit(lambda z: jnp.stack([nth_derivative(function, times)(z) for times in range(count)]))


def _value(numeric: Numeric, i: int, j: int, a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return E_ij, by series or by quadrature."""
    if not numeric.degrees:
        if i == j:  # exchanging u and v then changes no digit
            a, b = jnp.maximum(a, b), jnp.minimum(a, b)
        order = numeric.order if numeric.kinks else math.ceil(numeric.order * REACH_PAIRS / REACH)
        f, g = (nth_derivative(numeric.function, times) for times in (i, j))
        return pair_expectation(f, g, a, b, c, order=order, kinks=numeric.kinks)
    left, right = numeric.coefficients(a, i, j), numeric.coefficients(b, j, i)
    return mehler.series(left, right, mehler.correlation(a, b, c), numeric.degrees_of(i, j))


def _variance_slope(numeric: Numeric, i: int, j: int, a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return ∂_a E_ij."""
    if not numeric.kinks:
        return _expectation(numeric, i + 2, j)(a, b, c) / 2
    slope, function = nth_derivative(numeric.function, 1), numeric.function
    weighted = pair_expectation(
        lambda z: z * slope(z), function, a, b, c, order=numeric.order, kinks=numeric.kinks
    )
    return quotient(weighted - c * _expectation(numeric, 1, 1)(a, b, c), 2 * a)


@lru_cache(maxsize=1024)
def _expectation(numeric: Numeric, i: int, j: int) -> Block:
    """Return E_ij(a, b, c), differentiable."""
    if numeric.kinks and (i, j) != (0, 0):
        return lambda a, b, c: _value(numeric, i, j, a, b, c)

    @jax.custom_jvp
    def expectation(a: Entry, b: Entry, c: Entry) -> Pairs:
        return _value(numeric, i, j, a, b, c)

    @expectation.defjvp
    def _jvp(primals: Any, tangents: Any) -> tuple[Pairs, Pairs]:
        a, b, c = primals
        da, db, dc = tangents
        change = _variance_slope(numeric, i, j, a, b, c) * da + _variance_slope(numeric, j, i, b, a, c) * db
        return expectation(a, b, c), change + _expectation(numeric, i + 1, j + 1)(a, b, c) * dc

    return expectation


@lru_cache(maxsize=256)
def _activation(numeric: Numeric) -> Activation:
    slope = nth_derivative(numeric.function, 1)
    return Activation(
        numeric.name,
        lambda z, _: numeric.function(z),
        on_blocks(_expectation(numeric, 0, 0)),
        on_blocks(_expectation(numeric, 1, 1)),
        lambda z, _: slope(z),
        kinks=numeric.kinks,
        numeric=numeric,
    )


@lru_cache(maxsize=256)
def numeric_activation(name: str, function: Elementwise, kinks: tuple[float, ...] = ()) -> Activation:
    """Return φ by series good to 1e-10 of E[φ²] up to variance 2, or with kinks by quadrature."""
    untuned = Numeric(name, function, kinks, KINKED_ORDER if kinks else SMOOTH_ORDER, ())
    return _activation(tune(untuned, DEFAULT_VARIANCE, DEFAULT_TOLERANCE, 1.0))


# -- the choice of a method, on the host


@lru_cache(maxsize=256)
def tune(numeric: Numeric, max_variance: float, tolerance: float, max_correlation: float) -> Numeric:
    """Return the cheapest method good to ``tolerance``, relative to E[φ²] and E[φ′²], up to a variance.

    Raises
    ------
    ValueError
        φ or φ′ is not finite at a node.
    """
    tolerance = max(tolerance, 16 * float(jnp.finfo(jnp.result_type(float)).eps))
    order = _enough_nodes(numeric, max_variance, tolerance / 10)
    degrees = () if numeric.kinks else _enough_degrees(numeric, max_variance, tolerance, max_correlation)
    if degrees:
        order = max(order + mehler.extra_nodes(degrees[-1]), SMOOTH_ORDER)
    return replace(numeric, order=order, degrees=degrees)


def _at_nodes(numeric: Numeric, nodes: Float[np.ndarray, "*nodes"]) -> Float[np.ndarray, " 2 *nodes"]:
    """Return φ and φ′ at nodes, (2, …), as numbers even while something else is being traced."""
    with jax.ensure_compile_time_eval():
        return np.asarray(derivatives(numeric.function, 2)(jnp.asarray(nodes)), float)


def _host_rule(
    kinks: tuple[float, ...], scale: float, order: int
) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Return the nodes and weights of :func:`gaussian_expectation` as numpy arrays."""
    x, w = unit_rule(order, not kinks)
    cuts = np.clip(np.asarray(kinks) / scale, -REACH, REACH) if scale > 0 else np.zeros(len(kinks))
    edges = np.concatenate([[-REACH], np.sort(cuts), [REACH]])
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    nodes = (middle[:, None] + half[:, None] * x).ravel()
    return nodes, (half[:, None] * w).ravel() * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)


def _enough_nodes(numeric: Numeric, max_variance: float, tolerance: float) -> int:
    """Return the first order as good as the largest for E[φ²] and E[φ′²], to ``tolerance``."""
    orders = KINKED_ORDERS if numeric.kinks else SMOOTH_ORDERS
    scale = math.sqrt(max_variance)
    rules = [_host_rule(numeric.kinks, scale, order) for order in orders]
    values = _at_nodes(numeric, scale * np.concatenate([nodes for nodes, _ in rules]))
    if not np.isfinite(values).all():
        raise ValueError(
            f"activation {numeric.name} or its derivative is not finite within {REACH:g} standard deviations"
            f" of variance {max_variance:g}; use smaller variances or another function"
        )
    pieces = np.split(values**2, np.cumsum([len(w) for _, w in rules])[:-1], axis=-1)
    squares = np.array([piece @ w for piece, (_, w) in zip(pieces, rules, strict=True)])
    good = (np.abs(squares - squares[-1]) <= tolerance * squares[-1]).all(axis=1)
    return orders[int(np.argmax(good))]


def _enough_degrees(
    numeric: Numeric, max_variance: float, tolerance: float, max_correlation: float
) -> mehler.Degrees:
    """Return the degrees of φ that bring the bounds of E_00 and E_11 below ``tolerance``, or none."""
    order = SMOOTH_ORDERS[-1]
    scales = np.sqrt(max_variance) / 2.0 ** np.arange(4)
    values = _at_nodes(numeric, scales[:, None] * REACH * unit_rule(order, True)[0])
    rows, coefficients = mehler.hermite_rows(order), np.empty((2, 4, 0))
    # as in `tuned`: relative to the largest variance, which is the first
    norms = values**2 @ next(mehler.hermite_rows(order))
    largest = np.maximum(norms[:, :1, None], np.finfo(float).tiny)
    while coefficients.shape[-1] < MAX_DEGREE:
        more = values @ np.stack(list(islice(rows, 128)), axis=1)
        coefficients = np.concatenate([coefficients, more], axis=-1)
        tails = np.maximum(norms[..., None] - np.cumsum(coefficients**2, axis=-1), 0)
        powers = max_correlation ** np.arange(1, coefficients.shape[-1] + 1)
        enough = np.flatnonzero((tails / largest).max(axis=(0, 1)) * powers <= tolerance)
        # φ needs one degree more than φ′; multiples of 8 let similar calls share compiled code
        highest = 8 * (int(enough[0]) // 8 + 1) + 1 if len(enough) else MAX_DEGREE
        if highest < coefficients.shape[-1]:
            size = np.abs(coefficients[0, :, : highest + 1]) / np.sqrt(largest[0])
            return mehler.present_degrees(size.max(axis=0))
    return ()
