"""Draws that are not to be trusted make a verdict undetermined: each reason alone, and none."""

import numpy as np
import pytest
import xarray as xr

from brg_prob.correspondence.convergence import check_convergence, convergence_check
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
    assert (found.verdict, found.role) == ("consistent", "correspondence")
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


def test_it_can_stand_alone(good):
    checks = check_convergence(tree(good), (8.0, 1.0))
    assert checks.verdict == "consistent"
    assert isinstance(checks.tree, xr.DataTree)
    assert checks.tree["checks"]["scale_p_value"].shape == (1, 2)
