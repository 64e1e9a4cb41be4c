"""Strict numerics for every test, and a small network that no module of the library knows."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

jax.config.update("jax_enable_x64", True)

# The rooms of functions of arrays. As they are imported their annotations become checks, of each argument and
# each result in every test: the library is imported after this, never before.
ARRAY_ROOMS = (
    "brg_prob.activations",
    "brg_prob.arrays",
    "brg_prob.correlators",
    "brg_prob.correspondence.two_sample",
    "brg_prob.erg",
    "brg_prob.geometry.contraction",
    "brg_prob.geometry.eigen",
    "brg_prob.geometry.lanczos",
    "brg_prob.geometry.transport",
    "brg_prob.geometry.vectors",
    "brg_prob.interactions",
    "brg_prob.kernels",
    "brg_prob.spectra",
)
jaxtyping.install_import_hook(
    ARRAY_ROOMS, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)


def pytest_collection_modifyitems(config, items):
    """Leave the exams to ``-m exam``; put slow files first, so that no process waits at the end."""
    if config.option.markexpr != "exam":
        config.hook.pytest_deselected(items=[item for item in items if "exam" in item.keywords])
        items[:] = [item for item in items if "exam" not in item.keywords]
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def array_rooms():
    """Return the names of the rooms whose shapes are checked."""
    return ARRAY_ROOMS


@pytest.fixture
def own_refusals():
    """Leave the shapes unchecked: what is refused, the functions refuse by themselves, as for any caller."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def getkey():
    """Return a function that gives a new, reproducible key at each call."""
    state = {"key": jax.random.key(20240517)}

    def next_key():
        state["key"], sub = jax.random.split(state["key"])
        return sub

    return next_key


@dataclass(frozen=True)
class RandomCosines:
    """Linear readout of random cosines; prior mean and variance of the readout as given."""

    width: int = 40
    noise: float = 0.5
    noise_spread: float = 0.0
    outputs: int = 1
    mean: float = 0.3
    variance: float = 0.7
    neuronwise = True

    def sample_hidden(self, key):
        """Draw frequencies and phases."""
        w, b = jax.random.split(key)
        return {
            "w": 3 * jax.random.normal(w, (self.width,)),
            "b": jax.random.uniform(b, (self.width,), maxval=6.3),
        }

    def features(self, x, hidden):
        """Return (n, P) cosines."""
        return jnp.cos(x[:, :1] * hidden["w"][None, :] + hidden["b"][None, :])

    def readout_prior(self, hidden):
        """Return the isotropic prior."""
        from brg_prob.network import isotropic_prior

        return isotropic_prior(self.width, self.outputs, mean=self.mean, variance=self.variance)

    def __call__(self, x, y=None):
        """Run as a NumPyro model with the hidden layers of a fixed key."""
        weights = numpyro.sample(
            "readout",
            dist.Normal(self.mean, np.sqrt(self.variance)).expand([self.width, self.outputs]).to_event(2),
        )
        f = self.features(x, self.sample_hidden(jax.random.key(7))) @ weights
        f = numpyro.deterministic("f", f[:, 0] if self.outputs == 1 else f)
        return numpyro.sample("y", dist.Normal(f, self.noise).to_event(f.ndim), obs=y)


@pytest.fixture
def random_cosines():
    """Return the class of the small network."""
    return RandomCosines


@pytest.fixture
def sine_data():
    """Thirty noisy points of a sine, and eleven held out: x (30, 1), y (30,), x' (11, 1), y' (11,)."""
    x = jnp.linspace(0, 3, 30)[:, None]
    y = jnp.sin(3 * x[:, 0]) + 0.5 * jax.random.normal(jax.random.key(0), (30,))
    other = jnp.linspace(0.05, 2.9, 11)[:, None]
    return x, y, other, jnp.sin(3 * other[:, 0])


class DenseOracle:
    """The same posterior by dense numpy in weight space: no dual, no modes, no library code."""

    def __init__(self, network, hidden, x, y, observations):
        self.network, self.hidden = network, hidden
        phi = self.phi = np.asarray(network.features(x, hidden))
        n, count = phi.shape
        y = np.asarray(y).reshape(n, -1)
        precision = np.eye(count) / network.variance + observations / n * phi.T @ phi / network.noise**2
        self.cov = np.linalg.inv(precision)
        shift = np.full((count, y.shape[1]), network.mean) / network.variance
        self.mean = self.cov @ (shift + observations / n * phi.T @ y / network.noise**2)

    def field(self, x):
        """Return mean (m, o) and covariance (m, m) of the field."""
        phi = np.asarray(self.network.features(x, self.hidden))
        return phi @ self.mean, phi @ self.cov @ phi.T


@pytest.fixture
def dense_oracle():
    """Return the class of the dense oracle."""
    return DenseOracle
