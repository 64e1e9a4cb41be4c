"""The engine ``svi``: a guide fitted by stochastic gradients, and what says whether to trust it."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from brg_prob.posterior.engine import as_data
from brg_prob.posterior.variational import SVI, judged

NOISE = 0.5
X = jnp.linspace(0.2, 1, 12)[:, None]
Y = 1.3 * X[:, 0] + 0.1
DRAWS = 1000


def line(x, y=None):
    """Two strongly correlated weights."""
    level = numpyro.sample("level", dist.Normal(0.5, 1.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(level + slope * x[:, 0], NOISE), obs=y)


def oracle(observations):
    """Return mean and covariance of (level, slope), by dense numpy."""
    features = np.stack([np.ones(12), np.asarray(X[:, 0])], axis=1)
    weight = observations / 12 / NOISE**2
    covariance = np.linalg.inv(np.eye(2) + weight * features.T @ features)
    return covariance @ (np.array([0.5, 0.0]) + weight * features.T @ np.asarray(Y)), covariance


def run(model, engine, *, observations=12.0, seed=0, **options):
    """Return the tree of one fit."""
    return engine.fit(
        model, as_data(X, Y), key=jax.random.key(seed), draws=DRAWS, observations=observations, **options
    )


def weights(tree):
    """Return (DRAWS, 2)."""
    return np.stack([tree["posterior"][name].values[0] for name in ("level", "slope")], axis=1)


def pvalue(draws, mean, covariance):
    """Return the p-value of the sum of squares of whitened draws."""
    total = np.sum(np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T) ** 2)
    return 2 * min(f(total, draws.size) for f in (stats.chi2.cdf, stats.chi2.sf))


@pytest.fixture(scope="module")
def fitted():
    """Return one good fit at T = 4: a full normal, for which the posterior is one of its kind."""
    return run(line, SVI(guide="multivariate", learning_rate=0.02, steps=3000), observations=4.0)


def test_a_full_normal_finds_the_tempered_posterior(fitted):
    draws = weights(fitted)
    # the guide itself is off by the noise of its last steps: a tenth of a standard deviation is allowed
    mean, covariance = oracle(4.0)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T)
    assert np.abs(whitened.mean(axis=1)).max() < 0.1 + 4 / np.sqrt(DRAWS)
    np.testing.assert_allclose(np.cov(whitened), np.eye(2), atol=0.2 + 4 * np.sqrt(2 / DRAWS))
    wrong, spread = oracle(12.0)  # negative control: the posterior at T = n
    assert pvalue(draws, wrong, spread) < 1e-9


def test_convergence_and_pareto_k_are_recorded(fitted):
    attrs = fitted.attrs
    assert attrs["converged"] == attrs["trusted"] == attrs["independent"] == 1
    assert attrs["pareto_k"] < 0.7
    assert attrs["status"].startswith("converged: the bound rose by")
    loss = fitted["training"]["loss"]
    assert loss.dims == ("step",)
    assert loss.size <= 1000
    assert int(loss.step[-1]) == 2999
    # the bound is the evidence where the guide holds the posterior: log p(y) tempered, a Gaussian integral
    features = np.stack([np.ones(12), np.asarray(X[:, 0])], axis=1)
    mean, covariance = oracle(4.0)
    residual = np.asarray(Y) - features @ mean
    evidence = (
        4 / 12 * stats.norm.logpdf(residual, 0, NOISE).sum()
        - 0.5 * np.sum((mean - [0.5, 0.0]) ** 2)
        + 0.5 * np.linalg.slogdet(covariance)[1]
    )
    assert attrs["elbo"] == pytest.approx(evidence, abs=0.02)


def test_a_fit_cut_short_has_not_converged_and_a_warm_start_is_already_there(fitted):
    engine = SVI(guide="multivariate", learning_rate=0.003, steps=100)
    cold = run(line, engine, observations=4.0)
    assert cold.attrs["converged"] == cold.attrs["trusted"] == 0
    assert cold.attrs["status"].startswith("NOT converged")
    warm = run(line, engine, observations=4.0, start=fitted)
    mean, covariance = oracle(4.0)
    root = np.linalg.cholesky(covariance)
    off = [np.abs(np.linalg.solve(root, weights(tree).mean(axis=0) - mean)).max() for tree in (cold, warm)]
    assert off[1] < 0.3 < off[0]


def test_a_guide_too_narrow_for_the_posterior_is_not_trusted():
    """Entries held independent where the posterior is a ridge."""

    def ridge(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal((a + b) * jnp.ones(x.shape[0]), 0.03), obs=y)

    narrow = run(ridge, SVI(learning_rate=0.01, steps=3000))
    assert narrow.attrs["pareto_k"] > 0.7
    assert narrow.attrs["trusted"] == 0
    assert "use NUTS()" in narrow.attrs["status"]


@pytest.mark.slow
@pytest.mark.parametrize(("guide", "options"), [("low_rank", {"rank": 1}), ("iaf", {"flows": 1})])
def test_other_guides_run_on_a_constrained_model(guide, options):
    def scaled(x, y=None):
        weights = numpyro.sample("weights", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        noise = numpyro.sample("noise", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(weights[0] + weights[1] * x[:, 0], noise), obs=y)

    tree = run(scaled, SVI(guide=guide, **options, steps=40, optimiser="adabelief", clip=10.0))
    assert tree["posterior"]["weights"].shape == (1, DRAWS, 2)
    assert float(tree["posterior"]["noise"].min()) > 0
    assert np.isfinite(tree.attrs["pareto_k"])


def test_the_judgement_of_convergence_and_of_the_tail_has_the_stated_level():
    """A bound that rises by the 0.1 nats allowed is called moving at 1 % of seeds; by 0.2, always."""
    generator = np.random.default_rng(5)
    before = generator.standard_normal((400, 1000))
    change = 0.5 * generator.standard_normal((400, 1000))
    called = [
        sum(not judged(*pair)["converged"] for pair in zip(before, before + change + gain, strict=True))
        for gain in (0.1, 0.2)
    ]
    assert called[0] <= stats.binom.ppf(0.999, 400, 0.01)
    assert called[1] > 390
    heavy = 1.2 * generator.standard_exponential(1000)  # ratios e^{1.2 E} have the tail index 1.2
    assert judged(heavy, heavy)["pareto_k"] > 0.7
    assert judged(heavy, heavy)["trusted"] == 0
    assert judged(heavy / 4, heavy / 4)["trusted"] == 1
    assert judged(heavy, np.full(1000, np.nan))["converged"] == 0


def test_a_loss_that_is_not_finite_is_refused_and_a_flow_needs_two_numbers():
    def one(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(a * x[:, 0], NOISE), obs=y)

    with pytest.raises(ValueError, match="needs two numbers or more"):
        run(one, SVI(guide="iaf"))
    with pytest.raises(ValueError, match=r"no finite loss at step \d+ of 200; lower learning_rate = 1000000"):
        run(one, SVI(optimiser="sgd", learning_rate=1e6, steps=200))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guide": "norml"}, "did you mean 'normal'"),
        ({"optimiser": "Adam"}, "did you mean 'adam'"),
        ({"steps": 0}, "steps = 0"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0"),
        ({"rank": 2}, "rank = 2 is for guide low_rank, not normal"),
        ({"flows": 2}, "flows = 2 is for guide iaf, not normal"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SVI(**options)
