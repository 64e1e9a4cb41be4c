"""Rejection rates with intervals, on T9's lattice in closed form: right 5 %, wrong above 95 %."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from brg_prob.correspondence.checks import Demands, control_checks, mean_check, variance_check
from brg_prob.correspondence.moments import moments, variance_test
from brg_prob.correspondence.verdicts import overall
from brg_prob.flow import Diffusion, Shell

DEMANDS = Demands(tolerance=0.05, level=0.05)
SEEDS = 80  # all of 80 rejected: above 95 % with confidence 97.5 %


def rates_agree(count, seeds, rate):
    """Whether a count is compatible with a rate (two-sided, 1 %)."""
    return stats.binomtest(int(count), seeds, rate).pvalue > 0.01


def above_95_percent(count, seeds=SEEDS):
    """Whether the Clopper–Pearson interval lies above 95 %."""
    return stats.binomtest(int(count), seeds).proportion_ci(0.95, method="exact").low > 0.95


def true_variances(lattice, scheme):
    """The flow's true variances at each scale, from T9, and its scales."""
    if isinstance(scheme, Diffusion):
        return [lattice.propagator(t) for t in lattice.observations], lattice.observations
    p2, found = lattice.momentum**2, []
    for t in lattice.observations:
        kept = p2 + 1 <= t / (lattice.box * 0.25)
        left = lattice.g0() if scheme.action == "reset" else 0 * p2
        found.append(np.where(kept, lattice.propagator(lattice.n), left))
    return found, tuple(1 / t for t in lattice.observations)


def test_draws_diffused_through_twelve_scales_have_uniform_p_values_at_every_scale(lattice):
    # T7's transition written here in the modes of T9, λ = G0/(L^d σ²)
    eigenvalue = lattice.g0() / (lattice.box * lattice.noise**2)
    found = []
    for seed in range(200):
        rng = np.random.default_rng([1, seed])
        z, before, row = None, None, []
        for t in lattice.observations:
            tau = 1 / t
            if z is None:
                z = np.sqrt(tau / (tau + eigenvalue)) * rng.standard_normal((500, eigenvalue.size))
            else:
                s, v, w = (
                    (before + eigenvalue) / (tau + eigenvalue),
                    before / (before + eigenvalue),
                    tau / (tau + eigenvalue),
                )
                z = s * z + np.sqrt(w - s**2 * v) * rng.standard_normal(z.shape)
            before = tau
            sample = moments(np.sqrt(lattice.g0()) * z)
            row.append(
                variance_test(sample, np.asarray(lattice.theory.propagator_at(lattice.momentum, t))).p_value
            )
        found.append(row)
    by_scale = [stats.kstest(column, "uniform").pvalue for column in np.array(found).T]
    assert min(by_scale) * len(by_scale) > 0.01


@pytest.mark.parametrize(
    "scheme", [Diffusion(), Shell(), Shell(action="drop")], ids=["diffusion", "reset", "drop"]
)
def test_the_right_prediction_is_rejected_at_five_percent(lattice, scheme):
    variances, scales = true_variances(lattice, scheme)
    variances = [np.maximum(v, 0.0) for v in variances]
    rng, seeds = np.random.default_rng(2), 120
    families, single = 0, 0
    for _ in range(seeds):
        check = variance_check(lattice.survey(rng, variances, scheme=scheme, scales=scales), DEMANDS)
        families += check.verdict == "inconsistent"
        single += check.scale_p_values[3] <= 0.05
    assert rates_agree(single, seeds, 0.05)
    # Holm is exact to first order over independent scales
    assert rates_agree(families, seeds, 1 - (1 - 0.05 / 12) ** np.sum(np.isfinite(check.scale_p_values)))


def test_fifty_seeds_are_consistent_at_tolerance_five_percent_in_both_checks(lattice):
    rng = np.random.default_rng(3)
    data = np.sqrt(lattice.g0() + lattice.noise**2 * lattice.box / lattice.n) * rng.standard_normal(63)
    mass_squared = [t / (lattice.box * 0.25) for t in lattice.observations]
    means = [m / (lattice.momentum**2 + 1 + m) * data for m in mass_squared]
    variances, scales = true_variances(lattice, Diffusion())
    verdicts = []
    for _ in range(50):
        samples = lattice.survey(rng, variances, means=means, data=data, scales=scales)
        shared = Demands(0.05, 0.05, family=2)
        verdicts.append(overall((variance_check(samples, shared), mean_check(samples, shared))))
    assert set(verdicts) <= {"consistent", "inconsistent"}
    assert rates_agree(verdicts.count("inconsistent"), 50, 0.05)


@pytest.mark.parametrize("scheme", [Diffusion(), Shell()], ids=["diffusion", "reset"])
def test_wrong_mass_wrong_map_and_reversed_shell_are_rejected(lattice, scheme):
    variances, scales = true_variances(lattice, scheme)
    rng = np.random.default_rng(4)
    rejected = {}
    for _ in range(SEEDS):
        samples = lattice.survey(rng, variances, scheme=scheme, scales=scales)
        for check in control_checks(samples, DEMANDS):
            assert check.role == "control"
            rejected[check.name] = rejected.get(check.name, 0) + (check.verdict == "inconsistent")
    assert set(rejected) == {"wrong mass", "wrong map", "reversed shell"}
    assert all(above_95_percent(count) for count in rejected.values())


def test_draws_of_the_wrong_theories_are_rejected(lattice):
    # the same three errors made by the flow instead of the prediction
    heavier = [1 / (lattice.momentum**2 + 1.21 + t / 2.5) for t in lattice.observations]
    halved = [lattice.propagator(t / 2) for t in lattice.observations]
    reversed_shell = [
        np.where(lattice.momentum**2 + 1 <= t / 2.5, lattice.g0(), lattice.propagator(400))
        for t in lattice.observations
    ]
    rng = np.random.default_rng(5)
    for variances, scheme in ((heavier, Diffusion()), (halved, Diffusion()), (reversed_shell, Shell())):
        scales = (
            lattice.observations if isinstance(scheme, Diffusion) else [1 / t for t in lattice.observations]
        )
        count = sum(
            variance_check(lattice.survey(rng, variances, scheme=scheme, scales=scales), DEMANDS).verdict
            == "inconsistent"
            for _ in range(SEEDS)
        )
        assert above_95_percent(count)


def test_a_wrong_mass_is_seen_at_small_observations_only(lattice):
    # T9: at large T the mass of the data drowns m²
    variances, _ = true_variances(lattice, Diffusion())
    check = control_checks(lattice.survey(np.random.default_rng(6), variances), DEMANDS)[0]
    assert check.scale_p_values[-1] < 1e-5
    assert check.scale_p_values[0] > 1e-3


def test_a_relu_kernel_is_not_the_free_scalar(lattice):
    # arc-cosine kernel with biases at infinite width, its posterior at T (T10), seen through the plane waves
    point = np.concatenate([lattice.x - 5, np.ones_like(lattice.x)], axis=1)
    norm = np.linalg.norm(point, axis=1)
    angle = np.arccos(np.clip(point @ point.T / np.outer(norm, norm), -1, 1))
    kernel = np.outer(norm, norm) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    scales = lattice.observations[::4]
    variances = []
    for t in scales:
        ridge = lattice.noise**2 * lattice.n / t
        posterior = kernel - kernel @ np.linalg.solve(kernel + ridge * np.eye(lattice.n), kernel)
        covariance = lattice.modes.projection @ posterior @ lattice.modes.projection.T
        variances.append(covariance)
    rng, rejected = np.random.default_rng(7), 0
    for _ in range(SEEDS):
        drawn = [
            np.diagonal(stats.wishart.rvs(200, c / 200 + 1e-12 * np.eye(63), random_state=rng))
            for c in variances
        ]
        samples = lattice.survey(rng, drawn, scales=scales, draws=201)
        samples = dataclasses.replace(
            samples,
            samples=tuple(
                type(s)(s.mean, d, s.largest, s.precision, 1, 201)
                for s, d in zip(samples.samples, drawn, strict=True)
            ),
        )
        rejected += variance_check(samples, DEMANDS).verdict == "inconsistent"
    assert above_95_percent(rejected)
