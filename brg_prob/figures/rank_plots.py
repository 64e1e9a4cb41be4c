"""Convergence of the draws: rank plots, effective sample sizes and R-hat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from brg_prob.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    SERIES,
    SKY,
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
    safe_label,
    short,
    stacked,
)
from brg_prob.summary import floats, group

_LARGEST_R_HAT, _SMALLEST_ESS = 1.01, 400.0  # those of the verdict (T18)
_MOST_RANK_PLOTS, _MOST_QUANTITIES = 4, 16
_LINES = ("-", "--", "-.", ":")


def convergence_picture(tree: xr.DataTree) -> Picture | None:
    """Draw rank plots of the worst quantities with their band, then ESS and R-hat of each quantity.

    Reads ``diagnostics`` (r_hat, ess_bulk, ess_tail, mcse_mean, rank_count; attributes expected, low, high,
    status); None without R-hat and ESS. Without ``rank_count`` the rank plots are left out.
    """
    table = group(tree, "diagnostics")
    if not {"r_hat", "ess_bulk", "ess_tail"} <= set(table.data_vars):
        return None
    worst = _worst_first(table)
    drawn = np.sort(worst[:_MOST_QUANTITIES])
    rows = (min(worst.size, _MOST_RANK_PLOTS) + 1) // 2 if "rank_count" in table else 0
    fig, parts = stacked(*([1.6 * rows] if rows else []), 0.9 + 0.24 * drawn.size)
    if rows:
        _rank_plots(np.ravel(new_axes(parts[0], nrows=rows, ncols=2, sharex=True, sharey=True)), table, worst)
    _measures(new_axes(parts[-1], ncols=2, sharey=True), table.isel(quantity=drawn))
    return Picture(
        "convergence",
        fig,
        _message(table),
        _caption(table, rows, drawn.size),
        _words(table),
        _numbers(table),
        "sampling",
    )


def _smallest_ess(table: xr.Dataset) -> np.ndarray:
    """Return the smaller of bulk and tail effective sample size of each quantity."""
    return np.fmin(floats(table, "ess_bulk"), floats(table, "ess_tail"))


def _worst_first(table: xr.Dataset) -> np.ndarray:
    """Return the quantities in the order of R-hat, the worst first; then of their effective sample size."""
    r_hat = np.nan_to_num(floats(table, "r_hat"), nan=-np.inf)
    return np.lexsort((np.nan_to_num(_smallest_ess(table), nan=np.inf), -r_hat.round(4)))


def _names(table: xr.Dataset, most: int = 22) -> list[str]:
    """Return the quantities' names, fit for an axis."""
    return [safe_label(str(name), most) or "(no name)" for name in table["quantity"].values]


def _rank_plots(axes: np.ndarray, table: xr.Dataset, worst: np.ndarray) -> None:
    """Draw how often each chain holds each rank, on the band that uniform ranks would keep to.

    By hand: arviz-plots ranks draws itself, with pyplot, and here are the counts of quantities that are no
    variables of the posterior.
    """
    names = _names(table, 30)
    counts = floats(table, "rank_count")
    low, high, expected = (float(table.attrs.get(name, np.nan)) for name in ("low", "high", "expected"))
    for ax, index in zip(axes, worst, strict=False):
        ax.axhspan(low, high, color=SKY, alpha=0.28, lw=0, zorder=1)
        ax.axhline(expected, color=INK, lw=0.9, zorder=2)
        for chain, count in enumerate(counts[index]):
            colour = SERIES[chain][0] if len(counts[index]) <= len(SERIES) else MUTED
            at = (np.arange(count.size) + 0.5) / count.size
            ax.plot(at, count, _LINES[chain % 4], drawstyle="steps-mid", color=colour, lw=1.1, zorder=3)
        head(ax, names[index])
        ax.grid(False)
    for ax in axes[len(worst) :]:
        ax.set_axis_off()
    drawn = axes[: len(worst)]
    for ax in drawn[-2:]:
        ax.tick_params(labelbottom=True)
        label_axes(ax, x="rank (fraction)")
    for ax in drawn[::2]:
        label_axes(ax, y="draws per bin")


def _measures(axes: np.ndarray, rows: xr.Dataset) -> None:
    """Draw effective sample sizes and R-hat, one line per quantity, with the limits of the verdict."""
    left, right = axes
    at = np.arange(rows.sizes["quantity"])
    bulk, tail, r_hat = (floats(rows, name) for name in ("ess_bulk", "ess_tail", "r_hat"))
    left.plot(bulk, at, "o", ms=5, mfc="none", mew=1.3, color=BLUE, label="bulk")
    left.plot(tail, at, "s", ms=5, mfc="none", mew=1.3, color=ORANGE, label="tail")
    left.axvline(_SMALLEST_ESS, color=VERMILION, ls=":", lw=1.3)
    sizes = np.concatenate([bulk, tail, [_SMALLEST_ESS]])
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    log_axis(left, "x", sizes.min(), sizes.max())
    left.set_xlim(sizes.min() / 1.5, sizes.max() * 1.5)
    right.plot(r_hat, at, "D", ms=5, mfc="none", mew=1.3, color=GREEN)
    right.axvline(_LARGEST_R_HAT, color=VERMILION, ls=":", lw=1.3)
    top = np.nanmax(np.append(r_hat, _LARGEST_R_HAT))
    right.set_xlim(min(0.999, np.nanmin(np.append(r_hat, 1.0))), 1 + 1.15 * (top - 1))
    right.locator_params(axis="x", nbins=3)
    name_rows(left, _names(rows))
    right.tick_params(axis="y", length=0)
    label_axes(left, x="effective sample size")
    label_axes(right, x="R-hat")
    legend_above(left, 2)


def _message(table: xr.Dataset) -> str:
    """Return whether the draws have converged, by the limits of the verdict."""
    r_hat, ess = floats(table, "r_hat"), _smallest_ess(table)
    total = int(np.sum(np.isfinite(r_hat) | np.isfinite(ess)))
    if not total:
        return "Whether the draws have converged is unknown: nothing could be measured"
    extremes = []
    if np.isfinite(r_hat).any():
        extremes.append(f"R-hat up to {np.nanmax(r_hat):.3f}")
    if np.isfinite(ess).any():
        extremes.append(f"effective sample size down to {short(np.nanmin(ess))}")
    measured = ", ".join(extremes)
    apart, few = int(np.sum(r_hat >= _LARGEST_R_HAT)), int(np.sum(ess <= _SMALLEST_ESS))
    if apart:
        return f"{apart} of {total} quantities have not converged: {measured}"
    if few:
        return (
            f"{few} of {total} quantities rest on no more than {_SMALLEST_ESS:g} effective draws: {measured}"
        )
    return f"All {total} quantities have converged: {measured}"


def _caption(table: xr.Dataset, rows: int, drawn: int) -> str:
    """Return what is drawn."""
    status = safe_label(str(table.attrs.get("status", "")), 400)
    total = table.sizes["quantity"]
    parts = {
        f"Above, for the {min(total, _MOST_RANK_PLOTS)} quantities of largest R-hat: how many draws of "
        "each chain (lines) fall into each bin of rank among all draws; uniform if the chains agree, the "
        "band holds 95 % of bins.": rows > 0,
        f"{'Below: e' if rows else 'E'}ffective sample sizes and rank-normalised split R-hat; dotted: the "
        f"limits of the verdict, {_SMALLEST_ESS:g} and {_LARGEST_R_HAT}.": True,
        f"{drawn} of {total} quantities are drawn, the worst.": drawn < total,
        f"{status.rstrip('.')}.": bool(status),
    }
    return " ".join(part for part, holds in parts.items() if holds)


def _words(table: xr.Dataset) -> str:
    """Return the measures in words."""
    text = f"{table.sizes['quantity']} quantities. {_message(table)}."
    if not ("rank_count" in table and {"low", "high"} <= set(table.attrs)):
        return text
    counts = floats(table, "rank_count")
    outside = (counts < float(table.attrs["low"])) | (counts > float(table.attrs["high"]))
    return (
        f"{text} {100 * outside.mean():.2g} % of the rank bins lie outside the band; about 5 % are expected."
    )


def _numbers(table: xr.Dataset) -> pd.DataFrame:
    """Return the measures, then the rank counts of every quantity."""
    names = np.asarray(_names(table, 200))
    labels = {
        "r_hat": ("R-hat", ""),
        "ess_bulk": ("bulk ESS", ""),
        "ess_tail": ("tail ESS", ""),
        "mcse_mean": ("MCSE of the mean", ""),
    }
    measures = frame({("quantity", ""): names} | columns_of(table, labels), series="measures")
    if "rank_count" not in table:
        return measures
    counts = np.asarray(table["rank_count"].values)
    quantity, chain, rank_bin = np.indices(counts.shape).reshape(3, -1)
    ranks = {
        ("quantity", ""): names[quantity],
        ("chain", ""): chain,
        ("rank bin", ""): rank_bin,
        ("draws", ""): counts.ravel(),
    }
    return pd.concat([measures, frame(ranks, series="ranks")], ignore_index=True)
