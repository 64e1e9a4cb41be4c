"""A cos-net whose spectral density is overridden is drawn and predicted by that, and by nothing else."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brg_prob.correspondence.predictions import erg_prediction
from brg_prob.prior import sample_prior
from brg_prob.spectra import FreeScalar, Matern, NetworkDensity, own_spectrum
from models.cosnet import CosNet


class Louder(CosNet):
    """Four times the free scalar's density."""

    def spectral_density(self, p):
        return 4 * super().spectral_density(p)


class Bump(CosNet):
    """A density of its own, which its mass enters and no spectrum that it names."""

    def spectral_density(self, p):
        return jnp.exp(-0.5 * jnp.square(jnp.asarray(p) / self.mass))


GEOMETRIES = [
    {"dim": 1, "box": 5.0, "cutoff": 8.0},
    {"dim": 2, "width": 12, "cutoff": 5.0, "amplitude": 1.3, "spectrum": Matern(1.5)},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=["lattice", "random momenta"])
def test_four_times_the_density_is_four_times_every_second_moment(geometry):
    plain, louder = CosNet(**geometry), Louder(**geometry)
    x = np.random.default_rng(0).uniform(0, 4, (5, plain.dim))
    hidden = plain.sample_hidden(jax.random.key(1))
    np.testing.assert_allclose(louder.features(x, hidden), 2 * plain.features(x, hidden), rtol=1e-14)
    np.testing.assert_allclose(louder.covariance(x, x), 4 * plain.covariance(x, x), rtol=1e-9, atol=1e-12)
    draws = [
        np.asarray(sample_prior(network, x, key=jax.random.key(2), draws=20)["prior"]["f"].values)
        for network in (plain, louder)
    ]
    np.testing.assert_allclose(draws[1], 2 * draws[0], rtol=1e-12)


def test_the_prediction_is_that_of_the_overridden_density():
    plain, louder = CosNet(**GEOMETRIES[0]), Louder(**GEOMETRIES[0])
    x = (np.arange(40) / 8)[:, None]
    p = np.linspace(0, 9, 30)
    found = erg_prediction(louder, x)
    expected = np.where(p <= 8, 4 / (p**2 + 1), 0)
    np.testing.assert_allclose(found.g0(p), expected, rtol=1e-14)
    np.testing.assert_allclose(erg_prediction(plain, x).g0(p), expected / 4, rtol=1e-14)  # control
    np.testing.assert_allclose(
        found.fisher_eigenvalue(p), 4 * np.asarray(erg_prediction(plain, x).fisher_eigenvalue(p)), rtol=1e-14
    )
    # the features' Gram matrix over the box has T9's eigenvalues
    features = np.asarray(louder.features(x, {}))
    gram = np.sort(np.linalg.eigvalsh(features.T @ features / len(x)))[::-1]
    modes = np.concatenate([[0.0], np.repeat(2 * math.pi / 5 * np.arange(1, 7), 2)])
    np.testing.assert_allclose(gram, np.asarray(found.g0(modes)) / 5, rtol=1e-10)


def test_another_mass_is_asked_of_the_network_itself():
    network = Bump(box=5.0, cutoff=8.0, mass=2.0)
    amplitude, spectrum = own_spectrum(network)
    assert amplitude == 1 and isinstance(spectrum, NetworkDensity)
    theory = dataclasses.replace(erg_prediction(network, np.arange(4.0)[:, None]), mass=1.0)
    np.testing.assert_allclose(theory.g0(3.0), np.exp(-4.5))
    variance = (1 + 2 * np.exp(-0.5 * (2 * math.pi / 5 * np.arange(1, 7) / 2) ** 2).sum()) / 5
    assert float(network.covariance([[0.3]], [[0.3]])[0, 0]) == pytest.approx(variance)


def test_a_network_that_draws_what_it_names_keeps_its_spectrum_and_every_digit():
    for geometry in (
        GEOMETRIES[0] | {"amplitude": 1.4},
        GEOMETRIES[1],
        {"dim": 3, "box": 2.5, "cutoff": 7.0, "spectrum": Matern(2.0), "amplitude": 0.7},
        {"width": 6, "spectrum": lambda p, m, d: jnp.exp(-m * p)},
    ):
        network = CosNet(**geometry)
        assert own_spectrum(network) == (network.amplitude, network.spectrum)
        p = np.linspace(0, network.cutoff, 20)
        before = network.amplitude**2 * network.spectrum(p, network.mass, network.dim)
        np.testing.assert_array_equal(network._density(p), before)
    with jax.enable_x64(False):
        network = CosNet(dim=3, width=6, amplitude=0.7, spectrum=Matern(2.0))
        assert own_spectrum(network) == (0.7, Matern(2.0))
    assert own_spectrum(CosNet(width=6))[1] == FreeScalar()


def test_an_overridden_density_that_makes_no_sense_is_refused_when_the_network_is_made():
    class Negative(CosNet):
        def spectral_density(self, p):
            return -super().spectral_density(p)

    with pytest.raises(ValueError, match=r"spectrum is -.*not negative"):
        Negative(box=5.0, cutoff=8.0)
