"""The flow of any model's draws: closed forms, priors that are not normal, shells, theories, summaries."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density
from scipy import integrate, stats

from brg_prob.flow import Diffusion, Shell, coarse_grain
from brg_prob.geometry.gaussian_coordinates import GaussianCoordinates
from brg_prob.network import Conditioned
from brg_prob.theory.tempered import TemperedTheory

KEY, DRAWS = jax.random.key(5), 4000
SCALES = (12.0, 9.0, 6.0, 3.0, 1.0, 0.3, 0.05, 0.0)


@pytest.fixture(scope="module")
def flow(line, start, metric):
    return coarse_grain(line, start, metric, scales=SCALES, key=KEY)


def worst_score(flow, line):
    """Return the largest deviation of means, variances and covariance, in Monte-Carlo errors."""
    found = []
    for scale, z in zip(flow.scales, flow.z(), strict=True):
        mean, covariance = line.law(scale)
        w = np.asarray(flow.metric.unwhiten(z)["w"])
        exact = np.linalg.solve(np.linalg.cholesky(covariance), (w - mean).T)  # N(0, 1)
        for part, expected in [(exact, 0), (exact**2, 1), (exact[:1] * exact[1:], 0)]:
            found.extend((part.mean(axis=1) - expected) / part.std(axis=1) * np.sqrt(len(w)))
    return np.abs(found).max()


def test_diffused_draws_are_the_exact_posterior_at_every_scale(flow, line, metric):
    bound = stats.norm.isf(0.0005 / (5 * len(SCALES)))
    assert worst_score(flow, line) < bound
    wrong = dataclasses.replace(metric, eigenvalues=2 * metric.eigenvalues)
    assert worst_score(dataclasses.replace(flow, metric=wrong), line) > bound


def test_the_posterior_at_its_own_scale_is_kept_bit_for_bit(flow, start):
    tree = flow.posterior_at(12.0)
    np.testing.assert_array_equal(tree["posterior"]["w"], start["posterior"]["w"])
    np.testing.assert_array_equal(next(flow.fields())[:, :, 0], start["posterior"]["f"][0])
    first, again = (np.asarray(flow.posterior_at(3.0)["posterior"]["w"]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, start["posterior"]["w"])


def test_the_summary_holds_exact_informations_and_scores(flow, line, start):
    tree = flow.tree["flow"]
    prior = line.law(0.0)[1]
    for at, scale in enumerate(SCALES[:-1]):
        mean, covariance = line.law(scale)
        ratio = covariance @ np.linalg.inv(prior)
        shift = (mean - line.mean) / line.spread
        assert tree["effective_dimension"][at] == pytest.approx(2 - np.trace(ratio), rel=1e-6)
        assert tree["mutual_information"][at] == pytest.approx(-0.5 * np.linalg.slogdet(ratio)[1], rel=1e-6)
        kl = 0.5 * (np.trace(ratio) + shift @ shift - 2 - np.linalg.slogdet(ratio)[1])
        # means and log-variances of modes err by √(v/S), √(2/S) at most
        error = np.sqrt((shift @ shift + 1) / DRAWS)
        assert tree["kl_to_prior"][at] == pytest.approx(kl, abs=4 * error)
        x, y = line.held_out
        phi = np.stack([np.ones(5), x[:, 0]], axis=1)
        sd = np.sqrt(np.einsum("ij,jk,ik->i", phi, covariance, phi) + line.noise**2)
        exact = stats.norm.logpdf(y, phi @ mean, sd).mean()
        assert tree["test_score"][at] == pytest.approx(exact, abs=0.03)
    assert tree["score_difference"][0] == 0
    assert tree.sizes["flow_draw"] == 200
    assert set(flow.tree.children) == {"flow", "fisher"}
    assert flow.tree["fisher"]["parameter"].values.tolist() == ["w[0]", "w[1]"]


def test_scores_are_held_against_the_posterior_whatever_the_first_scale(flow, line, start, metric):
    x, y = line.held_out
    options = {"key": KEY, "held_out": (x, y + 5)}
    far = coarse_grain(line, start, metric, scheme=Shell(), scales=(0.0, np.inf), **options).tree["flow"]
    score, difference = far["test_score"].values, far["score_difference"].values
    assert score[0] < flow.tree["flow"]["test_score"][0] - 1
    np.testing.assert_allclose(difference, [0, score[1] - score[0]], atol=1e-12)
    later = coarse_grain(line, start, metric, scales=SCALES[3:5], key=KEY).tree["flow"]
    difference = later["test_score"].values - flow.tree["flow"]["test_score"].values[0]
    np.testing.assert_allclose(later["score_difference"], difference, atol=1e-12)


@pytest.mark.parametrize("basis", ["eigen", "parameter"])
def test_a_shell_changes_nothing_at_zero_and_leaves_the_prior_at_infinity(line, start, metric, basis):
    start = start.filter(lambda node: not str(node.name).startswith("predictions"))
    information = metric.eigenvalues if basis == "eigen" else metric.diagonal
    between = float(information.mean())
    shell = coarse_grain(
        line, start, metric, scheme=Shell(basis=basis), scales=(0.0, between, np.inf), key=KEY
    )
    same = shell.posterior_at(0.0)["posterior"]
    for name in ("w", "f"):
        np.testing.assert_array_equal(same[name], start["posterior"][name])
    first, middle, last = (np.asarray(z) for z in shell.z())
    assert all(stats.kstest(column, "norm").pvalue > 1e-3 for column in last.T)
    assert stats.kstest(first.T[0], "norm").pvalue < 1e-6
    along = np.asarray(metric.directions) if basis == "eigen" else np.eye(2)
    gone = np.asarray(information) < between
    assert gone.sum() == 1
    first, middle, last = (z @ along.T for z in (first, middle, last))
    np.testing.assert_allclose(middle[:, ~gone], first[:, ~gone], atol=1e-12)
    np.testing.assert_allclose(middle[:, gone], last[:, gone], atol=1e-12)  # redrawn once
    # what the data say of the kept coordinates, the others integrated out
    known = shell.tree["flow"]
    kept = along[~gone]
    ratio = kept @ np.diag(1 / line.spread) @ line.law(12.0)[1] @ np.diag(1 / line.spread) @ kept.T
    assert known["mutual_information"][1] == pytest.approx(-0.5 * np.log(ratio.item()), rel=1e-6)
    assert known["mutual_information"][2] == pytest.approx(0, abs=1e-9)
    dropped = Shell(basis=basis, action="drop")
    gone = coarse_grain(line, start, metric, scheme=dropped, scales=(np.inf,), key=KEY)
    np.testing.assert_allclose(next(gone.z()), 0, atol=1e-12)
    with pytest.raises(ValueError, match="action='reset'"):
        gone.theory_at(np.inf, gaussian=True)


def hard(x, y=None):
    """A HalfNormal site, and a funnel of which both the neck and the width are seen."""
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    v = numpyro.sample("v", dist.Normal(0.0, 3.0))
    w = numpyro.sample("w", dist.Normal(0.0, jnp.exp(v / 2)))
    mean = jnp.stack([s, v, w]) * jnp.ones((x.shape[0], 1))
    numpyro.sample("y", dist.Normal(mean, jnp.array([0.2, 1.0, 1.0])).to_event(1), obs=y)


@pytest.fixture(scope="module")
def hard_flow(oracle, metric_at):
    """Draws of the prior chosen by their likelihood, and flowed back."""
    rng = np.random.default_rng(6)
    v = 3 * rng.normal(size=400_000)
    prior = {"s": np.abs(rng.normal(size=v.size)), "v": v, "w": np.exp(v / 2) * rng.normal(size=v.size)}
    y, x = np.array([[0.6, 1.0, 2.0], [0.7, 2.0, 1.5]]), np.zeros((2, 1))
    apart = (np.stack(list(prior.values()), axis=1)[:, None] - y) / np.array([0.2, 1.0, 1.0])
    weights = np.exp(-0.5 * np.sum(apart**2, axis=(1, 2)))
    at = rng.choice(v.size, size=DRAWS, p=weights / weights.sum(), replace=False)
    tree = oracle(lambda *_: {name: value[at] for name, value in prior.items()}).posterior(
        hard, x, y, draws=DRAWS
    )
    return coarse_grain(hard, tree, metric_at(tree, hard, x, y), scales=(2.0, 1e-7, 0.0), key=KEY)


def marginal(values):
    """Return the distribution function of w under the funnel."""
    nodes = np.linspace(-24, 24, 801)
    inside = stats.norm.cdf(values[:, None] * np.exp(-nodes / 2)) * stats.norm.pdf(nodes, scale=3)
    return integrate.simpson(inside, x=nodes, axis=1)


def p_values(tree):
    """Return the p-values of the hypothesis that draws are the prior's, site by site."""
    s, v, w = (tree["posterior"][name].values.ravel() for name in ("s", "v", "w"))
    return [
        stats.kstest(s, "halfnorm").pvalue,
        stats.kstest(v / 3, "norm").pvalue,
        stats.kstest(w, marginal).pvalue,
        stats.kstest(w / np.exp(v / 2), "norm").pvalue,
    ]


def test_a_half_normal_site_and_a_funnel_return_to_their_priors(hard_flow):
    start, nearly, last = map(p_values, hard_flow.posteriors())
    assert max(start[:3]) < 1e-9
    assert min(nearly + last) > 1e-3


def test_a_half_normal_site_whitened_by_moments_does_not_return_and_is_refused(hard_flow):
    moments = GaussianCoordinates.of(hard_flow.metric.conditioned, key=KEY)
    approximate = dataclasses.replace(hard_flow.metric, coordinates=moments, _compiled={})
    *_, last = dataclasses.replace(hard_flow, metric=approximate).posteriors()
    assert p_values(last)[0] < 1e-3
    with pytest.raises(ValueError, match="scheme=Tempering"):
        coarse_grain(hard, hard_flow.start, approximate, scales=(2.0,), key=KEY)


def logistic(x, y=None):
    """Two sites, one positive, a plate, a discrete observation."""
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    with numpyro.plate("coefficients", 2):
        w = numpyro.sample("w", dist.Normal(0.0, scale))
    numpyro.sample("y", dist.Bernoulli(logits=w[0] + w[1] * x[:, 0]), obs=y)


def differences(first, second):
    """Return differences of two models' log densities at random points."""
    rng = np.random.default_rng(10)
    found = []
    for _ in range(3):
        at = {"scale": jnp.abs(rng.normal()), "w": jnp.asarray(rng.normal(size=2))}
        one, two = (log_density(handlers.seed(model, KEY), (), {}, at)[0] for model in (first, second))
        found.append(float(one - two))
    return np.array(found)


def test_the_theory_conditioned_on_the_rest_of_the_data_is_the_posterior():
    x, y = np.random.default_rng(9).normal(size=(8, 1)), np.array([0, 1, 1, 0, np.nan, 1, 0, 1])
    own = Conditioned.of(logistic, x, y)
    theory = TemperedTheory(own, 3.0)
    conditioned = Conditioned.of(theory, x, y)
    np.testing.assert_allclose(differences(conditioned.tempered(4.0), own.model()), 0, atol=1e-10)
    np.testing.assert_allclose(differences(conditioned.tempered(0.0), own.tempered(3.0)), 0, atol=1e-10)
    assert np.abs(differences(conditioned.model(), own.model())).min() > 1e-3  # all data again
    # a theory is a model: other inputs, nothing observed, and a theory of the theory
    trace = handlers.trace(handlers.seed(theory, KEY)).get_trace(jnp.ones((3, 1)))
    assert trace["y"]["value"].shape == (3,)
    assert not trace["y"]["is_observed"]
    again = Conditioned.of(TemperedTheory(conditioned, 2.0), x, y)
    np.testing.assert_allclose(differences(again.tempered(2.0), own.model()), 0, atol=1e-10)


def test_a_gaussian_theory_has_the_moments_of_the_draws(flow, line):
    theory = flow.theory_at(3.0, gaussian=True)
    mean, covariance = line.law(3.0)
    scale = np.diag(line.spread)
    np.testing.assert_allclose(line.mean + scale @ np.asarray(theory.mean), mean, atol=0.15)
    np.testing.assert_allclose(scale @ np.asarray(theory.covariance) @ scale, covariance, rtol=0.2)
    model = Conditioned.of(theory, line.x, line.y)
    assert model.names == ("z",)
    z = jnp.array([0.3, -0.2])
    w = line.mean + line.spread * np.asarray(z)
    np.testing.assert_allclose(model.field({"z": z}), w[0] + w[1] * line.x[:, 0], atol=1e-12)
    exact = stats.norm.logpdf(line.y, w[0] + w[1] * line.x[:, 0], line.noise).sum()
    assert float(model.total_log_likelihood({"z": z})) == pytest.approx(exact, rel=1e-10)


def test_the_theory_of_a_flow_is_that_at_its_scale_with_the_posteriors_data(flow, line, start, metric):
    theory = flow.theory_at(3.0)
    assert theory.observations == 3.0
    assert theory.conditioned is metric.conditioned
    # a metric knows no targets unless it is told
    silent = dataclasses.replace(metric, conditioned=dataclasses.replace(metric.conditioned, y=None))
    again = coarse_grain(line, start, silent, scales=(3.0,), key=KEY)
    np.testing.assert_allclose(again.targets[:, 0], line.y)


def test_what_does_not_fit_is_refused_in_one_line(flow, line, start, metric):
    options = {"scales": (12.0,), "key": KEY}
    shell = coarse_grain(line, start, metric, scheme=Shell(), **options)
    with pytest.raises(ValueError, match="gaussian=True"):
        shell.theory_at(12.0)
    with pytest.raises(ValueError, match="the nearest is 3"):
        flow.theory_at(2.9)
    own = metric.conditioned
    other = dataclasses.replace(metric, conditioned=dataclasses.replace(own, x=own.x + 1))
    with pytest.raises(ValueError, match="use the same x"):
        coarse_grain(line, start, other, **options)
    other = dataclasses.replace(metric, conditioned=dataclasses.replace(own, y=-own.y))
    with pytest.raises(ValueError, match="use the same y"):
        coarse_grain(line, start, other, **options)
    with pytest.raises(ValueError, match="descend"):
        coarse_grain(line, start, metric, scheme=Diffusion(), scales=(13.0,), key=KEY)
