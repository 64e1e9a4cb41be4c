"""Two sets of draws compared by their energy distance: size, law under the hypothesis, power (T18).

The energy distance of two laws P and Q (Székely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018),

    E = 2 E|X − Y| − E|X − X'| − E|Y − Y'| ≥ 0,   size = E / 2E|X − Y| in [0, 1],

is zero for equal laws only. Here every coordinate is in units of its standard deviation over both sets,
a change that does not depend on which draw is whose, and E is estimated without bias. Permutation
needs exchangeable draws: chains are thinned first.

Everything here runs on the host in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float, PRNGKeyArray, Real
from scipy import optimize, spatial, special

from brg_prob.correspondence.chains import effective_sizes
from brg_prob.correspondence.statistics import POWER
from brg_prob.shapes import Rows

_APART = 2.0
"""Autocorrelation times between the draws kept of a chain: at one alone they are still correlated."""
_BATCH = 250
"""Permutations at a time."""
_DRAWN, _REPEATS = 100, 400
"""Draws a side and repetitions of the simulation behind the smallest detectable shift."""


@dataclass(frozen=True)
class TwoSample:
    """How far two sets of draws are apart.

    Attributes
    ----------
    size
        Energy coefficient E/2E|X − Y|, 0 (equal laws) to 1; 0 where its unbiased estimate is negative.
    equivalent_shift
        The shift of N(0, 1) in D dimensions with that coefficient, in standard deviations of a draw.
    p_value
        Of the hypothesis that both come from the same law, by permutation.
    null_size, null_shift
        Size that equal laws stay below with probability .95, and its equivalent shift.
    ess1, ess2
        Effective sample size of the slowest coordinate, of draws and squared deviations; at most S.
    smallest_detectable
        Shift along one direction, in standard deviations of a draw, found with probability .8.
    used
        Number of draws compared, each side.
    r_hat
        Largest R-hat; 1 for independent draws.
    """

    size: float
    equivalent_shift: float
    p_value: float
    null_size: float
    null_shift: float
    ess1: float
    ess2: float
    smallest_detectable: float
    used: tuple[int, int]
    r_hat: float


def energy_distance(
    first: Real[Any, "S1 D"] | Rows,
    second: Real[Any, "S2 D"] | Rows,
    *,
    chains1: int = 1,
    chains2: int = 1,
    independent1: bool = False,
    independent2: bool = False,
    key: PRNGKeyArray,
    permutations: int = 999,
    most: int = 1000,
    level: float = 0.05,
) -> TwoSample:
    """Compare two sets of draws by their energy distance.

    Parameters
    ----------
    first, second
        Draws (S1, D) and (S2, D), chain after chain.
    chains1, chains2
        Number of chains of each.
    independent1, independent2
        Whether the draws are independent; else one of every two autocorrelation times S/ESS is kept.
    key
        Of the permutations.
    permutations
        Their number; no p-value is below 1/(1 + permutations).
    most
        Draws compared, each side; memory is 8·(2·most)² bytes.
    level
        Of the test behind ``smallest_detectable``.

    Raises
    ------
    ValueError
        Draws of different dimensions, that are not finite, or fewer than four in a chain.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(2, 300, 3))
    >>> found = energy_distance(*draws, independent1=True, independent2=True, key=jax.random.key(0))
    >>> found.p_value > 0.05, found.size < found.null_size
    (True, True)
    """
    one, ess1, r_hat1 = _exchangeable(first, chains1, independent1, most)
    two, ess2, r_hat2 = _exchangeable(second, chains2, independent2, most)
    if one.shape[1] != two.shape[1]:
        raise ValueError(f"draws have {one.shape[1]} and {two.shape[1]} coordinates; compare one model's")
    pooled = np.concatenate([one, two])
    spread = pooled.std(axis=0)
    pooled /= np.where(spread > 0, spread, 1.0)
    matrix = spatial.distance.squareform(spatial.distance.pdist(pooled))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    (observed,), (coefficient,) = _energies(matrix, _indicator(len(one), len(pooled))[None])
    energies, sizes = _permuted(matrix, len(one), permutations, rng)
    beyond = np.sum(energies >= observed - 1e-12 * matrix.mean())
    size = max(float(coefficient), 0.0)
    null_size = max(float(np.quantile(sizes, 0.95)), 0.0)
    return TwoSample(
        size=size,
        equivalent_shift=equivalent_shift(size, one.shape[1]),
        p_value=float((1 + beyond) / (1 + permutations)),
        null_size=null_size,
        null_shift=equivalent_shift(null_size, one.shape[1]),
        ess1=ess1,
        ess2=ess2,
        smallest_detectable=smallest_detectable_shift(len(one), len(two), one.shape[1], level),
        used=(len(one), len(two)),
        r_hat=max(r_hat1, r_hat2),
    )


def _exchangeable(
    draws: Real[Any, "S D"] | Rows, chains: int, independent: bool, most: int
) -> tuple[Float[np.ndarray, "used D"], float, float]:
    """Return at most ``most`` draws far enough apart, the ESS and R-hat of all."""
    values = np.asarray(draws, dtype=float)
    size = len(values)
    if values.ndim != 2 or size % chains or size // chains < 4:
        raise ValueError(f"draws {values.shape} do not make {chains} chains of four or more; give more draws")
    if not np.all(np.isfinite(values)):
        raise ValueError("draws that are not finite; compare where both converged")
    if independent:
        picked = np.linspace(0, size - 1, min(size, most)).astype(int)
        return values[picked], float(size), 1.0
    by_chain = values.reshape(chains, size // chains, -1)
    moving = np.moveaxis(by_chain[..., values.std(axis=0) > 0], 2, 0)
    if not len(moving):
        return values[:most], float(size), 1.0
    ess = min(float(np.min(np.concatenate(effective_sizes(moving)))), float(size))
    r_hat = float(np.max(array_stats.rhat(moving, chain_axis=1, draw_axis=2)))
    apart = 1 if ess > 0.95 * size else math.ceil(_APART * size / ess)
    apart = min(max(apart, math.ceil(size / most)), size // chains)
    return by_chain[:, apart - 1 :: apart].reshape(-1, values.shape[1]), ess, r_hat


def _indicator(count: int, size: int) -> Float[np.ndarray, " {size}"]:
    """Return ones for the first ``count`` of ``size`` draws, zeros for the rest."""
    return (np.arange(size) < count).astype(float)


def _energies(
    matrix: Float[np.ndarray, "S S"], first: Float[np.ndarray, "B S"]
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Return E and E/2E|X − Y| for each way (B, S) of saying which draws are the first set's.

    Parameters
    ----------
    matrix
        Distances (S, S).
    first
        Ones for the first set, zeros for the second.
    """
    rows = matrix.sum(axis=1)
    one = first.sum(axis=1)
    two = matrix.shape[0] - one
    within = np.einsum("bs,bs->b", first @ matrix, first)
    across = first @ rows - within
    rest = rows.sum() - 2 * across - within
    between = 2 * across / (one * two)
    energy = between - within / (one * (one - 1)) - rest / (two * (two - 1))
    return energy, energy / np.where(between > 0, between, 1.0)


def _permuted(
    matrix: Float[np.ndarray, "S S"], count: int, permutations: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " {permutations}"], Float[np.ndarray, " {permutations}"]]:
    """Return E and its coefficient under permutations, (permutations,) each."""
    start = _indicator(count, len(matrix))
    parts = []
    for done in range(0, permutations, _BATCH):
        rows = min(_BATCH, permutations - done)
        parts.append(_energies(matrix, rng.permuted(np.tile(start, (rows, 1)), axis=1)))
    energies, sizes = zip(*parts, strict=True)
    return np.concatenate(energies), np.concatenate(sizes)


def shifted_size(shift: float, dimension: int) -> float:
    """Return the energy coefficient of N(0, 1) and N(shift, 1) in D dimensions.

    |X − Y| is √2 times a noncentral χ, of mean ∝ ₁F₁(−½; D/2; −shift²/4): the coefficient is 1 − 1/₁F₁.

    Examples
    --------
    >>> shifted_size(0.0, 3), round(shifted_size(1.0, 1), 4)
    (0.0, 0.1936)
    """
    return 1 - 1 / float(special.hyp1f1(-0.5, dimension / 2, -(shift**2) / 4))


def equivalent_shift(size: float, dimension: int) -> float:
    """Return the shift at which :func:`shifted_size` is ``size``; infinite for 1."""
    if size <= 0:
        return 0.0
    above = 1.0
    while shifted_size(above, dimension) < size:
        above *= 2
        if above > 1e6:
            return math.inf
    return float(optimize.brentq(lambda shift: shifted_size(shift, dimension) - size, 0.0, above))


def smallest_detectable_shift(size1: int, size2: int, dimension: int, level: float) -> float:
    """Return the shift along one direction of N(0, 1) in D dimensions found with probability .8.

    Simulated at a hundred draws a side; the law of E·s, s = S1·S2/(S1 + S2), depends on shift·√s alone where
    the shift is small.
    """
    return _simulated_shift(dimension, round(level, 8)) * math.sqrt(_DRAWN / 2 * (1 / size1 + 1 / size2))


@lru_cache(maxsize=256)
def _simulated_shift(dimension: int, level: float) -> float:
    """Return the smallest detectable shift at ``_DRAWN`` draws a side."""
    rng = np.random.default_rng([20251125, dimension])
    null, squares, along, inner = [], [], [], []
    cdist, pdist = spatial.distance.cdist, spatial.distance.pdist
    for repeat in range(_REPEATS):
        one, two = rng.standard_normal((2, _DRAWN, dimension))
        squares.append(cdist(one, two, "sqeuclidean"))
        along.append(one[:, :1] - two[:, 0])
        inner.append(pdist(one).mean() + pdist(two).mean())
        if repeat < 8:
            matrix = spatial.distance.squareform(pdist(np.concatenate([one, two])))
            null.append(_permuted(matrix, _DRAWN, 2000, rng)[0])
    critical = float(np.quantile(np.concatenate(null), 1 - level))
    base, lever, within = np.stack(squares), np.stack(along), np.array(inner)

    def missing(shift: float) -> float:
        across = np.sqrt(np.maximum(base - 2 * shift * lever + shift**2, 0.0)).mean(axis=(1, 2))
        return float(np.quantile(2 * across - within, 1 - POWER)) - critical

    above = 1.0
    while missing(above) < 0:
        above *= 2
    return float(optimize.brentq(missing, 0.0, above, xtol=1e-3))
