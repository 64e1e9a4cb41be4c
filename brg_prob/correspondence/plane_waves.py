"""Projection of fields on an equispaced grid onto the plane waves of its box (T4, T9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from brg_prob import spectra
from brg_prob.arrays import Floats


@dataclass(frozen=True)
class MomentumModes:
    """Real plane waves that a grid resolves.

    Attributes
    ----------
    projection
        (R, n): coefficients are ``projection @ f``, the integral of f against the
        orthonormal real plane waves, each of n points weighted by L^d/n. The coefficient of
        a stationary field has variance G(p).
    momentum
        |p| of each row, (R,); cosine and sine of a pair are two rows.
    cell
        L^d/n: white noise of standard deviation σ has coefficients of variance σ²·cell.
    unresolved
        Number of momenta below the cutoff that the grid cannot tell from lower ones.
    """

    projection: Floats
    momentum: Floats
    cell: float
    unresolved: int

    def coefficients(self, fields: ArrayLike) -> np.ndarray:
        """Return coefficients (S, o·R) of fields (S, n, o), one output after the other, in their dtype."""
        values = np.asarray(fields)
        size, _, outputs = values.shape
        rows = np.swapaxes(values, 1, 2).reshape(size * outputs, -1)
        return np.asarray(rows @ self.projection.T.astype(values.dtype)).reshape(size, -1)


def by_output(projections: ArrayLike) -> np.ndarray:
    """Return coefficients (S, o·R), one output after the other, of projections (S, R, o)."""
    values = np.asarray(projections)
    return np.swapaxes(values, 1, 2).reshape(len(values), -1)


def momentum_modes(x: ArrayLike, *, box: float, cutoff: float | None = None) -> MomentumModes:
    """Return the plane waves of the box below a cutoff that the inputs resolve.

    Parameters
    ----------
    x
        Inputs (n, d), a full grid of equispaced points in any order.
    box
        Side L of the periodic box; the grid must fill it, L = points per side × spacing.
    cutoff
        Largest |p|; default: everything that the grid resolves, i.e. more points per side
        than twice the mode index (T9).

    Raises
    ------
    ValueError
        The inputs are no such grid, or do not fill the box.
    """
    if misfit := grid_misfit(x, box=box):
        raise ValueError(misfit)
    inputs = np.asarray(x, dtype=float)
    grid = _full_grid(inputs)
    dim = inputs.shape[1]
    limit = cutoff if cutoff is not None else np.sqrt(dim) * grid.cutoff
    momenta = np.asarray(spectra.lattice_momenta(dim, box, limit))
    resolved = np.max(np.abs(np.rint(momenta * box / (2 * np.pi))), axis=1) <= grid.largest_index
    basis, index = spectra.plane_waves(inputs, momenta[resolved], box)
    size = np.linalg.norm(momenta[resolved], axis=1)[index]
    cell = box**dim / inputs.shape[0]
    unresolved = int(np.sum(~resolved)) if cutoff is not None else 0
    return MomentumModes(cell * np.asarray(basis, dtype=float).T, size, cell, unresolved)


def grid_misfit(x: ArrayLike, *, box: float | None) -> str | None:
    """Return why inputs (n, d) have no momentum modes in a box (None: any), or None if they have."""
    inputs = np.asarray(x, dtype=float)
    grid = spectra.equispaced_grid(inputs)
    if grid is None:
        return (
            f"x, of shape {inputs.shape}, is no full equispaced grid, which momentum modes need (T9); "
            "resample the inputs onto one"
        )
    if box is not None and not np.isclose(grid.box, box, rtol=1e-4):
        return f"the inputs fill a box of side {grid.box:g}, the prediction has box = {box:g}; use one box"
    return None


def equispaced_box(x: ArrayLike) -> float:
    """Return the side of the periodic box that a full grid of inputs (n, d) fills once."""
    return _full_grid(np.asarray(x, dtype=float)).box


def _full_grid(inputs: Floats) -> spectra.Grid:
    """Return the grid of the inputs, or raise ValueError."""
    if misfit := grid_misfit(inputs, box=None):
        raise ValueError(misfit)
    grid = spectra.equispaced_grid(inputs)
    assert grid is not None
    return grid
