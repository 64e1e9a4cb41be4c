"""Latent variables with names that the package, ArviZ or xarray use themselves."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression

PAIRS = (
    ("f", "field"),
    ("inputs", "targets"),
    ("x", "draw"),
    ("chain", "T"),
    ("y", "output"),
    ("scale", "mode"),
)


def _line(x, y, shift, slope, observed="y"):
    a = numpyro.sample(shift, dist.Normal(0, 2))
    b = numpyro.sample(slope, dist.Normal(0, 2))
    numpyro.sample(observed, dist.Normal(a + b * x[:, 0], 0.4), obs=y)


def field(x, y=None):
    """Call them f and field."""
    _line(x, y, "f", "field")


def data(x, y=None):
    """Call them inputs and targets."""
    _line(x, y, "inputs", "targets")


def dimensions(x, y=None):
    """Call them x and draw."""
    _line(x, y, "x", "draw")


def chain(x, y=None):
    """Call them chain and T."""
    _line(x, y, "chain", "T")


def target(x, y=None):
    """Call one y, and what is observed otherwise."""
    _line(x, y, "y", "output", "seen")


def scale(x, y=None):
    """Call them scale and mode."""
    _line(x, y, "scale", "mode")


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    x = random.normal(size=20)
    y = 0.6 + 1.2 * x + 0.4 * random.normal(size=20)
    design = np.stack([np.ones(20), x], axis=1)
    found = []
    for pair, name in zip(PAIRS, ("field", "data", "dimensions", "chain", "target", "scale"), strict=True):
        right = Regression(pair, design, y, 2, 0.4)
        found.append(
            Case(name, {"u": x, "v": y}, right.posterior, right.information, engine="laplace", target="v")
        )
    return found
