"""The example's report, rendered once for all tests here."""

import importlib.util
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from brg_prob.report import html, render_report
from brg_prob.report import page as shared
from brg_prob.summary import summarise

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

MODEL = {"source": "x = '</pre><script>alert(1)</script>'", "sha256": "ab" * 32, "request": {"words": []}}
VOID = {"meta", "link", "br", "use", "path", "img", "rect", "circle", "input"}


class Page(HTMLParser):
    """Collects tags, attributes, scripts and visible text; checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.identifiers, self.text, self.links = [], [], [], [], []
        self.scripts, self.cells, self.files = [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append((tag, named))
        self.identifiers += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if "download" in named:
            self.files.append((named["download"], named["href"]))
        if tag == "script":
            self.scripts.append((named, ""))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
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
        if "script" in self.stack:
            named, text = self.scripts[-1]
            self.scripts[-1] = (named, text + data)
        elif "style" not in self.stack:
            self.text.append(data)
        if {"td", "th"} & set(self.stack):
            self.cells[-1][-1] += data


@pytest.fixture(scope="session")
def parse():
    """Return the parser of pages."""
    return Page


@pytest.fixture(scope="session")
def fields():
    """Return the module of the example's tree."""
    return example


@pytest.fixture(scope="session")
def tree():
    """The example's tree; not to be changed."""
    return example.example_tree()


@pytest.fixture(scope="session")
def reported():
    """Return a function that renders a tree's report."""
    return lambda tree, model=MODEL: render_report(
        SimpleNamespace(tree=tree, summary=summarise(tree), model=model)
    )


@pytest.fixture(scope="session")
def text(tree, reported):
    """The example's report."""
    return reported(tree)


@pytest.fixture(scope="session")
def page(text):
    """The example's report, parsed."""
    return Page(text)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the drawings out: they take most of the time."""
    monkeypatch.setattr(shared, "svg", lambda picture: '<svg viewBox="0 0 1 1"></svg>')


@pytest.fixture
def without_figures(monkeypatch):
    """Leave the figures out altogether, where a test is about other words."""
    monkeypatch.setattr(html.figures, "pictures", lambda tree: [])
