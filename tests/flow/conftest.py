"""Posteriors of small models drawn without the library: closed form, and a grid by inverse distribution."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob.geometry.site_metric import site_metric
from brg_prob.network import Conditioned
from brg_prob.posterior import OneByOne, as_data
from brg_prob.posterior.model_tree import model_tree
from brg_prob.results import key_to_json

_READ = {}


def conditioned_on(network, x, y):
    """Return a model with its data, read once, so that all trees of a model share a program."""
    key = (network, np.asarray(x).tobytes(), np.asarray(y).tobytes())
    if key not in _READ:
        _READ[key] = Conditioned.of(network, x, y)
    return _READ[key]


@dataclass(frozen=True)
class Oracle(OneByOne):
    """An engine whose draws are exact and independent: ``draw(T, draws, rng)`` gives site → (draws, …)."""

    draw: Any
    chains: int = 1
    independent: int = 1
    diverging: int = 0
    starts: list = field(default_factory=list)

    def fit(self, network, data, *, key, draws, observations, start=None):
        """Return the tree of draws at T."""
        self.starts.append(None if start is None else float(start.attrs["observations"]))
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        values = self.draw(observations, draws, rng)
        conditioned = conditioned_on(network, data.x, data.y)
        stats = np.arange(draws).reshape(self.chains, -1) < self.diverging
        return model_tree(
            conditioned,
            {name: v.reshape(self.chains, -1, *v.shape[1:]) for name, v in values.items()},
            attrs={
                "engine": "oracle",
                "observations": float(observations),
                "independent": self.independent,
                "key": key_to_json(key),
            },
            held_out=None if data.held_out is None else conditioned_on(network, *data.held_out),
            sample_stats={"diverging": stats},
        )

    def posterior(self, network, x, y, *, draws, seed=0, held_out=None):
        """Return the tree at T = n."""
        data = as_data(x, y, held_out, missing=True)
        return self.fit(network, data, key=jax.random.key(seed), draws=draws, observations=float(len(x)))


@pytest.fixture(scope="session")
def metric_at():
    """Return the function that takes a metric at the mean of a posterior."""

    def metric(posterior, network, x, y):
        data = as_data(x, y, missing=True)
        return site_metric(conditioned_on(network, data.x, data.y), at=posterior)

    return metric


@pytest.fixture(scope="session")
def oracle():
    """Return the class of the exact engine."""
    return Oracle


class Line:
    """y = w₀ + w₁x + noise, priors of w with means that are not zero; all posteriors in closed form."""

    mean, spread, noise = np.array([1.0, -0.5]), np.array([2.0, 0.7]), 0.8

    def __init__(self):
        rng = np.random.default_rng(11)
        self.x = rng.uniform(-1, 1, size=(12, 1))
        self.y = 0.3 + 0.9 * self.x[:, 0] + self.noise * rng.normal(size=12)
        x = rng.uniform(-1, 1, size=(5, 1))
        self.held_out = x, 0.3 + 0.9 * x[:, 0] + self.noise * rng.normal(size=5)

    def __call__(self, x, y=None):
        w = numpyro.sample("w", dist.Normal(self.mean, self.spread).to_event(1))
        f = numpyro.deterministic("f", w[0] + w[1] * x[:, 0])
        numpyro.sample("y", dist.Normal(f, self.noise), obs=y)

    def law(self, observations):
        """Return mean and covariance of w at T."""
        phi = np.stack([np.ones(12), self.x[:, 0]], axis=1)
        weight = observations / 12 / self.noise**2
        covariance = np.linalg.inv(np.diag(self.spread**-2) + weight * phi.T @ phi)
        return covariance @ (self.mean / self.spread**2 + weight * phi.T @ self.y), covariance

    def draw(self, observations, draws, rng):
        """Return independent draws of w at T."""
        return {"w": rng.multivariate_normal(*self.law(observations), size=draws)}


@pytest.fixture(scope="session")
def line():
    """Return the linear-Gaussian model with its data."""
    return Line()


class Bend:
    """f = tanh(3a·x) + b/2, a and b N(0, 1), few data; posteriors drawn from a grid of 600 × 600 cells."""

    noise = 0.3

    def __init__(self):
        self.x = np.array([-0.9, -0.3, 0.2, 0.8])[:, None]
        self.y = np.array([-0.9, -0.5, 0.4, 1.1])
        self._axis = np.linspace(-6, 6, 600)
        a, b = np.meshgrid(self._axis, self._axis, indexing="ij")
        f = np.tanh(3 * a[..., None] * self.x[:, 0]) + 0.5 * b[..., None]
        self._likelihood = -0.5 * np.sum((self.y - f) ** 2, axis=-1) / self.noise**2
        self._prior = -0.5 * (a**2 + b**2)

    def __call__(self, x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        f = numpyro.deterministic("f", jax.numpy.tanh(3 * a * x[:, 0]) + 0.5 * b)
        numpyro.sample("y", dist.Normal(f, self.noise), obs=y)

    def draw(self, observations, draws, rng):
        """Return independent draws at T, uniform within cells."""
        log = self._prior + observations / 4 * self._likelihood
        cells = np.cumsum(np.exp(log - log.max()).ravel())
        at = np.searchsorted(cells, rng.uniform(0, cells[-1], size=draws))
        width = self._axis[1] - self._axis[0]
        a, b = (
            self._axis[i] + width * rng.uniform(-0.5, 0.5, draws) for i in np.unravel_index(at, log.shape)
        )
        return {"a": a, "b": b}


@pytest.fixture(scope="session")
def bend():
    """Return the nonlinear model with its data."""
    return Bend()


@pytest.fixture(scope="session")
def start(line, oracle):
    """Return 4000 independent draws of the line's posterior at T = n."""
    return oracle(line.draw).posterior(line, line.x, line.y, draws=4000, held_out=line.held_out)


@pytest.fixture(scope="session")
def metric(start, line, metric_at):
    """Return the line's metric."""
    return metric_at(start, line, line.x, line.y)
