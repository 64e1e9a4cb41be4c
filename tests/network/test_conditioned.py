"""Any NumPyro model with its data: plates, masks, factors, missing rows, several sites, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy import stats

from brg_prob.network import Conditioned

X = np.linspace(0.0, 1.0, 6)[:, None]
COUNTS = np.array([1.0, 0.0, 2.0, np.nan, 3.0, 1.0])
VALUES = {"s": 1.2, "a": 0.3}


def counts(x, y=None):
    """A HalfNormal scale, a subsampled plate, a prior factor."""
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    a = numpyro.sample("a", dist.Normal(0.0, s))
    with numpyro.plate("rows", x.shape[0], subsample_size=3):
        at = numpyro.subsample(x, event_dim=1)
        seen = None if y is None else numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Poisson(jnp.exp(a * at[:, 0])), obs=seen)
    numpyro.factor("interaction", -(a**2))


@pytest.fixture(scope="module")
def data():
    return Conditioned.of(counts, X, COUNTS)


WEIGHTS = (0.0, 2.0, 5.0)


@pytest.fixture(scope="module")
def found(data):
    """Likelihood, field, prior and tempered densities at VALUES, by one compiled function."""

    @jax.jit
    def run(values):
        densities = [log_density(data.tempered(weight), (), {}, values)[0] for weight in WEIGHTS]
        return data.log_likelihood(values)["y"], data.field(values), data.log_prior(values), densities

    return jax.tree.map(np.asarray, run(VALUES))


def test_subsampled_plates_run_whole_and_missing_rows_count_for_nothing(data, found):
    kept = ~np.isnan(COUNTS)
    expected = np.where(kept, stats.poisson.logpmf(np.nan_to_num(COUNTS), np.exp(0.3 * X[:, 0])), 0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert data.n == 5
    np.testing.assert_allclose(found[1], np.exp(0.3 * X[:, 0]), rtol=1e-12)


def test_the_missing_value_itself_does_not_matter_and_a_present_one_does(data, found):
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(data.log_likelihood({"s": 1.2, "a": a})["y"])))
    filled = COUNTS.copy()
    filled[3] = 40
    other = jax.jit(Conditioned.of(counts, X, filled).log_likelihood)
    assert np.isfinite(gradient(0.3))
    assert abs(np.sum(np.asarray(other(VALUES)["y"])) - np.sum(found[0])) > 1


def test_log_prior_is_by_site_with_the_factors_of_the_prior(found):
    found = found[2]
    assert set(found) == {"s", "a", "interaction"}
    np.testing.assert_allclose(found["s"], stats.halfnorm.logpdf(1.2), rtol=1e-12)
    np.testing.assert_allclose(found["a"], stats.norm.logpdf(0.3, scale=1.2), rtol=1e-12)
    np.testing.assert_allclose(found["interaction"], -0.09, rtol=1e-12)


def test_tempering_weighs_the_likelihood_and_nothing_else(found):
    likelihood, _, prior, densities = found
    for weight, density in zip(WEIGHTS, densities, strict=True):
        expected = sum(prior.values()) + weight / 5 * np.sum(likelihood)
        np.testing.assert_allclose(density, expected, rtol=1e-12)


def test_a_factor_of_the_likelihood_is_tempered_when_named():
    named = Conditioned.of(counts, X, COUNTS, likelihood_factors=("interaction",))
    assert set(named.log_prior(VALUES)) == {"s", "a"}
    at_prior, _ = log_density(named.tempered(0.0), (), {}, VALUES)
    np.testing.assert_allclose(at_prior, sum(named.log_prior(VALUES).values()), rtol=1e-12)
    with pytest.raises(ValueError, match=r"'missing' is no factor of the model; its factors: interaction"):
        Conditioned.of(counts, X, COUNTS, likelihood_factors=("missing",))


def outputs(x, y=None):
    """Two outputs per row and a second observed site of another length."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(x * w, 0.5).to_event(1), obs=y)
    numpyro.sample("extra", dist.Normal(w[0], 1.0).expand([3]), obs=jnp.zeros(3))


def test_several_outputs_are_one_observation_and_other_sites_keep_their_shape():
    y = np.stack([X[:, 0], -X[:, 0]], axis=1)
    y[2, 1] = np.nan  # the other half of the row counts
    found = jax.jit(Conditioned.of(outputs, X, y).log_likelihood)({"w": np.array([1.0, 2.0])})
    expected = np.nansum(stats.norm.logpdf(y, X * [1.0, 2.0], 0.5), axis=1)
    np.testing.assert_allclose(found["y"], expected, rtol=1e-12)
    assert found["extra"].shape == (3,)


def categories(x, y=None):
    """Three categories, and no field of its own."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    numpyro.sample("y", dist.Categorical(logits=x * w), obs=y)


def test_the_field_of_categories_are_their_probabilities():
    data = Conditioned.of(categories, X, np.array([0.0, 1, 2, 0, 1, 1]))
    found = jax.jit(data.field)({"w": np.array([1.0, 0, 2])})
    odds = np.exp(X * [1.0, 0.0, 2.0])
    np.testing.assert_allclose(found, odds / odds.sum(axis=1, keepdims=True), rtol=1e-12)


def noisy(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    noise = jax.random.normal(numpyro.prng_key(), (x.shape[0],))
    numpyro.sample("y", dist.Normal(slope * x[:, 0] + noise, 1.0), obs=y)


def mixture(x, y=None):
    which = numpyro.sample("which", dist.Bernoulli(0.3))
    numpyro.sample("y", dist.Normal(which * x[:, 0], 1.0), obs=y)


def per_row(x, y=None):
    u = numpyro.sample("u", dist.Normal(0.0, 1.0).expand([x.shape[0]]))
    numpyro.sample("y", dist.Normal(u, 1.0), obs=y)


def improper(x, y=None):
    with numpyro.plate("rows", 3, dim=-1):
        numpyro.sample("level", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(x[:, 0], 1.0), obs=y)


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (improper, np.zeros(6), r"site 'level' has an improper prior.*such as a wide Normal"),
        (noisy, np.zeros(6), r"site 'y' changes with the random key at fixed latent sites"),
        (mixture, np.zeros(6), r"site 'which' is discrete and latent.*MixtureSameFamily"),
        (counts, np.full(6, 0.5), r"site 'y' takes whole numbers, but y has 0.5"),
        (counts, np.full(6, np.nan), r"none of the 6 rows has an observation"),
    ],
)
def test_what_cannot_be_conditioned_is_refused_by_the_name_of_its_site(model, y, message):
    with pytest.raises(ValueError, match=message) as caught:
        Conditioned.of(model, X, y)
    assert "\n" not in str(caught.value)


def test_latent_variables_per_row_say_nothing_of_other_rows():
    with pytest.raises(ValueError, match=r"site 'u' has shape \(6,\), an entry per row.*--held-out none"):
        Conditioned.of(per_row, X, np.zeros(6)).at(X[:2], np.zeros(2))
    assert Conditioned.of(counts, X, COUNTS).at(X[:3], COUNTS[:3]).n == 3


def test_a_draw_of_what_a_scan_observes_has_the_law_of_each_step():
    """Also of a compound law, whose parts do not know that NumPyro's scan has stacked them."""
    means, counts = np.array([0.5, 2.0, 6.0]), np.array([1.0, 0.0, 4.0])

    def model(x, y=None, gate=0.0):
        scale = numpyro.sample("scale", dist.LogNormal(0, 1))

        def step(carry, now):
            mean, value = now
            law = dist.ZeroInflatedPoisson(gate, scale * mean) if gate else dist.Normal(scale * mean, 1)
            numpyro.sample("y", law, obs=value)
            return carry, None

        scan(step, 0.0, (jnp.asarray(means), y))
        numpyro.deterministic("f", scale * means)

    for gate, mean, sd in (
        (0.0, 2 * means, np.ones(3)),
        (0.25, 1.5 * means, np.sqrt(1.5 * means * (1 + 0.25 * 2 * means))),
    ):
        data = Conditioned.of(functools.partial(model, gate=gate), np.zeros((3, 1)), counts)
        keys = jax.random.split(jax.random.key(0), 4000)
        draws = jax.jit(jax.vmap(lambda key, data=data: data.predictive({"scale": 2.0}, key)["y"]))(keys)
        assert draws.shape == (4000, 3)
        np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5 * sd.max() / np.sqrt(4000))
        np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.1)
        assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 5 / np.sqrt(4000)
