"""Activations whose dual kernels are closed forms (T2, T14).

With u, v of variances a, b and covariance c, s = √(ab − c²) and ω = π/2 + arcsin(c/√(ab)):

* leaky ReLU of slope α (ReLU: 0, abs: −1):  α c + (1 − α)² (s + c ω)/2π;  derivatives α + (1 − α)² ω/2π;
* step ω/2π and sign (2/π) arcsin(c/√(ab)), whose φ′ is taken as 0;
* erf (2/π) arcsin(2c/√((1 + 2a)(1 + 2b)));  sin e^{−(a+b)/2} sinh c;  cos the same with cosh;
* z^k Σ_j C(k, j)² j! ((k−j−1)!!)² (ab)^{(k−j)/2} c^j, by Isserlis' theorem, j = k, k − 2, … cross pairs;
* GELU from the erf kernel by parts, see :func:`_gelu_dual`;
* the normalised exponential φ(z) = e^{z−q}, q the prior variance of z: e^{c−(a+b)/2}, φ′ = φ.

Sources: Cho and Saul, NeurIPS 22 (2009); Williams, NeurIPS 9 (1996); Tsuchida, Pearce, van der Heide,
Roosta, Gallagher, arXiv:2002.08517 (GELU); Halverson, Maiti, Stoner, arXiv:2008.08601 (exponential).
"""

from __future__ import annotations

import math
from functools import cache

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import erf
from jax.scipy.stats import norm
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from brg_prob.activations.base import Activation
from brg_prob.activations.stable import (
    Entry,
    Pairs,
    angle,
    arc_one,
    arc_sine,
    arc_zero,
    arcsine,
    gap,
    on_blocks,
)

MAX_POWER = 64  # beyond it the coefficients of the dual leave float64's comfortable range


def _zeros(a: Entry, b: Entry, c: Entry) -> Pairs:
    return jnp.zeros(jnp.broadcast_shapes(a.shape, b.shape, c.shape), c.dtype)


# -- piecewise linear and piecewise constant


@cache
def leaky_relu(slope: float, name: str = "") -> Activation:
    """Return φ(z) = z for z > 0, slope·z below; φ′(0) is the mean of both sides."""
    weight = (1 - slope) ** 2 / (2 * math.pi)
    return Activation(
        name or f"leaky_relu({slope!r})",
        lambda z, _: jnp.where(z > 0, z, slope * z),
        on_blocks(lambda a, b, c: slope * c + weight * arc_one(a, b, c)),
        on_blocks(lambda a, b, c: slope + weight * arc_zero(a, b, c)),
        lambda z, _: (1 + slope) / 2 + (1 - slope) / 2 * jnp.sign(z),
        kinks=(0.0,),
    )


STEP = Activation(
    "step",
    lambda z, _: (1 + jnp.sign(z)) / 2,
    on_blocks(lambda a, b, c: arc_zero(a, b, c) / (2 * math.pi)),
    on_blocks(_zeros),
    lambda z, _: jnp.zeros_like(z),
    kinks=(0.0,),
)
"""The Heaviside step, ½ at 0."""


SIGN = Activation(
    "sign",
    lambda z, _: jnp.sign(z),
    on_blocks(lambda a, b, c: 2 / math.pi * arc_sine(a, b, c)),
    on_blocks(_zeros),
    lambda z, _: jnp.zeros_like(z),
    kinks=(0.0,),
)
"""The sign, 0 at 0."""


# -- smooth


IDENTITY = Activation(
    "identity",
    lambda z, _: z,
    on_blocks(lambda a, b, c: c + _zeros(a, b, c)),
    on_blocks(lambda a, b, c: 1 + _zeros(a, b, c)),
    lambda z, _: jnp.ones_like(z),
)
"""Φ(z) = z."""


def _erf_sine(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return √((1 + 2a)(1 + 2b) − 4c²), at least 1."""
    return jnp.sqrt(1 + 2 * (a + b) + 4 * gap(a, b, c))


ERF = Activation(
    "erf",
    lambda z, _: erf(z),
    on_blocks(lambda a, b, c: 2 / math.pi * arcsine(2 * c, _erf_sine(a, b, c))),
    on_blocks(lambda a, b, c: 4 / math.pi / _erf_sine(a, b, c)),
    lambda z, _: 2 / math.sqrt(math.pi) * jnp.exp(-z * z),
)
"""Φ(z) = erf z."""


def _cos_dual(a: Entry, b: Entry, c: Entry) -> Pairs:
    half = (a + b) / 2
    return (jnp.exp(c - half) + jnp.exp(-c - half)) / 2


def _sin_dual(a: Entry, b: Entry, c: Entry) -> Pairs:
    # sinh c = e^{−c} expm1(2c)/2, from the side where nothing overflows
    half = (a + b) / 2
    below = jnp.where(c < 0, c, -c)
    return jnp.where(c < 0, 0.5, -0.5) * jnp.exp(-below - half) * jnp.expm1(2 * below)


SINE = Activation(
    "sin", lambda z, _: jnp.sin(z), on_blocks(_sin_dual), on_blocks(_cos_dual), lambda z, _: jnp.cos(z)
)
"""Φ(z) = sin z."""


COSINE = Activation(
    "cos", lambda z, _: jnp.cos(z), on_blocks(_cos_dual), on_blocks(_sin_dual), lambda z, _: -jnp.sin(z)
)
"""Φ(z) = cos z."""


def _isserlis(power: int, a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return E[u^k v^k], the sum over the number j of pairs that cross between u and v."""
    terms = _zeros(a, b, c)
    for j in range(power, -1, -2):
        odd = math.prod(range(power - j - 1, 0, -2))
        terms = (
            terms
            + math.comb(power, j) ** 2
            * math.factorial(j)
            * odd**2
            * 1.0
            * (a * b) ** ((power - j) // 2)
            * c**j
        )
    return terms


@cache
def monomial(power: int) -> Activation:
    """Return φ(z) = z^power."""
    return Activation(
        f"monomial({power})",
        lambda z, _: z**power,
        on_blocks(lambda a, b, c: _isserlis(power, a, b, c)),
        on_blocks(lambda a, b, c: power**2 * _isserlis(power - 1, a, b, c)),
        lambda z, _: power * z ** (power - 1),
    )


def _gelu_parts(a: Entry, b: Entry, c: Entry) -> tuple[Pairs, Pairs, Pairs, Pairs]:
    """Return Δ = (1+a)(1+b) − c², √Δ, m = 1/(1+a) + 1/(1+b), and ω = π/2 + arcsin(c/√((1+a)(1+b)))."""
    delta = 1 + a + b + gap(a, b, c)
    side = jnp.sqrt(delta)
    return delta, side, 1 / (1 + a) + 1 / (1 + b), angle(c, side)


def _gelu_dual(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return E[uΦ(u) vΦ(v)] = (c ω + (ab − c² + c² m)/√Δ)/2π.

    By parts it is c E[ΦΦ] + (ab + c²) E[nn] + ac E[Φ″Φ] + bc E[ΦΦ″], n = Φ′, where E[ΦΦ] = ω/2π,
    E[nn] = 1/(2π√Δ) and, by the heat equation, E[Φ″Φ] = 2 ∂_a E[ΦΦ] = −c/(2π(1 + a)√Δ).
    """
    _, side, m, omega = _gelu_parts(a, b, c)
    return (c * omega + (gap(a, b, c) + c * c * m) / side) / (2 * math.pi)


def _gelu_dual_derivative(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return ∂_c of the dual (Price's theorem): (ω + c (2m + (c² m − 1 − a − b)/Δ)/√Δ)/2π."""
    delta, side, m, omega = _gelu_parts(a, b, c)
    return (omega + c * (2 * m + (c * c * m - 1 - a - b) / delta) / side) / (2 * math.pi)


GELU = Activation(
    "gelu",
    lambda z, _: jax.nn.gelu(z, approximate=False),
    on_blocks(_gelu_dual),
    on_blocks(_gelu_dual_derivative),
    lambda z, _: norm.cdf(z) + z * norm.pdf(z),
)
"""Φ(z) = zΦ(z), Φ the normal distribution function."""


def _normalised_exp(
    z: Float[Array, "*shape"], variance: Real[ArrayLike, "*#shape"] | None
) -> Float[Array, "*shape"]:
    if variance is None:
        raise ValueError("exp is normalised by the prior variance of its argument; pass variance=")
    return jnp.exp(z - variance)


def _exp_dual(a: Entry, b: Entry, c: Entry) -> Pairs:
    return jnp.exp(c - (a + b) / 2)


NORMALISED_EXPONENTIAL = Activation(
    "exp", _normalised_exp, on_blocks(_exp_dual), on_blocks(_exp_dual), _normalised_exp, normalised=True
)
"""Φ(z; q) = e^{z−q}, q the prior variance of z (T14): E[φ²] = 1 at every variance."""
