"""What a scale knows: effective dimension, Kullback–Leibler divergence and mutual information (T6)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.axes import FlowAxis, flow_axis
from brg_prob.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    Picture,
    frame,
    label_axes,
    legend,
    log_axis,
    new_figure,
    short,
)

_MEASURES = ("effective_dimension", "kl_to_prior", "mutual_information")
_LABELS = {
    "effective_dimension": "effective dimension",
    "kl_to_prior": "KL to prior",
    "mutual_information": "mutual information",
}
_ROUNDING = 1e-9


def information_picture(tree: xr.DataTree) -> Picture | None:
    """Draw effective dimension, KL to the prior and mutual information along each flow.

    Reads ``flow`` and ``shell/flow`` (effective_dimension, kl_to_prior, mutual_information). None without
    effective dimension and KL; without ``mutual_information``, or without a second flow on the same axis,
    those curves are left out.
    """
    flow = tree["flow"].to_dataset()
    if not {"effective_dimension", "kl_to_prior"} <= set(flow.data_vars):
        return None
    flows = _flows(tree, flow)
    fig, (top, low) = new_figure(height=5.0, nrows=2, sharex=True)
    for ax, names in ((top, _MEASURES[:1]), (low, _MEASURES[1:])):
        for number, (scheme, (data, axis)) in enumerate(flows.items()):
            # a shell's mutual information would hide its divergence: they all but coincide
            for name in names[: len(names) if number == 0 else 1]:
                if name in data:
                    _curve(ax, axis, _along(data, name, axis), name, scheme if len(flows) > 1 else "", number)
        _scale(ax)
        legend(ax, loc="best", fontsize=9.5)
    axis = flows[next(iter(flows))][1]
    axis.draw(low)
    label_axes(top, y="effective dimension")
    label_axes(low, y="information (nats)")
    dimension, divergence = (_along(flow, name, axis) for name in _MEASURES[:2])
    return Picture(
        "information",
        fig,
        _message(dimension, divergence),
        "Above: effective dimension, the number of modes the data determine"
        + (" (for a shell: of those it keeps)" if len(flows) > 1 else "")
        + ". Below: Kullback–Leibler divergence of the field from its prior for these data, and the mutual "
        "information that T observations carry on average over data. Computed from the Fisher spectrum, not "
        f"sampled: no error bars. {axis.direction}",
        _words(dimension, divergence, flow, axis),
        pd.concat([_numbers(data, at, scheme) for scheme, (data, at) in flows.items()], ignore_index=True),
        "flow",
    )


def _flows(tree: xr.DataTree, flow: xr.Dataset) -> dict[str, tuple[xr.Dataset, FlowAxis]]:
    """Return each flow with its axis, by scheme; the second one only where it has the same axis."""
    axis = flow_axis(flow)
    found = {str(flow.attrs.get("scheme", "flow")).lower(): (flow, axis)}
    if "shell" in tree.children and "flow" in tree["shell"].children:
        second = tree["shell/flow"].to_dataset()
        at = flow_axis(second)
        if at.by_observations == axis.by_observations and set(_MEASURES[:2]) <= set(second.data_vars):
            found["shell"] = (second, at)
    return found


def _along(flow: xr.Dataset, name: str, axis: FlowAxis) -> np.ndarray:
    """Return a variable at the scales shown."""
    return np.asarray(flow[name].values, dtype=float)[axis.shown]


def _curve(ax: Axes, axis: FlowAxis, values: np.ndarray, name: str, scheme: str, number: int) -> None:
    """Draw one quantity of one flow: colour by quantity, marker and line by flow."""
    colour = {"effective_dimension": BLUE, "kl_to_prior": ORANGE, "mutual_information": GREEN}[name]
    label = ", ".join(word for word in (_LABELS[name], scheme) if word)
    ax.plot(
        axis.values,
        np.where(values > 0, values, np.nan),
        ("o-", "s--")[number],
        ms=4.5,
        mfc="none",
        mew=1.2,
        lw=1.3,
        color=colour,
        label=label,
    )


def _scale(ax: Axes) -> None:
    """Make the vertical axis logarithmic where what was drawn spans a decade or more."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.max() >= 10 * drawn.min():
        log_axis(ax, "y", drawn.min(), drawn.max())


def _message(dimension: np.ndarray, divergence: np.ndarray) -> str:
    """Return the message: whether the flow forgets, and at every step."""
    change = (
        f"KL to the prior goes from {short(divergence[0])} to {short(divergence[-1])} nats, effective "
        f"dimension from {short(dimension[0])} to {short(dimension[-1])}"
    )
    if divergence[-1] >= divergence[0]:
        return f"The flow does not forget: {change}"
    slack = _ROUNDING * np.abs(divergence).max()
    always = np.all(np.diff(divergence) <= slack)
    return f"The flow forgets {'step by step' if always else 'on the whole, not at every step'}: {change}"


def _words(dimension: np.ndarray, divergence: np.ndarray, flow: xr.Dataset, axis: FlowAxis) -> str:
    """Return the curves' ends in words."""
    text = (
        f"From {axis.at(0)} to {axis.at(-1)} the effective dimension goes from {short(dimension[0])} to "
        f"{short(dimension[-1])}, the KL divergence from {short(divergence[0])} to "
        f"{short(divergence[-1])} nats"
    )
    if "mutual_information" in flow:
        mutual = _along(flow, "mutual_information", axis)
        text += f", the mutual information from {short(mutual[0])} to {short(mutual[-1])} nats"
    return text + "."


def _numbers(flow: xr.Dataset, axis: FlowAxis, scheme: str) -> pd.DataFrame:
    """Return the quantities of one flow."""
    units = {"effective_dimension": "", "kl_to_prior": "nats", "mutual_information": "nats"}
    columns = {axis.column: axis.values}
    columns |= {(_LABELS[name], units[name]): _along(flow, name, axis) for name in _MEASURES if name in flow}
    return frame(columns, series=scheme)
