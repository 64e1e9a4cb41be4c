"""Prior and posterior field theories: the lattice in closed form, finite width, dense distances."""

import jax
import numpy as np
import pytest
from scipy import integrate, linalg, stats

from brg_prob.geometry import fisher_metric
from brg_prob.observables import field_theory
from brg_prob.posterior import Exact, fit
from models.cosnet import CosNet
from models.mlp import Mlp

STATES = ("prior", "posterior")


@pytest.fixture(scope="module")
def found(lattice, preparation):
    return field_theory(
        lattice.network,
        lattice.posterior,
        lattice.metric,
        key=jax.random.key(3),
        preparation=preparation,
        units={"field": "hPa", "length": "yr"},
    )


def z_of(dataset, name, state, exact):
    """Standardised deviations from a closed form."""
    at = dataset.sel(state=state)
    return (at[name].values - exact) / at[f"{name}_se"].values


def largest(count, level=1e-3):
    """The bound that |z| of ``count`` normal deviations exceeds with probability ``level`` at most."""
    return stats.norm.isf(level / 2 / count)


def two_point(lattice, state, lag, mass=1.0):
    g = 1 / (1 / lattice.propagator(state) + mass**2 - 1)
    return 2.5**2 * np.cos(np.outer(lag, lattice.p)) @ g / 10.0


@pytest.mark.parametrize("state", STATES)
def test_two_point_function_is_the_lattice_sum(found, lattice, state):
    lag = found.lag.values
    assert np.max(np.abs(z_of(found, "two_point", state, two_point(lattice, state, lag)))) < largest(lag.size)
    mass = 1.15 if state == "prior" else 3.0  # the data's mass drowns the prior's
    wrong = z_of(found, "two_point", state, two_point(lattice, state, lag, mass))
    assert np.max(np.abs(wrong)) > 2 * largest(lag.size)
    if state == "prior":
        np.testing.assert_allclose(found.two_point_exact, two_point(lattice, state, lag), rtol=1e-9)


@pytest.mark.parametrize("state", STATES)
def test_a_gaussian_field_has_no_four_point_function(found, state):
    assert np.max(np.abs(z_of(found, "four_point", state, 0.0))) < largest(found.lag.size)
    assert abs(z_of(found, "excess_kurtosis", state, 0.0)) < largest(1)


@pytest.mark.parametrize("state", STATES)
def test_power_and_mass_are_the_propagators(found, lattice, state):
    p = found.momentum.values
    exact = 2.5**2 * lattice.propagator(state)[np.argsort(np.abs(lattice.p), kind="stable")][::2]
    assert p.size == (lattice.p.size + 1) // 2
    np.testing.assert_allclose(p, np.unique(np.abs(lattice.p).round(12)), atol=1e-9)
    assert np.max(np.abs(z_of(found, "power", state, exact))) < largest(p.size)
    mass = 1.0 if state == "prior" else 1 + 48 / (10 * 0.25)
    assert abs(z_of(found, "mass_squared", state, mass)) < largest(1)
    assert abs(z_of(found, "mass_squared", state, 1.5 * mass)) > 5


def test_names_units_and_numbers_of_draws(found):
    assert found.attrs["field_unit"] == "hPa" and found.attrs["length_unit"] == "yr"
    assert (found.attrs["draws_prior"], found.attrs["draws_posterior"]) == (2000, 3000)
    assert found.state.values.tolist() == list(STATES)


def test_distances_of_the_lattice_follow_t6(found, lattice):
    """Plane waves by hand: λ = G0/(L σ²), ẑ from the data's Fourier coefficients."""
    g0, box, noise = lattice.propagator("prior"), 10.0, 0.5
    signal = 48 * g0 / (box * noise**2)
    assert found.effective_dimension.values[1] == pytest.approx(np.sum(signal / (1 + signal)))
    # every ±p pair shares |c_p|² of cosine and sine
    square = np.abs(np.exp(-1j * np.outer(lattice.p, lattice.x[:, 0])) @ lattice.y) ** 2 * box / 48**2
    mean = (signal / (1 + signal)) ** 2 * square / g0
    kl = 0.5 * np.sum(1 / (1 + signal) + mean - 1 + np.log(1 + signal))
    assert found.kl_to_prior.values[1] == pytest.approx(kl)
    moved = np.sum(g0 / box * (mean + (1 - (1 + signal) ** -0.5) ** 2))
    assert found.wasserstein.values[1] == pytest.approx(2.5 * np.sqrt(moved))
    for name in ("effective_dimension", "kl_to_prior", "wasserstein"):
        assert found[name].values[0] == 0


def bures(mean, covariance, other_mean, other):
    """2-Wasserstein distance of two Gaussians, dense."""
    root = linalg.sqrtm(other)
    cross = np.real(linalg.sqrtm(root @ covariance @ root))
    return np.sqrt(np.sum((mean - other_mean) ** 2) + np.trace(covariance + other - 2 * cross))


def test_distances_are_the_dense_ones_with_a_mean_and_hidden_layers(random_cosines, dense_oracle):
    network, n = random_cosines(width=30, noise=0.3), 12
    x = np.sort(np.random.default_rng(0).uniform(0.0, 6.0, (n, 1)), axis=0)
    y = np.sin(2 * x[:, 0])
    posterior = fit(network, x, y, key=jax.random.key(1), draws=60)
    metric = fisher_metric(network, x, at=posterior)
    found = field_theory(network, posterior, metric, key=jax.random.key(2), draws=40)
    hidden = metric.hidden[0]
    before, after = (dense_oracle(network, hidden, x, y, t) for t in (1e-12, float(n)))
    (mean0, cov0), (mean1, cov1) = before.field(x), after.field(x)
    dense = bures(mean1, cov1, mean0, cov0 + 1e-12 * np.eye(n))
    assert found.wasserstein.values[1] == pytest.approx(dense / np.sqrt(n), rel=1e-4)
    assert abs(dense / np.linalg.norm(mean1 - mean0) - 1) > 0.01  # the covariances matter
    precision = np.linalg.inv(after.cov)
    kl = np.trace(after.cov) / 0.7 + np.sum((after.mean - 0.3) ** 2) / 0.7 - 30
    kl += np.linalg.slogdet(precision)[1] + 30 * np.log(0.7)
    assert found.kl_to_prior.values[1] == pytest.approx(0.5 * kl, rel=1e-6)
    dimension = np.trace(np.eye(30) - after.cov / 0.7)
    assert found.effective_dimension.values[1] == pytest.approx(dimension, rel=1e-6)
    # irregular inputs: no spectrum, no mass, the rest is there
    assert "power" not in found and np.isnan(found.mass_squared.values).all()
    assert "two_point_exact" not in found and np.isfinite(found.four_point.values).all()
    assert "given 1 draw(s)" in found.attrs["note"]


def test_finite_width_has_the_four_point_function_of_t3():
    """Random momenta at width N: G4 = (3E[φ²φ'²] − k_xx k_yy − 2k_xy²)/N, by quadrature."""
    width, cutoff = 6, 4.0
    network = CosNet(width=width, cutoff=cutoff, mass=1.0)
    x = np.arange(16)[:, None] * 0.3
    posterior = fit(network, x, np.sin(x[:, 0]), key=jax.random.key(0), draws=1000)
    metric = fisher_metric(network, x, at=posterior)
    found = field_theory(network, posterior, metric, key=jax.random.key(1), draws=20000)

    def average(function):
        return integrate.quad(lambda w: function(w) / (2 * cutoff), -cutoff, cutoff, limit=200)[0]

    def square(w):
        return 2 * 2 * cutoff / (2 * np.pi) / (w**2 + 1)  # A² G0(w)

    lags = found.lag.values
    k = np.array([average(lambda w, r=r: square(w) * np.cos(w * r) / 2) for r in lags])
    pair = [average(lambda w, r=r: square(w) ** 2 * (1 / 4 + np.cos(2 * w * r) / 8)) for r in lags]
    exact = (3 * np.array(pair) - k[0] ** 2 - 2 * k**2) / width
    assert np.max(np.abs(z_of(found, "four_point", "prior", exact))) < largest(lags.size)
    assert np.min(z_of(found, "four_point", "prior", 0.0)) > 5
    assert abs(z_of(found, "excess_kurtosis", "prior", exact[0] / k[0] ** 2)) < largest(1)
    np.testing.assert_allclose(found.two_point_exact, k, rtol=1e-6)
    assert np.max(np.abs(z_of(found, "two_point", "prior", k))) < largest(lags.size)
    # given its hidden layers the posterior is Gaussian
    assert np.max(np.abs(z_of(found, "four_point", "posterior", 0.0))) < largest(lags.size)


def fitted(network, x, *, fewest=None, outputs=1, engine=None):
    """The field theory of a small fit to sines, of 60 draws; of the first few where said so."""
    y = np.sin(np.sum(x, axis=1))[:, None] * (1 + np.arange(outputs))
    y = y[:, 0] if outputs == 1 else y
    posterior = fit(network, x, y, key=jax.random.key(5), draws=60, engine=engine)
    metric = fisher_metric(network, x, at=posterior)

    def found(draws):
        return field_theory(
            network, posterior.isel(draw=slice(draws)), metric, key=jax.random.key(6), draws=30
        )

    return found(60) if fewest is None else [found(draws) for draws in fewest]


def test_two_dimensions_several_outputs_and_members_are_served():
    plane = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    several = fitted(Mlp(widths=(8, 6), dim=2, outputs=2), plane, outputs=2)
    assert several.power.shape == (2, several.momentum.size) and "two_point_exact" not in several
    assert several.two_point.shape == (2, several.lag.size) and several.effective_dimension.values[1] > 0
    scattered = np.random.default_rng(7).uniform(0.0, 4.0, (20, 2))
    members = fitted(CosNet(dim=2, width=12, cutoff=3.0), scattered, engine=Exact(members=3))
    assert "power" not in members and np.isnan(members.mass_squared.values).all()
    assert "given 3 draw(s)" in members.attrs["note"]


def test_a_sampled_noise_is_served_and_too_few_draws_leave_the_distances():
    network, x = CosNet(box=5.0, cutoff=3.0, noise_spread=0.3), np.arange(10.0)[:, None] / 2
    sampled, few, many = fitted(network, x, fewest=(60, 4, 5))
    assert "median noise" in sampled.attrs["note"] and np.isfinite(sampled.wasserstein.values).all()
    assert set(few.data_vars) == {"effective_dimension", "kl_to_prior", "wasserstein"}
    assert few.attrs["draws_posterior"] == 4
    assert "four_point" in many
