"""Leave-one-out at any T against the closed form of a linear-Gaussian model, by dense numpy."""

import re

import arviz_stats as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from brg_prob.flow.leave_one_out import loo_at
from brg_prob.flow.prediction import (
    compare_scales,
    held_out_density,
    loo_of,
    predictions_along,
    rowwise_log_likelihood,
)
from brg_prob.results import build_tree

N, HELD, NOISE = 30, 40, 0.4
TRUTH = np.array([1.5, -2.0, 0.5])


def features(count):
    x = np.linspace(-1, 1, count)
    return np.stack([np.ones(count), x, x**2], axis=1)


PHI, PHI_HELD = features(N), features(HELD)
Y = PHI @ TRUTH + NOISE * np.random.default_rng(0).standard_normal(N)
Y_HELD = PHI_HELD @ TRUTH + NOISE * np.random.default_rng(1).standard_normal(HELD)


def exact_posterior(observations, keep):
    """Mean and covariance of the weights, prior N(0, 1), each kept observation weighted T/n."""
    weight = observations / N / NOISE**2
    covariance = np.linalg.inv(np.eye(3) + weight * PHI[keep].T @ PHI[keep])
    return weight * covariance @ PHI[keep].T @ Y[keep], covariance


def exact_elpd(observations):
    total = 0.0
    for i in range(N):
        mean, covariance = exact_posterior(observations, np.arange(N) != i)
        total += stats.norm.logpdf(Y[i], PHI[i] @ mean, np.sqrt(PHI[i] @ covariance @ PHI[i] + NOISE**2))
    return total


def exact_held_out(observations):
    mean, covariance = exact_posterior(observations, np.arange(N))
    sd = np.sqrt(np.einsum("ij,jk,ik->i", PHI_HELD, covariance, PHI_HELD) + NOISE**2)
    return stats.norm.logpdf(Y_HELD, PHI_HELD @ mean, sd).mean()


def posterior(observations, seed, draws=1000, missing=0):
    """A tree of two chains of exact draws, as the engines make it."""
    mean, covariance = exact_posterior(observations, np.arange(N))
    rng = np.random.default_rng(seed)
    w = rng.multivariate_normal(mean, covariance, size=(2, draws // 2))
    logs, held = (stats.norm.logpdf(y, w @ phi.T, NOISE) for phi, y in ((PHI, Y), (PHI_HELD, Y_HELD)))
    logs = np.concatenate([logs, np.zeros((2, draws // 2, missing))], axis=2)
    inputs = np.zeros((N + missing, 1))
    sample = ["chain", "draw"]
    return build_tree(
        {
            "posterior": {"w": w},
            "log_likelihood": {"y": logs},
            "predictions_log_likelihood": {"y": held},
            "constant_data": {"inputs": inputs},
        },
        dims={
            "w": [*sample, "w_dim_0"],
            "log_likelihood/y": [*sample, "x"],
            "predictions_log_likelihood/y": [*sample, "x_held_out"],
            "inputs": ["x", "dim"],
        },
        attrs={"observations": float(observations), "n": N, "independent": 1},
    )


@pytest.mark.parametrize("fraction", [1.0, 0.1, 0.01])
def test_both_scores_meet_the_closed_form_at_every_scale(fraction):
    """Twelve sets of draws; Student's t of their mean against the exact value, level 1e-3 each."""
    observations, repeats = fraction * N, 12
    trees = [posterior(observations, seed) for seed in range(repeats)]
    left_out = [loo_of(tree).elpd for tree in trees]
    held_out = [held_out_density(tree).mean() for tree in trees]
    exact = (exact_elpd(observations), exact_held_out(observations))
    for found, expected in zip((left_out, held_out), exact, strict=True):
        assert stats.ttest_1samp(found, expected).pvalue > 1e-3


def test_plain_loo_fails_far_from_the_trained_network():
    """The negative control: weights of T = n on draws at T = n/100 are off by hundreds of nats."""
    tree, exact = posterior(0.01 * N, 3, draws=4000), exact_elpd(0.01 * N)
    with pytest.warns(UserWarning, match="shape parameter of Pareto"):
        plain = az.loo(tree, var_name="y")
    score = loo_of(tree)
    print(f"exact {exact:.2f}, at T {score.elpd:.2f}, plain {plain.elpd:.1f}")
    assert abs(plain.elpd - exact) > 100 * abs(score.elpd - exact)
    assert score.reliable
    assert plain.warning


def test_at_full_weight_it_is_arvizs():
    tree = posterior(N, 5)
    theirs = az.loo(tree, var_name="y", pointwise=True, reff=1.0)
    ours = loo_of(tree, r_eff=1.0)
    np.testing.assert_allclose(ours.pointwise, theirs.elpd_i, rtol=1e-12)
    np.testing.assert_allclose(ours.pareto_k, theirs.pareto_k, rtol=1e-12)
    assert ours.good_k == theirs.good_k
    np.testing.assert_allclose([ours.elpd, ours.se], [theirs.elpd, theirs.se], rtol=1e-12)


def test_at_the_prior_nothing_is_weighted():
    tree = posterior(0.0, 7)
    score = loo_of(tree)
    logs = tree["log_likelihood/y"].values.reshape(-1, N)
    np.testing.assert_allclose(score.pointwise, np.log(np.exp(logs).mean(0)), rtol=1e-12)
    assert score.reliable
    assert np.isnan(score.worst_k)


def test_an_observation_no_draw_expects_is_counted_as_unreliable():
    """Weights of a heavy tail, exactly Pareto of shape 1.2, beside weights of a light one."""
    uniform = (np.arange(1000) + 0.5) / 1000
    logs = np.stack([1.2 * np.log(uniform), -1 - 0.1 * uniform], axis=-1)[None]
    score = loo_at(logs, observations=2.0)
    assert score.bad == 1
    assert score.pareto_k.argmax() == 0
    assert not score.reliable
    assert "1 of 2 Pareto k above 0.67" in score.status
    assert loo_at(logs, observations=0.5).reliable  # tempered, the same draws do


def test_missing_rows_are_no_observations():
    whole, gaps = loo_of(posterior(N, 9)), loo_of(posterior(N, 9, missing=4))
    np.testing.assert_array_equal(whole.pointwise, gaps.pointwise)


def test_observed_sites_of_one_row_are_left_out_together():
    tree = posterior(N, 2)
    logs = tree["log_likelihood/y"]
    parts = {"a": 0.3 * logs, "b": 0.7 * logs, "pooled": logs.sum("x")}
    tree["log_likelihood"] = type(tree)(logs.to_dataset(name="y").drop_vars("y").assign(parts))
    np.testing.assert_allclose(rowwise_log_likelihood(tree), logs.values, rtol=1e-12)
    tree["log_likelihood"] = type(tree)(tree["log_likelihood"].to_dataset()[["pooled"]])
    with pytest.raises(ValueError, match=r"no observed site in .log_likelihood. has one row"):
        rowwise_log_likelihood(tree)


SCALES = (float(N), 3.0, 0.3, 0.03)


@pytest.fixture(scope="module")
def along():
    return predictions_along(posterior(scale, 11, draws=2000) for scale in SCALES)


def test_comparison_is_paired_and_finds_the_critical_scale(along):
    variables, table = along.variables, compare_scales(along)
    pointwise = np.stack([score.pointwise for score in along.loo])
    paired = stats.ttest_rel(pointwise[2], pointwise[0])
    ours = variables["loo_difference"][2] / variables["loo_difference_se"][2]
    np.testing.assert_allclose(ours, paired.statistic, rtol=1e-10)
    assert list(table["T"]) == list(SCALES)
    assert not table["worse"].iloc[0]
    assert table["worse"].iloc[-1]  # the prior knows nothing of this line
    first = int(np.argmax(table["worse"]))
    assert along.critical_scale == SCALES[first - 1]
    assert along.critical_scale_loo in SCALES


def test_a_tree_of_the_variables_gives_the_same_table(along):
    tree = build_tree(
        {"flow": along.variables | {"observations": np.array(SCALES)}},
        dims={name: ["scale"] for name in [*along.variables, "observations"]},
        coords={"scale": np.array(SCALES)},
    )
    pd.testing.assert_frame_equal(compare_scales(tree["flow"].to_dataset()), compare_scales(along))


def test_a_shell_is_scored_on_held_out_data_only():
    trees = [posterior(N, 1), posterior(1.0, 1)]
    found = predictions_along(trees, scales=(0.1, 1.0), shell=True)
    assert found.loo is None
    assert set(found.variables) == {"test_score", "test_score_se", "score_difference", "score_difference_se"}
    assert "no posterior" in found.status
    assert np.isnan(found.critical_scale_loo)
    assert "elpd_loo" not in compare_scales(found)
    trees[0].attrs["scheme"] = "shell"
    with pytest.raises(ValueError, match="no posterior, so no observation can be left out"):
        loo_of(trees[0])
    bare = trees[1].copy()
    del bare["predictions_log_likelihood"]
    with pytest.raises(ValueError, match="only held-out data can score them"):
        predictions_along([bare], shell=True)


@pytest.mark.parametrize(
    ("logs", "observations", "message"),
    [
        (np.zeros((5, 5)), 1.0, "shape (5, 5)"),
        (np.zeros((2, 5, 3)), 1.0, "10 draws are too few"),
        (np.zeros((2, 50, 3)), -1.0, "T = -1 of 3"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_line(logs, observations, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        loo_at(logs, observations=observations)
    assert "\n" not in str(error.value)


def test_an_observation_that_a_draw_makes_impossible_cannot_be_left_out_and_the_others_can():
    logs = np.random.default_rng(0).normal(-1, 0.1, (2, 50, 3))
    whole = loo_at(logs, observations=3.0)
    logs[1, 7, 2] = -np.inf
    found = loo_at(logs, observations=3.0)
    np.testing.assert_allclose(found.pointwise[:2], whole.pointwise[:2])
    assert np.isnan([found.pointwise[2], found.elpd]).all()
    assert (found.worst_k, found.reliable) == (np.inf, False)
    assert loo_at(logs, observations=0.0).reliable  # under the prior nothing was learnt of it
    spoilt = predictions_along([posterior(N, 1), impossible(posterior(N / 2, 2))])
    assert np.isnan(spoilt.critical_scale_loo) or spoilt.critical_scale_loo == N
    assert "cannot be relied on at 1 of 2 scales: Pareto k up to inf" in spoilt.status


def impossible(tree):
    """Return a posterior of which one draw makes the first row impossible."""
    variable = next(iter(tree["log_likelihood"].data_vars))
    tree["log_likelihood"][variable][0, 0, 0] = -np.inf
    return tree


def test_without_a_likelihood_the_groups_are_named():
    tree = posterior(N, 1)
    del tree["log_likelihood"]
    with pytest.raises(ValueError, match="there is no group 'log_likelihood'"):
        loo_of(tree)


def test_one_held_out_row_has_a_score_and_no_judgement():
    def table(errors):
        values = {
            "observations": [4.0, 1.0],
            "test_score": [-1.0, -2.0],
            "score_difference": [0.0, -1.0],
            "score_difference_se": errors,
        }
        return compare_scales(xr.Dataset({name: ("scale", value) for name, value in values.items()}))

    alone = table([np.nan, np.nan])
    assert alone["held_out"].tolist() == [-1.0, -2.0]
    assert "worse" not in alone
    assert table([0.0, 0.5])["worse"].tolist() == [False, True]
