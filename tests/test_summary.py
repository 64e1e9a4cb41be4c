"""summary.json: exact keys, JSON types, no NaN, and the words for each verdict."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from brg_prob import summary as room
from brg_prob.report.statements import statements

_SPEC = importlib.util.spec_from_file_location("example_tree", Path(__file__).parent / "example_tree.py")
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

STABLE = {
    "model": {"file", "name", "options", "infinite_width"},
    "fisher": {"eigenvalues", "effective_dimension"},
    "flow": {
        "scheme",
        "coordinate",
        "scales",
        "observations",
        "effective_dimension",
        "kl_to_prior",
        "test_score",
        "test_score_se",
    },
}
TOP = {"engine", "seed", "observations", "critical_scale", "checks", "verdict", "versions", "seconds"} | set(
    STABLE
)
CHECK = {"name", "hypothesis", "statistic", "p_value", "smallest_detectable", "verdict", "detail"}


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


def test_stable_keys_are_exactly_there(tree):
    summary = room.summarise(tree)
    assert set(summary) == TOP | {
        "flow_against_theory", "model_against_data", "flows", "tolerance", "shift_tolerance",
        "no_prediction", "kind", "notes",
    }  # fmt: skip
    for name, keys in STABLE.items():
        assert set(summary[name]) == keys
    for row in summary["checks"]:
        assert set(row) == CHECK | {
            "role", "unit", "flow", "smallest_detectable_single", "observed", "observed_single", "where",
            "scales_tested",
        }  # fmt: skip
    assert set(summary["flows"]) == {"diffusion", "shell"}


def test_summary_is_strict_json_with_null_for_what_does_not_exist(tree):
    text = json.dumps(room.summarise(tree), allow_nan=False)
    back = json.loads(text)
    assert (
        next(row for row in back["checks"] if row["name"] == "data spectrum")["smallest_detectable"] is None
    )


def test_effective_dimension_is_counted_from_the_eigenvalues(tree):
    weight = example.N * example.density(example.momenta()) / (example.BOX * example.NOISE**2)
    expected = np.sum(weight / (1 + weight))
    assert room.summarise(tree)["fisher"]["effective_dimension"] == pytest.approx(expected, rel=1e-12)


def test_a_passed_key_has_no_seed(tree):
    keyed = tree.copy()
    keyed.attrs["seed"] = -1
    assert room.summarise(keyed)["seed"] is None


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["consistent", "consistent"], "consistent"),
        (["consistent", "inconsistent", "undetermined"], "inconsistent"),
        (["undetermined", "consistent"], "undetermined"),
        ([], "undetermined"),
    ],
)
def test_the_worst_verdict_counts(verdicts, expected):
    assert room.combine_verdicts(verdicts) == expected


def test_data_that_contradict_the_prior_are_said_to(tree):
    assert room.summarise(tree)["model_against_data"]["state"] == "no conflict found"
    changed = tree.copy(deep=True)
    table = changed["checks"].to_dataset()
    verdicts = table["verdict"].values.astype(object).copy()
    verdicts[table["role"].values == "data"] = "inconsistent"
    changed["checks"] = type(changed)(table.assign(verdict=("check", verdicts)))
    answer = room.summarise(changed)["model_against_data"]
    assert answer["state"] == "conflict"
    assert "The data contradict this model: data spectrum (p = " in answer["sentence"]
    # the other question is not touched
    assert room.summarise(changed)["flow_against_theory"] == room.summarise(tree)["flow_against_theory"]


def test_a_trained_ensemble_is_not_called_a_posterior(tree):
    summary = room.summarise(tree)
    assert "this posterior under" in summary["flow_against_theory"]["sentence"]
    for engine in ("gradient_flow", "sgd_exact", "ensemble"):
        trained = tree.copy()
        trained.attrs["engine"] = engine
        said = room.summarise(trained)["flow_against_theory"]["sentence"]
        assert "this trained ensemble under" in said
        assert "posterior" not in said
    other = summary | {"engine": "sgd_exact", "observations": 7.0}
    said, otherwise = (dict(statements(tree, s, {}))["What was run"] for s in (other, summary))
    assert "draws of the trained ensemble, and flowed back from T = 7 towards" in said
    assert "weighted" not in said
    assert "draws of the posterior" in otherwise
