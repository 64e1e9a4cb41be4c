"""Power spectra of fields on equispaced grids (T1, T9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real

from brg_prob.correlators.k_statistics import BLOCK, Estimate, Fields, checked_draws, error_of_mean
from brg_prob.shapes import Rows
from brg_prob.spectra import equispaced_grid, lattice_momenta, plane_waves

Bins = str | int | Real[Any, " edges"] | Sequence[float]


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

    momentum: Float[np.ndarray, "*entries"]
    modes: Int[np.ndarray, "*entries"]


def power_spectrum(
    f: Fields,
    x: Real[Any, "x d"] | Rows,
    *,
    bins: Bins = "mode",
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
    draws, inputs = checked_draws(f), np.asarray(x, dtype=float)
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
    chunk = max(1, BLOCK // basis.shape[0])
    for chain in range(draws.shape[0]):
        for start in range(0, draws.shape[1], chunk):
            rows = slice(start, start + chunk)
            power = ((draws[chain, rows] - mean) @ basis * grid.spacing**dim) ** 2
            series[chain, rows] = _group_sum(power, group) / count
    value = series.mean(axis=(0, 1))
    error, effective = error_of_mean(series - value, independent)
    momentum = _group_sum(size[None], group)[0] / count
    unbias = total / (total - 1) if connected else 1.0
    return PowerSpectrum(value * unbias, error, effective, momentum, count)


def _mode_groups(
    index: Int[np.ndarray, " R"], size: Float[np.ndarray, " R"], bins: Bins
) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " M"]]:
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


def _group_sum(
    values: Float[np.ndarray, "draws R"], group: Int[np.ndarray, " R"]
) -> Float[np.ndarray, "draws M"]:
    """Sum the columns (last axis) of each group."""
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(values[..., order], starts, axis=-1)
