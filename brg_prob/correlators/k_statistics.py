"""Unbiased k-statistics, their influence series and errors, streamed over tuples of points (T1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float, Int, Integer, Real

BLOCK = 2**22  # elements of one block of series: 32 MB

# as they are given, of numpy, jax or xarray
Fields = Real[Any, "chain draw x"]
Tuples = Integer[Any, "M k"] | Sequence[Sequence[int]]
# and inside
Draws = Float[np.ndarray, "chain draw x"]
Indices = Int[np.ndarray, "M k"]
Value = Float[np.ndarray, " M"]
Series = Float[np.ndarray, "chain draw M"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A Monte-Carlo estimate, entry by entry.

    Attributes
    ----------
    value
        The estimate.
    standard_error
        Its standard error, the spread of its series over √effective_draws.
    effective_draws
        Number of independent draws of the same information: S for independent draws.
    """

    value: Float[np.ndarray, "*entries"]
    standard_error: Float[np.ndarray, "*entries"]
    effective_draws: Float[np.ndarray, "*entries"]


def second(c: Float[np.ndarray, "chain draw M 2"], total: int) -> tuple[Value, Series]:
    """Return k_ab and its influence function from centred draws (chain, draw, M, 2)."""
    product = c[..., 0] * c[..., 1]
    mean = product.mean(axis=(0, 1))
    return mean * total / (total - 1), product - mean


def third(c: Float[np.ndarray, "chain draw M 3"], total: int) -> tuple[Value, Series]:
    """Return k_abc and its influence function from centred draws (chain, draw, M, 3)."""
    product = c.prod(axis=-1)
    mean = product.mean(axis=(0, 1))
    influence = product - mean
    for a in range(3):
        rest = np.delete(c, a, axis=-1).prod(axis=-1)
        influence = influence - rest.mean(axis=(0, 1)) * c[..., a]
    return mean * total**2 / ((total - 1) * (total - 2)), influence


def fourth(c: Float[np.ndarray, "chain draw M 4"], total: int) -> tuple[Value, Series]:
    """Return k_abcd and its influence function from centred draws (chain, draw, M, 4).

    With μ central moments of the draws: κ_abcd = μ_abcd − Σ_3 σ_ab σ_cd, and the mean's own
    fluctuation contributes −Σ_4 μ_bcd c_a.
    """
    product = c.prod(axis=-1)
    mean = product.mean(axis=(0, 1))
    influence = product - mean
    for a in range(4):
        rest = np.delete(c, a, axis=-1).prod(axis=-1)
        influence = influence - rest.mean(axis=(0, 1)) * c[..., a]
    disconnected = np.zeros_like(mean)
    for i, j, k in ((1, 2, 3), (2, 1, 3), (3, 1, 2)):
        one, other = c[..., 0] * c[..., i], c[..., j] * c[..., k]
        m1, m2 = one.mean(axis=(0, 1)), other.mean(axis=(0, 1))
        disconnected = disconnected + m1 * m2
        influence = influence - (one - m1) * m2 - m1 * (other - m2)
    scale = total**2 / ((total - 1) * (total - 2) * (total - 3))
    return scale * ((total + 1) * mean - (total - 1) * disconnected), influence


def first(c: Float[np.ndarray, "chain draw M 1"], total: int) -> tuple[Value, Series]:
    """Return 0 (the mean of centred draws) and the influence function of the mean."""
    return np.zeros(c.shape[2]), c[..., 0]


K_STATISTICS: dict[int, Callable[[Float[np.ndarray, "chain draw M k"], int], tuple[Value, Series]]] = {
    1: first,
    2: second,
    3: third,
    4: fourth,
}


def streamed(
    estimate: Callable[[Indices], tuple[Value, Series]],
    draws: Draws,
    tuples: Indices,
    independent: bool,
) -> Estimate:
    """Apply ``estimate`` (block of tuples → value, centred series) block by block."""
    parts = []
    for block in blocks(tuples, draws.shape[0] * draws.shape[1] * tuples.shape[1]):
        value, series = estimate(block)
        parts.append((value, *error_of_mean(series, independent)))
    return Estimate(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def blocks(tuples: Indices, per_tuple: int) -> Iterator[Indices]:
    """Yield the tuples in blocks whose series stay below the block size."""
    step = max(1, BLOCK // per_tuple)
    for start in range(0, len(tuples), step):
        yield tuples[start : start + step]


def error_of_mean(series: Series, independent: bool) -> tuple[Value, Value]:
    """Return standard error and effective draws of the mean of a centred series (chain, draw, M)."""
    total = series.shape[0] * series.shape[1]
    spread = np.sqrt(np.sum(series**2, axis=(0, 1)) / max(total - 1, 1))
    if independent:
        effective = np.full(series.shape[2:], float(total))
    else:
        effective = np.asarray(array_stats.ess(series, chain_axis=0, draw_axis=1, method="mean"), dtype=float)
    return spread / np.sqrt(effective), effective


def checked_draws(f: Fields) -> Draws:
    """Return draws as a float64 array (chain, draw, x)."""
    draws = np.asarray(f, dtype=float)
    if draws.ndim != 3:
        raise ValueError(f"draws have shape {draws.shape}; (chain, draw, x) is needed: select one output")
    if draws.shape[0] * draws.shape[1] < 2:
        raise ValueError(f"draws of shape {draws.shape} hold one draw; an error needs two")
    return draws


def checked_tuples(f: Fields, indices: Tuples) -> Indices:
    """Return index tuples (M, k) that point into the field."""
    tuples = np.asarray(indices)
    points = np.shape(f)[2]
    if tuples.ndim != 2 or tuples.dtype.kind not in "iu" or 0 in tuples.shape:
        raise ValueError(
            f"indices of shape {tuples.shape} and type {tuples.dtype}: integers (M, k) are needed"
        )
    outside = tuples[(tuples < 0) | (tuples >= points)]
    if outside.size:
        raise ValueError(f"index {outside[0]} is outside {points} points")
    return tuples.astype(np.intp)
