"""Predictive scores: densities against a peer, rows matched to rounding, differences paired."""

import importlib.util
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from brg_prob.comparison import compare
from brg_prob.comparison.compared_run import HeldOut, Reading, log_predictive_density
from brg_prob.comparison.scores import score_difference, shared_rows
from brg_prob.flow.prediction import held_out_density
from brg_prob.posterior.schema import gaussian_log_density

_SPEC = importlib.util.spec_from_file_location("free_runs", Path(__file__).parent / "free_runs.py")
free_runs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(free_runs)
free_run = free_runs.free_run


@pytest.mark.parametrize("outputs", [1, 3])
def test_densities_are_those_of_the_flow(outputs):
    rng = np.random.default_rng(0)
    field, y = rng.standard_normal((50, 7, outputs)), rng.standard_normal((7, outputs))
    noise = rng.uniform(0.3, 1.0, 50)
    each = np.asarray(gaussian_log_density(jnp.asarray(field), jnp.asarray(y), jnp.asarray(noise)))
    logs = xr.Dataset({"y": (("chain", "draw", "row"), each[None])})
    expected = held_out_density(xr.DataTree.from_dict({"predictions_log_likelihood": logs}))
    np.testing.assert_allclose(log_predictive_density(field, y, noise), expected, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    field, y, noise = rng.standard_normal((9, 20)), rng.standard_normal(20), np.full(9, 0.5)
    whole = log_predictive_density(field, y, noise)
    monkeypatch.setattr("brg_prob.comparison.compared_run._CHUNK", 30)
    np.testing.assert_allclose(log_predictive_density(field, y, noise), whole, rtol=1e-14)


def test_rows_are_matched_in_any_order_and_to_rounding():
    one = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 5.0], [3.0, 0.0]])
    other = one[[2, 0, 3]] + 1e-13
    rows, match = shared_rows(one, other)
    np.testing.assert_array_equal(rows, [0, 2, 3])
    np.testing.assert_array_equal(match, [1, 0, 2])
    assert shared_rows(one, one + np.array([0, 1e-3]))[0].size == 0
    assert shared_rows(one, one[:, :1])[0].size == 0


def scores(inputs, values, density):
    return HeldOut(np.asarray(inputs, float)[:, None], np.asarray(values, float), np.asarray(density, float))


def test_a_paired_difference_forgets_what_observations_share():
    rng = np.random.default_rng(2)
    hardness, x = rng.standard_normal(400), np.arange(400.0)
    better = scores(x, x, -(hardness**2))
    worse = scores(x[::-1], x[::-1], (-(hardness**2) - 0.1 + 0.01 * rng.standard_normal(400))[::-1])
    found = score_difference(better, worse)
    assert (found.paired, found.shared) == (True, 400)
    assert abs(found.value - 0.1) < 4 * found.error
    assert found.error < 0.001
    np.testing.assert_allclose(found.elpd, (400 * found.value, 400 * found.error))
    unpaired = score_difference(better, scores(x + 0.5, x, worse.log_density))
    assert not unpaired.paired
    np.testing.assert_allclose(unpaired.error, math.hypot(better.error, worse.error))
    assert math.isnan(unpaired.elpd[0])


def test_a_score_does_not_depend_on_how_the_record_was_standardised():
    """The same densities in the record's own units, from fields in thirds of them and in them."""
    run = free_run(scale=3.0)
    again = free_run(scale=3.0)
    tree = again.tree
    for group, name in (("posterior", "f"), ("predictions", "f"), ("predictions_data", "y")):
        data = tree[group].to_dataset()
        tree[group] = type(tree)(data.assign({name: 3.0 * data[name]}))
    tree.attrs["noise"] = 3.0 * tree.attrs["noise"]
    text = tree["record"].attrs["standardisation"]
    tree["record"].attrs["standardisation"] = text.replace('"scale": [3.0]', '"scale": [1.0]')
    one, other = (Reading.of("run", r).posterior_score for r in (run, again))
    np.testing.assert_allclose(one.log_density, other.log_density, rtol=1e-10)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-12)
    internal = Reading.of("run", run).log_scale
    np.testing.assert_allclose(internal, math.log(3))
    row = compare({"a": run, "b": again}).contrasts[0]
    assert row["paired"] == 1
    assert abs(row["score_difference"]) < 1e-12


def test_the_posterior_scores_as_its_exact_predictive():
    """Held-out observations, normal predictive in closed form; the prior's likewise."""
    run, draws = free_run(draws=4000), 4000
    reading = Reading.of("run", run)
    x = free_runs.BOX / free_runs.POINTS * (np.arange(free_runs.POINTS) + 0.5)
    y = run.tree["predictions_data"]["y"].values
    for state, score in (("posterior", reading.posterior_score), ("prior", reading.prior_score)):
        variance = free_runs.propagator(state, 1.0).sum() / free_runs.BOX + free_runs.NOISE**2
        mean = free_runs.truth(x) if state == "posterior" else 0.0
        exact = -0.5 * ((y - mean) ** 2 / variance + np.log(2 * np.pi * variance)) - math.log(3)
        error = 1e-10
        if state == "posterior":
            field = run.tree["predictions"]["f"].values[0]
            density = np.exp(-0.5 * ((y - field) / free_runs.NOISE) ** 2)
            error = 4.5 * density.std(axis=0) / density.mean(axis=0) / math.sqrt(draws)
        assert np.all(np.abs(score.log_density - exact) < error)


def test_observations_that_only_some_runs_hold_out_are_said():
    run, other = free_run(), free_run(seed=1)
    for group in ("predictions", "predictions_data", "predictions_constant_data"):
        other.tree[group] = type(other.tree)(other.tree[group].to_dataset().isel(x_held_out=slice(0, 30)))
    found = compare({"a": run, "b": other})
    assert found.contrasts[0]["shared_observations"] == 30
    assert any("share 30 held-out observations" in note for note in found.notes)
