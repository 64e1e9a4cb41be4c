"""Two-point function, four-point function and power spectrum of all theories on common grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from brg_prob.arrays import Floats
from brg_prob.comparison.compared_run import STATES, Reading
from brg_prob.comparison.differences import Differences
from brg_prob.comparison.interpolation import Curve, common_grid, on_grid, same_grid
from brg_prob.comparison.pairs import Pairs
from brg_prob.summary import floats
from brg_prob.wording import listed


@dataclass(frozen=True)
class Kind:
    """A correlation function: its name in ``field_theory``, its argument, its name in words."""

    group: str
    dim: str
    words: str


KINDS = (
    Kind("two_point", "lag", "two-point function"),
    Kind("four_point", "lag", "four-point function"),
    Kind("power", "momentum", "power spectrum"),
)


def curve_group(
    kind: Kind, readings: Sequence[Reading], pairs: Pairs, notes: list[str]
) -> tuple[xr.Dataset | None, list[Differences]]:
    """Return one correlation function of all theories and its differences between pairs.

    Returns
    -------
    Dataset or None
        ``value``, ``se`` (theory, grid); ``difference``, ``difference_se``, ``z``, ``relative``
        (contrast, grid); NaN for runs that cannot be compared, each with a line in ``notes``.
        None where no run has it.
    list of Differences
        Those with an error.
    """
    curves = _comparable(kind, readings, notes)
    if not curves:
        return None, []
    grid, curves = _one_grid(kind, readings, curves, notes)
    value = np.full((len(pairs.theories), grid.size), np.nan)
    error = value.copy()
    for number, theory in enumerate(pairs.theories):
        if theory.run in curves:
            state = STATES.index(theory.state)
            value[number], error[number] = curves[theory.run].value[state], curves[theory.run].error[state]
    found = [
        Differences.of(kind.words, at, grid, (value[one], value[other]), (error[one], error[other]))
        for at, (one, other) in enumerate(pairs.contrasts)
    ]
    interpolated = any(not same_grid(_curve(readings[run], kind).at, grid) for run in curves)
    field, length = readings[min(curves)].units
    dataset = xr.Dataset(
        {
            "value": (("theory", kind.dim), value),
            "se": (("theory", kind.dim), error),
            "difference": (("contrast", kind.dim), np.stack([d.value for d in found])),
            "difference_se": (("contrast", kind.dim), np.stack([d.error for d in found])),
            "z": (("contrast", kind.dim), np.stack([d.z for d in found])),
            "relative": (("contrast", kind.dim), np.stack([d.relative for d in found])),
        },
        coords={kind.dim: grid},
        attrs={"field_unit": field, "length_unit": length, "interpolated": int(interpolated)},
    )
    return dataset, found


def _comparable(kind: Kind, readings: Sequence[Reading], notes: list[str]) -> dict[int, Curve]:
    """Return the curves of the runs that have one in the reference's units."""
    curves: dict[int, Curve] = {}
    for number, reading in enumerate(readings):
        theory = reading.group("field_theory")
        if kind.group not in theory or theory.sizes[kind.dim] < 2:
            notes.append(f"“{reading.name}” has no {kind.words}, which needs equispaced inputs.")
        elif reading.units != readings[0].units:
            continue  # said once for all kinds
        else:
            curves[number] = _curve(reading, kind)
    return curves


def _one_grid(
    kind: Kind, readings: Sequence[Reading], curves: dict[int, Curve], notes: list[str]
) -> tuple[Floats, dict[int, Curve]]:
    """Return all curves on one grid; those that do not overlap with the first are left out."""
    first = min(curves)
    kept = {first: curves[first]}
    grid = curves[first].at
    for number, curve in curves.items():
        common = common_grid([*(c.at for c in kept.values()), curve.at])
        if common is None:
            notes.append(
                f"The {kind.words} of “{readings[number].name}” has no {kind.dim} in common with that of "
                f"“{readings[first].name}”."
            )
        else:
            kept[number], grid = curve, common
    moved = {number: on_grid(curve, grid) for number, curve in kept.items()}
    other = [readings[n].name for n, curve in kept.items() if not same_grid(curve.at, grid)]
    if other:
        notes.append(
            f"The {kind.words} of {listed(other)} is interpolated linearly to {grid.size} common "
            f"{'momenta' if kind.dim == 'momentum' else 'lags'}; a bound on the interpolation’s error is "
            "in its errors."
        )
    return grid, moved


def _curve(reading: Reading, kind: Kind) -> Curve:
    """Return a correlation function of prior and posterior, (2, g), where all of it is finite."""
    theory = reading.group("field_theory").sel(state=list(STATES)).sortby(kind.dim)
    theory = theory.transpose("state", kind.dim, ...)
    value, error = floats(theory, kind.group), floats(theory, f"{kind.group}_se")
    finite = np.isfinite(value).all(axis=0)
    return Curve(floats(theory, kind.dim)[finite], value[:, finite], error[:, finite])
