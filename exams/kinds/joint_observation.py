"""One joint observation of all rows: n counts once, leave-one-out is not defined, nothing crashes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from exams.kinds.case import Case, quadrature


def process(x, y=None):
    """Observe a Gaussian process, its field integrated out."""
    a = numpyro.sample("a", dist.LogNormal(0, 1))
    covariance = a * jnp.exp(-0.5 * (x - x.T) ** 2) + 0.1 * jnp.eye(x.shape[0])
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(x.shape[0]), covariance), obs=y)


def precision(x, y=None):
    """Observe a chain of couplings, by its precision matrix."""
    a = numpyro.sample("a", dist.LogNormal(0, 1))
    n = x.shape[0]
    laplacian = 2 * jnp.eye(n) - jnp.eye(n, k=1) - jnp.eye(n, k=-1)
    law = dist.MultivariateNormal(jnp.zeros(n), precision_matrix=a * laplacian + 0.1 * jnp.eye(n))
    numpyro.sample("y", law, obs=y)


def common(x, y=None):
    """Observe rows that share one disturbance, as low rank and diagonal."""
    s = numpyro.sample("s", dist.LogNormal(0, 1))
    n = x.shape[0]
    law = dist.LowRankMultivariateNormal(jnp.zeros(n), s * jnp.ones((n, 1)), 0.5 * jnp.ones(n))
    numpyro.sample("y", law, obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind, on a grid of the logarithm of the only parameter."""
    n = 12
    x = np.linspace(0, 3, n)
    kernel = np.exp(-0.5 * (x[:, None] - x) ** 2)
    chain = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    matrices = {
        "process": lambda a: a * kernel + 0.1 * np.eye(n),
        "precision": lambda a: np.linalg.inv(a * chain + 0.1 * np.eye(n)),
        "common": lambda a: a**2 * np.ones((n, n)) + 0.5 * np.eye(n),
    }
    found = []
    for name, parameter in (("process", "a"), ("precision", "a"), ("common", "s")):
        y = random.multivariate_normal(np.zeros(n), matrices[name](np.array(1.5)))
        found.append(
            Case(
                name,
                {"x": x, "y": y},
                _log_normal(parameter, matrices[name], y),
                says=("leave-one-out is not applicable",),
            )
        )
    return found


def _log_normal(name, matrix, y):
    """Return mean and standard deviation of the parameter with a log-normal prior."""

    def density(a):
        covariance = matrix(a[:, None, None])
        solved = np.linalg.solve(covariance, np.broadcast_to(y[:, None], (len(a), len(y), 1)))[..., 0]
        own = -0.5 * (solved @ y + np.linalg.slogdet(covariance)[1])
        return own - np.log(a) ** 2 / 2 - np.log(a)

    return {name: quadrature(density, a=np.linspace(1e-3, 60, 30_000))["a"]}
