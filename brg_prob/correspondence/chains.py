"""Dependent draws: plug-in statistics calibrated by simulation (T18).

For Markov chains the number of draws is replaced by the effective sample size (ESS) of the
quantity itself: of the squared deviations for a variance, of the draws for a mean. The z
so obtained is not standard normal, since its ESS is estimated from the same draws; its law
under the hypothesis is found by simulating AR(1) chains, as many and as long, with the
observed autocorrelation, either sign, through the same estimator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from arviz_stats.base import array_stats
from scipy import signal, stats

from brg_prob.arrays import Floats
from brg_prob.correspondence.statistics import mean_z, of_largest, variance_z

_POOL = 1000
"""Simulated single-mode statistics for each autocorrelation."""
_STEP = 0.1
"""Spacing of the grid of autocorrelations, in artanh: the law of z moves slowly with them."""
_LARGEST = 22
"""Last grid point, artanh = 2.2: ρ = ±.976, 80 draws for an effective one."""
_CAPPED = 0.98
"""ArviZ cuts the ESS of antithetic chains at S·log10 S; beyond this part of it, it says nothing."""
_CHUNK = 1 << 22
"""Numbers simulated at a time (32 MiB)."""


@dataclass(frozen=True)
class Dependence:
    """What the chains of each mode say about their own autocorrelation.

    Attributes
    ----------
    ess_variance, ess_mean
        ESS of squared deviations and of draws, (K,).
    index_variance, index_mean
        Number on the grid of autocorrelations of the AR(1) chain with that ESS, (K,).
    r_hat
        Largest rank-normalised split R-hat.
    """

    ess_variance: Floats
    ess_mean: Floats
    index_variance: np.ndarray
    index_mean: np.ndarray
    r_hat: float


def effective_sizes(draws: Floats) -> tuple[Floats, Floats]:
    """Return the ESS of squared deviations and of the draws themselves.

    Parameters
    ----------
    draws
        (K, C, D): modes, chains, draws.

    Returns
    -------
    tuple
        Two arrays (K,), split-chain estimates without rank normalisation (ArviZ's "mean").
    """
    return _effective_size(_squared_deviations(draws)), _effective_size(draws)


def _squared_deviations(draws: Floats) -> Floats:
    """Return the squared deviations of each mode from its mean, (K, C, D)."""
    return np.asarray(np.square(draws - draws.mean(axis=(1, 2), keepdims=True)))


def _effective_size(values: Floats) -> Floats:
    """Return the ESS of values (K, C, D) themselves, (K,)."""
    return np.asarray(array_stats.ess(values, chain_axis=1, draw_axis=2, method="mean"), dtype=float)


def dependence(draws: Floats) -> Dependence:
    """Measure the dependence of chains (K, C, D)."""
    size = draws.shape[1] * draws.shape[2]
    ess_variance, ess_mean = effective_sizes(draws)
    centred = draws - draws.mean(axis=(1, 2), keepdims=True)
    lag_one = np.sum(centred[:, :, 1:] * centred[:, :, :-1], axis=(1, 2)) / np.sum(
        np.square(centred), axis=(1, 2)
    )
    # AR(1): ESS of the mean S(1−ρ)/(1+ρ), ESS of squares S(1−ρ²)/(1+ρ²)
    ratio = np.minimum(ess_variance / size, 1.0)
    by_variance = np.where(lag_one < 0, -1.0, 1.0) * np.sqrt((1 - ratio) / (1 + ratio))
    by_mean = (1 - ess_mean / size) / (1 + ess_mean / size)
    by_mean = np.where(ess_mean < _CAPPED * size * np.log10(size), by_mean, lag_one)
    r_hat = np.asarray(array_stats.rhat(draws, chain_axis=1, draw_axis=2))
    return Dependence(
        ess_variance, ess_mean, _grid_index(by_variance), _grid_index(by_mean), float(np.max(r_hat))
    )


def _grid_index(correlation: Floats) -> np.ndarray:
    """Return the nearest grid point of autocorrelations ρ."""
    bounded = np.arctanh(np.clip(correlation, -0.999, 0.999))
    return np.clip(np.rint(bounded / _STEP), -_LARGEST, _LARGEST).astype(int)


def ar1_chains(correlation: float, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return stationary Gaussian AR(1) chains of unit variance, the last axis being time."""
    noise = rng.standard_normal(shape)
    noise[..., 1:] *= np.sqrt(1 - correlation**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -correlation], noise, axis=-1))


def plug_in_variance_z(variance: Floats, predicted: Floats, ess: Floats) -> Floats:
    """Return z with the estimated ESS put in for the number of draws: too loose on its own."""
    return variance_z(variance, predicted, np.maximum(ess - 1, 1.0))


@dataclass(frozen=True)
class NullPool:
    """Plug-in z of one mode under the hypothesis, simulated.

    Attributes
    ----------
    z
        (1000,).
    inflation
        Estimated ESS of each over the true one, (1000,): given it, z has about that variance.
    """

    z: Floats
    inflation: Floats

    def tail(self, z: Floats) -> Floats:
        """Return P(|Z| ≥ |z|) for each z: counted where the pool reaches, else the normal mixture's tail.

        Z is normal but for the ESS that was put in, so that far out P = E 2Φ(−|z|/√w), w the inflation; its
        level is that which the pool shows where a hundredth of it lies beyond.
        """
        size = np.sort(np.abs(self.z))
        edge = float(np.quantile(size, 0.99))
        counted = 1 - np.searchsorted(size, np.abs(z), side="left") / size.size
        beyond = 0.01 * self._mixture(np.abs(z)) / self._mixture(np.array([edge]))
        return np.asarray(np.where(np.abs(z) > edge, np.minimum(beyond, 0.01), counted))

    def _mixture(self, size: Floats) -> Floats:
        return np.asarray(2 * stats.norm.sf(size[:, None] / np.sqrt(self.inflation)).mean(axis=1))


@lru_cache(maxsize=256)
def null_pool(index: int, chains: int, draws: int, which: int) -> NullPool:
    """Return single-mode plug-in z of the variance or of the mean under the hypothesis.

    Parameters
    ----------
    index
        Grid point of the autocorrelation, ρ = tanh(index/10).
    chains, draws
        C and D.
    which
        0 the variance, 1 the mean. The simulated chains are the same; the ESS, which takes most of the time,
        is found for one alone.

    Returns
    -------
    NullPool
        The simulated s² or means are moved, rank by rank, to the quantiles of
        the law that an AR(1) chain gives them (the mean: normal; s²: gamma with its exact mean and variance),
        each with the ESS estimated beside it. This removes the pool's own sampling error, which a sum over
        many modes would otherwise inherit.
    """
    correlation = float(np.tanh(index * _STEP))
    rng = np.random.default_rng([20240517, index + _LARGEST, chains, draws])
    batch = max(1, min(_POOL, _CHUNK // (chains * draws)))
    parts: list[tuple[Floats, Floats]] = []
    for start in range(0, _POOL, batch):
        sample = ar1_chains(correlation, (min(batch, _POOL - start), chains, draws), rng)
        if which == 0:
            parts.append((sample.var(axis=(1, 2), ddof=1), _effective_size(_squared_deviations(sample))))
        else:
            parts.append((sample.mean(axis=(1, 2)), _effective_size(sample)))
    simulated, ess = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    expected, spread, mean_variance = _ar1_moments(correlation, chains, draws)
    levels = (np.arange(_POOL) + 0.5) / _POOL
    shape = expected**2 / spread
    if which == 0:
        variance = stats.gamma.ppf(levels, shape, scale=expected / shape)[_ranks(simulated)]
        z = plug_in_variance_z(variance, np.ones(_POOL), ess)
        return NullPool(z, ess * spread / (2 * expected**2))
    mean = np.sqrt(mean_variance) * stats.norm.ppf(levels)[_ranks(simulated)]
    return NullPool(mean_z(mean, 0.0, 1.0, ess), ess * mean_variance)


def _ranks(values: Floats) -> np.ndarray:
    """Return the rank of each value, from 0."""
    return np.argsort(np.argsort(values))


def _ar1_moments(correlation: float, chains: int, draws: int) -> tuple[float, float, float]:
    """Return E s², Var s² and Var of the mean of C stationary AR(1) chains of length D, unit variance.

    With R the covariance of one chain and P the projection off the common mean of all,
    (S−1)s² = xᵀPx has mean tr(PR) and variance 2 tr(PRPR).
    """
    size = chains * draws
    lags = np.arange(1, draws)
    weights = correlation**lags
    total = draws + 2 * np.sum((draws - lags) * weights)  # 1ᵀR1 of one chain
    squared = draws + 2 * np.sum((draws - lags) * weights**2)  # tr R² of one chain
    rows = _row_sums(correlation, draws)  # R1
    trace = size - total / draws
    # tr(PRPR) = tr R² − 2·1ᵀR²1/S + (1ᵀR1/S)², summed over chains
    product = chains * squared - 2 * np.sum(rows**2) / draws + (total / draws) ** 2
    return float(trace / (size - 1)), float(2 * product / (size - 1) ** 2), float(total / (draws * size))


def _row_sums(correlation: float, draws: int) -> Floats:
    """Return Σ_s ρ^|t−s| for each t of a chain."""
    t = np.arange(draws)
    left = (1 - correlation ** (t + 1)) / (1 - correlation)
    return np.asarray(left + (1 - correlation ** (draws - t)) / (1 - correlation) - 1)


@dataclass(frozen=True)
class NullSums:
    """Statistics of K modes together under the hypothesis, (R,) each.

    Attributes
    ----------
    squares, linear
        Σ z² and Σ w z.
    p_largest
        The p-value of max |z|.
    """

    squares: Floats
    linear: Floats
    p_largest: Floats

    def p_value(self, p_sum: float, p_largest: float) -> float:
        """Return the p-value of the smaller of those of Σ z² and max |z|."""
        size = self.squares.size
        own = 1 - np.argsort(np.argsort(self.squares)) / size  # of each replicate among all
        smaller = np.minimum(own, self.p_largest)
        return float((1 + np.sum(smaller <= min(p_sum, p_largest))) / (1 + size))


def null_sums(
    index: np.ndarray, weights: Floats, chains: int, draws: int, *, which: int, replicates: int
) -> NullSums:
    """Resample the pools to sums over modes.

    Parameters
    ----------
    index
        Grid point of each mode, (K,).
    weights
        w_k: shift of z_k per unit deviation, (K,).
    which
        0 the variance, 1 the mean.
    replicates
        Number of sums R.

    Returns
    -------
    NullSums
    """
    rng = np.random.default_rng(7)
    squares, linear, least = np.zeros(replicates), np.zeros(replicates), np.ones(replicates)
    for point, count in zip(*np.unique(index, return_counts=True), strict=True):
        pool = null_pool(int(point), chains, draws, which)
        chosen = rng.integers(0, pool.z.size, (replicates, int(count)))
        picked = pool.z[chosen]
        np.minimum(least, pool.tail(pool.z)[chosen].min(axis=1), out=least)
        squares += np.sum(np.square(picked), axis=1)
        linear += picked @ weights[index == point]
    return NullSums(squares, linear, of_largest(least, index.size))


def null_tails(z: Floats, index: np.ndarray, chains: int, draws: int, *, which: int) -> Floats:
    """Return P(|Z| ≥ |z|) of each mode's plug-in z under the hypothesis, (K,); see :func:`null_sums`."""
    found = np.ones(z.shape)
    for point in np.unique(index):
        own = index == point
        found[own] = null_pool(int(point), chains, draws, which).tail(z[own])
    return found
