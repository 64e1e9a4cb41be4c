"""numpyro.param in a model: no part of a posterior, held at its first value, and said so."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression


def noise(x, y=None):
    """Make the noise a parameter."""
    s = numpyro.param("s", 2.0, constraint=dist.constraints.positive)
    a = numpyro.sample("a", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(a * jnp.ones(x.shape[0]), s), obs=y)


def two(x, y=None):
    """Make noise and slope parameters."""
    s = numpyro.param("s", 2.0, constraint=dist.constraints.positive)
    b = numpyro.param("b", lambda key: jnp.array(0.5))
    a = numpyro.sample("a", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(a + b * x[:, 0], s), obs=y)


def prior(x, y=None):
    """Make the width of the prior a parameter."""
    w = numpyro.param("w", 3.0, constraint=dist.constraints.positive)
    a = numpyro.sample("a", dist.Normal(0, w))
    numpyro.sample("y", dist.Normal(a * jnp.ones(x.shape[0]), 1), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    t, one = np.linspace(-1, 1, 20), np.ones((20, 1))
    y = 1 + random.normal(size=20)
    right = {
        "noise": Regression(("a",), one, y, 10, 2),
        "two": Regression(("a",), one, y - 0.5 * t, 10, 2),
        "prior": Regression(("a",), one, y, 3, 1),
    }
    says = {
        "noise": ("numpyro.param 's' is held at 2",),
        "two": ("numpyro.param 's' is held at 2", "numpyro.param 'b' is held at 0.5"),
        "prior": ("numpyro.param 'w' is held at 3",),
    }
    return [
        Case(name, {"t": t, "y": y}, own.posterior, own.information, engine="laplace", says=says[name])
        for name, own in right.items()
    ]
