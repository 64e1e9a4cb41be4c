"""Figures of the depth script: posteriors along the flow, scores and critical scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from brg_prob.figures import Picture
from brg_prob.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    head,
    label_axes,
    legend,
    log_axis,
    new_figure,
    short,
    with_error,
)
from inference._depth_pictures import LINES, PHASE

SCALES = ((BLUE, "-"), (GREEN, "--"), (ORANGE, "-."))
"""Colour and line of T = n, between, and 1."""

Found = dict[str, Any]


def pictures(found: Found) -> list[Picture]:
    """Return the figures of posteriors and scores."""
    return [_slices(found), _scores(found), _widths(found["widths"])]


def _rows(fields: list[Found]) -> list[Found]:
    """Return at most three networks: the first's critical point, then what differs most from it."""
    critical = [each for each in fields if each["phase"] == "critical"]
    others = [each for each in fields if each["phase"] != "critical"]
    ranked = sorted(others, key=lambda each: -each["effective_dimension"][-1][0])
    rest = [*critical[1:2], *ranked[:1], *ranked[::-1][:1]]
    return [*critical[:1], *rest][:3]


def _slices(found: Found) -> Picture:
    """Draw the posterior on the slice at three scales, networks down, depths across."""
    rows = _rows(found["fields"])
    depths = rows[0]["depths"]
    columns = sorted({0, len(depths) // 2, len(depths) - 1})
    fig, axes = new_figure(
        width=12.8,
        height=3.0 * len(rows) + 0.4,
        nrows=len(rows),
        ncols=len(columns),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for each, line in zip(rows, axes, strict=True):
        for column, ax in zip(columns, line, strict=True):
            _slice(ax, found["data"], each, column)
            head(ax, f"{each['activation']}, {each['phase']}, L = {depths[column]}")
        label_axes(line[0], y="next three months (s.d.)")
    for ax in axes[-1]:
        label_axes(ax, x="index held for twelve months (s.d.)")
    axes[0, 0].set_ylim(-3.4, 3.4)
    axes[0, 0].set_xlim(-2.5, 2.5)
    legend(axes[0, 0], loc="upper left", fontsize=9, ncols=3, columnspacing=1.0)
    return Picture(
        "posteriors",
        fig,
        "Along the flow the posterior lets go of the data; deep networks off criticality had nothing to let "
        "go",
        "Posterior mean (lines) and two standard deviations of the field (bands, outlined at T = n) on a "
        "slice of the inputs, all twelve months at the same value, at three scales of the flow. Grey dots: "
        "training rows at the mean of their twelve months, which lie off the slice.",
        "Panels of posterior means with bands for "
        + ", ".join(f"{e['activation']} {e['phase']}" for e in rows)
        + " at several depths: at T = n a rising line with a narrow band, at T = 1 nearly the prior.",
    )


def _slice(ax: Axes, data: Found, each: Found, column: int) -> None:
    """Draw one network at one depth."""
    at = np.asarray(data["slice"])
    ax.plot(data["shown_inputs"], data["shown_targets"], ".", color=MUTED, ms=2.5, zorder=0)
    observations = each["observations"]
    scales = [observations[i] for i in (0, len(observations) // 2, -1)]
    for number in (2, 1, 0):
        colour, line = SCALES[number]
        mean, spread = (np.asarray(each[key][column][number]) for key in ("slice_mean", "slice_sd"))
        ax.fill_between(at, mean - 2 * spread, mean + 2 * spread, color=colour, alpha=0.16, lw=0)
        if number == 0:
            for edge in (mean - 2 * spread, mean + 2 * spread):
                ax.plot(at, edge, "-", color=colour, lw=0.6)
        ax.plot(at, mean, line, color=colour, lw=1.6, label=f"T = {short(scales[number], 3)}")


def _scores(found: Found) -> Picture:
    """Draw the held-out score against depth, and the critical scale."""
    fig, (left, right) = new_figure(width=12.8, height=4.8, ncols=2)
    fields, data = found["fields"], found["data"]
    names = list(dict.fromkeys(each["activation"] for each in fields))
    for place, each in enumerate(fields):
        colour, marker, _ = PHASE[each["phase"]]
        line = LINES[names.index(each["activation"]) % len(LINES)]
        style = {"color": colour, "marker": marker, "ms": 5, "mfc": "none", "lw": 1.1, "ls": line}
        shift = 2 ** (0.07 * (place - (len(fields) - 1) / 2))
        depths = np.asarray(each["depths"]) * shift
        label = f"{each['activation']} {each['phase']}"
        left.errorbar(depths, each["gain"], each["gain_se"], elinewidth=0.9, label=label, **style)
        right.plot(depths, each["critical_scale"], label=label, **style)
    left.axhline(0, color=INK, lw=0.8)
    left.axhline(data["trivial_gain"][0], color=MUTED, lw=1.2, ls=":")
    left.annotate(
        "N(0, 1)",
        (0.02, data["trivial_gain"][0]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color=MUTED,
        fontsize=10,
    )
    for ax in (left, right):
        log_axis(ax, "x", 1, 100)
        ax.set_xticks(fields[0]["depths"])
        label_axes(ax, x="hidden layers L")
    log_axis(right, "y", 1, data["n"])
    right.set_ylim(0.8, 1.4 * data["n"])
    label_axes(left, y="score − linear model’s (nats/row)")
    label_axes(right, y="critical scale T_c (observations)")
    legend(left, loc="lower left", fontsize=9)
    best = max(fields, key=lambda e: e["gain"][-1])
    worst = min(fields, key=lambda e: e["gain"][-1])
    return Picture(
        "scores",
        fig,
        "Critical networks predict to greater depths; off criticality a few ξ are the end",
        "Left: mean log predictive density of held-out rows at T = n, less the linear model’s; bars: one "
        "standard error of the paired difference; dotted: the distribution N(0, 1), which knows nothing. "
        "Right: critical scale, the smallest T on the way to the prior before the score first falls by more "
        "than a standard error; where the network knows nothing, nothing is lost down to T = 1. Points are "
        "shifted sideways.",
        "Scores against depth, level for critical networks and falling for others; at L = "
        f"{best['depths'][-1]} from {short(worst['gain'][-1])} ({worst['activation']} {worst['phase']}) to "
        f"{short(best['gain'][-1])} ({best['activation']} {best['phase']}).",
    )


def _widths(each: Found) -> Picture:
    """Draw the departure of finite width from infinite width, on average and of one network."""
    fig, ax = new_figure(width=6.4, height=4.4)
    widths = np.asarray(each["widths"], dtype=float)
    parts = (
        ("single", 0.5, "single network, 1/√N", ORANGE, "s"),
        ("mean", 1.0, "average over networks, 1/N", BLUE, "o"),
    )
    for key, power, label, colour, marker in parts:
        size, error = np.abs(each[key]), np.asarray(each[f"{key}_se"])
        weight = np.square(size / error)
        level = np.exp(np.average(np.log(size) + power * np.log(widths), weights=weight))
        ax.plot(widths, level * widths**-power, "-", color=colour, lw=1)
        ax.errorbar(widths, size, 2 * error, fmt=marker, ms=5, mfc="none", color=colour, label=label)
    log_axis(ax, "x", 1.0, 1e4)
    log_axis(ax, "y", 1e-5, 1.0)
    label_axes(ax, x="width N", y="relative departure of the variance")
    legend(ax, loc="lower left")
    (mean, mean_error), (single, single_error) = each["mean_slope"], each["single_slope"]
    return Picture(
        "widths",
        fig,
        "Finite width changes the posterior by 1/N on average, by 1/√N in a single network",
        "Departure of the posterior variance from infinite width, relative to it, one hidden layer of "
        f"{each['activation']} (markers, bars of two standard errors), and lines of the slopes in theory.",
        f"Log-log plot against width: slopes {with_error(mean, mean_error)} on average and "
        f"{with_error(single, single_error)} for single networks.",
    )
