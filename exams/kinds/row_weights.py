"""Weights and masks of rows, by numpyro's handlers and from columns of the table."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression


def weighted(x, y=None, w=None):
    """Weigh each row."""
    a = numpyro.sample("a", dist.Normal(0, 3))
    b = numpyro.sample("b", dist.Normal(0, 3))
    with numpyro.handlers.scale(scale=w):
        numpyro.sample("y", dist.Normal(a + b * x[:, 0], 1), obs=y)


def halved(x, y=None):
    """Weigh all rows alike."""
    a = numpyro.sample("a", dist.Normal(0, 3))
    b = numpyro.sample("b", dist.Normal(0, 3))
    with numpyro.handlers.scale(scale=0.5), numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(a + b * x[:, 0], 1), obs=y)


def masked(x, good, y=None):
    """Count the good rows only."""
    a = numpyro.sample("a", dist.Normal(0, 3))
    b = numpyro.sample("b", dist.Normal(0, 3))
    with numpyro.handlers.mask(mask=good == 1):
        numpyro.sample("y", dist.Normal(a + b * x[:, 0], 1), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind; Laplace is exact."""
    n = 18
    x, weight = random.normal(size=n), random.uniform(0.5, 3, size=n)
    y = 0.5 - x + random.normal(size=n)
    good = (np.arange(n) % 4 > 0).astype(int)
    design, names = np.stack([np.ones(n), x], axis=1), ("a", "b")
    right = {
        name: Regression(names, design, y, 3, 1, weights)
        for name, weights in (("weighted", weight), ("halved", np.full(n, 0.5)), ("masked", good * 1.0))
    }
    tables = {
        "weighted": {"x": x, "w": weight, "y": y},
        "halved": {"x": x, "y": y},
        "masked": {"x": x, "good": good, "y": y},
    }
    says = {"weighted": ("carry weights",), "halved": (), "masked": ("rows are masked by the model",)}
    return [
        Case(
            name, tables[name], own.posterior, own.information, engine="laplace", target="y", says=says[name]
        )
        for name, own in right.items()
    ]
