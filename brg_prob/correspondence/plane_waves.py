"""Projection of fields on an equispaced grid onto the plane waves of its box (T4, T9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brg_prob import spectra
from brg_prob.arrays import Floats


@dataclass(frozen=True)
class Aliases:
    """Momenta of a field that a grid cannot tell from lower ones, and those onto which they fold.

    On a grid of N points per side p and p + 2πN/L are one and the same wave, whose variance is the sum of
    theirs: with p just above the Nyquist momentum πN/L it looks like 2πN/L − p.

    Attributes
    ----------
    momenta
        Number of momenta up to the field's cutoff that alias, one of each ±p pair.
    folded
        Number of real plane waves below them that they fold onto.
    nyquist
        πN/L.
    points
        Points per side that resolve all momenta.
    size, weight, label
        |p| of all momenta that are involved, by how much each counts, and to which wave of the grid it
        belongs, (F,).
    copies
        How many real waves each of those is, cosine and sine, or a cosine alone, (C,).
    """

    momenta: int
    folded: int
    nyquist: float
    points: int
    size: Floats
    weight: Floats
    label: NDArray[np.intp]
    copies: NDArray[np.intp]

    def summed(self, density: Callable[[Floats], Floats]) -> Floats:
        """Return a function of |p| summed over the momenta that look alike, of each real wave of the grid."""
        sums = np.bincount(self.label, self.weight * density(self.size), minlength=self.copies.size)
        return np.repeat(sums, self.copies)

    @property
    def note(self) -> str:
        """What is done about them, a sentence without its full stop; empty where there are none."""
        if not self.momenta:
            return ""
        above = f"at or above the grid's Nyquist momentum {self.nyquist:.4g}"
        said = f"1 momentum {above} aliases" if self.momenta == 1 else f"{self.momenta} momenta {above} alias"
        onto = f", with the {self.folded} plane waves onto which such fold," if self.folded else ""
        return (
            f"{said}: left out of the tests{onto} but for the Fisher spectrum, which has their sums; "
            f"{self.points} points per side resolve all"
        )


@dataclass(frozen=True)
class MomentumModes:
    """Real plane waves that a grid resolves, and that nothing beyond its resolution looks like.

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
    aliases
        Momenta below the field's cutoff that the grid cannot tell from others.
    """

    projection: Floats
    momentum: Floats
    cell: float
    aliases: Aliases

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


def momentum_modes(
    x: ArrayLike, *, box: float, cutoff: float | None = None, beyond: bool = False
) -> MomentumModes:
    """Return the plane waves of the box below a field's cutoff that the inputs resolve.

    Parameters
    ----------
    x
        Inputs (n, d), a full grid of equispaced points in any order.
    box
        Side L of the periodic box; the grid must fill it, L = points per side × spacing.
    cutoff
        Largest |p| of the field; default: everything that the grid resolves, i.e. more points per side
        than twice the mode index (T9). Waves onto which the field's higher momenta fold are left out.
    beyond
        Whether waves above the cutoff that the grid resolves are returned as well.

    Raises
    ------
    ValueError
        The inputs are no such grid, or do not fill the box.
    """
    if misfit := grid_misfit(x, box=box):
        raise ValueError(misfit)
    inputs = np.asarray(x, dtype=float)
    momenta, aliases = _told_apart(_full_grid(inputs), inputs.shape[1], box, cutoff, beyond=beyond)
    basis, index = spectra.plane_waves(inputs, momenta, box)
    size = np.linalg.norm(momenta, axis=1)[index]
    cell = box ** inputs.shape[1] / inputs.shape[0]
    return MomentumModes(cell * np.asarray(basis, dtype=float).T, size, cell, aliases)


def all_alias(x: ArrayLike, *, box: float | None, cutoff: float) -> str | None:
    """Return why a field up to a cutoff has no plane wave of its own on a full grid, or None if it has."""
    inputs = np.asarray(x, dtype=float)
    grid = _full_grid(inputs)
    momenta, aliases = _told_apart(grid, inputs.shape[1], grid.box if box is None else box, cutoff)
    if len(momenta):
        return None
    return (
        f"every plane wave of the grid stands for several momenta up to cutoff = {cutoff:g}, beyond its "
        f"Nyquist momentum {aliases.nyquist:.4g}; take {aliases.points} points per side, or a lower cutoff"
    )


def _told_apart(
    grid: spectra.Grid, dim: int, box: float, cutoff: float | None, *, beyond: bool = False
) -> tuple[Floats, Aliases]:
    """Return the momenta (M, d) that a grid tells apart from all others of the field, and the others."""
    whole = np.sqrt(dim) * grid.cutoff
    field = np.asarray(spectra.lattice_momenta(dim, box, whole if cutoff is None else cutoff))
    wanted = np.asarray(spectra.lattice_momenta(dim, box, whole)) if beyond else field
    points, largest = grid.points_per_side, grid.largest_index

    def read(momenta: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
        index = np.rint(momenta * box / (2 * np.pi)).astype(np.intp)
        there, back = (
            np.ravel_multi_index(tuple((sign * index % points).T), (points,) * dim) for sign in (1, -1)
        )
        return index, np.max(np.abs(index), axis=1) <= largest, np.minimum(there, back)

    index, resolved, wave = read(field)
    shared = np.unique(wave[~resolved]) if cutoff is not None else wave[:0]
    involved = np.isin(wave, shared)
    label = np.searchsorted(shared, wave[involved])
    alone = np.zeros(shared.size, bool)  # waves that are their own mirror image have no sine
    alone[label] = np.all(2 * index[involved] % points == 0, axis=1)
    moving = np.any(index[involved] != 0, axis=1)
    below = involved & resolved
    aliases = Aliases(
        momenta=int(np.sum(~resolved)) if cutoff is not None else 0,
        folded=int(np.sum(np.where(np.any(index[below] != 0, axis=1), 2, 1))),
        nyquist=np.pi / grid.spacing,
        points=2 * int(np.max(np.abs(index), initial=0)) + 1,
        size=np.linalg.norm(field[involved], axis=1),
        weight=np.where(alone[label] & moving, 2.0, 1.0),
        label=label,
        copies=np.where(alone, 1, 2),
    )
    _, resolved, wave = read(wanted)
    return wanted[resolved & ~np.isin(wave, shared)], aliases


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
