"""Figures of the depth script: phases, approach to the fixed points, Fisher spectra."""

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
    PURPLE,
    SKY,
    VERMILION,
    head,
    label_axes,
    legend,
    log_axis,
    new_figure,
    short,
)

PHASE = {"ordered": (BLUE, "o", "-"), "critical": (GREEN, "s", "--"), "chaotic": (VERMILION, "D", "-.")}
"""Colour, marker and line of a phase."""
DEPTH = ((SKY, "o"), (BLUE, "s"), (GREEN, "^"), (ORANGE, "D"), (VERMILION, "v"), (PURPLE, "P"))
"""Colour and marker of up to six depths, shallow to deep."""
LINES = ("-", "--", "-.", ":")

Found = dict[str, Any]


def pictures(found: Found) -> list[Picture]:
    """Return the figures of phases and spectra."""
    return [_phases(found), _approach(found), _spectra(found)]


def most_phases(cases: list[Found], key: str) -> str:
    """Return the first activation that has the most phases."""
    names = [each["activation"] for each in cases]
    count = [len(each["phases"]) for each in cases] if key == "phases" else [names.count(n) for n in names]
    return str(names[int(np.argmax(count))])


def _phases(found: Found) -> Picture:
    """Draw the phase diagram, and correlation and variance against depth in each phase."""
    fig, (plane, middle, right) = new_figure(width=12.8, height=4.2, ncols=3)
    _plane(plane, found["phases"])
    name = most_phases(found["phases"], "phases")
    case = next(each for each in found["phases"] if each["activation"] == name)
    for phase in case["phases"]:
        colour, marker, _ = PHASE[phase["phase"]]
        c = np.asarray(phase["correlation"])[:41]
        layers = np.arange(1, len(c) + 1)
        middle.plot(layers, c, "-", color=colour, lw=1, marker=marker, ms=4, mfc="none", label=phase["phase"])
        if phase["fixed_correlation"] is not None:
            middle.axhline(phase["fixed_correlation"], color=colour, lw=1, ls=":")
        for number, variances in enumerate(phase["variances"]):
            k = np.asarray(variances)[:21] / phase["variance"]
            label = phase["phase"] if number == 1 else None
            right.plot(
                np.arange(1, len(k) + 1),
                k,
                "-",
                color=colour,
                lw=1,
                marker=marker,
                ms=4,
                mfc="none",
                label=label,
            )
    right.axhline(1, color=INK, lw=0.8)
    log_axis(right, "y", 0.2, 5.0)
    label_axes(middle, x="layer l", y="correlation c of two inputs")
    label_axes(right, x="layer l", y="variance K(x, x)/K*")
    head(middle, f"{name}: dotted, the fixed point c*")
    head(right, f"{name}: from K*/4, K* and 4K*")
    for ax in (middle, right):
        legend(ax, loc="best")
    fixed = "; ".join(
        f"{p['phase']} c* = {short(p['fixed_correlation'])}"
        for p in case["phases"]
        if p["fixed_correlation"] is not None
    )
    return Picture(
        "phases",
        fig,
        "Depth forgets: in the ordered phase all inputs become alike, in the chaotic phase equally unlike",
        "Left: where χ_⊥ = 1 parts the phases (lines; for ReLU and its kin K grows without bound beyond the "
        "line), with the networks of this page (markers). Middle: correlation of two inputs, at first "
        "orthogonal, layer by layer (markers), and the fixed point of the correlation map (dotted). Right: "
        "variance of one input, which flows to K* from either side.",
        f"Three plots. A phase diagram in σ_w² and σ_b²; correlations of {name} rising with depth to "
        f"{fixed}; variances that reach their fixed point within a few layers.",
    )


def _plane(ax: Axes, cases: list[Found]) -> None:
    """Draw the phase diagram of all activations."""
    widest = max(p["weight_variance"] for each in cases for p in each["phases"])
    for each, line in zip(cases, LINES * len(cases), strict=False):
        if each["line"]:
            at = (each["line"]["weight_variance"], each["line"]["bias_variance"])
            ax.plot(*at, line, color=INK, lw=1.2, label=f"{each['activation']}, χ_⊥ = 1")
        elif each["unbounded_above"]:
            ax.axvline(
                each["unbounded_above"], color=MUTED, lw=1.2, ls=line, label=f"{each['activation']}, K* → ∞"
            )
        for phase in each["phases"]:
            colour, marker, _ = PHASE[phase["phase"]]
            at = (phase["weight_variance"], phase["bias_variance"])
            ax.plot(*at, marker, color=colour, ms=6, mfc="none", mew=1.4, clip_on=False, zorder=4)
    ax.set_xlim(0, 1.15 * widest)
    ax.set_ylim(0, 0.4)
    ax.text(0.04, 0.62, "ordered", color=BLUE, transform=ax.transAxes, fontsize=11)
    if any(each["line"] for each in cases):
        ax.text(0.96, 0.3, "chaotic", color=VERMILION, transform=ax.transAxes, fontsize=11, ha="right")
    label_axes(ax, x="weight variance σ_w²", y="bias variance σ_b²")
    legend(ax, loc="upper left", fontsize=9)


def _approach(found: Found) -> Picture:
    """Draw the distance from the fixed point: exponential off criticality, algebraic at it."""
    fig, (left, right) = new_figure(width=12.8, height=4.6, ncols=2)
    for each, line in zip(found["phases"], LINES * len(found["phases"]), strict=False):
        for phase in each["phases"]:
            (_algebraic if phase["phase"] == "critical" else _exponential)(
                right if phase["phase"] == "critical" else left, each["activation"], phase, line
            )
    log_axis(left, "y", 1e-6, 1.0)
    left.set_ylim(1e-6, 2)
    left.set_xlim(0, 62)
    label_axes(left, x="layer l", y="distance c* − c")
    head(left, "ordered and chaotic: lines, the rate log(slope of the map at c*)")
    log_axis(right, "x", 1, 1000)
    eases = [min(p["critical"]["ease"]) for e in found["phases"] for p in e["phases"] if "critical" in p]
    low = min(eases, default=1e-3)
    log_axis(right, "y", max(low, 1e-9), 1.0)
    label_axes(right, x="layer l", y="1 − c")
    head(right, "critical: lines, the asymptotic power of the depth")
    for ax in (left, right):
        if ax.lines:
            legend(ax, loc="best", fontsize=9)
    return Picture(
        "approach",
        fig,
        "Off criticality memory decays exponentially with depth, at criticality as a power",
        "Distance of the correlation of two inputs from its fixed point (markers), and the formula: off "
        "criticality the factor per layer is the slope of the correlation map at c*; at criticality, where "
        "that slope is 1, the next order of the map gives 2/(K*σ_w²⟨φ″²⟩ l) for smooth activations and "
        "9π²/(2l²) for ReLU (lines, asymptotic).",
        _approach_alt(found),
    )


def _approach_alt(found: Found) -> str:
    """Return the rates and exponents in words."""
    words = []
    for each in found["phases"]:
        for phase in each["phases"]:
            name = f"{each['activation']} {phase['phase']}"
            if "critical" in phase:
                words.append(f"{name} exponent {short(phase['critical']['exponent']['measured'])}")
            else:
                words.append(f"{name} factor {short(phase['correlation_decay']['measured'])}")
    return f"Two plots of distances, straight lines on logarithmic axes. Measured: {'; '.join(words)}."


def _exponential(ax: Axes, activation: str, phase: Found, line: str) -> None:
    """Draw c* − c with its asymptote, drawn through the last resolved layer."""
    colour, marker, _ = PHASE[phase["phase"]]
    distance = phase["fixed_correlation"] - np.asarray(phase["correlation"])
    shown = np.flatnonzero(distance > 3e-7)
    last = shown[-1]
    layers = np.arange(1, last + 2)
    asymptote = distance[last] * phase["correlation_decay"]["formula"] ** (layers - 1.0 - last)
    ax.plot(layers, asymptote, line, color=colour, lw=1)
    at = shown[:: max(1, len(shown) // 20)]
    ax.plot(at + 1, distance[at], marker, color=colour, ms=4, mfc="none")
    rate = phase["correlation_decay"]["formula"]
    length = -1 / np.log(rate) if rate > 0 else 0.0
    label = f"{activation} {phase['phase']}, ξ = {short(length, 2)} layers"
    ax.plot([], [], line + marker, color=colour, ms=4, mfc="none", lw=1, label=label)


def _algebraic(ax: Axes, activation: str, phase: Found, line: str) -> None:
    """Draw 1 − c with its power law."""
    found = phase["critical"]
    layers, ease = np.asarray(found["layers"]), np.asarray(found["ease"])
    rate, p = found["coefficient"]["formula"], found["power"]
    marker = "o" if p == 1.5 else "s"
    ax.plot(layers, ease, marker, color=GREEN, ms=4, mfc="none")
    if rate > 0:
        at = layers[layers >= 4]
        ax.plot(at, (rate * (p - 1) * at) ** (-1 / (p - 1)), line, color=INK, lw=1)
    label = f"{activation}, 1 − c ~ l{'⁻²' if p == 1.5 else '⁻¹'}" if rate > 0 else f"{activation}: unchanged"
    ax.plot([], [], line + marker, color=GREEN, ms=4, mfc="none", lw=1, label=label)


def _spectra(found: Found) -> Picture:
    """Draw eigenvalues and effective dimension for every depth, phase by phase."""
    name = most_phases(found["fields"], "fields")
    cases = [each for each in found["fields"] if each["activation"] == name]
    fig, axes = new_figure(width=12.8, height=7.4, nrows=2, ncols=len(cases), sharey="row", squeeze=False)
    n = found["data"]["n"]
    for each, top, bottom in zip(cases, axes[0], axes[1], strict=True):
        for i, (depth, colour, marker) in enumerate(depth_styles(each["depths"])):
            values = np.asarray(each["eigenvalues"][i])
            order = np.unique(np.geomspace(1, n, 30).astype(int))
            style = {"color": colour, "marker": marker, "ms": 4, "mfc": "none", "lw": 1}
            shown = order[values[order - 1] > 1e-9]
            top.plot(shown, values[shown - 1], label=f"L = {depth}", **style)
            bottom.plot(each["observations"], each["effective_dimension"][i], **style)
        top.axhline(1 / n, color=INK, lw=1, ls="--")
        if each["limit"]:
            bottom.axhline(each["limit"]["effective_dimension"], color=INK, lw=1, ls=":")
        log_axis(top, "x", 1, n)
        log_axis(bottom, "x", 1, n)
        label_axes(top, x="mode k")
        label_axes(bottom, x="observations T")
        head(top, f"{name}, {each['phase']}")
    log_axis(axes[0, 0], "y", 1e-6, 10)
    log_axis(axes[1, 0], "y", 0.1, n)
    axes[0, 0].set_ylim(1e-6, 20)
    axes[1, 0].set_ylim(0.1, 1.3 * n)
    label_axes(axes[0, 0], y="Fisher eigenvalue λ_k (1/observation)")
    label_axes(axes[1, 0], y="effective dimension d_eff(T)")
    legend(axes[0, min(1, len(cases) - 1)], loc="lower left", fontsize=9, ncols=2)
    ends = "; ".join(
        f"{e['phase']} {short(e['effective_dimension'][0][0])} → {short(e['effective_dimension'][-1][0])}"
        for e in cases
    )
    return Picture(
        "spectra",
        fig,
        "With depth the ordered spectrum collapses to one mode and the chaotic one turns white; the critical "
        "one keeps its shape longest",
        "Above: eigenvalues of the whitened Fisher metric, K(X, X)/(nσ²), on the record, for every depth L; "
        f"modes above the dashed line, Tλ_k = 1 at T = n = {n}, are distinguishable. Below: effective "
        "dimension against the number of observations T; dotted: at T = n for infinite depth.",
        f"Panels by phase of {name}. Effective dimension at T = n from L = {cases[0]['depths'][0]} to "
        f"{cases[0]['depths'][-1]}: {ends}.",
    )


def depth_styles(depths: list[int]) -> list[tuple[int, str, str]]:
    """Return colour and marker of each depth."""
    return [(depth, *DEPTH[i % len(DEPTH)]) for i, depth in enumerate(depths)]
