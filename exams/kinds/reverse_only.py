"""Solutions of equations that have one of the two derivatives only."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.experimental.ode import odeint

from exams.kinds.case import Case, normal_log, quadrature


def decay(x, y=None):
    """Solve a rate equation; odeint has a reverse derivative only."""
    k = numpyro.sample("k", dist.LogNormal(0, 1))
    times = jnp.concatenate([jnp.zeros(1), x[:, 0]])
    z = odeint(lambda z, t, k: -k * z, jnp.array(1.0), times, k, rtol=1e-6, atol=1e-6, mxstep=300)[1:]
    numpyro.sample("y", dist.Normal(z, 0.05), obs=y)


@jax.custom_vjp
def logistic(k, times):
    """Return the solution of z' = k z (1 − z), z(0) = 1/10, with a reverse derivative by hand."""
    return 1 / (1 + 9 * jnp.exp(-k * times))


def _forward(k, times):
    z = logistic(k, times)
    return z, (z, times)


def _backward(kept, cotangent):
    z, times = kept
    return jnp.sum(cotangent * times * z * (1 - z)), jnp.zeros_like(times)


logistic.defvjp(_forward, _backward)


def growth(x, y=None):
    """Observe growth through a function with a custom reverse derivative."""
    k = numpyro.sample("k", dist.LogNormal(0, 1))
    numpyro.sample("y", dist.Normal(logistic(k, x[:, 0]), 0.05), obs=y)


def iterated(x, y=None):
    """Take a square root by iteration: a loop that ends by itself has a forward derivative only."""
    k = numpyro.sample("k", dist.LogNormal(0, 1))
    target = k * (1 + x[:, 0])

    def step(state):
        z, _ = state
        new = 0.5 * (z + target / z)
        return new, jnp.max(jnp.abs(new - z))

    z, _ = jax.lax.while_loop(lambda state: state[1] > 1e-10, step, (target, jnp.asarray(1.0, x.dtype)))
    numpyro.sample("y", dist.Normal(z, 0.05), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind; quadrature over k."""
    times = np.array([0.25, 0.5, 1, 1.5, 2, 3, 4, 5])
    grid = np.linspace(0.02, 4, 16_000)
    curves = {
        "decay": lambda k: np.exp(-k * times[:, None]),
        "growth": lambda k: 1 / (1 + 9 * np.exp(-k * times[:, None])),
        "iterated": lambda k: np.sqrt(k * (1 + times[:, None])),
    }
    found = []
    for name, curve in curves.items():
        y = curve(np.array([0.7]))[:, 0] + 0.05 * random.normal(size=8)

        def density(k, y=y, curve=curve):
            return normal_log(y[:, None], curve(k), 0.05).sum(axis=0) - np.log(k) ** 2 / 2 - np.log(k)

        found.append(Case(name, {"t": times, "y": y}, quadrature(density, k=grid)))
    found[-1] = Case(
        "iterated",
        found[-1].table,
        found[-1].posterior,
        words=("--engine.forward_mode", "true"),
    )
    return [
        *found,
        Case("iterated", found[-1].table, refused="forward_mode|forward-mode"),
    ]
