"""Fisher spectrum against momentum, with the predicted line λ(p) = G0(p)/(L^d σ²) (T9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brg_prob.arrays import thin
from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    Picture,
    columns_of,
    frame,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_unit,
    new_figure,
    percent,
    power_of_ten,
    quantity,
    rank_axis,
    short,
)
from brg_prob.figures.thinning import drawn_note, peaks, spread
from brg_prob.summary import floats, group

_MOST_MARKERS, _MOST_RANKS = 60, 500
_LABELS = {
    "momentum": ("momentum", ""),
    "fisher_predicted": ("eigenvalue predicted", ""),
    "fisher_measured": ("eigenvalue measured", ""),
}
_ON_THE_LINE = 0.01  # relative distance that the eye cannot see on these axes


def spectrum_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the eigenvalues of the whitened Fisher metric at their momenta, on the predicted line.

    Reads ``theory`` (momentum, fisher_measured, fisher_predicted) and the root's number of
    observations; without a prediction, the eigenvalues of ``fisher`` against their rank. None without either,
    or where ``directions`` shows the latter in words.
    """
    observations = float(tree.attrs["observations"])
    theory = group(tree, "theory")
    if "fisher_measured" in theory:
        unit = momentum_unit(input_unit(tree))
        return _against_momentum(theory.sortby("momentum"), unit, observations, *new_figure())
    if "fisher" not in tree.children or "directions" in tree.children:
        return None
    values = np.sort(floats(tree["fisher"], "eigenvalue"))[::-1]
    return _by_rank(values, observations, *new_figure()) if (values > 0).any() else None


def _by_rank(values: np.ndarray, observations: float, fig: Figure, ax: Axes) -> Picture:
    """Draw eigenvalues in descending order; those that are zero cannot stand on the axis."""
    level, positive, rank = 1 / observations, values[values > 0], np.arange(1, values.size + 1)
    log_axis(ax, "y", min(positive.min(), level), max(positive.max(), level))
    rank_axis(ax, values.size)
    marked = thin(positive.size, _MOST_RANKS)
    ax.plot(rank[marked], positive[marked], "o", ms=3.5, color=BLUE, label="measured")
    label_axes(ax, x="rank of the mode", y="Fisher eigenvalue λ (per observation)")
    above = _threshold(ax, values, observations)
    return Picture(
        "spectrum",
        fig,
        f"The data can tell {above} of {values.size} modes apart",
        "Eigenvalues of the prior-whitened Fisher metric per observation, in descending order. Dotted: "
        "1/T, below which a mode is not distinguishable." + drawn_note(marked.size, positive.size, "modes"),
        f"Fisher eigenvalues against rank, from {short(values[0])} to {short(values[-1])}; {above} lie "
        "above 1/T.",
        frame({("rank", ""): rank, ("eigenvalue", ""): values}),
        "correspondence",
    )


def _against_momentum(theory: xr.Dataset, unit: str, observations: float, fig: Figure, ax: Axes) -> Picture:
    """Draw measured eigenvalues on the predicted line; momenta ascend."""
    momentum, measured, predicted = (
        floats(theory, name) for name in ("momentum", "fisher_measured", "fisher_predicted")
    )
    known = predicted > 0
    positive = np.concatenate([measured[measured > 0], predicted[known]])
    log_axis(ax, "y", positive.min(), positive.max())
    line, marked = peaks(predicted), spread(measured, _MOST_MARKERS)
    ax.plot(momentum[line], predicted[line], "-", color=INK, lw=1.4, label="predicted G₀(p)/(Lᵈσ²)", zorder=3)
    heights = np.where(measured > 0, measured, np.nan)[marked]
    circles: dict[str, Any] = {"ms": 4, "mfc": "none", "mew": 1.2, "color": BLUE, "label": "measured"}
    ax.plot(momentum[marked], heights, "o", zorder=4, **circles)
    above = _threshold(ax, measured, observations)
    label_axes(ax, x=quantity("momentum |p|", unit), y="Fisher eigenvalue λ (per observation)")
    legend(ax, loc="upper right")
    worst = float(np.max(np.abs(measured[known] / predicted[known] - 1)))
    return Picture(
        "spectrum",
        fig,
        f"{above} of {momentum.size} modes are distinguishable by the data; their eigenvalues "
        + (
            "lie on the predicted line"
            if worst < _ON_THE_LINE
            else f"lie within {percent(worst)} of prediction"
        ),
        "Eigenvalue λ of the prior-whitened Fisher metric per observation, at the momentum of its mode "
        "(circles), and the predicted line (solid). Dotted: λ = 1/T; the data distinguish the modes above "
        "it. No error bars: the metric is computed, not sampled. Largest relative distance from the line: "
        f"{short(worst)}." + drawn_note(marked.size, momentum.size, "modes"),
        f"Scatter plot, logarithmic vertical axis: {momentum.size} Fisher eigenvalues fall from "
        f"{short(measured.max())} at momentum zero to {short(measured[measured > 0].min())} at momentum "
        f"{momentum.max():.3g}, within {short(worst)} (relative) of the predicted line. {above} lie above "
        f"the threshold 1/T = {short(1 / observations)}.",
        frame(columns_of(theory, _LABELS | {"momentum": ("momentum", unit)})),
        "correspondence",
    )


def _threshold(ax: Axes, values: np.ndarray, observations: float) -> int:
    """Draw the line λ = 1/T and return how many eigenvalues lie on or above it."""
    level = 1 / observations
    ax.axhline(level, color=VERMILION, lw=1.2, ls=":", zorder=2)
    ax.annotate(
        f"1/T = {power_of_ten(float(f'{level:.2g}'))}",
        (0.005, level),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color=MUTED,
        fontsize=9,
    )
    return int(np.sum(values * observations >= 1))
