"""The data with the field before and after training, in the record's own units."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    SKY,
    Picture,
    label_axes,
    legend,
    new_figure,
    quantity,
    safe_label,
)


def field_picture(tree: xr.DataTree) -> Picture:
    """Draw data, prior band and posterior band against the input; for d > 1, posterior mean against data.

    Reads ``record`` (input, value, training, prior_mean, prior_sd, prior_draw,
    posterior_mean, posterior_sd).
    """
    record = tree["record"].to_dataset()
    name = {
        key: safe_label(str(record.attrs[key]))
        for key in ("input_name", "input_unit", "value_name", "value_unit")
    }
    if record["input"].ndim == 1:
        return _along_the_line(record, name)
    return _against_the_data(record, name)


def _columns(record: xr.Dataset, order: np.ndarray) -> dict[str, np.ndarray]:
    """Return the record's variables as arrays, rows in order."""
    names = ("value", "prior_mean", "prior_sd", "posterior_mean", "posterior_sd")
    return {key: np.asarray(record[key].values, dtype=float)[order] for key in names}


def _along_the_line(record: xr.Dataset, name: dict[str, str]) -> Picture:
    """Two panels over one axis: before and after training."""
    at = np.asarray(record["input"].values, dtype=float)
    order = np.argsort(at)
    at, training = at[order], np.asarray(record["training"].values)[order] == 1
    data = _columns(record, order)
    fig, panels = new_figure(height=5.4, nrows=2, sharex=True, sharey=True)
    size = float(np.clip(60 / np.sqrt(at.size), 1.2, 4.0))
    for ax in panels:
        ax.plot(
            at[~training],
            data["value"][~training],
            "x",
            ms=size + 0.6,
            mew=0.6,
            color=MUTED,
            label="held out",
        )
        ax.plot(at[training], data["value"][training], ".", ms=size + 0.8, color=INK, label="trained on")
        label_axes(ax, y=quantity(name["value_name"], name["value_unit"]))
    before, after = panels
    _band(before, at, data["prior_mean"], data["prior_sd"], ORANGE, "prior ± 2 s.d.")
    if "prior_draw" in record:
        draw = np.asarray(record["prior_draw"].values, dtype=float)[0, order]
        before.plot(at, draw, "-", lw=0.9, color=ORANGE, label="one prior draw")
    _band(after, at, data["posterior_mean"], data["posterior_sd"], SKY, "posterior ± 2 s.d.")
    after.plot(at, data["posterior_mean"], "-", lw=1.2, color=BLUE, label="posterior mean")
    for ax, text in ((before, "before training"), (after, "after training")):
        ax.margins(x=0.01)
        legend(ax, loc="upper center", bbox_to_anchor=(0.5, 1.19), ncols=4, fontsize=9, columnspacing=1.2)
        ax.annotate(text, (0.01, 0.03), xycoords="axes fraction", color=MUTED, fontsize=9.5, weight="bold")
    label_axes(after, x=quantity(name["input_name"], name["input_unit"]))
    narrow = float(np.mean(data["posterior_sd"]) / np.mean(data["prior_sd"]))
    return Picture(
        "field",
        fig,
        f"Training narrows the field to {_percent(narrow)} of its prior spread",
        "Above: the prior’s mean ± 2 standard deviations and one of its draws. Below: the posterior mean "
        "± 2 standard deviations of the field (the noise of an observation is not included). Dots: data "
        "trained on; crosses: held out.",
        f"{at.size} data points, {int(training.sum())} of them trained on. The prior band is "
        f"{2 * np.mean(data['prior_sd']):.3g} wide to each side, the posterior band "
        f"{2 * np.mean(data['posterior_sd']):.3g} {name['value_unit']}.",
    )


def _against_the_data(record: xr.Dataset, name: dict[str, str]) -> Picture:
    """For d > 1: posterior mean against data."""
    data = _columns(record, np.arange(record.sizes["row"]))
    training = np.asarray(record["training"].values) == 1
    fig, ax = new_figure()
    for chosen, colour, marker, label in (
        (training, BLUE, "o", "trained on"),
        (~training, ORANGE, "^", "held out"),
    ):
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
    span = [data["value"].min(), data["value"].max()]
    ax.plot(span, span, "-", color=INK, lw=1)
    unit = name["value_unit"]
    label_axes(ax, x=quantity(name["value_name"], unit), y=quantity("posterior mean", unit))
    legend(ax, loc="upper left")
    return Picture(
        "field",
        fig,
        "What the trained field says against what was observed",
        "Posterior mean of the field (one standard deviation) against the observation, at training and "
        "held-out inputs; the line is equality.",
        f"Scatter plot of {training.size} observations against the posterior mean.",
    )


def _band(ax: Axes, at: np.ndarray, mean: np.ndarray, sd: np.ndarray, colour: str, label: str) -> None:
    """Draw mean ± 2 standard deviations."""
    ax.fill_between(at, mean - 2 * sd, mean + 2 * sd, color=colour, alpha=0.28, lw=0, label=label, zorder=1)


def _percent(fraction: float) -> str:
    """Return a fraction as a percentage with two digits."""
    return f"{100 * fraction:.2g} %"
