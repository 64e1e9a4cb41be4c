"""Names of sites that files and tables could stumble over."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, Regression


def scoped(x, y=None):
    """Draw a slope within a scope."""
    with numpyro.handlers.scope(prefix="line"):
        b = numpyro.sample("b", dist.Normal(0, 3))
    numpyro.sample("y", dist.Normal(b * x[:, 0], 0.5), obs=y)


def nested(x, y=None):
    """Draw a slope within a scope in a scope, and a shift beside."""
    with numpyro.handlers.scope(prefix="outer"), numpyro.handlers.scope(prefix="inner"):
        b = numpyro.sample("b", dist.Normal(0, 3))
    a = numpyro.sample("outer_inner_b", dist.Normal(0, 3))
    numpyro.sample("y", dist.Normal(a + b * x[:, 0], 0.5), obs=y)


def layers(x, y=None):
    """Draw weights named as a network from a module has them, and observe under such a name."""
    w = numpyro.sample("net/Dense_0/kernel", dist.Normal(0, 3).expand([1]).to_event(1))
    a = numpyro.sample("net.Dense_0.bias", dist.Normal(0, 3))
    numpyro.sample("net/y", dist.Normal(x @ w + a, 0.5), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    x = random.normal(size=15)
    y = 1.7 * x + 0.5 * random.normal(size=15)
    design = np.stack([x, np.ones(15)], axis=1)
    names = {
        "scoped": ("line/b",),
        "nested": ("outer/inner/b", "outer_inner_b"),
        "layers": ("net/Dense_0/kernel[0]", "net.Dense_0.bias"),
    }
    right = {name: Regression(own, design[:, : len(own)], y, 3, 0.5) for name, own in names.items()}
    return [
        Case(name, {"x": x, "y": y}, own.posterior, own.information, engine="laplace")
        for name, own in right.items()
    ]
