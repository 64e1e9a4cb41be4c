"""Observed sites inside NumPyro's scan."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from exams.kinds.case import Case, Regression
from exams.kinds.series import lagged


def autoregression(x, y=None):
    """Carry the last value."""
    phi = numpyro.sample("phi", dist.Normal(0, 1))

    def step(past, now):
        now = numpyro.sample("y", dist.Normal(phi * past, 1), obs=now)
        return now, None

    scan(step, 0.0, y, length=x.shape[0])


def driven(x, y=None):
    """Carry the last value, and read the inputs beside."""
    phi = numpyro.sample("phi", dist.Normal(0, 1))
    b = numpyro.sample("b", dist.Normal(0, 1))

    def step(past, row):
        u, now = row
        now = numpyro.sample("y", dist.Normal(phi * past + b * u, 0.5), obs=now)
        return now, None

    scan(step, 0.0, (x[:, 0], y))


def smoothed(x, y=None):
    """Carry a state that the parameters drive, observed with noise."""
    b = numpyro.sample("b", dist.Normal(0, 1))

    def step(state, row):
        u, now = row
        state = 0.5 * state + b * u
        numpyro.sample("y", dist.Normal(state, 0.5), obs=now)
        return state, None

    scan(step, jnp.asarray(0.0, x.dtype), (x[:, 0], y))


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    n = 40
    u, y, z = random.normal(size=n), np.zeros(n), np.zeros(n)
    for t in range(n):
        y[t] = 0.7 * (y[t - 1] if t else 0) + random.normal()
        z[t] = 0.6 * (z[t - 1] if t else 0) + u[t] + 0.5 * random.normal()
    kernel = 0.5 ** np.clip(np.subtract.outer(np.arange(n), np.arange(n)), 0, None) * np.tri(n)
    state = kernel @ u
    w = 0.9 * state + 0.5 * random.normal(size=n)
    first = Regression(("phi",), lagged(y)[:, None], y, 1, 1)
    second = Regression(("phi", "b"), np.stack([lagged(z), u], axis=1), z, 1, 0.5)
    third = Regression(("b",), state[:, None], w, 1, 0.5)
    return [
        Case(
            "autoregression",
            {"t": np.arange(n), "y": y},
            first.posterior,
            first.information,
            engine="laplace",
        ),
        Case("driven", {"u": u, "y": z}, second.posterior, second.information, engine="laplace"),
        Case("smoothed", {"u": u, "y": w}, third.posterior, third.information, engine="laplace"),
    ]
