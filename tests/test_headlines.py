"""The two answers of a run: each state from the rows that make it, and no sentence beyond the list (T18a)."""

import re
from pathlib import Path

import pytest

from brg_prob import headlines, verdict_sentences
from brg_prob.headlines import Judged, flow_against_theory, found_nothing_wrong, model_against_data, row_state
from brg_prob.verdict_sentences import SENTENCES

DOCS = Path(__file__).parents[1] / "docs" / "verdicts.md"


def row(name="propagator", verdict="consistent", role="correspondence", **more):
    return {
        "name": name, "hypothesis": f"{name} holds", "role": role, "verdict": verdict, "p_value": 0.3,
        "smallest_detectable": 0.02, "smallest_detectable_single": 0.11, "observed": 0.004,
        "observed_single": -0.06, "unit": "relative", "flow": "diffusion", "detail": "a detail",
        "where": "there",
        "scales_tested": 12,
    } | more  # fmt: skip


def judged(*rows, **more):
    options = {"drawn": "posterior", "flows": ["diffusion"], "scales": 12, "tolerance": 0.05, "place": 0.3}
    return Judged(rows=rows, **options | {"spread": 1.25, "seed": 7} | more)


SAMPLED = (row("each parameter", scales_tested=11), row("joint law", scales_tested=11))


@pytest.mark.parametrize(
    ("given", "state", "kind", "said"),
    [
        (judged(row()), "agrees", "implementation", "At all 12 scales this posterior under diffusion agrees"),
        (judged(row()), "agrees", "implementation", "This checks the program, not the model"),
        (judged(row(), lattice=True), "agrees", "implementation", "on seed and grid alone, not on the data"),
        (judged(*SAMPLED), "agrees", "approximation", "At 11 of 12 scales"),
        (judged(*SAMPLED), "agrees", "approximation", "within 0.3 sd and its spread within a factor 1.25"),
        (judged(row(verdict="inconsistent")), "differs", "implementation", "propagator of diffusion, there"),
        (judged(row(verdict="undetermined")), "not resolved", "implementation", "do not suffice"),
        (
            judged(row(verdict="inconsistent"), row("convergence", "undetermined", "draws")),
            "not resolved", "implementation", "Nothing can be said of this posterior under diffusion: a",
        ),
        (judged(row(), row("mass", "consistent", "control")), "not resolved", "implementation", "(mass)"),
        (judged(tempered=True), "not tested", None, "Tempering samples the posterior anew at every T"),
        (judged(no_prediction="no grid"), "not tested", None, "diffusion against: no grid."),
        (judged(row("data spectrum", role="data")), "not tested", None, "nothing to hold"),
    ],
)  # fmt: skip
def test_flow_against_theory(given, state, kind, said):
    found = flow_against_theory(given)
    assert (found["state"], found["kind"]) == (state, kind)
    assert said in found["sentence"]
    assert "consistent" not in found["sentence"]
    assert (found["level"], found["seed"]) == (0.05, 7)
    assert bool(found["where"]) == (state == "differs")


def test_a_check_of_the_weights_says_nothing_of_the_flow():
    unusable = row("leave-one-out", "undetermined", "draws")
    assert flow_against_theory(judged(row(), unusable))["state"] == "agrees"
    assert row_state(unusable) == "weights not usable"


def test_draws_that_are_not_told_apart_do_not_thereby_agree():
    assert row_state(row("joint law")) == "not told apart"
    assert row_state(row("joint law", "inconsistent")) == "differs"
    assert row_state(row("each parameter")) == "agrees"


def test_power_does_not_read_as_accuracy():
    said = flow_against_theory(judged(row()))["sentence"]
    assert "a common deviation of 2.0 % (seen 0.4 %), of one mode alone 11.0 % (seen 6.0 %)" in said
    assert "data-independent" not in said
    sampled = flow_against_theory(judged(*SAMPLED))
    assert "the program" not in sampled["sentence"]  # an approximation is checked, not an implementation
    assert sampled["within"] == {"relative": None, "place_sd": 0.3, "spread_factor": 1.25}


def test_model_against_data():
    none = model_against_data(judged(row(), data_reason="the targets are counts"))
    assert (none["state"], none["tests"]) == ("not tested", [])
    assert "the targets are counts" in none["sentence"]
    spectrum = row("data spectrum", role="data", verdict="undetermined", smallest_detectable=0.3)
    other = row("kurtosis", role="data", p_value=0.01, smallest_detectable=None)
    found = model_against_data(judged(spectrum, other))
    assert found["state"] == "no conflict found"
    assert "Data spectrum and kurtosis found no conflict" in found["sentence"]
    assert "smallest p = 0.01" in found["sentence"]
    assert "a mass 1.3 times as large or as small" in found["power"]
    conflict = model_against_data(judged(spectrum, other | {"verdict": "inconsistent"}))
    assert conflict["state"] == "conflict"
    assert conflict["sentence"] == "The data contradict this model: kurtosis (p = 0.01)."
    weak = row(verdict="undetermined")
    for flow, data, right in ((row(), found, True), (row(), conflict, False), (weak, found, False)):
        summary = {"flow_against_theory": flow_against_theory(judged(flow)), "model_against_data": data}
        assert found_nothing_wrong(summary) == right


def test_every_sentence_is_listed_with_what_it_rests_on():
    text = DOCS.read_text(encoding="utf-8")
    for key, sentence in SENTENCES.items():
        assert f"| `{key}` | {sentence.text} | {sentence.rests_on} |" in text
        assert sentence.rests_on
    assert len(re.findall(r"^\| `", text, flags=re.M)) == len(SENTENCES)


def test_no_sentence_about_a_verdict_is_written_elsewhere():
    # what says "agrees with", "contradict" … in the rooms that show a run must come from the list
    words = re.compile(
        r"[\"'][^\"'\n]*\b(agrees? with|differs? from|contradicts?|consistent with)\b[^\"'\n]*[\"']"
    )
    own = {Path(headlines.__file__), Path(verdict_sentences.__file__)}
    root = Path(headlines.__file__).parent
    found = [
        f"{file.relative_to(root)}: {hit.group()}"
        for room in ("cli", "report", "pipeline")
        for file in (root / room).rglob("*.py")
        if file not in own
        if file.name != "parser.py"  # the help of --strict
        for hit in words.finditer(re.sub(r'""".*?"""', "", file.read_text(encoding="utf-8"), flags=re.S))
    ]
    assert found == []


@pytest.mark.parametrize("verdict", ["consistent", "inconsistent", "undetermined"])
@pytest.mark.parametrize("role", ["correspondence", "data", "control", "draws"])
def test_no_row_is_called_consistent(role, verdict):
    assert "consistent" not in row_state(row(role=role, verdict=verdict))
