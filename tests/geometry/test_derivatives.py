"""Models that lack a kind of derivative, and models with scans: metric, mode and coordinates all the same."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.scipy.special import betainc
from numpyro.contrib.control_flow import scan

from brg_prob.geometry import site_metric
from brg_prob.geometry.coordinates import NoTransport, StandardNormalCoordinates
from brg_prob.geometry.derivatives import no_forward_mode, no_reverse_mode
from brg_prob.geometry.gaussian_coordinates import GaussianCoordinates
from brg_prob.network import Conditioned
from brg_prob.posterior.engine import as_data
from brg_prob.posterior.laplace import Laplace

T = np.linspace(0.5, 3.0, 6)
X = T[:, None]
NOISE = 0.05
Y = np.exp(-0.7 * T) + 0.02 * np.cos(9 * T)


def with_backward(backward):
    """Return k ↦ exp(−k t) with a reverse derivative of its own."""

    @jax.custom_vjp
    def decay(k):
        return jnp.exp(-k * T)

    decay.defvjp(lambda k: (decay(k), k), lambda k, u: (backward(k, u),))
    return decay


def plain(k, u):
    """Return Aᵀu."""
    return jnp.sum(-T * jnp.exp(-k * T) * u)


def looped(k, u):
    """Return Aᵀu by a loop that has no reverse derivative."""

    def add(state):
        total, i = state
        t = jnp.asarray(T)[i]
        return total - t * jnp.exp(-k * t) * u[i], i + 1

    return jax.lax.while_loop(lambda state: state[1] < T.size, add, (jnp.zeros(()), 0))[0]


def decaying(decay):
    """Return a model whose rate is seen through a function."""

    def model(x, y=None):
        k = numpyro.sample("k", dist.LogNormal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(decay(k), NOISE), obs=y)

    return model


def information(k):
    """Return T λ at a rate: Σ (k t e^(−kt))²/σ²."""
    return np.sum((k * T * np.exp(-k * T)) ** 2) / NOISE**2


REVERSE, ONCE = decaying(with_backward(plain)), decaying(with_backward(looped))


def test_missing_derivatives_are_found_without_a_run():
    once = with_backward(looped)
    assert "custom_vjp" in no_forward_mode(once, 1.0)
    assert no_reverse_mode(once, 1.0) is None
    loop = lambda k: jax.lax.while_loop(lambda c: c < 3, lambda c: c + k, k)  # noqa: E731
    assert "Reverse-mode" in no_reverse_mode(loop, 1.0)
    assert no_forward_mode(loop, 1.0) is None


@pytest.mark.parametrize("method", ["dense", "leading"])
def test_a_model_without_forward_derivatives_has_its_metric(method):
    metric = site_metric(REVERSE, X, Y, at={"k": 0.7}, method=method)
    np.testing.assert_allclose(6 * metric.eigenvalues, [information(0.7)], rtol=1e-8)
    np.testing.assert_allclose(6 * metric.diagonal, [information(0.7)], rtol=1e-8)
    assert "reverse derivatives only" in metric.status
    assert abs(6 * float(metric.eigenvalues[0]) / information(0.71) - 1) > 1e-3


def test_products_without_a_derivative_are_refused_with_the_remedy():
    metric = site_metric(ONCE, X, Y, at={"k": 0.7})
    np.testing.assert_allclose(6 * metric.eigenvalues, [information(0.7)], rtol=1e-8)
    with pytest.raises(ValueError, match="use method='dense'"):
        site_metric(ONCE, X, Y, at={"k": 0.7}, method="leading")


def test_a_model_without_reverse_derivatives_has_a_dense_metric():
    def stepwise(k):  # three steps, but JAX is not told how many
        third = lambda c: (c[0] + k * T / 3, c[1] + 1)  # noqa: E731
        return jnp.exp(-jax.lax.while_loop(lambda c: c[1] < 3, third, (0 * T, 0))[0])

    metric = site_metric(decaying(stepwise), X, Y, at={"k": 0.7})
    np.testing.assert_allclose(6 * metric.eigenvalues, [information(0.7)], rtol=1e-8)
    assert "forward derivatives only" in metric.status


@functools.cache
def fitted(model):
    """Return the tree of a Laplace approximation."""
    return Laplace().fit(model, as_data(X, Y), key=jax.random.key(0), draws=50, observations=6.0)


@pytest.mark.parametrize(
    ("model", "said", "tolerance"),
    [(REVERSE, "Hessian by reverse derivatives", 1e-9), (ONCE, "Hessian by central differences", 1e-6)],
    ids=["reverse", "differences"],
)
def test_laplace_finds_the_curvature_by_what_derivatives_there_are(model, said, tolerance):
    known, other = fitted(decaying(lambda k: jnp.exp(-k * T))), fitted(model)
    np.testing.assert_allclose(other["posterior"]["k"], known["posterior"]["k"], rtol=tolerance)
    assert said in other.attrs["status"]
    assert "Hessian by" not in known.attrs["status"]


class Arcsine(dist.Distribution):
    """A symmetric Beta law of a user, whose distribution function JAX does not differentiate in a."""

    arg_constraints: ClassVar = {"a": dist.constraints.positive}
    support = dist.constraints.unit_interval

    def __init__(self, a):
        self.a = a
        super().__init__(jnp.shape(a), ())

    def sample(self, key, sample_shape=()):
        """Draw."""
        return jax.random.beta(key, self.a, self.a, sample_shape + self.batch_shape)

    def log_prob(self, value):
        """Return the log density."""
        return dist.Beta(self.a, self.a).log_prob(value)

    def cdf(self, value):
        """Return the distribution function."""
        return betainc(self.a, self.a, value)


def test_a_distribution_function_without_derivative_by_latent_parents_is_named():
    def model(fixed):
        def sites(x, y=None):
            a = numpyro.sample("a", dist.LogNormal(0.0, 1.0))
            p = numpyro.sample("p", Arcsine(2.0 if fixed else a))
            numpyro.sample("y", dist.Normal(p * x[:, 0], a), obs=y)

        return sites

    with pytest.raises(
        NoTransport, match=r"site 'p': the distribution function of Arcsine has no derivative"
    ):
        StandardNormalCoordinates(model(False), X, Y)
    assert StandardNormalCoordinates(model(True), X, Y).dimension == 2


def test_an_observed_series_inside_a_scan_has_its_information():
    """T λ of a coefficient is Σ past²/σ², given the series."""

    def autoregression(x, y=None):
        phi = numpyro.sample("phi", dist.Normal(0.0, 1.0))
        step = lambda past, now: (numpyro.sample("y", dist.Normal(phi * past, 0.5), obs=now), None)  # noqa: E731
        scan(step, 0.0, y, length=x.shape[0])

    metric = site_metric(autoregression, X, Y)
    expected = np.sum(Y[:-1] ** 2) / 0.25
    np.testing.assert_allclose(6 * metric.eigenvalues, [expected], rtol=1e-10)
    assert abs(np.sum(Y**2) / 0.25 / expected - 1) > 1e-3
    assert metric.transport


def volatility(reverse=False, factor=False):
    """Return a stochastic-volatility model: a latent walk of the logarithm of a variance, inside a scan."""

    def model(x, y=None):
        phi = numpyro.sample("phi", dist.Uniform(0.5, 1.0))
        spread = numpyro.sample("spread", dist.HalfNormal(0.5))

        def step(level, _):
            level = numpyro.sample("level", dist.Normal(phi * level, spread))
            return level, level

        _, levels = scan(step, 0.3, None, length=x.shape[0], reverse=reverse)
        if factor:
            numpyro.factor("calm", -0.1 * levels[-1] ** 2)
        numpyro.sample("y", dist.Normal(0.0, jnp.exp(levels / 2)), obs=y)

    return model


def recursion(phi, steps):
    """Return the levels of given steps."""
    level, levels = 0.3, []
    for step in steps:
        level = phi * level + step
        levels.append(level)
    return np.array(levels)


def test_latent_sites_inside_a_scan_have_exact_coordinates():
    coordinates = StandardNormalCoordinates(volatility(), X, Y)
    vector = np.random.default_rng(0).standard_normal(8)

    @jax.jit
    def there_and_back(vector):
        values = coordinates.inverse(coordinates.unflatten(vector))
        return values, coordinates.flatten(coordinates.forward(values))

    values, back = there_and_back(vector)
    np.testing.assert_allclose(back, vector, atol=1e-12)
    levels = recursion(float(values["phi"]), float(values["spread"]) * vector[2:])
    np.testing.assert_allclose(values["level"], levels, atol=1e-12)
    assert not np.allclose(values["level"], recursion(1.0, float(values["spread"]) * vector[2:]))
    with pytest.raises(NoTransport, match="site 'level' is latent inside a scan that runs backwards"):
        StandardNormalCoordinates(volatility(reverse=True), X, Y)


def test_latent_sites_inside_a_scan_have_approximate_coordinates_where_a_factor_asks_for_them():
    conditioned = Conditioned.of(volatility(factor=True), X, Y)
    coordinates = GaussianCoordinates.of(conditioned, key=jax.random.key(0))
    vector = np.random.default_rng(1).standard_normal(8)

    @jax.jit
    def there_and_back(vector):
        values = coordinates.inverse(coordinates.unflatten(vector))
        return values["level"], coordinates.flatten(coordinates.forward(values))

    level, back = there_and_back(vector)
    np.testing.assert_allclose(back, vector, atol=1e-10)
    expected = coordinates.means["level"] + coordinates.roots["level"] @ vector[2:]
    np.testing.assert_allclose(level, expected, atol=1e-12)
