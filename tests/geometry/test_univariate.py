"""More families of one number: truncated, folded, bounded, mixed; against scipy's quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, optimize, stats

from brg_prob.geometry.normal import log_normal_mass
from brg_prob.geometry.transport import from_standard_normal, to_standard_normal


def cut(reference, low=-np.inf, high=np.inf):
    """Return the quantile at Φ(z) of a law between two ends."""
    below, above = reference.cdf(low), reference.cdf(high)
    return lambda z: reference.ppf(below + stats.norm.cdf(z) * (above - below))


def folded(reference):
    """Return the quantile at Φ(z) of the absolute value."""
    inside = lambda v, p: reference.cdf(v) - reference.cdf(-v) - p  # noqa: E731
    return np.vectorize(lambda z: optimize.brentq(inside, 0, 1e6, args=(stats.norm.cdf(z),), xtol=1e-14))


def half(weights, laws):
    """Return the quantile at Φ(z) of a mixture."""
    mixed = lambda v, p: sum(w * law.cdf(v) for w, law in zip(weights, laws, strict=True)) - p  # noqa: E731
    return np.vectorize(lambda z: optimize.brentq(mixed, -50, 50, args=(stats.norm.cdf(z),), xtol=1e-14))


def at(reference):
    """Return the quantile at Φ(z)."""
    return lambda z: np.where(z < 0, reference.ppf(stats.norm.cdf(z)), reference.isf(stats.norm.sf(z)))


FAMILIES = {
    "normal cut far out": (
        dist.TruncatedNormal(0.0, 1.0, low=6.0, high=8.0),
        lambda z: stats.truncnorm(6, 8).isf(stats.norm.sf(z)),
    ),
    "Cauchy cut below": (dist.TruncatedCauchy(0.0, 2.0, low=1.0), cut(stats.cauchy(0, 2), 1.0)),
    "Student cut on both sides": (
        dist.TwoSidedTruncatedDistribution(dist.StudentT(4.0, 0.0, 1.0), -1.0, 2.0),
        cut(stats.t(4), -1.0, 2.0),
    ),
    "Gamma cut above": (
        dist.RightTruncatedGamma(dist.Gamma(2.0, 1.0), 3.0),
        cut(stats.gamma(2.0), 0.0, 3.0),
    ),
    "half-Student": (dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 2.0)), folded(stats.t(3, 0, 2))),
    "folded normal, not about 0": (dist.FoldedDistribution(dist.Normal(1.0, 1.0)), at(stats.foldnorm(1.0))),
    "BetaProportion": (dist.BetaProportion(0.3, 10.0), at(stats.beta(3.0, 7.0))),
    "Kumaraswamy": (
        dist.Kumaraswamy(2.0, 3.0),
        lambda z: (1 - stats.norm.sf(z) ** (1 / 3)) ** 0.5,
    ),
    "LogUniform": (dist.LogUniform(0.1, 10.0), at(stats.loguniform(0.1, 10.0))),
    "SoftLaplace": (dist.SoftLaplace(1.0, 2.0), at(stats.hypsecant(1.0, 2.0))),
    "AsymmetricLaplace": (dist.AsymmetricLaplace(0.0, 1.0, 2.0), at(stats.laplace_asymmetric(2.0))),
    "Gompertz": (dist.Gompertz(0.5, 1.0), at(stats.gompertz(0.5))),
    "mixture": (
        dist.MixtureSameFamily(
            dist.Categorical(jnp.array([0.3, 0.7])),
            dist.Normal(jnp.array([-2.0, 1.0]), jnp.array([1.0, 0.5])),
        ),
        half([0.3, 0.7], [stats.norm(-2, 1), stats.norm(1, 0.5)]),
    ),
}
BY_ROOT = (
    "half-Student",
    "folded normal, not about 0",
    "SoftLaplace",
    "Student cut on both sides",
    "Gompertz",
    "AsymmetricLaplace",
    "Gamma cut above",
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in BY_ROOT else n for n in FAMILIES]
)
def test_the_map_is_that_of_scipys_quantiles_and_returns(name):
    distribution, quantile = FAMILIES[name]
    z = np.linspace(-3, 3, 25)
    both = jax.jit(lambda z, v: (from_standard_normal(distribution, z), to_standard_normal(distribution, v)))
    value, back = both(z, quantile(z))
    np.testing.assert_allclose(value, quantile(z), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(back, z, atol=1e-8)
    assert np.abs(np.asarray(value) - quantile(z + 1e-4)).max() > 1e-7  # another z is told apart


def test_normal_mass_between_two_ends_keeps_its_digits():
    low, high = np.array([-40.0, -1.0, 30.0, -1e-3]), np.array([-30.0, 2.0, 40.0, 1e-3])
    expected = [
        stats.norm.logcdf(-30),
        np.log(stats.norm.cdf(2) - stats.norm.cdf(-1)),
        stats.norm.logcdf(-30),
    ]
    expected.append(np.log(integrate.quad(stats.norm.pdf, -1e-3, 1e-3, epsrel=1e-13)[0]))
    found, slope = jax.jit(jax.vmap(jax.value_and_grad(log_normal_mass, (0, 1))))(low, high)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    density = -np.exp(stats.norm.logpdf(low) - np.array(expected))
    np.testing.assert_allclose(slope[0], density, rtol=1e-9)


def test_the_ends_of_a_truncated_prior_may_be_latent():
    """dθ/d low at fixed z, by differences of scipy's quantile."""
    value = lambda low: from_standard_normal(dist.TruncatedNormal(0.0, 1.0, low=low), 0.7)  # noqa: E731
    at_low = lambda low: stats.truncnorm(low, np.inf).ppf(stats.norm.cdf(0.7))  # noqa: E731
    slope = jax.jit(jax.grad(value))(0.4)
    assert slope == pytest.approx((at_low(0.4 + 1e-5) - at_low(0.4 - 1e-5)) / 2e-5, rel=1e-7)
