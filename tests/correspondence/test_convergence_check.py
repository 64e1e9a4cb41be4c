"""Draws that are not to be trusted make a verdict undetermined: each reason alone, and none."""

import numpy as np
import pytest
import xarray as xr

from brg_prob.correspondence.convergence import convergence_check, leave_one_out_check, with_convergence
from brg_prob.correspondence.verdicts import Check, Checks, check_tree
from brg_prob.results import build_tree


def tree(draws, *, diverging=0, **attrs):
    stats = np.zeros(draws.shape[:2], bool)
    stats.flat[:diverging] = True
    return build_tree(
        {"posterior": {"a": draws}, "sample_stats": {"diverging": stats}},
        dims={"a": ["chain", "draw"], "diverging": ["chain", "draw"]},
        attrs={"independent": 0} | attrs,
    )


@pytest.fixture(scope="module")
def good():
    return np.random.default_rng(0).normal(size=(4, 1000))


def test_well_mixed_chains_are_trusted(good):
    found = convergence_check(tree(good), scales=3)
    assert (found.verdict, found.role) == ("consistent", "draws")
    assert found.scale_p_values.shape == (3,)
    assert np.isnan(found.p_value)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda d: d + np.arange(4)[:, None], {}, "R-hat is"),
        (lambda d: np.cumsum(d, axis=1), {}, "smallest effective sample size"),
        (lambda d: d[:1], {}, "one chain has no R-hat"),
        (lambda d: d, {"diverging": 2}, "2 transitions diverged"),
        (lambda d: d, {"converged": 0}, "optimisation did not converge"),
        (lambda d: d, {"pareto_k": 0.9}, "Pareto k of the approximation is 0.90"),
        (lambda d: d[:1, :100], {"independent": 1}, "100 draws are too few"),
    ],
)
def test_each_reason_makes_it_undetermined(good, change, options, reason):
    found = convergence_check(tree(change(good), **options))
    assert found.verdict == "undetermined"
    assert reason in found.detail


def flow(bad=0.0):
    """Return a group ``flow`` of two scales."""
    columns = {"pareto_k_max": [0.9 if bad else 0.3, 0.1], "pareto_k_bad": [bad, 0.0]}
    return xr.Dataset(
        {name: ("scale", np.array(values)) for name, values in columns.items()}, coords={"scale": [8.0, 1.0]}
    )


def held_against(verdict):
    """Return checks with one row of this verdict."""
    row = Check("flow", "it holds", "correspondence", 0.0, 0.5, 0.01, verdict, "", np.full(2, np.nan))
    attrs = {"verdict": verdict, "tolerance": 0.05, "level": 0.05}
    return Checks(check_tree([row], (8.0, 1.0), attrs), verdict, (row,))


def test_it_can_stand_alone(good):
    checks = with_convergence(None, tree(good), flow())
    assert checks.verdict == "consistent"
    assert checks.tree["checks"]["scale_p_value"].shape == (2, 2)
    assert with_convergence(None, tree(good[:1]), flow()).verdict == "undetermined"


@pytest.mark.parametrize("verdict", ["consistent", "inconsistent", "undetermined"])
def test_draws_that_did_not_converge_decide_nothing_and_good_ones_change_nothing(good, verdict):
    assert with_convergence(held_against(verdict), tree(good), flow()).verdict == verdict
    unmixed = with_convergence(held_against(verdict), tree(good + np.arange(4)[:, None]), flow())
    assert unmixed.verdict == unmixed.tree["checks"].attrs["verdict"] == "undetermined"


def test_a_bad_pareto_k_forbids_consistent_and_leaves_a_rejection():
    good = np.random.default_rng(1).normal(size=(4, 1000))
    assert leave_one_out_check(flow()).verdict == "consistent"
    found = leave_one_out_check(flow(bad=2.0))
    assert (found.verdict, found.statistic) == ("undetermined", 0.9)
    assert "2 observations" in found.detail
    assert with_convergence(held_against("consistent"), tree(good), flow(2.0)).verdict == "undetermined"
    assert with_convergence(held_against("inconsistent"), tree(good), flow(2.0)).verdict == "inconsistent"


def test_a_second_flow_of_draws_that_did_not_converge_decides_nothing_either(good):
    unmixed = tree(good + np.arange(4)[:, None])
    for posterior, verdict in ((unmixed, "undetermined"), (tree(good), "inconsistent")):
        found = with_convergence(held_against("inconsistent"), posterior, flow(), listed=False)
        assert found.verdict == found.tree["checks"].attrs["verdict"] == verdict
        assert [check.name for check in found.checks] == ["flow"]
    assert with_convergence(None, unmixed, flow(), listed=False) is None


def test_independent_draws_have_nothing_to_converge_however_few():
    few = tree(np.random.default_rng(2).normal(size=(1, 100)), independent=1)
    found = with_convergence(held_against("inconsistent"), few, flow())
    assert found.verdict == "inconsistent"
    assert [check.name for check in found.checks] == ["flow", "leave-one-out"]
    unweighted = flow().drop_vars(["pareto_k_bad"])
    assert with_convergence(held_against("consistent"), few, unweighted).verdict == "consistent"
