"""Mehler's series: a dual kernel as a power series in the correlation (T2).

With c_k(s) = E[φ(s z) h_k(z)], h_k the orthonormal Hermite polynomials He_k/√k!,

    E[φ(u)φ(v)] = Σ_k c_k(√a) c_k(√b) ρ^k,     ρ = c/√(ab),

the coefficients cost a matrix product per point, a pair one multiplication and one addition per
term. What is left after degree M is at most |ρ|^{M+1} √(r(a) r(b)), r = E[φ²] − Σ c_k², by
Cauchy and Schwarz: a bound that is computed, not estimated. For φ analytic within a distance d of
the real line c_k falls as exp(−√k d/s): for tanh, d = π/2, 1e-10 of E[φ²] at ρ = 1 takes about
50 s² degrees, half of them present.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import count, groupby, islice

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from brg_prob.activations.quadrature import REACH, Elementwise, unit_rule
from brg_prob.activations.stable import Entry, Pairs, geometric_mean, quotient, root

Degrees = tuple[int, ...]
BLOCK = 8  # terms per turn of the loop: more of them at once are slower per term, and to compile


def hermite_rows(order: int) -> Iterator[Float[np.ndarray, " order"]]:
    """Yield weights × density × h_k, (order,), for k = 0, 1, …, in float64.

    The recursion goes upwards, in which direction h_k is the growing solution or an oscillating one,
    and the density is in it: nothing overflows, whatever the degree.
    """
    x, w = unit_rule(order, True)
    nodes = REACH * x
    below, row = np.zeros(order), REACH * w * np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    for k in count():
        yield row
        below, row = row, (nodes * row - math.sqrt(k) * below) / math.sqrt(k + 1)


@lru_cache(maxsize=16)
def hermite_table(
    order: int, degrees: Degrees
) -> tuple[Float[np.ndarray, " order"], Float[np.ndarray, "order K"]]:
    """Return nodes (order,) and weights × density × h_k (order, len(degrees)), in float64."""
    kept, last = set(degrees), max(degrees, default=-1)
    rows = [row for k, row in enumerate(islice(hermite_rows(order), last + 1)) if k in kept]
    return REACH * unit_rule(order, True)[0], np.reshape(rows, (len(degrees), order)).T


def extra_nodes(degree: int) -> int:
    """Return the nodes that a coefficient of this degree takes beyond those of E[φ²].

    h_k oscillates at frequencies up to √k, and nodes a distance d apart carry a band of 2π/d.
    """
    return math.ceil(REACH / math.pi * math.sqrt(degree))


def coefficients(
    f: Elementwise, variance: Float[Array, "*points"], degrees: Degrees, order: int
) -> Float[Array, "*points K"]:
    """Return c_k(√variance), (…, len(degrees))."""
    nodes, table = hermite_table(order, degrees)
    values = f(root(variance)[..., None] * jnp.asarray(nodes, variance.dtype))
    return jnp.matmul(values, jnp.asarray(table, variance.dtype), precision="highest")


def correlation(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return c/√(ab) within [−1, 1], 0 where a variance is 0."""
    return jnp.clip(quotient(c, geometric_mean(a, b)), -1, 1)


def series(
    left: Float[Array, "*#pairs K"],
    right: Float[Array, "*#pairs K"],
    rho: Float[Array, "*#pairs"],
    degrees: Degrees,
) -> Pairs:
    """Return Σ_k left_k right_k ρ^k by Horner's rule; coefficients (…, K), broadcast against ``rho`` (…)."""
    if not degrees:
        return jnp.zeros_like(rho)
    # degree first: what a pair's loop reads is then contiguous in the points
    left, right = jnp.moveaxis(left, -1, 0), jnp.moveaxis(right, -1, 0)
    total = jnp.zeros(jnp.broadcast_shapes(left.shape[1:], right.shape[1:], rho.shape), rho.dtype)
    gaps = np.diff(degrees, append=degrees[-1] + (degrees[-1] - degrees[-2] if len(degrees) > 1 else 1))
    stop = len(degrees)
    for gap, run in groupby(gaps[::-1].tolist()):
        start = stop - len(list(run))
        total = _horner(total, left[start:stop], right[start:stop], rho**gap)
        stop = start
    return total * rho ** degrees[0]


def _horner(
    total: Pairs, left: Float[Array, "K *#pairs"], right: Float[Array, "K *#pairs"], power: Entry
) -> Pairs:
    """Return total·power + left_k right_k from the last k to the first, in blocks: fast to compile."""

    def add(total: Pairs, block: tuple[Array, ...]) -> tuple[Pairs, None]:
        one, other = block
        for k in reversed(range(len(one))):
            total = total * power + one[k] * other[k]
        return total, None

    blocks = len(left) // BLOCK
    if blocks < 2:
        return add(total, (left, right))[0]
    whole = BLOCK * blocks
    total = add(total, (left[whole:], right[whole:]))[0]
    stacked = [c[:whole].reshape(blocks, BLOCK, *c.shape[1:]) for c in (left, right)]
    return jax.lax.scan(add, total, tuple(stacked), reverse=True)[0]


def present_degrees(size: Float[np.ndarray, " K"]) -> Degrees:
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
