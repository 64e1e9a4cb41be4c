"""One column of targets for an observation of shape (n, 1), or several: never broadcast to (n, n)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import gammaln

from exams.kinds.case import Case, Regression, quadrature


def column(x, y=None):
    """Observe (n, 1) with one event dimension."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(w * x, 1.0).to_event(1), obs=y)


def counts(x, y=None):
    """Observe counts (n, 1)."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    numpyro.sample("y", dist.Poisson(jnp.exp(1 + w * x)).to_event(1), obs=y)


def two_columns(x, y=None):
    """Observe (n, 2)."""
    w = numpyro.sample("w", dist.Normal(0, 3))
    mean = w * x[:, :1] * jnp.array([1.0, -2.0])
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, 0.5).to_event(1), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    x = random.normal(size=14)
    y = 1.4 * x + random.normal(size=14)
    line = Regression(("w",), x[:, None], y, 10, 1)
    hits = random.poisson(np.exp(1 + 0.7 * x))
    rate = quadrature(
        lambda w: (
            -(w**2) / 2
            + sum(k * (1 + w * a) - np.exp(1 + w * a) - gammaln(k + 1) for a, k in zip(x, hits, strict=True))
        ),
        w=np.linspace(-1, 2.5, 4001),
    )
    u, v = 0.8 * x + 0.5 * random.normal(size=14), -1.6 * x + 0.5 * random.normal(size=14)
    both = Regression(("w",), np.concatenate([x, -2 * x])[:, None], np.concatenate([u, v]), 3, 0.5)
    return [
        Case("column", {"x": x, "y": y}, line.posterior, line.information, engine="laplace"),
        Case("counts", {"x": x, "y": hits}, rate),
        Case(
            "two_columns",
            {"x": x, "u": u, "v": v},
            both.posterior,
            both.information,
            target="u,v",
            engine="laplace",
        ),
    ]
