"""Models whose arguments are columns of the table, by name."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression, moments


def groups(flipper, species_idx, body_mass=None):
    """Take an index, and the target by its own name."""
    b = numpyro.sample("b", dist.Normal(0, 2))
    with numpyro.plate("species", 3):
        a = numpyro.sample("a", dist.Normal(0, 2))
    with numpyro.plate("rows", flipper.shape[0]):
        numpyro.sample("body_mass", dist.Normal(a[species_idx] + b * flipper, 0.5), obs=body_mass)


def counted(code, dose, y=None):
    """Count the groups by the codes themselves."""
    with numpyro.plate("groups", int(code.max()) + 1):
        a = numpyro.sample("a", dist.Normal(0, 2))
    b = numpyro.sample("b", dist.Normal(0, 2))
    numpyro.sample("y", dist.Normal(a[code] + b * dose, 0.5), obs=y)


def schools(J, sigma, y=None):
    """Take a size by an option, and standard errors."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    with numpyro.plate("J", J):
        theta = numpyro.sample("theta", dist.Normal(mu, 2))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    n = 24
    x, code = random.normal(size=n), np.arange(n) % 3
    y = np.array([-1, 0.0, 2])[code] + 0.7 * x + 0.5 * random.normal(size=n)
    design = np.concatenate([np.eye(3)[code], x[:, None]], axis=1)
    right = Regression(("a[0]", "a[1]", "a[2]", "b"), design, y, 2, 0.5)
    sigma = random.uniform(1, 3, size=8)
    z = 4 + random.normal(size=8) * np.sqrt(4 + sigma**2)
    weight = 1 / (4 + sigma**2)
    variance = 1 / (weight.sum() + 1 / 25)
    return [
        Case(
            "groups",
            {"flipper": x, "species_idx": code, "body_mass": y},
            right.posterior,
            right.information,
            engine="laplace",
            target="body_mass",
        ),
        Case(
            "groups",
            {"body_mass": y, "species_idx": code, "flipper": x},
            right.posterior,
            right.information,
            engine="laplace",
        ),
        Case(
            "counted",
            {"code": code, "y": y, "dose": x},
            right.posterior,
            right.information,
            engine="laplace",
        ),
        Case(
            "schools",
            {"sigma": sigma, "y": z},
            moments(("mu",), [variance * (weight @ z)], [[variance]]),
            engine="laplace",
            words=("--model.J", "8"),
        ),
    ]
