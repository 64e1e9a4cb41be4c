"""How runs are told apart: six colours of Okabe and Ito, each with a marker and a line of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from brg_prob.comparison import Comparison
from brg_prob.figures.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, log_axis, power_of_ten
from brg_prob.figures.ticks import remove_minor_ticks

RUNS = (
    (BLUE, "o", "-"),
    (VERMILION, "s", "--"),
    (GREEN, "^", "-."),
    (PURPLE, "D", ":"),
    (ORANGE, "v", (0, (5, 1, 1, 1, 1, 1))),
    (SKY, "P", (0, (3, 2))),
)
"""Colour, marker and line of each run."""

MOST_RUNS = len(RUNS)


def line(run: int) -> dict[str, Any]:
    """Return colour, marker and line of a run."""
    colour, marker, dashes = RUNS[run]
    return {"color": colour, "marker": marker, "ls": dashes}


def grid_axis(ax: Axes, at: np.ndarray) -> np.ndarray:
    """Return where the points of a grid stand on the horizontal axis.

    An even grid stands as it is. One whose steps grow is shown on a logarithmic axis; its zero, if it has
    one, at half the smallest other point, labelled 0.
    """
    steps = np.diff(at)
    positive = at[at > 0]
    if at.size <= 3 or steps.max() <= 5 * steps.min() or positive.size < at.size - 1:
        return at
    log_axis(ax, "x", positive[0], positive[-1])
    if positive.size == at.size:
        return at
    zero = positive[0] / 2
    powers = 10.0 ** np.arange(np.floor(np.log10(zero)), np.ceil(np.log10(at[-1])) + 1)
    ticks = powers if at[-1] > 100 * zero else np.outer(powers, (1, 2, 5)).ravel()
    ticks = np.concatenate([[zero], ticks[ticks > 2.5 * zero]])
    ax.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "0" if np.isclose(value, zero) else power_of_ten(value))
    )
    remove_minor_ticks(ax, "x")
    return np.where(at > 0, at, zero)


def run_legend(figure: Figure, ax: Axes) -> None:
    """Add the legend of an axes above all panels; names are plain text, never read as mathematics."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    columns = 3 if max(map(len, labels)) <= 14 else 2
    made = figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        handlelength=2.4,
        columnspacing=1.4,
    )
    for text in made.get_texts():
        text.set_parse_math(False)


def first_runs(comparison: Comparison) -> tuple[str, ...]:
    """Return the runs that are drawn: the first six."""
    return comparison.names[:MOST_RUNS]


def first_runs_note(comparison: Comparison) -> str:
    """Return that not all runs are drawn, where that is so."""
    count = len(comparison.names)
    return (
        "" if count <= MOST_RUNS else f" The first {MOST_RUNS} of {count} runs are drawn; the table has all."
    )
