"""Rows with the same inputs, as in any designed experiment."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import xlogy

from exams.kinds.case import Case, Regression, quadrature


def line(x, y=None):
    """Observe a line."""
    a = numpyro.sample("a", dist.Normal(0, 5))
    b = numpyro.sample("b", dist.Normal(0, 5))
    numpyro.sample("y", dist.Normal(a + b * x[:, 0], 1), obs=y)


def two_factors(x, y=None):
    """Observe two crossed factors, with a field of its own."""
    b = numpyro.sample("b", dist.Normal(0, 5).expand([2]).to_event(1))
    f = numpyro.deterministic("f", x @ b)
    numpyro.sample("y", dist.Normal(f, 1), obs=y)


def successes(x, y=None):
    """Observe how many of ten respond."""
    b = numpyro.sample("b", dist.Normal(0, 2))
    numpyro.sample("y", dist.Binomial(10, logits=b * jnp.log(x[:, 0])), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    dose = np.repeat([0.0, 1.0, 3.0], 5)
    y = -0.5 + 2 * dose + random.normal(size=15)
    design = np.stack([np.ones(15), dose], axis=1)
    right = Regression(("a", "b"), design, y, 5, 1)
    crossed = np.array([[i, j] for i in (0.0, 1.0) for j in (0.0, 1.0) for _ in range(4)])
    z = crossed @ [1.0, -2.0] + random.normal(size=16)
    both = Regression(("b[0]", "b[1]"), crossed, z, 5, 1)
    times = np.repeat([0.5, 2.0, 4.0], 4)
    p = 1 / (1 + times**-0.8)
    hits = random.binomial(10, p)

    def density(b):
        q = 1 / (1 + times[:, None] ** -b)
        return -(b**2) / 8 + (xlogy(hits[:, None], q) + xlogy(10 - hits[:, None], 1 - q)).sum(axis=0)

    return [
        Case("line", {"dose": dose, "y": y}, right.posterior, right.information, engine="laplace"),
        Case(
            "two_factors",
            {"p": crossed[:, 0], "q": crossed[:, 1], "y": z},
            both.posterior,
            both.information,
            engine="laplace",
        ),
        Case("successes", {"time": times, "y": hits}, quadrature(density, b=np.linspace(-1, 3, 4001))),
    ]
