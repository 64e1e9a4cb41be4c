"""Mehler's series: a dual kernel as a power series in the correlation (T2).

With c_k(s) = E[φ(s z) h_k(z)], h_k the orthonormal Hermite polynomials He_k/√k!,

    E[φ(u)φ(v)] = Σ_k c_k(√a) c_k(√b) ρ^k,     ρ = c/√(ab),

the coefficients cost a matrix product per point, a pair one multiplication and one addition per
term. What is left after degree M is at most |ρ|^{M+1} √(r(a) r(b)), r = E[φ²] − Σ c_k², by
Cauchy and Schwarz: a bound that is computed, not estimated. For φ analytic within a distance d of
the real line c_k falls as exp(−√(2k) d/s): few terms for small variances, too many for large ones.
"""

from __future__ import annotations

from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.activations.quadrature import REACH, Elementwise, unit_rule
from brg_prob.activations.stable import geometric_mean, quotient, root

Degrees = tuple[int, ...]


@cache
def hermite_table(order: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes (order,) and weights × density × h_k (order, degree + 1), in float64."""
    x, w = unit_rule(order, True)
    nodes = REACH * x
    table = np.empty((order, degree + 1))
    table[:, 0] = 1
    table[:, 1:2] = nodes[:, None]
    for k in range(1, degree):
        table[:, k + 1] = (nodes * table[:, k] - np.sqrt(k) * table[:, k - 1]) / np.sqrt(k + 1)
    density = REACH * w * np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    return nodes, table * density[:, None]


def coefficients(f: Elementwise, variance: Array, degrees: Degrees, order: int) -> Array:
    """Return c_k(√variance), (…, len(degrees))."""
    nodes, table = hermite_table(order, max(degrees, default=0))
    values = f(root(variance)[..., None] * jnp.asarray(nodes, variance.dtype))
    return jnp.matmul(values, jnp.asarray(table[:, list(degrees)], variance.dtype), precision="highest")


def correlation(a: Array, b: Array, c: Array) -> Array:
    """Return c/√(ab) within [−1, 1], 0 where a variance is 0."""
    return jnp.clip(quotient(c, geometric_mean(a, b)), -1, 1)


def series(left: Array, right: Array, rho: Array, degrees: Degrees) -> Array:
    """Return Σ_k left_k right_k ρ^k by Horner's rule; coefficients (…, K), broadcast against ``rho`` (…)."""
    if not degrees:
        return jnp.zeros_like(rho)
    # degree first: what a pair's loop reads is then contiguous in the points
    left, right = jnp.moveaxis(left, -1, 0), jnp.moveaxis(right, -1, 0)
    square = rho * rho
    total = left[-1] * right[-1]
    for place in range(len(degrees) - 2, -1, -1):
        total = total * _power(rho, square, degrees[place + 1] - degrees[place]) + left[place] * right[place]
    return total * _power(rho, square, degrees[0]) + jnp.zeros_like(rho)


def _power(rho: Array, square: Array, exponent: int) -> Array:
    if exponent == 1:
        return rho
    return square if exponent == 2 else rho**exponent


def present_degrees(size: np.ndarray) -> Degrees:
    """Return the degrees worth keeping, from the largest |c_k|/‖φ‖ of each.

    A degree is dropped if it and all higher ones of its parity are rounding error: the even ones of
    an odd φ, and of softplus and swish, which are z/2 and an even function, the odd ones from 3.
    """
    kept: list[int] = []
    noise = 64 * float(jnp.finfo(jnp.result_type(float)).eps)
    for parity in (0, 1):
        which = np.arange(parity, len(size), 2)
        alive = np.flatnonzero(size[which] > noise)
        kept += which[: alive[-1] + 1].tolist() if len(alive) else []
    return tuple(sorted(kept))
