"""What all figures share: palette, axes, units and numbers in words.

Colours are Okabe and Ito's, distinguishable under the common colour-vision deficiencies; every
series also differs by marker or line style, so that print in grey stays readable. Figures are
``matplotlib.figure.Figure`` objects: no pyplot, so nothing is left open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from brg_prob.figures.ticks import minor_ticks
from brg_prob.summary import group

INK, MUTED, GRID = "#1b1f24", "#667080", "#e2e6ea"
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"

THEME = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    VERMILION: "var(--vermilion)",
    SKY: "var(--sky)",
    PURPLE: "var(--purple)",
}
"""Colour → CSS variable of the report; a page gives each variable a light and a dark value."""

SERIES = ((BLUE, "o"), (GREEN, "s"), (ORANGE, "^"), (VERMILION, "D"))
"""Colour and marker of up to four series, in the order of the flow."""

Section = Literal[
    "field", "determined", "correspondence", "flow", "theories", "data", "trust", "sampling", "comparison"
]
"""Parts of a report in which a picture can stand."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with what a reader needs to understand it.

    Attributes
    ----------
    name
        Identifier in file names and anchors.
    figure
        The figure.
    title
        Its message in one sentence.
    caption
        What is drawn, with units and the meaning of error bars.
    alt
        The same for a reader who cannot see it, numbers included.
    numbers
        What is drawn, in full precision, one column per quantity with its unit in brackets; where series
        differ in kind, one below the other with their names in the column ``series``.
    section
        The part of the report it belongs to.
    """

    name: str
    figure: Figure
    title: str
    caption: str
    alt: str
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)
    section: Section = "comparison"


def frame(columns: Mapping[tuple[str, str], Any], **series: str) -> pd.DataFrame:
    """Return arrays of one length as a table, one column per (name, unit).

    Parameters
    ----------
    columns
        (name, unit) to values; an empty unit leaves the name alone.
    series
        Columns that hold one word in every row; they come first.

    Examples
    --------
    >>> frame({("momentum", "rad/yr"): [0.0, 1.0]}, series="data").columns.tolist()
    ['series', 'momentum [rad/yr]']
    """
    named = {
        f"{name} [{unit}]" if unit else name: np.asarray(values) for (name, unit), values in columns.items()
    }
    table = pd.DataFrame(named)
    for place, (name, word) in enumerate(series.items()):
        table.insert(place, name, word)
    return table


def columns_of(
    data: xr.Dataset | pd.DataFrame, labels: Mapping[str, tuple[str, str]], rows: Any = slice(None)
) -> dict[tuple[str, str], np.ndarray]:
    """Return those variables that a group has as columns of a :func:`frame`; ``labels``: variable → label."""
    return {label: np.asarray(data[name].values)[rows] for name, label in labels.items() if name in data}


def new_figure(*, width: float = 5.8, height: float = 3.7, **layout: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (as ``Figure.subplots`` gives them); sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_visible(False)
    return figure, new_axes(figure, **layout)


def stacked(*heights: float, width: float = 5.8) -> tuple[Figure, list[SubFigure]]:
    """Return a figure of parts above each other, laid out independently; sizes in inches."""
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    figure.patch.set_visible(False)
    parts = list(
        np.ravel(np.asarray(figure.subfigures(len(heights), 1, height_ratios=heights), dtype=object))
    )
    for part in parts:
        part.patch.set_visible(False)
    return figure, parts


def new_axes(figure: Figure | SubFigure, **layout: Any) -> Any:
    """Return axes of the house's style in a figure or a part of it, as ``Figure.subplots`` gives them."""
    axes = figure.subplots(**layout)
    for ax in np.ravel(np.asarray(axes, dtype=object)):
        _clean(ax)
    return axes


def _clean(ax: Axes) -> None:
    """Thin axes on two sides, a faint grid behind, in theme colours."""
    ax.patch.set_visible(False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=10, width=0.8)
    ax.grid(True, which="major", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(INK)
        axis.label.set_fontsize(11)


def legend(ax: Axes, **options: Any) -> None:
    """Add a frameless legend in theme colours."""
    ax.legend(**({"frameon": False, "fontsize": 10, "labelcolor": INK, "handlelength": 1.8} | options))


def log_axis(ax: Axes, which: str, low: float, high: float) -> None:
    """Make an axis logarithmic with Unicode labels (text in SVG), dense enough for its span."""
    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    decades = np.log10(high / low) if 0 < low < high else 3.0
    subs = (1.0,) if decades > 2.0 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    minor_ticks(ax, which, MUTED)


def momentum_axis(ax: Axes, values: np.ndarray) -> np.ndarray:
    """Make the horizontal axis logarithmic in momenta or distances and return where each of them stands.

    Zero stands at half the smallest other value, and is labelled 0.
    """
    positive = values[values > 0]
    if positive.size:
        log_axis(ax, "x", positive.min(), positive.max())
    if positive.size in (0, values.size):
        return values
    smallest = positive.min()
    zero = smallest / 2
    # a label below the smallest value would run into that of zero
    shown = FuncFormatter(lambda value, _: power_of_ten(value) if value >= 0.999 * smallest else "")
    ax.xaxis.set_major_formatter(shown)
    ax.axvline(zero, color=GRID, lw=0.7, zorder=0)
    ax.annotate(
        "0",
        (zero, 0),
        xycoords=("data", "axes fraction"),
        xytext=(0, -6),
        textcoords="offset points",
        ha="center",
        va="top",
        color=INK,
        fontsize=10,
    )
    return np.where(values > 0, values, zero)


def power_of_ten(value: float) -> str:
    """Return a tick label: plain between 0.01 and 10 000, else a power of ten.

    Examples
    --------
    >>> power_of_ten(0.1), power_of_ten(1e-5), power_of_ten(2e6)
    ('0.1', '10⁻⁵', '2·10⁶')
    """
    if value <= 0:
        return ""
    if 0.00999 <= value <= 10001:
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    factor = value / 10.0**exponent
    power = "10" + str(exponent).translate(_SUPERSCRIPT)
    return power if abs(factor - 1) < 1e-6 else f"{factor:g}·{power}"


def short(value: float, digits: int = 3) -> str:
    """Return a number for a sentence: few digits, powers of ten written out, a true minus sign.

    Examples
    --------
    >>> short(0.12345), short(1.13e-12), short(-2.0), short(123456.0), short(14600.0)
    ('0.123', '1.13·10⁻¹²', '−2', '1.23·10⁵', '14600')
    """
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or not np.isfinite(rounded) or 1e-3 <= abs(rounded) < 1e5:
        return f"{rounded:.10g}".replace("-", "−")
    return ("−" if rounded < 0 else "") + power_of_ten(abs(rounded))


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with two digits.

    Examples
    --------
    >>> percent(0.4137), percent(1.4)
    ('41 %', '140 %')
    """
    return f"{short(100 * fraction, 2)} %"


def with_error(value: float, error: float) -> str:
    """Return a value with its error, both to the second digit of the error; the value alone without one.

    Examples
    --------
    >>> (
    ...     with_error(1.0791, 0.0983),
    ...     with_error(-0.0057, 0.0224),
    ...     with_error(163.2, 4.8),
    ...     with_error(2.0, np.nan),
    ... )
    ('1.079 ± 0.098', '−0.006 ± 0.022', '163.2 ± 4.8', '2')
    """
    if not (np.isfinite(value) and np.isfinite(error) and error > 0):
        return short(value)
    places = 1 - int(np.floor(np.log10(error)))
    if not -3 <= places <= 5 or abs(value) >= 1e6:
        return f"{short(value)} ± {short(error, 2)}"
    shown = f"{round(value, places):.{max(places, 0)}f} ± {round(error, places):.{max(places, 0)}f}"
    return shown.replace("-", "−")


def quantity(name: str, unit: str) -> str:
    """Return an axis label with its unit, or the name alone where there is none.

    Examples
    --------
    >>> quantity("momentum |p|", "rad/year"), quantity("T", ""), quantity("G", "(standard units)²")
    ('momentum |p| (rad/year)', 'T', 'G in (standard units)²')
    """
    if unit.startswith("("):
        return f"{name} in {unit}"
    return f"{name} ({unit})" if unit else name


def safe_label(text: str, most: int = 32) -> str:
    """Return a column's name or unit fit for an axis: printable characters only, long ones cut.

    Labels are set with ``parse_math=False``, so that ``$`` stays a dollar.
    """
    printable = "".join(character if character.isprintable() else " " for character in text).strip()
    return printable if len(printable) <= most else printable[: most - 1] + "…"


def label_axes(ax: Axes, *, x: str | None = None, y: str | None = None) -> None:
    """Label the axes with plain text, never read as matplotlib's mathematics."""
    if x is not None:
        ax.set_xlabel(x, parse_math=False)
    if y is not None:
        ax.set_ylabel(y, parse_math=False)


def head(ax: Axes, text: str, *, pad: float = 4) -> None:
    """Write what is drawn above the axes: room for units too long for the vertical axis."""
    ax.set_title(text, fontsize=10.5, color=INK, loc="left", pad=pad, parse_math=False)


def rank_axis(ax: Axes, count: int) -> None:
    """Make the horizontal axis that of ranks 1 to ``count``."""
    ax.set_xlim(0, count + 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def name_rows(ax: Axes, names: Sequence[str], **style: Any) -> None:
    """Make the vertical axis a list of names, the first on top; names are plain text."""
    ax.set_yticks(range(len(names)), names, parse_math=False, **style)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)


def legend_above(ax: Axes, columns: int, **options: Any) -> None:
    """Add a legend in one line above the axes, where it can hide nothing."""
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0.2}
    legend(ax, ncols=columns, columnspacing=1.2, handletextpad=0.5, **(place | options))


def input_unit(tree: Any) -> str:
    """Return the unit of the record's inputs, fit for an axis; empty without a record."""
    return safe_label(str(group(tree, "record").attrs.get("input_unit", "")), 16)


def group_units(tree: Any, name: str) -> tuple[str, str]:
    """Return the units of field and length of a group, fit for an axis; where it has none, the record's."""
    own, record = group(tree, name).attrs, group(tree, "record").attrs
    field_unit, length_unit = (
        safe_label(str(own.get(f"{kind}_unit", "") or record.get(f"{role}_unit", "")), 16)
        for kind, role in (("field", "value"), ("length", "input"))
    )
    return field_unit, length_unit


def dimension(tree: Any) -> int:
    """Return how many inputs the record has; 1 without a record."""
    shape = np.shape(group(tree, "record").get("input", ()))
    return shape[1] if len(shape) == 2 else 1


def power_unit(field_unit: str, length_unit: str, dim: int = 1) -> str:
    """Return the unit of a power spectrum, field² length^d; empty where neither unit is known.

    Examples
    --------
    >>> power_unit("hPa", "yr"), power_unit("K", "km", 2), power_unit("", "")
    ('hPa² yr', 'K² km²', '')
    """
    return " ".join(word for word in (raised(field_unit, 2), raised(length_unit, dim)) if word)


def raised(unit: str, power: int) -> str:
    """Return a unit to a power, in brackets where it is more than one word.

    Examples
    --------
    >>> raised("hPa", 2), raised("standard units", 4), raised("yr", -2), raised("", 2)
    ('hPa²', '(standard units)⁴', 'yr⁻²', '')
    """
    base = unit if unit.isalpha() or not unit else f"({unit})"
    return base + str(power).translate(_SUPERSCRIPT) if unit and power != 1 else base


def momentum_unit(unit: str) -> str:
    """Return the unit of |p| for inputs in ``unit``."""
    return f"rad/{unit}" if unit else "rad/length"
