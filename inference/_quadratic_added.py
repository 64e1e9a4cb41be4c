"""What the authors' pictures lack: Fisher inputs, critical cutoffs, eigenmodes, each with errors."""

from __future__ import annotations

import numpy as np

from brg_prob.figures import Picture
from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    SKY,
    VERMILION,
    frame,
    label_axes,
    legend,
    log_axis,
    new_figure,
    percent,
    short,
)
from inference._quadratic_pictures import CUTOFF, SERIES, curve_table, draw_curves, fisher_inputs
from inference._quadratic_statistics import RISES, Found


def added(found: Found) -> list[Picture]:
    """Return the pictures in reading order."""
    return [inputs_picture(found), critical_picture(found), fisher_picture(found), eigen_picture(found)]


def inputs_picture(found: Found) -> Picture:
    """Draw the expected loss against the cutoff for every number of Fisher inputs."""
    fig, ax = new_figure(width=6.0, height=4.0)
    rules = found["rules"]
    colours = [*SERIES[: max(len(rules) - 1, 0)], (INK, "x")] if len(rules) <= len(SERIES) else SERIES * 3
    named = [
        (fisher_inputs(rule), rule, "median", series) for rule, series in zip(rules, colours, strict=False)
    ]
    draw_curves(ax, found, named)
    legend(ax, loc="lower right")
    first, last = (rule["median"][1] / rule["median"][0] for rule in (rules[0], rules[-1]))
    return Picture(
        "inputs",
        fig,
        f"The jump at the lowest cutoff is an artefact of few Fisher inputs: {short(first)}-fold with "
        f"{fisher_inputs(rules[0])}, {'gone' if last < RISES['risen'] else f'{short(last)}-fold'} with the "
        "exact "
        "expectation",
        "Median over members of the expected test loss against the cutoff, for Fisher matrices averaged "
        "over nested "
        "samples of inputs and over the input distribution itself.",
        "One falling family of curves; median loss at the lowest cutoff: "
        + ", ".join(f"{fisher_inputs(rule)} {short(rule['median'][1])}" for rule in rules),
        curve_table(found, [(fisher_inputs(rule), rule) for rule in rules]),
    )


_READINGS = (
    ("critical", "one-standard-error rule (T8)", SERIES[0]),
    ("risen", "median loss 10 % up", SERIES[3]),
    ("half_up", "median loss 50 % up", SERIES[2]),
)


def critical_picture(found: Found) -> Picture:
    """Draw the critical cutoff against the number of Fisher inputs."""
    fig, ax = new_figure(width=6.0, height=4.2)
    rules = found["rules"]
    at, floor = np.arange(len(rules), dtype=float), found["cutoffs"][1] / 3
    top = 30 * floor
    for shift, (key, label, (colour, marker)) in zip((-0.12, 0.0, 0.12), _READINGS, strict=True):
        value, low, high = (
            np.asarray([rule[key][name] or floor for rule in rules]) for name in ("value", "low", "high")
        )
        bars = [np.maximum(value - low, 0), np.maximum(high - value, 0)]
        style = {"fmt": f"-{marker}", "ms": 6, "mfc": "none", "lw": 1, "capsize": 3}
        ax.errorbar(at + shift, value, bars, color=colour, label=label, **style)
        top = max(top, float(high.max()))
    log_axis(ax, "y", floor, top)
    ax.set_ylim(floor / 1.8, 2 * top)
    ax.axhspan(floor / 1.8, floor * 1.6, color=MUTED, alpha=0.12, lw=0)
    ax.text(-0.35, floor * 1.7, "grey: none, the lowest cutoff fails", va="bottom", fontsize=9, color=INK)
    ax.set_xticks(at, [rule["fisher_inputs"] for rule in rules])
    ax.set_xlim(-0.4, at[-1] + 0.4)
    label_axes(ax, x="Fisher inputs", y=f"critical {CUTOFF}")
    legend(ax, loc="upper left", fontsize=9)
    appears = rules[0]["risen"]["value"] is None and rules[-1]["risen"]["value"] is not None
    return Picture(
        "critical",
        fig,
        "With more Fisher inputs a critical cutoff appears: for the exact one the median loss is 10 % up "
        f"at {_value(rules[-1]['risen'])} and 50 % up at {_value(rules[-1]['half_up'])}"
        if appears
        else "The critical cutoff depends on the number of Fisher inputs",
        "Where a cutoff begins to cost, read in three ways: T8's rule (the largest cutoff before the "
        "expected loss "
        "exceeds the trained one by more than a standard error of the paired difference over test inputs), "
        "and "
        "where the median loss is 10 and 50 % up. Bars: 16 to 84 % of 100 resamples of members (for the "
        "rule of "
        "test inputs too). In the grey band the lowest cutoff fails already.",
        "Rule, 10 % and 50 %: "
        + "; ".join(
            f"{fisher_inputs(rule)} {', '.join(_value(rule[key]) for key, *_ in _READINGS)}" for rule in rules
        ),
        frame(
            {("Fisher inputs", ""): [rule["fisher_inputs"] for rule in rules]}
            | {
                (f"{key} {name}", "1/observation"): [rule[key][name] or np.nan for rule in rules]
                for key, *_ in _READINGS
                for name in ("value", "low", "high")
            }
        ),
    )


def _value(cutoff: Found) -> str:
    """Return a critical cutoff in words."""
    return "none" if cutoff["value"] is None else short(cutoff["value"], 2)


def fisher_picture(found: Found) -> Picture:
    """Draw zero Fisher entries and the Monte-Carlo error of the others against the number of inputs."""
    fig, (top, bottom) = new_figure(width=6.0, height=4.2, nrows=2, sharex=True)
    rules, count = found["rules"], found["parameters"]
    at = np.arange(len(rules), dtype=float)
    zero = np.asarray([rule["zero"]["mean"] for rule in rules]) / count
    exact = zero[-1]
    top.bar(at, zero, 0.6, color=SKY, label="active elsewhere")
    top.bar(at, np.minimum(zero, exact), 0.6, color=MUTED, label="active nowhere")
    label_axes(top, y="zero entries, share")
    legend(top, loc="upper right")
    errors = np.asarray([rule["fisher_error"]["mean"] for rule in rules[:-1]])
    spread_of = np.asarray([rule["fisher_error"]["se"] for rule in rules[:-1]])
    bottom.errorbar(at[:-1], errors, spread_of, fmt="-o", ms=5, mfc="none", color=BLUE, capsize=3, lw=1.2)
    bottom.set_ylim(0, 1.15 * float(np.max(errors + np.nan_to_num(spread_of))))
    bottom.set_xticks(at, [rule["fisher_inputs"] for rule in rules])
    label_axes(bottom, x="Fisher inputs", y="relative error")
    first = rules[0]
    return Picture(
        "fisher",
        fig,
        f"{percent(zero[0])} of the Fisher entries are exactly zero with {fisher_inputs(first)}, though "
        f"{percent(first['zero_active_share']['mean'])} of those neurons are active elsewhere",
        "Above: share of neurons whose Fisher entry is exactly zero; those that the exact expectation also "
        "finds zero are "
        "active nowhere. Below: Monte-Carlo error of the other entries, the median over neurons of "
        "|F/F_exact − 1|, mean "
        "over members with its standard error.",
        "Zero entries: "
        + ", ".join(
            f"{fisher_inputs(rule)} {percent(value)}" for rule, value in zip(rules, zero, strict=True)
        )
        + ". Relative errors: "
        + ", ".join(percent(value) for value in errors),
        frame(
            {
                ("Fisher inputs", ""): [rule["fisher_inputs"] for rule in rules],
                ("zero entries", ""): zero * count,
                ("relative error", ""): [*errors, 0.0],
            }
        ),
    )


def eigen_picture(found: Found) -> Picture:
    """Draw the eigenbasis shell beside the parameter-wise one."""
    fig, ax = new_figure(width=6.0, height=4.0)
    rules = {rule["fisher_inputs"]: rule for rule in found["rules"]}
    curves, pairs = [], []
    for each, (one, other) in zip(found["eigen"], ((BLUE, SKY), (VERMILION, ORANGE)), strict=False):
        rule = rules[each["fisher_inputs"]]
        curves += [
            (f"single weights, {fisher_inputs(rule)}", rule, "median", (one, "o")),
            (f"eigenmodes, {fisher_inputs(rule)}", each, "median", (other, "s")),
        ]
        pairs += [(f"weights, {fisher_inputs(rule)}", rule), (f"modes, {fisher_inputs(rule)}", each)]
    draw_curves(ax, found, curves)
    legend(ax, loc="upper left", fontsize=9)
    last, rule = found["eigen"][-1], rules[found["eigen"][-1]["fisher_inputs"]]
    middle = int(np.argmin(np.abs(np.asarray(found["cutoffs"]) - 10.0)))
    ratio = rule["median"][middle] / last["median"][middle]
    return Picture(
        "eigen",
        fig,
        f"Eigenmodes of the same Fisher matrix keep more: with {fisher_inputs(rule)} the loss at Λ_I = "
        f"{short(found['cutoffs'][middle])} is {short(ratio, 2)} times smaller than by single weights"
        if ratio > 1
        else "Eigenmodes of the Fisher matrix keep no more than single weights here",
        "Median over members of the expected test loss for the two shells of T8: single weights by their "
        "diagonal entry, "
        "and eigenmodes of the whole matrix by their eigenvalue, where directions without information are "
        "reset from the "
        "lowest cutoff on. The same cutoff means a different thing in each: a mode gathers what many "
        "weights share.",
        "; ".join(f"{label}: {short(curve['median'][1])} at the lowest cutoff" for label, curve in pairs),
        curve_table(found, pairs),
    )
