"""A line through eight points, sampled once by NumPyro alone: what engines for any model are held against."""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import infer

from brg_prob.posterior.nuts import STATISTICS


class Line:
    """Intercept and slope with a normal prior whose mean is not zero, known noise; counts its runs."""

    mean, spread, noise = 0.3, 1.2, 0.5
    x = np.linspace(-1.0, 1.0, 8)[:, None]
    y = 1.0 + 0.5 * x[:, 0] + 0.5 * np.random.default_rng(0).normal(size=8)
    key = jax.random.key(3)
    draws = 1000

    def __init__(self):
        self.runs = 0

    def __call__(self, x, y=None):
        """Run as a NumPyro model."""
        self.runs += 1
        w = numpyro.sample("w", dist.Normal(self.mean, self.spread).expand([2]).to_event(1))
        f = numpyro.deterministic("f", w[0] + w[1] * x[:, 0])
        with numpyro.plate("rows", x.shape[0]):
            return numpyro.sample("y", dist.Normal(f, self.noise), obs=y)

    def posterior(self, y, observations):
        """Return mean (2,) and covariance (2, 2) given T observations, by dense algebra, without NaN rows."""
        rows = ~np.isnan(y)
        design = np.column_stack([np.ones(rows.sum()), self.x[rows, 0]])
        weight = observations / rows.sum() / self.noise**2
        covariance = np.linalg.inv(np.eye(2) / self.spread**2 + weight * design.T @ design)
        shift = np.full(2, self.mean) / self.spread**2 + weight * design.T @ y[rows]
        return covariance @ shift, covariance


@pytest.fixture(scope="session")
def line():
    """Return the model with its data."""
    return Line()


@pytest.fixture(scope="session")
def bare_run(line):
    """Return a finished NumPyro run of the line, with which the library has nothing to do."""
    data = jax.numpy.asarray(line.x), jax.numpy.asarray(line.y)
    mcmc = infer.MCMC(
        infer.NUTS(lambda: line(*data), init_strategy=infer.init_to_median),
        num_warmup=200,
        num_samples=line.draws // 4,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(line.key, extra_fields=STATISTICS)
    return mcmc
