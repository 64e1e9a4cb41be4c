"""Marginal likelihood, tuning by it, and the noise's posterior, each against an independent route (T10)."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize

from brg_prob.posterior.evidence import log_evidence, noise_posterior, tune
from models.cosnet import CosNet


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """The free scalar field in one dimension without a cutoff."""

    mass: float = 1.0
    amplitude: float = 1.0
    noise: float = 0.5

    def covariance(self, x1, x2):
        distance = np.sum(np.abs(np.asarray(x1)[:, None, :] - np.asarray(x2)[None, :, :]), axis=-1)
        return self.amplitude**2 * np.exp(-self.mass * distance) / (2 * self.mass)


def simulate(network, x, key, outputs=None):
    """Return targets (n,) or (n, o) drawn from the network's field plus noise, by Cholesky."""
    covariance = np.asarray(network.covariance(x, x)) + network.noise**2 * np.eye(len(x))
    shape = (len(x),) if outputs is None else (len(x), outputs)
    return np.linalg.cholesky(covariance) @ np.random.default_rng(key).normal(size=shape)


def reference(network, x, y):
    """Return the log density of y by scipy, summed over outputs."""
    covariance = np.asarray(network.covariance(x, x)) + network.noise**2 * np.eye(len(x))
    return np.sum(stats.multivariate_normal(np.zeros(len(x)), covariance).logpdf(y.T))


def grid(n, spacing=0.1):
    return spacing * np.arange(n)[:, None]


# --- the evidence itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [None, 3])
def test_evidence_is_the_log_density_of_a_multivariate_normal(outputs):
    network, x = OrnsteinUhlenbeck(1.3, 0.7, 0.4), grid(30)
    y = simulate(network, x, 0, outputs)
    found = log_evidence(network.covariance(x, x), jnp.asarray(y), network.noise**2)
    np.testing.assert_allclose(found, reference(network, x, y), rtol=1e-11)


def test_evidence_equals_scikit_learns():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    kernel = ConstantKernel(1.7) * RBF(0.8)
    theirs = GaussianProcessRegressor(kernel, alpha=0.3, optimizer=None).fit(x, y)
    ours = log_evidence(jnp.asarray(kernel(x)), jnp.asarray(y), 0.3)
    np.testing.assert_allclose(ours, theirs.log_marginal_likelihood(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("weight", [0.0, 0.03, 0.5, 1.0, 2.0])
def test_tempered_evidence_is_the_integral_over_the_field(weight):
    # a kernel of rank one, f = a v with a ~ N(0, 1): the field is integrated out by quadrature over a
    v, y, sigma = np.array([1.0, -0.4, 0.7]), np.array([0.9, 0.3, -0.2]), 0.6

    def integrand(a):
        return np.exp(stats.norm.logpdf(a) + weight * stats.norm.logpdf(y, a * v, sigma).sum())

    integral = quad(integrand, -12, 12, epsabs=1e-14, epsrel=1e-12)[0]
    found = log_evidence(jnp.asarray(np.outer(v, v)), jnp.asarray(y), sigma**2, weight)
    np.testing.assert_allclose(found, np.log(integral), atol=1e-10)


# --- tuning -----------------------------------------------------------------------------------------


def best_by_brute_force(x, y, start):
    """Return the maximum of scipy's log density over log mass, amplitude, noise, and its place."""

    def negative(logs):
        return -reference(OrnsteinUhlenbeck(*np.exp(logs)), x, y)

    options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000}
    found = minimize(negative, np.log(start), method="Nelder-Mead", options=options)
    return -found.fun, np.exp(found.x), negative


@pytest.mark.parametrize("outputs", [None, 2])
def test_the_maximum_and_its_curvature_are_those_found_by_brute_force(outputs):
    x = grid(80, 0.15)
    y = simulate(OrnsteinUhlenbeck(1.0, 1.5, 0.5), x, 5, outputs)
    tuned = tune(OrnsteinUhlenbeck(), x, y)
    height, place, negative = best_by_brute_force(x, y, [0.6, 1.0, 0.8])
    np.testing.assert_allclose(tuned.log_evidence, height, atol=1e-7)
    np.testing.assert_allclose(dataclasses.astuple(tuned.network), place, rtol=1e-3)
    # curvature of scipy's density, by differences of another step than the library's
    h, centre, units = 0.005, np.log(place), np.eye(3)

    def mixed(a, b):
        return sum(s * t * negative(centre + h * (s * a + t * b)) for s in (1, -1) for t in (1, -1)) / (
            4 * h**2
        )

    information = np.array([[mixed(a, b) for a in units] for b in units])
    expected = place * np.sqrt(np.diagonal(np.linalg.inv(information)))
    np.testing.assert_allclose(list(tuned.standard_errors.values()), expected, rtol=0.02)
    assert tuned.at_edge == ()
    for name, value in dataclasses.asdict(tuned.network).items():
        assert f"{name} {value:.4g} ± {tuned.standard_errors[name]:.2g}" in tuned.status


def test_a_lattice_field_is_tuned_to_the_evidence_of_its_fourier_modes():
    # T9: on its own grid every Fourier mode is independent, of variance n G0(p)/L + σ² when normalised to one
    x, rng = grid(81, 0.25), np.random.default_rng(4)
    y = simulate(OrnsteinUhlenbeck(1.0, 1.5, 0.4), x, 4) + 0.1 * rng.normal(size=81)
    tuned = tune(CosNet.for_inputs(x), x, y)
    best, box = tuned.network, 81 * 0.25
    p = 2 * np.pi * np.arange(41) / box
    modes = np.abs(np.fft.rfft(y)) ** 2 / 81

    def by_modes(mass, amplitude, noise):
        variance = 81 / box * amplitude**2 / (p**2 + mass**2) + noise**2
        each = np.log(2 * np.pi * variance) + modes / variance
        return -0.5 * (each[0] + 2 * each[1:].sum())

    values = np.array([best.mass, best.amplitude, best.noise])
    np.testing.assert_allclose(tuned.log_evidence, by_modes(*values), rtol=1e-11)
    found = minimize(
        lambda logs: -by_modes(*np.exp(logs)), np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6}
    )
    np.testing.assert_allclose(values, np.exp(found.x), rtol=1e-3)


def test_the_curve_is_the_profile_of_the_evidence():
    x = grid(60)
    y = simulate(OrnsteinUhlenbeck(1.0, 1.5, 0.5), x, 8)
    curve = tune(OrnsteinUhlenbeck(), x, y, masses=[0.3, 1.0, 3.0]).curve
    for mass, height, amplitude, noise in zip(*dataclasses.astuple(curve), strict=True):
        at = OrnsteinUhlenbeck(mass, amplitude, noise)
        np.testing.assert_allclose(reference(at, x, y), height, rtol=1e-10)
        for step in ((1.02, 1), (0.98, 1), (1, 1.02), (1, 0.98), (1.02, 1.02), (0.98, 0.98)):
            moved = dataclasses.replace(at, amplitude=amplitude * step[0], noise=noise * step[1])
            assert reference(moved, x, y) < height


@pytest.mark.parametrize(
    "fields", [("mass",), ("amplitude",), ("noise",), ("amplitude", "noise"), ("mass", "noise")]
)
def test_only_the_named_fields_move_and_they_are_at_their_best(fields):
    x, start = grid(60), OrnsteinUhlenbeck(1.2, 1.3, 0.6)
    y = simulate(OrnsteinUhlenbeck(1.0, 1.5, 0.5), x, 8)
    tuned = tune(start, x, y, fields=fields)
    best = reference(tuned.network, x, y)
    np.testing.assert_allclose(tuned.log_evidence, best, rtol=1e-10)
    assert set(tuned.standard_errors) == set(fields)
    for name in ("mass", "amplitude", "noise"):
        value = getattr(tuned.network, name)
        if name in fields:
            for factor in (0.98, 1.02):
                assert reference(dataclasses.replace(tuned.network, **{name: value * factor}), x, y) < best
        else:
            assert value == getattr(start, name)


@pytest.mark.slow
def test_simulated_values_are_recovered_within_their_standard_errors():
    truth, x, seeds = OrnsteinUhlenbeck(1.0, 1.5, 0.5), grid(200), 40
    scores, p_values = [], []
    for seed in range(seeds):
        y = simulate(truth, x, seed)
        tuned = tune(OrnsteinUhlenbeck(), x, y, masses=np.geomspace(0.2, 5, 7))
        values = {name: getattr(tuned.network, name) for name in tuned.standard_errors}
        scores.append(
            [np.log(v / getattr(truth, k)) * v / tuned.standard_errors[k] for k, v in values.items()]
        )
        p_values.append(stats.chi2.sf(2 * (tuned.log_evidence - reference(truth, x, y)), 3))
    covered = np.sum(np.abs(scores) < stats.norm.isf(0.025), axis=0)
    lowest, highest = stats.binom.ppf([1e-3, 1 - 1e-3], seeds, 0.95)
    assert np.all((covered >= lowest) & (covered <= highest)), covered
    # Wilks: twice the gain in log evidence over the truth is χ² of three degrees of freedom
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    # negative control: errors half as large would be found out
    halved = np.sum(np.abs(scores) < stats.norm.isf(0.025) / 2, axis=0)
    assert np.all(halved < lowest), halved


def test_white_noise_has_no_amplitude_and_says_so():
    x, y = grid(80), np.random.default_rng(2).normal(size=80)
    alternating = y - np.convolve(np.pad(y, 1, mode="edge"), np.ones(3) / 3, mode="valid")  # anticorrelated
    tuned = tune(OrnsteinUhlenbeck(), x, alternating, masses=[0.5, 1.0, 2.0])
    assert "amplitude" in tuned.at_edge
    assert "no signal" in tuned.status
    np.testing.assert_allclose(tuned.network.noise, alternating.std(), rtol=0.02)


def test_noiseless_data_end_at_the_stated_lower_bound():
    # a running mean has positively correlated increments, where noise would make them negatively correlated
    x = grid(80)
    rough = simulate(OrnsteinUhlenbeck(1.0, 1.5, 1e-6), grid(82), 3)
    y = np.convolve(rough, np.ones(3) / 3, mode="valid")
    tuned = tune(OrnsteinUhlenbeck(), x, y)
    assert tuned.at_edge == ("noise",)
    np.testing.assert_allclose(tuned.network.noise, 1e-3 * np.sqrt(np.mean(y**2)), rtol=1e-12)
    assert np.isnan(tuned.standard_errors["noise"])
    assert np.isfinite(tuned.standard_errors["mass"])
    assert "do not resolve" in tuned.status
    noise_only = tune(dataclasses.replace(tuned.network, noise=0.3), x, y, fields=["noise"])
    assert noise_only.at_edge == ("noise",)


def test_a_mass_outside_the_scan_is_said():
    x = grid(100)
    y = simulate(OrnsteinUhlenbeck(1.0, 1.5, 0.3), x, 3)
    tuned = tune(OrnsteinUhlenbeck(), x, y, masses=[6.0, 8.0, 10.0])
    assert "mass" in tuned.at_edge
    assert "edge of the scan, 6 to 10" in tuned.status
    assert "edge" not in tune(OrnsteinUhlenbeck(), x, y).status


def test_the_tree_holds_curve_values_and_status():
    x = grid(40)
    tuned = tune(OrnsteinUhlenbeck(), x, simulate(OrnsteinUhlenbeck(), x, 1))
    node = tuned.tree["tuning"]
    assert node["log_evidence"].dims == ("mass",)
    np.testing.assert_array_equal(node["mass"], tuned.curve.mass)
    assert node.attrs["mass"] == tuned.network.mass
    assert node.attrs["status"] == tuned.status
    assert all(isinstance(value, str | int | float) for value in node.attrs.values())


@dataclass(frozen=True)
class Linear(OrnsteinUhlenbeck):
    """Covariance linear in the amplitude, against the convention."""

    def covariance(self, x1, x2):
        return super().covariance(x1, x2) / self.amplitude


def test_what_cannot_be_tuned_is_refused():
    x, y = grid(10), np.arange(10.0)
    network = OrnsteinUhlenbeck()
    with pytest.raises(TypeError, match="Covariance"):
        tune(object(), x, y)
    with pytest.raises(TypeError, match="amplitude²"):
        tune(Linear(), x, y)
    with pytest.raises(ValueError, match="'box'"):
        tune(network, x, y, fields=["box"])
    with pytest.raises(ValueError, match="do not fit"):
        tune(network, x, y[:5])
    with pytest.raises(ValueError, match="nothing to tune"):
        tune(network, x, 0 * y)
    for masses in ([], [-1.0, 1.0], [2.0, 1.0], [np.nan]):
        with pytest.raises(ValueError, match="masses"):
            tune(network, x, y, masses=masses)


# --- the noise's posterior --------------------------------------------------------------------------


@partial(jax.jit, static_argnames="n")
def gaussian_noise_posterior(values, coefficients, n, squares, observations, centre, spread):
    """Return the NoisePosterior under σ ~ LogNormal(log centre, spread); one program per shape."""

    def log_prior(log_sigma):
        z = (log_sigma - jnp.log(centre)) / spread
        return -0.5 * z**2 - log_sigma - jnp.log(spread * np.sqrt(2 * np.pi))

    return noise_posterior(
        values,
        coefficients,
        n,
        residual_sum_squares=squares,
        log_prior=log_prior,
        observations=observations,
        centre=centre,
        spread=spread,
    )


def noise_case(observations, *, centre=0.5, spread=0.8, rank=None, outputs=2, n=25, sigma=0.3):
    """Return a NoisePosterior and the unnormalised log density of log σ by another route: `log_evidence`."""
    rng = np.random.default_rng(7)
    size = rank or n
    features = rng.normal(size=(n, size)) / np.sqrt(size)
    kernel = features @ features.T
    y = features @ rng.normal(size=(size, outputs)) + sigma * rng.normal(size=(n, outputs))
    values, vectors = np.linalg.eigh(kernel)
    values, vectors = np.maximum(values[-size:], 0), vectors[:, -size:]
    coefficients = vectors.T @ y

    def log_prior(log_sigma):
        z = (log_sigma - np.log(centre)) / spread
        return -0.5 * z**2 - log_sigma - np.log(spread * np.sqrt(2 * np.pi))

    squares = max(np.sum(y**2) - np.sum(coefficients**2), 0.0)
    found = gaussian_noise_posterior(values, coefficients, n, squares, observations, centre, spread)

    def log_density(log_sigma):
        evidence = log_evidence(jnp.asarray(kernel), jnp.asarray(y), np.exp(2 * log_sigma), observations / n)
        return float(evidence) + log_prior(log_sigma) + log_sigma

    return found, log_density


CASES = {
    "T = n": {"observations": 25.0},
    "tempered": {"observations": 1.7},
    "low rank": {"observations": 25.0, "rank": 5},
    "prior in conflict with the data": {"observations": 25.0, "centre": 30.0, "spread": 0.05},
    "wide prior": {"observations": 25.0, "spread": 4.0, "sigma": 1e-3, "rank": 5},
}


@pytest.mark.parametrize("case", CASES)
def test_noise_posterior_is_the_one_by_quadrature(case):
    found, log_density = noise_case(**CASES[case])
    top = float(found.log_noise[np.argmax(found.log_density)])
    ends = float(found.log_noise[0]), float(found.log_noise[-1])
    height = log_density(top)

    def moment(power):
        inner = [
            quad(lambda u: u**power * np.exp(log_density(u) - height), *ab, epsrel=1e-11, limit=200)[0]
            for ab in ((ends[0], top), (top, ends[1]))
        ]
        return sum(inner)

    total = moment(0)
    np.testing.assert_allclose(found.log_evidence, height + np.log(total), atol=1e-8)
    np.testing.assert_allclose(found.mean(jnp.log), moment(1) / total, rtol=1e-7)
    np.testing.assert_allclose(found.mean(lambda s: jnp.log(s) ** 2), moment(2) / total, rtol=1e-7)
    assert found.quadrature_error < 1e-8
    # nothing lies outside the grid: the density there is e⁻⁵⁰ of its maximum or less
    assert max(log_density(ends[0] - 1e-3), log_density(ends[1] + 1e-3)) - height < -50
    assert found.edge < -50


def test_no_observations_leave_the_prior():
    found, _ = noise_case(0.0, centre=0.5, spread=0.8)
    np.testing.assert_allclose(found.log_evidence, 0, atol=1e-10)
    np.testing.assert_allclose(found.mean(jnp.log), np.log(0.5), rtol=1e-9)
    np.testing.assert_allclose(found.mean(lambda s: jnp.log(s / 0.5) ** 2), 0.64, rtol=1e-9)


def test_draws_follow_the_density_and_not_another(getkey):
    found, _ = noise_case(25.0)
    logs, step = np.asarray(found.log_noise), float(found.log_noise[1] - found.log_noise[0])
    cumulative = (
        np.cumsum(np.exp(np.asarray(found.log_density))) * step
        - 0.5 * np.exp(np.asarray(found.log_density)) * step
    )
    draws = np.log(np.asarray(found.sample(getkey(), 20000)))
    assert stats.kstest(draws, lambda u: np.interp(u, logs, cumulative)).pvalue > 1e-3
    # negative control: the posterior at another T
    other, _ = noise_case(20.0)
    wrong = np.log(np.asarray(other.sample(getkey(), 20000)))
    assert stats.kstest(wrong, lambda u: np.interp(u, logs, cumulative)).pvalue < 1e-6


def test_draws_repeat_for_a_key():
    found, _ = noise_case(25.0)
    np.testing.assert_array_equal(found.sample(jax.random.key(1), 50), found.sample(jax.random.key(1), 50))


@jax.jit
def member_noise(values, coefficients, observations):
    """Return log evidence, mean of log σ and quadrature error of one member."""
    found = noise_posterior(
        values,
        coefficients,
        12,
        residual_sum_squares=0.0,
        log_prior=lambda u: -0.5 * u**2 - u,
        observations=observations,
        centre=1.0,
        spread=1.0,
    )
    return found.log_evidence, found.mean(jnp.log), found.quadrature_error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_posterior_under_jit_and_vmap_over_members(dtype):
    rng = np.random.default_rng(0)
    values = rng.gamma(1.0, size=(3, 12)).astype(dtype)
    coefficients = rng.normal(size=(3, 12, 1)).astype(dtype)
    members = jax.jit(jax.vmap(member_noise, in_axes=(0, 0, None)))
    together = members(values, coefficients, dtype(6.0))
    assert together[0].dtype == dtype
    together = [np.asarray(part) for part in together]
    for k in range(3):
        alone = member_noise(values[k].astype(float), coefficients[k].astype(float), 6.0)
        tolerance = 1e-4 if dtype == np.float32 else 1e-10
        np.testing.assert_allclose(
            [together[0][k], together[1][k]], alone[:2], rtol=tolerance, atol=tolerance
        )
    assert np.all(together[2] < (1e-5 if dtype == np.float32 else 1e-10))
