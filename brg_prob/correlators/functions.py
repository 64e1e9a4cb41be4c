"""n-point functions and cumulants of a field at given points (T1, T3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer

from brg_prob.correlators.k_statistics import (
    K_STATISTICS,
    Draws,
    Estimate,
    Fields,
    Indices,
    Series,
    Tuples,
    Value,
    checked_draws,
    checked_tuples,
    error_of_mean,
    fourth,
    second,
    streamed,
)


def n_point(f: Fields, indices: Tuples, *, independent: bool = False) -> Estimate:
    """Estimate G^(k)(x_1…x_k) = E[f(x_1)…f(x_k)] at given points.

    Parameters
    ----------
    f
        Draws, (chain, draw, x).
    indices
        Integers (M, k): M tuples of k points; a point may occur repeatedly.
    independent
        Whether the draws are independent; else errors come from effective sample sizes.

    Returns
    -------
    Estimate
        Arrays (M,), in units of f^k. Unbiased.

    Examples
    --------
    >>> f = np.random.default_rng(0).standard_normal((1, 1000, 2))
    >>> estimate = n_point(f, [[0, 0], [0, 1]], independent=True)
    >>> bool(np.all(np.abs(estimate.value - [1, 0]) < 4 * estimate.standard_error))
    True
    """
    draws, tuples = checked_draws(f), checked_tuples(f, indices)

    def products(block: Indices) -> tuple[Value, Series]:
        series = np.prod(draws[..., block], axis=-1)
        value = series.mean(axis=(0, 1))
        return value, series - value

    return streamed(products, draws, tuples, independent)


def cumulant(f: Fields, indices: Tuples, *, independent: bool = False) -> Estimate:
    """Estimate connected k-point functions, k = 1 … 4, by joint k-statistics.

    The value is Fisher's multivariate k-statistic, unbiased for independent draws (for S
    draws, with centred sums S_ab…: k_ab = S_ab/(S−1); k_abc = S S_abc/((S−1)(S−2));
    k_abcd = [S(S+1) S_abcd − (S−1)(S_ab S_cd + S_ac S_bd + S_ad S_bc)]/((S−1)(S−2)(S−3))).
    The error is that of the mean of its influence function (infinitesimal jackknife).

    Parameters
    ----------
    f
        Draws, (chain, draw, x); chains are pooled about their common mean.
    indices
        Integers (M, k), k = 1 … 4.
    independent
        Whether the draws are independent.

    Returns
    -------
    Estimate
        Arrays (M,). For chains the bias is of order 1/ESS.

    Raises
    ------
    ValueError
        k above 4, or no more draws than k.
    """
    draws, tuples = checked_draws(f), checked_tuples(f, indices)
    order = tuples.shape[1]
    total = draws.shape[0] * draws.shape[1]
    if order > 4:
        raise ValueError(f"cumulants of order {order} are not implemented; use 1 to 4")
    if total <= order:
        raise ValueError(f"{total} draws do not determine a cumulant of order {order}; use more")
    mean = draws.mean(axis=(0, 1))

    def connected(block: Indices) -> tuple[Value, Series]:
        centred = draws[..., block] - mean[block]
        value, influence = K_STATISTICS[order](centred, total)
        return (mean[block[:, 0]] if order == 1 else value), influence

    return streamed(connected, draws, tuples, independent)


def excess_kurtosis(
    f: Fields, points: Integer[Any, " M"] | Sequence[int] | None = None, *, independent: bool = False
) -> Estimate:
    """Estimate g4 = κ4/κ2² of the field at single points: 0 for a Gaussian field, O(1/width) for a network.

    Parameters
    ----------
    f
        Draws, (chain, draw, x).
    points
        Integers (M,); default: every point.
    independent
        Whether the draws are independent.

    Returns
    -------
    Estimate
        Arrays (M,), dimensionless; the ratio of unbiased estimates, biased at order 1/S. The
        error is by the delta method and needs eighth moments: use thousands of draws.
    """
    draws = checked_draws(f)
    chosen = np.arange(draws.shape[2]) if points is None else np.asarray(points)
    tuples = checked_tuples(f, np.repeat(chosen.reshape(-1, 1), 4, axis=1))
    total = draws.shape[0] * draws.shape[1]
    mean = draws.mean(axis=(0, 1))

    def ratio(block: Indices) -> tuple[Value, Series]:
        centred = draws[..., block] - mean[block]
        k2, influence_2 = second(centred[..., :2], total)
        k4, influence_4 = fourth(centred, total)
        return k4 / k2**2, influence_4 / k2**2 - 2 * k4 / k2**3 * influence_2

    return streamed(ratio, draws, tuples, independent)


def two_point(f: Fields, *, connected: bool = False, independent: bool = False) -> Estimate:
    """Estimate the two-point function on all pairs of points.

    Parameters
    ----------
    f
        Draws, (chain, draw, x) with n points.
    connected
        Subtract the mean field: the unbiased covariance instead of E[f f′].
    independent
        Whether the draws are independent.

    Returns
    -------
    Estimate
        Arrays (n, n), symmetric. Cost: two matrix products for independent draws; for chains
        n(n+1)/2 effective sample sizes (some 0.3 ms each): choose points by f[..., chosen].
    """
    draws = checked_draws(f)
    total = draws.shape[0] * draws.shape[1]
    centred = draws - draws.mean(axis=(0, 1)) if connected else draws
    if not independent:
        return _two_point_of_chains(centred, total - 1 if connected else total)
    flat = centred.reshape(total, -1)
    moment = flat.T @ flat / total
    spread = np.maximum((flat**2).T @ flat**2 / total - moment**2, 0.0)
    value = moment * total / (total - 1) if connected else moment
    return Estimate(value, np.sqrt(spread / (total - 1)), np.full(value.shape, float(total)))


def _two_point_of_chains(draws: Draws, divisor: int) -> Estimate:
    """Return the (n, n) two-point function with errors from the chains of every product, row by row."""
    points = draws.shape[2]
    arrays = [np.empty((points, points)) for _ in range(3)]
    for i in range(points):
        series = draws[..., i, None] * draws[..., i:]
        mean = series.mean(axis=(0, 1))
        value = mean * draws.shape[0] * draws.shape[1] / divisor
        error, effective = error_of_mean(series - mean, independent=False)
        for array, row in zip(arrays, (value, error, effective), strict=True):
            array[i, i:] = array[i:, i] = row
    return Estimate(*arrays)
