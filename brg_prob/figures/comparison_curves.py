"""Figures of a comparison: correlation functions, mean fields, Fisher spectra and flows of several runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import norm

from brg_prob.arrays import thin
from brg_prob.comparison import Comparison, curve_message
from brg_prob.figures.comparison_flow import fisher_picture, flow_picture
from brg_prob.figures.comparison_style import (
    MOST_RUNS,
    first_runs,
    first_runs_note,
    grid_axis,
    line,
    run_legend,
)
from brg_prob.figures.style import (
    INK,
    MUTED,
    Picture,
    columns_of,
    frame,
    label_axes,
    log_axis,
    momentum_unit,
    new_figure,
    quantity,
    raised,
    safe_label,
    short,
)
from brg_prob.figures.thinning import peaks
from brg_prob.summary import floats

_MOST_MARKERS = 40
_NAMES = {"two_point": "two-point", "four_point": "four-point", "power": "power"}


def comparison_pictures(comparison: Comparison) -> list[Picture]:
    """Return the pictures of a comparison that its groups allow, in reading order."""
    groups = comparison.tree.children
    drawn = [curve_picture(comparison, name) for name in _NAMES if name in groups]
    if "mean_field" in groups:
        drawn.append(mean_picture(comparison))
    return [*drawn, fisher_picture(comparison), flow_picture(comparison)]


def curve_picture(comparison: Comparison, group: str) -> Picture:
    """Draw a correlation function of all posteriors, of all priors, and the differences from the reference.

    Parameters
    ----------
    comparison
        From :func:`brg_prob.comparison.compare`.
    group
        ``two_point``, ``four_point`` or ``power``.
    """
    data = comparison.tree[group].to_dataset()
    at, (value, error) = floats(data, _axis(group)), _scaled(comparison, group)
    ratios = [2, 1.2] if comparison.single else [1.7, 1.7, 1.2]
    fig, axes = new_figure(
        height=4.8 if comparison.single else 6.5, nrows=len(ratios), sharex=True, height_ratios=ratios
    )
    places = grid_axis(axes[-1], at)
    states = [("prior", "posterior")] if comparison.single else [("posterior",), ("prior",)]
    for ax, inside in zip(axes, states, strict=False):
        _curves(ax, comparison, inside, places, value, error)
        label_axes(ax, y=quantity(_word(group, inside, comparison.single), _brief(_unit(data, group))))
        if group == "power":
            drawn = value[[t.state in inside for t in comparison.pairs.theories]]
            positive = drawn[drawn > 0]
            log_axis(ax, "y", positive.min(), positive.max())
        else:
            ax.axhline(0, color=MUTED, lw=0.8, zorder=1)
    run_legend(fig, axes[0])
    _differences(axes[-1], comparison, places, floats(data, "z"))
    length = safe_label(str(data.attrs["length_unit"]), 16)
    where = quantity("momentum |p|", momentum_unit(length)) if group == "power" else quantity("lag r", length)
    label_axes(axes[-1], x=where)
    fig.align_ylabels(list(axes))
    return Picture(
        _NAMES[group],
        fig,
        curve_message(comparison, group),
        _caption(comparison, group, data),
        _alt(comparison, group, at, value),
        _numbers(comparison, group, at, value, error),
    )


def _axis(group: str) -> str:
    """Return the argument of a correlation function."""
    return "momentum" if group == "power" else "lag"


def _scaled(comparison: Comparison, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Return values and errors as drawn, (theory, grid): four-point functions relative to G(0)²."""
    data = comparison.tree[group].to_dataset()
    value, error = floats(data, "value"), floats(data, "se")
    if group != "four_point" or "two_point" not in comparison.tree.children:
        return value, error
    square = floats(comparison.tree["two_point"], "value")[:, :1] ** 2
    return value / square, error / square


def _curves(
    ax: Axes,
    comparison: Comparison,
    states: tuple[str, ...],
    at: np.ndarray,
    value: np.ndarray,
    error: np.ndarray,
) -> None:
    """Draw theories with one standard error; the runs' markers are shifted apart along the grid."""
    for number, theory in enumerate(comparison.pairs.theories):
        if theory.state not in states or theory.run >= MOST_RUNS or not np.isfinite(value[number]).any():
            continue
        place = (0 if theory.state == "posterior" else 1) if comparison.single else theory.run
        name = theory.state if comparison.single else comparison.names[theory.run]
        some = _interleaved(at.size, place, len(first_runs(comparison)))
        style = line(place)
        kept = peaks(value[number])
        ax.plot(at[kept], value[number][kept], ls=style["ls"], color=style["color"], lw=1.1)
        ax.errorbar(
            at[some],
            value[number][some],
            np.nan_to_num(error[number][some]),
            fmt=style["marker"],
            ls="none",
            color=style["color"],
            ms=4.4,
            mfc="none",
            mew=1.1,
            elinewidth=1.0,
        )
        ax.plot([], [], **style, lw=1.1, ms=4.4, mfc="none", mew=1.1, label=safe_label(name, 28))


def _interleaved(size: int, place: int, runs: int) -> np.ndarray:
    """Return which points carry a marker: no more than the eye can part, different ones for each run."""
    most = max(8, _MOST_MARKERS // max(runs, 1))
    if size <= most:
        return np.arange(size)
    step = size / most
    return np.unique(((np.arange(most) + place / max(runs, 1)) * step).astype(int).clip(0, size - 1))


def _brief(unit: str) -> str:
    """Return a unit for an axis that has little room; the caption gives it in any case."""
    return unit if len(unit) <= 12 else ""


def _differences(ax: Axes, comparison: Comparison, at: np.ndarray, z: np.ndarray) -> None:
    """Draw differences in standard errors, posteriors filled, priors hollow; shaded: within chance."""
    threshold = _within_chance(ax, comparison)
    some = thin(at.size, 2 * _MOST_MARKERS)
    for number, theory in enumerate(comparison.contrasted):
        if theory.run >= MOST_RUNS or not np.isfinite(z[number]).any():
            continue
        style = line(theory.run)
        fill = "none" if theory.state == "prior" else style["color"]
        ax.plot(at[some], z[number][some], **(style | {"ls": "none"}), mfc=fill, ms=3.4, mew=0.9)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -1.15 * threshold), max(high, 1.15 * threshold))
    label_axes(ax, y="difference (s.e.)")


def _within_chance(ax: Axes, comparison: Comparison) -> float:
    """Draw zero and the band of chance; return its edge in standard errors (Bonferroni over all)."""
    tests = comparison.tree["differences"]
    threshold = float(norm.isf(tests.attrs["level"] / 2 / max(tests.sizes["test"], 1)))
    ax.axhspan(-threshold, threshold, color=MUTED, alpha=0.13, lw=0)
    ax.axhline(0, color=INK, lw=0.9, zorder=1)
    return threshold


def mean_picture(comparison: Comparison) -> Picture:
    """Draw the differences of the posteriors' mean fields from the reference's, with errors."""
    data = comparison.tree["mean_field"].to_dataset()
    fig, (top, low) = new_figure(height=4.4, nrows=2, sharex=True, height_ratios=[1.7, 1.2])
    _within_chance(low, comparison)
    top.axhline(0, color=INK, lw=0.9, zorder=1)
    field, length = (safe_label(str(data.attrs[f"{name}_unit"]), 16) for name in ("field", "input"))
    argument = safe_label(str(data.attrs["input_name"]), 24)
    labels = {
        "at": (argument, length),
        "difference": ("difference of means", field),
        "se": ("standard error", field),
        "z": ("difference", "standard errors"),
    }
    tables = []
    for number, theory in enumerate(comparison.contrasted):
        one, name = data.isel(contrast=number), comparison.names[theory.run]
        if not np.isfinite(floats(one, "at")).any():
            continue
        tables.append(frame(columns_of(one, labels), run=name))
        if theory.run < MOST_RUNS:
            at, difference, error, z = (floats(one, part) for part in labels)
            style = line(theory.run)
            marks: dict[str, Any] = {"color": style["color"], "ms": 3.8, "mew": 1.0}
            label = safe_label(name, 28)
            top.errorbar(at, difference, error, fmt=style["marker"], mfc="none", label=label, **marks)
            low.plot(at, z, style["marker"], **marks)
    run_legend(fig, top)
    label_axes(top, y=quantity("mean − reference", _brief(field)))
    label_axes(low, x=quantity(argument, length), y="difference (s.e.)")
    fig.align_ylabels([top, low])
    unit = f", in {field}," if field else ""
    return Picture(
        "mean-field",
        fig,
        curve_message(comparison, "mean_field"),
        f"Above: the posterior’s mean field minus that of the reference “{comparison.names[0]}”{unit} "
        "at common inputs, with its Monte-Carlo error. Below: the same in standard errors; shaded: within "
        f"chance for all differences of this page together.{first_runs_note(comparison)}",
        f"Differences of mean fields at {data.sizes['point']} inputs at most; the largest is "
        f"{short(float(np.nanmax(np.abs(data['z'].values))))} standard errors.",
        pd.concat(tables).dropna(subset=["difference [standard errors]"], ignore_index=True),
    )


def _word(group: str, states: tuple[str, ...], single: bool) -> str:
    """Return the label of a vertical axis."""
    words = {"two_point": "two-point", "four_point": "four-point / G(0)²", "power": "power"}[group]
    return words if single else states[0]


def _unit(data: xr.Dataset, group: str) -> str:
    """Return the unit of what is drawn; a four-point function is drawn relative to the variance squared."""
    field, length = (safe_label(str(data.attrs[f"{name}_unit"]), 16) for name in ("field", "length"))
    if group == "two_point":
        return raised(field, 2)
    return " ".join(word for word in (raised(field, 2), length) if word) if group == "power" else ""


def _caption(comparison: Comparison, group: str, data: xr.Dataset) -> str:
    """Return what is drawn."""
    what = {
        "two_point": "Connected two-point function against the distance of its points",
        "four_point": "Connected four-point function κ₄(f(x), f(x), f(x+r), f(x+r)) relative to the variance "
        "squared, zero for a Gaussian field,",
        "power": "Power spectrum G(p)",
    }[group]
    panels, against, fill = (
        ("of prior and posterior", "posterior minus prior", "")
        if comparison.single
        else (
            "of the posteriors (top) and the priors (middle)",
            f"minus the reference “{comparison.names[0]}”",
            "; filled for posteriors, hollow for priors",
        )
    )
    unit = _unit(data, group)
    panels += f" in {unit}" if unit else ""
    text = (
        f"{what} {panels}, one standard error. Bottom: {against}, in standard errors{fill}; shaded: within "
        "chance for all differences of this page together. Neighbouring points share draws: they scatter "
        "together."
    )
    if data.attrs["interpolated"]:
        text += " Grids differ: interpolated linearly to common points."
    return text + first_runs_note(comparison)


def _alt(comparison: Comparison, group: str, at: np.ndarray, value: np.ndarray) -> str:
    """Return the curves in numbers: each theory at the first and the last point."""
    parts = [
        f"{name} from {short(row[0])} to {short(row[-1])}"
        for name, row in zip(comparison.pairs.names(comparison.names), value, strict=True)
        if np.isfinite(row).any()
    ]
    return f"Between {_axis(group)} {short(at[0])} and {short(at[-1])}: {'; '.join(parts)}."


def _numbers(
    comparison: Comparison, group: str, at: np.ndarray, value: np.ndarray, error: np.ndarray
) -> pd.DataFrame:
    """Return all curves with errors and, where there is one, the difference from the reference."""
    data = comparison.tree[group].to_dataset()
    length = str(data.attrs["length_unit"])
    axis = ("momentum", momentum_unit(length)) if group == "power" else ("lag", length)
    z = {one: number for number, (one, _) in enumerate(comparison.pairs.contrasts)}
    label, unit, nothing = _word(group, ("",), True), _unit(data, group), np.full(at.size, np.nan)
    tables = [
        frame(
            {
                axis: at,
                (label, unit): value[number],
                (f"{label} standard error", unit): error[number],
                ("difference", "standard errors"): data["z"].values[z[number]] if number in z else nothing,
            },
            run=comparison.names[theory.run],
            state=theory.state,
        )
        for number, theory in enumerate(comparison.pairs.theories)
    ]
    return pd.concat(tables, ignore_index=True)
