"""What a scale knows: effective dimension, Kullback–Leibler divergence and mutual information (T6)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.axes import FlowAxis, flow_axes
from brg_prob.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    Picture,
    label_axes,
    legend,
    log_axis,
    new_figure,
    short,
)

_COLOURS = {"effective_dimension": BLUE, "kl_to_prior": ORANGE, "mutual_information": GREEN}
_LABELS = {
    "effective_dimension": ("effective dimension", ""),
    "kl_to_prior": ("KL to prior", "nats"),
    "mutual_information": ("mutual information", "nats"),
}
_ROUNDING = 1e-9
_SOURCES = {
    "law": (
        "Kullback–Leibler divergence of the field from its prior for these data, and the mutual "
        "information that T observations carry on average over data. Computed from the Fisher spectrum, "
        "not sampled: no error bars."
    ),
    "moments": (
        "Kullback–Leibler divergence of the parameters from their prior for these data, that of the "
        "normal law with the draws' means and variances along the Fisher modes, and the mutual "
        "information that T observations carry on average over data, by the Fisher spectrum. The "
        "divergence errs as the draws do."
    ),
    "none": (
        "mutual information that T observations carry on average over data, from the Fisher spectrum. There "
        "is no divergence from the prior: {why}."
    ),
}
"""What the lower panel says, by where the divergence comes from."""


def information_picture(tree: xr.DataTree) -> Picture | None:
    """Draw effective dimension, KL to the prior and mutual information along each flow.

    Reads ``flow`` and ``shell/flow`` (effective_dimension, kl_to_prior, mutual_information). None without
    effective dimension and either information; curves of what is not there are left out.
    """
    flows = flow_axes(tree, ("flow", "shell/flow"), ("effective_dimension",))
    if not flows or not any(flows[0].has(name) for name in ("kl_to_prior", "mutual_information")):
        return None
    fig, (top, low) = new_figure(height=5.0, nrows=2, sharex=True)
    for number, axis in enumerate(flows):
        scheme = f", {axis.scheme}" if len(flows) > 1 else ""
        _curve(top, axis, "effective_dimension", scheme, number)
        _curve(low, axis, "kl_to_prior", scheme, number)
        # a shell's mutual information would hide its divergence: they all but coincide
        if number == 0:
            _curve(low, axis, "mutual_information", scheme, number)
    for ax in (top, low):
        _scale(ax)
        legend(ax, loc="best", fontsize=9.5)
    axis = flows[0]
    axis.draw(low)
    label_axes(top, y="effective dimension")
    label_axes(low, y="information (nats)")
    dimension = axis.along("effective_dimension")
    divergence = axis.along("kl_to_prior") if axis.has("kl_to_prior") else np.empty(0)
    return Picture(
        "information",
        fig,
        _message(dimension, divergence),
        "Above: effective dimension, the number of modes the data determine"
        + (" (for a shell: of those it keeps)" if len(flows) > 1 else "")
        + f". Below: {_source(axis.flow)} {axis.direction}",
        _words(dimension, divergence, axis),
        pd.concat([each.numbers(_LABELS) for each in flows], ignore_index=True),
        "flow",
    )


def _source(flow: xr.Dataset) -> str:
    """Return what the lower panel shows."""
    said = _SOURCES[str(flow.attrs.get("kl_from", "law"))]
    return said.format(why=flow.attrs.get("no_kl", "the draws have no law in closed form"))


def _curve(ax: Axes, axis: FlowAxis, name: str, scheme: str, number: int) -> None:
    """Draw one quantity of one flow: colour by quantity, marker and line by flow."""
    if not axis.has(name):
        return
    values, style = axis.along(name), ("o-", "s--")[number]
    ax.plot(
        axis.values,
        np.where(values > 0, values, np.nan),
        style,
        ms=4.5,
        mfc="none",
        mew=1.2,
        lw=1.3,
        color=_COLOURS[name],
        label=_LABELS[name][0] + scheme,
    )


def _scale(ax: Axes) -> None:
    """Make the vertical axis logarithmic where what was drawn spans a decade or more."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.max() >= 10 * drawn.min():
        log_axis(ax, "y", drawn.min(), drawn.max())


def _message(dimension: np.ndarray, divergence: np.ndarray) -> str:
    """Return the message: whether the flow forgets, and at every step."""
    if not divergence.size:
        return f"The flow goes from {short(dimension[0])} effective dimensions to {short(dimension[-1])}"
    change = (
        f"KL to the prior goes from {short(divergence[0])} to {short(divergence[-1])} nats, effective "
        f"dimension from {short(dimension[0])} to {short(dimension[-1])}"
    )
    if divergence[-1] >= divergence[0]:
        return f"The flow does not forget: {change}"
    slack = _ROUNDING * np.abs(divergence).max()
    always = np.all(np.diff(divergence) <= slack)
    return f"The flow forgets {'step by step' if always else 'on the whole, not at every step'}: {change}"


def _words(dimension: np.ndarray, divergence: np.ndarray, axis: FlowAxis) -> str:
    """Return the curves' ends in words."""
    text = (
        f"From {axis.at(0)} to {axis.at(-1)} the effective dimension goes from {short(dimension[0])} to "
        f"{short(dimension[-1])}"
    )
    if divergence.size:
        text += f", the KL divergence from {short(divergence[0])} to {short(divergence[-1])} nats"
    if axis.has("mutual_information"):
        mutual = axis.along("mutual_information")
        text += f", the mutual information from {short(mutual[0])} to {short(mutual[-1])} nats"
    return text + "."
