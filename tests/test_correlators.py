"""Correlators against closed forms, exact enumeration, and their own coverage over seeds."""

from itertools import product

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import integrate, stats

from brg_prob.correlators import cumulant, excess_kurtosis, n_point, power_spectrum, two_point

BOX, MASS, MODES = 10.0, 1.0, 12


def lattice_draws(rng, draws, x, mass=MASS, dim=1):
    """Return free-field draws (draws, n) from complex exponentials, with no code of the library."""
    k = np.array(list(product(range(-MODES, MODES + 1), repeat=dim)))
    p = 2 * np.pi * k / BOX
    power = 1 / (np.sum(p**2, axis=1) + mass**2)
    noise = rng.standard_normal((draws, len(p))) + 1j * rng.standard_normal((draws, len(p)))
    # the real part of independent complex modes has covariance L^-d Σ G cos p(x−x′)
    return np.real((noise * np.sqrt(power / BOX**dim)) @ np.exp(1j * p @ x.T))


def free_covariance(x, mass=MASS):
    """Return the finite momentum sum for G(x − x′) in d = 1, (n, n)."""
    p = 2 * np.pi * np.arange(-MODES, MODES + 1) / BOX
    return np.cos((x - x.T)[..., None] * p) @ (1 / (p**2 + mass**2)) / BOX


def ar1(rng, phi, chains, draws, points):
    """Return stationary AR(1) chains N(0, 1), (chains, draws, points)."""
    f = np.empty((chains, draws, points))
    f[:, 0] = rng.standard_normal((chains, points))
    for t in range(1, draws):
        f[:, t] = phi * f[:, t - 1] + np.sqrt(1 - phi**2) * rng.standard_normal((chains, points))
    return f


@pytest.mark.parametrize("order", [2, 3, 4])
def test_k_statistics_are_unbiased_by_enumeration(order):
    """Averaged over every sample of 5 draws from three atoms, the estimate is the population's cumulant."""
    atoms = np.array([[0.0, 1.0, -2.0, 0.5], [1.5, -1.0, 0.3, 2.0], [-1.0, 0.2, 1.0, 1.0]])
    weights = np.array([0.2, 0.5, 0.3])
    centred = atoms - weights @ atoms
    index = {2: [[0, 1]], 3: [[0, 1, 2]], 4: [[0, 1, 2, 3], [0, 0, 1, 2]]}[order]
    expected, plugin = np.zeros(len(index)), np.zeros(len(index))
    for sample in product(range(3), repeat=5):
        chance = np.prod(weights[list(sample)])
        draws = atoms[list(sample)]
        expected += chance * cumulant(draws[None], index, independent=True).value
        spread = draws - draws.mean(axis=0)
        plugin += chance * np.array([np.mean(np.prod(spread[:, i], axis=1)) for i in index])
    moment = lambda *i: weights @ np.prod(centred[:, i], axis=1)  # noqa: E731
    exact = []
    for i in index:
        value = moment(*i)
        if order == 4:
            a, b, c, d = i
            value -= moment(a, b) * moment(c, d) + moment(a, c) * moment(b, d) + moment(a, d) * moment(b, c)
        exact.append(value)
    np.testing.assert_allclose(expected, exact, rtol=1e-11)
    assert np.all(np.abs(plugin - exact) > 0.01)  # control: the sample's own moments are biased


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_k_statistics_match_scipy_and_the_jackknife(order):
    x = np.random.default_rng(1).gamma(2.0, size=400)
    estimate = cumulant(x[None, :, None], [[0] * order], independent=True)
    np.testing.assert_allclose(estimate.value, stats.kstat(x, order), rtol=1e-10)
    left_out = np.array([stats.kstat(np.delete(x, i), order) for i in range(400)])
    jackknife = np.sqrt(399 / 400 * np.sum((left_out - left_out.mean()) ** 2))
    np.testing.assert_allclose(estimate.standard_error, jackknife, rtol=0.05)  # they differ at order 1/S


def test_free_field_two_point_is_the_momentum_sum_and_its_connected_four_point_vanishes():
    x = np.array([[0.0], [0.4], [1.3], [4.9]])
    f = lattice_draws(np.random.default_rng(2), 20_000, x)[None] + 0.7
    exact = free_covariance(x)
    for estimate, mean in (
        (two_point(f, connected=True, independent=True), 0),
        (two_point(f, independent=True), 0.49),
    ):
        z = (estimate.value - exact - mean) / estimate.standard_error
        assert np.all(np.abs(z) < 4)
    wrong = (
        two_point(f, connected=True, independent=True).value - free_covariance(x, 1.2)
    ) / estimate.standard_error
    assert np.abs(wrong).max() > 6  # the control
    four = cumulant(f, [[0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 2, 2]], independent=True)
    assert np.all(np.abs(four.value) < 4 * four.standard_error)
    g4 = excess_kurtosis(f, independent=True)
    assert np.all(np.abs(g4.value) < 4 * g4.standard_error)


@pytest.mark.parametrize("activation", [np.tanh, lambda u: np.maximum(u, 0)], ids=["tanh", "relu"])
@pytest.mark.parametrize("width", [5, 10, 40])
def test_finite_width_four_point_is_the_closed_form(activation, width):
    """T3: G4 = (1/N) {3 E[φφφφ] − kk − kk − kk}, the expectations by adaptive quadrature over one weight."""
    rng, draws = np.random.default_rng(width), 60_000
    x = np.array([0.7, -1.5, 2.0, 1.1])
    neurons = activation(rng.standard_normal((draws, width, 1)) * x)
    f = np.einsum("sw,swx->sx", rng.standard_normal((draws, width)), neurons)[None] / np.sqrt(width)

    def average(*points):
        integrand = lambda w: np.prod([activation(w * x[i]) for i in points]) * stats.norm.pdf(w)  # noqa: E731
        return sum(integrate.quad(integrand, *ends, epsabs=1e-12)[0] for ends in ((-12, 0), (0, 12)))

    tuples = [[0, 0, 0, 0], [2, 2, 2, 2], [0, 0, 2, 2], [0, 1, 2, 3]]
    exact = []
    for a, b, c, d in tuples:
        pairs = average(a, b) * average(c, d) + average(a, c) * average(b, d) + average(a, d) * average(b, c)
        exact.append((3 * average(a, b, c, d) - pairs) / width)
    estimate = cumulant(f, tuples, independent=True)
    assert np.all(np.abs(estimate.value - exact) < 4 * estimate.standard_error)
    if width == 5:  # control: not the Gaussian value
        assert np.abs(estimate.value / estimate.standard_error).max() > 6
    g4 = excess_kurtosis(f, [2], independent=True)
    assert abs(g4.value[0] - exact[1] / average(2, 2) ** 2) < 4 * g4.standard_error[0]


def coverage(phi, quantity, *, seeds, independent=False, chains=4, draws=500):
    """Return the two-sided p-values of (estimate − exact)/error over seeds, one per seed."""
    p = []
    for seed in range(seeds):
        f = ar1(np.random.default_rng(seed), phi, chains, draws, 2)
        estimate, exact = quantity(f, independent)
        z = (estimate.value.ravel()[0] - exact) / estimate.standard_error.ravel()[0]
        p.append(2 * stats.norm.sf(abs(z)))
    return np.array(p)


QUANTITIES = {
    "mean": lambda f, i: (n_point(f, [[0]], independent=i), 0.0),
    "pair": lambda f, i: (n_point(f, [[0, 1]], independent=i), 0.0),
    "variance": lambda f, i: (two_point(f[..., :1], connected=True, independent=i), 1.0),
    "k3": lambda f, i: (cumulant(f, [[0, 0, 0]], independent=i), 0.0),
}


@pytest.mark.parametrize(
    ("phi", "name"), [(0.8, "mean"), (0.8, "variance"), (-0.5, "mean"), (-0.5, "variance"), (0.6, "k3")]
)
def test_errors_of_chains_cover_over_seeds(phi, name):
    assert stats.kstest(coverage(phi, QUANTITIES[name], seeds=200), "uniform").pvalue > 1e-3


def test_errors_of_independent_draws_cover_over_seeds():
    for name in ("pair", "variance"):
        p = coverage(0.0, QUANTITIES[name], seeds=200, independent=True)
        assert stats.kstest(p, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("phi", "name"), [(0.8, "mean"), (0.8, "variance"), (-0.5, "mean")])
def test_naive_errors_of_chains_fail(phi, name):
    """The control: the same chains taken for independent draws."""
    p = coverage(phi, QUANTITIES[name], seeds=200, independent=True)
    assert stats.kstest(p, "uniform").pvalue < 1e-4


def test_bulk_effective_draws_understate_the_error_of_an_antithetic_variance():
    """T1: at φ = −½ draws have τ = 1/3, their squares τ = (1+φ²)/(1−φ²) = 5/3: a factor √5 in the error."""
    f = ar1(np.random.default_rng(3), -0.5, 4, 4000, 1)
    estimate = two_point(f, connected=True)
    bulk = float(array_stats.ess(f[..., 0], chain_axis=0, draw_axis=1, method="bulk"))
    ratio = np.sqrt(bulk / estimate.effective_draws[0, 0])
    assert abs(ratio - np.sqrt(5)) < 0.25
    naive = coverage(-0.5, lambda f, i: (_with_bulk(f), 1.0), seeds=200)
    assert stats.kstest(naive, "uniform").pvalue < 1e-4


def _with_bulk(f):
    """Return the variance with the error that the effective draws of the field would give."""
    estimate = two_point(f[..., :1], connected=True)
    bulk = float(array_stats.ess(f[..., 0], chain_axis=0, draw_axis=1, method="bulk"))
    error = estimate.standard_error * np.sqrt(estimate.effective_draws / bulk)
    return type(estimate)(estimate.value, error, estimate.effective_draws)


def test_blocks_do_not_change_the_result(monkeypatch):
    f = np.random.default_rng(4).standard_normal((2, 300, 5))
    tuples = np.array(list(product(range(5), repeat=4)))
    whole = cumulant(f, tuples)
    monkeypatch.setattr("brg_prob.correlators.k_statistics.BLOCK", 5000)
    np.testing.assert_allclose(cumulant(f, tuples).value, whole.value, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(cumulant(f, tuples).standard_error, whole.standard_error, rtol=1e-9)


def grid(dim, side):
    """Return a full grid on the box, rows shuffled."""
    axis = np.arange(side) * BOX / side
    x = np.stack([a.ravel() for a in np.meshgrid(*[axis] * dim, indexing="ij")], axis=1)
    return np.random.default_rng(5).permutation(x)


@pytest.mark.parametrize(("dim", "side"), [(1, 30), (2, 27), (3, 9)])
def test_power_spectrum_is_the_propagator_on_any_grid(dim, side, monkeypatch):
    if dim == 3:
        monkeypatch.setitem(globals(), "MODES", 3)
    x = grid(dim, side)
    f = lattice_draws(np.random.default_rng(6), 2000, x, dim=dim)[None]
    for bins in ("mode", "shell"):
        spectrum = power_spectrum(f, x, bins=bins, independent=True)
        alive = spectrum.momentum < 2 * np.pi / BOX * min(MODES, (side - 1) // 2) + 1e-9
        exact = 1 / (spectrum.momentum**2 + MASS**2)
        z = (spectrum.value - exact)[alive] / spectrum.standard_error[alive]
        # an entry averages `modes` squares of Gaussians per draw, so Σ z² is close to χ²
        assert 1e-3 < stats.chi2.sf(np.sum(z**2), alive.sum()) <= 1
        assert np.abs(z).max() < 5
        heavier = 1 / (spectrum.momentum**2 + 1.2 * MASS**2)
        wrong = (spectrum.value - heavier)[alive] / spectrum.standard_error[alive]
        assert stats.chi2.sf(np.sum(wrong**2), alive.sum()) < 1e-6
    assert spectrum.modes[0] == 1 and spectrum.modes[1] == 2 * dim


def test_connected_spectrum_forgets_the_mean_field_and_bins_average_modes():
    x = grid(1, 30)
    f = lattice_draws(np.random.default_rng(7), 4000, x)[None]
    shifted = f + 3 + np.sin(2 * np.pi * x[:, 0] / BOX)
    modes = power_spectrum(f, x, connected=True, independent=True)
    np.testing.assert_allclose(
        power_spectrum(shifted, x, connected=True, independent=True).value, modes.value, atol=1e-20
    )
    raw = power_spectrum(shifted, x, independent=True)
    assert raw.value[0] > 5 * modes.value[0]
    binned = power_spectrum(f, x, bins=4, connected=True, independent=True)
    assert binned.modes.sum() == modes.modes.sum() == 29
    np.testing.assert_allclose(np.sum(binned.value * binned.modes), np.sum(modes.value * modes.modes))
    edges = power_spectrum(f, x, bins=[1.0, 2.0], connected=True, independent=True)
    inside = (modes.momentum >= 1) & (modes.momentum <= 2)
    np.testing.assert_allclose(edges.value[0], np.average(modes.value[inside], weights=modes.modes[inside]))


def test_power_spectrum_errors_of_chains_are_wider():
    x = grid(1, 12)
    rng = np.random.default_rng(8)
    f = ar1(rng, 0.9, 4, 1000, 12)
    correct, naive = power_spectrum(f, x), power_spectrum(f, x, independent=True)
    assert np.median(correct.standard_error / naive.standard_error) == pytest.approx(
        np.sqrt(1.81 / 0.19), rel=0.3
    )


def test_bad_arguments_are_refused_in_one_line(own_refusals):
    f = np.zeros((1, 10, 3))
    for call, message in (
        (lambda: n_point(f[0], [[0]]), "select one output"),
        (lambda: n_point(f, [[0, 3]]), "outside 3 points"),
        (lambda: n_point(f, [0, 1]), "integers"),
        (lambda: cumulant(f, [[0] * 5]), "order 5"),
        (lambda: cumulant(f[:, :4], [[0] * 4]), "4 draws do not determine"),
        (lambda: power_spectrum(f, [[0.0], [0.1], [0.5]]), "no full equispaced grid"),
        (lambda: power_spectrum(f, [[0.0], [0.1], [0.2]], bins="log"), "choose 'mode'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
