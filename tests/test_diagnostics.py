"""Convergence summaries against ArviZ's own, and predictive densities against closed forms."""

import arviz_stats
import numpy as np
import pytest
from scipy import stats

from brg_prob.diagnostics import convergence, log_predictive_density, score_difference
from brg_prob.results import build_tree

DIMS = {
    "f": ["chain", "draw", "x"],
    "noise": ["chain", "draw"],
    "member": ["chain", "draw"],
    "dual": ["chain", "draw", "x"],
    "diverging": ["chain", "draw"],
}


def chains(seed=0, shift=0.0, phi=0.0, count=4, draws=500):
    """Return a tree of AR(1) chains; the last chain's third field entry is shifted."""
    rng = np.random.default_rng(seed)
    f = rng.standard_normal((count, draws, 5))
    for t in range(1, draws):
        f[:, t] = phi * f[:, t - 1] + np.sqrt(1 - phi**2) * f[:, t]
    f[-1, :, 2] += shift
    posterior = {
        "f": f,
        "noise": np.exp(rng.standard_normal((count, draws))),
        "member": np.zeros((count, draws), dtype=int),
        "dual": np.full((count, draws, 5), np.nan),
    }
    return build_tree(
        {"posterior": posterior, "sample_stats": {"diverging": np.zeros((count, draws), int)}}, dims=DIMS
    )


def test_the_worst_values_are_arviz_s():
    tree = chains(shift=0.5, phi=0.3)
    summary = convergence(tree)
    chosen = tree["posterior"].to_dataset()[["f", "noise"]]
    for method, found in (("bulk", summary.ess_bulk), ("tail", summary.ess_tail)):
        table = arviz_stats.ess(chosen, method=method, prob=(0.05, 0.95) if method == "tail" else None)
        assert found == pytest.approx(min(float(table["f"].min()), float(table["noise"])))
    table = arviz_stats.rhat(chosen)
    assert summary.r_hat == pytest.approx(max(float(table["f"].max()), float(table["noise"])))
    assert summary.worst["r_hat"] == "f[2]" and summary.divergences == 0
    assert not summary.passes() and "worst R-hat" in summary.status


def test_well_mixed_chains_pass_and_sticky_or_diverging_ones_do_not():
    assert convergence(chains(draws=2000)).passes()
    assert not convergence(chains(phi=0.95, draws=1000)).passes()
    tree = chains(draws=2000)
    tree["sample_stats/diverging"].values[0, :3] = 1
    summary = convergence(tree)
    assert summary.divergences == 3 and not summary.passes() and "3 divergent" in summary.status


def test_independent_draws_are_not_put_to_the_test():
    tree = chains(count=1)
    tree.attrs["independent"] = 1
    summary = convergence(tree)
    assert summary.independent and np.isnan(summary.r_hat) and summary.ess_bulk == 500
    assert "not in question" in summary.status and summary.passes()
    assert not summary.passes(smallest_ess=500)


def test_a_single_chain_has_no_r_hat_and_does_not_pass():
    summary = convergence(chains(count=1, draws=2000))
    assert np.isnan(summary.r_hat) and "one chain" in summary.status and not summary.passes()
    assert summary.ess_bulk > 400


def test_pinned_entries_are_passed_over_and_short_chains_said_to_be_short():
    tree = chains(draws=2000)
    tree["posterior/f"].values[:, :, 1] = 1.0
    assert convergence(tree).passes()
    assert "too few" in convergence(chains(draws=3)).status


def test_missing_groups_are_refused():
    with pytest.raises(ValueError, match="no group 'prior'; groups: posterior"):
        convergence(chains(), group="prior")
    with pytest.raises(ValueError, match="neither a field nor a scalar"):
        convergence(chains(), group="sample_stats")


def gaussian_log_likelihood(rng, draws, y):
    """Return log N(y | θ, 1) for θ ~ N(0, 1): the predictive density is N(0, 2)."""
    theta = rng.standard_normal((1, draws, 1))
    return stats.norm.logpdf(y, theta, 1.0)


def test_predictive_density_is_the_closed_form_and_its_error_covers():
    y = np.array([-1.5, 0.2, 2.0])
    exact = stats.norm.logpdf(y, 0.0, np.sqrt(2))
    p = []
    for seed in range(300):
        density = log_predictive_density(
            gaussian_log_likelihood(np.random.default_rng(seed), 1000, y), independent=True
        )
        p.append(stats.norm.cdf((density.value - exact) / density.standard_error))
    p = np.array(p)
    assert all(stats.kstest(column, "uniform").pvalue > 1e-3 for column in p.T)
    narrow = stats.norm.cdf(2 * stats.norm.ppf(p[:, 0]))  # the control: errors half as large
    assert stats.kstest(narrow, "uniform").pvalue < 1e-4


def test_chains_get_wider_errors():
    rng = np.random.default_rng(5)
    theta = rng.standard_normal((4, 1000, 1))
    for t in range(1, 1000):
        theta[:, t] = 0.9 * theta[:, t - 1] + np.sqrt(0.19) * theta[:, t]
    logs = stats.norm.logpdf(np.array([0.5, 1.0]), theta, 1.0)
    chained, naive = (log_predictive_density(logs, independent=i) for i in (False, True))
    assert np.all(chained.standard_error > 2 * naive.standard_error)
    np.testing.assert_allclose(chained.value, naive.value)


def test_score_and_paired_difference():
    rng = np.random.default_rng(1)
    y = 3 * rng.standard_normal(200)
    density = log_predictive_density(gaussian_log_likelihood(rng, 500, y), independent=True)
    assert density.score == pytest.approx(np.mean(density.value))
    assert density.score_error == pytest.approx(stats.sem(density.value))
    other = density.value - 0.05 + 0.01 * rng.standard_normal(200)
    paired = score_difference(other, density.value)
    expected = stats.ttest_rel(other, density.value)
    assert paired.value / paired.standard_error == pytest.approx(expected.statistic)
    assert paired.worse and not score_difference(density.value, other).worse
    assert density.score_error > 10 * paired.standard_error  # unpaired, the difference would drown


def test_impossible_and_undefined_likelihoods():
    logs = np.array([[[-np.inf, -1.0], [-np.inf, -2.0]]])
    density = log_predictive_density(logs, independent=True)
    assert density.value[0] == -np.inf and np.isfinite(density.value[1])
    with pytest.raises(ValueError, match="nan"):
        log_predictive_density(logs * np.nan)
    with pytest.raises(ValueError, match=r"\(chain, draw, n\)"):
        log_predictive_density(logs[0])
    with pytest.raises(ValueError, match="cannot be paired"):
        score_difference([1.0], [1.0, 2.0])
