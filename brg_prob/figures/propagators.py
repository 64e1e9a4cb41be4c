"""Propagators at several scales: variances of the flowed draws on the curves of the exact RG (T9b)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.arrays import thin
from brg_prob.figures.style import (
    INK,
    MUTED,
    SERIES,
    Picture,
    columns_of,
    dimension,
    frame,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_unit,
    new_figure,
    power_unit,
    quantity,
)
from brg_prob.figures.thinning import drawn_note, peaks
from brg_prob.summary import check_rows, draws_of, floats, group

_MOST_MARKERS = 60
_SHOWN = ("momentum", "predicted", "measured", "se", "finite_size")
_CHECKS = ("propagator", "information shell")  # the checks of these variances, by scheme


def propagator_picture(tree: xr.DataTree) -> Picture | None:
    """Draw G(p; T) at four scales, measured on predicted, and the relative deviations below.

    Reads ``theory`` (momentum, predicted, measured, se; finite_size, exact at this width, if known) and
    ``flow`` (observations); None without a theory.
    """
    theory = group(tree, "theory")
    if "predicted" not in theory:
        return None
    shown = theory[[name for name in _SHOWN if name in theory]]  # moments of the mean may have an output more
    curves = shown.sortby("momentum").assign(observations=("scale", floats(tree["flow"], "observations")))
    scales = curves.isel(scale=thin(curves.sizes["scale"], len(SERIES)))
    marked = thin(curves.sizes["momentum"], _MOST_MARKERS)
    fig, (top, low) = new_figure(height=5.2, nrows=2, sharex=True, height_ratios=[2.6, 1])
    positive = floats(scales, "predicted")[floats(scales, "predicted") > 0]
    log_axis(top, "y", positive.min(), positive.max())
    for number in range(scales.sizes["scale"]):
        _draw_scale(top, low, scales.isel(scale=number), marked, number)
    low.axhline(0, color=INK, lw=1.1, zorder=2)
    top.plot([], [], "-", color=INK, lw=1.1, label="predicted (exact RG)")
    if "finite_size" in curves:
        top.plot([], [], "--", color=MUTED, lw=1.1, label="finite width, exact")
    length, dim = input_unit(tree), dimension(tree)
    unit = power_unit("field", length or "length", dim)
    label_axes(low, x=quantity("momentum |p|", momentum_unit(length)), y="deviation (%)")
    label_axes(top, y=quantity("propagator G(p; T)", unit))
    legend(top, loc="upper right")
    listed = ", ".join(f"{seen:.3g}" for seen in scales["observations"].values)
    errors = _errors(curves)
    inside = 100 * float((errors <= 1).mean()) if errors.size else 0.0
    return Picture(
        "propagators",
        fig,
        _message(tree, errors, inside),
        _caption(curves, scales.sizes["scale"], marked.size),
        f"Propagators at T = {listed}. Of all {curves['predicted'].size} measured points "
        f"{inside:.0f} % lie within one standard error of the prediction; 68 % are expected.",
        _numbers(scales, momentum_unit(length), unit),
        "correspondence",
    )


def _errors(curves: xr.Dataset) -> np.ndarray:
    """Return the distances from the prediction in standard errors, of the points that have one."""
    measured, predicted, error = (floats(curves, name) for name in ("measured", "predicted", "se"))
    return np.abs(measured - predicted)[error > 0] / error[error > 0]


def _message(tree: xr.DataTree, errors: np.ndarray, inside: float) -> str:
    """Return what the check of the propagator says; where it says nothing, how many points agree."""
    verdicts = {row["name"]: row["verdict"] for row in check_rows(tree)}
    verdict = next((verdicts[name] for name in _CHECKS if name in verdicts), tree.attrs.get("verdict"))
    drawn = draws_of(str(tree.attrs.get("engine")))
    if verdict == "consistent":
        return f"Flowed back, the {drawn}’s fluctuations lie on the curves of the exact renormalization group"
    if verdict == "inconsistent":
        return (
            f"Flowed back, the {drawn}’s fluctuations depart from the curves of the exact renormalization "
            f"group, by up to {errors.max(initial=0.0):.2g} standard errors"
        )
    return (
        f"Whether the {drawn}’s fluctuations follow the exact renormalization group stays open: "
        f"{inside:.0f} % of the points lie within one standard error, 68 % are expected"
    )


def _draw_scale(top: Axes, low: Axes, curve: xr.Dataset, marked: np.ndarray, number: int) -> None:
    """Draw one scale: curve and markers above, relative deviations below, shifted apart."""
    colour, marker = SERIES[number]
    style: dict[str, Any] = {
        "fmt": marker,
        "ms": 3.8,
        "mfc": "none",
        "mew": 1.0,
        "color": colour,
        "elinewidth": 0.9,
    }
    momentum, predicted, measured, error = (
        floats(curve, name) for name in ("momentum", "predicted", "measured", "se")
    )
    lines = [(np.where(predicted > 0, predicted, np.nan), "-", INK)]
    if "finite_size" in curve:
        lines.append((floats(curve, "finite_size"), "--", colour))
    for values, dashes, ink in lines:
        line = peaks(values)
        top.plot(momentum[line], values[line], dashes, color=ink, lw=1.1, zorder=2)
    label = f"T = {float(curve['observations']):.3g}"
    top.errorbar(momentum[marked], measured[marked], error[marked], label=label, **style)
    there = marked[predicted[marked] > 0]  # what a shell dropped has no relative deviation
    deviation = 100 * (measured[there] / predicted[there] - 1)
    shift = 0.12 * (momentum[-1] - momentum[0]) / max(marked.size, 1) * (number - 1.5)
    low.errorbar(momentum[there] + shift, deviation, 100 * error[there] / predicted[there], **style)


def _numbers(scales: xr.Dataset, momentum: str, unit: str) -> pd.DataFrame:
    """Return the propagators of all modes at the scales drawn; ``momentum``, ``unit``: their units."""
    labels = {
        "observations": ("observations T", ""),
        "momentum": ("momentum", momentum),
        "predicted": ("predicted", unit),
        "measured": ("measured", unit),
        "se": ("standard error", unit),
        "finite_size": ("exact at this width", unit),
    }
    rows = scales.to_dataframe(dim_order=["scale", "momentum"]).reset_index()
    return frame(columns_of(rows, labels))


def _caption(curves: xr.Dataset, scales: int, markers: int) -> str:
    """Return what is drawn."""
    width = "; dashed: exact at this width" if "finite_size" in curves else ""
    return (
        "Above: variance of the field’s modes over the draws (markers, one standard error) on "
        f"G(p; T) = 1/(1/G₀(p) + M²(T)) (lines) at {scales} of {curves.sizes['scale']} scales{width}. "
        f"Below: the relative deviations.{drawn_note(markers, curves.sizes['momentum'], 'modes')}"
    )
