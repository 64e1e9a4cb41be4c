"""Likelihoods written by numpyro.factor: they temper, and have neither a metric nor leave-one-out."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, normal_log, quadrature


def huber(x, y=None):
    """Add Huber's loss."""
    a = numpyro.sample("a", dist.Normal(0, 1))
    b = numpyro.sample("b", dist.Normal(0, 1))
    f = numpyro.deterministic("f", a + b * x[:, 0])
    if y is not None:
        r = jnp.abs(y - f)
        numpyro.factor("huber", -jnp.where(r < 1, 0.5 * r**2, r - 0.5).sum())


def weighted(x, y=None):
    """Add weighted squares."""
    a = numpyro.sample("a", dist.Normal(0, 1))
    b = numpyro.sample("b", dist.Normal(0, 1))
    f = numpyro.deterministic("f", a + b * x[:, 0])
    if y is not None:
        with numpyro.handlers.scale(scale=0.5):
            numpyro.factor("squares", -(((y - f) / 0.7) ** 2).sum())


def two(x, y=None):
    """Add a loss, and a factor that belongs to the prior."""
    a = numpyro.sample("a", dist.Normal(0, 1))
    b = numpyro.sample("b", dist.Normal(0, 1))
    numpyro.factor("close", -2 * (a - b) ** 2)
    f = numpyro.deterministic("f", a + b * x[:, 0])
    if y is not None:
        numpyro.factor("cauchy", -jnp.log1p((y - f) ** 2).sum())


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind."""
    x = random.normal(size=20)
    y = 0.4 + x + random.standard_t(2.0, size=20)

    def squares(r):
        return -0.5 * (r / 0.7) ** 2

    losses = {
        "huber": lambda r: -np.where(abs(r) < 1, 0.5 * r**2, abs(r) - 0.5),
        "weighted": squares,
        "two": lambda r: -np.log1p(r**2),
    }
    axis = np.linspace(-2, 3, 701)
    found = []
    for name, loss in losses.items():

        def density(a, b, loss=loss, name=name):
            own = normal_log(a, 0, 1) + normal_log(b, 0, 1) - (name == "two") * 2 * (a - b) ** 2
            return own + sum(loss(v - a - b * u) for u, v in zip(x, y, strict=True))

        says = ["it belongs to the likelihood"] + ["it belongs to the prior"] * (name == "two")
        found.append(Case(name, {"x": x, "y": y}, quadrature(density, a=axis, b=axis), says=tuple(says)))
    refused = Case(
        "huber", found[0].table, words=("--scheme", "diffusion"), refused="huber.*--scheme tempering"
    )
    return [*found, refused]
