"""Information cutoff against momentum cutoff (T9a)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    Picture,
    columns_of,
    frame,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_unit,
    new_figure,
    quantity,
    short,
)
from brg_prob.figures.thinning import peaks
from brg_prob.summary import floats, group

_ROUNDING = 1e-9  # modes of equal |p| differ by rounding, and so do their eigenvalues


def cutoff_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the largest momentum that an information cutoff keeps against that cutoff, on the predicted curve.

    Reads ``theory`` (momentum, fisher_measured, fisher_predicted) and ``flow`` (observations T, which
    give the cutoffs 1/T); None without them.
    """
    theory = group(tree, "theory")
    if "fisher_measured" not in theory:
        return None
    shells = _shells(theory, floats(tree["flow"], "observations"))
    if not shells["measured"].notnull().any():
        return None
    modes = theory.isel(momentum=floats(theory, "fisher_predicted") > 0).sortby("momentum")
    momentum, predicted = floats(modes, "momentum"), floats(modes, "fisher_predicted")
    largest = floats(theory, "momentum").max()
    fig, ax = new_figure()
    positive = np.concatenate([predicted, floats(shells, "cutoff")])
    log_axis(ax, "x", positive.min(), positive.max())
    # between two modes' eigenvalues the larger momentum is the next mode's below the cutoff
    steps = {"drawstyle": "steps-pre", "label": "predicted: largest |p| with λ(p) ≥ Λ_I"}
    line = peaks(predicted, momentum)[::-1]
    ax.plot(predicted[line], momentum[line], "-", color=INK, lw=1.4, zorder=3, **steps)
    ax.axhline(largest, color=MUTED, ls=":", lw=1.2, zorder=2, label="the network’s largest momentum")
    circles = {"ms": 5.5, "mfc": "none", "mew": 1.3, "color": BLUE, "label": "largest |p| kept, measured"}
    ax.plot(floats(shells, "cutoff"), floats(shells, "measured"), "o", zorder=4, **circles)
    ax.set_ylim(bottom=-0.03 * largest, top=1.32 * largest)  # room for the legend
    unit = momentum_unit(input_unit(tree))
    label_axes(ax, x="information cutoff Λ_I = 1/T (flow →)", y=quantity("momentum cutoff Λ′", unit))
    legend(ax, loc="upper right")
    return _picture(fig, shells, unit)


def _shells(theory: xr.Dataset, observations: np.ndarray) -> xr.Dataset:
    """Read off which modes have λ ≥ Λ_I = 1/T; the prediction keeps the ball |p| ≤ Λ′.

    Returns
    -------
    xarray.Dataset
        Per information cutoff (scale): ``cutoff``; ``measured`` and ``predicted``, the largest momentum kept
        (nan where nothing is); ``other``, how many modes are kept in one of the two sets only.
    """
    cutoff = 1 / observations[np.isfinite(observations) & (observations > 0)]
    found: dict[str, np.ndarray] = {"cutoff": cutoff}
    kept = {
        name: floats(theory, f"fisher_{name}") >= cutoff[:, None] * (1 - _ROUNDING)
        for name in ("measured", "predicted")
    }
    for name, modes in kept.items():
        largest = np.where(modes, floats(theory, "momentum"), -1.0).max(axis=1)
        found[name] = np.where(largest >= 0, largest, np.nan)
    found["other"] = np.sum(kept["measured"] != kept["predicted"], axis=1)
    return xr.Dataset({name: ("scale", values) for name, values in found.items()})


def _picture(fig: Figure, shells: xr.Dataset, unit: str) -> Picture:
    """Put the drawing into words."""
    scales, other = shells.sizes["scale"], shells["other"].values
    agree, empty = int(np.sum(other == 0)), int(shells["measured"].isnull().sum())
    there = shells.isel(scale=shells["measured"].notnull().values)
    ends = there.sortby("cutoff").isel(scale=[0, -1])
    momentum, cutoff = ([short(value) for value in floats(ends, name)] for name in ("measured", "cutoff"))
    labels = {
        "cutoff": ("information cutoff", ""),
        "measured": ("largest momentum kept, measured", unit),
        "predicted": ("largest momentum kept, predicted", unit),
    }
    return Picture(
        "cutoff",
        fig,
        f"An information cutoff is a momentum cutoff: at all {scales} scales it keeps exactly the modes "
        "below Λ′"
        if agree == scales
        else f"At {scales - agree} of {scales} scales the information cutoff keeps other modes than the "
        "predicted momentum cutoff",
        "Circles: the largest momentum among the modes with Fisher eigenvalue λ ≥ Λ_I, at the cutoff 1/T of "
        "each scale. Solid: the same for the predicted eigenvalues, in the "
        "continuum λ(Λ′) = Λ_I. No error bars: the metric "
        "is computed, not sampled." + (f" At {empty} of {scales} scales nothing is kept." if empty else ""),
        f"The momentum cutoff goes from {momentum[0]} {unit} at Λ_I = {cutoff[0]} to {momentum[1]} {unit} at "
        f"Λ_I = {cutoff[1]}. At {agree} of {scales} scales exactly the predicted modes are kept, "
        f"at {empty} none; at most {other.max()} modes differ.",
        frame(columns_of(shells, labels) | {("modes kept otherwise than predicted", ""): other}),
        "correspondence",
    )
