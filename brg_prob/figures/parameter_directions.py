"""Which directions of parameter space the data determine: spectrum, and what they are made of (T5, T6)."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from brg_prob.figures.style import (
    BLUE,
    MUTED,
    ORANGE,
    VERMILION,
    Picture,
    columns_of,
    frame,
    head,
    label_axes,
    legend_above,
    log_axis,
    name_rows,
    new_axes,
    new_figure,
    power_of_ten,
    rank_axis,
    safe_label,
    short,
    stacked,
)
from brg_prob.figures.thinning import drawn_note, spread
from brg_prob.summary import floats, group

_MOST_MARKERS, _PHRASE = 400, 38
_KINDS = {"stiff": (BLUE, "o"), "sloppy": (ORANGE, "s"), "not determined": (MUTED, "<")}


def sloppiness_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the eigenvalues of the Fisher metric over their decades, the leading and the last in words.

    Reads ``directions`` (eigenvalue, stiff, phrase, shown_mode, participation_ratio; attributes observations,
    parameters, undetermined, decades, effective_parameters). None without it or without any mode.
    """
    table = _directions(tree)
    if table is None:
        return None
    values, kinds = floats(table, "eigenvalue"), _kinds(table)
    shown = floats(table, "shown_mode").astype(int) - 1
    rows = 0.75 + 0.27 * shown.size
    drawn = values.size
    if values.size > shown.size:
        fig, (top, below) = stacked(2.7, rows + 0.25)
        drawn = _by_rank(new_axes(top), table, kinds)
        _in_words(new_axes(below), table, kinds, shown)
    else:
        fig, ax = new_figure(height=max(rows, 1.6))
        _in_words(ax, table, kinds, shown)
        legend_above(ax, 3)
    return Picture(
        "sloppiness",
        fig,
        _message(table),
        _caption(table, shown.size) + drawn_note(drawn, values.size, "directions"),
        _words(table),
        _numbers(table),
        "determined",
    )


def participation_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the share of each parameter in the stiffest and the sloppiest directions, as a matrix of squares.

    Reads ``directions`` (participation, shown_mode, stiff, phrase; coordinate part). None without it, or
    where there is but one parameter.
    """
    table = _directions(tree)
    if table is None or "participation" not in table or table.sizes["part"] < 2:
        return None
    shares, shown = floats(table, "participation"), floats(table, "shown_mode").astype(int)
    kinds = _kinds(table)[shown - 1]
    parts = [safe_label(str(part), 22) or "(no name)" for part in table["part"].values]
    fig, ax = new_figure(height=1.5 + 0.27 * shown.size)
    for row, kind in enumerate(kinds):
        for column, share in enumerate(shares[row]):
            _square(ax, column, row, float(share), _KINDS[kind][0])
    for kind in [kind for kind in _KINDS if kind in kinds]:
        ax.plot([], [], "s", ms=7, color=_KINDS[kind][0], label=kind)
    ax.set_xlim(-0.6, len(parts) - 0.4)
    ax.set_xticks(range(len(parts)), parts, rotation=50, ha="right", rotation_mode="anchor", parse_math=False)
    name_rows(ax, [str(mode) for mode in shown])
    ax.tick_params(length=0)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    label_axes(ax, y="direction, stiffest first")
    legend_above(ax, 3, borderpad=0.4)
    summed = len(parts) < int(table.attrs["parameters"])
    ends = [safe_label(str(table["phrase"].values[at - 1]), 60) for at in (shown[0], shown[-1])]
    return Picture(
        "participation",
        fig,
        f"The stiffest direction is {ends[0]}" + (f"; the sloppiest is {ends[1]}" if shown.size > 1 else ""),
        "Share of each parameter in each direction, its squared component in coordinates where the prior is "
        "N(0, 1): the area of a square, a full cell being all of it. Rows: the stiffest and the sloppiest "
        f"directions, {shown.size} of {table.sizes['mode']}."
        + (" Parameters beyond 20 columns are summed by site." if summed else ""),
        _shares_in_words(parts, shares, shown),
        _shares(table, shares, shown, kinds),
        "determined",
    )


def _directions(tree: xr.DataTree) -> xr.Dataset | None:
    """Return the table of directions, None without one or where it is empty."""
    table = group(tree, "directions")
    return table if table.sizes.get("mode", 0) and table.sizes.get("shown", 0) else None


def _kinds(table: xr.Dataset) -> np.ndarray:
    """Return "stiff", "sloppy" or "not determined" for each direction."""
    values = floats(table, "eigenvalue")
    return np.where(values <= 0, "not determined", np.where(floats(table, "stiff") == 1, "stiff", "sloppy"))


def _placed(table: xr.Dataset) -> tuple[np.ndarray, float, float]:
    """Return where eigenvalues stand on a logarithmic axis, zeros below all others, and the axis' limits."""
    values, level = floats(table, "eigenvalue"), 1 / float(table.attrs["observations"])
    positive = np.append(values[values > 0], level)
    places = np.where(values > 0, values, positive.min() / 10)
    return places, min(places.min(), positive.min()) / 2, positive.max() * 2


def _by_rank(ax: Axes, table: xr.Dataset, kinds: np.ndarray) -> int:
    """Draw all eigenvalues by rank; return how many markers."""
    places, low, high = _placed(table)
    log_axis(ax, "y", low, high)
    count = 0
    for kind, (colour, marker) in _KINDS.items():
        members = np.flatnonzero(kinds == kind)
        if members.size:
            drawn = members[spread(places[members], _MOST_MARKERS)]
            count += drawn.size
            label = f"{kind} ({members.size})"
            ax.plot(drawn + 1, places[drawn], marker, ms=4, mfc="none", mew=1.1, color=colour, label=label)
    ax.axhline(1 / float(table.attrs["observations"]), color=VERMILION, lw=1.2, ls=":", zorder=1)
    ax.set_ylim(low, high)
    rank_axis(ax, places.size)
    label_axes(ax, x="rank of the direction", y="Fisher eigenvalue λ")
    legend_above(ax, 3)
    return count


def _in_words(ax: Axes, table: xr.Dataset, kinds: np.ndarray, shown: np.ndarray) -> None:
    """Draw the eigenvalues of some directions, a line each, with what each direction is."""
    places, low, high = _placed(table)
    log_axis(ax, "x", low, high)
    for kind, (colour, marker) in _KINDS.items():
        rows = np.flatnonzero(kinds[shown] == kind)
        if rows.size:
            label = f"{kind} ({int(np.sum(kinds == kind))})"
            ax.plot(places[shown[rows]], rows, marker, ms=6, mfc="none", mew=1.4, color=colour, label=label)
    ax.xaxis.set_major_locator(LogLocator(base=10, numticks=5))
    ax.axvline(1 / float(table.attrs["observations"]), color=VERMILION, lw=1.2, ls=":", zorder=1)
    head(ax, "")
    for row in np.flatnonzero(np.diff(shown) > 1):
        ax.axhline(float(row) + 0.5, color=MUTED, lw=0.8, ls="--")
    phrases = [_cut(str(phrase)) for phrase in table["phrase"].values[shown]]
    labels = [f"{phrase}   {number + 1}" for phrase, number in zip(phrases, shown, strict=True)]
    name_rows(ax, labels, fontsize=8.5)
    ax.set_xlim(low, high)
    label_axes(ax, x="Fisher eigenvalue λ (per observation)")


def _cut(phrase: str) -> str:
    """Return a phrase with as many whole terms as there is room for."""
    whole = safe_label(phrase, 400)
    terms = re.split(r"(?= [+−] )", whole)
    while len("".join(terms)) > _PHRASE - 4 and len(terms) > 1:
        terms.pop()
    text = "".join(terms)
    return safe_label(text if text == whole or text.endswith("…") else f"{text} + …", _PHRASE)


def _square(ax: Axes, column: float, row: float, share: float, colour: str) -> None:
    """Draw a square whose area is a share of its cell; nothing below a thousandth."""
    if share < 1e-3:
        return
    side = 0.94 * np.sqrt(min(share, 1.0))
    ax.add_patch(Rectangle((column - side / 2, row - side / 2), side, side, color=colour, lw=0, zorder=2))


def _message(table: xr.Dataset) -> str:
    """Return how many directions the data determine, and over how many decades."""
    attrs, values = table.attrs, floats(table, "eigenvalue")
    text = (
        f"{float(attrs['observations']):.3g} observations determine {int(attrs['stiff'])} of "
        f"{int(attrs['parameters'])} directions of parameter space"
    )
    if np.sum(values > 0) > 1:
        text += f"; eigenvalues span {short(float(attrs['decades']), 2)} decades"
    if none := int(np.sum(values <= 0)):
        text += f", and {none} {'direction is' if none == 1 else 'directions are'} not determined at all"
    return text


def _caption(table: xr.Dataset, shown: int) -> str:
    """Return what is drawn."""
    attrs, size = table.attrs, table.sizes["mode"]
    level = power_of_ten(float(f"{1 / float(attrs['observations']):.2g}"))
    parts = {
        "Eigenvalue λ of the Fisher metric per observation, in coordinates where the prior is N(0, 1): the "
        f"data's precision in units of the prior's. Dotted: λ = 1/T = {level}; stiff directions lie on or "
        "above it, and the posterior there is narrower than the prior by √2 or more.": True,
        "Below: the stiffest and the sloppiest, with what they are made of and their rank.": shown < size,
        "Triangles: zero up to rounding, drawn at the left or lower edge.": (
            floats(table, "eigenvalue") <= 0
        ).any(),
        f"{size} of {int(attrs['parameters'])} eigenvalues were computed; none of the others is larger.": size
        < int(attrs["parameters"]),
    }
    return " ".join(part for part, holds in parts.items() if holds)


def _words(table: xr.Dataset) -> str:
    """Return the spectrum in words."""
    values, attrs = floats(table, "eigenvalue"), table.attrs
    positive = values[values > 0]
    if not positive.size:
        return f"All {values.size} eigenvalues are zero: the data determine nothing."
    first = safe_label(str(table["phrase"].values[0]), 80)
    return (
        f"{values.size} Fisher eigenvalues fall from {short(positive.max())} (direction {first}) to "
        f"{short(positive.min())}; {int(np.sum(values <= 0))} are zero. {int(attrs['stiff'])} lie on or "
        f"above 1/T = {short(1 / float(attrs['observations']))}. The effective number of parameters is "
        f"{short(float(attrs['effective_parameters']))}."
    )


def _numbers(table: xr.Dataset) -> pd.DataFrame:
    """Return the table of directions."""
    labels = {
        "eigenvalue": ("eigenvalue", ""),
        "signal": ("Tλ", ""),
        "participation_ratio": ("participation ratio", ""),
    }
    words = {
        ("kind", ""): _kinds(table),
        ("in words", ""): [safe_label(str(phrase), 200) for phrase in table["phrase"].values],
    }
    rank = {("direction", ""): np.arange(1, table.sizes["mode"] + 1)}
    return frame({**rank, **columns_of(table, labels), **words})


def _shares(table: xr.Dataset, shares: np.ndarray, shown: np.ndarray, kinds: np.ndarray) -> pd.DataFrame:
    """Return the shares, one row per direction and part."""
    parts = np.array([safe_label(str(part), 200) for part in table["part"].values])
    row, column = np.indices(shares.shape).reshape(2, -1)
    return frame(
        {
            ("direction", ""): shown[row],
            ("kind", ""): kinds[row],
            ("parameter", ""): parts[column],
            ("share", ""): shares.ravel(),
        }
    )


def _shares_in_words(parts: list[str], shares: np.ndarray, shown: np.ndarray) -> str:
    """Return the largest share of each direction."""
    largest = shares.argmax(axis=1)
    said = [
        f"direction {mode}: {100 * shares[row, at]:.0f} % {parts[at]}"
        for row, (mode, at) in enumerate(zip(shown, largest, strict=True))
    ]
    return "Largest shares. " + "; ".join(said).capitalize() + "."
