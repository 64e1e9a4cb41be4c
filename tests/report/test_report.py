"""The report: one offline file that says what the summary says, whatever the names in it."""

import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from brg_prob.figures import style
from brg_prob.report import html, render_report, write_report
from brg_prob.summary import check_rows, summarise

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

MODEL = {"source": "x = '</pre><script>alert(1)</script>'", "sha256": "ab" * 32}
VOID = {"meta", "link", "br", "use", "path", "img", "rect", "circle"}


class Page(HTMLParser):
    """Collects tags, attributes and visible text; checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.identifiers, self.text, self.links = [], [], [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.identifiers += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.text.append(data)


def reported(tree):
    run = SimpleNamespace(tree=tree, summary=summarise(tree), model=MODEL)
    return render_report(run)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the drawings out, where a test is about words: they take most of the time."""
    monkeypatch.setattr(html.figures, "svg", lambda picture: "<svg></svg>")


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


@pytest.fixture(scope="module")
def text(tree):
    return reported(tree)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_is_well_formed_and_identifiers_are_unique(page):
    assert len(page.identifiers) == len(set(page.identifiers))


def test_page_asks_the_network_for_nothing(text, page):
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\((?!#)", text)
    assert all(link.startswith(("#", "data:,")) for link in page.links)
    assert not {"script", "iframe", "object", "embed", "img"} & {tag for tag, _ in page.tags}


def test_hostile_text_is_escaped_wherever_it_stands(text):
    assert "<script" not in text
    # the check's detail, the column's name on an axis, the model's source
    assert text.count("&lt;script&gt;") >= 3


def test_verdict_comes_first(page):
    body = "".join(page.text)
    sentence = "At all 12 scales"
    assert 0 < body.index(sentence) < body.index("Training narrows")
    assert page.tags.index(("h1", {})) < [tag for tag, _ in page.tags].index("svg")


def test_every_drawing_has_alternative_text_and_a_caption(page):
    drawings = [attrs for tag, attrs in page.tags if attrs.get("role") == "img"]
    svgs = [tag for tag, _ in page.tags if tag == "svg"]
    assert len(drawings) == len(svgs) == 5  # four figures and the evidence curve
    assert all(len(attrs["aria-label"]) > 40 for attrs in drawings)
    assert [tag for tag, _ in page.tags].count("figcaption") == 5


@pytest.mark.usefixtures("undrawn")
def test_evidence_is_shown_only_where_hyperparameters_were_tuned(tree):
    untuned = tree.copy()
    del untuned["tuning"]
    assert len(re.findall(r"<svg>", reported(untuned))) == 4


def test_theme_defines_every_colour_in_light_and_dark(text):
    light = text[: text.index("prefers-color-scheme")]
    dark = text[text.index("prefers-color-scheme") : text.index("box-sizing")]
    for variable in style.THEME.values():
        name = variable.removeprefix("var(").removesuffix(")")
        for scheme in (light, dark):
            assert re.search(rf"{name}:\s*#", scheme), name


def test_tables_hold_the_numbers_of_the_tree(tree, page):
    cells = " ".join("".join(page.text).split())
    flow = tree["flow"].to_dataset()
    for row in range(flow.sizes["scale"]):
        for name in ("observations", "effective_dimension", "kl_to_prior"):
            assert html.number(float(flow[name].values[row])) in cells
        score, error = (float(flow[name].values[row]) for name in ("test_score", "test_score_se"))
        assert f"{html.decimals(score)} ± {html.decimals(error)}" in cells
    for row in check_rows(tree):
        assert row["name"] in cells


def test_every_check_is_listed_with_its_flow(tree, page):
    names = [row["name"] for branch in (tree, tree["shell"]) for row in check_rows(branch)]
    cells = "\n".join(page.text)
    for name in names:
        assert cells.count(name) >= 2


@pytest.mark.parametrize(
    ("verdict", "said"), [("inconsistent", "differs from"), ("undetermined", "undetermined")]
)
@pytest.mark.usefixtures("undrawn")
def test_sentence_follows_the_verdict(tree, verdict, said):
    changed = tree.copy(deep=True)
    changed.attrs["verdict"] = verdict
    table = changed["checks"].to_dataset()
    verdicts = table["verdict"].values.astype(object).copy()
    verdicts[1] = verdict
    changed["checks"] = type(changed)(table.assign(verdict=("check", verdicts)))
    page = "".join(Page(reported(changed)).text)
    assert said in page
    assert "trained mean (diffusion)" in page
    assert "agrees with the exact renormalization group;" not in page


@pytest.mark.usefixtures("undrawn")
def test_a_control_that_was_not_rejected_is_called_so(tree):
    changed = tree.copy(deep=True)
    table = changed["checks"].to_dataset()
    verdicts = table["verdict"].values.astype(object).copy()
    verdicts[3] = "consistent"
    changed["checks"] = type(changed)(table.assign(verdict=("check", verdicts)))
    page = "".join(Page(reported(changed)).text)
    assert "not rejected" in page


@pytest.mark.usefixtures("undrawn")
def test_without_a_prediction_the_report_says_so(tree):
    bare = tree.copy(deep=True)
    for name in ("theory", "checks", "shell", "record", "tuning"):
        del bare[name]
    bare.attrs["verdict"] = "undetermined"
    bare["flow"].attrs["no_prediction"] = "inputs are <no> grid"
    page = reported(bare)
    assert "There is no exact renormalization group" in page
    assert "&lt;no&gt; grid" in page
    Page(page)


@pytest.mark.usefixtures("undrawn")
def test_missing_scores_are_dashes_not_nan(tree):
    without = tree.copy(deep=True)
    flow = without["flow"].to_dataset()
    nothing = np.full(flow.sizes["scale"], np.nan)
    without["flow"] = type(without)(
        flow.assign(test_score=("scale", nothing), test_score_se=("scale", nothing))
    )
    visible = "".join(Page(reported(without)).text)
    assert "– ± –" in visible
    assert not re.search(r"\bnan\b", visible)


def test_how_it_was_run_and_how_to_repeat_it_are_said(tree, page):
    said = "".join(page.text)
    assert tree.attrs["command"] in said
    for name, value in json.loads(tree.attrs["model_options"]).items():
        assert f"model.{name}" in said
        assert str(value) in said
    assert MODEL["sha256"][:12] in said


@pytest.mark.usefixtures("undrawn")
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
    assert html.number(value) == said
