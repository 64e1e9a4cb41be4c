"""What the momentum-shell script found, in words and pictures; nothing is computed from draws here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from brg_prob.figures import Picture
from brg_prob.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    label_axes,
    legend,
    log_axis,
    new_figure,
)
from brg_prob.figures.thinning import thin
from inference._page import Chapter, Finding, number, verdict

TITLE = "The cos-net is a free scalar field, and its Bayesian renormalization is the momentum-shell flow"
LEAD = (
    "Second example of Howard, Klinger, Maiti and Stapleton, arXiv:2405.17538. On a periodic lattice of "
    "momenta the correspondence holds mode by mode; with random momenta it is the limit of a network much "
    "wider than the number of modes, in a box much larger than the correlation length."
)
LEVEL = 1e-3
"""A row that rests on draws differs if p is below this: a page of such rows errs once in a hundred."""
NOTE = (
    "limit: the formula is the limit of a setting that this one is not in. Fits and random momenta are "
    "judged at p < 0.001; the lattice's verdicts are the library's own, which err in 5 % of the flows."
)
SERIES = ((BLUE, "o"), (GREEN, "s"), (VERMILION, "D"), (ORANGE, "^"), (PURPLE, "v"))

Found = dict[str, Any]


# --- words -------------------------------------------------------------------------------------------


def chapters(found: Found) -> tuple[Chapter, ...]:
    """Return every measured figure beside the formula's."""
    spectra = found["spectrum"] + found["fixed_width"]
    return (
        Chapter("Lattice: exact", _MESSAGES["lattice"], _all(_lattice, found["lattice"])),
        Chapter("Running mass", _MESSAGES["running mass"], _all(_running_mass, found["lattice"])),
        Chapter("Random momenta, raw readout units", _MESSAGES["raw"], _all(_raw, found["raw_units"])),
        Chapter("Random momenta, Fisher spectrum", _MESSAGES["spectrum"], _all(_spectrum, spectra)),
        Chapter("Random momenta, flowed draws", _MESSAGES["flows"], _all(_flow, found["propagators"])),
        Chapter("Control: a ReLU network", _MESSAGES["control"], _control(found["control"])),
    )


_MESSAGES = {
    "lattice": "Cutting modes by their information cuts them by their momentum, without an exception from "
    "the empty shell to the whole one; flowed draws are the exact renormalization group's at every scale.",
    "running mass": "Each observation adds the same to the mass squared: m_T² = m² + T/(L^d σ²).",
    "raw": "A cutoff on the raw diagonal of the Fisher matrix, the published experiment's, is a momentum "
    "cutoff up to boundary effects of order 1/(L|w|); they spoil neurons slower than the box, |w|L ≲ 1. "
    "Distances of the diagonal are medians over neurons.",
    "spectrum": "The continuum's λ(p) needs N ≫ N_modes and mL ≫ 1: more neurons help down to the error of "
    "the finite box, and at fixed N a larger box is worse. Medians over modes and networks.",
    "flows": "At any width the draws follow the exact prediction for the network's own kernel (T10); the "
    "continuum's propagator is its limit, and this many draws tell the two apart even where they are close.",
    "control": "A network of the same prior variance, fitted to the same data, is no free field, and its "
    "flowed draws say so; the lattice under the same test shows how often it errs.",
}


def _all(rows: Callable[[Found], list[Finding]], cases: Sequence[Found]) -> tuple[Finding, ...]:
    """Return the findings of all cases, one after the other."""
    return tuple(row for each in cases for row in rows(each))


def _percent(value: float) -> str:
    """Return a fraction as a percentage."""
    return f"{number(100 * value, 2)} %"


def _judged(found: str) -> str:
    """Return a check's verdict in the words of a table."""
    return {"consistent": "agrees", "inconsistent": "differs"}.get(found, "undecided")


def _lattice(each: Found) -> list[Finding]:
    """Return spectrum, shells and verdicts of one lattice."""
    shells, error = each["shells"], each["eigenvalue_error"]
    modes = f"λ(p) of {each['modes']} modes, {each['setting']}"
    wrong = f"{shells['exceptions']} of {shells['compared']} wrong"
    count = f"{len(shells['kept'])} shells, from empty to whole"
    return [
        Finding(modes, f"off by ≤ {error:.0e}", "G0/(L^d σ²)", verdict(error < 1e-11)),
        Finding(count, wrong, "|p| ≤ √(M_T²−m²)", verdict(shells["exceptions"] == 0)),
        *(
            Finding(
                f"{each['draws']} draws, 12 scales, {scheme}",
                found,
                f"would see {_percent(each['smallest_detectable'][scheme])}",
                _judged(found),
            )
            for scheme, found in each["verdicts"].items()
        ),
    ]


def _running_mass(each: Found) -> list[Finding]:
    """Return slope and intercept of m_T² in T."""
    fit, rows = each["running_mass"], []
    for name, label in (("slope", "slope of m_T² in T"), ("intercept", "m_T² at T = 0")):
        value = f"{fit[name]['value']:.4f} ± {fit[name]['se']:.4f}"
        agrees = verdict(fit[name]["p_value"] > LEVEL)
        rows.append(Finding(f"{label}, {each['setting']}", value, number(fit[name]["formula"], 4), agrees))
    return rows


def _raw(each: Found) -> list[Finding]:
    """Return the diagonal, the raw cutoff map and the ratio of scales in one box."""
    size = 1 / (each["length"] * each["cutoff"])
    median = f"off by {each['median_error']:.1e}"
    worst = max(each["cutoffs"], key=lambda cut: abs(cut["measured"] / cut["formula"] - 1))
    close = abs(worst["measured"] / worst["formula"] - 1) < 0.01
    mapped = "agrees" if close else "differs" if each["length"] >= 40 else "limit"
    ratio, formula = each["scale_ratio"], each["scale_ratio_formula"]
    return [
        Finding(
            f"raw diagonal, {each['setting']}, N={each['width']}",
            median,
            "A²/2σ²(w²+m²)",
            verdict(each["median_error"] < 3 * size),
        ),
        Finding(
            f"Λ′ of raw cutoff {number(worst['raw_cutoff'])}, worst of {len(each['cutoffs'])}",
            number(worst["measured"], 4),
            number(worst["formula"], 4),
            mapped,
        ),
        Finding(
            "whitened diagonal/λ(p): N_modes/N",
            f"{ratio:.5f}",
            f"{formula:.5f}",
            verdict(abs(ratio / formula - 1) < 0.01),
        ),
    ]


def _spectrum(each: Found) -> list[Finding]:
    """Return the error of the spectrum at the narrowest and the widest network."""
    pairs = list(zip(each["widths"], each["errors"], strict=True))
    rows, floor = [], each["infinite_width"]
    for width, errors in pairs if len(pairs) == 1 else (pairs[0], pairs[-1]):
        ratio, error = width / each["modes"], float(np.median(errors))
        rows.append(
            Finding(
                f"λ(p), {each['setting']}, N={width} = {number(ratio, 2)} N_modes",
                f"off by {_percent(error)}",
                f"{_percent(floor)} at N = ∞",
                verdict(error < 2 * floor + 0.01) if ratio > 100 else "limit",
            )
        )
    return rows


def _flow(each: Found) -> list[Finding]:
    """Return how far flowed draws lie from the network's own prediction and from the continuum."""
    where = f"{each['setting']}, N={number(each['width'] / each['modes'], 2)} N_modes"
    error = f"{_percent(each['sampling_error'])} by chance"
    p_value = min(each["p_values"]["finite width"], each["p_values"]["finite width mean"])
    finite, continuum = (_percent(each[name]) for name in ("finite_size_deviation", "continuum_deviation"))
    return [
        Finding(f"own G_T, {where}", f"off by {finite}", error, verdict(p_value > LEVEL)),
        Finding("continuum's G_T", f"off by {continuum}", error, "limit"),
    ]


def _control(found: Found) -> tuple[Finding, ...]:
    """Return the rejection rates."""

    def rate(name: str) -> str:
        row = found[name]
        return f"{row['rejected']}/{found['seeds']} [{row['low']:.2f},{row['high']:.2f}]"

    often = found["relu"]["rejected"] > 0.95 * found["seeds"]
    return (
        Finding("ReLU network rejected", rate("relu"), "> 95 %", verdict(often)),
        Finding("lattice rejected, level 5 %", rate("free"), "≤ 5 %", verdict(found["free"]["low"] <= 0.05)),
    )


# --- pictures ----------------------------------------------------------------------------------------


def pictures(found: Found) -> list[Picture]:
    """Return the four figures."""
    return [_shells(found), _propagator_panels(found), _spectra(found), _masses(found)]


def _shells(found: Found) -> Picture:
    """Draw momentum cutoff against information cutoff: lattice on the left, raw units on the right."""
    fig, (left, right) = new_figure(width=12.8, height=4.4, ncols=2)
    for each, (colour, marker) in zip(found["lattice"], SERIES, strict=False):
        shells = each["shells"]
        at = np.asarray(shells["observations"])
        left.plot(at, shells["predicted_cutoff"], "-", color=colour, lw=1.2)
        kept = np.where(np.asarray(shells["kept"]) > 0, shells["largest_kept"], np.nan)
        left.plot(at, kept, marker, ms=4.5, mfc="none", color=colour, label=f"{each['setting']}, lattice")
    log_axis(left, "x", 1.0, 3000.0)
    label_axes(left, x="observations T = 1/Λ_I", y="largest momentum kept (1/length)")
    for dim, series in zip((1, 2), SERIES, strict=False):
        cases = [each for each in found["raw_units"] if each["dim"] == dim]
        _raw_map(right, max(cases, key=lambda each: each["length"]), found["mass"], series)
    log_axis(right, "x", 0.05, 50.0)
    label_axes(right, x="cutoff Λ_I on the raw diagonal (1/observation)", y="momentum cutoff (1/length)")
    for ax in (left, right):
        legend(ax)
    wrong = sum(each["shells"]["exceptions"] for each in found["lattice"])
    large = [cut for each in found["raw_units"] if each["length"] >= 20 for cut in each["cutoffs"]]
    off = _percent(max(abs(cut["measured"] / cut["formula"] - 1) for cut in large))
    return Picture(
        "shells",
        fig,
        "A cutoff on information is a cutoff on momentum",
        "Left, lattice: the largest momentum that the information shell keeps at Λ_I = 1/T (markers) and "
        "Λ′ = √(M_T² − m²) (lines). Momenta are discrete, so markers lie at or below the line; an empty "
        "shell has none. Right, random momenta: the momentum that parts kept from dropped neurons at a "
        "cutoff on the raw diagonal Fisher information (markers) and Λ′² = A²/(2σ²Λ_I) − m² (lines).",
        f"Two plots of markers on lines. Left: momentum cutoff rising with T, {wrong} modes on the wrong "
        f"side. Right: falling with the raw cutoff, within {off} of the line in boxes of 20 and more.",
    )


def _raw_map(ax: Axes, each: Found, mass: float, series: tuple[str, str]) -> None:
    """Draw the raw cutoff map of one box."""
    raw, formula, measured = (
        np.array([cut[name] for cut in each["cutoffs"]]) for name in ("raw_cutoff", "formula", "measured")
    )
    line = np.linspace(0, 1.1 * formula.max(), 200)
    scale = raw[0] * (formula[0] ** 2 + mass**2)  # A²/2σ²
    label = f"{each['setting']}, {each['width']} random momenta"
    ax.plot(scale / (line**2 + mass**2), line, "-", color=series[0], lw=1.2)
    ax.plot(raw, measured, series[1], ms=6, mfc="none", color=series[0], label=label)


def _spectra(found: Found) -> Picture:
    """Draw the error of the Fisher spectrum against the number of neurons per mode."""
    fig, ax = new_figure(width=6.4, height=4.6)
    everything = [value for each in found["spectrum"] for errors in each["errors"] for value in errors]
    for each, (colour, marker) in zip(found["spectrum"], SERIES, strict=False):
        ratio, errors = np.asarray(each["widths"]) / each["modes"], np.asarray(each["errors"])
        style = ("-" if each["dim"] == 1 else "--") + marker
        label = f"{each['setting']} ({each['modes']:.0f} modes)"
        ax.plot(ratio, np.median(errors, axis=1), style, ms=5, mfc="none", color=colour, lw=1.2, label=label)
        ax.plot(np.repeat(ratio, errors.shape[1]), errors.ravel(), ".", ms=3, color=colour, alpha=0.5)
        ax.plot([1.3 * ratio[-1], 3 * ratio[-1]], [each["infinite_width"]] * 2, ":", color=colour, lw=2)
        everything.append(each["infinite_width"])
    log_axis(ax, "x", 0.1, 2e4)
    log_axis(ax, "y", min(everything), max(everything))
    label_axes(ax, x="neurons per mode N/N_modes", y="median relative error of λ(p)")
    legend(ax, loc="best", fontsize=8.5)
    last = found["spectrum"][-1]
    first, final = (_percent(float(np.median(last["errors"][k]))) for k in (0, -1))
    return Picture(
        "spectra",
        fig,
        "The continuum needs many neurons per mode and a large box: width helps only down to the box’s error",
        "Median over modes of |λ_k/λ(p_k) − 1| for sorted eigenvalues of networks with random momenta: "
        "single networks (dots) and their median (markers). Dotted ends: the same at infinite width, the "
        "error of the finite box. At fixed N a larger box has more modes and stands further left.",
        "Log-log plot of relative error against neurons per mode: falling curves for several boxes, each "
        f"levelling at the box’s own error; {last['setting']}: from {first} to {final}.",
    )


def _propagator_panels(found: Found) -> Picture:
    """Draw propagators of flowed draws beside the network's own prediction and the continuum's."""
    cases = [found["propagators"][0], found["propagators"][-1]]
    fig, axes = new_figure(width=12.8, height=4.8, ncols=2, sharey=True)
    for ax, each in zip(axes, cases, strict=True):
        _propagator_panel(ax, each)
        per_mode = number(each["width"] / each["modes"], 2)
        ax.set_title(f"{each['setting']}, {per_mode} neurons per mode", fontsize=10.5, color=INK)
    label_axes(axes[0], y="variance G_T(p) of a plane wave")
    legend(axes[0])
    near, far = (_percent(each["continuum_deviation"]) for each in cases)
    own = _percent(max(each["finite_size_deviation"] for each in cases))
    return Picture(
        "propagators",
        fig,
        "At every width the flow follows the network’s own exact prediction; the continuum is its limit",
        "Variance of flowed draws by plane wave at the first and the last T (markers, bars of two standard "
        "errors), the exact prediction for the network’s own kernel (black dashes), and the continuum’s "
        "1/(p² + m² + M_T²) (lines).",
        f"Two logarithmic plots of propagators against momentum. Draws lie within {near} of the continuum "
        f"(median) on the left and {far} on the right; in both within {own} of the network’s own prediction.",
    )


def _propagator_panel(ax: Axes, each: Found) -> None:
    """Draw one network at the first and the last scale."""
    momentum = np.asarray(each["momentum"])
    order = np.argsort(momentum, kind="stable")
    shown = order[thin(order.size, 48)]
    for scale, (colour, marker) in zip((0, len(each["observations"]) - 1), SERIES, strict=False):
        names = ("measured", "se", "predicted", "finite_size")
        measured, error, continuum, own = (np.asarray(each[name][scale]) for name in names)
        label = f"T = {number(each['observations'][scale])}"
        ax.plot(momentum[order], continuum[order], "-", color=colour, lw=1.2)
        ax.plot(momentum[shown], own[shown], "_", color=INK, ms=8, mew=1.4, zorder=4)
        ax.errorbar(
            momentum[shown],
            measured[shown],
            2 * error[shown],
            fmt=marker,
            ms=4,
            mfc="none",
            color=colour,
            elinewidth=0.9,
            label=label,
        )
    log_axis(ax, "y", float(np.min(each["measured"])), float(np.max(each["measured"])))
    label_axes(ax, x="momentum |p| (1/length)")


def _masses(found: Found) -> Picture:
    """Draw the running mass against T, and its distance from the formula below."""
    fig, (top, bottom) = new_figure(width=6.4, height=4.6, nrows=2, sharex=True, height_ratios=(3, 1))
    worst, low, high = 0.0, np.inf, 0.0
    for each, (colour, marker) in zip(found["lattice"], SERIES, strict=False):
        fit = each["running_mass"]
        at, value, error = (np.asarray(fit[name]) for name in ("observations", "mass_squared", "se"))
        formula = fit["intercept"]["formula"] + fit["slope"]["formula"] * at
        bars = {"fmt": marker, "ms": 4.5, "mfc": "none", "color": colour}
        top.plot(at, formula, "-", color=colour, lw=1.2)
        top.errorbar(at, value, 2 * error, label=each["setting"], **bars)
        bottom.errorbar(at, value / formula - 1, 2 * error / formula, **bars)
        worst = max(worst, float(np.max(np.abs(value - formula) / error)))
        low, high = min(low, float(value.min())), max(high, float(value.max()))
    bottom.axhline(0, color=INK, lw=0.8)
    log_axis(top, "x", float(at.min()), float(at.max()))
    log_axis(top, "y", low, high)
    label_axes(top, y="mass squared m_T² (1/length²)")
    label_axes(bottom, x="observations T", y="relative")
    legend(top, loc="upper left")
    return Picture(
        "masses",
        fig,
        "Training raises the mass, and the renormalization group lowers it again",
        "Mass squared fitted to the propagators of flowed lattice draws at each T (markers, two standard "
        "errors) and m² + T/(L^d σ²) (lines); below, the relative difference. Neighbouring scales share "
        "draws.",
        "Log-log plot of mass squared rising with T along the predicted lines; the largest distance is "
        f"{number(worst, 2)} standard errors.",
    )
