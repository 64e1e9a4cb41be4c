"""How much was learnt of each parameter, and whether the data contradict its prior (T5)."""

from __future__ import annotations

from typing import Any

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
    columns_of,
    frame,
    label_axes,
    legend_above,
    name_rows,
    new_figure,
    percent,
    safe_label,
    short,
)
from brg_prob.summary import floats, group

_MOST, _LEAST_SHOWN = 24, 8
_COLUMNS = {
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


def contraction_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the posterior contraction of each parameter beside its posterior in units of the prior.

    Reads ``parameters`` (contraction, contraction_se, z_mean, z_sd, conflict; coordinate parameter;
    attributes effective_parameters, at_full_weight). None without it or without parameters.
    """
    table = group(tree, "parameters")
    count = table.sizes.get("parameter", 0)
    if not count:
        return None
    rows = table.isel(parameter=_chosen(table))
    drawn = rows.sizes["parameter"]
    fig, (left, right) = new_figure(height=0.95 + 0.24 * drawn, ncols=2, sharey=True)
    _contractions(left, rows)
    _posteriors(right, rows)
    name_rows(left, _names(rows))
    right.tick_params(axis="y", length=0)
    legend_above(left, 2)
    return Picture(
        "contraction",
        fig,
        _message(table),
        _caption(table) + (f" {drawn} of {count} parameters are drawn." if drawn < count else ""),
        _words(table),
        _numbers(table),
        "determined",
    )


def _names(table: xr.Dataset, most: int = 22) -> list[str]:
    """Return the parameters' names, fit for an axis."""
    return [safe_label(str(name), most) or "(no name)" for name in table["parameter"].values]


def _chosen(table: xr.Dataset) -> np.ndarray:
    """Return which parameters are drawn, most contracted first: all of 24, else both ends and conflicts."""
    order = np.argsort(-floats(table, "contraction"), kind="stable")
    if order.size <= _MOST:
        return order
    conflicts = np.flatnonzero(floats(table, "conflict")[order] == 1)[: _LEAST_SHOWN // 2]
    ends = np.r_[0 : _MOST - _LEAST_SHOWN - conflicts.size, order.size - _LEAST_SHOWN : order.size]
    return order[np.union1d(ends, conflicts)]


def _bars(ax: Axes, rows: xr.Dataset, value: str, error: str, **style: Any) -> None:
    """Draw a value with its error for each parameter; those in conflict with the prior are marked."""
    at, conflict = np.arange(rows.sizes["parameter"]), floats(rows, "conflict") == 1
    for members, colour, marker, label in (
        (~conflict, BLUE, "o", "learnt"),
        (conflict, VERMILION, "D", "conflict"),
    ):
        if members.any():
            ax.errorbar(
                floats(rows, value)[members],
                at[members],
                xerr=floats(rows, error)[members],
                fmt=marker,
                mfc="none" if marker == "o" else colour,
                color=colour,
                label=label,
                **style,
            )


def _contractions(ax: Axes, rows: xr.Dataset) -> None:
    """Draw contractions with one Monte-Carlo standard error."""
    _bars(ax, rows, "contraction", "contraction_se", ms=5, mew=1.3, elinewidth=1.0)
    ax.axvline(0.0, color=INK, lw=0.9, zorder=1)
    ax.axvline(1.0, color=MUTED, lw=0.9, zorder=1)
    ax.set_xlim(min(-0.08, 1.1 * floats(rows, "contraction").min()), 1.08)
    label_axes(ax, x="contraction 1 − v")


def _posteriors(ax: Axes, rows: xr.Dataset) -> None:
    """Draw posterior mean and standard deviation in units of the prior, on the prior's own."""
    ax.axvspan(-1, 1, color=SKY, alpha=0.25, lw=0, zorder=0)
    _bars(ax, rows, "z_mean", "z_sd", ms=4.5, mew=1.2, elinewidth=1.3)
    mean, sd = floats(rows, "z_mean"), floats(rows, "z_sd")
    low, high = np.min(np.append(mean - sd, -1.2)), np.max(np.append(mean + sd, 1.2))
    ax.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    label_axes(ax, x="posterior in prior sd")


def _message(table: xr.Dataset) -> str:
    """Return which parameters the data determine, and which contradict the prior."""
    value, names = floats(table, "contraction"), _names(table, 40)
    conflicts = np.flatnonzero(floats(table, "conflict") == 1)
    given = [f" given {parents}" if parents else "" for parents in _given(table)]
    best, worst = int(value.argmax()), int(value.argmin())
    text = f"Of {names[best]}{given[best]} the data left {percent(1 - value[best])} of the prior variance"
    if value.size > 1:
        text += f", of {names[worst]}{given[worst]} {percent(1 - value[worst])}"
    if conflicts.size == 0:
        return text
    listed = ", ".join(names[at] for at in conflicts[:3]) + (", …" if conflicts.size > 3 else "")
    return f"{text}; the data contradict the prior of {listed}"


def _given(table: xr.Dataset) -> list[str]:
    """Return the sites on which the prior of each parameter depends; empty texts for none."""
    return (
        [str(text) for text in table["given"].values] if "given" in table else [""] * table.sizes["parameter"]
    )


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
    value, names = floats(table, "contraction"), _names(table, 40)
    order = np.argsort(-value, kind="stable")
    most = "; ".join(f"{names[at]} {short(value[at], 2)}" for at in order[:5])
    total = float(table.attrs.get("effective_parameters", value.sum()))
    conflicts = int(np.sum(floats(table, "conflict") == 1))
    return (
        f"Largest contractions: {most}. Over {value.size} parameters they add up to {short(total)}, an "
        f"effective number of parameters. {conflicts or 'No'} parameter{'' if conflicts == 1 else 's'} in "
        "conflict with the prior."
    )


def _numbers(table: xr.Dataset) -> pd.DataFrame:
    """Return the table of parameters, without measures that none of them has."""
    known = {
        name: (label, "")
        for name, label in _COLUMNS.items()
        if name in table and np.isfinite(table[name].values).any()
    }
    return frame({("parameter", ""): _names(table, 200)} | columns_of(table, known))
