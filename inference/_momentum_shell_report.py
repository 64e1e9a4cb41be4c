"""What the momentum-shell script found, in words and pictures; nothing is computed from draws here."""

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
    VERMILION,
    label_axes,
    legend,
    log_axis,
    new_figure,
)
from inference._page import Chapter, Finding, number, verdict

TITLE = "The cos-net is a free scalar field, and its Bayesian renormalization is the momentum-shell flow"
LEAD = (
    "Second example of Howard, Klinger, Maiti and Stapleton, arXiv:2405.17538. On a periodic lattice of momenta "
    "the correspondence holds mode by mode; with random momenta it is the limit of a network much wider than the "
    "number of modes, in a box much larger than the correlation length."
)
SERIES = ((BLUE, "o"), (GREEN, "s"), (VERMILION, "D"), (ORANGE, "^"), (PURPLE, "v"))

Found = dict[str, Any]


# --- words -------------------------------------------------------------------------------------------


def chapters(found: Found) -> tuple[Chapter, ...]:
    """Return every measured figure beside the formula's."""
    return (
        Chapter(
            "Lattice: exact",
            "Cutting modes by their information cuts them by their momentum, without an exception from the "
            "empty shell to the whole one; flowed draws are the exact renormalization group's at every scale.",
            tuple(row for each in found["lattice"] for row in _lattice(each)),
        ),
        Chapter(
            "Running mass",
            "Each observation adds the same to the mass squared: m_T² = m² + T/(L^d σ²).",
            tuple(row for each in found["lattice"] for row in _running_mass(each)),
        ),
        Chapter(
            "Random momenta, raw readout units",
            "A cutoff on the raw diagonal of the Fisher matrix, the published experiment's, is a momentum cutoff "
            "up to boundary effects of order 1/(L|w|); they spoil only neurons slower than the box, |w|L ≲ 1.",
            tuple(row for each in found["raw_units"] for row in _raw(each)),
        ),
        Chapter(
            "Random momenta, Fisher spectrum",
            "The continuum's λ(p) needs N ≫ N_modes and mL ≫ 1: more neurons help down to the error of the finite "
            "box, and at fixed N a larger box is worse. Figures are medians over modes and networks.",
            tuple(row for each in found["spectrum"] + found["quoted"] for row in _spectrum(each)),
        ),
        Chapter(
            "Random momenta, flowed draws",
            "At any width the draws follow the exact prediction for the network's own kernel (T10); the continuum's "
            "propagator is its limit, told apart from it by this many draws even where it is close.",
            tuple(row for each in found["propagators"] for row in _propagators(each)),
        ),
        Chapter(
            "Control: a ReLU network held against the free scalar",
            "A network of the same prior variance, fitted to the same data, is no free field, and its draws say so.",
            _control(found["control"]),
        ),
    )


def _percent(value: float) -> str:
    return f"{number(100 * value, 2)} %"


def _lattice(each: Found) -> list[Finding]:
    """Return spectrum, shells and verdicts of one lattice."""
    where, shells = each["setting"], each["shells"]
    error = each["eigenvalue_error"]
    return [
        Finding(
            f"λ(p) of {each['modes']} modes, {where}",
            f"off by ≤ {error:.0e}",
            "G0/(L^d σ²)",
            verdict(error < 1e-11),
        ),
        Finding(
            f"modes kept by {len(shells['kept'])} shells, empty to whole",
            f"{shells['exceptions']} of {shells['compared']} wrong",
            "|p| ≤ √(M_T²−m²)",
            verdict(shells["exceptions"] == 0),
        ),
        *(
            Finding(
                f"{each['draws']} draws, 12 scales, {name}",
                found,
                f"would see {_percent(each['smallest_detectable'][name])}",
                verdict(found == "consistent"),
            )
            for name, found in each["verdicts"].items()
        ),
    ]


def _running_mass(each: Found) -> list[Finding]:
    """Return slope and intercept of m_T² in T."""
    fit, labels = each["running_mass"], {"slope": "slope of m_T² in T", "intercept": "m_T² at T = 0"}
    return [
        Finding(
            f"{label}, {each['setting']}",
            f"{fit[name]['value']:.4f} ± {fit[name]['se']:.4f}",
            number(fit[name]["formula"], 4),
            verdict(fit[name]["p_value"] > 0.01),
        )
        for name, label in labels.items()
    ]


def _raw(each: Found) -> list[Finding]:
    """Return the diagonal, the raw cutoff map and the ratio of scales in one box."""
    where, large = f"{each['setting']}, N = {each['width']}", each["length"] >= 40
    size = 1 / (each["length"] * each["cutoff"])
    worst = max(each["cutoffs"], key=lambda cut: abs(cut["measured"] / cut["formula"] - 1))
    close = abs(worst["measured"] / worst["formula"] - 1) < 0.01
    ratio, formula = each["scale_ratio"], each["scale_ratio_formula"]
    return [
        Finding(
            f"I_ii ÷ A²/2σ²(w²+m²), {where}",
            f"median off {each['median_error']:.1e}",
            f"1, ± ~1/LΛ = {size:.1e}",
            verdict(each["median_error"] < 3 * size),
        ),
        Finding(
            f"Λ′ at raw cutoff {number(worst['raw_cutoff'])}, worst of {len(each['cutoffs'])}",
            number(worst["measured"], 4),
            number(worst["formula"], 4),
            "agrees" if close else "differs" if large else "limit",
        ),
        Finding(
            "whitened diagonal ÷ λ(p)",
            f"{ratio:.5f}",
            f"N_modes/N = {formula:.5f}",
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
                f"λ off, {each['setting']}, N = {width} = {number(ratio, 2)} N_modes",
                _percent(error),
                f"{_percent(floor)} at N = ∞",
                verdict(error < 2 * floor + 0.01) if ratio > 100 else "limit",
            )
        )
    return rows


def _propagators(each: Found) -> list[Finding]:
    """Return how far flowed draws lie from the continuum and from the finite network's prediction."""
    where = f"{each['setting']}, N = {number(each['width'] / each['modes'], 2)} N_modes"
    error = f"{_percent(each['sampling_error'])} (sampling)"
    own = {name: each["verdicts"][name] for name in ("finite width", "finite width mean")}
    return [
        Finding(
            f"G_T off the network's own, {where}",
            _percent(each["finite_size_deviation"]),
            error,
            verdict(set(own.values()) == {"consistent"}),
        ),
        Finding("G_T off the continuum's", _percent(each["continuum_deviation"]), error, "limit"),
    ]


def _control(found: Found) -> tuple[Finding, ...]:
    """Return the rejection rates."""

    def rate(name: str) -> str:
        row = found[name]
        return f"{row['rejected']} of {found['seeds']} [{row['low']:.2f}, {row['high']:.2f}]"

    seeds = found["seeds"]
    return (
        Finding(
            "ReLU network rejected", rate("relu"), "> 95 %", verdict(found["relu"]["rejected"] > 0.95 * seeds)
        ),
        Finding(
            "lattice cos-net rejected at 5 %", rate("free"), "≤ 5 %", verdict(found["free"]["low"] <= 0.05)
        ),
    )


# --- pictures ----------------------------------------------------------------------------------------


def pictures(found: Found) -> list[Picture]:
    """Return the four figures."""
    return [_shells(found), _spectra(found), _propagator_panels(found), _masses(found)]


def _shells(found: Found) -> Picture:
    """Draw momentum cutoff against information cutoff: lattice on the left, raw units on the right."""
    fig, (left, right) = new_figure(width=9.0, height=4.0, ncols=2)
    for each, (colour, marker) in zip(found["lattice"], SERIES, strict=False):
        shells = each["shells"]
        at = np.asarray(shells["observations"])
        left.plot(at, shells["predicted_cutoff"], "-", color=colour, lw=1.2)
        kept = np.where(np.asarray(shells["kept"]) > 0, shells["largest_kept"], np.nan)
        left.plot(at, kept, marker, ms=4, mfc="none", color=colour, label=each["setting"])
    log_axis(left, "x", 1.0, 3000.0)
    label_axes(left, x="observations T = 1/Λ_I", y="largest momentum kept (1/length)")
    left.set_title("lattice, whitened cutoff", fontsize=10.5, color=INK)
    for dim, (colour, marker) in zip((1, 2), SERIES, strict=False):
        largest = max((e for e in found["raw_units"] if e["dim"] == dim), key=lambda e: e["length"])
        formula = np.array([cut["formula"] for cut in largest["cutoffs"]])
        line = np.linspace(0.05 * formula.max(), 1.1 * formula.max(), 100)
        # A² from one point of the map, Λ′² + m² = A²/2σ²Λ_I
        scale = largest["cutoffs"][0]["raw_cutoff"] * (formula[0] ** 2 + found["mass"] ** 2)
        right.plot(scale / (line**2 + found["mass"] ** 2), line, "-", color=colour, lw=1.2)
        raw, measured = ([cut[name] for cut in largest["cutoffs"]] for name in ("raw_cutoff", "measured"))
        right.plot(raw, measured, marker, ms=5.5, mfc="none", color=colour, label=largest["setting"])
    log_axis(right, "x", 0.05, 50.0)
    label_axes(
        right, x="cutoff Λ_I on the raw diagonal (1/observation)", y="effective momentum cutoff (1/length)"
    )
    right.set_title(
        f"random momenta, N = {found['raw_units'][0]['width']}, raw cutoff", fontsize=10.5, color=INK
    )
    for ax in (left, right):
        legend(ax)
    exceptions = sum(each["shells"]["exceptions"] for each in found["lattice"])
    off = [
        abs(c["measured"] / c["formula"] - 1)
        for e in found["raw_units"]
        if e["length"] >= 20
        for c in e["cutoffs"]
    ]
    return Picture(
        "shells",
        fig,
        "A cutoff on information is a cutoff on momentum",
        "Left: largest momentum that the information shell keeps at Λ_I = 1/T (markers) under Λ′ = √(M_T² − m²) "
        "(lines); momenta are discrete, so markers lie at or below the line, and none is drawn where the shell is "
        "empty. Right: momentum that parts kept from dropped neurons at a cutoff on the raw diagonal Fisher "
        "information (markers), and Λ′² = A²/(2σ²Λ_I) − m² (lines).",
        f"Two line plots with markers. Left: momentum cutoff rising with T, {exceptions} modes on the wrong side. "
        f"Right: falling with the raw cutoff, markers within {_percent(max(off))} of the line in boxes of 20 and more.",
    )


def _spectra(found: Found) -> Picture:
    """Draw the error of the Fisher spectrum against the number of neurons per mode."""
    fig, ax = new_figure(width=6.4, height=4.3)
    everything = [value for each in found["spectrum"] for errors in each["errors"] for value in errors]
    for each, (colour, marker) in zip(found["spectrum"], SERIES, strict=False):
        ratio = np.asarray(each["widths"]) / each["modes"]
        style = "-" if each["dim"] == 1 else "--"
        ax.plot(
            ratio, np.median(each["errors"], axis=1), style + marker, ms=5, mfc="none", color=colour, lw=1.2,
            label=f"{each['setting']} ({each['modes']:.0f} modes)",
        )  # fmt: skip
        ax.plot(
            np.repeat(ratio, len(each["errors"][0])),
            np.ravel(each["errors"]),
            ".",
            ms=3,
            color=colour,
            alpha=0.5,
        )
        ax.plot([1.3 * ratio[-1], 3 * ratio[-1]], [each["infinite_width"]] * 2, ":", color=colour, lw=2)
    low = min(everything + [each["infinite_width"] for each in found["spectrum"]])
    log_axis(ax, "x", 0.1, 2e4)
    log_axis(ax, "y", 0.8 * low, 1.2 * max(everything))
    ax.axvline(1, color=MUTED, lw=0.8, ls="-.")
    label_axes(ax, x="neurons per mode N/N_modes", y="median relative error of λ(p)")
    legend(ax, loc="upper right")
    first, last = (float(np.median(found["spectrum"][-1]["errors"][k])) for k in (0, -1))
    return Picture(
        "spectra",
        fig,
        "The continuum needs many neurons per mode and a large box: width helps only down to the box’s own error",
        "Median over modes of |λ_k/λ(p_k) − 1| for sorted eigenvalues of networks with random momenta: single "
        "networks (dots) and their median (markers). Dotted ends: the same at infinite width, the error of the finite box. "
        "At fixed N a larger box has more modes and stands further left.",
        "Log-log plot of relative error against neurons per mode, falling curves for several boxes, each levelling at the "
        f"box’s own error; {found['spectrum'][-1]['setting']}: from {_percent(first)} to {_percent(last)}.",
    )


def _propagator_panels(found: Found) -> Picture:
    """Draw propagators of flowed draws beside the network's own prediction and the continuum's."""
    cases = [found["propagators"][0], found["propagators"][-1]]
    fig, axes = new_figure(width=9.0, height=4.0, ncols=2, sharey=True)
    for ax, each in zip(axes, cases, strict=True):
        _propagator_panel(ax, each)
        per_mode = number(each["width"] / each["modes"], 2)
        ax.set_title(f"{each['setting']}, {per_mode} neurons per mode", fontsize=10.5, color=INK)
    legend(axes[0], loc="lower left")
    near, far = (_percent(each["continuum_deviation"]) for each in cases)
    own = _percent(max(each["finite_size_deviation"] for each in cases))
    return Picture(
        "propagators",
        fig,
        "At every width the flow follows the network’s own exact prediction; the continuum is its limit",
        "Variance of the flowed draws by plane wave at three T (markers, bars of two standard errors), T10 with the network’s own "
        "kernel (solid), and the continuum’s 1/(p² + m² + M_T²) (dashed).",
        f"Two log plots of propagators against momentum. Left: draws within {near} (median) of the continuum. Right: {far}. "
        f"In both within {own} of the network’s own prediction, which is their sampling error.",
    )


def _propagator_panel(ax: Axes, each: Found) -> None:
    """Draw one network at three scales."""
    momentum = np.asarray(each["momentum"])
    order = np.argsort(momentum, kind="stable")
    shown = order[np.unique(np.linspace(0, order.size - 1, 40).round().astype(int))]
    for scale, (colour, marker) in zip((0, 3, 5), SERIES, strict=False):
        rows = {
            name: np.asarray(each[name][scale]) for name in ("measured", "se", "predicted", "finite_size")
        }
        ax.plot(
            momentum[order],
            rows["predicted"][order],
            "--",
            color=INK,
            lw=1,
            label="continuum" if scale == 0 else None,
        )
        ax.plot(momentum[order], rows["finite_size"][order], "-", color=colour, lw=0.9)
        ax.errorbar(
            momentum[shown], rows["measured"][shown], 2 * rows["se"][shown], fmt=marker, ms=3.5, mfc="none",
            color=colour, elinewidth=0.8, lw=0, label=f"T = {number(each['observations'][scale])}",
        )  # fmt: skip
    log_axis(ax, "y", float(np.min(each["measured"])), float(np.max(each["measured"])))
    label_axes(ax, x="momentum |p| (1/length)", y="variance G_T(p)")


def _masses(found: Found) -> Picture:
    """Draw the running mass against T, and its distance from the formula below."""
    fig, (top, bottom) = new_figure(width=6.4, height=4.8, nrows=2, sharex=True, height_ratios=(3, 1))
    worst = 0.0
    for each, (colour, marker) in zip(found["lattice"], SERIES, strict=False):
        fit = each["running_mass"]
        at, value, error = (np.asarray(fit[name]) for name in ("observations", "mass_squared", "se"))
        formula = fit["intercept"]["formula"] + fit["slope"]["formula"] * at
        top.plot(at, formula, "-", color=colour, lw=1.2)
        top.errorbar(
            at, value, 2 * error, fmt=marker, ms=4.5, mfc="none", color=colour, label=each["setting"]
        )
        bottom.errorbar(
            at, value / formula - 1, 2 * error / formula, fmt=marker, ms=4.5, mfc="none", color=colour
        )
        worst = max(worst, float(np.max(np.abs(value - formula) / error)))
    bottom.axhline(0, color=INK, lw=0.8)
    log_axis(top, "x", float(at.min()), float(at.max()))
    log_axis(top, "y", 1.0, float(value.max()))
    label_axes(top, y="m_T² (1/length²)")
    label_axes(bottom, x="observations T", y="relative")
    legend(top, loc="upper left")
    return Picture(
        "masses",
        fig,
        "Training raises the mass, and the renormalization group lowers it again",
        "Mass squared fitted to the propagators of flowed draws at each T (markers, two standard errors) and m² + T/(L^d σ²) (lines); "
        "below, the relative difference. Neighbouring scales share draws.",
        f"Log-log plot of mass squared rising with T on the predicted lines; largest distance {number(worst, 2)} standard errors.",
    )
