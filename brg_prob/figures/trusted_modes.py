"""Which modes to trust: signal, trend, aliasing, edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import (
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    VERMILION,
    Picture,
    columns_of,
    frame,
    input_unit,
    label_axes,
    legend,
    log_axis,
    momentum_axis,
    momentum_unit,
    new_figure,
    quantity,
    rank_axis,
    safe_label,
    short,
)
from brg_prob.figures.thinning import drawn_note, spread
from brg_prob.summary import floats, group

_MOST_MARKERS = 150
_CLASSES = {
    "trusted": (GREEN, "o"),
    "trend": (ORANGE, "^"),
    "aliased": (PURPLE, "D"),
    "edges": (VERMILION, "s"),
    "not distinguishable": (MUTED, "x"),
}
"""What a mode is drawn as: trusted, or the first reason why not."""


def trust_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the signal-to-noise Tλ of each mode, marked by whether it is to be trusted or why not.

    Reads ``trust`` (distinguishable, trusted, and where known momentum, signal, trend, aliased, edge;
    attributes …_note). Without ``momentum`` modes are drawn by rank; without ``signal`` it is taken from
    ``theory`` or ``fisher``. None without ``trust`` or any signal.
    """
    trust = group(tree, "trust")
    signal = _signal(tree, trust) if trust else np.zeros(0)
    if not (signal > 0).any():
        return None
    modes = _modes(trust, signal)
    unit = momentum_unit(input_unit(tree))
    fig, ax = new_figure()
    if "momentum" in modes:
        at, x = momentum_axis(ax, floats(modes, "momentum")), quantity("momentum |p|", unit)
    else:
        at, x = floats(modes, "rank"), "rank of the mode"
        rank_axis(ax, signal.size)
    log_axis(ax, "y", min(1.0, signal[signal > 0].min()), max(1.0, signal.max()))
    drawn = _draw(ax, at, modes)
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
        _numbers(modes, unit),
        "trust",
    )


def _signal(tree: xr.DataTree, trust: xr.Dataset) -> np.ndarray:
    """Return Tλ of each mode, nothing where it is not known."""
    if "signal" in trust:
        return floats(trust, "signal")
    for path, name in (("theory", "fisher_measured"), ("fisher", "eigenvalue")):
        found = group(tree, path)
        if name in found and found[name].size == trust.sizes["mode"]:
            return floats(found, name) * float(tree.attrs["observations"])
    return np.zeros(0)


def _modes(trust: xr.Dataset, signal: np.ndarray) -> xr.Dataset:
    """Return the modes with signal and class (``kind``), in the order of their momenta or else ranked."""
    trusted, distinguishable, trend, aliased = (
        floats(trust, name) == 1 if name in trust else np.zeros(signal.size, bool)
        for name in ("trusted", "distinguishable", "trend", "aliased")
    )
    kind = np.select(
        [trusted, aliased, trend, ~distinguishable],
        ["trusted", "aliased", "trend", "not distinguishable"],
        "edges",
    )
    modes = trust.assign(signal=("mode", signal), kind=("mode", kind))
    if "momentum" in trust and np.isfinite(floats(trust, "momentum")).all():
        return modes.sortby("momentum")
    return modes.drop_vars("momentum", errors="ignore").assign(rank=("mode", np.arange(1, signal.size + 1)))


def _draw(ax: Axes, at: np.ndarray, modes: xr.Dataset) -> int:
    """Draw each class with its colour and marker; return how many markers."""
    signal, kinds, count = floats(modes, "signal"), modes["kind"].values, 0
    for kind, (colour, marker) in _CLASSES.items():
        members = np.flatnonzero((kinds == kind) & (signal > 0))
        if members.size:
            drawn = members[spread(signal[members], _MOST_MARKERS)]
            count += drawn.size
            label = f"{kind} ({int(np.sum(kinds == kind))})"
            ax.plot(at[drawn], signal[drawn], marker, ms=4.5, mfc="none", mew=1.1, color=colour, label=label)
    ax.axhline(1, color=INK, ls=":", lw=1.2, zorder=1)
    legend(ax, loc="best")
    return count


def _message(modes: xr.Dataset, unit: str) -> str:
    """Return how many modes to trust, and where they are."""
    trusted = modes["kind"].values == "trusted"
    if not trusted.any():
        return f"None of the {trusted.size} modes is to be trusted"
    text = f"{int(trusted.sum())} of {trusted.size} modes are to be trusted"
    if "momentum" not in modes:
        return text
    momentum = floats(modes, "momentum")
    first, last = momentum[trusted].min(), momentum[trusted].max()
    if first == last:
        return f"{text}, at |p| = {short(first)} {unit}"
    gaps = "" if trusted[(momentum > first) & (momentum < last)].all() else ", with gaps"
    return f"{text}, from |p| = {short(first)} to {short(last)} {unit}{gaps}"


def _words(modes: xr.Dataset) -> str:
    """Return the classes in numbers."""
    signal = floats(modes, "signal")
    counts = {kind: int(np.sum(modes["kind"].values == kind)) for kind in _CLASSES}
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return (
        f"Of {signal.size} modes: {listed}. Their signal-to-noise goes from {short(signal.max())} to "
        f"{short(signal.min())}."
    )


def _numbers(modes: xr.Dataset, unit: str) -> pd.DataFrame:
    """Return signal, class and flags of each mode in the order drawn."""
    labels = {
        "rank": ("rank", ""),
        "momentum": ("momentum", unit),
        "signal": ("signal-to-noise", ""),
        "kind": ("drawn as", ""),
    }
    flags = ("distinguishable", "trend", "aliased", "edge", "trusted")
    return frame(columns_of(modes, labels | {name: (name, "") for name in flags}))
