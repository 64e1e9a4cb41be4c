"""Units of a prior without exact coordinates: singular, constant and heavy-tailed sites, and few draws."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from brg_prob.geometry import site_metric
from brg_prob.geometry.gaussian_coordinates import GaussianCoordinates, _tail_index, _units
from brg_prob.geometry.transport import NoTransport
from brg_prob.network import Conditioned

X = np.ones((5, 1))
Y = np.linspace(-1.0, 2.0, 5)
EQUAL = np.full(2000, 1 / 2000)


def odd(x, y=None):
    """A Cauchy site, a constant one, an ordinary one, and a factor that asks for the approximation."""
    far = numpyro.sample("far", dist.Cauchy(1.0, 2.0))
    fixed = numpyro.sample("fixed", dist.Delta(3.0))
    own = numpyro.sample("own", dist.Normal(0.0, 1.0))
    numpyro.factor("bowl", -0.5 * own**2)
    numpyro.sample("y", dist.Normal((far + fixed) * x[:, 0] + own, 1.0), obs=y)


def test_constant_and_heavy_tailed_sites_have_finite_units_that_are_named():
    metric = site_metric(odd, X, Y)
    assert "site 'far' by quantiles" in metric.status
    assert "site 'fixed' constant" in metric.status
    assert metric.labels == ("far", "own")
    spread = 2 * (stats.cauchy.ppf(stats.norm.cdf(1)) - stats.cauchy.ppf(stats.norm.cdf(-1))) / 2
    scale = float(metric.coordinates.roots["far"][0])
    assert scale == pytest.approx(spread, rel=5 * 0.05)  # five standard errors of a quantile of 2000 draws
    width = float(metric.coordinates.roots["own"][0, 0])
    assert width == pytest.approx(0.5**0.5, rel=0.1)
    np.testing.assert_allclose(metric.eigenvalues[0], scale**2 + width**2, rtol=1e-10)
    values = {"far": np.array([1.7]), "fixed": np.array([3.0]), "own": np.array([0.4])}
    back = metric.unwhiten(metric.whiten(values))
    for name, value in values.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-12)


def test_a_singular_covariance_keeps_the_directions_that_vary_whatever_their_units():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((2000, 2))
    draws = np.stack([base[:, 0], 1e-8 * base[:, 1], base[:, 0] - 3.0, np.full(2000, 4.0)], axis=1)
    unit = _units(draws, EQUAL)
    assert unit.root.shape == (4, 2)
    assert unit.how == "in the 2 of 4 directions in which it varies"
    np.testing.assert_allclose(unit.root @ unit.root.T, np.cov(draws.T, ddof=0), atol=1e-20, rtol=1e-8)
    whole = _units(base, EQUAL)
    assert whole.root.shape == (2, 2)
    assert whole.how == ""


def test_heavy_tails_are_told_from_those_that_have_a_variance():
    rng = np.random.default_rng(1)
    light = [rng.standard_normal((2000, 5)), rng.laplace(size=(2000, 5)), np.log(rng.random((2000, 5)))]
    heavy = [rng.standard_cauchy((2000, 5)), rng.standard_t(1.5, (2000, 5))]
    assert min(_tail_index(draws, EQUAL) for draws in light) > 2
    assert max(_tail_index(draws, EQUAL) for draws in heavy) < 2


def test_few_effective_draws_are_said_and_do_not_set_the_units():
    def pinned(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        numpyro.factor("pin", -0.5 * (a / 1e-4) ** 2)
        numpyro.sample("y", dist.Normal(a * x[:, 0], 1.0), obs=y)

    coordinates = GaussianCoordinates.of(Conditioned.of(pinned, X, Y), key=jax.random.key(0))
    assert coordinates.effective_draws < 20
    assert "too few to weight draws by the factor" in coordinates.note
    assert float(coordinates.roots["a"][0, 0]) == pytest.approx(1.0, rel=0.1)


def test_a_support_without_unconstrained_coordinates_is_named():
    def directed(x, y=None):
        u = numpyro.sample("u", dist.ProjectedNormal(jnp.array([1.0, 0.0])))
        numpyro.sample("y", dist.Normal(u[0] * x[:, 0], 1.0), obs=y)

    with pytest.raises(NoTransport, match="site 'u': ProjectedNormal has a support without unconstrained"):
        GaussianCoordinates.of(Conditioned.of(directed, X, Y), key=jax.random.key(0))
