"""The tree of draws of any model: each group against scipy, dimensions, held-out rows."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from brg_prob.network import Conditioned
from brg_prob.posterior.model_tree import model_tree, site_values
from brg_prob.results import key_to_json

X = np.linspace(-1.0, 1.0, 5)[:, None]
Y = np.array([0.1, -0.4, np.nan, 0.3, 0.2])
ATTRS = {"engine": "given", "observations": 4.0, "independent": 0, "key": key_to_json(jax.random.key(3))}


def line(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    f = numpyro.deterministic("f", w[0] + w[1] * x[:, 0])
    numpyro.sample("y", dist.Normal(f, sigma), obs=y)


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(2, 500, 2)), "sigma": np.abs(rng.normal(size=(2, 500))) + 0.1}


@pytest.fixture(scope="module")
def tree(draws):
    data = Conditioned.of(line, X, Y)
    held_out = data.at(X[:2] + 0.1, np.array([0.0, 1.0]))
    return model_tree(
        data, draws, attrs=ATTRS, held_out=held_out, sample_stats={"diverging": np.zeros((2, 500))}
    )


def test_every_group_is_what_scipy_says(tree, draws):
    f = draws["w"][..., :1] + draws["w"][..., 1:] * X[:, 0]
    np.testing.assert_allclose(tree["posterior"]["f"], f, rtol=1e-12)
    expected = np.nan_to_num(stats.norm.logpdf(Y, f, draws["sigma"][..., None]))
    np.testing.assert_allclose(tree["log_likelihood"]["y"], expected, rtol=1e-10)
    np.testing.assert_allclose(tree["log_prior"]["w"], stats.norm.logpdf(draws["w"]).sum(-1), rtol=1e-10)
    np.testing.assert_allclose(tree["log_prior"]["sigma"], stats.halfnorm.logpdf(draws["sigma"]), rtol=1e-10)
    there = draws["w"][..., :1] + draws["w"][..., 1:] * (X[:2, 0] + 0.1)
    score = stats.norm.logpdf([0.0, 1.0], there, draws["sigma"][..., None])
    np.testing.assert_allclose(tree["predictions_log_likelihood"]["y"], score, rtol=1e-10)
    np.testing.assert_allclose(tree["observed_data"]["y"], Y)


def test_dimensions_are_named_and_attributes_say_what_it_is(tree, draws):
    assert tree["posterior"]["w"].dims == ("chain", "draw", "w_dim_0")
    assert tree["posterior"]["f"].dims == ("chain", "draw", "x")
    assert tree["predictions"]["f"].dims == ("chain", "draw", "x_held_out")
    assert tree["constant_data"]["inputs"].dims == ("x", "dim")
    assert (tree.attrs["kind"], tree.attrs["n"], tree.attrs["parameters"]) == ("model", 4, 3)
    for name, value in site_values(tree).items():
        np.testing.assert_array_equal(value, draws[name])


def test_y_is_drawn_anew_by_the_observation_s_own_law(tree, draws):
    f = draws["w"][..., :1] + draws["w"][..., 1:] * X[:, 0]
    uniform = stats.norm.cdf(tree["posterior_predictive"]["y"], f, draws["sigma"][..., None])
    assert stats.kstest(uniform.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(stats.norm.cdf(1.2 * stats.norm.ppf(uniform.ravel())), "uniform").pvalue < 1e-3


def test_the_key_decides_on_the_draws_of_y(draws):
    data = Conditioned.of(line, X, Y)
    few = {name: value[:, :4] for name, value in draws.items()}
    one, again, other = (
        model_tree(data, few, attrs=ATTRS | {"key": key_to_json(jax.random.key(k))}) for k in (3, 3, 4)
    )
    y = [np.asarray(tree["posterior_predictive"]["y"]) for tree in (one, again, other)]
    np.testing.assert_array_equal(y[0], y[1])
    assert not np.any(y[0] == y[2])
    assert jnp.asarray(y[0]).shape == (2, 4, 5)
