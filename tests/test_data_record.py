"""What stands beside the data of a general model: the mean of the observation, never log-odds."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy.special import expit

from brg_prob import figures
from brg_prob.data_record import Record, recorded
from brg_prob.network import Conditioned
from brg_prob.posterior.model_tree import model_tree
from brg_prob.results import key_to_json

X = np.linspace(-2.0, 2.0, 6)[:, None]
Y = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
KEY = jax.random.key(0)
SLOPES = np.random.default_rng(1).normal(1.5, 0.4, size=(1, 300))


def observed_as(observation):
    """Return a model of one slope whose field is named, observed through ``observation(f)``."""

    def model(x, y=None):
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        f = numpyro.deterministic("f", slope * x[:, 0])
        numpyro.sample("y", observation(f), obs=y)

    return model


def record_of(observation):
    """Return the record of that model at given draws of its slope."""
    model = observed_as(observation)
    conditioned = Conditioned.of(model, X, Y)
    attrs = {"engine": "given", "observations": 6.0, "independent": 1, "key": key_to_json(KEY)}
    posterior = model_tree(conditioned, {"slope": SLOPES}, attrs=attrs)
    return recorded(model, posterior, Record(), KEY, conditioned=conditioned)


@pytest.fixture(scope="module")
def yes_no():
    return record_of(lambda f: dist.Bernoulli(logits=f))


def test_probabilities_stand_beside_yes_and_no(yes_no):
    assert yes_no.attrs["shown"] == "mean"
    probability = expit(SLOPES[0][:, None] * X[:, 0])
    np.testing.assert_allclose(yes_no["posterior_mean"], probability.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(yes_no["posterior_sd"], probability.std(axis=0, ddof=1), rtol=1e-10)
    # 400 draws of the prior: E expit is ½ by symmetry, and no draw leaves (0, 1)
    error = yes_no["prior_sd"].values / np.sqrt(400)
    assert np.all(np.abs(yes_no["prior_mean"].values - 0.5) < 4 * error)
    assert np.all((yes_no["prior_draw"] > 0) & (yes_no["prior_draw"] < 1))
    np.testing.assert_array_equal(yes_no["value"], Y)


def test_the_figure_says_what_it_shows(yes_no):
    picture = figures.field_picture(tree_of(yes_no))
    assert "the expected observation to" in picture.title
    assert "of the expected observation" in picture.caption


def test_a_field_that_is_mean_or_median_is_kept_and_the_chances_of_categories_are_not_drawn():
    normal = record_of(lambda f: dist.Normal(f, 1.0))
    assert normal.attrs["shown"] == "field"
    np.testing.assert_allclose(normal["posterior_mean"], SLOPES.mean() * X[:, 0], rtol=1e-12)
    assert "the field to" in figures.field_picture(tree_of(normal)).title
    cauchy = record_of(lambda f: dist.Cauchy(f, 1.0))
    assert cauchy.attrs["shown"] == "field"  # no mean, and f is its median
    categories = record_of(lambda f: dist.Categorical(logits=jnp.stack([0 * f, f], axis=-1)))
    assert categories.attrs["shown"] == "none"
    assert figures.field_picture(tree_of(categories)) is None


def tree_of(record):
    """Return a tree with the record alone."""
    return xr.DataTree.from_dict({"record": record})
