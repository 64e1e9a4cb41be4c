"""The authors' pictures of the published experiment; nothing is computed from weights here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from brg_prob.figures import Picture
from brg_prob.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    frame,
    head,
    label_axes,
    legend,
    log_axis,
    new_figure,
    power_of_ten,
    short,
)
from brg_prob.figures.thinning import spread
from inference._quadratic_ensemble import Ensemble
from inference._quadratic_statistics import PERCENTILES, RISES, Found

SERIES = ((BLUE, "o"), (GREEN, "s"), (ORANGE, "^"), (VERMILION, "D"), (PURPLE, "v"), (INK, "x"))
CUTOFF = "cutoff Λ_I (1/observation)"


def published(ensemble: Ensemble, found: Found) -> list[Picture]:
    """Return the authors' pictures in reading order."""
    return [
        curve_picture(found),
        members_picture(ensemble, found),
        losses_picture(ensemble, found),
        output_picture(ensemble, found),
    ]


def _shown(found: Found) -> list[int]:
    """Return four cutoffs to draw side by side: none, the lowest, a middle one, the largest."""
    cutoffs = np.asarray(found["cutoffs"])
    return [0, 1, int(np.argmin(np.abs(cutoffs - 10.0))), len(cutoffs) - 1]


def _name(found: Found, at: int) -> str:
    """Return a cutoff in words."""
    return "trained, cutoff 0" if at == 0 else f"Λ_I = {short(found['cutoffs'][at])}"


def fisher_inputs(rule: Found) -> str:
    """Return the Fisher inputs of a rule in words."""
    return "exact expectation" if rule["fisher_inputs"] == "exact" else f"{rule['fisher_inputs']} inputs"


def _log_range(ax: Axes, which: str, values: Any) -> None:
    """Make an axis logarithmic over positive values, a little beyond them."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array) & (array > 0)]
    low, high = float(array.min()) / 1.4, float(array.max()) * 1.4
    log_axis(ax, which, low, high)
    getattr(ax, f"set_{which}lim")(low, high)


def _cutoff_axis(ax: Axes, cutoffs: np.ndarray) -> np.ndarray:
    """Make the horizontal axis logarithmic, return where each cutoff stands: 0 a decade below the others."""
    smallest = float(cutoffs[cutoffs > 0].min())
    at = np.where(cutoffs > 0, cutoffs, smallest / 10)
    log_axis(ax, "x", float(at.min()), float(at.max()))
    shown = FuncFormatter(lambda value, _: power_of_ten(value) if value > smallest / 2 else "0")
    ax.xaxis.set_major_formatter(shown)
    return at


def draw_curves(ax: Axes, found: Found, curves: Sequence[tuple[str, Found, str, tuple[str, str]]]) -> None:
    """Draw (label, curve, statistic, series) against the cutoff; means with one standard error."""
    at = _cutoff_axis(ax, np.asarray(found["cutoffs"]))
    everything: list[np.ndarray] = []
    for label, curve, statistic, (colour, marker) in curves:
        value = np.asarray(curve[statistic])
        error = np.asarray(curve["se"]) if statistic == "mean" else np.zeros_like(value)
        low = np.minimum(error, 0.7 * value)  # a logarithmic axis has no room below
        style = f"-{marker}" if statistic == "mean" else f"--{marker}"
        ax.errorbar(
            at,
            value,
            [low, error],
            fmt=style,
            ms=4,
            mfc="none",
            lw=1.2,
            elinewidth=1,
            color=colour,
            label=label,
        )
        everything += [value, value + error]
    _log_range(ax, "y", np.concatenate(everything))
    label_axes(ax, x=CUTOFF, y="test loss, mean over inputs of (f − y)²")


def curve_table(found: Found, curves: Sequence[tuple[str, Found]]) -> Any:
    """Return curves as one table."""
    columns: dict[tuple[str, str], Any] = {("cutoff", "1/observation"): found["cutoffs"]}
    for label, curve in curves:
        for statistic in ("mean", "se", "median"):
            columns[f"{label}, {statistic}", ""] = curve[statistic]
    return frame(columns)


# --- the authors' pictures ---------------------------------------------------------------------------


def curve_picture(found: Found) -> Picture:
    """Draw the loss against the cutoff: one redraw, its exact expectation, the median."""
    fig, ax = new_figure(width=6.0, height=4.0)
    main, sampled = found["rules"][found["main"]], found["sampled"]
    draw_curves(
        ax,
        found,
        [
            ("one redraw, mean", sampled, "mean", SERIES[2]),
            ("exact expectation, mean", main, "mean", SERIES[0]),
            ("exact expectation, median", main, "median", (INK, "x")),
        ],
    )
    ax.axhline(found["forgotten"]["mean"], color=MUTED, ls=":", lw=1.4, label="never trained")
    legend(ax, loc="lower right")
    jump = main["median"][1] / main["median"][0]
    return Picture(
        "curve",
        fig,
        f"With {fisher_inputs(main)} for the Fisher matrix the median loss is {short(jump)} times that of "
        "the "
        "trained "
        f"networks at the lowest cutoff {'already' if jump > RISES['risen'] else 'still'}",
        "Test loss of the ensemble against the cutoff on the diagonal of the Fisher matrix: the mean over "
        "members after one redraw of the reset weights, the mean of its expectation in closed form (bars "
        "of one standard "
        f"error over {found['members'] - found['diverged']} members whose training loss fell), and the "
        "median over all "
        f"{found['members']} members. Cutoff 0 stands at the left.",
        f"Losses rise from {short(main['mean'][0])} (mean) and {short(main['median'][0])} (median) at "
        "cutoff 0 to "
        f"{short(main['mean'][1])} and {short(main['median'][1])} at {short(found['cutoffs'][1])} and to "
        f"{short(main['mean'][-1])} at the largest cutoff.",
        curve_table(found, [("expected", main), ("one redraw", sampled)]),
    )


def members_picture(ensemble: Ensemble, found: Found) -> Picture:
    """Draw the test loss of each member at four cutoffs."""
    fig, axes = new_figure(width=6.4, height=4.7, nrows=2, ncols=2, sharex=True, sharey=True)
    shown, good = _shown(found), ensemble.converged
    numbers = np.flatnonzero(good)
    losses = ensemble.sampled[good, ensemble.case.main][:, shown]
    for ax, values, at in zip(np.ravel(axes), losses.T, shown, strict=True):
        drawn = spread(values, 500)
        ax.plot(numbers[drawn], values[drawn], ".", ms=3.2, color=BLUE, alpha=0.7)
        ax.axhline(np.median(values), color=INK, ls="--", lw=1.2)
        head(ax, f"{_name(found, at)}, median {short(float(np.median(values)))}")
    _log_range(axes[0, 0], "y", losses)
    for ax in axes[:, 0]:
        label_axes(ax, y="test loss")
    for ax in axes[-1]:
        label_axes(ax, x="member")
    factor = float(np.quantile(losses[:, 0], 0.95) / np.median(losses[:, 0]))
    columns = {
        (f"test loss at cutoff {found['cutoffs'][at]:g}", ""): v
        for at, v in zip(shown, losses.T, strict=True)
    }
    return Picture(
        "members",
        fig,
        f"Members differ widely: one in twenty has {short(factor)} times the median loss although it was "
        "trained",
        "Test loss of each member after one redraw, at four cutoffs; dashed: the median. "
        f"{found['diverged']} members diverged in training and are left out.",
        "Four scatter plots of loss against the member's number; medians "
        + ", ".join(short(float(m)) for m in np.median(losses, axis=0)),
        frame({("member", ""): numbers, **columns}),
    )


def losses_picture(ensemble: Ensemble, found: Found) -> Picture:
    """Draw histograms of the losses with outlier percentiles at four cutoffs."""
    fig, axes = new_figure(width=6.4, height=4.7, nrows=2, ncols=2, sharey=True)
    shown = _shown(found)
    losses = ensemble.sampled[ensemble.converged, ensemble.case.main][:, shown]
    rows = {}
    for ax, values, at in zip(np.ravel(axes), losses.T, shown, strict=True):
        marks = np.percentile(values, PERCENTILES)
        low, high = marks[0] / 1.5, marks[-1] * 1.5
        ax.hist(values, np.geomspace(low, high, 41), color=SKY, alpha=0.8)
        for mark, style in zip(marks, (":", "--", "-.", "-", "-.", "--", ":"), strict=True):
            ax.axvline(mark, color=VERMILION, ls=style, lw=1.2)
        log_axis(ax, "x", low, high)
        ax.set_xlim(low, high)
        beyond = int(np.sum((values < low) | (values > high)))
        head(ax, _name(found, at) + (f", {beyond} beyond the axis" if beyond else ""))
        rows[f"cutoff {found['cutoffs'][at]:g}", ""] = marks
    for ax in axes[:, 0]:
        label_axes(ax, y="members")
    for ax in axes[-1]:
        label_axes(ax, x="test loss")
    tail = float(found["trained"]["mean"] / found["trained"]["median"])
    return Picture(
        "losses",
        fig,
        f"Losses have a long tail: the mean of the trained networks stands {short(tail)} times above their "
        "median"
        if tail > 2
        else "Losses are spread over decades, so that outliers weigh on every mean",
        "Histograms of the test loss after one redraw, at four cutoffs. Lines: percentiles 1 and 99 "
        "(dotted), 5 and 95 "
        "(dashed), 25 and 75 (dash-dotted), 50 (solid).",
        "Four histograms; medians "
        + ", ".join(short(float(np.median(values))) for values in losses.T)
        + f"; the largest loss as trained is {short(float(losses[:, 0].max()))}.",
        frame({("percentile", ""): PERCENTILES, **rows}),
    )


def output_picture(ensemble: Ensemble, found: Found) -> Picture:
    """Draw histograms of the output at one test input with fitted normal law and truth."""
    fig, axes = new_figure(width=6.4, height=4.7, nrows=2, ncols=2)
    shown, output = _shown(found), found["output"]
    values = ensemble.output[ensemble.converged][:, shown]
    for ax, row, at in zip(np.ravel(axes), values.T, shown, strict=True):
        centre, sd = output["centre"][at], output["sd"][at]
        edge = np.linspace(centre - 4.5 * sd, centre + 4.5 * sd, 41)
        inside = row[(row >= edge[0]) & (row <= edge[-1])]
        weight = np.full(inside.size, 1 / (row.size * (edge[1] - edge[0])))
        ax.hist(inside, edge, weights=weight, color=SKY, alpha=0.8, label="members")
        line = np.linspace(edge[0], edge[-1], 181)
        normal = np.exp(-0.5 * np.square((line - centre) / sd)) / (np.sqrt(2 * np.pi) * sd)
        ax.plot(line, normal, "-", color=BLUE, lw=1.4, label="fitted normal law")
        ax.axvline(output["truth"], color=VERMILION, ls="--", lw=1.4, label="truth")
        head(ax, f"{_name(found, at)}: {short(centre)}, s.d. {short(sd)}")
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper left",
        ncols=3,
        frameon=False,
        labelcolor=INK,
    )
    for ax in axes[:, 0]:
        label_axes(ax, y="density")
    for ax in axes[-1]:
        label_axes(ax, x="output f(x)")
    place = ", ".join(short(value) for value in output["input"])
    growth = output["sd"][-1] / output["sd"][0]
    return Picture(
        "output",
        fig,
        f"Resetting weights widens the output at a test input {short(growth, 2)}-fold and forgets the truth",
        f"Output of the members at the test input ({place}) after one redraw, at four cutoffs, with the "
        "normal law of their "
        "median and of the s.d. that their quartiles give, and the true value.",
        "Four histograms; median and s.d.: "
        + "; ".join(f"{short(output['centre'][at])} and {short(output['sd'][at])}" for at in shown)
        + f"; truth {short(output['truth'])}.",
        frame(
            {
                ("cutoff", "1/observation"): found["cutoffs"],
                ("median", ""): output["centre"],
                ("s.d.", ""): output["sd"],
            }
        ),
    )
