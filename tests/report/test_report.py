"""The report: one offline file that says what the summary says, whatever the names in it."""

import base64
import hashlib
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from brg_prob import figures
from brg_prob.report import page as shared
from brg_prob.report import write_report
from brg_prob.summary import check_rows, summarise

MODEL = {"source": "x = 1", "sha256": "ab" * 32}


def test_page_is_well_formed_and_identifiers_are_unique(page):
    assert len(page.identifiers) == len(set(page.identifiers))


def test_page_asks_the_network_for_nothing(text, page):
    own = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    own = re.sub(r'href="data:[^"]*"', "", own)
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\((?!#)", own)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not {"iframe", "object", "embed", "img", "form"} & {tag for tag, _ in page.tags}


def test_policy_lets_only_the_scripts_of_this_page_run(page):
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv"))
    assert "default-src 'none'" in policy
    running = [script for attrs, script in page.scripts if "type" not in attrs]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in running]
    assert re.search(r"script-src ([^;]*)", policy)[1].split() == [f"'sha256-{code}'" for code in hashes]
    assert "unsafe" not in re.search(r"script-src [^;]*", policy)[0]


def test_hostile_text_is_escaped_wherever_it_stands(text, page):
    # the theme, the library, the slider, and the slider's data; none from the text of a column
    assert [attrs.get("type") for attrs, _ in page.scripts] == ["application/json", None, None, None]
    own = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "<script" not in own
    # the check's detail, the column's name on an axis, the model's source
    assert own.count("&lt;script&gt;") >= 3


def test_every_link_in_the_page_has_its_target(page):
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert len(inside) > 8
    assert set(inside) <= set(page.identifiers)


def test_verdict_comes_first(page):
    body = "".join(page.text)
    sentence = "At all 12 scales"
    assert 0 < body.index(sentence) < body.index("Training narrows")
    assert page.tags.index(("h1", {})) < [tag for tag, _ in page.tags].index("svg")


def test_every_drawing_has_alternative_text_a_caption_and_downloads(page):
    drawings = [attrs for tag, attrs in page.tags if attrs.get("class") == "drawing"]
    assert len(drawings) == [tag for tag, _ in page.tags].count("svg") >= 10
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 40 for attrs in drawings)
    panels = [attrs for tag, attrs in page.tags if attrs.get("class") == "plot"]
    assert len(panels) == 4
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 40 for attrs in panels)
    assert [tag for tag, _ in page.tags].count("figcaption") == len(drawings) + len(panels)
    names = [name for name, _ in page.files]
    for kind in ("svg", "csv"):
        assert sum(name.endswith(kind) for name in names) == len(drawings)


def test_figures_stand_in_the_parts_they_belong_to(page):
    at = {name: place for place, name in enumerate(page.identifiers)}
    for part, inside in (
        ("part-field", ["field"]),
        ("moving", ["moving-field", "moving-propagator", "moving-fisher", "moving-histogram"]),
        ("part-correspondence", ["spectrum", "cutoff", "propagators", "running"]),
        ("part-flow", ["information", "score"]),
        ("part-theories", ["theories"]),
        ("part-data", ["data-spectrum", "evidence"]),
        ("part-trust", ["trust"]),
        ("part-sampling", ["convergence"]),
    ):
        later = [at[other] for other in at if other.startswith("part-") and at[other] > at[part]]
        for figure in inside:
            assert at[part] < at[figure] < min(later, default=10**9), figure


@pytest.mark.usefixtures("undrawn")
def test_evidence_is_shown_only_where_hyperparameters_were_tuned(tree, page, reported, parse, monkeypatch):
    monkeypatch.setattr(figures, "pictures", lambda tree: filter(None, [figures.evidence_picture(tree)]))
    untuned = tree.copy()
    del untuned["tuning"]
    assert "evidence" in page.identifiers
    assert "evidence" in parse(reported(tree)).identifiers
    assert "evidence" not in parse(reported(untuned)).identifiers


def test_what_was_run_prior_hypothesis_and_metric_are_said(tree, page):
    said = " ".join("".join(page.text).split())
    assert "CosNet was trained on 400 observations of data" in said
    assert "CosNet(dim = 1, cutoff = 20, mass = 1, noise = 0.5, box = 10)" in said
    assert "propagator: G_T(p) = 1/(p² + m² + M_T²)" in said
    assert "from n = 400 observations with noise σ = 0.5" in said
    assert "where λ ≥ 0.0025" in said  # 1/T
    assert f"Point: {tree['fisher'].attrs['status']}." in said
    assert "brg-prob rerun DIR" in said


@pytest.mark.usefixtures("undrawn")
def test_a_run_made_in_python_offers_no_rerun_and_names_the_options_that_were_chosen(tree, reported, parse):
    made = tree.copy()
    made.attrs |= {
        "engine_options": '{"members": 1, "noise": 2}',
        "engine_chosen": '{"noise": 2}',
        "command": "",
    }
    said = " ".join("".join(parse(reported(made, {})).text).split())
    assert "brg-prob rerun" not in said
    assert "made in Python" in said
    assert "with the engine exact (noise=2)" in said


def test_tables_hold_the_numbers_of_the_tree(tree, page):
    cells = " ".join("".join(page.text).split())
    flow = tree["flow"].to_dataset()
    for row in range(flow.sizes["scale"]):
        for name in ("observations", "effective_dimension", "kl_to_prior"):
            assert shared.number(float(flow[name].values[row])) in cells
        score, error = (float(flow[name].values[row]) for name in ("test_score", "test_score_se"))
        assert f"{shared.decimals(score)} ± {shared.decimals(error)}" in cells
    for row in check_rows(tree):
        assert row["name"] in cells


def test_every_check_is_listed_with_its_flow(tree, page):
    names = [row["name"] for branch in (tree, tree["shell"]) for row in check_rows(branch)]
    cells = "\n".join(page.text)
    for name in names:
        assert cells.count(name) >= 2


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("inconsistent", "differs from"), ("undetermined", "Nothing was rejected, but")],
)
@pytest.mark.usefixtures("without_figures")
def test_sentence_follows_the_verdict(tree, reported, parse, verdict, said):
    changed = tree.copy(deep=True)
    changed.attrs["verdict"] = verdict
    table = changed["checks"].to_dataset()
    verdicts = table["verdict"].values.astype(object).copy()
    verdicts[1] = verdict
    changed["checks"] = type(changed)(table.assign(verdict=("check", verdicts)))
    page = "".join(parse(reported(changed)).text)
    assert said in page
    assert ("trained mean of diffusion" if verdict == "inconsistent" else "(trained mean)") in page
    assert "under diffusion and shell agrees with the exact renormalization group (T9);" not in page


@pytest.mark.usefixtures("without_figures")
def test_a_control_that_was_not_rejected_is_called_so(tree, reported, parse):
    changed = tree.copy(deep=True)
    table = changed["checks"].to_dataset()
    verdicts = table["verdict"].values.astype(object).copy()
    verdicts[3] = "consistent"
    changed["checks"] = type(changed)(table.assign(verdict=("check", verdicts)))
    page = "".join(parse(reported(changed)).text)
    assert "not rejected" in page


@pytest.mark.usefixtures("without_figures")
def test_without_a_prediction_the_report_says_so(tree, reported, parse):
    bare = tree.copy(deep=True)
    for name in ("theory", "checks", "shell", "record", "tuning"):
        del bare[name]
    bare.attrs["verdict"] = "undetermined"
    bare["flow"].attrs["no_prediction"] = "inputs are <no> grid"
    page = reported(bare)
    assert "There is nothing to hold this posterior under diffusion against" in page
    assert "&lt;no&gt; grid" in page
    parse(page)


@pytest.mark.usefixtures("without_figures")
def test_missing_scores_are_dashes_not_nan(tree, reported, parse):
    without = tree.copy(deep=True)
    flow = without["flow"].to_dataset()
    nothing = np.full(flow.sizes["scale"], np.nan)
    without["flow"] = type(without)(
        flow.assign(test_score=("scale", nothing), test_score_se=("scale", nothing))
    )
    visible = "".join(parse(reported(without)).text)
    assert "– ± –" in visible
    assert not re.search(r"\bnan\b", visible)


def test_how_it_was_run_and_how_to_repeat_it_are_said(tree, page):
    said = "".join(page.text)
    assert tree.attrs["command"] in said
    for name, value in json.loads(tree.attrs["model_options"]).items():
        assert f"model.{name}" in said
        assert str(value) in said
    assert ("ab" * 6) in said


@pytest.mark.usefixtures("without_figures")
def test_report_is_written_into_a_folder_or_to_a_file(tree, tmp_path):
    run = SimpleNamespace(tree=tree, summary=summarise(tree), model=MODEL)
    assert write_report(run, tmp_path) == tmp_path / "report.html"
    assert (
        write_report(run, tmp_path / "other é.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0"),
        (1.0, "1"),
        (-0.5, "−0.5"),
        (1e-7, "1·10⁻⁷"),
        (400.0, "400"),
    ],
)
def test_numbers_in_tables_are_short(value, said):
    assert shared.number(value) == said


@pytest.mark.parametrize(
    ("critical", "difference", "said"),
    [
        (4.0, [0.0, -0.1, -9.0], "coarser theories predict worse"),
        (4.0, [0.0, -0.1, np.nan], "coarser theories could not be scored"),
        (1.0, [0.0, -0.1, -0.1], "no scale predicts worse"),
    ],
)
def test_the_card_of_the_critical_scale_claims_no_more_than_was_scored(critical, difference, said):
    from brg_prob.report.html import _beyond

    flow = xr.Dataset({"loo_difference": ("scale", difference)}, coords={"scale": [8.0, 4.0, 1.0]})
    assert _beyond(xr.DataTree.from_dict({"flow": flow}), critical) == said
