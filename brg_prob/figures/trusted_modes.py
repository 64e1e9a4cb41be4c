"""Which modes to trust: signal, trend, aliasing, edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brg_prob.figures.style import (
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    VERMILION,
    Picture,
    frame,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_axis,
    momentum_unit,
    new_figure,
    quantity,
    safe_label,
    short,
)
from brg_prob.figures.thinning import drawn_note, spread

_MOST_MARKERS = 150
_CLASSES = {
    "trusted": (GREEN, "o"),
    "trend": (ORANGE, "^"),
    "aliased": (PURPLE, "D"),
    "edges": (VERMILION, "s"),
    "not distinguishable": (MUTED, "x"),
}
"""What a mode is drawn as: trusted, or the first reason why not."""


@dataclass(frozen=True)
class _Modes:
    """Modes with their signal-to-noise Tλ and the class of each; ``momentum`` is None where unknown."""

    momentum: np.ndarray | None
    signal: np.ndarray
    kind: np.ndarray
    trusted: np.ndarray


def trust_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the signal-to-noise Tλ of each mode, marked by whether it is to be trusted or why not.

    Reads ``trust`` (distinguishable, trusted, and where known momentum, signal, trend, aliased, edge;
    attributes …_note). Without ``momentum`` modes are drawn by rank; without ``signal`` it is taken from
    ``theory`` or ``fisher``. None without ``trust`` or any signal.
    """
    if "trust" not in tree.children:
        return None
    trust = tree["trust"].to_dataset()
    signal = _signal(tree, trust)
    if signal is None or not (signal > 0).any():
        return None
    modes = _classified(trust, signal)
    unit = momentum_unit(input_unit(tree))
    fig, ax = new_figure()
    at = np.arange(1, signal.size + 1) if modes.momentum is None else momentum_axis(ax, modes.momentum)
    log_axis(ax, "y", min(1.0, signal[signal > 0].min()), max(1.0, signal.max()))
    if modes.momentum is None:
        ax.set_xlim(0, signal.size + 1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawn = _draw(ax, at, modes)
    x = "rank of the mode" if modes.momentum is None else quantity("momentum |p|", unit)
    label_axes(ax, x=x, y="signal-to-noise Tλ")
    notes = (str(trust.attrs.get(f"{name}_note", "")) for name in ("trend", "aliased", "edge"))
    return Picture(
        "trust",
        fig,
        _message(modes, unit),
        "Signal-to-noise Tλ of each mode; dotted: Tλ = 1, below which the data do not distinguish it. "
        "Markers say whether a mode is to be trusted, or the first reason why not. "
        + " ".join(safe_label(note, 400) for note in notes if note)
        + drawn_note(drawn, int(np.sum(signal > 0)), "modes"),
        _words(modes),
        _numbers(trust, modes, unit),
        "trust",
    )


def _signal(tree: xr.DataTree, trust: xr.Dataset) -> np.ndarray | None:
    """Return Tλ of each mode, or None where it is not known."""
    if "signal" in trust:
        return np.asarray(trust["signal"].values, dtype=float)
    for group, name in (("theory", "fisher_measured"), ("fisher", "eigenvalue")):
        if group in tree.children and name in tree[group].data_vars:
            values = np.asarray(tree[group][name].values, dtype=float)
            if values.size == trust.sizes["mode"]:
                return values * float(tree.attrs["observations"])
    return None


def _classified(trust: xr.Dataset, signal: np.ndarray) -> _Modes:
    """Return the modes in the order of their momentum, each with its class."""
    count = signal.size
    momentum = np.asarray(trust["momentum"].values, dtype=float) if "momentum" in trust else None
    if momentum is not None and not np.isfinite(momentum).all():
        momentum = None
    trusted, found, trend, aliased = (
        np.asarray(trust[name].values) == 1 if name in trust else np.zeros(count, bool)
        for name in ("trusted", "distinguishable", "trend", "aliased")
    )
    kind = np.select(
        [trusted, aliased, trend, ~found], ["trusted", "aliased", "trend", "not distinguishable"], "edges"
    )
    order = np.arange(count) if momentum is None else np.argsort(momentum, kind="stable")
    return _Modes(None if momentum is None else momentum[order], signal[order], kind[order], trusted[order])


def _draw(ax: Axes, at: np.ndarray, modes: _Modes) -> int:
    """Draw each class with its colour and marker; return how many markers."""
    at, count = np.asarray(at, dtype=float), 0
    for kind, (colour, marker) in _CLASSES.items():
        members = np.flatnonzero((modes.kind == kind) & (modes.signal > 0))
        if members.size:
            drawn = members[spread(modes.signal[members], _MOST_MARKERS)]
            count += drawn.size
            label = f"{kind} ({int(np.sum(modes.kind == kind))})"
            ax.plot(
                at[drawn], modes.signal[drawn], marker, ms=4.5, mfc="none", mew=1.1, color=colour, label=label
            )
    ax.axhline(1, color=INK, ls=":", lw=1.2, zorder=1)
    legend(ax, loc="best")
    return count


def _message(modes: _Modes, unit: str) -> str:
    """Return how many modes to trust, and where they are."""
    total, count = modes.trusted.size, int(modes.trusted.sum())
    if count == 0:
        return f"None of the {total} modes is to be trusted"
    text = f"{count} of {total} modes are to be trusted"
    if modes.momentum is None:
        return text
    first, last = modes.momentum[modes.trusted].min(), modes.momentum[modes.trusted].max()
    if first == last:
        return f"{text}, at |p| = {short(first)} {unit}"
    between = (modes.momentum > first) & (modes.momentum < last)
    gaps = "" if modes.trusted[between].all() else ", with gaps"
    return f"{text}, from |p| = {short(first)} to {short(last)} {unit}{gaps}"


def _words(modes: _Modes) -> str:
    """Return the classes in numbers."""
    counts = [(kind, int(np.sum(modes.kind == kind))) for kind in _CLASSES]
    listed = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    return (
        f"Of {modes.signal.size} modes: {listed}. Their signal-to-noise goes from "
        f"{short(modes.signal.max())} to {short(modes.signal.min())}."
    )


def _numbers(trust: xr.Dataset, modes: _Modes, unit: str) -> pd.DataFrame:
    """Return signal, class and flags of each mode in the order drawn."""
    order = np.arange(modes.signal.size)
    columns: dict[tuple[str, str], np.ndarray] = {("rank", ""): order + 1}
    if modes.momentum is not None:
        order = np.argsort(np.asarray(trust["momentum"].values, dtype=float), kind="stable")
        columns = {("momentum", unit): modes.momentum}
    columns |= {("signal-to-noise", ""): modes.signal, ("drawn as", ""): modes.kind}
    for name in ("distinguishable", "trend", "aliased", "edge", "trusted"):
        if name in trust:
            columns[name, ""] = np.asarray(trust[name].values)[order]
    return frame(columns)
