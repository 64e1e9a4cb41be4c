"""The data's own spectrum against the prior predictive (T9, T18)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import (
    BLUE,
    INK,
    ORANGE,
    VERMILION,
    Picture,
    columns_of,
    dimension,
    frame,
    group_units,
    head,
    label_axes,
    legend_above,
    log_axis,
    momentum_axis,
    momentum_unit,
    new_figure,
    power_unit,
    quantity,
    safe_label,
    short,
)
from brg_prob.summary import check_rows, floats, group

_LEVEL = 0.05
_CHECK = "data spectrum"


def data_spectrum_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the power of the data by momentum on the band in which the prior predictive expects it.

    Reads ``data_spectrum`` (momentum, power, predicted, low, high, modes; attributes p_value, field_unit,
    length_unit, note). None without it. Without the attribute ``p_value`` that of the check "data spectrum"
    is taken; without either the message is the count alone.
    """
    spectrum = group(tree, "data_spectrum")
    if not spectrum:
        return None
    momentum, power, predicted, low, high = (
        floats(spectrum, name) for name in ("momentum", "power", "predicted", "low", "high")
    )
    field, length = group_units(tree, "data_spectrum")
    unit = power_unit(field, length, dimension(tree))
    fig, ax = new_figure()
    _draw(ax, momentum_axis(ax, momentum), power, predicted, low, high)
    head(ax, quantity("power per mode", unit), pad=22)
    label_axes(ax, x=quantity("momentum |p|", momentum_unit(length)))
    legend_above(ax, 4, fontsize=9.5, handlelength=1.4)
    inside = int(np.sum((power >= low) & (power <= high)))
    labels = {
        "momentum": ("momentum", momentum_unit(length)),
        "power": ("power", unit),
        "predicted": ("predicted", unit),
        "low": ("band, lower end", unit),
        "high": ("band, upper end", unit),
        "modes": ("modes", ""),
    }
    tuned = "tuning" in tree.children
    return Picture(
        "data-spectrum",
        fig,
        _message(inside, power.size, _p_value(tree)),
        "Mean squared amplitude of the data’s waves in bins of momentum (points; triangles outside the "
        "band), what the prior with its noise predicts (line), and the band that holds 95 % of such data, "
        "bin by bin."
        + (" Mass, amplitude and noise of the prior were fitted to the same data." if tuned else "")
        + _note(spectrum),
        f"{power.size} bins of momentum from {short(momentum.min())} to {short(momentum.max())}; the data’s "
        f"power goes from {short(power[0])} to {short(power[-1])}, predicted {short(predicted[0])} and "
        f"{short(predicted[-1])}. {inside} bins lie in the band, "
        f"{int(np.sum(power > high))} above it, {int(np.sum(power < low))} below it.",
        frame(columns_of(spectrum, labels)),
        "data",
    )


def _draw(
    ax: Axes, at: np.ndarray, power: np.ndarray, predicted: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    """Draw band, line and points; points outside the band differ in shape too."""
    positive = np.concatenate([power[power > 0], low[low > 0], high])
    log_axis(ax, "y", positive.min(), positive.max())
    floor = np.where(low > 0, low, np.nan)
    ax.fill_between(at, floor, high, color=ORANGE, alpha=0.28, lw=0, label="95 % under the prior", zorder=1)
    ax.plot(at, predicted, "-", color=INK, lw=1.3, label="predicted", zorder=2)
    inside = (power >= low) & (power <= high)
    points = np.where(power > 0, power, np.nan)
    ax.plot(at[inside], points[inside], "o", ms=4, mfc="none", mew=1.2, color=BLUE, label="data", zorder=3)
    if not inside.all():
        ax.plot(at[~inside], points[~inside], "^", ms=5.5, color=VERMILION, label="data outside", zorder=4)


def _p_value(tree: xr.DataTree) -> float | None:
    """Return the p-value of the data's spectrum under the prior, if it was tested."""
    tested = [row["p_value"] for row in check_rows(tree) if row["name"] == _CHECK]
    p_value = tree["data_spectrum"].attrs.get("p_value", next(iter(tested), None))
    return None if p_value is None else float(p_value)


def _message(inside: int, bins: int, p_value: float | None) -> str:
    """Return whether the prior would produce such data: the test's word, else the count."""
    if p_value is None or not np.isfinite(p_value):
        return f"{inside} of {bins} bins of the data’s spectrum lie where the prior expects 95 % of them"
    count = f"{inside} of {bins} bins of their spectrum lie where it expects 95 % of them"
    tested = f"(p = {short(p_value, 2)})"
    if p_value < _LEVEL:
        return f"The prior would hardly produce such data {tested}: {count}"
    return f"The prior could have produced these data {tested}: {count}"


def _note(spectrum: xr.Dataset) -> str:
    """Return the group's own remark as a sentence."""
    note = safe_label(str(spectrum.attrs.get("note", "")), 400)
    return f" {note.rstrip('.')}." if note else ""
