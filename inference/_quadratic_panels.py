"""The slider over cutoffs that moves all of the authors' pictures: panels of the library's report."""

from __future__ import annotations

from typing import Any

import numpy as np

from brg_prob.figures.thinning import thin
from brg_prob.report.interactive import Slider
from brg_prob.report.page import number
from brg_prob.report.panels import MOST_ROWS, Panel, channel, layer, line_mark, log_channel
from inference._quadratic_ensemble import Ensemble
from inference._quadratic_statistics import Found

BINS = 40
_SHOWN = (1, 99)
"""Percentiles at any cutoff between which the axes lie; beyond them members are counted in words."""
_NORMAL = np.linspace(-3.5, 3.5, 71)
_RULE = {"type": "rule", "strokeWidth": 1.6, "clip": True}
_DASH = {"strokeDash": [5, 4]}


def slider(ensemble: Ensemble, found: Found) -> Slider:
    """Return the slider; it stands at cutoff 0, the trained networks, first."""
    main = found["rules"][found["main"]]
    texts = []
    for at, cutoff in enumerate(found["cutoffs"]):
        name = f"cutoff Λ_I = {number(cutoff)}" if cutoff else "cutoff 0: the trained networks"
        sloppy = f"{number(main['sloppy'][at], 4)} of {found['parameters']} weights reset on average"
        texts.append(f"{name}, {sloppy} ({at + 1} of {len(found['cutoffs'])})")
    return Slider(
        texts,
        [
            _members_panel(ensemble),
            _losses_panel(ensemble),
            _curve_panel(found),
            _output_panel(ensemble, found),
        ],
        "Losses and outputs are those of one redraw of the reset weights, each redrawn once, at the first "
        "cutoff "
        f"above its Fisher entry. Diverged members ({found['diverged']}) are left out. The axes of the "
        "losses stay the same at all cutoffs; those of the output move. Members beyond an axis are counted "
        "in the "
        "captions.",
    )


def _losses(ensemble: Ensemble) -> tuple[np.ndarray, float, float]:
    """Return sampled losses of the trained members (C, M), and the range that is drawn."""
    losses = ensemble.sampled[ensemble.converged, ensemble.case.main].T
    low, high = np.percentile(losses, _SHOWN, axis=1)
    return losses, float(low.min()), float(high.max())


def _beyond(row: np.ndarray, low: float, high: float) -> str:
    """Return how many members lie beyond the axis."""
    count = int(np.sum((row < low) | (row > high)))
    return f" {count} of {row.size} members lie beyond the axis." if count else ""


def _members_panel(ensemble: Ensemble) -> Panel:
    """Test loss of each member."""
    losses, low, high = _losses(ensemble)
    rows = thin(losses.shape[1], MOST_ROWS)
    number_of = np.flatnonzero(ensemble.converged)[rows].astype(float)
    inside = np.where((losses >= low) & (losses <= high), losses, np.nan)[:, rows]
    title = "test loss"
    x = channel("x", "member", np.array([0.0, ensemble.members]), margin=0.0)
    y, level = (log_channel(name, title, np.array([low, high])) for name in ("y", "level"))
    dot = {"type": "circle", "color": "var(--blue)", "size": 14, "opacity": 0.6, "clip": True}
    middle = np.median(losses, axis=1)
    drawn = "" if rows.size == losses.shape[1] else f"{rows.size} of {losses.shape[1]} members are drawn"
    return Panel(
        "moving-members",
        "Test loss of each member",
        (("dot", "blue", "one network"), ("dash", "ink", "median")),
        [
            layer("members", dot, x=x, y=y),
            layer("median", _RULE | _DASH | {"color": "var(--ink)"}, y=level),
        ],
        [f"Median {number(m)}.{_beyond(row, low, high)}" for m, row in zip(middle, losses, strict=True)],
        fixed={"members": {"x": number_of}},
        moving={"members": {"y": inside}, "median": {"level": middle[:, None]}},
        thinned=drawn,
    )


def _losses_panel(ensemble: Ensemble) -> Panel:
    """Histogram of the losses with outlier percentiles."""
    losses, low, high = _losses(ensemble)
    edge = np.geomspace(low, high, BINS + 1)
    counts = np.stack([np.histogram(row, edge)[0] for row in losses]).astype(float)
    marks = np.percentile(losses, (5, 50, 95), axis=1).T
    x = log_channel("left", "test loss", edge)
    rule_x = log_channel("x", "test loss", edge)
    y = channel("y", "members", np.array([0.0, counts.max()]), margin=0.0)
    bars = {"type": "bar", "color": "var(--sky)", "opacity": 0.7, "clip": True}
    return Panel(
        "moving-losses",
        "Histogram of the losses, with outlier percentiles",
        (("band", "sky", "members"), ("dash", "vermilion", "5, 50 and 95 %")),
        [
            layer("bars", bars, x=x | {"bin": "binned"}, x2={"field": "right"}, y=y),
            layer("marks", _RULE | _DASH | {"color": "var(--vermilion)"}, x=rule_x),
        ],
        [
            f"5, 50, 95 %: {', '.join(number(float(v)) for v in mark)}; largest {number(float(row.max()))}."
            + _beyond(row, low, high)
            for mark, row in zip(marks, losses, strict=True)
        ],
        fixed={"bars": {"left": edge[:-1], "right": edge[1:]}},
        moving={"bars": {"y": counts}, "marks": {"x": marks}},
    )


def log_cutoffs(cutoffs: Any) -> np.ndarray:
    """Return where cutoffs stand on a logarithmic axis; 0 at half the smallest other."""
    values = np.asarray(cutoffs, dtype=float)
    return np.where(values > 0, values, values[values > 0].min() / 2)


def _curve_panel(found: Found) -> Panel:
    """Ensemble means and median against the cutoff, and where the slider stands."""
    at = log_cutoffs(found["cutoffs"])
    main, sampled = found["rules"][found["main"]], found["sampled"]
    curves = {"expected": main["mean"], "sampled": sampled["mean"], "median": main["median"]}
    values = {name: np.asarray(value, dtype=float) for name, value in curves.items()}
    error = np.asarray(sampled["se"])
    low, high = values["sampled"] - error, values["sampled"] + error
    every = np.concatenate([*values.values(), high])
    title = "test loss"
    x = log_channel("x", "cutoff Λ_I (1/observation; the first is 0)", at)
    channels = {name: log_channel(name, title, every) for name in (*values, "low")}
    ring = {
        "type": "point",
        "color": "var(--orange)",
        "size": 26,
        "strokeWidth": 1.3,
        "filled": False,
        "clip": True,
    }
    # a bar that reaches zero ends at the axis
    low = np.maximum(low, every.min() / 1.2)
    return Panel(
        "moving-curve",
        "Loss of the ensemble against the cutoff",
        (
            ("line", "blue", "mean, exact expectation"),
            ("ring", "orange", "mean ± s.e., one redraw"),
            ("dash", "ink", "median"),
        ),
        [
            layer("here", _RULE | {"color": "var(--vermilion)"}, x=x),
            layer("curve", line_mark("blue"), x=x, y=channels["expected"]),
            layer("curve", line_mark("ink") | _DASH, x=x, y=channels["median"]),
            layer("curve", _RULE | {"color": "var(--orange)"}, x=x, y=channels["low"], y2={"field": "high"}),
            layer("curve", ring, x=x, y=channels["sampled"]),
        ],
        [
            f"Expected mean {number(e)}, mean of one redraw {number(s)} ± {number(float(u), 2)}, median "
            f"{number(m)}."
            for e, s, u, m in zip(main["mean"], sampled["mean"], error, main["median"], strict=True)
        ],
        fixed={"curve": {"x": at, **values, "low": low, "high": high}},
        moving={"here": {"x": at[:, None]}},
    )


def _output_panel(ensemble: Ensemble, found: Found) -> Panel:
    """Histogram of the output at one test input with the fitted normal law and the truth."""
    outputs = ensemble.output[ensemble.converged].T
    centre, spread = (np.asarray(found["output"][name])[:, None] for name in ("centre", "sd"))
    truth = found["output"]["truth"]
    edge = centre + spread * np.linspace(-4.5, 4.5, BINS + 1)[None, :]
    counts = np.stack([np.histogram(row, e)[0] for row, e in zip(outputs, edge, strict=True)])
    density = counts / outputs.shape[1] / np.diff(edge)
    axis = {"type": "quantitative", "axis": {"tickCount": 5}}
    x = axis | {"title": "output f(x) at the test input", "scale": {"zero": False, "nice": False}}
    y = axis | {"field": "y", "title": "density", "axis": {"tickCount": 4}}
    bars = {"type": "bar", "color": "var(--sky)", "opacity": 0.55, "clip": True}
    return Panel(
        "moving-output",
        f"Output at the test input ({', '.join(number(v) for v in found['output']['input'])})",
        (
            ("band", "sky", "members"),
            ("line", "blue", "fitted normal law"),
            ("dash", "vermilion", "truth"),
        ),
        [
            layer("bars", bars, x=x | {"field": "left", "bin": "binned"}, x2={"field": "right"}, y=y),
            layer("normal", line_mark("blue"), x=x | {"field": "x"}, y=y),
            layer("truth", _RULE | _DASH | {"color": "var(--vermilion)"}, x=x | {"field": "x"}),
        ],
        [
            f"Median {number(float(c))}, s.d. from the quartiles {number(float(s))}; truth {number(truth)}."
            + _beyond(row, float(e[0]), float(e[-1]))
            for c, s, row, e in zip(centre[:, 0], spread[:, 0], outputs, edge, strict=True)
        ],
        fixed={"truth": {"x": np.array([truth])}},
        moving={
            "bars": {"left": edge[:, :-1], "right": edge[:, 1:], "y": density},
            "normal": {
                "x": centre + spread * _NORMAL[None, :],
                "y": np.exp(-0.5 * np.square(_NORMAL))[None, :] / np.sqrt(2 * np.pi) / spread,
            },
        },
    )
