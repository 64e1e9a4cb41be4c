"""The models of eight published posteriors, as anyone would write them; arguments are columns by name.

Flat priors are wide and proper: their scale is at least 300 posterior standard deviations.
"""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import ndtr, ndtri


def eight_schools_noncentered(x, sigma, y=None):
    """Eight coaching experiments with known errors; an effect for each."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", sigma.shape[0]):
        effect = numpyro.sample("theta_trans", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * effect)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def kidiq_momiq(mom_iq, kid_score=None):
    """Children's scores on their mothers' IQ; covariates are replicated."""
    beta = numpyro.sample("beta", dist.Normal(0, 1000).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    numpyro.sample("kid_score", dist.Normal(beta[0] + beta[1] * mom_iq, sigma), obs=kid_score)


def mesquite(x, weight=None):
    """Leaf weight of bushes on six measurements."""
    beta = numpyro.sample("beta", dist.Normal(0, 1e5).expand([7]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1e5))
    numpyro.sample("weight", dist.Normal(beta[0] + x @ beta[1:], sigma), obs=weight)


def arK(x, y=None):
    """An autoregression of order five, the lags in columns."""
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([5]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    numpyro.sample("y", dist.Normal(alpha + x @ beta, sigma), obs=y)


def garch11(t, y=None):
    """A volatility that follows the last shock; uniform on the triangle alpha1 + beta1 < 1."""
    mu = numpyro.sample("mu", dist.Normal(0, 1000))
    alpha0 = numpyro.sample("alpha0", dist.HalfNormal(1000))
    alpha1 = numpyro.sample("alpha1", dist.Beta(1, 2))
    beta1 = numpyro.sample("beta1", dist.Uniform(0, 1 - alpha1))

    def step(last, shock):
        now = jnp.sqrt(alpha0 + alpha1 * shock**2 + beta1 * last**2)
        return now, now

    first = jnp.asarray(0.5, dtype=float)
    _, later = jax.lax.scan(step, first, y[:-1] - mu)
    numpyro.sample("y", dist.Normal(mu, jnp.concatenate([first[None], later])), obs=y)


def sblrc_blr(x, y=None):
    """A regression on large, nearly collinear columns."""
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([5]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10))
    numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


def logearn_height_male(height, male, log_earn=None):
    """Earnings on height and sex; covariates are replicated, intercept and slope nearly collinear."""
    beta = numpyro.sample("beta", dist.Normal(0, 1000).expand([3]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1000))
    numpyro.sample("log_earn", dist.Normal(beta[0] + beta[1] * height + beta[2] * male, sigma), obs=log_earn)


def low_dim_gauss_mix(row, y=None):
    """Two Gaussians; the lower centre is the smaller of two N(0, 2), the upper one lies above it."""
    z = numpyro.sample("z", dist.Normal(0, 1))
    low = 2 * ndtri(-jnp.expm1(0.5 * jnp.log1p(-ndtr(z))))
    high = numpyro.sample("high", dist.TruncatedNormal(0, 2, low=low))
    mu = numpyro.deterministic("mu", jnp.stack([low, high]))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2).expand([2]).to_event(1))
    theta = numpyro.sample("theta", dist.Beta(5, 5))
    parts = dist.Normal(mu, sigma)
    weights = dist.Categorical(probs=jnp.stack([theta, 1 - theta]))
    numpyro.sample("y", dist.MixtureSameFamily(weights, parts).expand([row.shape[0]]), obs=y)
