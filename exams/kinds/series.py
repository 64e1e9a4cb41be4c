"""A mean that depends on earlier rows: all rows train, unless the last ones are held out."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression


def autoregression(x, y=None):
    """Observe each row given the one before."""
    phi = numpyro.sample("phi", dist.Normal(0, 1))
    past = jnp.zeros(x.shape[0]) if y is None else jnp.concatenate([jnp.zeros(1), y[:-1]])
    numpyro.sample("y", dist.Normal(phi * past, 1), obs=y)


def two_lags(x, y=None):
    """Observe each row given the two before."""
    phi = numpyro.sample("phi", dist.Normal(0, 1).expand([2]).to_event(1))
    past = [jnp.zeros(x.shape[0]) for _ in (1, 2)]
    if y is not None:
        past = [jnp.concatenate([jnp.zeros(lag), y[:-lag]]) for lag in (1, 2)]
    numpyro.sample("y", dist.Normal(phi[0] * past[0] + phi[1] * past[1], 1), obs=y)


def lagged(y, lag=1):
    """Return earlier values, zeros before the first."""
    return np.concatenate([np.zeros(lag), y[:-lag]])


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind; a block is scored one step ahead, given all earlier rows."""
    n, y = 120, np.zeros(120)
    for t in range(2, n):
        y[t] = 0.5 * y[t - 1] + 0.3 * y[t - 2] + random.normal()
    table = {"t": np.arange(n), "y": y}
    past = lagged(y)[:, None]
    one = Regression(("phi",), past, y, 1, 1)
    first = Regression(("phi",), past[:90], y[:90], 1, 1)
    two = Regression(("phi[0]", "phi[1]"), np.stack([lagged(y), lagged(y, 2)], axis=1), y, 1, 1)
    block = ("--held-out", "block", "--held-out-fraction", "0.25")
    return [
        Case("autoregression", table, one.posterior, one.information, engine="laplace"),
        Case("two_lags", table, two.posterior, two.information, engine="laplace"),
        Case(
            "autoregression",
            table,
            first.posterior,
            score=first.score(past[90:], y[90:]),
            engine="laplace",
            words=block,
        ),
        Case("autoregression", table, words=("--held-out", "alternate"), refused="held.out|hold"),
    ]
