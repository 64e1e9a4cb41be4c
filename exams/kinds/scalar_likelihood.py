"""A likelihood with scalar parameters and a vector of observations, without a plate: a law for each row."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression, quadrature


def normal(x, y=None):
    """Observe a mean."""
    mu = numpyro.sample("mu", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def poisson(x, y=None):
    """Observe counts of one rate."""
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("y", dist.Poisson(rate), obs=y)


def gamma(x, y=None):
    """Observe waiting times of one rate."""
    rate = numpyro.sample("rate", dist.Gamma(3.0, 1.0))
    numpyro.sample("y", dist.Gamma(2.0, rate), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind; the last two are conjugate, Gamma(α + …, β + …)."""
    time = np.arange(30)
    y, hits = 2 + random.normal(size=30), random.poisson(3.0, size=30)
    waits = random.gamma(2.0, 1 / 1.5, size=30)
    mean = Regression(("mu",), np.ones((30, 1)), y, 10, 1)
    counted = quadrature(
        lambda rate: (1 + hits.sum()) * np.log(rate) - 31 * rate, rate=np.linspace(1e-3, 8, 20001)
    )
    shape, inverse = 3 + 60, 1 + waits.sum()
    return [
        Case("normal", {"t": time, "y": y}, mean.posterior, mean.information, engine="laplace"),
        Case("poisson", {"t": time, "y": hits}, counted),
        Case("gamma", {"t": time, "y": waits}, {"rate": (shape / inverse, np.sqrt(shape) / inverse)}),
    ]
