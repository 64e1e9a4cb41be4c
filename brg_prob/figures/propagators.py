"""Propagators at several scales: variances of the flowed draws on the curves of the exact RG (T9b)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from brg_prob.figures.style import (
    INK,
    MUTED,
    SERIES,
    Picture,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_unit,
    new_figure,
    quantity,
    thin,
)

_MOST_MARKERS = 60
_MESSAGES = {
    "consistent": "Flowed back, the posterior’s fluctuations lie on the curves of the exact "
    "renormalization group",
    "inconsistent": "The posterior’s fluctuations, flowed back, held against the curves of the "
    "exact renormalization group (the checks reject their agreement)",
    "undetermined": "The posterior’s fluctuations, flowed back, held against the curves of the "
    "exact renormalization group",
}


def propagator_picture(tree: xr.DataTree) -> Picture:
    """Draw G(p; T) at four scales, measured on predicted, and the relative deviations below.

    Reads ``theory`` (momentum, predicted, measured, se) and ``flow`` (observations).
    """
    theory = tree["theory"].to_dataset()
    observations = np.asarray(tree["flow"]["observations"].values, dtype=float)
    momentum = np.asarray(theory["momentum"].values, dtype=float)
    order = np.argsort(momentum, kind="stable")
    momentum = momentum[order]
    arrays = [
        np.asarray(theory[name].values, dtype=float)[:, order] for name in ("predicted", "measured", "se")
    ]
    predicted, measured, error = arrays
    finite = (
        np.asarray(theory["finite_size"].values, dtype=float)[:, order] if "finite_size" in theory else None
    )
    chosen = thin(observations.size, len(SERIES))
    marked = thin(momentum.size, _MOST_MARKERS)
    fig, (top, low) = new_figure(height=5.2, nrows=2, sharex=True, height_ratios=[2.6, 1])
    shown = predicted[chosen][predicted[chosen] > 0]
    log_axis(top, "y", shown.min(), shown.max())
    shift = 0.12 * (momentum[-1] - momentum[0]) / max(marked.size, 1)
    for number, (scale, (colour, marker)) in enumerate(zip(chosen, SERIES, strict=False)):
        style = {"fmt": marker, "ms": 3.8, "mfc": "none", "mew": 1.0, "color": colour, "elinewidth": 0.9}
        top.plot(
            momentum,
            np.where(predicted[scale] > 0, predicted[scale], np.nan),
            "-",
            color=INK,
            lw=1.1,
            zorder=2,
        )
        if finite is not None:
            top.plot(momentum, finite[scale], "--", color=colour, lw=1.1, zorder=2)
        top.errorbar(
            momentum[marked],
            measured[scale, marked],
            error[scale, marked],
            label=f"T = {observations[scale]:.3g}",
            **style,
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation, bar = (
                100 * (measured[scale] / predicted[scale] - 1),
                100 * error[scale] / predicted[scale],
            )
        low.errorbar(momentum[marked] + (number - 1.5) * shift, deviation[marked], bar[marked], **style)
    low.axhline(0, color=INK, lw=1.1, zorder=2)
    top.plot([], [], "-", color=INK, lw=1.1, label="predicted (exact RG)")
    if finite is not None:
        top.plot([], [], "--", color=MUTED, lw=1.1, label="finite width, exact")
    length = input_unit(tree)
    label_axes(low, x=quantity("momentum |p|", momentum_unit(length)), y="deviation (%)")
    label_axes(top, y=quantity("propagator G(p; T)", f"field² · {length or 'length'}"))
    legend(top, loc="upper right")
    inside = _inside(predicted, measured, error)
    listed = ", ".join(f"{observations[s]:.3g}" for s in chosen)
    return Picture(
        "propagators",
        fig,
        _MESSAGES.get(str(tree.attrs["verdict"]), _MESSAGES["undetermined"]),
        "Above: variance of the field’s modes over the draws (markers, one standard error) on G(p; T) = "
        f"1/(1/G₀(p) + M²(T)) (lines) at {chosen.size} of {observations.size} scales"
        + ("; dashed: exact at this width" if finite is not None else "")
        + ". Below: the relative deviations. "
        + (
            f"{marked.size} of {momentum.size} modes are drawn, evenly spread."
            if marked.size < momentum.size
            else ""
        ),
        f"Propagators at T = {listed}. Of all {predicted.size} measured points {100 * inside:.0f} % lie "
        "within one standard error of the prediction; 68 % are expected.",
    )


def _inside(predicted: np.ndarray, measured: np.ndarray, error: np.ndarray) -> float:
    """Return the fraction of points within one standard error, where there is one."""
    valid = error > 0
    return float(np.mean(np.abs(measured - predicted)[valid] <= error[valid])) if valid.any() else 0.0
