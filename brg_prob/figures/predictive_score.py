"""Predictive score against scale, and the critical scale (T8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.axes import FlowAxis, flow_axes
from brg_prob.figures.style import (
    BLUE,
    INK,
    ORANGE,
    VERMILION,
    Picture,
    label_axes,
    legend_above,
    new_figure,
    short,
    with_error,
)
from brg_prob.summary import floats

_UNIT = "nats per observation"
_LABELS = {
    "test_score": ("score", _UNIT),
    "test_score_se": ("standard error of the score", _UNIT),
    "score_difference": ("difference to the unflowed posterior", _UNIT),
    "score_difference_se": ("standard error of the difference", _UNIT),
}


def score_picture(tree: xr.DataTree) -> Picture | None:
    """Draw how much worse than the unflowed posterior each scale predicts held-out data; critical scale.

    Reads ``flow`` and ``shell/flow`` (score_difference, score_difference_se, test_score, test_score_se,
    attribute critical_scale). None without held-out scores or without their paired differences; a second
    flow without them, or on another axis, is left out.
    """
    flows = flow_axes(tree, ("flow", "shell/flow"), _LABELS)
    if not flows:
        return None
    axis = flows[0]
    fig, ax = new_figure()
    ax.axhline(0, color=INK, lw=1.1, zorder=2)
    for number, each in enumerate(flows):
        _draw(ax, each, number, shift=len(flows) > 1)
    index = _critical(axis)
    if index is not None:
        ax.axvline(
            axis.values[index], color=VERMILION, ls=":", lw=1.4, zorder=1, label=f"critical, {axis.at(index)}"
        )
    axis.draw(ax)
    label_axes(ax, y="score − unflowed score\n(nats per held-out observation)")
    legend_above(ax, 3)
    score, error = (float(axis.flow[name].values[0]) for name in ("test_score", "test_score_se"))
    return Picture(
        "score",
        fig,
        _message(axis, index),
        "Mean log predictive density per held-out observation, minus that of the unflowed posterior; one "
        "standard error of this paired difference. A scale fails if it is worse by more than one standard "
        "error; the critical scale is the last before the first failure. " + axis.direction,
        _words(axis, index) + f" At the first scale the score itself is {with_error(score, error)}.",
        pd.concat([each.numbers(_LABELS) for each in flows], ignore_index=True),
        "flow",
    )


def _draw(ax: Axes, axis: FlowAxis, number: int, *, shift: bool) -> None:
    """Draw one flow; two of them stand apart by a little, so that no bar hides another."""
    colour, marker = ((BLUE, "o-"), (ORANGE, "s--"))[number]
    style: dict[str, Any] = {"ms": 4.5, "mfc": "none", "mew": 1.2, "lw": 1.1, "elinewidth": 1.0, "capsize": 2}
    apart = 1.06 ** (1 - 2 * number) if shift else 1.0
    ax.errorbar(
        axis.values * apart,
        axis.along("score_difference"),
        axis.along("score_difference_se"),
        fmt=marker,
        color=colour,
        label=axis.scheme,
        **style,
    )


def _critical(axis: FlowAxis) -> int | None:
    """Return where the critical scale stands among the scales shown, if there is one."""
    critical = float(axis.flow.attrs.get("critical_scale", np.nan))
    near = np.flatnonzero(np.isclose(floats(axis.flow, "scale")[axis.shown], critical, rtol=1e-9, atol=0))
    return int(near[0]) if near.size else None


def _message(axis: FlowAxis, index: int | None) -> str:
    """Return the message: how far the flow may go, and what the next scale costs."""
    difference, error = (axis.along(f"score_difference{part}") for part in ("", "_se"))
    if index == axis.values.size - 1:
        return f"The flow can go all the way to {axis.at(index)} without predicting held-out data worse"
    failing = 0 if index is None else index + 1
    loss = -difference[failing]
    if index is None or (index == 0 and difference[0] == error[0] == 0):  # T = n is no step yet
        by = f", by {short(loss, 2)} nats per observation" if np.isfinite(loss) else ""
        return f"Already the first step of the flow predicts held-out data worse{by}"
    text = (
        f"{'Down' if axis.by_observations else 'Up'} to {axis.at(index)} held-out data are predicted no worse"
    )
    if not np.isfinite(loss):
        return f"{text}; the next scale fails"
    return f"{text}; one scale further {short(loss, 2)} nats per observation are lost"


def _words(axis: FlowAxis, index: int | None) -> str:
    """Return the curve in words."""
    difference, error = (axis.along(f"score_difference{part}") for part in ("", "_se"))
    best = int(np.nanargmax(difference))
    critical = "There is no critical scale." if index is None else f"The critical scale is {axis.at(index)}."
    return (
        f"{critical} The best scale is {axis.at(best)}, "
        f"{with_error(difference[best], error[best])} nats per observation against the unflowed posterior; "
        f"the last, {axis.at(-1)}, is at {with_error(difference[-1], error[-1])}."
    )
