"""``brg-prob run --infinite-width``: from the flag to a verdict, and run again from model.json."""

import json
from pathlib import Path

import pytest

from brg_prob import store
from brg_prob.cli import main

ROOT = Path(__file__).parents[2]
MLP, COSNET = (str(ROOT / "models" / f"{name}.py") for name in ("mlp", "cosnet"))
SMALL = ["--points", "12", "--draws", "1200", "--scales", "2", "--tolerance", "0.2", "--infinite-width"]
NETWORK = ["--model.widths", "20,10", "--model.activation", "erf,relu", "--model.bias_variance", "0.1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run of a network of two hidden layers."""
    out = tmp_path_factory.mktemp("runs") / "limit"
    # the flow agrees, but nothing tests the data: that is not enough for --strict
    assert main(["run", MLP, *NETWORK, *SMALL, "--controls", "--strict", "--out", str(out)]) == 1
    return out


def test_the_run_says_that_the_network_is_its_limit(folder):
    summary = json.loads((folder / "summary.json").read_text())
    model = json.loads((folder / "model.json").read_text())
    assert summary["model"]["infinite_width"] is model["infinite_width"] is True
    assert model["name"] == "Mlp"
    assert model["options"]["widths"] == "(20, 10)"
    assert "--infinite-width" in model["command"]
    page = (folder / store.REPORT).read_text(encoding="utf-8")
    assert "Mlp at infinite width was trained on 12 observations" in page
    assert "a Gaussian field whose covariance is the limit’s kernel" in page


def test_it_is_judged_by_the_closed_form_posterior(folder):
    summary = json.loads((folder / "summary.json").read_text())
    judged = {row["name"]: row["verdict"] for row in summary["checks"]}
    assert judged == {
        "tempered covariance": "consistent",
        "tempered mean": "consistent",
        "wrong ridge": "inconsistent",
    }
    assert summary["verdict"] == "consistent"
    assert summary["flow_against_theory"]["state"] == "agrees"
    assert summary["model_against_data"]["state"] == "not tested"
    assert len(summary["fisher"]["eigenvalues"]) == 12


def test_rerun_does_it_at_infinite_width_again(folder, tmp_path, capsys, monkeypatch):
    # drawing the figures again takes longer than all the rest
    monkeypatch.setattr("brg_prob.pipeline.run_result.render_report", lambda run: "a report")
    assert main(["rerun", str(folder), "--strict", "--out", str(tmp_path / "again")]) == 0
    assert "digit for digit" in capsys.readouterr().out
    assert json.loads((tmp_path / "again" / "summary.json").read_text())["model"]["infinite_width"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([COSNET], ["--infinite-width", "InfiniteWidth", "CosNet would provide it by kernel(x1, x2)"]),
        ([MLP, "--model.readout_mean", "0.1"], ["prior mean of the readout", "make it zero"]),
    ],
)
def test_without_a_limit_it_is_refused_and_nothing_written(words, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *words, "--points", "6", "--infinite-width", "--out", "new"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert all(part in line for part in parts)
    assert list(tmp_path.iterdir()) == []
