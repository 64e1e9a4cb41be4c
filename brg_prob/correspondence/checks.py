"""Each check of a correspondence: a hypothesis, its test at every scale, a verdict (T9, T18)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brg_prob.arrays import holm
from brg_prob.correspondence.moments import ModeTest, mean_test, variance_test
from brg_prob.correspondence.momentum_survey import Draws, Survey
from brg_prob.correspondence.observed_power import data_spectrum, spectrum_test
from brg_prob.correspondence.plane_waves import momentum_modes
from brg_prob.correspondence.predictions import WRONG
from brg_prob.correspondence.statistics import judge
from brg_prob.correspondence.verdicts import Check, Role, Unit
from brg_prob.flow import Flow
from brg_prob.geometry import FisherMetric
from brg_prob.spectra import equispaced_grid
from brg_prob.wording import deviation


@dataclass(frozen=True)
class Demands:
    """What is asked of a check.

    Attributes
    ----------
    tolerance
        Largest deviation that may go unseen.
    level
        Probability of rejecting a true hypothesis in any check that makes the verdict.
    family
        Number of such checks with a statistical test; they share the level.
    controls
        Whether wrong predictions are tested as well, which must be rejected.
    """

    tolerance: float
    level: float
    family: int = 1
    controls: bool = False

    def level_for(self, role: Role) -> float:
        """Return the level of one check."""
        return self.level / self.family if role == "correspondence" else self.level


def across_scales(
    name: str,
    hypothesis: str,
    role: Role,
    tests: Sequence[ModeTest],
    samples: Draws,
    demands: Demands,
    *,
    remark: str = "",
) -> Check:
    """Combine one test per scale into a check, by Holm's procedure.

    Parameters
    ----------
    tests
        One per scale; a scale where no mode could be tested and none failed does not count.
    samples
        The draws, for R-hat and the effective sample sizes.
    remark
        Added to the detail.
    """
    tested = np.array([test.z.size > 0 or test.p_value == 0 for test in tests])
    p_values = np.where(tested, [test.p_value for test in tests], np.nan)
    level = demands.level_for(role)
    count = max(int(tested.sum()), 1)
    worst = int(np.nanargmin(p_values)) if tested.any() else 0
    p_value = float(np.nanmin(holm(p_values))) if tested.any() else 1.0
    each = [test for test in tests if test.z.size]
    size = max((test.smallest_detectable(level / count) for test in each), default=math.nan)
    single = max((test.smallest_single(level / count) for test in each), default=math.nan)
    r_hat = max(sample.r_hat for sample in samples.samples)
    ess = min((float(test.ess.min()) for test in tests if test.z.size), default=0.0)
    verdict = judge(
        rejected=p_value <= level,
        smallest_detectable=size,
        tolerance=demands.tolerance,
        r_hat=r_hat,
        effective_size=ess,
    )
    modes = max(test.z.size for test in tests)
    first = samples.samples[0]
    drawn = f"{first.size} independent draws"
    if first.chain is not None:
        drawn = f"{first.chains} chains of {first.draws} draws (ESS ≥ {ess:.0f}, R-hat ≤ {r_hat:.3f})"
    detail = (
        f"{modes} modes, {drawn}, {count} scales (Holm, level {level:.2g}); "
        f"smallest p = {p_values[worst]:.2g} at scale {samples.scales[worst]:.4g}{remark}"
    )
    unit: Unit = "sd" if tests[worst].quantity == "mean" else "relative"
    statistic = tests[worst].statistic
    return Check(
        name,
        hypothesis,
        role,
        statistic,
        p_value,
        size,
        verdict,
        detail,
        p_values,
        unit,
        smallest_detectable_single=single,
        observed=max((test.common for test in each), key=abs, default=math.nan),
        observed_single=max((test.single for test in each), key=abs, default=math.nan),
        where=f"{_size(tests[worst], unit)} at scale {samples.scales[worst]:.4g}" if each else "",
    )


def _size(test: ModeTest, unit: Unit) -> str:
    """Return how far the modes of a test are off, in words."""
    if not test.z.size or not math.isfinite(test.statistic):
        return "what must vanish does not"
    common, single = (deviation(abs(size), unit) for size in (test.common, test.single))
    return f"{common} in common, {single} in the mode farthest off"


def variance_check(samples: Survey, demands: Demands) -> Check:
    """Variance of every plane wave against G_T (T9b) or the momentum shell (T9a)."""
    tests = [
        variance_test(s, samples.variance(scale))
        for s, scale in zip(samples.samples, samples.scales, strict=True)
    ]
    remark = "; deviation: relative, common to all variances" + _aliased(samples)
    cut = samples.prediction.cut(samples.scales[0])
    if cut is None:
        name, hypothesis = "propagator", "Var f(p) = 1/(1/G0(p) + M_T²), M_T² = T/(L^d σ²)"
    else:
        left = "0" if cut.drop else "G0(p)"
        name, hypothesis = "information shell", f"Var f(p) = G_n(p) where Tλ(p) ≥ 1, {left} elsewhere"
        if samples.prediction.random_momenta:
            hypothesis += ", in the limit of N, n ≫ N_modes"
    return across_scales(name, hypothesis, "correspondence", tests, samples, demands, remark=remark)


def _aliased(samples: Survey) -> str:
    """Return a remark on momenta that the grid aliases."""
    note = samples.modes.aliases.note
    return f"; {note}" if note else ""


def mean_check(samples: Survey, demands: Demands) -> Check:
    """Mean of every plane wave against the filtered data (T9c)."""
    tests = [
        mean_test(s, samples.mean(scale), samples.variance(scale))
        for s, scale in zip(samples.samples, samples.scales, strict=True)
    ]
    if samples.prediction.cut(samples.scales[0]) is None:
        hypothesis = "E f(p) = M_T²/(1/G0(p) + M_T²) · y(p)"
    else:
        hypothesis = "E f(p) = M_n²/(1/G0(p) + M_n²) · y(p) where Tλ(p) ≥ 1, 0 elsewhere"
    remark = "; deviation: in standard deviations of a draw, common to all means"
    return across_scales("trained mean", hypothesis, "correspondence", tests, samples, demands, remark=remark)


def finite_size_checks(samples: Survey, demands: Demands) -> list[Check]:
    """Covariance (and mean) in full against the finite-size prediction for this very network (T10)."""
    ones = [np.ones(scale.sample.mean.shape) for scale in samples.finite]
    left_out = max(scale.left_out for scale in samples.finite)
    remark = f"; whitened by the full predicted covariance, {left_out} directions without variance left out"
    tests = [variance_test(s.sample, one) for s, one in zip(samples.finite, ones, strict=True)]
    hypothesis = "the field's covariance on the inputs is T10's with ΦC0Φᵀ for K"
    checks = [
        across_scales("finite width", hypothesis, "correspondence", tests, samples, demands, remark=remark)
    ]
    if samples.finite[0].has_mean:
        tests = [mean_test(s.sample, 0 * one, one) for s, one in zip(samples.finite, ones, strict=True)]
        hypothesis = "the field's mean on the inputs is T10's with ΦC0Φᵀ for K"
        checks.append(
            across_scales(
                "finite width mean", hypothesis, "correspondence", tests, samples, demands, remark=remark
            )
        )
    return checks


def control_checks(samples: Survey, demands: Demands) -> list[Check]:
    """The same draws against wrong predictions, each of which must be rejected."""
    checks = []
    for name, (claim, wrong) in WRONG.items():
        prediction = wrong(samples.prediction)
        tests = [
            variance_test(s, samples.variance(scale, prediction))
            for s, scale in zip(samples.samples, samples.scales, strict=True)
        ]
        check = across_scales(name, f"wrong on purpose: {claim}", "control", tests, samples, demands)
        checks.append(check)
    return checks


def fisher_pairs(samples: Survey, metric: FisherMetric) -> tuple[np.ndarray, np.ndarray]:
    """Return λ(p) predicted for each plane wave of the grid, and the eigenvalue of the same rank.

    (R + F,) each: R waves that stand for one momentum, then those whose λ is the sum of several.
    A metric over all latent sites has every λ once for each output: that which is farthest from λ(p) counts.
    """

    def density(size: np.ndarray) -> np.ndarray:
        return np.asarray(samples.prediction.theory.fisher_eigenvalue(size), dtype=float)

    modes = samples.modes
    predicted = density(modes.momentum)
    if modes.aliases.momenta:
        predicted = np.concatenate([predicted, modes.aliases.summed(density)])
    copies = samples.copies if metric.counts_outputs else 1
    order = np.argsort(-predicted, kind="stable")
    eigenvalues = np.asarray(metric.eigenvalues, dtype=float)[: order.size * copies]
    ranked = np.full(order.size * copies, np.nan)
    ranked[: eigenvalues.size] = eigenvalues
    groups = ranked.reshape(order.size, copies)
    away = np.where(np.isnan(groups), np.inf, np.abs(groups - predicted[order][:, None]))
    measured = np.full(predicted.shape, np.nan)
    measured[order] = np.take_along_axis(groups, away.argmax(axis=1)[:, None], axis=1)[:, 0]
    return predicted, measured


def fisher_check(flow: Flow, samples: Survey, demands: Demands) -> Check:
    """Eigenvalues of the Fisher metric against λ(p) = G0(p)/(L^d σ²): no chance involved.

    On the lattice they agree to rounding, that of the inputs included, or not at all: points
    that stand δ beside the grid move an eigenvalue by up to 2pδ of itself, and mix in (pδ)² of
    the others. Momenta that look alike on the grid have the sum of their λ. With random momenta the
    prediction is the limit N, n ≫ N_modes, and the finite network's distance from it is held against
    the tolerance.
    """
    eigenvalues = np.asarray(flow.metric.eigenvalues)
    predicted, measured = fisher_pairs(samples, flow.metric)
    exact = not samples.prediction.random_momenta
    # the error of a symmetric eigenvalue problem is absolute: a small multiple of ε times the largest
    largest = float(np.max(predicted))
    rounding = max(
        16 * np.finfo(eigenvalues.dtype).eps * np.sqrt(flow.x.shape[0]) * largest, float(flow.metric.floor)
    )
    known = ~np.isnan(measured)
    relative = np.abs(measured[known] - predicted[known]) / predicted[known]
    grid = equispaced_grid(flow.x)
    fastest = max(float(np.max(samples.modes.momentum)), float(np.max(samples.modes.aliases.size, initial=0)))
    phase = fastest * (grid.displacement if grid is not None else 0.0)
    allowed = (rounding + phase**2 * largest) / predicted[known] + 2 * phase
    unseen = float(np.max(allowed))
    too_few = int(np.sum(~known)) * exact
    rejected = bool(np.any(relative > (allowed if exact else allowed + demands.tolerance))) or too_few > 0
    verdict = judge(rejected=rejected, smallest_detectable=unseen, tolerance=demands.tolerance)
    bound = "tolerance: this network is finite"
    if exact:
        bound = "rounding" if 2 * phase * largest < rounding else "rounding, above all of the inputs"
    detail = (
        f"{known.sum()} modes; relative deviation at most {np.max(relative):.2g}, "
        f"median {np.median(relative):.2g}, held against {bound}" + _aliased(samples)
    )
    nothing = np.full(len(samples.scales), np.nan)
    statistic = float(np.max(relative))
    return Check(
        "Fisher spectrum",
        "λ(p) = G0(p)/(L^d σ²)",
        "correspondence",
        statistic,
        np.nan,
        unseen,
        verdict,
        detail,
        nothing,
        where=f"an eigenvalue off by {deviation(statistic)}",
    )


def data_check(flow: Flow, samples: Survey, demands: Demands, tuned: Sequence[str]) -> Check:
    """The data's own spectrum against the prior predictive law."""
    theory = samples.prediction.theory
    modes = momentum_modes(flow.x, box=theory.box, cutoff=theory.cutoff, beyond=True)
    data = data_spectrum(modes, flow.targets)
    found = spectrum_test(data, theory, level=demands.level, tuned=tuned)
    detectable = max(found.heavier, found.lighter) - 1
    verdict = judge(
        rejected=found.p_value <= demands.level, smallest_detectable=detectable, tolerance=demands.tolerance
    )
    octaves = f"{data.counts.sum()} coefficients in {data.degrees.size} octaves"
    if tuned:
        power = f"{', '.join(tuned)} tuned on these data: calibrated by refitting simulated records"
    else:
        power = (
            f"found with probability .8: a mass {found.heavier:.2f} times larger in the data, "
            f"or {found.lighter:.2f} times smaller"
        )
    centred = "; the mean was taken out of the data, the zero mode is not tested" if data.centred else ""
    return Check(
        "data spectrum",
        "y(p) ~ N(0, G0(p) + σ²L^d/n)",
        "data",
        found.statistic,
        found.p_value,
        detectable,
        verdict,
        f"{octaves}; {power}{centred}",
        np.full(len(samples.scales), np.nan),
    )
