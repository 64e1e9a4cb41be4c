"""Test statistics, their exact laws and their power (T18): plain functions of arrays.

A correspondence is tested mode by mode. Modes are independent Gaussians under the
hypothesis, so for S independent draws (S−1)s²/G ~ χ²_{S−1} exactly, z = Φ⁻¹(F(…)) is
standard normal, and Σ z² over M modes ~ χ²_M. Scales are combined by Holm's procedure. What
the test could have found comes from the noncentral law, never from the observed value.

Everything here runs on the host in float64.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from brg_prob.arrays import Floats

Verdict = Literal["consistent", "inconsistent", "undetermined"]

POWER = 0.8
"""Probability with which the smallest detectable deviation is found (T18)."""
MAXIMUM_R_HAT = 1.01
"""Largest admitted R-hat (T18; Vehtari et al., arXiv:1903.08008)."""
MINIMUM_ESS = 400.0
"""The effective sample size used must be larger than this (T18)."""

_TINY = 1e-280
"""Below this a tail probability is close to underflow and the saddlepoint formula takes over."""


def chi2_to_normal(value: ArrayLike, degrees: ArrayLike) -> Floats:
    """Return z = Φ⁻¹(F(value)), F the distribution function of χ² with the given degrees.

    Exact down to tail probabilities of 1e-280; beyond, the saddlepoint formula of
    Lugannani and Rice in Barndorff-Nielsen's form, r + log(u/r)/r, whose relative error in
    such tails is far below a percent. Finite for every value ≥ 0.

    Parameters
    ----------
    value
        Observed χ² values, any shape, ≥ 0.
    degrees
        Degrees of freedom > 0 (need not be whole), broadcast against ``value``.

    Returns
    -------
    ndarray
        Standard normal under the hypothesis.

    Examples
    --------
    >>> round(float(chi2_to_normal(stats.chi2.isf(0.025, 7), 7)), 6)
    1.959964
    >>> bool(np.isfinite(chi2_to_normal(1e9, 3999)))
    True
    """
    shape = np.asarray(degrees, dtype=float) / 2
    scaled = np.asarray(value, dtype=float) / 2
    shape, scaled = np.broadcast_arrays(shape, scaled)
    upper, lower = special.gammaincc(shape, scaled), special.gammainc(shape, scaled)
    z = np.where(upper < 0.5, -special.ndtri(upper), special.ndtri(lower))
    return np.where(np.minimum(upper, lower) < _TINY, _saddlepoint(shape, scaled), z)


def _saddlepoint(shape: Floats, scaled: Floats) -> Floats:
    """Return the normal quantile of a Gamma(shape, 1) variate far out in its tails."""
    ratio = np.maximum(scaled / shape, 1e-300)
    root = np.sign(ratio - 1) * np.sqrt(np.maximum(2 * shape * (ratio - 1 - np.log(ratio)), 0))
    wald = np.sqrt(shape) * (ratio - 1)
    central = np.abs(root) < 1.0  # not a tail; the caller never asks there
    safe = np.where(central, 1.0, root)
    return np.where(central, wald, root + np.log(np.where(central, 1.0, wald) / safe) / safe)


def variance_z(variance: ArrayLike, predicted: ArrayLike, degrees: ArrayLike) -> Floats:
    """Return z of sample variances against predicted ones (T18).

    Parameters
    ----------
    variance
        Unbiased sample variance s² per mode, (K,).
    predicted
        G per mode, (K,), > 0.
    degrees
        S − 1 for S independent draws.
    """
    degrees = np.asarray(degrees, dtype=float)
    return chi2_to_normal(
        degrees * np.asarray(variance, dtype=float) / np.asarray(predicted, dtype=float), degrees
    )


def mean_z(mean: ArrayLike, predicted: ArrayLike, variance: ArrayLike, size: ArrayLike) -> Floats:
    """Return z of sample means: (mean − predicted)·√(size/G), G the predicted variance of one draw."""
    difference = np.asarray(mean, dtype=float) - np.asarray(predicted, dtype=float)
    return difference * np.sqrt(np.asarray(size, dtype=float) / np.asarray(variance, dtype=float))


def sum_of_squares(z: Floats) -> tuple[float, float]:
    """Return Σ z² and its p-value under χ²_M, M = z.size; (0, 1) if there is no mode."""
    if z.size == 0:
        return 0.0, 1.0
    statistic = float(np.sum(np.square(z)))
    return statistic, float(stats.chi2.sf(statistic, z.size))


def of_largest(smallest: ArrayLike, modes: int) -> Floats:
    """Return the p-value of the largest of M |z|, 1 − (1 − q)^M, from its own tail q = P(|Z| ≥ |z|).

    Examples
    --------
    >>> round(float(of_largest(0.01, 3)), 4)
    0.0297
    """
    return np.asarray(-np.expm1(modes * np.log1p(-np.minimum(smallest, 1 - 1e-16))))


def smaller_of_two(p_sum: float, p_largest: float, modes: int) -> float:
    """Return the p-value of the smaller of those of Σz² and max |z|, which are not independent (T18b).

    The law of the smaller one under the hypothesis is simulated once for each number of modes; between once
    and twice it, and far out the ratio seen where two hundredths lie below.
    """
    smaller = min(p_sum, p_largest)
    null = _smaller_under_null(modes)
    edge = float(np.quantile(null, 0.02))
    if smaller <= edge:
        return float(min(2.0, 0.02 / edge) * smaller)
    return float(np.mean(null <= smaller))


@lru_cache(maxsize=64)
def _smaller_under_null(modes: int) -> Floats:
    """Return simulated smaller p-values of Σz² and max |z| of M standard normal z, sorted."""
    rng = np.random.default_rng([20261201, modes])
    replicates = int(np.clip(4_000_000 // modes, 2000, 20_000))
    parts = []
    for start in range(0, replicates, 1000):
        squares = np.square(rng.standard_normal((min(1000, replicates - start), modes)))
        p_sum = stats.chi2.sf(squares.sum(axis=1), modes)
        p_largest = of_largest(stats.chi2.sf(squares.max(axis=1), 1), modes)
        parts.append(np.minimum(p_sum, p_largest))
    return np.sort(np.concatenate(parts))


@lru_cache(maxsize=1024)
def noncentrality(modes: int, level: float, power: float = POWER) -> float:
    """Return λ at which a χ² test with ``modes`` degrees at ``level`` has the given power."""
    critical = stats.chi2.isf(level, modes)
    return float(
        optimize.brentq(lambda value: stats.ncx2.sf(critical, modes, value) - power, 1e-9, 50 + 20 * critical)
    )


def smallest_detectable_variance(degrees: ArrayLike, level: float, *, power: float = POWER) -> float:
    """Return the smallest relative deviation, common to all variances, found with given power (T18).

    Each z is shifted by δ√(ν/2), hence δ = √(2λ/Σν) with λ from the noncentral χ² law.

    Parameters
    ----------
    degrees
        ν per mode, (M,): S − 1 for independent draws.
    level
        Level of the test, after the correction for several scales.

    Examples
    --------
    63 modes and 4000 draws; the same at the worst of twelve scales; one mode:

    >>> [
    ...     round(100 * smallest_detectable_variance([3999] * m, a), 1)
    ...     for m, a in ((63, 0.05), (63, 0.05 / 12), (1, 0.05))
    ... ]
    [1.6, 2.0, 6.3]
    """
    degrees = np.atleast_1d(np.asarray(degrees, dtype=float))
    if degrees.size == 0:
        return float("nan")
    return float(np.sqrt(2 * noncentrality(degrees.size, level, power) / np.sum(degrees)))


def smallest_detectable_mean(size: ArrayLike, level: float, *, power: float = POWER) -> float:
    """Return the same for means: a shift of every mode by δ standard deviations of one draw."""
    size = np.atleast_1d(np.asarray(size, dtype=float))
    if size.size == 0:
        return float("nan")
    return float(np.sqrt(noncentrality(size.size, level, power) / np.sum(size)))


def judge(
    *,
    rejected: bool,
    smallest_detectable: float,
    tolerance: float,
    r_hat: float = 1.0,
    effective_size: float = float("inf"),
) -> Verdict:
    """Return T18's verdict.

    Parameters
    ----------
    rejected
        Whether the test rejected at its level.
    smallest_detectable
        Deviation found with probability .8; NaN where it is not known.
    tolerance
        The largest deviation that may go unseen, in the same units.
    r_hat, effective_size
        Largest R-hat and smallest effective sample size used; 1 and the number of draws for
        independent draws.

    Examples
    --------
    >>> judge(rejected=False, smallest_detectable=0.02, tolerance=0.05)
    'consistent'
    >>> judge(rejected=False, smallest_detectable=0.09, tolerance=0.05)
    'undetermined'
    """
    if rejected:
        return "inconsistent"
    # written so that NaN in any of them is undetermined
    enough = smallest_detectable < tolerance and r_hat < MAXIMUM_R_HAT and effective_size > MINIMUM_ESS
    return "consistent" if enough else "undetermined"


def whitener(covariance: ArrayLike, precision: float) -> tuple[Floats, int]:
    """Return W (rank, K) with W Σ Wᵀ = 1, from the eigenvectors of Σ above its round-off.

    Parameters
    ----------
    covariance
        Predicted Σ, (K, K), symmetric, may be singular (fewer neurons than momenta).
    precision
        Relative precision of Σ and of the draws, e.g. the machine's epsilon; directions of
        variance below 64·K·precision times the largest carry no information and are left out.

    Returns
    -------
    tuple
        W and the number K − rank of directions left out.
    """
    covariance = np.asarray(covariance, dtype=float)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > 64 * values.size * precision * max(float(values[-1]), 0.0)
    return (vectors[:, kept] / np.sqrt(values[kept])).T, int(np.sum(~kept))
