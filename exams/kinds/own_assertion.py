"""A model that checks the shape of its targets itself: it gets the shape that it asks for, or is named."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression


def columns(x, y=None):
    """Ask for a column."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    mean = w * x
    if y is not None:
        assert mean.shape == y.shape
    numpyro.sample("target", dist.Normal(mean, 1.0).to_event(1), obs=y)


def vector(x, y=None):
    """Ask for one number a row."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    if y is not None and y.ndim != 1:
        raise TypeError(f"one target a row, please, not {y.shape}")
    numpyro.sample("target", dist.Normal(w * x[:, 0], 1.0), obs=y)


def never(x, y=None):
    """Ask for what no table gives."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    if y is not None:
        assert y.shape == (3, 3)
    numpyro.sample("target", dist.Normal(w * x[:, 0], 1.0), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    x = random.normal(size=13)
    y = 0.8 * x + random.normal(size=13)
    right = Regression(("w",), x[:, None], y, 10, 1)
    table = {"x": x, "y": y}
    return [
        Case("columns", table, right.posterior, right.information, engine="laplace"),
        Case("vector", table, right.posterior, right.information, engine="laplace"),
        Case("never", table, refused=r"own_assertion\.py.*\(13,\).*[Aa]ssert"),
    ]
