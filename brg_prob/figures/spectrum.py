"""Fisher spectrum against momentum, with the predicted line λ(p) = G0(p)/(L^d σ²) (T9)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    Picture,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_unit,
    new_figure,
    power_of_ten,
    quantity,
    thin,
)

_MOST_MARKERS = 60


def spectrum_picture(tree: xr.DataTree) -> Picture:
    """Draw the eigenvalues of the whitened Fisher metric at their momenta, on the predicted line.

    Reads ``theory`` (momentum, fisher_measured, fisher_predicted) and the root's number of
    observations; without a prediction, the eigenvalues against their rank.
    """
    observations = float(tree.attrs["observations"])
    fig, ax = new_figure()
    if "theory" in tree.children and "fisher_measured" in tree["theory"].data_vars:
        return _against_momentum(tree, observations, fig, ax)
    values = np.sort(np.asarray(tree["fisher"]["eigenvalue"].values, dtype=float))[::-1]
    values = values[values > 0]
    log_axis(ax, "y", values.min(), values.max())
    ax.plot(np.arange(1, values.size + 1), values, "o", ms=3.5, color=BLUE, label="measured")
    label_axes(ax, x="rank of the mode", y="Fisher eigenvalue λ (per observation)")
    above = _threshold(ax, values, observations)
    return Picture(
        "spectrum",
        fig,
        f"The data can tell {above} of {values.size} modes apart",
        "Eigenvalues of the prior-whitened Fisher metric per observation, in descending order. Dotted: "
        "1/T, below which a mode is not distinguishable.",
        f"Fisher eigenvalues against rank, from {values[0]:.3g} to {values[-1]:.3g}; {above} lie above 1/T.",
    )


def _against_momentum(tree: xr.DataTree, observations: float, fig: Figure, ax: Axes) -> Picture:
    """Draw measured eigenvalues on the predicted line."""
    theory = tree["theory"].to_dataset()
    momentum = np.asarray(theory["momentum"].values, dtype=float)
    measured = np.asarray(theory["fisher_measured"].values, dtype=float)
    predicted = np.asarray(theory["fisher_predicted"].values, dtype=float)
    order = np.argsort(momentum, kind="stable")
    shown = predicted > 0
    positive = np.concatenate([measured[measured > 0], predicted[shown]])
    log_axis(ax, "y", positive.min(), positive.max())
    ax.plot(
        momentum[order], predicted[order], "-", color=INK, lw=1.4, label="predicted G₀(p)/(Lᵈσ²)", zorder=3
    )
    marked = order[thin(order.size, _MOST_MARKERS)]
    ax.plot(
        momentum[marked],
        np.where(measured > 0, measured, np.nan)[marked],
        "o",
        ms=4,
        mfc="none",
        mew=1.2,
        color=BLUE,
        label="measured",
        zorder=4,
    )
    above = _threshold(ax, measured, observations)
    unit = momentum_unit(input_unit(tree))
    label_axes(ax, x=quantity("momentum |p|", unit), y="Fisher eigenvalue λ (per observation)")
    legend(ax, loc="upper right")
    worst = float(np.max(np.abs(measured[shown] / predicted[shown] - 1)))
    return Picture(
        "spectrum",
        fig,
        f"{above} of {momentum.size} modes are distinguishable by the data, each at the momentum it "
        "belongs to",
        "Eigenvalue λ of the prior-whitened Fisher metric per observation, at the momentum of its mode "
        "(circles), and the predicted line (solid). Dotted: λ = 1/T; the data distinguish the modes above "
        "it. No error bars: the metric is computed, not sampled. Largest relative distance from the line: "
        f"{_short(worst)}." + _drawn(marked, order),
        f"Scatter plot, logarithmic vertical axis: {momentum.size} Fisher eigenvalues fall from "
        f"{_short(measured.max())} at momentum zero to {_short(measured[measured > 0].min())} at momentum "
        f"{momentum.max():.3g}, within {_short(worst)} (relative) of the predicted line. {above} lie above "
        f"the threshold 1/T = {_short(1 / observations)}.",
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


def _drawn(marked: np.ndarray, all_of_them: np.ndarray) -> str:
    """Return how many modes are drawn, where it is not all."""
    if marked.size == all_of_them.size:
        return ""
    return f" {marked.size} of {all_of_them.size} modes are drawn, evenly spread."


def _short(value: float) -> str:
    """Return a number in words fit for an alternative text."""
    return f"{value:.2g}"
