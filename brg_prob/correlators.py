"""Correlation functions of a field from draws of it, with errors (T1).

Draws are arrays (chain, draw, x). Independent draws (``independent=True``) get ordinary
standard errors. Chains get errors from the effective number of draws of the estimated
quantity itself: the series whose mean the estimate is (for a cumulant, its influence
function), never of the field. NUTS is antithetic, and for a variance the effective draws
of the field overstate those of the squared deviation severalfold [Vehtari et al.,
arXiv:1903.08008].

Estimates run on the host in float64, index tuple by index tuple in blocks, so that no
array larger than a block of series is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray

from brg_prob.spectra import equispaced_grid, lattice_momenta, plane_waves

Floats = NDArray[np.float64]

_BLOCK = 2**22  # elements of one block of series: 32 MB


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

    value: Floats
    standard_error: Floats
    effective_draws: Floats


@dataclass(frozen=True, eq=False)
class PowerSpectrum(Estimate):
    """Power of the field per momentum, normalised so that its expectation is G(p).

    Attributes
    ----------
    momentum
        |p| of each entry (mean over the modes of a bin), (M,).
    modes
        Number of real plane waves averaged, (M,).
    """

    momentum: Floats
    modes: NDArray[np.intp]


def n_point(f: ArrayLike, indices: ArrayLike, *, independent: bool = False) -> Estimate:
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
    draws, tuples = _checked_draws(f), _checked_tuples(f, indices)

    def products(block: NDArray[np.intp]) -> tuple[Floats, Floats]:
        series = np.prod(draws[..., block], axis=-1)
        value = series.mean(axis=(0, 1))
        return value, series - value

    return _streamed(products, draws, tuples, independent)


def cumulant(f: ArrayLike, indices: ArrayLike, *, independent: bool = False) -> Estimate:
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
    draws, tuples = _checked_draws(f), _checked_tuples(f, indices)
    order = tuples.shape[1]
    total = draws.shape[0] * draws.shape[1]
    if order > 4:
        raise ValueError(f"cumulants of order {order} are not implemented; use 1 to 4")
    if total <= order:
        raise ValueError(f"{total} draws do not determine a cumulant of order {order}; use more")
    mean = draws.mean(axis=(0, 1))

    def connected(block: NDArray[np.intp]) -> tuple[Floats, Floats]:
        centred = draws[..., block] - mean[block]
        value, influence = _K_STATISTICS[order](centred, total)
        return (mean[block[:, 0]] if order == 1 else value), influence

    return _streamed(connected, draws, tuples, independent)


def excess_kurtosis(f: ArrayLike, points: ArrayLike | None = None, *, independent: bool = False) -> Estimate:
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
    draws = _checked_draws(f)
    chosen = np.arange(draws.shape[2]) if points is None else np.asarray(points)
    tuples = _checked_tuples(f, np.repeat(chosen.reshape(-1, 1), 4, axis=1))
    total = draws.shape[0] * draws.shape[1]
    mean = draws.mean(axis=(0, 1))

    def ratio(block: NDArray[np.intp]) -> tuple[Floats, Floats]:
        centred = draws[..., block] - mean[block]
        k2, first = _second(centred[..., :2], total)
        k4, second = _fourth(centred, total)
        return k4 / k2**2, second / k2**2 - 2 * k4 / k2**3 * first

    return _streamed(ratio, draws, tuples, independent)


def two_point(f: ArrayLike, *, connected: bool = False, independent: bool = False) -> Estimate:
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
    draws = _checked_draws(f)
    total = draws.shape[0] * draws.shape[1]
    centred = draws - draws.mean(axis=(0, 1)) if connected else draws
    if not independent:
        return _two_point_of_chains(centred, total - 1 if connected else total)
    flat = centred.reshape(total, -1)
    moment = flat.T @ flat / total
    spread = np.maximum((flat**2).T @ flat**2 / total - moment**2, 0.0)
    value = moment * total / (total - 1) if connected else moment
    return Estimate(value, np.sqrt(spread / (total - 1)), np.full(value.shape, float(total)))


def _two_point_of_chains(draws: Floats, divisor: int) -> Estimate:
    """Return the (n, n) two-point function with errors from the chains of every product, row by row."""
    points = draws.shape[2]
    arrays = [np.empty((points, points)) for _ in range(3)]
    for i in range(points):
        series = draws[..., i, None] * draws[..., i:]
        mean = series.mean(axis=(0, 1))
        value = mean * draws.shape[0] * draws.shape[1] / divisor
        error, effective = _error_of_mean(series - mean, independent=False)
        for array, row in zip(arrays, (value, error, effective), strict=True):
            array[i, i:] = array[i:, i] = row
    return Estimate(*arrays)


def power_spectrum(
    f: ArrayLike,
    x: ArrayLike,
    *,
    bins: str | int | ArrayLike = "mode",
    connected: bool = False,
    independent: bool = False,
) -> PowerSpectrum:
    """Estimate the power of the field per momentum on an equispaced grid in d = 1, 2, 3.

    c_p = spacing^d Σ_i e_p(x_i) f(x_i) on the real plane waves e_p, orthonormal on the
    periodic box of n_side · spacing a side; then E[c_p²] = G(p), the continuum propagator of
    a field with covariance L^-d Σ_p G(p) e^{ip(x−x′)} (T4, T9). Momenta: all in the ball
    below the Nyquist momentum of a side, where nothing is aliased.

    Parameters
    ----------
    f
        Draws, (chain, draw, x).
    x
        Inputs, (n, d), a full tensor grid in any row order.
    bins
        "mode": one entry per ±p pair; "shell": one per value of |p|; a number of equal
        intervals of |p|, or their edges: one entry per interval that holds a mode.
    connected
        Subtract the mean field: the spectrum of fluctuations.
    independent
        Whether the draws are independent.

    Returns
    -------
    PowerSpectrum
        Entries in ascending |p|; value in units of G0, i.e. f² · length^d. The error of an entry
        is that of the average over its modes, correlations between modes included.

    Raises
    ------
    ValueError
        x is no equispaced grid.
    """
    draws, inputs = _checked_draws(f), np.asarray(x, dtype=float)
    grid = equispaced_grid(inputs)
    if grid is None:
        raise ValueError(f"inputs of shape {inputs.shape} are no full equispaced grid; use two_point instead")
    dim = inputs.shape[1]
    # halfway between the last unaliased index and the next, so that rounding cannot matter
    cutoff = 2 * np.pi / grid.box * ((grid.points_per_side - 1) // 2 + 0.25)
    momenta = np.asarray(lattice_momenta(dim, grid.box, cutoff))
    basis, index = (np.asarray(part) for part in plane_waves(inputs, momenta, grid.box))
    size = np.linalg.norm(momenta, axis=1)[index]
    group, count = _mode_groups(index, size, bins)
    total = draws.shape[0] * draws.shape[1]
    mean = draws.mean(axis=(0, 1)) if connected else np.zeros(draws.shape[2])
    series = np.empty((*draws.shape[:2], len(count)))
    chunk = max(1, _BLOCK // basis.shape[0])
    for chain in range(draws.shape[0]):
        for start in range(0, draws.shape[1], chunk):
            rows = slice(start, start + chunk)
            power = ((draws[chain, rows] - mean) @ basis * grid.spacing**dim) ** 2
            series[chain, rows] = _group_sum(power, group) / count
    value = series.mean(axis=(0, 1))
    error, effective = _error_of_mean(series - value, independent)
    momentum = _group_sum(size[None], group)[0] / count
    unbias = total / (total - 1) if connected else 1.0
    return PowerSpectrum(value * unbias, error, effective, momentum, count)


def _mode_groups(
    index: NDArray[np.intp], size: Floats, bins: str | int | ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the group number of every real mode (−1: in no bin) and the number of modes per group."""
    if isinstance(bins, str):
        if bins not in ("mode", "shell"):
            raise ValueError(f"bins = {bins!r}; choose 'mode', 'shell', a number of bins or their edges")
        # |p| of one shell agrees to rounding only
        label = index if bins == "mode" else np.round(size / size[size > 0].min() * 1e6).astype(np.int64)
    else:
        edges = (
            np.linspace(0, size.max(), bins + 1) if isinstance(bins, int) else np.asarray(bins, dtype=float)
        )
        label = np.digitize(size, edges) - 1
        label[np.isclose(size, edges[-1])] = len(edges) - 2
        label[label >= len(edges) - 1] = -1
    inside = label >= 0
    if not inside.any():
        raise ValueError(f"no momentum lies in the bins {bins!r}; the largest is {size.max()}")
    _, numbers, counts = np.unique(label[inside], return_inverse=True, return_counts=True)
    group = np.full(len(label), -1)
    group[inside] = numbers
    return group, counts


def _group_sum(values: Floats, group: NDArray[np.intp]) -> Floats:
    """Sum the columns (last axis) of each group."""
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(values[..., order], starts, axis=-1)


def _second(c: Floats, total: int) -> tuple[Floats, Floats]:
    """Return k_ab and its influence function from centred draws (chain, draw, M, 2)."""
    product = c[..., 0] * c[..., 1]
    mean = product.mean(axis=(0, 1))
    return mean * total / (total - 1), product - mean


def _third(c: Floats, total: int) -> tuple[Floats, Floats]:
    """Return k_abc and its influence function from centred draws (chain, draw, M, 3)."""
    product = c.prod(axis=-1)
    mean = product.mean(axis=(0, 1))
    influence = product - mean
    for a in range(3):
        rest = np.delete(c, a, axis=-1).prod(axis=-1)
        influence = influence - rest.mean(axis=(0, 1)) * c[..., a]
    return mean * total**2 / ((total - 1) * (total - 2)), influence


def _fourth(c: Floats, total: int) -> tuple[Floats, Floats]:
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


def _first(c: Floats, total: int) -> tuple[Floats, Floats]:
    """Return 0 (the mean of centred draws) and the influence function of the mean."""
    return np.zeros(c.shape[2]), c[..., 0]


_K_STATISTICS: dict[int, Callable[[Floats, int], tuple[Floats, Floats]]] = {
    1: _first,
    2: _second,
    3: _third,
    4: _fourth,
}


def _streamed(
    estimate: Callable[[NDArray[np.intp]], tuple[Floats, Floats]],
    draws: Floats,
    tuples: NDArray[np.intp],
    independent: bool,
) -> Estimate:
    """Apply ``estimate`` (block of tuples → value, centred series) block by block."""
    parts = []
    for block in _blocks(tuples, draws.shape[0] * draws.shape[1] * tuples.shape[1]):
        value, series = estimate(block)
        parts.append((value, *_error_of_mean(series, independent)))
    return Estimate(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _blocks(tuples: NDArray[np.intp], per_tuple: int) -> Iterator[NDArray[np.intp]]:
    """Yield the tuples in blocks whose series stay below the block size."""
    step = max(1, _BLOCK // per_tuple)
    for start in range(0, len(tuples), step):
        yield tuples[start : start + step]


def _error_of_mean(series: Floats, independent: bool) -> tuple[Floats, Floats]:
    """Return standard error and effective draws of the mean of a centred series (chain, draw, M)."""
    total = series.shape[0] * series.shape[1]
    spread = np.sqrt(np.sum(series**2, axis=(0, 1)) / max(total - 1, 1))
    if independent:
        effective = np.full(series.shape[2:], float(total))
    else:
        effective = np.asarray(array_stats.ess(series, chain_axis=0, draw_axis=1, method="mean"), dtype=float)
    return spread / np.sqrt(effective), effective


def _checked_draws(f: ArrayLike) -> Floats:
    """Return draws as a float64 array (chain, draw, x)."""
    draws = np.asarray(f, dtype=float)
    if draws.ndim != 3:
        raise ValueError(f"draws have shape {draws.shape}; (chain, draw, x) is needed: select one output")
    if draws.shape[0] * draws.shape[1] < 2:
        raise ValueError(f"draws of shape {draws.shape} hold one draw; an error needs two")
    return draws


def _checked_tuples(f: ArrayLike, indices: ArrayLike) -> NDArray[np.intp]:
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
