"""Priors whose own parameters are latent: JAX has no derivative of the distribution function in these."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import betaln, gammaln, xlog1py, xlogy
from scipy.stats import t as student

from exams.kinds.case import Case, normal_log, quadrature


def beta(x, y=None):
    """Draw a probability whose concentration is latent."""
    k = numpyro.sample("k", dist.LogNormal(2, 1))
    p = numpyro.sample("p", dist.Beta(0.3 * k, 0.7 * k))
    numpyro.sample("y", dist.Binomial(10, probs=p * jnp.ones(x.shape[0])), obs=y)


def gamma(x, y=None):
    """Draw a rate whose shape is latent."""
    k = numpyro.sample("k", dist.LogNormal(1, 0.5))
    rate = numpyro.sample("rate", dist.Gamma(k, k))
    numpyro.sample("y", dist.Poisson(3 * rate * jnp.ones(x.shape[0])), obs=y)


def dirichlet(x, y=None):
    """Draw probabilities of two categories whose concentration is latent."""
    k = numpyro.sample("k", dist.LogNormal(1, 0.5))
    p = numpyro.sample("p", dist.Dirichlet(k * jnp.array([0.4, 0.6])))
    numpyro.sample("y", dist.Binomial(10, probs=p[0] * jnp.ones(x.shape[0])), obs=y)


def student_t(x, y=None):
    """Draw a shift whose tails are latent."""
    nu = numpyro.sample("nu", dist.LogNormal(1, 1))
    t = numpyro.sample("t", dist.StudentT(nu, 0, 1))
    numpyro.sample("y", dist.Normal(t * jnp.ones(x.shape[0]), 1), obs=y)


def student_wide(x, y=None):
    """Draw a slope with latent tails and width."""
    s = numpyro.sample("s", dist.LogNormal(0, 0.5))
    t = numpyro.sample("t", dist.StudentT(4.0, 0, s))
    numpyro.sample("y", dist.Normal(t * x[:, 0], 1), obs=y)


def student_in_rows(x, y=None):
    """Observe with tails that are latent."""
    nu = numpyro.sample("nu", dist.Gamma(4.0, 1.0))
    t = numpyro.sample("t", dist.Normal(0, 3))
    numpyro.sample("y", dist.StudentT(nu, t, 1), obs=y)


def cases(random: np.random.Generator) -> list[Case]:
    """Return the cases of this kind: quadrature over the logarithm of one parameter and the other one."""
    row = np.arange(6)
    hits, counts = random.binomial(10, 0.3, size=6), random.poisson(4.0, size=6)
    z, u = 1.5 + random.normal(size=6), random.normal(size=6)
    w = 1.2 * u + random.normal(size=6)
    long, tails = np.arange(20), 1 + random.standard_t(3.0, size=20)
    unit = np.linspace(1e-6, 1 - 1e-6, 1501)

    def binomial(p):
        return xlogy(hits.sum(), p) + xlog1py((10 - hits).sum(), -p)

    def over_log(prior, own, names, log, other):
        found = quadrature(lambda a, b: prior(a) + own(np.exp(a), b), a=log, b=other)
        return {names: found["b"]}

    def beta_log(p, a, b):
        return xlogy(a - 1, p) + xlog1py(b - 1, -p) - betaln(a, b)

    log = np.linspace(-3, 7, 1001)
    p = over_log(
        lambda a: normal_log(a, 2, 1),
        lambda k, p: beta_log(p, 0.3 * k, 0.7 * k) + binomial(p),
        "p",
        log,
        unit,
    )
    first = over_log(
        lambda a: normal_log(a, 1, 0.5),
        lambda k, p: beta_log(p, 0.4 * k, 0.6 * k) + binomial(p),
        "p[0]",
        log,
        unit,
    )
    rate = over_log(
        lambda a: normal_log(a, 1, 0.5),
        lambda k, r: (
            k * np.log(k) - gammaln(k) + (k - 1) * np.log(r) - k * r + counts.sum() * np.log(r) - 18 * r
        ),
        "rate",
        log,
        np.linspace(1e-3, 5, 1501),
    )
    shift = over_log(
        lambda a: normal_log(a, 1, 1),
        lambda nu, t: student.logpdf(t, nu) + normal_log(z.mean(), t, 6**-0.5),
        "t",
        np.linspace(-4, 6, 401),
        np.linspace(-3, 5, 601),
    )
    squares = np.sum(u**2)
    slope = over_log(
        lambda a: normal_log(a, 0, 0.5),
        lambda s, t: student.logpdf(t, 4.0, 0, s) + normal_log(u @ w / squares, t, squares**-0.5),
        "t",
        np.linspace(-3, 3, 401),
        np.linspace(-4, 6, 801),
    )
    centre = quadrature(
        lambda nu, t: (
            3 * np.log(nu) - nu + normal_log(t, 0, 3) + sum(student.logpdf(value, nu, t) for value in tails)
        ),
        nu=np.linspace(0.02, 25, 500),
        t=np.linspace(-2, 4, 401),
    )
    return [
        Case("beta", {"row": row, "y": hits}, p),
        Case("gamma", {"row": row, "y": counts}, rate),
        Case("dirichlet", {"row": row, "y": hits}, first),
        Case("student_t", {"row": row, "y": z}, shift),
        Case("student_wide", {"x": u, "y": w}, slope),
        Case("student_in_rows", {"row": long, "y": tails}, centre),
    ]
