"""Transport of priors to N(0, 1): against scipy's quantiles, round trips, KS and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats

from brg_prob.geometry.coordinates import (
    NoTransport,
    StandardNormalCoordinates,
    from_standard_normal,
    to_standard_normal,
)
from brg_prob.geometry.normal import ndtri_exp
from brg_prob.network.trace import run_trace

X = jnp.linspace(0.0, 1.0, 5)[:, None]

# distribution, scipy's independent implementation, and how far into the tails |z| goes
UNIVARIATE = {
    "Normal": (dist.Normal(1.0, 2.0), stats.norm(1, 2), 30),
    "LogNormal": (dist.LogNormal(0.3, 0.7), stats.lognorm(0.7, scale=np.exp(0.3)), 30),
    "HalfNormal": (dist.HalfNormal(1.7), stats.halfnorm(scale=1.7), 25),
    "HalfCauchy": (dist.HalfCauchy(0.4), stats.halfcauchy(scale=0.4), 25),
    "Cauchy": (dist.Cauchy(0.0, 0.4), stats.cauchy(0, 0.4), 25),
    "Exponential": (dist.Exponential(3.0), stats.expon(scale=1 / 3), 25),
    "Weibull": (dist.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2), 25),
    "Gumbel": (dist.Gumbel(1.0, 2.0), stats.gumbel_r(1, 2), 8),
    "Laplace": (dist.Laplace(1.0, 2.0), stats.laplace(1, 2), 25),
    "Logistic": (dist.Logistic(1.0, 2.0), stats.logistic(1, 2), 25),
    "Gamma": (dist.Gamma(2.5, 3.0), stats.gamma(2.5, scale=1 / 3), 20),
    "Gamma, spiked": (dist.Gamma(0.2, 1.0), stats.gamma(0.2), 8),
    "InverseGamma": (dist.InverseGamma(3.0, 2.0), stats.invgamma(3, scale=2), 15),
    "Beta": (dist.Beta(2.0, 5.0), stats.beta(2, 5), 6),
    "Uniform": (dist.Uniform(0.0, 3.0), stats.uniform(0, 3), 4),
    "StudentT": (dist.StudentT(3.0, 1.0, 2.0), stats.t(3, 1, 2), 12),
    "Pareto": (dist.Pareto(2.0, 3.0), stats.pareto(3, scale=2), 4),
    "truncated below": (dist.TruncatedNormal(0.5, 1.0, low=0.0), stats.truncnorm(-0.5, np.inf, 0.5), 4),
    "truncated on both sides": (
        dist.TruncatedNormal(0.0, 1.0, low=-1.0, high=2.0),
        stats.truncnorm(-1, 2),
        4,
    ),
}

# inverted by root finding and built on incomplete gamma and beta functions: slow to compile
BY_ROOT = ("Gamma, spiked", "InverseGamma", "Beta", "StudentT", "truncated below", "truncated on both sides")
QUICK = [name for name in UNIVARIATE if name not in BY_ROOT]
FASTER = [pytest.param(name, marks=pytest.mark.slow) if name in BY_ROOT else name for name in UNIVARIATE]


def quantile(reference, z):
    """Return scipy's quantile at Φ(z), the upper half through its survival function."""
    return np.where(z < 0, reference.ppf(stats.norm.cdf(z)), reference.isf(stats.norm.sf(z)))


@pytest.mark.parametrize("name", FASTER)
def test_transport_agrees_with_scipy_and_returns(name):
    distribution, reference, tail = UNIVARIATE[name]
    z = np.concatenate([np.linspace(-4, 4, 53), tail * np.linspace(-1, 1, 11)])
    value = np.asarray(from_standard_normal(distribution, z))
    # the tails of a density on a bounded support are lost to the rounding of θ itself
    np.testing.assert_allclose(to_standard_normal(distribution, value), z, rtol=1e-9, atol=1e-10)
    inner = np.abs(z) <= 4
    theta = quantile(reference, z[inner])
    np.testing.assert_allclose(value[inner], theta, rtol=1e-8, atol=1e-10)
    back = np.asarray(to_standard_normal(distribution, quantile(reference, z)))
    np.testing.assert_allclose(back[inner], z[inner], atol=2e-9)


def test_the_distribution_function_alone_loses_the_upper_tail():
    """The control: Φ⁻¹(F) in float64 is infinite at z = 9 and wrong at 8; the survival route is exact."""
    d = dist.Exponential(1.0)
    z = np.resize([8.0, 9.0], 64)
    value = from_standard_normal(d, z)
    assert np.all(np.abs(to_standard_normal(d, value) - z) < 1e-12)
    assert not np.any(np.abs(stats.norm.ppf(d.cdf(value)) - z) < 1e-3)


def test_logarithmic_quantile_far_out():
    log_p = np.resize([-0.7, -5.0, -700.0, -720.0, -1e4, -1e8], 64)
    from scipy.special import ndtri_exp as reference

    np.testing.assert_allclose(ndtri_exp(jnp.asarray(log_p)), reference(log_p), rtol=1e-13)


@pytest.mark.parametrize("name", [*QUICK, pytest.param("Beta", marks=pytest.mark.slow)])
def test_prior_draws_become_standard_normal(name):
    distribution, reference, _ = UNIVARIATE[name]
    z = to_standard_normal(distribution, reference.rvs(4000, random_state=1))
    assert stats.kstest(np.asarray(z), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in ("Beta", "StudentT"))]
)
def test_inverse_map_is_differentiable(name):
    """dθ/dz against central differences of scipy's quantile."""
    distribution, reference, _ = UNIVARIATE[name]
    z = np.concatenate([np.linspace(-2, 2, 53), np.linspace(-1, 1, 11)])
    slope = jax.grad(lambda v: from_standard_normal(distribution, v).sum())(jnp.asarray(z))
    difference = (quantile(reference, z + 1e-5) - quantile(reference, z - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-5)


def test_derivative_with_respect_to_a_parent_is_the_implicit_one():
    shape = lambda a: from_standard_normal(dist.Gamma(a, 2.0), 0.7)  # noqa: E731
    exact = lambda a: stats.gamma(a, scale=0.5).ppf(stats.norm.cdf(0.7))  # noqa: E731
    np.testing.assert_allclose(
        jax.grad(shape)(2.5), (exact(2.5 + 1e-5) - exact(2.5 - 1e-5)) / 2e-5, rtol=1e-6
    )


def test_multivariate_normals_are_whitened_by_their_cholesky_factor():
    root = np.linalg.cholesky(np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 0.7]]))
    loc, rng = np.array([1.0, -1.0, 0.5]), np.random.default_rng(0)
    factor, diagonal = np.array([[1.0], [0.5], [0.2]]), np.array([0.5, 0.6, 0.7])
    for d, covariance in (
        (dist.MultivariateNormal(loc, scale_tril=root), root @ root.T),
        (dist.LowRankMultivariateNormal(loc, factor, diagonal), factor @ factor.T + np.diag(diagonal)),
    ):
        draws = rng.multivariate_normal(loc, covariance, 5000)
        z = to_standard_normal(d, draws)
        np.testing.assert_allclose(from_standard_normal(d, z), draws, atol=1e-12)
        np.testing.assert_allclose(np.cov(np.asarray(z).T), np.eye(3), atol=4 * (2 / 5000) ** 0.5)
        assert all(stats.kstest(column, "norm").pvalue > 1e-4 for column in np.asarray(z).T)
    z = to_standard_normal(
        dist.MultivariateNormal(loc, scale_tril=root).expand([4]), loc + np.ones((4, 3)) @ root.T
    )
    np.testing.assert_allclose(z, np.ones((4, 3)), atol=1e-12)


def test_wrapped_distributions_are_seen_through():
    base = dist.Weibull(jnp.array([1.0, 2.0, 3.0]), 1.5)
    wrapped = base.expand([4, 3]).to_event(1).mask(jnp.array([True, False, True, True]))
    value = np.array([1.0, 2.0, 3.0]) * np.random.default_rng(0).weibull(1.5, (4, 3))
    z = jax.jit(lambda v: to_standard_normal(wrapped, v))(value)
    assert z.shape == (4, 3)
    row = jax.jit(lambda v: to_standard_normal(base, v))(value[2])
    np.testing.assert_allclose(np.asarray(z)[2], row, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda v: from_standard_normal(wrapped, v))(z), value, rtol=1e-10)
    simplex = dist.TransformedDistribution(
        dist.Normal(jnp.zeros(2), 1.0), dist.transforms.StickBreakingTransform()
    )
    assert jax.jit(lambda v: to_standard_normal(simplex, v))(np.array([0.2, 0.3, 0.5])).shape == (2,)


class UniformDisc(dist.Distribution):
    """The uniform distribution in the unit disc, with a map of its own: |z|² ~ χ²_2, F = |x|²."""

    support = dist.constraints.real_vector

    def __init__(self):
        super().__init__((), (2,))

    def to_standard_normal(self, value):
        """Stretch the radius."""
        square = jnp.sum(value**2, axis=-1, keepdims=True)
        return value * jnp.sqrt(-2 * jnp.log1p(-square) / square)

    def from_standard_normal(self, z):
        """Shrink the radius."""
        square = jnp.sum(z**2, axis=-1, keepdims=True)
        return z * jnp.sqrt(-jnp.expm1(-square / 2) / square)


def test_a_distribution_may_bring_its_own_map():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (8000, 2))
    x = x[np.sum(x**2, axis=1) < 1]
    wrapped = UniformDisc().expand([len(x)]).to_event(1)
    z = to_standard_normal(wrapped, x)
    assert all(stats.kstest(column, "norm").pvalue > 1e-3 for column in np.asarray(z).T)
    np.testing.assert_allclose(from_standard_normal(wrapped, z), x, atol=1e-12)


@pytest.mark.parametrize(
    "distribution",
    [
        dist.Poisson(2.0),
        dist.Delta(2.0),
        dist.VonMises(0.0, 1.0),
        dist.InverseWishart(5.0, scale_tril=jnp.eye(2)),
        dist.ImproperUniform(dist.constraints.positive, (), ()),
    ],
    ids=lambda d: type(d).__name__,
)
def test_a_site_without_a_map_is_named_with_the_remedy(distribution):
    def model(x, y=None):
        numpyro.sample("fine", dist.Normal(0.0, 1.0))
        numpyro.sample("odd_one", distribution, rng_key=jax.random.key(0))
        numpyro.deterministic("f", x[:, 0])

    sampled = handlers.substitute(model, {"odd_one": jnp.ones(distribution.shape())})
    with pytest.raises(NoTransport, match=r"site 'odd_one': .*tempering"):
        StandardNormalCoordinates(sampled, X)


def hierarchy(x, y=None):
    """A funnel with a plate: every child's scale depends on its parents."""
    spread = numpyro.sample("spread", dist.HalfNormal(0.5))
    rate = numpyro.sample("rate", dist.Exponential(1.0 / spread))
    with numpyro.plate("groups", 3):
        level = numpyro.sample("level", dist.Normal(rate, spread))
    lengths = numpyro.sample("lengths", dist.LogNormal(0.0, jnp.exp(level)).to_event(1))
    f = numpyro.deterministic("f", jnp.sum(level) * x[:, 0] + jnp.sum(lengths))
    numpyro.sample("y", dist.Normal(f, 1.0).to_event(1), obs=y)


def test_a_hierarchical_model_becomes_independent_standard_normals():
    y = X[:, 0]
    assert StandardNormalCoordinates(hierarchy, X).dimension == 8
    coordinates = StandardNormalCoordinates(hierarchy, X, y)
    assert coordinates.names == ("spread", "rate", "level", "lengths") and coordinates.dimension == 8

    @jax.jit
    @jax.vmap
    def round_trip(key):
        trace = run_trace(hierarchy, X, y, key=key)
        sites = {name: trace[name]["value"] for name in coordinates.names}
        z = coordinates.flatten(coordinates.forward(sites))
        return sites, z, coordinates.inverse(coordinates.unflatten(z))

    sites, z, back = round_trip(jax.random.split(jax.random.key(2), 4000))
    z = np.asarray(z)
    assert all(stats.kstest(column, "norm").pvalue > 1e-4 for column in np.asarray(z).T)
    # independence: no rank correlation, not even between squares (parents set the scale of children)
    squares = np.concatenate([z, z**2], axis=1)
    rho = stats.spearmanr(squares).statistic - np.eye(16)
    rho[:8, 8:] = rho[8:, :8] = 0
    assert np.abs(rho).max() < 4.5 / 4000**0.5
    for name in coordinates.names:
        np.testing.assert_allclose(back[name], sites[name], rtol=1e-8)


def test_moments_do_not_make_a_funnel_normal():
    """The control: the whitened child of a funnel is rejected, its transported one is not."""
    scale = np.exp(np.random.default_rng(0).standard_normal(4000))
    child = scale * np.random.default_rng(1).standard_normal(4000)
    assert stats.kstest(child / child.std(), "norm").pvalue < 1e-10


def test_field_is_reproduced_from_the_coordinates():
    coordinates = StandardNormalCoordinates(hierarchy, X)

    def lengths(vector):
        z = coordinates.unflatten(vector)
        values = coordinates.inverse(z)
        return values["lengths"].sum(), (z, values)

    inverse = jax.jit(jax.grad(lengths, has_aux=True))
    _, (z, values) = inverse(np.linspace(-1.0, 1.0, 8))
    assert values["level"].shape == (3,)
    np.testing.assert_allclose(values["level"], values["rate"] + values["spread"] * z["level"], rtol=1e-12)
    np.testing.assert_allclose(values["lengths"], np.exp(np.exp(values["level"]) * z["lengths"]), rtol=1e-12)
    assert np.all(np.isfinite(inverse(np.full(8, 0.1))[0]))


def test_missing_sites_are_refused():
    coordinates = StandardNormalCoordinates(hierarchy, X)
    with pytest.raises(ValueError, match="'rate' has no value"):
        coordinates.forward({"spread": 1.0})


def test_whitening_a_half_normal_by_moments_moves_its_fixed_point():
    """T7: whitened by moments in log coordinates N(0, 1) means E θ = .98; the prior's is √(2/π) = .798."""
    log_theta = np.log(np.abs(np.random.default_rng(0).standard_normal(200_000)))
    xi = np.random.default_rng(1).standard_normal(200_000)
    drifted = np.exp(log_theta.mean() + log_theta.std() * xi)
    exact = np.exp(-(np.euler_gamma + np.log(2)) / 2 + np.pi**2 / 16)  # E log|ξ| and Var log|ξ| = π²/8
    assert exact == pytest.approx(0.9818, abs=5e-4)
    assert abs(drifted.mean() - exact) < 0.03
    theta = np.asarray(from_standard_normal(dist.HalfNormal(1.0), xi[:4000]))
    assert abs(theta.mean() - np.sqrt(2 / np.pi)) < 4 * theta.std() / 4000**0.5
