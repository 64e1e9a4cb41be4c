"""Comparisons of runs in closed form: differences, errors, what is said, what cannot be compared."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from brg_prob.arrays import holm
from brg_prob.comparison import compare, curve_message, headline, leads, value_error
from brg_prob.comparison.distances import Distance


def load(name, folder=Path(__file__).parent):
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


free_runs = load("free_runs")
free_run = free_runs.free_run
example = load("example_tree", Path(__file__).parents[1])
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def light():
    return free_run(draws=4000)


@pytest.fixture(scope="module")
def heavy():
    return free_run(mass=1.3, seed=1, draws=4000)


@pytest.fixture(scope="module")
def both(light, heavy):
    return compare({"light": light, "heavy": heavy})


def replaced(run, group, dataset):
    """Return a run with one group replaced; the tree of the given one is left alone."""
    tree = run.tree.copy()
    tree[group] = xr.DataTree(dataset)
    return type(run)(tree=tree, summary=run.summary, model=run.model)


# --- numbers -------------------------------------------------------------------------------------


def test_differences_are_those_of_the_known_masses(both):
    """Two-point functions and power spectra of masses 1 and 1.3, within five errors everywhere."""
    p = free_runs.momenta()
    lag = both.tree["two_point"]["lag"].values
    for number, state in enumerate(("posterior", "prior")):
        change = 9 * (free_runs.propagator(state, 1.3) - free_runs.propagator(state, 1.0))
        exact = np.cos(np.outer(lag, p)) @ change / free_runs.BOX
        found = both.tree["two_point"].to_dataset().isel(contrast=number)
        assert np.all(np.abs(found["difference"] - exact) < 5 * found["difference_se"])
        found = both.tree["power"].to_dataset().isel(contrast=number)
        exact = change[np.concatenate([[0], np.arange(1, p.size, 2)])]
        assert np.all(np.abs(found["difference"] - exact) < 5 * found["difference_se"])


def test_masses_and_spectra_are_the_known_ones(both):
    rows = both.rows
    data = free_runs.POINTS / (free_runs.BOX * free_runs.NOISE**2)
    expected = [1 + data, 1.69 + data, 1.0, 1.69]
    np.testing.assert_allclose([row["free_mass_squared"] for row in rows], expected)
    for row, mass in zip(rows, expected, strict=True):
        assert abs(row["mass_squared"] - mass) < 5 * row["mass_squared_se"]
    ratio = (
        np.sort(free_runs.propagator("prior", 1.3))[::-1] / np.sort(free_runs.propagator("prior", 1.0))[::-1]
    )
    np.testing.assert_allclose(both.tree["fisher"]["log_ratio"].values[1], np.log(ratio))
    weight = both.tree["fisher"]["weight"].values
    np.testing.assert_array_equal(both.tree["fisher"]["distinguishable"], (weight >= 1).sum(axis=1))


def test_posteriors_are_as_far_apart_as_their_covariances(both):
    """KL and W₂ of the exact Gaussians at the inputs compared, within five errors."""
    row = both.contrasts[0]
    covariances = []
    x = np.sort(np.concatenate([np.arange(48), np.arange(48) + 0.5])) * free_runs.BOX / 48
    keep = np.unique(np.linspace(0, 95, 60).round().astype(int))
    for mass in (1.3, 1.0):
        waves = free_runs.waves(x[keep])
        covariances.append(9 * (waves * free_runs.propagator("posterior", mass)) @ waves.T / free_runs.BOX)
    # of 21 modes at 60 inputs: in the space that both span
    ratio = free_runs.propagator("posterior", 1.3) / free_runs.propagator("posterior", 1.0)
    kl = 0.5 * np.sum(ratio - 1 - np.log(ratio))
    assert row["inputs"] == 60
    assert abs(row["kl"] - kl) < 5 * row["kl_se"]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    overlap = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    distance = math.sqrt(max(np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * overlap, 0) / 60)
    assert abs(row["wasserstein"] - distance) < 5 * row["wasserstein_se"]


def test_one_run_is_its_posterior_against_its_prior(light):
    found = compare({"light": light})
    assert [row["state"] for row in found.rows] == ["posterior", "prior"]
    two = found.tree["two_point"].to_dataset()
    np.testing.assert_allclose(two["difference"][0], two["value"][0] - two["value"][1])
    theory = light.tree["field_theory"]
    np.testing.assert_array_equal(two["value"][0], theory["two_point"].sel(state="posterior"))
    row = found.contrasts[0]
    assert row["kl"] == float(theory["kl_to_prior"].sel(state="posterior"))
    assert row["wasserstein"] == float(theory["wasserstein"].sel(state="posterior"))
    assert row["score_difference"] > 3 * row["score_difference_se"]
    assert headline(found).startswith("Training changes the ")
    assert "mean_field" not in found.tree.children


def test_identical_runs_are_exactly_equal():
    found = compare({"a": free_run(), "b": free_run()})
    assert found.largest["z"] == 0
    for group in ("two_point", "four_point", "power", "mean_field"):
        difference = found.tree[group]["difference"].values
        assert np.all((difference == 0) | np.isnan(difference))
    row = found.contrasts[0]
    names = ("kl", "kl_se", "kl_reverse", "wasserstein", "score_difference", "elpd_difference", "largest_z")
    assert [row[name] for name in names] == [0.0] * len(names)
    assert "are the same in all" in headline(found)
    assert any("same seed" in note for note in found.notes)


def test_order_changes_signs_only(light, heavy, both):
    back = compare({"heavy": heavy, "light": light})
    for group in ("two_point", "four_point", "power", "mean_field"):
        one, other = (found.tree[group].to_dataset() for found in (both, back))
        np.testing.assert_allclose(one["difference"], -other["difference"], rtol=1e-12, atol=1e-14)
        for name in ("difference_se", "se"):
            if name in one and "contrast" in one[name].dims:
                np.testing.assert_allclose(one[name], other[name], rtol=1e-12)
    forth, again = both.contrasts[0], back.contrasts[0]
    np.testing.assert_allclose(forth["score_difference"], -again["score_difference"])
    np.testing.assert_allclose(
        (forth["kl"], forth["kl_reverse"]), (again["kl_reverse"], again["kl"]), rtol=1e-8
    )
    np.testing.assert_allclose(both.largest["p_value"], back.largest["p_value"])
    coarse = free_run(points=36, seed=4)
    mixed = [
        compare(runs).tree["two_point"].to_dataset()
        for runs in ({"a": light, "b": coarse}, {"b": coarse, "a": light})
    ]
    np.testing.assert_allclose(mixed[0]["difference"], -mixed[1]["difference"], rtol=1e-9, atol=1e-12)


def test_scores_along_the_flow_are_in_the_records_units(light):
    found = compare({"light": light}).tree["flow"]["test_score"].values[0]
    np.testing.assert_allclose(found, light.tree["flow"]["test_score"].values - math.log(3))


# --- chance --------------------------------------------------------------------------------------


def p_value(monkeypatch, one, other):
    """Smallest Holm p-value over all differences; distances, which have none, are left out."""
    nothing = Distance(*[math.nan] * 6, 0, 0)
    monkeypatch.setattr("brg_prob.comparison.groups.between", lambda *_: nothing)
    return compare({"a": one, "b": other}).largest["p_value"]


def test_a_rerun_is_not_significant_and_another_mass_is(monkeypatch):
    """Forty reruns with other seeds: rejections as the level allows. A mass changed by a tenth is found."""
    runs = [free_run(seed=seed, points=24, draws=1000) for seed in range(80)]
    found = [p_value(monkeypatch, *runs[at : at + 2]) for at in range(0, 80, 2)]
    assert np.sum(np.array(found) < 0.05) <= stats.binom.ppf(0.999, 40, 0.05)
    options = {"points": 24, "draws": 2000}
    changed = [
        p_value(monkeypatch, free_run(seed=at, **options), free_run(seed=90 + at, mass=1.1, **options))
        for at in range(8)
    ]
    assert np.sum(np.array(changed) < 0.05) >= 7  # all of sixty in a longer simulation


def test_holm_rejects_no_more_than_bonferroni_allows_at_first():
    p = np.array([0.2, 0.001, 0.04, 0.012])
    np.testing.assert_allclose(holm(p), [0.2, 0.004, 0.08, 0.036])
    assert holm(np.empty(0)).size == 0


def test_the_table_of_differences_is_what_the_groups_hold(both):
    tests = both.tree["differences"].to_dataset()
    two = tests.where((tests["quantity"] == "two-point function") & (tests["contrast"] == 1), drop=True)
    np.testing.assert_allclose(two["z"], both.tree["two_point"]["z"].values[1])
    np.testing.assert_allclose(tests["p_value"], holm(2 * stats.norm.sf(np.abs(tests["z"]))))
    mass = tests.where(tests["quantity"] == "mass²", drop=True)["relative"].values
    rows = both.rows
    np.testing.assert_allclose(
        mass, [rows[a]["mass_squared"] / rows[b]["mass_squared"] - 1 for a, b in ((1, 0), (3, 2))]
    )


# --- what cannot be compared ---------------------------------------------------------------------


def test_other_units_leave_what_has_none(light):
    other = free_run(seed=3, units=("K", "m"), source="other.csv")
    found = compare({"pressure": light, "heat": other})
    assert np.isnan(found.tree["two_point"]["difference"]).all()
    assert np.isfinite(found.tree["two_point"]["value"][0]).all()
    assert set(found.tree["differences"]["quantity"].values.tolist()) == {"excess kurtosis"}
    assert math.isnan(found.contrasts[0]["kl"])
    assert any("K over m" in note and "hPa over year" in note for note in found.notes)
    assert any("another record (other.csv)" in note for note in found.notes)


def test_other_inputs_have_no_distance_but_correlations(light):
    other = free_run(seed=3, origin=2000.0, data_seed=5, source="other.csv")
    found = compare({"a": light, "b": other})
    assert math.isnan(found.contrasts[0]["kl"])
    assert math.isnan(found.contrasts[0]["score_difference"])
    assert np.isfinite(found.tree["two_point"]["difference"]).all()
    assert "mean_field" not in found.tree.children
    for words in ("no inputs in common", "no elpd difference"):
        assert sum(words in note for note in found.notes) == 1


def test_other_data_on_the_same_inputs_are_another_mean_field(light):
    found = compare({"a": light, "b": free_run(seed=3, data_seed=5)})
    assert found.contrasts[0]["inputs"] == 50  # one for twenty of a thousand draws
    assert found.contrasts[0]["paired"] == 0
    assert any("unpaired" in note for note in found.notes)


def test_grids_that_differ_are_interpolated_and_said(light):
    found = compare({"a": light, "b": free_run(points=36, seed=4)})
    assert found.tree["two_point"].attrs["interpolated"] == 1
    assert found.tree["power"].attrs["interpolated"] == 0
    assert sum("interpolated linearly" in note for note in found.notes) == 2  # two- and four-point


def test_a_run_without_a_grid_has_no_power_spectrum(light):
    theory = light.tree["field_theory"].to_dataset()
    other = replaced(light, "field_theory", theory.drop_vars(["power", "power_se"]).drop_dims("momentum"))
    found = compare({"a": light, "b": other})
    assert np.isnan(found.tree["power"]["difference"]).all()
    assert any("“b” has no power spectrum" in note for note in found.notes)
    alone = compare({"b": other})
    assert "power" not in alone.tree.children


@pytest.mark.parametrize("group", ["field_theory", "flow", "fisher", "record"])
def test_an_old_run_is_named_in_one_line_with_the_remedy(light, group):
    tree = light.tree.copy()
    del tree[group]
    old = type(light)(tree=tree, summary=light.summary, model={})
    with pytest.raises(ValueError, match=f"^run 'old' has no group '{group}'.*run it again.*$") as raised:
        compare({"new": light, "old": old})
    assert "\n" not in str(raised.value)


def test_no_run_is_an_error():
    with pytest.raises(ValueError, match="give at least one"):
        compare({})


def test_draws_that_do_not_belong_to_the_record_are_not_compared():
    """The example tree has five points of draws, no inputs to them and no held-out observations."""
    from brg_prob.summary import summarise

    trees = [example.example_tree(seed) for seed in (0, 1)]
    runs = {
        str(at): free_runs.SimpleNamespace(tree=t, summary=summarise(t), model={})
        for at, t in enumerate(trees)
    }
    found = compare(runs)
    assert any("no inputs in common" in note for note in found.notes)
    assert any("held-out" in note for note in found.notes)
    assert np.isfinite(found.tree["two_point"]["difference"]).all()
    assert found.largest["p_value"] > 0.001  # two seeds of one theory


def test_several_outputs_and_dimensions_show_the_first_output(light):
    """Two outputs at inputs in the plane: the first output's field, the joint density of both."""
    runs = {}
    for seed in (0, 1):
        run = free_run(seed=seed, draws=300)
        tree = run.tree
        for group, name, dims in (
            ("posterior", "f", ("chain", "draw", "x", "output")),
            ("predictions", "f", ("chain", "draw", "x_held_out", "output")),
            ("predictions_data", "y", ("x_held_out", "output")),
        ):
            values = tree[group][name].values
            tree[group] = xr.DataTree(xr.Dataset({name: (dims, np.stack([values, 2 * values], axis=-1))}))
        for group, dim in (("constant_data", "x"), ("predictions_constant_data", "x_held_out")):
            x = tree[group]["inputs"].values
            tree[group] = xr.DataTree(xr.Dataset({"inputs": ((dim, "dim"), np.hstack([x, np.cos(x)]))}))
        tree["record"].attrs["standardisation"] = json.dumps(
            {
                "origin": [0.0, 0.0],
                "slope": [0.0, 0.0],
                "intercept": [1.0, 0.0],
                "scale": [3.0, 5.0],
                "single": False,
            }
        )
        runs[str(seed)] = run
    found = compare(runs)
    assert found.contrasts[0]["inputs"] == 15
    assert found.tree["mean_field"].attrs["input_name"] == "number of the input"
    assert math.isnan(found.rows[-1]["score"])  # the prior's, of which one output is stored
    assert np.isfinite(found.contrasts[0]["elpd_difference"])


# --- what is said --------------------------------------------------------------------------------


def test_the_headline_says_what_differs_most(both):
    most = both.largest
    said = headline(both)
    assert "of “heavy” differs from that of “light”" in said
    assert most["quantity"] in said
    assert f"{abs(most['z']):.2g} standard errors" in said
    assert "p < 10⁻⁶" in said
    tests = both.tree["differences"]["z"].values
    assert abs(most["z"]) == np.abs(tests).max()


def test_a_rerun_is_said_to_be_chance(light):
    found = compare({"a": light, "b": free_run(seed=11)})
    assert "do not differ beyond chance" in headline(found)
    assert "exceeds chance" in curve_message(found, "two_point")
    assert any("within two standard errors" in said for said in leads(found))


def test_names_are_printable_and_different(light):
    found = compare({"a\x1b[31m\n": light, "a [31m": light, HOSTILE: light})
    assert len(set(found.names)) == 3
    assert all(name.isprintable() for name in found.names)
    assert HOSTILE in found.names


def test_six_runs_have_twelve_theories_and_ten_contrasts(light):
    found = compare({str(at): light for at in range(6)})
    assert len(found.rows) == 12
    assert len(found.contrasts) == 10
    assert {row["state"] for row in found.rows[:6]} == {"posterior"}


def test_a_comparison_is_stored_as_it_is(both, tmp_path):
    both.tree.to_netcdf(tmp_path / "comparison.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "comparison.nc", engine="h5netcdf") as stored:
        xr.testing.assert_equal(
            stored.load()["differences"].to_dataset(), both.tree["differences"].to_dataset()
        )


def test_numbers_are_given_to_the_second_digit_of_their_error():
    assert value_error(-1.23456, 0.0123) == "−1.235 ± 0.012"
    assert value_error(123456.7, 234.0) == "123457 ± 234"
    assert value_error(math.inf, math.nan) == "∞"


def test_comparing_needs_no_jax():
    program = "import sys, brg_prob.comparison; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
