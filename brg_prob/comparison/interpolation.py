"""Curves of several runs on one grid of lags or momenta; linear interpolation with a bound on its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brg_prob.arrays import Floats

_SAME = 1e-6  # of the grid's span: the round-off of taking an origin off and putting it back


@dataclass(frozen=True)
class Curve:
    """Values with standard errors on a grid.

    Attributes
    ----------
    at
        (g,) ascending.
    value, error
        (..., g).
    """

    at: Floats
    value: Floats
    error: Floats


def same_grid(one: Floats, other: Floats) -> bool:
    """Whether two grids agree to rounding."""
    return one.shape == other.shape and bool(np.all(np.abs(one - other) <= _SAME * _span(one)))


def common_grid(grids: Sequence[Floats]) -> Floats | None:
    """Return the grid on which all curves are compared.

    The common one if all agree; else, inside the overlap of all, that of the grid with the
    fewest points there, so that as little as possible is interpolated. It does not depend on
    the order of the grids. None where fewer than two points overlap.
    """
    if all(same_grid(grids[0], grid) for grid in grids[1:]):
        return grids[0]
    slack = _SAME * min(_span(grid) for grid in grids)
    low, high = max(grid[0] for grid in grids) - slack, min(grid[-1] for grid in grids) + slack
    inside = [grid[(grid >= low) & (grid <= high)] for grid in grids]
    fewest = min(inside, key=lambda grid: (grid.size, tuple(grid)))
    return fewest if fewest.size >= 2 else None


def on_grid(curve: Curve, grid: Floats) -> Curve:
    """Return a curve on another grid inside its own.

    Between its points the value is interpolated linearly. The error is that of neighbours
    that fluctuate together, plus the bound (x − x_i)(x_{i+1} − x)|f″|/2 on the interpolation's
    own error, f″ from the curve's second differences.
    """
    if same_grid(curve.at, grid):
        return Curve(grid, curve.value, curve.error)
    left = np.clip(np.searchsorted(curve.at, grid, side="right") - 1, 0, curve.at.size - 2)
    step = curve.at[left + 1] - curve.at[left]
    weight = np.clip((grid - curve.at[left]) / step, 0, 1)
    near = _SAME * _span(curve.at) / step
    weight = np.where(weight < near, 0.0, np.where(weight > 1 - near, 1.0, weight))

    def between(values: Floats) -> Floats:
        return (1 - weight) * values[..., left] + weight * values[..., left + 1]

    bent = _second_derivative(curve)
    bent = np.maximum(bent[..., left], bent[..., left + 1])
    bound = weight * (1 - weight) * step**2 * bent / 2
    return Curve(grid, between(curve.value), between(curve.error) + bound)


def _second_derivative(curve: Curve) -> Floats:
    """Return |f″| at each point from three neighbours; at the ends it goes on growing, if it grew."""
    x, f = curve.at, curve.value
    if x.size < 3:
        return np.zeros_like(f)
    slope = np.diff(f, axis=-1) / np.diff(x)
    inner = np.abs(2 * np.diff(slope, axis=-1) / (x[2:] - x[:-2]))
    first, last = (
        2 * inner[..., end] - inner[..., beside] if x.size > 3 else inner[..., end]
        for end, beside in ((0, 1), (-1, -2))
    )
    ends = (np.maximum(first, inner[..., 0])[..., None], np.maximum(last, inner[..., -1])[..., None])
    return np.concatenate([ends[0], inner, ends[1]], axis=-1)


def _span(grid: Floats) -> float:
    """Return the length of a grid."""
    return float(grid[-1] - grid[0]) if grid.size > 1 else 1.0
