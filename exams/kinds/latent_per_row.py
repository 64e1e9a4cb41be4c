"""A latent variable for each row: rows that are held out have one that the data never saw."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression, quadrature


def effects(x, y=None):
    """Draw a mean for each row."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    with numpyro.plate("rows", x.shape[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, 3))
        numpyro.sample("y", dist.Normal(theta, 1), obs=y)


def vector(x, y=None):
    """Draw them at once, without a plate."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    theta = numpyro.sample("theta", dist.Normal(mu, 3).expand([x.shape[0]]).to_event(1))
    numpyro.sample("y", dist.Normal(theta, 1), obs=y)


def counts(x, y=None):
    """Draw a log rate for each row."""
    mu = numpyro.sample("mu", dist.Normal(0, 2))
    with numpyro.plate("rows", x.shape[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, 0.5))
        numpyro.sample("y", dist.Poisson(jnp.exp(theta)), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind: θ is integrated out, in closed form or on a grid."""
    n = 12
    y = 3 + random.normal(size=n) * np.sqrt(10)
    row = np.arange(n)
    right = Regression(("mu",), np.ones((n, 1)), y, 5, np.sqrt(10))
    hits = random.poisson(np.exp(1 + 0.5 * random.normal(size=n)))
    node, weight = np.polynomial.hermite_e.hermegauss(60)

    def density(mu):
        theta = mu[:, None, None] + 0.5 * node
        terms = np.exp(hits[:, None] * theta - np.exp(theta)) @ weight
        return -(mu**2) / 8 + np.log(terms).sum(axis=1)

    return [
        Case("effects", {"row": row, "y": y}, right.posterior, engine="laplace"),
        Case(
            "effects",
            {"row": row, "y": y},
            words=("--held-out", "alternate"),
            refused="held.out|hold",
        ),
        Case("vector", {"row": row, "y": y}, right.posterior, engine="laplace"),
        Case("counts", {"row": row, "y": hits}, quadrature(density, mu=np.linspace(-2, 4, 1201))),
    ]
