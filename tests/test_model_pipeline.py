"""A run of any NumPyro model: sampled, tempered, flowed, judged, stored, shown."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob import pipeline
from brg_prob.posterior import NUTS, Laplace
from brg_prob.summary import TEMPERED

N, DRAWS = 40, 800


def logistic(x, y=None):
    """A logistic regression of which one combination of two coefficients is never seen."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.5).expand([2]).to_event(1))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Bernoulli(logits=(w[0] + w[1]) * x[:, 0] + b), obs=y)


def tilted(x, y=None):
    """The same with a factor in its prior, so that no diffusion may be used."""
    logistic(x, y)
    numpyro.factor("tilt", 0.0 * jnp.sum(x))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2 * N, 1))
    y = (rng.uniform(size=2 * N) < 1 / (1 + np.exp(-1.5 * x[:, 0] - 0.3))).astype(float)
    return x[:N], y[:N], (x[N:], y[N:])


def run(data, network=logistic, **options):
    x, y, held_out = data
    options = {"engine": Laplace(), "draws": DRAWS, "scales": 3, "held_out": held_out} | options
    return pipeline.run(network, x, y, key=jax.random.key(0), **options)


@pytest.fixture(scope="module")
def finished(data):
    return run(data)


def test_every_group_is_there_and_the_truth_stands_beside_the_flow(finished):
    # the control of the run below that did not converge: independent draws did
    assert [r["verdict"] for r in finished.summary["checks"] if r["name"] == "convergence"] == ["consistent"]
    groups = {"posterior", "log_likelihood", "log_prior", "posterior_predictive", "fisher", "flow", "checks"}
    assert groups | {"directions", "parameters", "record", "diagnostics", "slides"} <= set(
        finished.tree.children
    )
    flows = finished.summary["flows"]
    assert set(flows) == {"diffusion", "tempering", "shell"}
    assert finished.summary["kind"] == "model"
    truth = finished.tree[TEMPERED]["flow"]
    np.testing.assert_allclose(truth["observations"], finished.tree["flow"]["observations"])
    for name in ("loo", "loo_se", "pareto_k_max"):
        assert np.all(np.isfinite(truth[name].values)), name


def test_the_direction_never_seen_is_named_and_keeps_its_prior(finished):
    directions = finished.tree["directions"]
    assert int(directions.attrs["undetermined"]) == 1
    assert "w[0]" in str(directions["phrase"].values[-1])
    assert "w[1]" in str(directions["phrase"].values[-1])
    w = finished.tree["posterior"]["w"].values.reshape(-1, 2)
    spread = (w[:, 0] - w[:, 1]).std(ddof=1) / (1.5 * np.sqrt(2))
    assert abs(spread - 1) < 4 / np.sqrt(2 * DRAWS)
    assert (w[:, 0] + w[:, 1]).std() / (1.5 * np.sqrt(2)) < 0.5


def test_a_run_that_did_not_converge_is_never_consistent(data):
    short = NUTS(chains=2, warmup=5, max_tree_depth=1)
    found = run(data, engine=short, draws=40, scales=2, second=None)
    rows = {row["name"]: row for row in found.summary["checks"]}
    assert rows["convergence"]["verdict"] == "undetermined"
    assert found.summary["verdict"] == "undetermined"
    assert found.summary["flow_against_theory"]["state"] == "not resolved"
    assert rows["convergence"]["detail"] in found.summary["flow_against_theory"]["sentence"]
    assert (
        "R-hat" in rows["convergence"]["detail"] or "effective sample size" in rows["convergence"]["detail"]
    )


def test_a_prior_without_transport_is_tempered(data):
    found = run(data, network=tilted, scales=2, second=None, engine=NUTS(chains=2, warmup=200), draws=200)
    assert found.summary["flow"]["scheme"] == "tempering"
    assert [row["name"] for row in found.summary["checks"]] == ["convergence", "leave-one-out"]
    assert "'tilt'" in found.summary["no_prediction"]
    answer = found.summary["flow_against_theory"]
    assert (answer["state"], answer["kind"]) == ("not tested", None)
    assert "Tempering samples the posterior anew" in answer["sentence"]


def test_a_run_is_saved_shown_and_read_back(finished, tmp_path):
    folder = finished.save(tmp_path / "run")
    loaded = pipeline.load_run(folder)
    assert loaded.summary == json.loads(json.dumps(finished.summary))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "What the data determine" in page
    assert "noise σ" not in page


def test_options_of_linear_readouts_are_refused(data):
    with pytest.raises(ValueError, match="tune = True needs a linear readout"):
        run(data, tune=True)
