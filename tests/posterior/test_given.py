"""The engine ``given``: a user's own draws, unchanged, or refused by the name of the site."""

import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from brg_prob.posterior import Given, fit


def given(line, engine, **options):
    return fit(line, line.x, line.y, engine=engine, key=jax.random.key(0), **options)


@pytest.fixture(scope="module")
def tree(line, bare_run):
    return given(line, Given(mcmc=bare_run))


def other(values, **attrs):
    """Return a DataTree as another library may leave it: draws first, and sites that the model has not."""
    dims = ("draw", "chain", "coefficient")[: np.ndim(values)]
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"w": (dims, values), "extra": ((), 1.0)})})
    tree.attrs.update(attrs)
    return tree


def test_draws_of_a_finished_run_are_stored_as_they_are(line, bare_run, tree):
    w = bare_run.get_samples(group_by_chain=True)["w"]
    np.testing.assert_array_equal(tree["posterior"]["w"], w)
    f = w[..., :1] + w[..., 1:] * line.x[:, 0]
    np.testing.assert_allclose(tree["posterior"]["f"], f, rtol=1e-12)
    np.testing.assert_allclose(
        tree["log_likelihood"]["y"], stats.norm.logpdf(line.y, f, line.noise), rtol=1e-10
    )
    np.testing.assert_array_equal(tree["sample_stats"]["lp"], tree["sample_stats"]["lp"])
    assert {"diverging", "energy", "tree_depth"} <= set(tree["sample_stats"].data_vars)
    assert (tree.attrs["engine"], tree.attrs["observations"], tree.attrs["independent"]) == ("given", 8.0, 0)


def test_a_tree_of_another_library_is_read_by_its_dimensions(line, bare_run, tree):
    w = np.asarray(bare_run.get_samples(group_by_chain=True)["w"])
    found = given(line, Given(tree=other(np.swapaxes(w, 0, 1))), draws=7)  # all draws, whatever is asked for
    np.testing.assert_array_equal(found["posterior"]["w"], w)
    assert "sample_stats" not in found.children
    again = given(line, Given(tree=tree))
    xr.testing.assert_equal(again["sample_stats"].to_dataset(), tree["sample_stats"].to_dataset())


def test_draws_stand_for_the_observations_they_were_made_with(line):
    w = np.random.default_rng(0).normal(size=(50, 2, 2))
    prior = given(line, Given(tree=other(w, observations=0.0, independent=1)), observations=0.0)
    assert (prior.attrs["observations"], prior.attrs["independent"]) == (0.0, 1)
    assert given(line, Given(tree=other(w), observations=2.0), observations=2.0).attrs["observations"] == 2.0
    with pytest.raises(ValueError, match=r"made at T = 8, not 2; sample anew with NUTS\(\)"):
        given(line, Given(tree=other(w)), observations=2.0)


def test_draws_that_do_not_fit_the_model_are_refused_by_the_site(line):
    w = np.zeros((50, 2, 2))
    cases = [
        (xr.DataTree.from_dict({"posterior": xr.Dataset()}), r"site 'w' has no draws \(given: none\)"),
        (other(np.zeros((50, 2, 3))), r"site 'w' has draws of shape \(2, 50, 3\) but shape \(2,\)"),
        (other(np.zeros((50, 2))), r"site 'w' has draws of shape \(2, 50\)"),
        (other(np.where(np.arange(2) == 1, np.nan, w)), r"site 'w' has 100 draws that are not finite"),
    ]
    for tree, said in cases:
        with pytest.raises(ValueError, match=said):
            given(line, Given(tree=tree))


def test_one_finished_source_is_needed(line):
    for options, said in (({}, "give either"), ({"tree": xr.DataTree()}, "no group 'posterior'")):
        with pytest.raises(ValueError, match=said):
            Given(**options)

    class Unfinished:
        last_state = None

    with pytest.raises(ValueError, match="call its run first"):
        Given(mcmc=Unfinished())
