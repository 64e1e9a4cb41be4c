"""The field of a model without a site "f": the mean of what is observed, a value for each row."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy import stats

from brg_prob.network import Conditioned

N = 7
X = np.linspace(0.5, 2.0, N)[:, None]
Y = np.array([0.3, -0.4, 1.2, 0.7, -0.1, 0.9, 2.0])
W = {"w": 0.8}


def test_a_law_without_a_mean_shows_its_median():
    """NumPyro gives NaN for the mean of a Cauchy, and infinity for those of fewer moments."""
    for law, median in (
        (dist.Cauchy, lambda mu: mu),
        (lambda mu, s: dist.StudentT(0.8, mu, s), lambda mu: mu),
        (lambda mu, s: dist.Cauchy(mu, s).to_event(1), lambda mu: mu),
        (lambda mu, s: dist.HalfCauchy(jnp.exp(mu)), np.exp),
    ):

        def heavy(x, y=None, law=law):
            w = numpyro.sample("w", dist.Normal(0, 1))
            numpyro.sample("y", law(w * x[:, 0], 0.5), obs=y)

        field = Conditioned.of(heavy, X, np.abs(Y)).field(W)
        np.testing.assert_allclose(field, median(0.8 * X[:, 0]), rtol=1e-6)


def test_categories_in_two_columns_have_the_probabilities_of_both():
    def two(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        logits = w * jnp.stack([x, -x], axis=1) * jnp.array([0.0, 1.0, 2.0])[:, None].T
        numpyro.sample("y", dist.Categorical(logits=logits).to_event(1), obs=y)

    y = np.stack([np.arange(N) % 3, np.arange(N) // 3], axis=1)
    data = Conditioned.of(two, X, y)
    both = np.exp(0.8 * X[:, :, None] * np.array([[1.0], [-1.0]]) * np.arange(3))
    p = both / both.sum(-1, keepdims=True)
    np.testing.assert_allclose(data.field(W), p, rtol=1e-12)
    chosen = np.take_along_axis(p, y[:, :, None], axis=2)[..., 0]
    np.testing.assert_allclose(data.log_likelihood(W)["y"], np.log(chosen).sum(1), rtol=1e-12)


def test_the_field_of_a_lagged_series_has_the_rows_that_have_a_law():
    def lag(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(w * y[:-1], 1.0), obs=y[1:])

    found = jax.jit(Conditioned.of(lag, X, Y).field)(W)
    np.testing.assert_allclose(found, 0.8 * Y[:-1], rtol=1e-12)


def test_a_mixture_inside_a_scan_is_asked_for_a_field_and_read_with_one():
    """NumPyro's scan stacks the parts of a mixture without their shape, so that its mean fails."""

    def series(x, y=None, *, field):
        w = numpyro.sample("w", dist.Normal(0, 1))
        if field:
            numpyro.deterministic("f", w * x[:, 0])

        def step(past, now):
            parts = dist.Normal(jnp.stack([w * past, w * past + 2.0]), 1.0)
            now = numpyro.sample(
                "y", dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.3, 0.7])), parts), obs=now
            )
            return now, None

        scan(step, 0.0, y, length=x.shape[0])

    with pytest.raises(
        ValueError, match=r'no site "f" with a value per row and its observation \'y\' has no mean; add'
    ) as caught:
        Conditioned.of(partial(series, field=False), X, Y)
    assert "\n" not in str(caught.value)
    past = 0.8 * np.concatenate([[0.0], Y[:-1]])
    expected = np.log(0.3 * stats.norm.pdf(Y, past) + 0.7 * stats.norm.pdf(Y, past + 2.0))
    found = Conditioned.of(partial(series, field=True), X, Y).log_likelihood(W)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
