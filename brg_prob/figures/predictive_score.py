"""Predictive score against scale, and the critical scale (T8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.axes import FlowAxis, flow_axis
from brg_prob.figures.style import (
    BLUE,
    INK,
    ORANGE,
    VERMILION,
    Picture,
    frame,
    label_axes,
    legend_above,
    new_figure,
    short,
    with_error,
)

_VARIABLES = ("test_score", "test_score_se", "score_difference", "score_difference_se")


def score_picture(tree: xr.DataTree) -> Picture | None:
    """Draw how much worse than the unflowed posterior each scale predicts held-out data; critical scale.

    Reads ``flow`` and ``shell/flow`` (score_difference, score_difference_se, test_score, test_score_se,
    attribute critical_scale). None without held-out scores or without their paired differences; a second
    flow without them, or on another axis, is left out.
    """
    flow = tree["flow"].to_dataset()
    if not _scored(flow):
        return None
    axis = flow_axis(flow)
    series: list[tuple[str, xr.Dataset, FlowAxis]] = [(_scheme(flow), flow, axis)]
    if "shell" in tree.children and "flow" in tree["shell"].children:
        second = tree["shell/flow"].to_dataset()
        at = flow_axis(second)
        if _scored(second) and at.by_observations == axis.by_observations:
            series.append(("shell", second, at))
    fig, ax = new_figure()
    ax.axhline(0, color=INK, lw=1.1, zorder=2)
    for number, (scheme, data, at) in enumerate(series):
        _draw(ax, data, at, scheme, number, shift=len(series) > 1)
    critical = float(flow.attrs.get("critical_scale", np.nan))
    index = _position(flow, axis, critical)
    if index is not None:
        ax.axvline(
            axis.values[index], color=VERMILION, ls=":", lw=1.4, zorder=1, label=f"critical, {axis.at(index)}"
        )
    axis.draw(ax)
    label_axes(ax, y="score − unflowed score\n(nats per held-out observation)")
    legend_above(ax, 3)
    score, error = (float(flow[name].values[0]) for name in ("test_score", "test_score_se"))
    return Picture(
        "score",
        fig,
        _message(flow, axis, index),
        "Mean log predictive density per held-out observation, minus that of the unflowed posterior; one "
        "standard error of this paired difference. A scale fails if it is worse by more than one standard "
        "error; the critical scale is the last before the first failure. " + axis.direction,
        _words(flow, axis, index) + f" At the first scale the score itself is {with_error(score, error)}.",
        pd.concat([_numbers(data, at, scheme) for scheme, data, at in series], ignore_index=True),
        "flow",
    )


def _scored(flow: xr.Dataset) -> bool:
    """Return whether a flow has paired held-out scores."""
    return all(name in flow and np.isfinite(flow[name].values).any() for name in _VARIABLES)


def _scheme(flow: xr.Dataset) -> str:
    """Return the name of a flow."""
    return str(flow.attrs.get("scheme", "flow")).lower()


def _values(flow: xr.Dataset, axis: FlowAxis, name: str) -> np.ndarray:
    """Return a variable at the scales shown."""
    return np.asarray(flow[name].values, dtype=float)[axis.shown]


def _draw(ax: Axes, flow: xr.Dataset, axis: FlowAxis, scheme: str, number: int, *, shift: bool) -> None:
    """Draw one flow; two of them stand apart by a little, so that no bar hides another."""
    colour, marker = ((BLUE, "o-"), (ORANGE, "s--"))[number]
    style: dict[str, Any] = {"ms": 4.5, "mfc": "none", "mew": 1.2, "lw": 1.1, "elinewidth": 1.0, "capsize": 2}
    apart = 1.06 ** (1 - 2 * number) if shift else 1.0
    ax.errorbar(
        axis.values * apart,
        _values(flow, axis, "score_difference"),
        _values(flow, axis, "score_difference_se"),
        fmt=marker,
        color=colour,
        label=scheme,
        **style,
    )


def _position(flow: xr.Dataset, axis: FlowAxis, critical: float) -> int | None:
    """Return where the critical scale stands among the scales shown, if there is one."""
    scales = np.asarray(flow["scale"].values, dtype=float)[axis.shown]
    near = np.flatnonzero(np.isclose(scales, critical, rtol=1e-9, atol=0))
    return int(near[0]) if near.size else None


def _message(flow: xr.Dataset, axis: FlowAxis, index: int | None) -> str:
    """Return the message: how far the flow may go, and what the next scale costs."""
    difference, error = (_values(flow, axis, f"score_difference{part}") for part in ("", "_se"))
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


def _words(flow: xr.Dataset, axis: FlowAxis, index: int | None) -> str:
    """Return the curve in words."""
    difference, error = (_values(flow, axis, f"score_difference{part}") for part in ("", "_se"))
    best = int(np.nanargmax(difference))
    critical = "There is no critical scale." if index is None else f"The critical scale is {axis.at(index)}."
    return (
        f"{critical} The best scale is {axis.at(best)}, "
        f"{with_error(difference[best], error[best])} nats per observation against the unflowed posterior; "
        f"the last, {axis.at(-1)}, is at {with_error(difference[-1], error[-1])}."
    )


def _numbers(flow: xr.Dataset, axis: FlowAxis, scheme: str) -> pd.DataFrame:
    """Return the scores of one flow."""
    unit = "nats per observation"
    names = {
        "test_score": "score",
        "test_score_se": "standard error of the score",
        "score_difference": "difference to the unflowed posterior",
        "score_difference_se": "standard error of the difference",
    }
    columns = {axis.column: axis.values}
    columns |= {(label, unit): _values(flow, axis, name) for name, label in names.items()}
    return frame(columns, series=scheme)
