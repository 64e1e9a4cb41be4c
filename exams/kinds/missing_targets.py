"""Several targets, some of them missing: what is missing counts for nothing, and nothing takes its place."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression, moments


def two_sites(x, y=None):
    """Observe each column by a site of its own."""
    a = numpyro.sample("a", dist.Normal(0, 10))
    f = numpyro.deterministic("f", a * jnp.ones(x.shape[0]))
    numpyro.sample("u", dist.Normal(f, 1), obs=None if y is None else y[:, 0])
    numpyro.sample("v", dist.Normal(f, 1), obs=None if y is None else y[:, 1])


def two_laws(x, y=None):
    """Observe one column as counts, the other as a measurement."""
    a = numpyro.sample("a", dist.Gamma(2.0, 1.0))
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("u", dist.Poisson(a), obs=None if y is None else y[:, 0])
        numpyro.sample("v", dist.Exponential(a), obs=None if y is None else y[:, 1])


def joint(x, y=None):
    """Observe both at once, correlated: a row that lacks one has no density of its own, and is left out."""
    a = numpyro.sample("a", dist.Normal(0, 10))
    covariance = jnp.array([[1.0, 0.5], [0.5, 1.0]])
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("uv", dist.MultivariateNormal(a * jnp.ones(2), covariance), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    n, drop = 10, ("--drop-missing",)
    u, v = 4 + random.normal(size=n), 4 + random.normal(size=n)
    u[[0, 3]], v[[3, 5]] = np.nan, np.nan
    there = np.concatenate([u, v])
    there = there[np.isfinite(there)]
    right = Regression(("a",), np.ones((len(there), 1)), there, 10, 1)
    hits, waits = random.poisson(2.0, size=n).astype(float), random.exponential(0.5, size=n)
    hits[2], waits[7] = np.nan, np.nan
    shape = 2 + np.nansum(hits) + (n - 1)
    rate = 1 + (n - 1) + np.nansum(waits)
    whole = np.isfinite(u + v)
    precision = np.linalg.inv([[1.0, 0.5], [0.5, 1.0]]).sum()
    variance = 1 / (whole.sum() * precision + 1 / 100)
    mean = variance * precision * np.sum((u + v)[whole]) / 2
    table = {"x": np.arange(n), "u": u, "v": v}
    return [
        Case("two_sites", table, right.posterior, engine="laplace", target="u,v", words=drop),
        Case(
            "two_laws",
            {"x": np.arange(n), "u": hits, "v": waits},
            {"a": (shape / rate, np.sqrt(shape) / rate)},
            target="u,v",
            words=drop,
        ),
        Case(
            "joint",
            table,
            moments(("a",), [mean], [[variance]]),
            target="u,v",
            engine="laplace",
            words=drop,
            says=("left out whole",),
        ),
        Case("two_sites", table, target="u,v", refused="3 of 10 rows with missing.*--drop-missing"),
    ]
