"""T9's formulas against dense Gaussian conditioning, scipy's ODE solver, autodiff and random draws."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.stats import chi2

from brg_prob.erg import (
    FreeTheory,
    callan_symanzik,
    callan_symanzik_derivative,
    data_mass_squared,
    exponential_cutoff,
    mean_filter,
    momentum_cutoff,
    observations_at_mass,
    periodic_two_point,
    polchinski_flow,
    propagator,
    running_mass,
    sharp_cutoff,
)
from brg_prob.spectra import Matern

BOX, MASS, NOISE, INDEX, N = 10.0, 1.0, 0.5, 31, 400
THEORY = FreeTheory(dim=1, box=BOX, cutoff=20.0, noise=NOISE, mass=MASS)


# --- the other route: matrices on a grid, no propagator anywhere ---------------------------------


def waves(x, index, box=BOX):
    """Orthonormal plane waves on an interval, written out, and the momentum of each."""
    columns, momenta = [np.ones_like(x) / math.sqrt(box)], [0.0]
    for k in range(1, index + 1):
        p = 2 * math.pi * k / box
        columns += [math.sqrt(2 / box) * np.cos(p * x), math.sqrt(2 / box) * np.sin(p * x)]
        momenta += [p, p]
    return np.stack(columns, axis=1), np.array(momenta)


def prior_covariance(n, *, mass=MASS, amplitude=1.0):
    """K on n equispaced points, as a double sum over points and modes."""
    x = np.arange(n) * BOX / n
    basis, p = waves(x, INDEX)
    return x, basis, p, amplitude**2 * (basis / (p**2 + mass**2)) @ basis.T


def condition(kernel, ridge):
    """Posterior covariance and the matrix that maps data to the posterior mean."""
    gain = np.linalg.solve(kernel + ridge * np.eye(len(kernel)), kernel).T
    return kernel - gain @ kernel, gain


@pytest.mark.parametrize("n", [N, 2 * INDEX + 1])
def test_fisher_eigenvalues_are_those_of_the_kernel_matrix(n):
    *_, p, kernel = prior_covariance(n)
    dense = np.sort(np.linalg.eigvalsh(kernel) / (n * NOISE**2))[::-1][: len(p)]
    predicted = np.sort(np.asarray(THEORY.fisher_eigenvalue(p)))[::-1]
    np.testing.assert_allclose(dense, predicted, rtol=1e-12)


def test_sixty_two_points_alias_thirty_one_modes():
    *_, p, kernel = prior_covariance(2 * INDEX)
    dense = np.sort(np.linalg.eigvalsh(kernel) / (2 * INDEX * NOISE**2))[::-1]
    predicted = np.sort(np.asarray(THEORY.fisher_eigenvalue(p)))[::-1][: len(dense)]
    assert np.max(np.abs(dense / predicted - 1)) > 0.05
    # the sine of index 31 vanishes on the grid and its cosine counts twice
    highest = 2 * float(THEORY.fisher_eigenvalue(p[-1]))
    assert np.min(np.abs(dense / highest - 1)) < 1e-12


@pytest.mark.parametrize("observations", [400.0, 20.0, 0.3])
@pytest.mark.parametrize("amplitude", [1.0, 2.5])
def test_propagator_and_filter_are_those_of_dense_conditioning(observations, amplitude):
    theory = dataclasses.replace(THEORY, amplitude=amplitude)
    _, basis, p, kernel = prior_covariance(N, amplitude=amplitude)
    covariance, gain = condition(kernel, NOISE**2 * N / observations)
    project = basis.T * BOX / N
    modes = project @ covariance @ project.T
    np.testing.assert_allclose(
        modes, np.diag(theory.propagator_at(p, observations)), atol=1e-12 * modes.max()
    )
    data = np.random.default_rng(1).normal(size=N)
    filtered = np.asarray(theory.mean_filter(p, observations)) * (project @ data)
    np.testing.assert_allclose(project @ (gain @ data), filtered, atol=1e-12)
    wrong = dataclasses.replace(theory, mass=1.1 * MASS)  # shows at small T, where data do not drown it
    assert np.max(np.abs(np.divide(wrong.propagator_at(p, 0.3), theory.propagator_at(p, 0.3)) - 1)) > 0.03


def test_law_of_total_variance():
    *_, p, _ = prior_covariance(N)
    g0, mass_squared = np.asarray(THEORY.g0(p)), THEORY.data_mass_squared(N)
    # the data's own spectrum is G0 + 1/M_T²: white noise of n points has variance σ² L/n per mode
    assert 1 / mass_squared == pytest.approx(NOISE**2 * BOX / N, rel=1e-14)
    of_the_mean = np.asarray(THEORY.mean_filter(p, N)) ** 2 * (g0 + 1 / mass_squared)
    np.testing.assert_allclose(of_the_mean, g0 - np.asarray(THEORY.propagator_at(p, N)), rtol=1e-12)


def test_no_data_leave_the_prior():
    p = np.linspace(0, 25, 40)
    np.testing.assert_array_equal(THEORY.propagator_at(p, 0.0), THEORY.g0(p))
    np.testing.assert_array_equal(THEORY.mean_filter(p, 0.0), 0)
    np.testing.assert_array_equal(np.asarray(THEORY.g0(p)) == 0, p > 20)
    assert not np.any(np.isnan(THEORY.propagator_at(p, 7.0)))


# --- Callan–Symanzik -----------------------------------------------------------------------------


def test_callan_symanzik_flow_is_its_own_derivative():
    g0 = np.array([0.01, 0.3, 2.0])
    for k in (0.2, 1.0, 5.0):
        by_autodiff = jax.jacfwd(lambda q: callan_symanzik(g0, jnp.exp(q)))(math.log(k))
        step = 1e-4
        by_differences = (
            callan_symanzik(g0, k * math.exp(step)) - callan_symanzik(g0, k * math.exp(-step))
        ) / (2 * step)
        np.testing.assert_allclose(callan_symanzik_derivative(g0, k), by_autodiff, rtol=1e-13)
        np.testing.assert_allclose(callan_symanzik_derivative(g0, k), by_differences, rtol=1e-6)


def test_the_regulator_at_the_datas_mass_is_inference():
    p, observations = np.linspace(0, 20, 9), 37.0
    k = math.sqrt(data_mass_squared(observations, box=BOX, dim=1, noise=NOISE))
    np.testing.assert_allclose(
        callan_symanzik(np.asarray(THEORY.g0(p)), k), THEORY.propagator_at(p, observations), rtol=1e-13
    )
    assert observations_at_mass(k**2, box=BOX, dim=1, noise=NOISE) == pytest.approx(observations, rel=1e-14)


def test_effective_dimension_is_the_flow_of_the_mutual_information_and_a_trace():
    *_, kernel = prior_covariance(N)
    for observations in (0.5, 30.0, 400.0):
        flow = jax.grad(lambda t: THEORY.mutual_information(jnp.exp(t)))(math.log(observations))
        _, gain = condition(kernel, NOISE**2 * N / observations)
        assert float(THEORY.effective_dimension(observations)) == pytest.approx(2 * float(flow), rel=1e-12)
        assert float(THEORY.effective_dimension(observations)) == pytest.approx(np.trace(gain), rel=1e-11)
    assert THEORY.effective_dimension(jnp.array([[1.0, 2.0, 3.0]])).shape == (1, 3)


def test_training_raises_the_mass_and_the_amplitude_counts():
    p, observations = np.linspace(0, 20, 7), 5.0
    for amplitude in (1.0, 3.0):
        theory = dataclasses.replace(THEORY, amplitude=amplitude)
        mass = float(theory.running_mass(observations))
        assert mass == pytest.approx(
            float(running_mass(MASS, theory.data_mass_squared(observations), amplitude=amplitude)), rel=1e-14
        )
        expected = amplitude**2 / (p**2 + mass**2)
        np.testing.assert_allclose(theory.propagator_at(p, observations), expected, rtol=1e-13)
    assert mass > 2 * MASS


# --- momentum shells -----------------------------------------------------------------------------


def test_the_shell_at_t_is_the_set_of_distinguishable_modes():
    *_, p, kernel = prior_covariance(N)
    eigenvalues = np.linalg.eigvalsh(kernel)[::-1][: len(p)] / (N * NOISE**2)
    for observations in (1.0, 2.6, 10.0, 100.0, 900.0, 1e4):
        kept = np.asarray(THEORY.shell_keeps(p, observations))
        assert kept.sum() == np.sum(observations * eigenvalues >= 1)
        assert kept.sum() == np.sum(p[kept] <= THEORY.shell_cutoff(observations) * (1 + 1e-12))
    assert 0 < np.sum(100.0 * eigenvalues >= 1) < len(p)


def test_the_shell_is_empty_below_the_mass_and_whole_above_the_cutoff():
    p = np.array([0.0, 1.0])
    threshold = observations_at_mass(MASS**2, box=BOX, dim=1, noise=NOISE)
    assert THEORY.shell_cutoff(0.99 * threshold) == 0
    assert not np.any(np.asarray(THEORY.shell_keeps(p, 0.99 * threshold)))
    np.testing.assert_array_equal(THEORY.shell_keeps(p, 1.0001 * threshold), [True, False])
    assert THEORY.shell_cutoff(1e9) == THEORY.cutoff
    assert float(momentum_cutoff(MASS, 1e9, cutoff=20.0)) == 20.0
    assert float(momentum_cutoff(MASS, 0.5)) == 0.0


def test_shell_and_observations_map_both_ways():
    for amplitude in (1.0, 0.4):
        theory = dataclasses.replace(THEORY, amplitude=amplitude)
        for shell in (0.3, 4.0, 19.0):
            observations = theory.observations_at_cutoff(shell)
            assert theory.shell_cutoff(observations) == pytest.approx(shell, rel=1e-12)
            square = amplitude**2 * theory.data_mass_squared(observations)
            assert square == pytest.approx(shell**2 + MASS**2, rel=1e-12)  # T9(a), A = 1: p² + m² ≤ M_T²
            assert float(momentum_cutoff(MASS, square / amplitude**2, amplitude=amplitude)) == pytest.approx(
                shell
            )


def test_another_decreasing_density_has_its_shell_by_root_finding():
    general = dataclasses.replace(THEORY, spectrum=Matern(0.5))  # the free scalar by another name
    for observations in (1.0, 3.0, 77.0, 1e5):
        assert general.shell_cutoff(observations) == pytest.approx(
            THEORY.shell_cutoff(observations), rel=1e-10
        )
    smooth = dataclasses.replace(THEORY, spectrum=Matern(2.5))
    assert smooth.shell_cutoff(smooth.observations_at_cutoff(5.0)) == pytest.approx(5.0, rel=1e-10)
    assert smooth.shell_cutoff(77.0) < 0.5 * THEORY.shell_cutoff(77.0)
    rising = dataclasses.replace(THEORY, spectrum=lambda p, m, d: p**2 + m**2)
    with pytest.raises(ValueError, match="no momentum shells"):
        rising.shell_cutoff(77.0)


def test_shell_propagators_keep_reset_and_drop():
    p, observations = np.linspace(0, 20, 60), 100.0
    kept = p <= THEORY.shell_cutoff(observations)
    reset = np.asarray(THEORY.shell_propagator(p, observations, N))
    drop = np.asarray(THEORY.shell_propagator(p, observations, N, "drop"))
    np.testing.assert_array_equal(reset[kept], np.asarray(THEORY.propagator_at(p, N))[kept])
    np.testing.assert_array_equal(drop[kept], reset[kept])
    np.testing.assert_array_equal(reset[~kept], np.asarray(THEORY.g0(p))[~kept])
    np.testing.assert_array_equal(drop[~kept], 0)


def test_an_unknown_action_of_the_shell_is_refused(own_refusals):
    with pytest.raises(ValueError, match="action = 'keep'"):
        THEORY.shell_propagator(np.linspace(0, 20, 60), 100.0, N, "keep")


def test_raw_cutoffs_map_both_ways():
    theory = dataclasses.replace(THEORY, amplitude=1.3)
    raw_square = 2 * 2 * 20.0 / (2 * math.pi)  # A² = 2 Vol(B)/(2π), T4
    for observations in (5.0, 50.0):
        raw = theory.raw_fisher_cutoff(observations)
        assert theory.observations_at_raw_cutoff(raw) == pytest.approx(observations, rel=1e-14)
        shell = theory.shell_cutoff(observations)
        assert shell**2 == pytest.approx(raw_square * 1.3**2 / (2 * NOISE**2 * raw) - MASS**2, rel=1e-12)
        assert float(theory.raw_diagonal(shell)) == pytest.approx(raw, rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_whitened_and_raw_diagonals_differ_by_the_prior_variance_of_a_weight(dim):
    theory = dataclasses.replace(THEORY, dim=dim)
    p, width = np.linspace(0, 20, 5), 300
    np.testing.assert_allclose(theory.whitened_diagonal(p, width), theory.raw_diagonal(p) / width, rtol=1e-13)
    count = 2 * len(dataclasses.replace(theory, cutoff=6.0).momenta()) - 1
    assert count == pytest.approx(dataclasses.replace(theory, cutoff=6.0).modes(), rel=0.06)


# --- Polchinski ----------------------------------------------------------------------------------


def exact_rate(scale, r, g0, p):
    """The flow ∂_Λ r = r² ∂_ΛG_Λ with C = exp(−p²/Λ²), differentiated by hand."""
    return r**2 * g0 * math.exp(-((p / scale) ** 2)) * 2 * p**2 / scale**3


@pytest.mark.parametrize("p", [0.5, 3.0, 11.0])
def test_the_coupling_solves_polchinskis_equation(p):
    g0, bare, start, end = 1 / (p**2 + MASS**2), 40.0, 300.0, 0.8
    first = float(polchinski_flow(g0, p, start, bare).coupling)
    # written in 1/r the flow keeps its accuracy however stiff it gets
    solution = solve_ivp(
        lambda t, u: -exact_rate(math.exp(t), 1.0, g0, p) * math.exp(t) * np.ones_like(u),
        (math.log(start), math.log(end)), [1 / first], rtol=1e-11, atol=1e-14, method="DOP853",
    )  # fmt: skip
    found = float(polchinski_flow(g0, p, end, bare).coupling)
    assert 1 / solution.y[0, -1] == pytest.approx(found, rel=1e-8)
    direct = solve_ivp(
        lambda t, r: exact_rate(math.exp(t), r, g0, p) * math.exp(t),
        (math.log(start), math.log(end)), [first], rtol=1e-11, atol=1e-14, method="Radau",
    )  # fmt: skip
    assert direct.y[0, -1] == pytest.approx(found, rel=1e-7)
    assert abs(found / first - 1) > 0.01  # it does flow


def test_the_coupling_is_a_gaussian_smearing_of_the_boltzmann_factor():
    g0, p, scale, bare = 0.7, 2.0, 1.5, 3.0
    spread = g0 * (1 - math.exp(-((p / scale) ** 2)))

    def smeared(phi):
        return quad(
            lambda z: math.exp(-(z**2) / (2 * spread) - bare * (phi + z) ** 2 / 2), -20, 20, epsabs=1e-13
        )[0]

    coupling = -2 * math.log(smeared(1.0) / smeared(0.0))
    assert float(polchinski_flow(g0, p, scale, bare).coupling) == pytest.approx(coupling, rel=1e-9)


def test_polchinski_ends_at_callan_symanziks_propagator():
    p = np.linspace(0.5, 20, 9)
    g0, mass_squared = np.asarray(THEORY.g0(p)), THEORY.data_mass_squared(100.0)
    end = polchinski_flow(g0, p, 1e-3, mass_squared)
    conditioned = propagator(g0, mass_squared)
    np.testing.assert_allclose(g0 - np.multiply(g0**2, end.coupling), conditioned, rtol=1e-11)
    start = polchinski_flow(g0, p, 1e9, mass_squared)
    np.testing.assert_allclose(start.coupling, mass_squared, rtol=1e-9)
    np.testing.assert_allclose(start.propagator, conditioned, rtol=1e-9)


def test_the_theory_reconstructed_at_any_scale_is_the_same():
    g0, p, bare = np.asarray(THEORY.g0(3.0)), 3.0, 40.0
    for scale in (0.5, 2.0, 5.0, 50.0):
        covariance, coupling, left = map(np.asarray, dataclasses.astuple(polchinski_flow(g0, p, scale, bare)))
        fast = g0 - covariance
        # given the slow modes the fast ones have mean −r_Λ D φ and variance D/(1 + rD)
        slow = (1 - coupling * fast) ** 2 * left
        assert float(slow + fast / (1 + bare * fast)) == pytest.approx(float(propagator(g0, bare)), rel=1e-12)


def smearing_p_value(seed, *, forget):
    """Draws of exp(−V) carried in two heat steps ∞ → 9 → 2, against exp(−V_2), 30 modes together."""
    rng = np.random.default_rng(seed)
    p, bare, size = np.linspace(0.5, 12, 30), 5.0, 400
    g0 = 1 / (p**2 + MASS**2)
    middle, end = (polchinski_flow(g0, p, scale, bare) for scale in (9.0, 2.0))
    steps = [g0 - np.asarray(middle.covariance), np.asarray(middle.covariance) - np.asarray(end.covariance)]
    draws = rng.normal(size=(size, 30)) / math.sqrt(bare)
    for step in steps[: 1 if forget else 2]:
        draws = draws + np.sqrt(step) * rng.normal(size=draws.shape)
    return chi2.sf(np.sum(draws**2 * np.asarray(end.coupling)), df=size * 30)


def test_draws_smeared_step_by_step_follow_the_flow():
    p_values = np.array([smearing_p_value(seed, forget=False) for seed in range(20)])
    two_sided = 2 * np.minimum(p_values, 1 - p_values)
    assert two_sided.min() > 0.001 / 20  # Bonferroni at 0.1 %
    missed = np.array([smearing_p_value(seed, forget=True) for seed in range(20)])
    assert np.mean(2 * np.minimum(missed, 1 - missed) < 0.001 / 20) > 0.95  # a forgotten step is found


def test_cutoff_functions():
    s = np.array([0.0, 0.5, 0.999, 1.5])
    np.testing.assert_array_equal(sharp_cutoff(s), [1, 1, 1, 0])
    np.testing.assert_allclose(exponential_cutoff(s), np.exp(-s), rtol=1e-15)
    shell = polchinski_flow(THEORY.g0(3.0), 3.0, np.array([2.0, 4.0]), 5.0, cutoff_function=sharp_cutoff)
    np.testing.assert_allclose(shell.coupling, [5 / (1 + 5 / 10), 5.0], rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(shell.propagator)[0], 0.0)


# --- position space ------------------------------------------------------------------------------


@pytest.mark.parametrize("observations", [0.0, 30.0])
def test_the_two_point_function_is_the_closed_form_plus_the_missing_tail(observations):
    theory = dataclasses.replace(THEORY, cutoff=2 * math.pi / BOX * 3000.5, amplitude=1.4)
    mass = float(theory.running_mass(observations))
    r = np.array([0.0, 0.3, 2.0, 5.0, 8.0])
    found = np.asarray(theory.two_point_function(r[:, None], observations))
    full = 1.4**2 * np.asarray(periodic_two_point(r, mass, BOX))
    p = 2 * math.pi / BOX * np.arange(3001, 2_000_000)
    tail = 1.4**2 * 2 / BOX * np.array([np.sum(np.cos(p * s) / (p**2 + mass**2)) for s in r])
    tail[0] += 1.4**2 / math.pi / p[-1]  # what lies beyond the sum, to leading order
    np.testing.assert_allclose(found, full - tail, atol=1e-9)
    assert full[0] - found[0] > 1e-4  # the tail is there to be seen


def test_the_closed_form_does_not_overflow_and_is_periodic():
    r = np.array([0.1, 3.0, 7.7])
    plain = np.cosh(MASS * (BOX / 2 - r)) / (2 * MASS * np.sinh(MASS * BOX / 2))
    np.testing.assert_allclose(periodic_two_point(r, MASS, BOX), plain, rtol=1e-13)
    np.testing.assert_allclose(periodic_two_point(r + BOX, MASS, BOX), plain, rtol=1e-12)
    np.testing.assert_allclose(periodic_two_point(-r, MASS, BOX), plain, rtol=1e-12)
    assert float(periodic_two_point(0.0, 1.0, 1e5)) == pytest.approx(0.5, rel=1e-12)


def test_the_two_point_function_at_t_is_the_posterior_covariance():
    x, *_, kernel = prior_covariance(N)
    covariance, _ = condition(kernel, NOISE**2 * N / 25.0)
    np.testing.assert_allclose(THEORY.two_point_function(x[:, None], 25.0), covariance[0], atol=1e-12)


# --- the object ----------------------------------------------------------------------------------


def test_replacing_the_mass_rebuilds_everything():
    wrong = dataclasses.replace(THEORY, mass=1.1 * MASS)
    assert float(wrong.g0(0.0)) == pytest.approx(1 / 1.21, rel=1e-14)
    assert wrong.shell_cutoff(100.0) ** 2 == pytest.approx(40 - 1.21, rel=1e-13)
    assert float(wrong.fisher_eigenvalue(0.0)) == pytest.approx(
        float(THEORY.fisher_eigenvalue(0.0)) / 1.21, rel=1e-14
    )


@pytest.mark.parametrize(
    "option", [{"dim": 0}, {"box": 0.0}, {"noise": -1.0}, {"mass": math.nan}, {"cutoff": math.inf}]
)
def test_impossible_theories_are_refused_by_name(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} = {value} must be"):
        dataclasses.replace(THEORY, **option)


def test_single_precision_agrees_to_single_precision():
    p = np.linspace(0, 20, 50)
    double = np.asarray(THEORY.propagator_at(p, 30.0))
    with jax.enable_x64(False):
        single = THEORY.propagator_at(jnp.asarray(p), 30.0)
        edge = THEORY.g0(jnp.asarray(THEORY.cutoff))
        shell = THEORY.shell_keeps(jnp.asarray(p), 100.0)
        two_point = THEORY.two_point_function(jnp.ones((3, 1)), 30.0)
        assert single.dtype == edge.dtype == two_point.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=1e-5)
    assert float(edge) > 0
    np.testing.assert_array_equal(shell, THEORY.shell_keeps(p, 100.0))
    assert float(mean_filter(2.0, 3.0)) == pytest.approx(6 / 7)
