"""Propagators at several scales: variances of the flowed draws on the curves of the exact RG (T9b)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import (
    INK,
    MUTED,
    SERIES,
    Picture,
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
from brg_prob.figures.thinning import drawn_note, peaks, thin
from brg_prob.summary import draws_of

_MOST_MARKERS = 60
_CHECKS = ("propagator", "information shell")  # the checks of these variances, by scheme


@dataclass(frozen=True)
class _Curves:
    """Propagators by scale and mode, momenta ascending; ``finite``: exact at this width, if known."""

    momentum: np.ndarray
    observations: np.ndarray
    predicted: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    finite: np.ndarray | None

    @staticmethod
    def of(tree: xr.DataTree) -> _Curves:
        """Read the groups ``theory`` and ``flow``."""
        theory = tree["theory"].to_dataset()
        momentum = np.asarray(theory["momentum"].values, dtype=float)
        order = np.argsort(momentum, kind="stable")
        names = [name for name in ("predicted", "measured", "se", "finite_size") if name in theory]
        arrays = {name: np.asarray(theory[name].values, dtype=float)[:, order] for name in names}
        observations = np.asarray(tree["flow"]["observations"].values, dtype=float)
        return _Curves(
            momentum[order],
            observations,
            arrays["predicted"],
            arrays["measured"],
            arrays["se"],
            arrays.get("finite_size"),
        )

    def inside(self) -> float:
        """Return the fraction of points within one standard error, where there is one."""
        valid = self.error > 0
        near = np.abs(self.measured - self.predicted)[valid] <= self.error[valid]
        return float(near.mean()) if valid.any() else 0.0

    def farthest(self) -> float:
        """Return the largest distance from the prediction in standard errors."""
        valid = self.error > 0
        distance = np.abs(self.measured - self.predicted)[valid] / self.error[valid]
        return float(distance.max()) if valid.any() else 0.0


def propagator_picture(tree: xr.DataTree) -> Picture | None:
    """Draw G(p; T) at four scales, measured on predicted, and the relative deviations below.

    Reads ``theory`` (momentum, predicted, measured, se) and ``flow`` (observations); None without a
    theory.
    """
    if "theory" not in tree.children or "predicted" not in tree["theory"].data_vars:
        return None
    curves = _Curves.of(tree)
    chosen = thin(curves.observations.size, len(SERIES))
    marked = thin(curves.momentum.size, _MOST_MARKERS)
    fig, (top, low) = new_figure(height=5.2, nrows=2, sharex=True, height_ratios=[2.6, 1])
    shown = curves.predicted[chosen][curves.predicted[chosen] > 0]
    log_axis(top, "y", shown.min(), shown.max())
    for number, scale in enumerate(chosen):
        _draw_scale(top, low, curves, marked, int(scale), number)
    low.axhline(0, color=INK, lw=1.1, zorder=2)
    top.plot([], [], "-", color=INK, lw=1.1, label="predicted (exact RG)")
    if curves.finite is not None:
        top.plot([], [], "--", color=MUTED, lw=1.1, label="finite width, exact")
    length, dim = input_unit(tree), dimension(tree)
    label_axes(low, x=quantity("momentum |p|", momentum_unit(length)), y="deviation (%)")
    label_axes(top, y=quantity("propagator G(p; T)", power_unit("field", length or "length", dim)))
    legend(top, loc="upper right")
    listed = ", ".join(f"{curves.observations[s]:.3g}" for s in chosen)
    return Picture(
        "propagators",
        fig,
        _message(tree, curves),
        _caption(curves, chosen.size, marked.size),
        f"Propagators at T = {listed}. Of all {curves.predicted.size} measured points "
        f"{100 * curves.inside():.0f} % lie within one standard error of the prediction; 68 % are expected.",
        _numbers(curves, chosen, length, dim),
        "correspondence",
    )


def _message(tree: xr.DataTree, curves: _Curves) -> str:
    """Return what the check of the propagator says; where it says nothing, how many points agree."""
    verdict, drawn = str(tree.attrs.get("verdict")), draws_of(str(tree.attrs.get("engine")))
    if "checks" in tree.children:
        checks = tree["checks"].to_dataset()
        verdicts = dict(zip(checks["name"].values.tolist(), checks["verdict"].values.tolist(), strict=True))
        verdict = next((verdicts[name] for name in _CHECKS if name in verdicts), verdict)
    if verdict == "consistent":
        return f"Flowed back, the {drawn}’s fluctuations lie on the curves of the exact renormalization group"
    near = f"{100 * curves.inside():.0f} % of the points lie within one standard error, 68 % are expected"
    if verdict == "inconsistent":
        return (
            f"Flowed back, the {drawn}’s fluctuations depart from the curves of the exact renormalization "
            f"group, by up to {curves.farthest():.2g} standard errors"
        )
    return f"Whether the {drawn}’s fluctuations follow the exact renormalization group stays open: {near}"


def _draw_scale(top: Axes, low: Axes, curves: _Curves, marked: np.ndarray, scale: int, number: int) -> None:
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
    predicted, measured, error = (v[scale] for v in (curves.predicted, curves.measured, curves.error))
    lines = [(np.where(predicted > 0, predicted, np.nan), "-", INK)]
    if curves.finite is not None:
        lines.append((curves.finite[scale], "--", colour))
    for values, dashes, ink in lines:
        kept = peaks(values)
        top.plot(curves.momentum[kept], values[kept], dashes, color=ink, lw=1.1, zorder=2)
    label = f"T = {curves.observations[scale]:.3g}"
    top.errorbar(curves.momentum[marked], measured[marked], error[marked], label=label, **style)
    there = marked[predicted[marked] > 0]  # what a shell dropped has no relative deviation
    deviation = 100 * (measured[there] / predicted[there] - 1)
    shift = 0.12 * (curves.momentum[-1] - curves.momentum[0]) / max(marked.size, 1) * (number - 1.5)
    low.errorbar(curves.momentum[there] + shift, deviation, 100 * error[there] / predicted[there], **style)


def _numbers(curves: _Curves, chosen: np.ndarray, length: str, dim: int) -> pd.DataFrame:
    """Return the propagators of all modes at the scales drawn."""
    unit = power_unit("field", length or "length", dim)
    size = curves.momentum.size
    columns = {
        ("observations T", ""): np.repeat(curves.observations[chosen], size),
        ("momentum", momentum_unit(length)): np.tile(curves.momentum, chosen.size),
        ("predicted", unit): curves.predicted[chosen].ravel(),
        ("measured", unit): curves.measured[chosen].ravel(),
        ("standard error", unit): curves.error[chosen].ravel(),
    }
    if curves.finite is not None:
        columns["exact at this width", unit] = curves.finite[chosen].ravel()
    return frame(columns)


def _caption(curves: _Curves, scales: int, markers: int) -> str:
    """Return what is drawn."""
    parts = [
        "Above: variance of the field’s modes over the draws (markers, one standard error) on "
        f"G(p; T) = 1/(1/G₀(p) + M²(T)) (lines) at {scales} of {curves.observations.size} scales"
    ]
    parts += ["; dashed: exact at this width"] if curves.finite is not None else []
    parts += [". Below: the relative deviations."]
    return "".join([*parts, drawn_note(markers, curves.momentum.size, "modes")])
