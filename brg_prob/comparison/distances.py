"""Kullback-Leibler divergence and Wasserstein distance between two posteriors, as Gaussians.

Both posteriors are described by the mean and covariance of their draws at the same inputs.
The estimates of n draws in k dimensions are biased by O(k²/n); a jackknife over blocks of
draws, those of both runs left out together, removes that bias and gives the error. Blocks
respect the order of the draws, so that chains and draws with shared random numbers are served.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from brg_prob.arrays import Floats

BLOCKS = 40
MOST_INPUTS = 60
DRAWS_PER_INPUT = 20
"""Draws for each common input: with fewer, the bias that the jackknife leaves would count."""

_DEGENERATE = 1e-10  # variance, relative to the largest, below which a direction is rounding
_EMPTY = 1e-12  # variance, relative to both runs' together, below which one run has none


@dataclass(frozen=True)
class Distance:
    """Distances between two Gaussians fitted to draws; NaN errors where there is nothing to vary.

    Attributes
    ----------
    kl, kl_error
        KL(first ‖ second), nats; infinite where one of them fluctuates in a direction in which
        the other does not.
    reverse, reverse_error
        KL(second ‖ first).
    wasserstein, wasserstein_error
        W₂/√k, root mean square over the inputs, in units of the field.
    inputs, directions
        Inputs k, and directions in which either posterior fluctuates.
    """

    kl: float = math.nan
    kl_error: float = math.nan
    reverse: float = math.nan
    reverse_error: float = math.nan
    wasserstein: float = math.nan
    wasserstein_error: float = math.nan
    inputs: int = 0
    directions: int = 0


def gaussian_kl(mean: Floats, cov: Floats, other_mean: Floats, other_cov: Floats) -> float:
    """Return KL(N(mean, cov) ‖ N(other_mean, other_cov)) in nats.

    ½[tr(Σ₂⁻¹Σ₁) + δᵀΣ₂⁻¹δ − k + log det Σ₂ − log det Σ₁].

    Examples
    --------
    >>> one = np.eye(1)
    >>> gaussian_kl(np.zeros(1), one, np.ones(1), one)
    0.5
    """
    shift = other_mean - mean
    solved = np.linalg.solve(other_cov, np.column_stack([cov, shift]))
    logs = np.linalg.slogdet(other_cov)[1] - np.linalg.slogdet(cov)[1]
    return float(0.5 * (np.trace(solved[:, :-1]) + shift @ solved[:, -1] - len(mean) + logs))


def gaussian_wasserstein_squared(mean: Floats, cov: Floats, other_mean: Floats, other_cov: Floats) -> float:
    """Return W₂² of two Gaussians: |δ|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½ (Bures).

    Examples
    --------
    >>> gaussian_wasserstein_squared(np.zeros(1), np.eye(1), np.ones(1), 4 * np.eye(1))
    2.0
    """
    overlap = np.linalg.svd(_root(cov) @ _root(other_cov), compute_uv=False).sum()
    shift = other_mean - mean
    return float(shift @ shift + np.trace(cov) + np.trace(other_cov) - 2 * overlap)


def between(draws: Floats, other: Floats) -> Distance:
    """Return the distances between two posteriors.

    Parameters
    ----------
    draws, other
        (S, k) and (S′, k) draws of the two fields at the same inputs, in their order.
    """
    k = draws.shape[1]
    if draws.shape == other.shape and np.array_equal(draws, other):
        return Distance(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, k, k)
    centre = 0.5 * (draws.mean(axis=0) + other.mean(axis=0))
    first, second = _Sums.of(draws - centre), _Sums.of(other - centre)
    basis = _directions(first.moments()[1] + second.moments()[1])
    kl, kl_error = _jackknife(first.projected(basis), second.projected(basis), _kl)
    reverse, reverse_error = _jackknife(second.projected(basis), first.projected(basis), _kl)
    squared, squared_error = _jackknife(first, second, gaussian_wasserstein_squared)
    low, high = (math.sqrt(max(squared + sign * squared_error, 0.0) / k) for sign in (-1, 1))
    return Distance(
        kl,
        kl_error,
        reverse,
        reverse_error,
        math.sqrt(max(squared, 0.0) / k),
        (high - low) / 2,
        k,
        basis.shape[1],
    )


@dataclass(frozen=True)
class _Sums:
    """Counts, sums and cross products of draws, block by block: (B,), (B, k), (B, k, k)."""

    count: Floats
    first: Floats
    second: Floats

    @staticmethod
    def of(draws: Floats) -> _Sums:
        """Sum draws (S, k) in contiguous blocks."""
        blocks = np.array_split(draws, min(BLOCKS, len(draws)))
        return _Sums(
            np.array([float(len(block)) for block in blocks]),
            np.stack([block.sum(axis=0) for block in blocks]),
            np.stack([block.T @ block for block in blocks]),
        )

    def moments(self, without: int | None = None) -> tuple[Floats, Floats]:
        """Return mean and unbiased covariance of all draws, or of all but one block."""
        use = np.arange(self.count.size) != without if without is not None else slice(None)
        count, first = self.count[use].sum(), self.first[use].sum(axis=0)
        mean = first / count
        return mean, (self.second[use].sum(axis=0) - count * np.outer(mean, mean)) / (count - 1)

    def projected(self, basis: Floats) -> _Sums:
        """Return the sums of the draws times a basis (k, d)."""
        return _Sums(self.count, self.first @ basis, basis.T @ self.second @ basis)


def _jackknife(
    one: _Sums, other: _Sums, distance: Callable[[Floats, Floats, Floats, Floats], float]
) -> tuple[float, float]:
    """Return a distance with the bias of finite draws removed, and its standard error."""
    whole = distance(*one.moments(), *other.moments())
    blocks = min(one.count.size, other.count.size)
    if not math.isfinite(whole) or blocks < 2 or one.count.size != other.count.size:
        return whole, math.nan
    left = np.array([distance(*one.moments(b), *other.moments(b)) for b in range(blocks)])
    corrected = blocks * whole - (blocks - 1) * left.mean()
    return float(corrected), float(math.sqrt((blocks - 1) * left.var()))


def _directions(pooled: Floats) -> Floats:
    """Return a basis (k, d) in which the pooled covariance is the identity; rounding left out."""
    values, vectors = np.linalg.eigh(pooled)
    keep = values > _DEGENERATE * values[-1]
    return np.asarray(vectors[:, keep] / np.sqrt(values[keep]))


def _kl(mean: Floats, cov: Floats, other_mean: Floats, other_cov: Floats) -> float:
    """Return the divergence in the pooled basis; infinite where only one of the two fluctuates."""
    if min(np.linalg.eigvalsh(c)[0] for c in (cov, other_cov)) < _EMPTY:
        return math.inf
    return gaussian_kl(mean, cov, other_mean, other_cov)


def _root(cov: Floats) -> Floats:
    """Return the symmetric square root of a covariance; rounding below zero clipped."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
