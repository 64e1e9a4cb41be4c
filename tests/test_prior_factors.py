"""A prior with a factor is not the law of its sites: its draws are NUTS's, held against closed forms."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.diagnostics import effective_sample_size

from brg_prob.cli import loading
from brg_prob.cli.request import parse_run
from brg_prob.network import Conditioned
from brg_prob.prior import prior_factors, prior_fields, prior_point, sample_prior
from brg_prob.theory.tempered import GaussianTheory, TemperedTheory

KEY, N, SPREAD, NOISE = jax.random.key(0), 60, np.array([1.0, 2.0, 0.5]), 0.6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3)) * np.array([1, 0.3, 2])
Y = X @ np.array([0.7, -1, 0.2]) + NOISE * RNG.normal(size=N)


def linear(x, y=None):
    w = numpyro.sample("w", dist.Normal(jnp.zeros(3), jnp.asarray(SPREAD)).to_event(1))
    numpyro.sample("y", dist.Normal(numpyro.deterministic("f", x @ w), NOISE), obs=y)


def weighed(x, y=None):
    """N(0, 1) times exp(−10a²), that is N(0, 1/21); what it observes is discrete, and is not sampled."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    numpyro.factor("weight", -10 * a**2)
    numpyro.sample("y", dist.Bernoulli(logits=numpyro.deterministic("f", a * x[:, 0])), obs=y)


def assert_normal(draws, mean, sd):
    """Assert moments of draws (chain, draw, …) within four Monte-Carlo errors."""
    size, squares = effective_sample_size(draws), effective_sample_size((draws - draws.mean((0, 1))) ** 2)
    assert np.all(np.abs(draws.mean((0, 1)) - mean) < 4 * sd / np.sqrt(size))
    assert np.all(np.abs(draws.std((0, 1)) / sd - 1) < 4 * np.sqrt(0.5 / squares))


def test_a_tempered_theory_is_drawn_from_and_not_the_model_it_began_with():
    seen = 12.0
    theory = TemperedTheory(Conditioned.of(linear, X, Y), seen)
    found = sample_prior(theory, X[:7], key=KEY, draws=2000)
    covariance = np.linalg.inv(np.diag(1 / SPREAD**2) + seen / N * X.T @ X / NOISE**2)
    mean, other = X[:7] @ covariance @ (seen / N * X.T @ Y / NOISE**2), X[:7]
    assert_normal(found["prior"]["f"].values, mean, np.sqrt(np.sum((other @ covariance) * other, axis=1)))
    with pytest.raises(AssertionError):  # the prior that has seen nothing
        assert_normal(found["prior"]["f"].values, 0 * mean, np.sqrt(np.sum((other * SPREAD) ** 2, axis=1)))
    assert found["prior"]["f"].shape == (4, 500, 7)
    assert (found.attrs["independent"], found.attrs["warmup"]) == (0, 1000)
    assert found.attrs["factors"] == '["seen"]'
    assert not found["sample_stats"]["diverging"].values.any()


def test_a_factor_of_the_prior_weighs_draws_with_and_without_targets():
    sd = 21**-0.5
    found = sample_prior(weighed, X[:3], key=KEY, draws=2000)["prior"]
    assert_normal(found["a"].values, 0.0, sd)
    np.testing.assert_allclose(found["f"].values, found["a"].values[..., None] * X[:3, 0], atol=1e-12)
    read = Conditioned.of(weighed, X[:3], np.array([1.0, 0.0, 1.0]))
    at, other = prior_fields(read, [read], key=KEY, draws=2000)
    assert_normal(np.asarray(at)[:, 0].reshape(4, -1) / X[0, 0], 0.0, sd)
    np.testing.assert_array_equal(at, other)


def test_what_weighs_nothing_or_cannot_be_drawn_is_told_apart():
    def constant(x, y=None):
        numpyro.factor("normalisation", -3.5)
        weighed(x, y)

    assert prior_factors(constant, X) == ("weight",)
    assert prior_factors(linear, X) == () and prior_point(linear, X, key=KEY) == {}

    def counted(x, y=None):
        k = numpyro.sample("k", dist.Poisson(1.0))
        numpyro.factor("weight", -1.0 * k)
        numpyro.sample("y", dist.Normal(k * x[:, 0], 1.0), obs=y)

    with pytest.raises(ValueError, match="factor 'weight', so it is drawn by NUTS, and site 'k' is discrete"):
        sample_prior(counted, X, key=KEY, draws=10)


def test_a_gaussian_fit_has_the_factors_of_the_prior_in_its_law_already():
    @dataclasses.dataclass(frozen=True)
    class Plain:
        def unflatten(self, vector):
            return {"a": vector[0]}

        def inverse(self, z):
            return z

    theory = GaussianTheory(Conditioned.of(weighed, X), Plain(), jnp.zeros(1), jnp.eye(1) / 21)
    trace = handlers.trace(handlers.seed(theory, KEY)).get_trace(X)
    assert [name for name, site in trace.items() if site["type"] == "sample"] == ["z", "y"]


def test_a_teacher_is_a_draw_of_the_weighed_prior(tmp_path, monkeypatch):
    text = "import numpyro\nimport numpyro.distributions as dist\n\n\ndef model(x, y=None):\n"
    text += "    a = numpyro.sample('a', dist.Normal(0.0, 1.0))\n"
    text += "    numpyro.factor('weight', -1e4 * (a - 5.0) ** 2)\n"
    text += "    numpyro.sample('y', dist.Normal(a * x[:, 0], 0.01), obs=y)\n"
    Path(tmp_path / "weighed.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with loading._precision(False):
        request = parse_run(["weighed.py", "--points", "20", "--out", "new"])
        problem = loading._loaded(request, None)[0]
    np.testing.assert_allclose(problem.y, 5 * problem.x[:, 0], atol=0.3)
