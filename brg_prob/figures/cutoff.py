"""Information cutoff against momentum cutoff (T9a)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    Picture,
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

_ROUNDING = 1e-9  # modes of equal |p| differ by rounding, and so do their eigenvalues


@dataclass(frozen=True)
class _Shells:
    """Per information cutoff Λ_I: largest momentum kept (nan where nothing is), measured and predicted.

    ``other``: how many modes are kept in one of the two sets only.
    """

    cutoff: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    other: np.ndarray

    @staticmethod
    def of(theory: xr.Dataset, observations: np.ndarray) -> _Shells:
        """Read off which modes have λ ≥ Λ_I = 1/T; the prediction keeps the ball |p| ≤ Λ′."""
        momentum = np.asarray(theory["momentum"].values, dtype=float)
        cutoff = 1 / observations[np.isfinite(observations) & (observations > 0)]
        kept, ball = (
            np.asarray(theory[f"fisher_{name}"].values, dtype=float) >= cutoff[:, None] * (1 - _ROUNDING)
            for name in ("measured", "predicted")
        )
        largest = [np.where(some, momentum, -1.0).max(axis=1) for some in (kept, ball)]
        measured, predicted = (np.where(value >= 0, value, np.nan) for value in largest)
        return _Shells(cutoff, measured, predicted, np.sum(kept != ball, axis=1))


def cutoff_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the largest momentum that an information cutoff keeps against that cutoff, on the predicted curve.

    Reads ``theory`` (momentum, fisher_measured, fisher_predicted) and ``flow`` (observations T, which
    give the cutoffs 1/T); None without them.
    """
    if "theory" not in tree.children or "fisher_measured" not in tree["theory"].data_vars:
        return None
    theory = tree["theory"].to_dataset()
    shells = _Shells.of(theory, np.asarray(tree["flow"]["observations"].values, dtype=float))
    if not np.isfinite(shells.measured).any():
        return None
    momentum, predicted = (
        np.asarray(theory[name].values, dtype=float) for name in ("momentum", "fisher_predicted")
    )
    order = np.argsort(momentum, kind="stable")
    order = order[predicted[order] > 0]
    fig, ax = new_figure()
    positive = np.concatenate([predicted[order], shells.cutoff])
    log_axis(ax, "x", positive.min(), positive.max())
    # between two modes' eigenvalues the larger momentum is the next mode's below the cutoff
    steps = {"drawstyle": "steps-pre", "label": "predicted: largest |p| with λ(p) ≥ Λ_I"}
    line = order[peaks(predicted[order], momentum[order])][::-1]
    ax.plot(predicted[line], momentum[line], "-", color=INK, lw=1.4, zorder=3, **steps)
    ax.axhline(momentum.max(), color=MUTED, ls=":", lw=1.2, zorder=2, label="the network’s largest momentum")
    ax.plot(
        shells.cutoff,
        shells.measured,
        "o",
        ms=5.5,
        mfc="none",
        mew=1.3,
        color=BLUE,
        label="largest |p| kept, measured",
        zorder=4,
    )
    ax.set_ylim(bottom=-0.03 * momentum.max(), top=1.32 * momentum.max())  # room for the legend
    unit = momentum_unit(input_unit(tree))
    label_axes(ax, x="information cutoff Λ_I = 1/T (flow →)", y=quantity("momentum cutoff Λ′", unit))
    legend(ax, loc="upper right")
    return _picture(fig, shells, unit)


def _picture(fig: Figure, shells: _Shells, unit: str) -> Picture:
    """Put the drawing into words."""
    scales, agree = shells.cutoff.size, int(np.sum(shells.other == 0))
    empty = int(np.isnan(shells.measured).sum())
    there = np.flatnonzero(np.isfinite(shells.measured))
    first, last = there[np.argmin(shells.cutoff[there])], there[np.argmax(shells.cutoff[there])]
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
        f"The momentum cutoff goes from {short(shells.measured[first])} {unit} at Λ_I = "
        f"{short(shells.cutoff[first])} to {short(shells.measured[last])} {unit} at Λ_I = "
        f"{short(shells.cutoff[last])}. At {agree} of {scales} scales exactly the predicted modes are kept, "
        f"at {empty} none; at most {shells.other.max()} modes differ.",
        frame(
            {
                ("information cutoff", ""): shells.cutoff,
                ("largest momentum kept, measured", unit): shells.measured,
                ("largest momentum kept, predicted", unit): shells.predicted,
                ("modes kept otherwise than predicted", ""): shells.other,
            }
        ),
        "correspondence",
    )
