"""The four linked panels that a slider over scales moves, as Vega-Lite specifications in plain dicts.

Columns have fixed short names, so that no text of a user's becomes part of an expression; such
text stands in axis titles only. Axes are the same at all scales, so that what moves is the theory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from brg_prob.arrays import thin
from brg_prob.figures.style import input_unit, momentum_unit, quantity, safe_label
from brg_prob.report.page import number
from brg_prob.summary import floats, group

MOST_ROWS, MOST_MODES = 500, 200
"""Inputs and modes that the panels draw, evenly spread; the tree holds all."""

_MOST_INPUTS = 4
"""Inputs whose values are named in a heading."""

_UNDER = 0.1
"""How far below a logarithmic axis zero stands, as a part of its length."""

_CURVE = np.linspace(-3.5, 3.5, 71)
_CONFIG: dict[str, Any] = {
    "aria": False,  # the page says in words what a panel shows
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--muted)",
        "tickColor": "var(--muted)",
        "tickRound": False,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}

Table = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Panel:
    """One panel: what is drawn, from which numbers, and what it says at each scale.

    Attributes
    ----------
    name, title
        Identifier and heading.
    key
        Marks as (shape, colour, meaning).
    layers
        Vega-Lite layers; each reads the data set of its ``data.name``.
    fixed
        Data set → column → values (rows,).
    moving
        Data set → column → values (scale, rows); beside the fixed columns of the same set.
    captions
        A sentence for each scale, numbers included.
    thinned
        What was left out, in words; empty if nothing was.
    """

    name: str
    title: str
    key: tuple[tuple[str, str, str], ...]
    layers: list[dict[str, Any]]
    captions: list[str]
    fixed: Mapping[str, Table] = field(default_factory=dict)
    moving: Mapping[str, Table] = field(default_factory=dict)
    thinned: str = ""

    def content(self) -> dict[str, Any]:
        """Return what the page's script needs, as JSON types."""
        tables = {
            part: {
                name: {key: plain(values) for key, values in table.items()} for name, table in sets.items()
            }
            for part, sets in (("fixed", self.fixed), ("moving", self.moving))
        }
        spec = {
            "width": "container",
            "height": 210,
            "autosize": {"type": "fit-x", "contains": "padding"},
            "config": _CONFIG,
            "layer": self.layers,
        }
        return {"name": self.name, "spec": spec, "captions": self.captions, **tables}


def plain(values: Any) -> Any:
    """Return an array as nested lists: six digits, None for what is not finite."""
    values = np.asarray(values)
    if values.ndim > 1:
        return [plain(row) for row in values]
    if values.dtype == bool:
        return values.tolist()
    known = np.isfinite(values.astype(float)).tolist()
    pairs = zip(values.astype(float).tolist(), known, strict=True)  # Python's own floats: a third of the time
    return [float(f"{value:.6g}") if finite else None for value, finite in pairs]


def field_panel(tree: xr.DataTree) -> Panel | None:
    """The trained field, mean ± 2 s.d., with the data; where the inputs are a line."""
    slides = group(tree, "slides")
    if not {"field_mean", "field_sd", "input"} <= set(slides.data_vars) or slides["input"].ndim != 1:
        return None
    at = floats(slides, "input")
    rows = np.argsort(at, kind="stable")[thin(at.size, MOST_ROWS)]
    mean, spread = (floats(slides, name)[:, rows] for name in ("field_mean", "field_sd"))
    low, high = mean - 2 * spread, mean + 2 * spread
    data, names = _data(tree)
    every = np.concatenate([low.ravel(), high.ravel(), data["y"]])
    x = channel("x", quantity(names["input_name"], names["input_unit"]), at)
    title = quantity(names["value_name"], names["value_unit"])
    y, y_low = channel("y", title, every), channel("low", title, every)
    unit = f" {names['value_unit']}" if names["value_unit"] else ""
    return Panel(
        "moving-field",
        "The field",
        (("band", "sky", "± 2 s.d."), ("line", "blue", "mean"), ("dot", "ink", "data trained on")),
        [
            layer("field", mark("area", "sky", opacity=0.35, clip=True), x=x, y=y_low, y2={"field": "high"}),
            layer("data", mark("circle", "ink", size=9, opacity=0.7, clip=True), x=x, y=y),
            layer("field", line_mark("blue"), x=x, y=channel("mean", title, every)),
        ],
        [
            f"The field’s spread is {number(float(width))}{unit} on average over the inputs (one s.d.)."
            for width in floats(slides, "field_sd").mean(axis=1)
        ],
        fixed={"field": {"x": at[rows]}, "data": data},
        moving={"field": {"mean": mean, "low": low, "high": high}},
        thinned=_left_out(rows.size, at.size, "inputs"),
    )


def propagator_panel(tree: xr.DataTree) -> Panel | None:
    """Variances of the flowed draws on the curve of the exact RG (T9b)."""
    theory = group(tree, "theory")
    if not {"predicted", "measured", "se"} <= set(theory.data_vars):
        return None
    momentum = floats(theory, "momentum")
    order = np.argsort(momentum, kind="stable")
    curve = {name: floats(theory, name) for name in ("predicted", "measured", "se")}
    # a shell that drops modes leaves them no variance: nothing to draw on a logarithmic axis
    curve = {name: np.where(curve["predicted"] > 0, values, np.nan) for name, values in curve.items()}
    near = np.abs(curve["measured"] - curve["predicted"]) <= curve["se"]
    marked = order[thin(order.size, MOST_MODES)]
    low, high = curve["measured"] - curve["se"], curve["measured"] + curve["se"]
    length = input_unit(tree)
    x = channel("x", quantity("momentum |p|", momentum_unit(length)), momentum, margin=0.01)
    title = quantity("G(p; T)", f"field² · {length or 'length'}")
    shown = np.concatenate([curve["predicted"], low, high], axis=None)
    y, y_low, y_line = (log_channel(name, title, shown) for name in ("y", "low", "predicted"))
    low = np.where(low <= 0, y["scale"]["domain"][0], low)  # of few draws a bar may reach below zero
    open_circle = mark("point", "blue", size=22, strokeWidth=1.3, filled=False)
    line = order[thin(order.size, 4 * MOST_MODES)]
    return Panel(
        "moving-propagator",
        "The propagator, on the curve of the exact RG",
        (("line", "ink", "predicted, exact RG"), ("ring", "blue", "measured ± 1 s.e.")),
        [
            layer("curve", line_mark("ink"), x=x, y=y_line),
            layer("modes", mark("rule", "blue", clip=True), x=x, y=y_low, y2={"field": "high"}),
            layer("modes", open_circle, x=x, y=y),
        ],
        [
            f"{100 * float(inside.mean()):.0f} % of {inside.size} modes lie within one standard error of the "
            "curve; 68 % are expected."
            for inside in near
        ],
        fixed={"curve": {"x": momentum[line]}, "modes": {"x": momentum[marked]}},
        moving={
            "curve": {"predicted": curve["predicted"][:, line]},
            "modes": {"y": curve["measured"][:, marked], "low": low[:, marked], "high": high[:, marked]},
        },
        thinned=_left_out(marked.size, order.size, "modes"),
    )


def fisher_panel(tree: xr.DataTree) -> Panel:
    """Fisher eigenvalues with the threshold 1/T, below which a mode is not distinguishable (T5).

    Eigenvalues of zero, or below the floor of round-off, stand at a tick 0 under the logarithmic axis.
    """
    theory = group(tree, "theory")
    if "fisher_measured" in theory:
        values, at = floats(theory, "fisher_measured"), floats(theory, "momentum")
        title = quantity("momentum |p|", momentum_unit(input_unit(tree)))
    else:
        values = np.sort(floats(tree["fisher"], "eigenvalue"))[::-1]
        at, title = np.arange(1.0, values.size + 1), "rank of the mode"
    order = np.argsort(at, kind="stable")
    marked = order[thin(order.size, MOST_MODES)]
    observations = floats(tree["flow"], "observations")
    threshold = 1 / np.where(observations > 0, observations, np.nan)[:, None]
    above = values[None, :] >= threshold
    nothing = values <= max(0.0, float(tree["fisher"].attrs.get("floor", 0.0)))
    shown = np.concatenate([values[~nothing], threshold.ravel()])
    x = channel("x", title, at, margin=0.01)
    y, y_level = (
        log_channel(name, "Fisher eigenvalue λ", shown, zero=bool(nothing.any())) for name in ("y", "level")
    )
    place = np.where(nothing, y["scale"]["domain"][0], values)
    said = f" {int(nothing.sum())} with λ = 0, to rounding, stand at the tick 0." if nothing.any() else ""
    point = mark("point", "blue", size=22, strokeWidth=1.2)
    fill = {"condition": {"test": "datum.above", "value": "var(--blue)"}, "value": "transparent"}
    rule = mark("rule", "vermilion", strokeDash=[5, 4], strokeWidth=1.6)
    return Panel(
        "moving-fisher",
        "The Fisher spectrum and the threshold 1/T",
        (
            ("dot", "blue", "distinguishable at T"),
            ("ring", "blue", "not"),
            ("dash", "vermilion", "threshold 1/T"),
        ),
        [layer("modes", point, x=x, y=y, fill=fill), layer("threshold", rule, y=y_level)],
        [
            (
                f"{int(row.sum())} of {row.size} modes lie on or above 1/T = {number(float(level))}."
                if np.isfinite(level)
                else "No number of observations belongs to this scale."
            )
            + said
            for row, level in zip(above, threshold[:, 0], strict=True)
        ],
        fixed={"modes": {"x": at[marked], "y": place[marked]}},
        moving={"modes": {"above": above[:, marked]}, "threshold": {"level": threshold}},
        thinned=_left_out(marked.size, order.size, "modes"),
    )


def histogram_panel(tree: xr.DataTree) -> Panel | None:
    """Histogram of the field at one input over all draws, with its normal law and the prior's."""
    slides = group(tree, "slides")
    if not {"histogram", "bin_edge", "normal_mean", "normal_sd"} <= set(slides.data_vars):
        return None
    edge, count, mean, spread = (
        floats(slides, name) for name in ("bin_edge", "histogram", "normal_mean", "normal_sd")
    )
    prior_mean, prior_spread = (
        _of(slides, f"prior_{name}", mean.size) for name in ("normal_mean", "normal_sd")
    )
    _, names = _data(tree)
    unit = names["value_unit"]
    x = channel("x", quantity(names["value_name"], unit), edge, margin=0.0)
    title = quantity("density", f"1/{unit}" if unit else "")
    y = {"field": "y", "type": "quantitative", "title": title, "axis": {"tickCount": 4}}
    bars = mark("bar", "sky", opacity=0.55, clip=True)
    normal, prior = _normal(mean, spread), _normal(prior_mean, prior_spread)
    total = np.maximum(count.sum(axis=1, keepdims=True), 1)
    where = _histogram_place(slides, names)
    return Panel(
        "moving-histogram",
        f"The field{where}, over all draws",
        (
            ("band", "sky", "draws"),
            ("line", "blue", "normal law with their mean and s.d."),
            ("dash", "orange", "the prior’s"),
        ),
        [
            layer("bars", bars, x=x | {"field": "left", "bin": "binned"}, x2={"field": "right"}, y=y),
            layer("normal", line_mark("blue"), x=x, y=y),
            layer("prior", line_mark("orange") | {"strokeDash": [5, 4]}, x=x, y=y),
        ],
        [
            f"Mean {number(float(m))}, s.d. {number(float(s))}; the prior’s: {number(float(pm))} and "
            f"{number(float(ps))}{f' ({unit})' if unit else ''}."
            for m, s, pm, ps in zip(mean, spread, prior_mean, prior_spread, strict=True)
        ],
        fixed={"bars": {"left": edge[:-1], "right": edge[1:]}},
        moving={"bars": {"y": count / total / np.diff(edge)}, "normal": normal, "prior": prior},
    )


def _normal(mean: np.ndarray, spread: np.ndarray) -> dict[str, np.ndarray]:
    """Return points of normal densities, one per scale."""
    spread = np.where(spread > 0, spread, np.nan)[:, None]
    height = np.exp(-0.5 * _CURVE**2) / np.sqrt(2 * np.pi) / spread
    return {"x": mean[:, None] + spread * _CURVE, "y": height}


def _of(slides: xr.Dataset, name: str, scales: int) -> np.ndarray:
    """Return a number per scale that is stored as a variable or, once for all, as an attribute."""
    value = slides[name].values if name in slides else slides.attrs.get(name, np.nan)
    return np.broadcast_to(np.asarray(value, dtype=float), (scales,))


def _histogram_place(slides: xr.Dataset, names: Mapping[str, str]) -> str:
    """Return at which input the histogram is, in words."""
    if "histogram_input" not in slides.attrs:
        return " at one input"
    place = slides.attrs["histogram_input"]
    if isinstance(place, str):  # of several inputs, their values as text
        few = place.count(",") < _MOST_INPUTS
        return f" at the input ({place})" if few else f" at row {int(slides.attrs['histogram_row']) + 1}"
    unit = f" {names['input_unit']}" if names["input_unit"] else ""
    return f" at {names['input_name']} = {float(place):.6g}{unit}"


def _data(tree: xr.DataTree) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the data trained on as x and y, thinned, and names and units fit for axes."""
    record = group(tree, "record")
    keys = ("input_name", "input_unit", "value_name", "value_unit")
    names = {key: safe_label(str(record.attrs.get(key, ""))) for key in keys}
    names |= {"input_name": names["input_name"] or "input", "value_name": names["value_name"] or "field"}
    own = record.attrs.get("shown", "field") == "field"
    if not own:  # log-odds, a log rate: the field has other units than the data
        names |= {"value_name": "field f", "value_unit": ""}
    if not own or "input" not in record or record["input"].ndim != 1:
        return {"x": np.zeros(0), "y": np.zeros(0)}, names
    rows = np.flatnonzero(np.asarray(record["training"].values) == 1)
    rows = rows[thin(rows.size, MOST_ROWS)]
    return {"x": floats(record, "input")[rows], "y": floats(record, "value")[rows]}, names


def layer(data: str, drawn: Mapping[str, Any], **encoding: Any) -> dict[str, Any]:
    """Return a layer over one data set, of one mark."""
    return {"data": {"name": data}, "mark": dict(drawn), "encoding": encoding}


def mark(kind: str, colour: str, **options: Any) -> dict[str, Any]:
    """Return a mark in a colour of the page."""
    return {"type": kind, "color": f"var(--{colour})", **options}


def line_mark(colour: str) -> dict[str, Any]:
    """Return a line in a colour of the page."""
    return mark("line", colour, strokeWidth=1.6, clip=True)


def channel(name: str, title: str, values: np.ndarray, margin: float = 0.04) -> dict[str, Any]:
    """Return a linear axis over all values."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    pad = margin * (high - low) or (0.0 if high > low else 0.5)
    axis = {"tickCount": 5, "format": "~r"} if max(abs(low), abs(high)) < 1e4 else {"tickCount": 4}
    domain = plain(np.array([low - pad, high + pad]))
    return {
        "field": name,
        "type": "quantitative",
        "title": title,
        "scale": {"domain": domain, "nice": False, "zero": False},
        "axis": axis,
    }


def log_channel(name: str, title: str, values: np.ndarray, *, zero: bool = False) -> dict[str, Any]:
    """Return a logarithmic axis over the positive values; with ``zero`` it begins at a tick 0 below them."""
    positive: Sequence[float] | np.ndarray = values[np.isfinite(values) & (values > 0)]
    low, high = (float(np.min(positive)), float(np.max(positive))) if len(positive) else (0.1, 1.0)
    low, high = low / 1.3, high * 1.3
    axis: dict[str, Any] = {"values": _ticks(low, high), "format": "~g"}
    if zero:  # a logarithm has no place for it, and Vega would draw it at the top
        least, low = low, low * (low / high) ** _UNDER
        label = f"datum.value < {math.sqrt(low * least):.6g} ? '0' : format(datum.value, '~g')"
        axis |= {"values": [*plain(np.array([low])), *axis["values"]], "labelExpr": label}
    return {
        "field": name,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "domain": plain(np.array([low, high])), "nice": False},
        "axis": axis,
    }


def _ticks(low: float, high: float) -> list[float]:
    """Return up to eight ticks of a logarithmic axis: powers of ten, on short axes also 2 and 5."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [float(f"{factor}e{power}") for power in decades for factor in factors]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks[:: math.ceil(len(ticks) / 8) or 1]


def _left_out(drawn: int, there: int, what: str) -> str:
    """Return how many rows are drawn, where it is not all."""
    return "" if drawn == there else f"{drawn} of {there} {what} are drawn, evenly spread"
