"""A gap in a series: the next row's mean needs a value that was never seen, so no answer is right."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from exams.kinds.case import Case


def autoregression(x, y=None):
    """Observe each row given the one before."""
    phi = numpyro.sample("phi", dist.Normal(0, 1))
    past = jnp.zeros(x.shape[0]) if y is None else jnp.concatenate([jnp.zeros(1), y[:-1]])
    numpyro.sample("y", dist.Normal(phi * past, 1), obs=y)


def total(x, y=None):
    """Observe each row given the sum of all before."""
    b = numpyro.sample("b", dist.Normal(0, 1))
    past = jnp.zeros(x.shape[0]) if y is None else jnp.cumsum(y) - y
    numpyro.sample("y", dist.Normal(b * past / x.shape[0], 1), obs=y)


def scanned(x, y=None):
    """Observe inside a scan."""
    phi = numpyro.sample("phi", dist.Normal(0, 1))

    def step(past, now):
        now = numpyro.sample("y", dist.Normal(phi * past, 1), obs=now)
        return now, None

    scan(step, 0.0, y, length=x.shape[0])


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    y = np.cumsum(random.normal(size=30))
    y[[5, 6, 20]] = np.nan
    table = {"t": np.arange(30), "y": y}
    words = ("--drop-missing",)
    return [
        Case(name, table, words=words, refused=r"missing \(NaN\) in row 5")
        for name in ("autoregression", "total", "scanned")
    ]
