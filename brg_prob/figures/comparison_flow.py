"""Fisher spectra and flows of several runs on the same axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from brg_prob.arrays import thin
from brg_prob.comparison import Comparison
from brg_prob.figures.comparison_style import first_runs, first_runs_note, line, run_legend
from brg_prob.figures.style import (
    INK,
    MUTED,
    Picture,
    columns_of,
    frame,
    label_axes,
    log_axis,
    new_figure,
    safe_label,
    short,
)
from brg_prob.figures.thinning import peaks
from brg_prob.summary import floats

_MOST_MARKERS = 24
_ALONG = (
    ("effective_dimension", "effective dimension"),
    ("kl_to_prior", "KL to prior (nats)"),
    ("test_score", "held-out score (nats)"),
)


def fisher_picture(comparison: Comparison) -> Picture:
    """Draw Tλ against rank for each run and, of several runs, λ relative to that of the first."""
    data = comparison.tree["fisher"].to_dataset()
    weight = floats(data, "weight")
    count, modes = np.asarray(data["distinguishable"].values), np.isfinite(weight).sum(axis=1)
    return Picture(
        "fisher",
        _spectra(comparison, weight, np.exp(floats(data, "log_ratio"))),
        _fisher_message(comparison, count, modes),
        "Eigenvalues λ of the prior-whitened Fisher metric per observation in descending order, times the "
        "observations T the run was trained at; a mode with Tλ ≥ 1 (dotted) is distinguishable by its data."
        + ("" if comparison.single else " Below: λ relative to that of the same rank in the first run.")
        + " Computed, not sampled: no error bars."
        + first_runs_note(comparison),
        "; ".join(
            f"{name}: Tλ from {short(np.nanmax(weight[run]))} to {short(np.nanmin(weight[run]))}, "
            f"{count[run]} of {modes[run]} modes at 1 or above"
            for run, name in enumerate(comparison.names)
        )
        + ".",
        _fisher_numbers(comparison),
    )


def _spectra(comparison: Comparison, weight: np.ndarray, ratio: np.ndarray) -> Figure:
    """Draw Tλ, and below it the ratios where there are several runs, (run, rank)."""
    several = not comparison.single
    fig, axes = new_figure(
        height=5.4 if several else 3.7,
        nrows=2 if several else 1,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [1.7, 1] if several else [1]},
    )
    top, low = axes[0, 0], axes[-1, 0]
    rank = np.arange(1, weight.shape[1] + 1)
    for run, name in enumerate(first_runs(comparison)):
        positive = np.flatnonzero(weight[run] > 0)
        kept = positive[peaks(weight[run][positive])]
        top.plot(rank[kept], weight[run][kept], label=safe_label(name, 28), **_style(run, kept.size))
        if several:
            kept = peaks(ratio[run])
            low.plot(rank[kept], ratio[run][kept], **_style(run, kept.size))
    log_axis(top, "y", weight[weight > 0].min(), np.nanmax(weight))
    if rank.size > 30:
        log_axis(low, "x", 1.0, rank.size)
    top.axhline(1, color=INK, lw=1.1, ls=":")
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    top.annotate("Tλ = 1", (0.005, 1), xytext=(0, 4), color=MUTED, fontsize=9, **place)
    label_axes(top, y="Tλ")
    if several:
        run_legend(fig, top)
        label_axes(low, y="λ / λ of the first")
        fig.align_ylabels([top, low])
    label_axes(low, x="rank of the mode")
    return fig


def _fisher_message(comparison: Comparison, count: np.ndarray, modes: np.ndarray) -> str:
    """Return how many modes are distinguishable."""
    if comparison.single:
        return f"The data can tell apart {count[0]} of {modes[0]} modes"
    said = [f"{count[run]} of {modes[run]} modes of “{name}”" for run, name in enumerate(comparison.names)]
    if len(said) <= 3:
        return f"The data can tell apart {', '.join(said[:-1])} and {said[-1]}"
    least, most = int(count.min()), int(count.max())
    if least == most:
        return f"The data of each of the {count.size} runs can tell {least} modes apart"
    fewest, richest = (comparison.names[int(at)] for at in (count.argmin(), count.argmax()))
    return f"The data can tell apart between {least} modes (“{fewest}”) and {most} (“{richest}”)"


def _fisher_numbers(comparison: Comparison) -> pd.DataFrame:
    """Return the spectra, one run below the other."""
    data = comparison.tree["fisher"].to_dataset()
    data = data.assign(ratio=np.exp(data["log_ratio"]))
    labels = {
        "rank": ("rank", ""),
        "eigenvalue": ("eigenvalue", "per observation"),
        "weight": ("T times eigenvalue", ""),
        "ratio": ("eigenvalue relative to the first run", ""),
    }
    tables = [
        frame(columns_of(data.isel(run=run), labels, np.isfinite(data["eigenvalue"].values[run])), run=name)
        for run, name in enumerate(comparison.names)
    ]
    return pd.concat(tables, ignore_index=True)


def flow_picture(comparison: Comparison) -> Picture:
    """Draw effective dimension, KL and score along the flow of each run, above each other."""
    data = comparison.tree["flow"].to_dataset()
    at = floats(data, "observations")
    panels = [(name, word) for name, word in _ALONG if np.isfinite(data[name].values).any()]
    fig, axes = new_figure(height=0.6 + 1.9 * len(panels), nrows=len(panels), sharex=True, squeeze=False)
    usable = np.isfinite(at) & (at > 0)
    for ax, (name, word) in zip(axes[:, 0], panels, strict=True):
        value = floats(data, name)
        for run, label in enumerate(first_runs(comparison)):
            there = usable[run] & np.isfinite(value[run])
            style = _style(run, int(there.sum())) | {"label": safe_label(label, 28)}
            if name == "test_score":
                error = np.nan_to_num(floats(data, "test_score_se")[run][there])
                ax.errorbar(at[run][there], value[run][there], error, elinewidth=0.9, **style)
            else:
                ax.plot(at[run][there], value[run][there], **style)
        label_axes(ax, y=word)
    if usable.any():
        log_axis(axes[-1, 0], "x", at[usable].min(), at[usable].max())
        axes[-1, 0].invert_xaxis()
    label_axes(axes[-1, 0], x="observations T (flow →)")
    if not comparison.single:
        run_legend(fig, axes[0, 0])
    fig.align_ylabels(list(axes[:, 0]))
    lost = [name for run, name in enumerate(first_runs(comparison)) if not usable[run].any()]
    return Picture(
        "flow",
        fig,
        _flow_message(comparison),
        "The first flow of each run from its posterior (left) to its prior (right): effective dimension, "
        "Kullback–Leibler divergence from the prior, and mean log predictive density per held-out "
        "observation in the record’s own units, with its standard error over the held-out observations."
        + (f" Without T, not drawn: {', '.join(lost)}." if lost else "")
        + first_runs_note(comparison),
        _flow_words(comparison),
        _flow_numbers(comparison),
    )


def _style(run: int, points: int) -> dict[str, Any]:
    """Return how a run is drawn, with markers that can be told apart."""
    markers = thin(points, _MOST_MARKERS).tolist() if points else None
    return {**line(run), "lw": 1.1, "ms": 4.2, "mfc": "none", "mew": 1.1, "markevery": markers}


def _flow_message(comparison: Comparison) -> str:
    """Return effective dimension and KL of the posteriors."""
    rows = comparison.rows[: len(comparison.names)]
    dimension, divergence = ([row[name] for row in rows] for name in ("effective_dimension", "kl_to_prior"))
    if len(rows) == 1:
        away = f", {short(divergence[0])} nats from its prior" if math.isfinite(divergence[0]) else ""
        return (
            f"Training fixes {short(dimension[0])} effective dimensions of the field{away}; the flow gives "
            "them back"
        )
    low, high = min(dimension), max(dimension)
    if math.isclose(low, high, rel_tol=5e-3):
        return f"All posteriors have {short(high)} effective dimensions; the flows give them back"
    least, most = (comparison.names[dimension.index(value)] for value in (low, high))
    return (
        f"Training fixes the fewest effective dimensions in “{least}” ({short(low)}), the most in “{most}” "
        f"({short(high)})"
    )


def _flow_words(comparison: Comparison) -> str:
    """Return the ends of each flow in numbers."""
    data = comparison.tree["flow"].to_dataset()
    said = []
    for run, name in enumerate(comparison.names):
        values = floats(data, "effective_dimension")[run]
        values = values[np.isfinite(values)]
        if values.size:
            said.append(f"{name}: effective dimension from {short(values[0])} to {short(values[-1])}")
    return "; ".join(said) + "."


def _flow_numbers(comparison: Comparison) -> pd.DataFrame:
    """Return the flows, one run below the other."""
    data = comparison.tree["flow"].to_dataset()
    units = {"kl_to_prior": "nats", "test_score": "nats", "test_score_se": "nats"}
    labels = {str(key): (str(key).replace("_", " "), units.get(str(key), "")) for key in data.data_vars}
    tables = [
        frame(columns_of(data.isel(run=run), labels), run=name) for run, name in enumerate(comparison.names)
    ]
    rows = pd.concat(tables, ignore_index=True)
    return rows.dropna(how="all", subset=["effective dimension", "observations"], ignore_index=True)
