"""Leave-one-out prediction against scale, and how far its weights can be trusted (T6)."""

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

_LARGEST_K = 0.7
_LABELS = {
    "loo": ("elpd", "nats"),
    "loo_se": ("standard error of the elpd", "nats"),
    "loo_difference": ("difference to the first scale", "nats"),
    "loo_difference_se": ("standard error of the difference", "nats"),
    "pareto_k_max": ("largest Pareto k", ""),
    "pareto_k_bad": ("observations above the limit", ""),
}


def loo_picture(tree: xr.DataTree) -> Picture | None:
    """Draw how much worse than the unflowed posterior each scale predicts what is left out; Pareto k below.

    Reads ``loo``, ``loo_se``, ``loo_difference``, ``loo_difference_se``, ``pareto_k_max`` and
    ``pareto_k_bad`` of ``flow`` and of ``tempering/flow``. None where neither has them: leaving out in
    closed form takes no weights.
    """
    flows = [
        axis
        for path in ("flow", "tempering/flow")
        for axis in flow_axes(tree, (path,), ("loo",))
        if "pareto_k_bad" in axis.flow
    ]
    if not flows:
        return None
    fig, (top, low) = new_figure(height=5.0, nrows=2, sharex=True, height_ratios=(1.7, 1))
    top.axhline(0, color=INK, lw=1.1, zorder=2)
    low.axhline(_LARGEST_K, color=VERMILION, ls=":", lw=1.3)
    for number, each in enumerate(flows):
        _draw(top, low, each, number, apart=1.06 ** (1 - 2 * number) if len(flows) > 1 else 1.0)
    axis = flows[0]
    axis.draw(low)
    label_axes(top, y="elpd − elpd of the first scale\n(nats, all observations)")
    label_axes(low, y="largest Pareto k")
    legend_above(top, 3)
    return Picture(
        "loo",
        fig,
        _message(axis),
        "Above: expected log predictive density of observations left out one at a time, by weights that know "
        "T, minus that of the first scale; one standard error of this paired difference. Crosses: an "
        "observation's Pareto k is too large for these draws, so the value cannot be relied on. Below: the "
        f"largest Pareto k; dotted: {_LARGEST_K}, the limit for 2200 draws or more. {axis.direction}",
        _words(axis),
        pd.concat([each.numbers(_LABELS) for each in flows], ignore_index=True),
        "flow",
    )


def _draw(top: Axes, low: Axes, axis: FlowAxis, number: int, *, apart: float) -> None:
    """Draw one flow; two stand apart by a little, so that no bar hides another."""
    colour, marker = ((BLUE, "o"), (ORANGE, "s"))[number % 2]
    at, difference, error = axis.values * apart, axis.along("loo_difference"), axis.along("loo_difference_se")
    style: dict[str, Any] = {"ms": 4.5, "mfc": "none", "mew": 1.2, "lw": 1.1, "color": colour}
    bars: dict[str, Any] = {"elinewidth": 1.0, "capsize": 2, "label": axis.scheme}
    top.errorbar(at, difference, error, fmt=f"{marker}-", **bars, **style)
    bad = axis.along("pareto_k_bad") > 0
    if bad.any():
        label = "unreliable" if number == 0 else None
        top.plot(at[bad], difference[bad], "x", ms=8, mew=1.6, color=VERMILION, label=label, zorder=4)
    low.plot(at, axis.along("pareto_k_max"), f"{marker}-", **style)


def _message(axis: FlowAxis) -> str:
    """Return which scales predict what is left out as well as the first, and whether to rely on that."""
    difference, error = axis.along("loo_difference"), axis.along("loo_difference_se")
    bad = int(np.sum(axis.along("pareto_k_bad") > 0))
    worse = np.flatnonzero(~(difference >= -error))
    if worse.size == 0:
        text = f"Down to {axis.at(-1)} no scale predicts what is left out worse than the first"
    elif worse[0] == 0:
        text = "Leave-one-out scores could not be compared"
    else:
        loss = with_error(-difference[worse[0]], error[worse[0]])
        text = (
            f"Down to {axis.at(int(worse[0]) - 1)} what is left out is predicted no worse; one scale further "
            f"{loss} nats are lost"
        )
    return f"{text}; {bad} of {difference.size} scales cannot be relied on" if bad else text


def _words(axis: FlowAxis) -> str:
    """Return the curve in words."""
    score, error = axis.along("loo"), axis.along("loo_se")
    difference, paired = axis.along("loo_difference"), axis.along("loo_difference_se")
    k, bad = axis.along("pareto_k_max"), axis.along("pareto_k_bad")
    best = int(np.nanargmax(difference))
    text = (
        f"At {axis.at(0)} the elpd is {with_error(score[0], error[0])} nats. The best scale is "
        f"{axis.at(best)}, {with_error(difference[best], paired[best])} against the first; the last, "
        f"{axis.at(-1)}, is at "
        f"{with_error(difference[-1], paired[-1])}."
    )
    if np.isfinite(k).any():
        text += f" The largest Pareto k is {short(float(np.nanmax(k)), 2)}"
        text += f", and up to {int(bad.max())} observations are above the limit." if bad.any() else "."
    return text
