"""The data with the field before and after training, in the record's own units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.calendar_axis import calendar_ticks, level_ticks, record_calendar, record_texts
from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    SKY,
    Picture,
    columns_of,
    frame,
    label_axes,
    legend,
    new_figure,
    percent,
    quantity,
    safe_label,
    short,
)
from brg_prob.figures.thinning import MOST_MARKERS, drawn_note, peaks, spread
from brg_prob.summary import floats, group


def field_picture(tree: xr.DataTree) -> Picture | None:
    """Draw data, prior band and posterior band against the input; for d > 1, posterior mean against data.

    Reads ``record`` (input, value, training, prior_mean, prior_sd, prior_draw,
    posterior_mean, posterior_sd); None without it, or where an observation has no mean to stand beside it.
    Without ``prior_draw`` none is drawn.
    """
    record = group(tree, "record")
    if not record or record.attrs.get("shown") == "none":
        return None
    name = {
        key: safe_label(str(record.attrs[key]), most)
        for key, most in (("input_name", 24), ("input_unit", 16), ("value_name", 24), ("value_unit", 16))
    }
    if record["input"].ndim == 1:
        return _along_the_line(record, name)
    return _against_the_data(record, name)


def _what(record: xr.Dataset) -> str:
    """Return what stands beside the data."""
    return "the expected observation" if record.attrs.get("shown") == "mean" else "the field"


def _columns(record: xr.Dataset) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the record's variables as arrays, and which rows were trained on."""
    names = ("value", "prior_mean", "prior_sd", "posterior_mean", "posterior_sd")
    return {key: floats(record, key) for key in names}, record["training"].values == 1


def _along_the_line(record: xr.Dataset, name: dict[str, str]) -> Picture:
    """Two panels over one axis: before and after training."""
    ordered = record.sortby("input")
    at, (data, training) = floats(ordered, "input"), _columns(ordered)
    fig, panels = new_figure(height=5.2, nrows=2, sharex=True, sharey=True)
    marked = _marked(data["value"], training)
    for ax in panels:
        _observations(ax, at, data["value"], training, marked)
    # one label for both panels: beside each of them a long name would run into the other
    label = quantity(name["value_name"], name["value_unit"])
    fig.supylabel(label, fontsize=11, color=INK, parse_math=False)
    before, after = panels
    _band(before, at, data["prior_mean"], data["prior_sd"], ORANGE, "prior ± 2 s.d.")
    if "prior_draw" in record:
        _line(before, at, floats(ordered, "prior_draw")[0], lw=0.9, color=ORANGE, label="one prior draw")
    _band(after, at, data["posterior_mean"], data["posterior_sd"], SKY, "posterior ± 2 s.d.")
    _line(after, at, data["posterior_mean"], lw=1.2, color=BLUE, label="posterior mean")
    for ax, text in ((before, "before training"), (after, "after training")):
        ax.margins(x=0.01)
        legend(
            ax,
            loc="upper center",
            bbox_to_anchor=(0.5, 1.2),
            ncols=4,
            fontsize=9,
            columnspacing=1.0,
            handletextpad=0.5,
        )
        ax.annotate(text, (0.01, 0.03), xycoords="axes fraction", color=MUTED, fontsize=9.5, weight="bold")
    label_axes(after, x=_input_label(after, record, name))
    what = _what(record)
    return Picture(
        "field",
        fig,
        _narrowing(what, float(np.mean(data["prior_sd"])), float(np.mean(data["posterior_sd"]))),
        "Above: the prior’s mean ± 2 standard deviations and one of its draws. Below: the posterior mean "
        f"± 2 standard deviations of {what} (the noise of an observation is not included). Dots: data "
        f"trained on{'' if training.all() else '; crosses: held out'}.{_marked_note(marked)}",
        f"{at.size} data points, {int(training.sum())} of them trained on. The prior band is "
        f"{2 * np.mean(data['prior_sd']):.3g} wide to each side, the posterior band "
        f"{2 * np.mean(data['posterior_sd']):.3g} {name['value_unit']}".rstrip()
        + ".",
        _numbers(record, name),
        "field",
    )


def _narrowing(what: str, before: float, after: float) -> str:
    """Return what training did to a spread; a field that no latent site moves has none."""
    if before == 0:
        return f"{what[:1].upper()}{what[1:]} has no spread: it is the same at every draw"
    narrow = after / before
    return f"Training {'narrows' if narrow < 1 else 'widens'} {what} to {percent(narrow)} of its prior spread"


def _input_label(ax: Axes, record: xr.Dataset, name: dict[str, str]) -> str:
    """Return the label of the input's axis, which gets dates if the input counts time."""
    calendar = record_calendar(record)
    if calendar is None:
        level_ticks(ax, record)
        return quantity(name["input_name"], name["input_unit"])
    calendar_ticks(ax, calendar)
    return quantity(name["input_name"], "UTC" if calendar.utc else "")


def _numbers(record: xr.Dataset, name: dict[str, str]) -> pd.DataFrame:
    """Return the record as a table, rows in the record's order."""
    unit = name["value_unit"]
    at = np.asarray(record["input"].values)
    axes = {"input": at} if at.ndim == 1 else {f"input {k + 1}": at[:, k] for k in range(at.shape[1])}
    columns = {(label, name["input_unit"]): values for label, values in axes.items()}
    columns |= {(label, ""): texts for label, texts in record_texts(record).items()}
    moments = ("prior_mean", "prior_sd", "posterior_mean", "posterior_sd")
    labels = {"value": ("value", unit), "training": ("trained on", "")}
    columns |= columns_of(record, labels | {key: (key.replace("_", " "), unit) for key in moments})
    if "prior_draw" in record and at.ndim == 1:
        columns["prior draw", unit] = record["prior_draw"].values[0]
    return frame(columns)


def _against_the_data(record: xr.Dataset, name: dict[str, str]) -> Picture:
    """For d > 1: posterior mean against data."""
    # a missing target has no place on the axis
    data, training = _columns(record.isel(row=np.isfinite(record["value"].values)))
    fig, ax = new_figure()
    marked = _marked(data["value"], training)
    for rows, colour, marker, label in (
        (training, BLUE, "o", "trained on"),
        (~training, ORANGE, "^", "held out"),
    ):
        chosen = rows & marked
        if not chosen.any():
            continue
        ax.errorbar(
            data["value"][chosen],
            data["posterior_mean"][chosen],
            data["posterior_sd"][chosen],
            fmt=marker,
            ms=3,
            mfc="none",
            color=colour,
            elinewidth=0.6,
            label=label,
        )
    distance = data["posterior_mean"] - data["value"]
    reached = [
        f"{short(float(np.sqrt(np.mean(distance[rows] ** 2))))} {name['value_unit']}".rstrip() + where
        for rows, where in ((training, ""), (~training, " where held out"))
        if rows.any()
    ]
    span = [data["value"].min(), data["value"].max()]
    ax.plot(span, span, "-", color=INK, lw=1)
    unit, where = name["value_unit"], "training inputs" if training.all() else "training and held-out inputs"
    label_axes(ax, x=quantity(name["value_name"], unit), y=quantity("posterior mean", unit))
    legend(ax, loc="upper left")
    return Picture(
        "field",
        fig,
        f"{'The trained field' if _what(record) == 'the field' else 'The expected observation'} follows the "
        f"observations to {' and '.join(reached)} (root mean square)",
        f"Posterior mean of {_what(record)} (one standard deviation) against the observation, at {where}; "
        f"the line is equality.{_marked_note(marked)}",
        f"Scatter plot of {training.size} observations, {int(training.sum())} of them trained on, against "
        f"the posterior mean; root-mean-square distance {np.sqrt(np.mean(distance**2)):.3g} {unit}".rstrip()
        + ".",
        _numbers(record, name),
        "field",
    )


def _band(ax: Axes, at: np.ndarray, mean: np.ndarray, sd: np.ndarray, colour: str, label: str) -> None:
    """Draw mean ± 2 standard deviations."""
    low, high = mean - 2 * sd, mean + 2 * sd
    kept = peaks(low, high)
    ax.fill_between(at[kept], low[kept], high[kept], color=colour, alpha=0.28, lw=0, label=label, zorder=1)


def _line(ax: Axes, at: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """Draw a line with every peak of it."""
    kept = peaks(values)
    ax.plot(at[kept], values[kept], "-", **style)


def _observations(
    ax: Axes, at: np.ndarray, value: np.ndarray, training: np.ndarray, marked: np.ndarray
) -> None:
    """Draw the data, trained on and held out; the more there are, the smaller."""
    size = float(np.clip(60 / np.sqrt(marked.sum()), 1.2, 4.0))
    if not training.all():
        rows = marked & ~training
        ax.plot(at[rows], value[rows], "x", ms=size + 0.6, mew=0.6, color=MUTED, label="held out")
    rows = marked & training
    ax.plot(at[rows], value[rows], ".", ms=size + 0.8, color=INK, label="trained on")


def _marked(value: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return which rows are drawn as markers: evenly spread, of both kinds their share and their extremes."""
    there = np.isfinite(value)
    marked = ~there  # a missing target draws nothing
    for rows in (np.flatnonzero(training & there), np.flatnonzero(~training & there)):
        share = max(round(MOST_MARKERS * rows.size / value.size), 4)
        marked[rows[spread(value[rows], share)]] = True
    return marked


def _marked_note(marked: np.ndarray) -> str:
    """Return how many data are drawn, where it is not all."""
    note = drawn_note(int(marked.sum()), marked.size, "data points")
    return note and f"{note[:-1]}, with the smallest and the largest."
