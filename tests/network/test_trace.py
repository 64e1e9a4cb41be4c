"""Reading NumPyro models and tempering their observations, against NumPyro's own log_density."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density, potential_energy

from brg_prob.network import Tempered
from brg_prob.network.trace import field, field_at, read_model, run_trace

N = 6
X = jnp.linspace(0.0, 1.0, N)[:, None]
Y = jnp.sin(3.0 * X[:, 0])


def two_layer(x, y=None):
    """A network with a scalar, a vector and a matrix site, and a named field."""
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    inner = numpyro.sample("inner", dist.Normal(0.0, 1.0).expand([1, 3]).to_event(2))
    outer = numpyro.sample("outer", dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3)))
    f = numpyro.deterministic("f", scale * jnp.tanh(x @ inner) @ outer)
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(f, 0.3), obs=y)


def no_field(x, y=None, offset=0.0):
    """A classifier without "f", observing a site called otherwise."""
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("label", dist.Bernoulli(logits=slope * x[:, 0] + offset), obs=y)


def interacting(x, y=None):
    """A factor in the prior, a mask, a subsampling scale and two observed sites."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    with numpyro.plate("sites", 4):
        b = numpyro.sample("b", dist.Gamma(2.0, 1.0))
    numpyro.factor("quartic", -(a**4))
    with (
        numpyro.plate("rows", x.shape[0]),
        handlers.mask(mask=jnp.arange(x.shape[0]) < 4),
        handlers.scale(scale=2.5),
    ):
        numpyro.sample("y", dist.Normal(a * x[:, 0], 0.5), obs=y)
    numpyro.sample("count", dist.Poisson(jnp.sum(b)), obs=3)


VALUES = {"a": jnp.array(0.7), "b": jnp.array([0.5, 1.0, 2.0, 0.1])}


@pytest.mark.parametrize("y", [None, Y])
def test_sites_are_read_whether_or_not_y_is_given(y):
    sites = read_model(two_layer, X, y)
    assert sites.latent_names == ("scale", "inner", "outer")
    assert [site.shape for site in sites.latent] == [(), (1, 3), (3,)]
    assert (sites.parameters, sites.hyperparameters) == (7, ("scale",))
    assert (sites.observation, sites.has_field, sites.field_shape) == ("y", True, (N,))
    assert sites.observed[0].shape == (N,)


def test_field_without_f_is_the_mean_of_the_observation():
    sites = read_model(no_field, X)
    assert (sites.observation, sites.has_field, sites.latent_names) == ("label", False, ("slope",))
    trace = run_trace(no_field, X, key=jax.random.key(1))
    expected = 1 / (1 + np.exp(-np.asarray(trace["slope"]["value"] * X[:, 0])))
    np.testing.assert_allclose(field(trace, "label"), expected, rtol=1e-12)
    shifted = field_at(no_field, {"slope": 2.0}, X, covariates={"offset": -1.0})
    np.testing.assert_allclose(shifted, 1 / (1 + np.exp(1 - 2 * np.asarray(X[:, 0]))), rtol=1e-12)


def test_the_field_of_a_law_without_a_mean_is_its_median():
    def exponential(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        law = dist.TransformedDistribution(dist.Normal(a * x[:, 0], 1.0), dist.transforms.ExpTransform())
        numpyro.sample("y", law, obs=y)

    np.testing.assert_allclose(
        field_at(exponential, {"a": 0.7}, X), np.exp(0.7 * np.asarray(X[:, 0])), rtol=1e-10
    )


def test_factors_masks_and_several_observations_are_told_apart():
    sites = read_model(interacting, X, Y)
    assert sites.factors == ("quartic",)
    assert [site.name for site in sites.observed] == ["y", "count"]
    assert (sites.observation, sites.parameters) == ("y", 5)
    assert sites.latent[1].support is dist.constraints.positive


def test_discrete_latents_are_marked():
    def mixture(x, y=None):
        z = numpyro.sample("z", dist.Categorical(jnp.array([0.4, 0.6])))
        numpyro.sample("y", dist.Normal(z.astype(x.dtype) * x[:, 0], 1.0), obs=y)

    assert [site.discrete for site in read_model(mixture, X).latent] == [True]


def test_a_model_that_observes_nothing_is_read():
    def free(x, y=None):
        a = numpyro.sample("a", dist.Normal(jnp.zeros(2), 1.0))
        numpyro.deterministic("f", a[0] + a[1] * x[:, 0])

    sites = read_model(free, X)
    assert (sites.observed, sites.observation, sites.parameters, sites.field_shape) == ((), None, 2, (N,))


def test_models_without_a_field_or_without_sites_are_refused_in_one_line():
    def pairs(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        pair = dist.MultivariateNormal(a * jnp.ones(2), jnp.eye(2))
        law = dist.TransformedDistribution(pair, dist.transforms.ExpTransform())
        numpyro.sample("y", law.expand([x.shape[0]]), obs=y)

    with pytest.raises(ValueError, match=r"has no mean; add numpyro\.deterministic"):
        read_model(pairs, X, jnp.ones((N, 2)))
    with pytest.raises(ValueError, match="no sample site"):
        read_model(lambda x, y=None: x, X)


def reference(values, fraction, y=Y):
    """Log density of ``interacting`` at T/n = fraction, with scipy, term by term."""
    from scipy import stats

    a, b = float(values["a"]), np.asarray(values["b"])
    prior = stats.norm.logpdf(a) + stats.gamma.logpdf(b, 2.0).sum() - a**4
    data = 2.5 * stats.norm.logpdf(np.asarray(y)[:4], a * np.asarray(X)[:4, 0], 0.5).sum()
    return prior + fraction * (data + stats.poisson.logpmf(3, b.sum()))


@pytest.mark.parametrize("observations", [0, 1.5, N, 20.0])
def test_tempering_scales_observations_only_with_plates_masks_and_scales_kept(observations):
    tempered = Tempered(interacting, observations=observations, total=N)
    value, _ = log_density(tempered, (X, Y), {}, VALUES)
    np.testing.assert_allclose(value, reference(VALUES, observations / N), rtol=1e-12)
    traced = jax.jit(
        lambda t: log_density(Tempered(interacting, observations=t, total=N), (X, Y), {}, VALUES)[0]
    )
    np.testing.assert_allclose(traced(float(observations)), value, rtol=1e-12)


def test_scaling_everything_is_another_thing():
    """The negative control: NumPyro's scale also scales the prior, and refuses T = 0."""
    value, _ = log_density(handlers.scale(interacting, scale=0.25), (X, Y), {}, VALUES)
    assert abs(value - reference(VALUES, 0.25)) > 1.0
    with pytest.raises(ValueError, match="positive"):
        handlers.scale(interacting, scale=0.0)


def test_a_factor_named_as_likelihood_is_tempered_too():
    tempered = Tempered(interacting, observations=0, total=N, likelihood_factors=["quartic"])
    value, _ = log_density(tempered, (X, Y), {}, VALUES)
    np.testing.assert_allclose(value, reference(VALUES, 0.0) + 0.7**4, rtol=1e-12)


def test_subsampled_plates_keep_their_weight():
    def model(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", N, subsample_size=2) as rows:
            numpyro.sample("y", dist.Normal(a, 1.0), obs=y[rows])

    values = {"a": jnp.array(0.2), "rows": jnp.array([1, 4])}
    seeded = handlers.seed(Tempered(model, observations=3, total=N), 0)
    value, _ = log_density(seeded, (X, Y), {}, values)
    normal = lambda d: -0.5 * d**2 - 0.5 * np.log(2 * np.pi)  # noqa: E731
    expected = normal(0.2) + 0.5 * 3.0 * normal(np.asarray(Y)[[1, 4]] - 0.2).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_observations_inside_a_scan_are_tempered():
    def chain(x, y=None):
        phi = numpyro.sample("phi", dist.Uniform(-1.0, 1.0))

        def step(previous, current):
            numpyro.sample("y", dist.Normal(phi * previous, 0.4), obs=current)
            return current, None

        scan(step, 0.0, y)

    values = {"phi": jnp.array(0.3)}
    parts = [log_density(Tempered(chain, observations=t, total=N), (X, Y), {}, values)[0] for t in (0, 3, N)]
    full, _ = log_density(chain, (X, Y), {}, values)
    np.testing.assert_allclose(parts, [-np.log(2), (full - np.log(2)) / 2, full], rtol=1e-12)


def test_zero_observations_is_the_prior_even_where_the_likelihood_is_impossible():
    def model(x, y=None):
        a = numpyro.sample("a", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Uniform(0.0, a), obs=y)

    def potential(a, t):
        tempered = Tempered(model, observations=t, total=2)
        return potential_energy(tempered, (X, jnp.array([0.5, 3.0])), {}, {"a": a})

    for t in (0.0, 1.0):
        assert np.isfinite(jax.jit(potential)(0.1, t)) == (t == 0)
    gradient = jax.jit(jax.grad(potential))(0.1, 0.0)
    np.testing.assert_allclose(gradient, jax.grad(lambda u: 0.5 * jnp.exp(2 * u) - u)(0.1), rtol=1e-12)
    with pytest.raises(ValueError, match="observations = -1"):
        Tempered(model, observations=-1, total=2)
    with pytest.raises(ValueError, match="total = 0"):
        Tempered(model, observations=1, total=0)
