"""Plates with subsample_size: stochastic gradients for SVI, the whole sum for everything else."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression


def indexed(x, y=None):
    """Take rows by the plate's index."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("rows", x.shape[0], subsample_size=8) as i:
        numpyro.sample("y", dist.Normal(w * x[i, 0], 1), obs=None if y is None else y[i])


def subsample(x, y=None):
    """Take rows by numpyro.subsample."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("rows", x.shape[0], subsample_size=8):
        u = numpyro.subsample(x, event_dim=1)
        seen = None if y is None else numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(w * u[:, 0], 1), obs=seen)


def effects(x, y=None):
    """Draw a latent variable in it, too."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("rows", x.shape[0], subsample_size=8) as i:
        e = numpyro.sample("e", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(w * x[i, 0] + e, jnp.ones(e.shape)), obs=None if y is None else y[i])


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind: all rows count."""
    x = random.normal(size=32)
    y = 0.5 * x + random.normal(size=32)
    right = Regression(("w",), x[:, None], y, 1, 1)
    wide = Regression(("w",), x[:, None], y, 1, np.sqrt(2))
    says = ("plate 'rows' is run whole, not subsampled",)
    table = {"x": x, "y": y}
    return [
        Case("indexed", table, right.posterior, right.information, engine="laplace", says=says),
        Case("subsample", table, right.posterior, right.information, engine="laplace", says=says),
        Case("effects", table, wide.posterior, engine="laplace", says=says),
    ]
