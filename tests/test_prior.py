"""Draws of the prior field theory, against exact moments at finite width."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats
from scipy.integrate import quad

from brg_prob.correlators import power_spectrum, two_point
from brg_prob.network import LinearReadout, isotropic_prior
from brg_prob.prior import affordable_draws, sample_prior
from models.cosnet import CosNet

X = jnp.array([[-1.0], [0.3], [1.2]])


@dataclass(frozen=True)
class Relu:
    """One hidden ReLU layer: f = Σ a_i relu(w_i x), w ~ N(0,1), a ~ N(0, 1/width)."""

    width: int = 4
    outputs: int = 1
    noise: float = 0.5
    noise_spread: float = 0.0

    def sample_hidden(self, key):
        """Draw the first layer."""
        return {"w": jax.random.normal(key, (self.width,))}

    def features(self, x, hidden):
        """Return (n, width)."""
        return jax.nn.relu(x * hidden["w"][None, :])

    def readout_prior(self, hidden):
        """Return independent weights."""
        return isotropic_prior(self.width, self.outputs, variance=1 / self.width)

    def __call__(self, x, y=None):
        """Run the same theory as a plain NumPyro model."""
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([self.width]).to_event(1))
        shape = (self.width,) if self.outputs == 1 else (self.width, self.outputs)
        a = numpyro.sample("readout", dist.Normal(0.0, self.width**-0.5).expand(shape).to_event(len(shape)))
        noise = self.noise
        if self.noise_spread:
            noise = numpyro.sample("noise", dist.LogNormal(jnp.log(self.noise), self.noise_spread))
        f = numpyro.deterministic("f", self.features(x, {"w": w}) @ a)
        numpyro.sample("y", dist.Normal(f, noise).to_event(f.ndim), obs=y)


def plain(network):
    """Hide the capability, so that only the NumPyro model is left."""
    return lambda x, y=None: network(x, y)


@pytest.mark.parametrize("wrap", [lambda net: net, plain], ids=["readout", "model"])
def test_draws_have_the_exact_moments_of_a_finite_width(wrap):
    """E f² = x²/2 and T3's G4 = (3/N)(3/2 − 1/4) x⁴: hidden layers are redrawn for each draw."""
    width, draws = 4, 40_000
    assert isinstance(Relu(width), LinearReadout)
    tree = sample_prior(wrap(Relu(width)), X, key=jax.random.key(0), draws=draws)
    f = tree["prior/f"].values[0]
    assert tree["prior/f"].dims == ("chain", "draw", "x") and f.shape == (draws, 3)
    x = np.asarray(X[:, 0])
    for power, exact in ((1, 0 * x), (2, x**2 / 2), (4, 3 * x**4 / 4 + 3 / width * (3 / 2 - 1 / 4) * x**4)):
        z = (np.mean(f**power, axis=0) - exact) / (np.std(f**power, axis=0) / draws**0.5)
        assert np.all(np.abs(z) < 4), (power, z)
    frozen = 3 * x**4 / 4  # what a Gaussian field would have: rejected
    assert np.all(np.abs(np.mean(f**4, axis=0) - frozen) > 10 * np.std(f**4, axis=0) / draws**0.5)


def test_only_f_and_scalars_are_stored():
    network = Relu(noise_spread=0.3)
    for draw_from in (network, plain(network)):
        tree = sample_prior(draw_from, X, key=jax.random.key(1), draws=4000)
        assert set(tree["prior"].data_vars) == {"f", "noise"}
        log_noise = np.log(tree["prior/noise"].values[0])
        assert abs(log_noise.mean() - np.log(0.5)) < 4 * 0.3 / 4000**0.5
        assert abs(log_noise.std() - 0.3) < 4 * 0.3 / 8000**0.5
    np.testing.assert_array_equal(tree["constant_data/inputs"].values, X)
    assert tree.attrs["independent"] == 1


@pytest.mark.parametrize("network", [Relu(), plain(Relu())], ids=["readout", "model"])
def test_same_key_same_draws_and_batches_do_not_matter(network):
    def draw(seed=7, **options):
        return sample_prior(network, X, key=jax.random.key(seed), draws=50, **options)["prior/f"].values

    first = draw()
    np.testing.assert_array_equal(draw(), first)
    np.testing.assert_allclose(draw(batch_size=7), first, rtol=1e-12)
    assert np.all(np.abs(draw(8) - first).max(axis=-1) > 0)


@pytest.mark.parametrize("wrap", [lambda net: net, plain], ids=["readout", "model"])
def test_several_outputs_share_the_hidden_layer(wrap):
    """Outputs are uncorrelated but not independent: E f1² f2² − k² = (σ⁴/N)(E φ⁴ − k²)."""
    tree = sample_prior(wrap(Relu(outputs=2)), X, key=jax.random.key(2), draws=40_000)
    assert tree["prior/f"].dims == ("chain", "draw", "x", "output")
    f = tree["prior/f"].values[0, :, 2]
    product = f[:, 0] ** 2 * f[:, 1] ** 2
    x = float(X[2, 0])
    exact = x**4 / 4 + (3 / 2 - 1 / 4) * x**4 / 4
    assert abs(product.mean() - exact) < 4 * product.std() / 200


def test_a_model_without_f_and_with_covariates():
    def model(x, y=None, offset=0.0):
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Poisson(jnp.exp(slope * x[:, 0] + offset)), obs=y)

    tree = sample_prior(model, X, key=jax.random.key(3), draws=20, covariates={"offset": 1.5})
    slope = tree["prior/slope"].values[0]
    np.testing.assert_allclose(
        tree["prior/f"].values[0], np.exp(slope[:, None] * np.asarray(X[:, 0]) + 1.5), rtol=1e-12
    )


def test_a_draw_is_one_run_of_the_model_with_a_subsampled_plate_run_whole():
    def model(x, y=None):
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([6]).to_event(1))
        with numpyro.plate("rows", 6, subsample_size=2) as rows:
            total = w[rows].sum()
        f = numpyro.deterministic("f", x[:, 0] * total)
        numpyro.sample("y", dist.Normal(f, 1.0).to_event(1), obs=y)

    key = jax.random.key(6)
    f = sample_prior(model, X, key=key, draws=3)["prior/f"].values[0]
    for own, one in zip(f, jax.random.split(key, 3), strict=True):
        run = handlers.trace(handlers.seed(model, one)).get_trace(X)
        np.testing.assert_allclose(own, X[:, 0] * np.sum(run["w"]["value"]), rtol=1e-12)


@pytest.mark.parametrize("wrap", [lambda net: net, plain], ids=["readout", "model"])
def test_lattice_cosnet_draws_have_the_free_propagator(wrap):
    """T4 on an equispaced grid, held against 1/(p² + m²); a mass wrong by a fifth is rejected."""
    network = CosNet(dim=1, cutoff=2 * np.pi / 10 * 15.5, mass=1.0, box=10.0)
    x = jnp.linspace(0.0, 10.0, 40, endpoint=False)[:, None]
    tree = sample_prior(wrap(network), x, key=jax.random.key(4), draws=4000)
    spectrum = power_spectrum(tree["prior/f"].values, x, independent=True)
    alive = spectrum.momentum < network.cutoff
    assert alive.sum() == 16
    np.testing.assert_allclose(spectrum.value[~alive], 0, atol=1e-20)
    for mass, low, high in ((1.0, 1e-3, 1.0), (1.2, 0.0, 1e-6)):
        z = (spectrum.value - 1 / (spectrum.momentum**2 + mass**2))[alive] / spectrum.standard_error[alive]
        assert low <= stats.chi2.sf(np.sum(z**2), 16) <= high


def test_random_cosnet_draws_have_the_exact_covariance_at_small_width():
    """T4: K(0) = arctan(Λ/m)/(πm) at every width, here five neurons."""
    network = CosNet(dim=1, cutoff=6.0, mass=1.0, width=5)
    tree = sample_prior(network, X, key=jax.random.key(5), draws=20_000)
    estimate = two_point(tree["prior/f"].values, independent=True)
    lag = np.abs(np.asarray(X - X.T))
    density = lambda p, r: np.cos(p * r) / (p**2 + 1) / np.pi  # noqa: E731
    exact = np.array([[quad(density, 0, 6, args=(r,))[0] for r in row] for row in lag])
    np.testing.assert_allclose(np.diag(exact), np.arctan(6) / np.pi)
    assert np.all(np.abs(estimate.value - exact) < 4 * estimate.standard_error)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"use x\[:, None\]"):
        sample_prior(Relu(), X[:, 0], key=jax.random.key(0))
    with pytest.raises(ValueError, match="at least 1"):
        sample_prior(Relu(), X, key=jax.random.key(0), draws=0)


def test_as_many_draws_as_take_seconds():
    cosnet = CosNet(width=1000, cutoff=3.0)
    found = [affordable_draws(cosnet, np.zeros((n, 1)), 2000) for n in (100, 1100, 10_000)]
    assert found == [2000, 2**29 // 1_100_000, 200]
    assert affordable_draws(cosnet, np.zeros((10_000, 1)), 100) == 100
    assert affordable_draws(lambda x, y=None: None, np.zeros((10_000, 1)), 2000) == 2000


def test_memory_is_bounded_for_wide_networks():
    """Default batches of a network with 2e5 weights on 100 points stay far below all draws at once."""
    from brg_prob.prior import _batch_size, _readout_parts

    wide = Relu(width=200_000)
    assert _batch_size(_readout_parts(wide, jnp.zeros((100, 1))), jax.random.key(0), 1000) == 1
    assert _batch_size(_readout_parts(Relu(), X), jax.random.key(0), 1000) == 1000
