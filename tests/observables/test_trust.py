"""Which modes to trust: flags by hand for records with and without trend, aliasing and edges."""

import json

import numpy as np
import pytest
import xarray as xr

from brg_prob.observables import trust
from brg_prob.transform import Standardisation

BOX, NOISE, MASS = 10.0, 0.5, 1.0


def run_tree(*, n=40, largest=12, mass=MASS, source="record.csv", box=BOX, theory=True):
    """The groups that trust reads, on a lattice in closed form."""
    index = np.concatenate([[0], np.repeat(np.arange(1, largest + 1), 2)])
    p = 2 * np.pi * index / BOX
    eigenvalue = 1 / ((p**2 + mass**2) * BOX * NOISE**2)
    groups = {
        "/constant_data": xr.Dataset({"inputs": (("x", "dim"), np.arange(n)[:, None] * BOX / n)}),
        "/fisher": xr.Dataset({"eigenvalue": ("mode", np.sort(eigenvalue)[::-1])}),
        "/record": xr.Dataset(attrs={"source": source, "input_unit": "yr"}),
    }
    if theory:
        groups["/theory"] = xr.Dataset(
            {"momentum": ("momentum", p), "fisher_measured": ("momentum", eigenvalue)},
            attrs={"mass_squared": mass**2},
        )
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(observations=float(n), model_options=json.dumps({"box": box}))
    return tree, p


def prepared(slope=0.5, intercept=1.0):
    return Standardisation((0.0,), (slope,), (intercept,), (2.0,))


def flagged(found, name):
    return found.momentum.values[found[name].values.astype(bool)]


def test_a_detrended_record_loses_its_longest_waves():
    tree, p = run_tree()
    found = trust(tree, preparation=prepared())
    # Tλ ≥ 1 is p² ≤ M_T² − m² = 40/(10 · 0.25) − 1
    np.testing.assert_array_equal(flagged(found, "distinguishable"), p[p**2 <= 15])
    np.testing.assert_array_equal(flagged(found, "trend"), p[:3])
    np.testing.assert_array_equal(flagged(found, "trusted"), p[(p**2 <= 15) & (p > 0.7)])
    np.testing.assert_allclose(found.edge, 1 / (MASS * BOX))
    np.testing.assert_allclose(found.signal, 16 / (p**2 + 1))
    assert "3 of 25 modes" in found.attrs["trend_note"] and "straight line" in found.attrs["trend_note"]


def test_a_centred_record_loses_its_mean_only_and_an_untouched_one_nothing():
    tree, p = run_tree()
    assert flagged(trust(tree, preparation=prepared(slope=0.0)), "trend").tolist() == [0.0]
    for preparation in (None, prepared(slope=0.0, intercept=0.0)):
        found = trust(tree, preparation=preparation)
        assert found.trend.values.sum() == 0 and found.attrs["trend_note"].startswith("Nothing")
        np.testing.assert_array_equal(flagged(found, "trusted"), p[p**2 <= 15])


def test_modes_at_the_nyquist_momentum_are_aliased():
    tree, p = run_tree(n=20, mass=0.1)
    found = trust(tree, preparation=prepared())
    assert np.pi / 0.5 == pytest.approx(p[20])
    np.testing.assert_array_equal(flagged(found, "aliased"), p[p > 6])
    assert not np.intersect1d(flagged(found, "trusted"), p[p > 6]).size
    assert "6.283 rad/yr" in found.attrs["aliased_note"] and "look like" in found.attrs["aliased_note"]
    assert trust(run_tree()[0]).aliased.values.sum() == 0


def test_a_correlation_length_as_long_as_the_record_spoils_every_mode():
    tree, _ = run_tree(mass=0.2)
    found = trust(tree, preparation=prepared())
    np.testing.assert_allclose(found.edge, 0.5)
    assert found.trusted.values.sum() == 0 < found.distinguishable.values.sum()
    assert "50 %" in found.attrs["edge_note"] and "too much" in found.attrs["edge_note"]


def test_a_teacher_on_its_own_lattice_has_no_edge_and_one_with_random_momenta_has():
    lattice = trust(run_tree(source="teacher: a draw of the prior")[0])
    assert np.isnan(lattice.edge).all() and "no edge" in lattice.attrs["edge_note"]
    random = trust(run_tree(source="teacher: a draw of the prior", box=None)[0])
    np.testing.assert_allclose(random.edge, 0.1)
    unknown = trust(run_tree(source="")[0])
    assert np.isnan(unknown.edge).all() and "not known" in unknown.attrs["edge_note"]


def test_without_a_prediction_modes_are_ranks():
    tree, p = run_tree(theory=False)
    found = trust(tree, preparation=prepared())
    assert np.isnan(found.momentum).all() and found.mode.values.tolist() == list(range(1, 26))
    assert found.trusted.values.sum() == np.sum(p**2 <= 15)
    assert found.trend.values.sum() == found.aliased.values.sum() == 0 and np.isnan(found.edge).all()
    assert all(
        "Without a prediction" in found.attrs[f"{name}_note"]
        or "without a prediction" in found.attrs[f"{name}_note"]
        for name in ("trend", "aliased", "edge")
    )


def test_irregular_inputs_are_not_judged_for_aliasing():
    tree, _ = run_tree()
    inputs = np.random.default_rng(0).uniform(0, 10, (40, 2))
    tree["constant_data"] = xr.DataTree(xr.Dataset({"inputs": (("x", "dim"), inputs)}))
    assert "no equispaced grid" in trust(tree).attrs["aliased_note"]


def test_a_tree_without_a_record_is_judged_too():
    tree, _ = run_tree()
    del tree["record"]
    assert "per unit of length" in trust(tree).attrs["aliased_note"]
