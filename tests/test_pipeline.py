"""The pipeline from data to verdict: one tree, reproducible, saved and read back, shown in its own units."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import xarray as xr

from brg_prob import pipeline, store
from brg_prob.data_record import Record
from brg_prob.flow import Diffusion, Shell
from brg_prob.pipeline.run_result import checks_of
from brg_prob.posterior import Exact
from brg_prob.transform import Standardisation
from models.cosnet import CosNet

N, DRAWS, SCALES = 63, 500, 3
NETWORK = CosNet(box=10.0)


def grid(shift=0.0):
    return (np.arange(N)[:, None] + shift) * NETWORK.box / N


@pytest.fixture(scope="module")
def data():
    """Return a draw of the prior with its noise, at training and held-out inputs."""
    x = np.concatenate([grid(), grid(0.5)])
    rng = np.random.default_rng(3)
    hidden = NETWORK.sample_hidden(jax.random.key(0))
    features = np.asarray(NETWORK.features(x, hidden))
    y = features @ rng.standard_normal(features.shape[1]) + NETWORK.noise * rng.standard_normal(2 * N)
    return x[:N], y[:N], (x[N:], y[N:])


def run(data, key=0, **options):
    x, y, held_out = data
    options = {"network": NETWORK, "scales": SCALES, "draws": DRAWS, "held_out": held_out} | options
    return pipeline.run(options.pop("network"), x, y, key=jax.random.key(key), **options)


@pytest.fixture(scope="module")
def finished(data):
    return run(data)


def test_tree_holds_every_group_of_the_schema(finished):
    groups = {"posterior", "log_likelihood", "log_prior", "observed_data", "constant_data", "predictions"}
    groups |= {"fisher", "flow", "theory", "checks", "record", "shell"}
    assert groups <= set(finished.tree.children)
    assert {"flow", "theory", "checks"} <= set(finished.tree["shell"].children)
    assert finished.tree["posterior"].sizes["draw"] == DRAWS
    assert finished.tree["flow"].sizes["scale"] == finished.tree["shell/flow"].sizes["scale"] == SCALES
    assert all(isinstance(value, str | int | float) for value in finished.tree.attrs.values())


def test_both_flows_are_judged_and_the_data_once(finished):
    rows = finished.summary["checks"]
    assert {row["flow"] for row in rows if row["role"] == "correspondence"} == {"diffusion", "shell"}
    assert [row["flow"] for row in rows if row["role"] == "data"] == ["diffusion"]
    assert finished.checks.verdict == "consistent" or finished.summary["verdict"] != "consistent"


def test_the_same_key_gives_the_same_run_and_another_key_another(data, finished):
    again, other = run(data), run(data, key=1)
    for group in ("posterior", "flow", "theory", "checks", "shell/flow", "record"):
        xr.testing.assert_identical(again.tree[group].to_dataset(), finished.tree[group].to_dataset())
    assert not np.allclose(other.tree["posterior"]["f"].values, finished.tree["posterior"]["f"].values)


def test_a_saved_run_comes_back(finished, tmp_path, monkeypatch):
    folder = finished.save(tmp_path / "run")
    loaded = pipeline.load_run(folder)
    assert loaded.summary == json.loads(json.dumps(finished.summary))
    assert loaded.network is None
    assert loaded.checks.verdict == finished.checks.verdict
    # NaN is no equal of itself: compare rows by their text
    assert repr(loaded.checks.rows()) == repr(finished.checks.rows())
    for group in ("posterior", "flow", "theory", "shell/theory", "record"):
        xr.testing.assert_equal(loaded.tree[group].to_dataset(), finished.tree[group].to_dataset())
    assert (folder / store.REPORT).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    # the figures are drawn once
    monkeypatch.setattr("brg_prob.pipeline.run_result.render_report", lambda run: "a report")
    assert loaded.save(tmp_path / "copy").is_dir()


@pytest.mark.parametrize("kind", [{"box": 10.0}, {"width": 30}], ids=["lattice", "random momenta"])
def test_two_outputs_are_drawn_and_saved_as_one_is(data, tmp_path, kind):
    x, y, _ = data
    both = np.stack([y, y[::-1]], axis=1)
    network = CosNet(cutoff=6.0, outputs=2, **kind)
    result = run((x, both, None), network=network, draws=100, scales=2)
    result.save(tmp_path / "run")
    assert "Propagator" in (tmp_path / "run" / "report.html").read_text()


def test_momentum_cutoff_and_running_mass_are_the_formulas_of_the_free_scalar(finished):
    theory = finished.tree["theory"].to_dataset()
    data_mass = finished.tree["flow"]["observations"].values / (NETWORK.box * NETWORK.noise**2)
    shell = np.sqrt(np.clip(data_mass - NETWORK.mass**2, 0, None))
    np.testing.assert_allclose(theory["momentum_cutoff"].values, np.minimum(shell, NETWORK.cutoff), rtol=1e-9)
    np.testing.assert_allclose(theory["running_mass_squared"].values, NETWORK.mass**2 + data_mass, rtol=1e-9)


def test_measured_running_mass_agrees_within_its_error_and_tells_a_wrong_one(data):
    # z over independent keys: 12 values, the largest of 12 normals exceeds 4.2 with probability 3e-4
    z, wrong = [], []
    for key in range(4):
        theory = run(data, key=10 + key, second=None).tree["theory"].to_dataset()
        measured = theory["running_mass_squared_measured"].values
        error = theory["running_mass_squared_se"].values
        z.append((measured - theory["running_mass_squared"].values) / error)
        wrong.append((measured - 1.1 * theory["running_mass_squared"].values) / error)
    assert np.max(np.abs(z)) < 4.2
    assert np.sum(np.square(z)) > 1.2  # χ² of 12, lower 5e-5: the error bars are no exaggeration either
    assert np.max(np.abs(wrong)) > 4.2


def test_the_record_is_shown_in_its_own_units(data):
    x, y, (x_held, y_held) = data
    own = lambda at, value: 300 + 7 * at[:, 0] + 12 * value  # noqa: E731
    prepare = Standardisation.fit(1950 + x, own(x, y), detrend="line")
    internal = prepare.forward(1950 + x, own(x, y))
    held = prepare.forward(1950 + x_held, own(x_held, y_held))
    record = Record(
        inputs=("year",), targets=("co2",), units={"year": "yr", "co2": "ppm"}, preparation=prepare
    )
    done = pipeline.run(
        NETWORK,
        prepare.forward_inputs(1950 + x),
        internal,
        key=jax.random.key(0),
        scales=SCALES,
        draws=DRAWS,
        held_out=(prepare.forward_inputs(1950 + x_held), held),
        record=record,
        second=None,
    )
    shown = done.tree["record"].to_dataset()
    np.testing.assert_allclose(shown["value"].values[:N], own(x, y), rtol=1e-12)
    np.testing.assert_allclose(shown["value"].values[N:], own(x_held, y_held), rtol=1e-12)
    np.testing.assert_allclose(shown["input"].values[:N], 1950 + x[:, 0], rtol=1e-14)
    # the field's mean and spread by hand, from the draws themselves
    draws = done.tree["posterior"]["f"].values[0]
    line = prepare.intercept[0] + prepare.slope[0] * (x[:, 0] - x[0, 0])
    np.testing.assert_allclose(
        shown["posterior_mean"].values[:N], prepare.scale[0] * draws.mean(0) + line, rtol=1e-12
    )
    np.testing.assert_allclose(
        shown["posterior_sd"].values[:N], prepare.scale[0] * draws.std(0, ddof=1), rtol=1e-12
    )
    # the prior's spread is exact: √K(0), the sum over the lattice's momenta
    momenta = 2 * np.pi * np.arange(1, 32) / NETWORK.box
    variance = (1 + 2 * np.sum(1 / (momenta**2 + 1))) / NETWORK.box
    np.testing.assert_allclose(shown["prior_sd"].values, prepare.scale[0] * np.sqrt(variance), rtol=1e-9)
    assert shown.attrs["noise"] == pytest.approx(prepare.scale[0] * NETWORK.noise)
    assert (shown.attrs["input_unit"], shown.attrs["value_unit"]) == ("yr", "ppm")


def test_a_shell_is_not_followed_by_a_second_shell(data):
    done = run(data, scheme=Shell(action="drop"), observations=40.0)
    assert "shell" not in done.tree.children
    assert done.summary["flow"]["scheme"] == "shell"
    assert done.summary["flow"]["coordinate"] == "fisher_cutoff"
    assert done.summary["flow"]["observations"][0] == pytest.approx(40.0)
    assert done.summary["observations"] == 40.0


def test_controls_are_recorded_and_rejected(data):
    done = run(data, controls=True, second=None)
    controls = [row for row in done.summary["checks"] if row["role"] == "control"]
    assert {row["name"] for row in controls} == {"wrong mass", "wrong map", "reversed shell"}
    # 500 draws need not tell a mass wrong by a tenth; the others are wrong by far
    assert all(row["verdict"] == "inconsistent" for row in controls if row["name"] != "wrong mass")


@dataclasses.dataclass(frozen=True)
class Hidden:
    """A network with a linear readout that does not say which free field it is."""

    base: CosNet
    outputs: int = 1
    noise: float = 0.5
    noise_spread: float = 0.0

    def sample_hidden(self, key):
        return self.base.sample_hidden(key)

    def features(self, x, hidden):
        return self.base.features(x, hidden)

    def readout_prior(self, hidden):
        return self.base.readout_prior(hidden)


def test_without_a_field_theory_the_flow_is_held_against_the_closed_form_posterior(data, tmp_path):
    done = run(data, network=Hidden(NETWORK), draws=2000, controls=True)
    rows = done.summary["checks"]
    assert [(row["name"], row["flow"]) for row in rows if row["role"] == "correspondence"] == [
        ("tempered covariance", "diffusion"),
        ("tempered mean", "diffusion"),
    ]
    assert [row["verdict"] for row in rows if row["role"] == "control"] == ["inconsistent"]
    assert done.summary["verdict"] == "consistent"
    assert "FreeField" in done.summary["no_prediction"]
    answer = done.summary["flow_against_theory"]
    assert (answer["state"], answer["kind"]) == ("agrees", "implementation")
    assert "agrees with the closed-form posterior at every T" in answer["sentence"]
    assert "theory" not in done.tree.children
    loaded = pipeline.load_run(done.save(tmp_path / "run"))
    assert loaded.checks.status == checks_of(done.tree).status
    page = (tmp_path / "run" / store.REPORT).read_text(encoding="utf-8")
    assert "closed-form posterior at every T (T10)" in page
    assert "There is nothing to hold" not in page


def test_without_a_prediction_the_verdict_is_open_and_says_why(data, tmp_path):
    done = run(data, network=Hidden(NETWORK), engine=Exact(members=2))  # a mixture has no closed form
    assert done.checks is None
    assert done.summary["verdict"] == "undetermined"
    assert done.summary["flow_against_theory"]["state"] == "not tested"
    assert "FreeField" in done.summary["flow_against_theory"]["sentence"]
    assert "FreeField" in done.summary["no_prediction"]
    assert "theory" not in done.tree.children
    loaded = pipeline.load_run(done.save(tmp_path / "run"))
    assert loaded.checks is None
    assert "FreeField" in (tmp_path / "run" / store.REPORT).read_text(encoding="utf-8")


def test_random_momenta_are_also_held_against_the_formula_at_their_own_width(data):
    network = CosNet(width=60)
    done = run(data, network=network)
    found = {(row["name"], row["flow"]): row["verdict"] for row in done.summary["checks"]}
    assert found["propagator", "diffusion"] == "inconsistent"  # 60 neurons are not many
    assert found["finite width", "diffusion"] != "inconsistent"
    assert ("finite width", "shell") not in found
    # the column beside, from the weights' own posterior covariance and plane waves written out here
    key = jax.random.wrap_key_data(np.asarray(json.loads(done.tree.attrs["hidden_keys"]), dtype=np.uint32))[0]
    features = np.asarray(network.features(grid(), network.sample_hidden(key))) / np.sqrt(60)
    theory = done.tree["theory"].to_dataset()
    x = grid()[:, 0]
    for at, observations in enumerate(done.tree["flow"]["observations"].values):
        precision = np.eye(60) + observations / (N * network.noise**2) * features.T @ features
        covariance = features @ np.linalg.solve(precision, features.T)
        total = 0.0
        for p in np.unique(theory["momentum"].values.round(9)):
            waves = [np.cos(p * x), np.sin(p * x)] if p > 0 else [np.ones(N) / np.sqrt(2)]
            total += sum(2 * NETWORK.box / N**2 * wave @ covariance @ wave for wave in waves)
        np.testing.assert_allclose(theory["finite_size"].values[at].sum(), total, rtol=1e-8)


def test_stages_are_shown_in_order_and_timed(data):
    import contextlib

    seen = []

    @contextlib.contextmanager
    def progress(stage):
        seen.append(stage)
        yield

    progress.expect = seen.append
    done = run(data, progress=progress)
    # the first stage, loading, and the last, writing, are the command line's
    assert seen.pop(0) == len(seen) + 2
    assert seen[0] == "posterior"
    assert seen[-1] == "record"
    assert set(done.summary["seconds"]) == set(seen)
    assert all(seconds >= 0 for seconds in done.summary["seconds"].values())


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -0.1])
def test_a_tolerance_out_of_range_is_refused(data, tolerance):
    with pytest.raises(ValueError, match="between 0 and 1"):
        run(data, tolerance=tolerance)


def test_tuning_is_recorded_with_its_curve_and_used(data):
    done = run(data, tune=True, second=None)
    tuning = done.tree["tuning"].to_dataset()
    assert done.summary["model"]["options"]["mass"] == pytest.approx(tuning.attrs["mass"])
    assert done.network.noise == pytest.approx(tuning.attrs["noise"])
    assert done.tree.attrs["noise"] == pytest.approx(tuning.attrs["noise"])
    assert tuning["log_evidence"].values.max() <= tuning.attrs["best_log_evidence"] + 1e-9
    assert "tuned on these data" in next(
        row["detail"] for row in done.summary["checks"] if row["role"] == "data"
    )


def test_scales_may_be_given(data):
    done = run(data, scheme=Diffusion(), scales=[63.0, 5.0], second=None)
    assert done.summary["flow"]["scales"] == [63.0, 5.0]
