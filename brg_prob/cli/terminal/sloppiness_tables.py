"""What the data determine, in the terminal: directions of parameter space, parameters, scales."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brg_prob.flow.prediction import compare_scales
from brg_prob.summary import floats, group

NOTHING = "–"
"""In place of a number that is not there."""

_STIFF, _SLOPPY, _PARAMETERS = 5, 3, 12
_LOO = ("elpd_loo", "se", "difference", "dse", "worst_k")


def sloppiness_blocks(tree: xr.DataTree) -> list[RenderableType]:
    """Return the tables of directions, parameters and leave-one-out scores that a run's tree has groups for.

    Parameters
    ----------
    tree
        With ``directions`` and ``parameters`` (:func:`brg_prob.geometry.sloppiness.sloppiness`), and ``flow``
        with ``loo`` (:mod:`brg_prob.flow.prediction`), in the root or a branch.

    Returns
    -------
    list
        Blocks to be printed with an empty line behind each; none without any of these groups.
    """
    directions, parameters = group(tree, "directions"), group(tree, "parameters")
    flows = [group(branch, "flow") for branch in (tree, *tree.children.values())]
    return [
        *([_directions(directions)] if directions.sizes.get("mode", 0) else []),
        *([_parameters(parameters)] if parameters.sizes.get("parameter", 0) else []),
        *(_left_out(flow) for flow in flows if "loo" in flow),
    ]


def _directions(table: xr.Dataset) -> Group:
    """Return the stiffest and the sloppiest directions, and a sentence."""
    size = table.sizes["mode"]
    shown = np.union1d(np.arange(min(_STIFF, size)), np.arange(max(size - _SLOPPY, 0), size))
    seen = float(table.attrs["observations"])
    out = table_of_numbers(f"directions of parameter space, T = {seen:.3g}", "", "λ", "Tλ", "")
    out.add_column("direction", overflow="fold")
    for row, gap in zip(shown, np.diff(shown, prepend=-1), strict=True):
        if gap > 1:
            out.add_row("…")
        value = float(table["eigenvalue"].values[row])
        kind = "stiff" if table["stiff"].values[row] else "sloppy" if value > 0 else "not determined"
        cells = (str(row + 1), number(value), number(seen * value), kind)
        out.add_row(*cells, Text(str(table["phrase"].values[row])))
    attrs = table.attrs
    text = (
        f"{int(attrs['stiff'])} of {int(attrs['parameters'])} directions are stiff; effective number of "
        f"parameters {float(attrs['effective_parameters']):.3g}"
    )
    return Group(out, Text(text))


def _parameters(table: xr.Dataset) -> Group:
    """Return the parameters, most contracted first, conflicts always among them, and a sentence."""
    order = np.argsort(-floats(table, "contraction"), kind="stable")
    conflict = np.asarray(table["conflict"].values)[order] == 1
    places = np.arange(order.size)
    if order.size > _PARAMETERS:
        first = np.flatnonzero(conflict)[: _PARAMETERS // 3]
        others, tail = np.setdiff1d(places, first), _PARAMETERS // 4
        places = np.union1d(first, np.r_[others[: _PARAMETERS - first.size - tail], others[-tail:]])
    own = "prior_median" in table
    columns = {word: (f"{word}_median", f"{word}_width") for word in ("prior", "posterior")}
    columns = columns if own else {"posterior z": ("z_mean", "z_sd")}
    title = "parameters, median ± half of the central 68 % interval" if own else "parameters"
    out = table_of_numbers(title)
    out.add_column("parameter", overflow="fold", min_width=9)
    for name in (*columns, "contraction", ""):
        out.add_column(name, justify="right", no_wrap=True)
    for place in places:
        at = order[place]
        out.add_row(
            Text(str(table["parameter"].values[at])),
            *(_pair(table, centre, width, int(at)) for centre, width in columns.values()),
            f"{float(table['contraction'].values[at]):.2f}",
            Text("conflict", style="yellow") if conflict[place] else "",
        )
    rest = order.size - places.size
    text = str(table.attrs.get("status", "")) + (f"; {rest} parameters not shown" if rest else "")
    return Group(out, *map(Text, [text, *_given(table)]))


def _given(table: xr.Dataset) -> list[str]:
    """Return a sentence on the parameters whose contraction is that given others; none without any."""
    parents = [str(text) for text in table["given"].values] if "given" in table else []
    sites = {
        str(name).split("[")[0]: text for name, text in zip(table["parameter"].values, parents, strict=False)
    }
    said = "; ".join(f"{site} given {text}" for site, text in sites.items() if text)
    sentence = f"λ, directions and contraction are those of {said}: of its deviation, not of its variance"
    return [sentence] if said else []


def _left_out(flow: xr.Dataset) -> Table:
    """Return the leave-one-out comparison of scales."""
    table = compare_scales(flow)
    name = str(table.columns[0])
    scheme = str(flow.attrs.get("scheme", "")).lower()
    weighed = "pareto_k_max" in flow  # in closed form there are no weights that could fail
    left_out = "leave-one-out" if weighed else "leave-one-out in closed form"
    title = ", ".join(word for word in (left_out, scheme) if word)
    out = table_of_numbers(title, name, "elpd ± s.e.", "difference ± s.e.", *["worst k"] * weighed)
    for row in table.to_dict("records"):
        elpd, se, difference, dse, k = (float(row.get(key, math.nan)) for key in _LOO)
        cells: list[str | Text] = [
            number(float(row[name])),
            f"{elpd:.1f} ± {se:.1f}" if math.isfinite(elpd) else NOTHING,
            f"{difference:.1f} ± {dse:.1f}" if dse > 0 else NOTHING,
        ]
        if weighed:
            worst = f"{k:.2f}" if math.isfinite(k) else NOTHING
            cells.append(Text(worst, style="yellow" if row.get("bad_k", 0) else ""))
        out.add_row(*cells)
    return out


def table_of_numbers(title: str, *heads: str) -> Table:
    """Return an empty table in the style of the terminal, with columns of numbers."""
    table = Table(title=title, box=None, title_justify="left", title_style="bold", pad_edge=False)
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _pair(table: xr.Dataset, centre: str, width: str, at: int) -> str:
    """Return a value with its width."""
    middle, spread = (float(table[name].values[at]) for name in (centre, width))
    return f"{middle:.3g} ± {spread:.2g}" if math.isfinite(middle) else NOTHING


def number(value: float) -> str:
    """Return three significant digits; a dash for what does not exist."""
    return f"{value:.3g}" if math.isfinite(value) else NOTHING
