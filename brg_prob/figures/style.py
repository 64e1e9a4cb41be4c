"""What all figures share: palette, axes, units, and SVG that follows the page's light or dark theme.

Colours are Okabe and Ito's, distinguishable under the common colour-vision deficiencies; every
series also differs by marker or line style, so that print in grey stays readable. Figures are
``matplotlib.figure.Figure`` objects: no pyplot, so nothing is left open.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
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
    """

    name: str
    figure: Figure
    title: str
    caption: str
    alt: str


def new_figure(*, width: float = 6.4, height: float = 4.0, **layout: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (as ``Figure.subplots`` gives them); sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.subplots(**layout)
    for ax in np.ravel(np.asarray(axes, dtype=object)):
        _clean(ax)
    return figure, axes


def _clean(ax: Axes) -> None:
    """Thin axes on two sides, a faint grid behind, in theme colours."""
    ax.patch.set_alpha(0.0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=9.5, width=0.8)
    ax.tick_params(which="minor", length=2)
    ax.grid(True, which="major", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(INK)
        axis.label.set_fontsize(10.5)


def legend(ax: Axes, **options: Any) -> None:
    """Add a frameless legend in theme colours."""
    settings: dict[str, Any] = {
        "frameon": False,
        "fontsize": 9.5,
        "labelcolor": INK,
        "handlelength": 1.8,
    } | options
    ax.legend(**settings)


def log_axis(ax: Axes, which: str, low: float, high: float) -> None:
    """Make an axis logarithmic with Unicode labels (text in SVG), dense enough for its span."""
    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    decades = np.log10(high / low) if low > 0 else 3.0
    subs = (1.0,) if decades > 2.0 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_locator(LogLocator(base=10, subs=tuple(range(2, 10)), numticks=12))
    axis.set_minor_formatter(NullFormatter())


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


def quantity(name: str, unit: str) -> str:
    """Return an axis label with its unit, or the name alone where there is none.

    Examples
    --------
    >>> quantity("momentum |p|", "rad/year"), quantity("T", "")
    ('momentum |p| (rad/year)', 'T')
    """
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


def input_unit(tree: Any) -> str:
    """Return the unit of the record's inputs, fit for an axis; empty without a record."""
    return safe_label(str(tree["record"].attrs["input_unit"]), 16) if "record" in tree.children else ""


def momentum_unit(unit: str) -> str:
    """Return the unit of |p| for inputs in ``unit``."""
    return f"rad/{unit}" if unit else "1/length"


def thin(size: int, most: int) -> np.ndarray:
    """Return at most ``most`` indices of ``range(size)``, evenly spread, both ends included."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


def svg(picture: Picture) -> str:
    """Return a picture as an SVG element to stand inside an HTML page.

    Text stays text (searchable, in the page's font), colours are CSS variables, identifiers
    are unique per picture, and nothing refers to anything outside the page.
    """
    salt = hashlib.sha256(picture.name.encode()).hexdigest()
    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "svg.id": None}),
        warnings.catch_warnings(),
    ):
        # text stays text: the reader's fonts draw it, whatever matplotlib's own can
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        picture.figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(
        r'<svg\b[^>]*?viewBox="([^"]*)"[^>]*>',
        r'<svg viewBox="\1" aria-hidden="true" focusable="false">',
        text,
        count=1,
    )
    text = _unique_identifiers(text, picture.name)
    for colour, variable in THEME.items():
        text = re.sub(colour, variable, text, flags=re.IGNORECASE)
    return re.sub(r"(font: [\d.]+px) [^;\"]*", r"\1 var(--sans)", text)


def _unique_identifiers(text: str, name: str) -> str:
    """Prefix all identifiers and references: several pictures stand in one page."""
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
