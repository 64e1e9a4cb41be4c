"""How far a Gaussian flow's draws are from the posterior sampled anew at every scale (T6, T18)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.axes import FlowAxis, flow_axis
from brg_prob.figures.style import (
    BLUE,
    GRID,
    MUTED,
    VERMILION,
    Picture,
    columns_of,
    frame,
    label_axes,
    legend_above,
    new_figure,
    short,
)
from brg_prob.summary import floats, group

_LABELS = {
    "equivalent_shift": ("equivalent shift", "sd"),
    "null_shift": ("shift that equal laws stay below", "sd"),
    "smallest_detectable": ("smallest detectable shift", "sd"),
    "size": ("energy coefficient", ""),
    "p_value": ("p-value", ""),
    "rejected": ("told apart", ""),
}


def distance_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the energy distance of flow and tempering, as a shift, against scale; None without ``distance``.

    Reads ``equivalent_shift``, ``null_shift``, ``smallest_detectable``, ``p_value`` and ``rejected`` of
    ``distance``, ``observations`` of ``flow``, and ``shift_tolerance`` where the run states one.
    """
    distance = group(tree, "distance")
    if not distance or "flow" not in tree.children:
        return None
    axis = flow_axis(tree["flow"].to_dataset())
    columns = {str(name): floats(distance, str(name))[axis.shown] for name in distance.data_vars}
    tolerance = float(tree.attrs.get("shift_tolerance", math.nan))
    fig, ax = new_figure()
    _draw(ax, axis, columns, tolerance)
    axis.draw(ax)
    label_axes(ax, y="distance as a shift\n(standard deviations of a draw)")
    legend_above(ax, 2)
    return Picture(
        "distance",
        fig,
        _message(axis, columns),
        "Energy distance between the draws of the flow and the posterior sampled anew at the same T, over "
        "all parameters together, as the shift of a normal law of as many dimensions that has it. Grey: what "
        "equal laws stay below with probability 0.95 at this number of draws. "
        + (f"Dotted: the shift that may go unseen, {short(tolerance)}. " if math.isfinite(tolerance) else "")
        + "Filled squares: rejected, over all scales together at the level of the test. Where both hold the "
        f"very same draws nothing can be tested. {axis.direction}",
        _words(axis, columns),
        frame({axis.column: axis.values} | columns_of(distance, _LABELS, axis.shown)),
        "correspondence",
    )


def _draw(ax: Axes, axis: FlowAxis, columns: dict[str, np.ndarray], tolerance: float) -> None:
    """Draw the shifts, what chance gives, and the tolerance."""
    shift, rejected = columns["equivalent_shift"], columns["rejected"] > 0
    tested = np.isfinite(columns["p_value"])
    ax.fill_between(
        axis.values, 0, columns["null_shift"], color=GRID, lw=0, label="equal laws, 95 %", zorder=1
    )
    if math.isfinite(tolerance):
        ax.axhline(tolerance, color=MUTED, ls=":", lw=1.3, label="tolerance", zorder=2)
    ax.plot(axis.values, shift, "-", color=BLUE, lw=1.1, zorder=3)
    hollow: dict[str, Any] = {"mfc": "none", "mew": 1.2}
    for scales, marker, colour, label, style in (
        (tested & ~rejected, "o", BLUE, "not told apart", hollow),
        (~tested, "D", MUTED, "the same draws", hollow | {"clip_on": False}),
        (rejected, "s", VERMILION, "told apart", {}),
    ):
        if scales.any():
            ax.plot(
                axis.values[scales], shift[scales], marker, ms=5, color=colour, label=label, zorder=4, **style
            )
    ax.set_ylim(bottom=0)


def _message(axis: FlowAxis, columns: dict[str, np.ndarray]) -> str:
    """Return where the flow departs from the posterior."""
    rejected = np.flatnonzero(columns["rejected"] > 0)
    shift = columns["equivalent_shift"]
    if not rejected.size:
        sizes = columns["smallest_detectable"]
        power = f" of {short(float(np.nanmax(sizes)), 2)} sd" if np.isfinite(sizes).any() else ""
        return f"The flow follows the posterior sampled anew at every scale; a shift{power} would be seen"
    worst = int(rejected[np.argmax(shift[rejected])])
    return (
        f"The flow leaves the posterior sampled anew at {rejected.size} of {shift.size} scales, by up to "
        f"{short(shift[worst], 2)} standard deviations at {axis.at(worst)}"
    )


def _words(axis: FlowAxis, columns: dict[str, np.ndarray]) -> str:
    """Return the curve in words."""
    parts = []
    for at, (shift, p_value) in enumerate(zip(columns["equivalent_shift"], columns["p_value"], strict=True)):
        what = f"{short(shift, 2)} (p = {short(p_value, 2)})" if math.isfinite(p_value) else "the same draws"
        parts.append(f"{axis.at(at)}: {what}")
    return f"Shift in standard deviations by scale – {'; '.join(parts)}."
