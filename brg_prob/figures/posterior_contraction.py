"""How much was learnt of each parameter, and whether the data contradict its prior (T5)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    SKY,
    VERMILION,
    Picture,
    frame,
    label_axes,
    legend_above,
    new_figure,
    safe_label,
    short,
)

_MOST, _LEAST_SHOWN = 24, 8


def contraction_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the posterior contraction of each parameter beside its posterior in units of the prior.

    Reads ``parameters`` (contraction, contraction_se, z_mean, z_sd, conflict; coordinate parameter;
    attributes effective_parameters, at_full_weight). None without it or without parameters.
    """
    if "parameters" not in tree.children:
        return None
    table = tree["parameters"].to_dataset()
    if not table.sizes.get("parameter", 0):
        return None
    shown = _shown(table)
    fig, (left, right) = new_figure(height=0.95 + 0.24 * shown.size, ncols=2, sharey=True)
    _contractions(left, table, shown)
    _posteriors(right, table, shown)
    left.set_yticks(range(shown.size), [_names(table)[at] for at in shown], parse_math=False)
    left.set_ylim(shown.size - 0.4, -0.6)
    for ax in (left, right):
        ax.tick_params(axis="y", length=0)
    legend_above(left, 2)
    count = table.sizes["parameter"]
    return Picture(
        "contraction",
        fig,
        _message(table),
        _caption(table) + (f" {shown.size} of {count} parameters are drawn." if shown.size < count else ""),
        _words(table),
        _numbers(table),
        "determined",
    )


def _values(table: xr.Dataset, name: str) -> np.ndarray:
    """Return a variable as an array of floats."""
    return np.asarray(table[name].values, dtype=float)


def _names(table: xr.Dataset, most: int = 22) -> list[str]:
    """Return the parameters' names, fit for an axis."""
    return [safe_label(str(name), most) or "(no name)" for name in table["parameter"].values]


def _shown(table: xr.Dataset) -> np.ndarray:
    """Return which parameters are drawn, most contracted first: all of 24, else both ends and conflicts."""
    order = np.argsort(-_values(table, "contraction"), kind="stable")
    if order.size <= _MOST:
        return order
    conflicts = np.flatnonzero(_values(table, "conflict")[order] == 1)[: _LEAST_SHOWN // 2]
    ends = np.r_[0 : _MOST - _LEAST_SHOWN - conflicts.size, order.size - _LEAST_SHOWN : order.size]
    return order[np.union1d(ends, conflicts)]


def _contractions(ax: Axes, table: xr.Dataset, shown: np.ndarray) -> None:
    """Draw contractions with one Monte-Carlo standard error; those in conflict with the prior are marked."""
    value, error = _values(table, "contraction")[shown], _values(table, "contraction_se")[shown]
    conflict = _values(table, "conflict")[shown] == 1
    at = np.arange(shown.size)
    for members, colour, marker, label in (
        (~conflict, BLUE, "o", "learnt"),
        (conflict, VERMILION, "D", "conflict"),
    ):
        if members.any():
            ax.errorbar(
                value[members],
                at[members],
                xerr=error[members],
                fmt=marker,
                ms=5,
                mfc="none" if marker == "o" else colour,
                mew=1.3,
                elinewidth=1.0,
                color=colour,
                label=label,
            )
    for edge in (0.0, 1.0):
        ax.axvline(edge, color=INK if edge == 0 else MUTED, lw=0.9, zorder=1)
    ax.set_xlim(min(-0.08, 1.1 * value.min()), 1.08)
    label_axes(ax, x="contraction 1 − v")


def _posteriors(ax: Axes, table: xr.Dataset, shown: np.ndarray) -> None:
    """Draw posterior mean and standard deviation in units of the prior, on the prior's own."""
    mean, sd = _values(table, "z_mean")[shown], _values(table, "z_sd")[shown]
    conflict = _values(table, "conflict")[shown] == 1
    at = np.arange(shown.size)
    ax.axvspan(-1, 1, color=SKY, alpha=0.25, lw=0, zorder=0)
    for members, colour, marker in ((~conflict, BLUE, "o"), (conflict, VERMILION, "D")):
        if members.any():
            ax.errorbar(
                mean[members],
                at[members],
                xerr=sd[members],
                fmt=marker,
                ms=4.5,
                mfc="none" if marker == "o" else colour,
                mew=1.2,
                elinewidth=1.3,
                color=colour,
            )
    low, high = np.min(np.append(mean - sd, -1.2)), np.max(np.append(mean + sd, 1.2))
    ax.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    label_axes(ax, x="posterior in prior sd")


def _message(table: xr.Dataset) -> str:
    """Return which parameters the data determine, and which contradict the prior."""
    value, names = _values(table, "contraction"), _names(table, 40)
    conflicts = np.flatnonzero(_values(table, "conflict") == 1)
    best, worst = int(value.argmax()), int(value.argmin())
    given = [f" given {parents}" if parents else "" for parents in _given(table)]
    text = f"Of {names[best]}{given[best]} the data left {_left(value[best])} of the prior variance" + (
        f", of {names[worst]}{given[worst]} {_left(value[worst])}" if value.size > 1 else ""
    )
    if conflicts.size == 0:
        return text
    listed = ", ".join(names[at] for at in conflicts[:3]) + (", …" if conflicts.size > 3 else "")
    return f"{text}; the data contradict the prior of {listed}"


def _given(table: xr.Dataset) -> list[str]:
    """Return the sites on which the prior of each parameter depends; empty texts for none."""
    return (
        [str(text) for text in table["given"].values] if "given" in table else [""] * table.sizes["parameter"]
    )


def _left(contraction: float) -> str:
    """Return what is left of the prior variance, as a percentage."""
    return f"{short(100 * (1 - contraction), 2)} %"


def _caption(table: xr.Dataset) -> str:
    """Return what is drawn."""
    text = (
        "Left: contraction 1 − v, v the posterior variance in units of the prior's, with one Monte-Carlo "
        "standard error: 0 where nothing was learnt, 1 where all is known, negative where the posterior is "
        "wider. Right: posterior mean and standard deviation in units of the prior, which is the band."
    )
    if parents := sorted({text for text in _given(table) if text}):
        text += (
            f" A parameter whose prior depends on others ({'; '.join(parents)}) is drawn given these: its "
            "deviation from what they say of it, not what is left of its own variance."
        )
    if int(table.attrs.get("at_full_weight", 1)):
        return (
            f"{text} Filled diamonds, in conflict with the prior: the mean lies farther out than the prior "
            "predictive allows, level 0.05 over all parameters (Bonferroni)."
        )
    return f"{text} Conflict with the prior is judged at T = n only."


def _words(table: xr.Dataset) -> str:
    """Return the parameters in words."""
    value, names = _values(table, "contraction"), _names(table, 40)
    order = np.argsort(-value, kind="stable")
    most = "; ".join(f"{names[at]} {short(value[at], 2)}" for at in order[:5])
    total = float(table.attrs.get("effective_parameters", value.sum()))
    conflicts = int(np.sum(_values(table, "conflict") == 1))
    return (
        f"Largest contractions: {most}. Over {value.size} parameters they add up to {short(total)}, an "
        f"effective number of parameters. {conflicts or 'No'} parameter{'' if conflicts == 1 else 's'} in "
        "conflict with the prior."
    )


def _numbers(table: xr.Dataset) -> pd.DataFrame:
    """Return the table of parameters."""
    names = {
        "contraction": "contraction",
        "contraction_se": "standard error of the contraction",
        "z_mean": "posterior mean in prior sd",
        "z_sd": "posterior sd in prior sd",
        "conflict_p": "p-value of the conflict",
        "conflict": "conflict",
        "stiff_share": "share in stiff directions",
        "prior_median": "prior median",
        "prior_width": "prior width",
        "posterior_median": "posterior median",
        "posterior_width": "posterior width",
        "prior_sensitivity": "sensitivity to the prior",
        "likelihood_sensitivity": "sensitivity to the likelihood",
    }
    columns: dict[tuple[str, str], object] = {("parameter", ""): _names(table, 200)}
    for name, label in names.items():
        if name in table and np.isfinite(_values(table, name)).any():
            columns[label, ""] = _values(table, name)
    return frame(columns)
