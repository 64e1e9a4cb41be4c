"""Results in a notebook and at a prompt: small, escaped, and without arrays."""

import importlib.util
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brg_prob
from brg_prob import notebook
from brg_prob.correspondence.verdicts import Check, Checks
from brg_prob.summary import summarise

_SPEC = importlib.util.spec_from_file_location("example_tree", Path(__file__).parent / "example_tree.py")
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\n\x1b[31m"
VOID = {"br", "hr", "img"}


class Fragment(HTMLParser):
    """The elements of an HTML fragment and its text; every element must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def cells(self):
        """The visible texts, without blanks."""
        return [text.strip() for text in self.text if text.strip()]


def safe(text):
    """Return the fragment, after checking that it holds a plain table only and takes the page's colours."""
    found = Fragment(text)
    assert set(found.tags) <= {"div", "table", "caption", "b", "thead", "tbody", "tr", "th", "td"}
    assert set(found.attributes) <= {"style", "scope"}
    assert len(text) < 20_000
    # a colour of its own would vanish on a light or on a dark page
    colours = re.findall(r"(?<![-\w])(?:color|background)\s*:\s*([^;\"]+)", text)
    assert set(colours) == {"inherit", "transparent"}
    return found


def plain(text):
    """Check a one-line representation: short, and no array in it."""
    assert re.fullmatch(r"<\w+: [^\n]{1,200}>", text)
    assert "Array(" not in text and "array(" not in text and "[[" not in text
    return text


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


@pytest.fixture(scope="module")
def trained():
    """A fitted posterior, its metric and flow of a small cos-net on its lattice."""
    from models.cosnet import CosNet

    network = CosNet(box=10.0, cutoff=3.0)
    x = jnp.arange(12.0)[:, None] * 10 / 12
    y = jnp.sin(x[:, 0])
    posterior = brg_prob.fit(network, x, y, key=jax.random.key(0), draws=20)
    metric = brg_prob.fisher_metric(network, x)
    flow = brg_prob.coarse_grain(network, posterior, metric, scales=(12.0, 3.0, 1.0), key=jax.random.key(1))
    return metric, flow


def test_a_run_is_a_table_of_the_numbers_in_its_summary(tree):
    summary = summarise(tree)
    page = safe(notebook.run_html(summary, tree.attrs))
    shown = " ".join(page.cells)
    assert "Run of CosNet" in shown
    assert "Flow against theory ✓ agrees. At all 12 scales" in shown
    assert "Model against data · no conflict found." in shown
    assert (
        f"{summary['fisher']['effective_dimension']:.4g} of {len(summary['fisher']['eigenvalues'])}" in shown
    )
    assert f"{summary['flow']['kl_to_prior'][0]:.4g} nats" in shown
    assert "400, trained at T = 400" in shown
    text = plain(notebook.run_text(summary, tree.attrs))
    assert "CosNet" in text and "flow agrees; data: no conflict found" in text


def test_hostile_names_are_text(tree):
    summary = summarise(tree)
    summary["model"] = {"file": HOSTILE, "name": HOSTILE, "options": {}}
    summary["flow_against_theory"] |= {"state": HOSTILE, "sentence": HOSTILE}
    summary |= {"engine": HOSTILE, "verdict": HOSTILE, "no_prediction": HOSTILE, "checks": []}
    page = safe(notebook.run_html(summary, {"n": 3, "draws": HOSTILE}))
    assert sum("<script>alert(1)</script>" in text for text in page.text) >= 4
    text = notebook.run_text(summary, {"n": 3})
    assert "\n" not in text
    assert "\x1b" not in text
    rows = [
        dict(name=HOSTILE, verdict="consistent", p_value=np.nan, smallest_detectable=None, role="data"),
    ]
    safe(notebook.checks_html(rows, HOSTILE))


def test_escaping_is_what_keeps_them_text():
    with pytest.raises(AssertionError):  # the control: the same page without it
        safe(notebook.table_html("title", [("a", "b")]).replace("b</td>", f"{HOSTILE}</td>"))


def test_a_summary_of_missing_numbers_shows_dashes(tree):
    summary = summarise(tree)
    summary |= {"seed": None, "critical_scale": None, "checks": []}
    summary["flow_against_theory"] |= {"sentence": "no free field"}
    summary["flow"] = {**summary["flow"], "kl_to_prior": [None]}
    shown = " ".join(safe(notebook.run_html(summary, {})).cells)
    assert "a key was passed" in shown
    assert "no free field" in shown
    assert "nan" not in shown and "None" not in shown


def test_metric(trained):
    metric, _ = trained
    shown = safe(metric._repr_html_()).cells
    weight = 12 * np.asarray(metric.eigenvalues)
    assert f"{(weight / (1 + weight)).sum():.4g}" in shown
    assert metric.status in shown
    assert str(int((weight >= 1).sum())) in shown
    assert "FisherMetric: CosNet, n = 12" in plain(repr(metric))
    assert metric.effective_dimension(1.0) < metric.effective_dimension()
    assert "<script>" not in replace(metric, status=HOSTILE)._repr_html_()


def test_flow_shows_its_scales_and_computes_nothing(trained):
    _, flow = trained
    shown = safe(flow._repr_html_()).cells
    assert "12 → 1" in shown
    assert "Diffusion()" in shown
    assert "CosNet, diffusion, 3 scales, observations 12 → 1, 20 draws" in plain(repr(flow))
    assert "tree" not in vars(flow)


def test_checks(tree):
    nothing = np.full(3, np.nan)
    checks = tuple(
        Check(name, "h", "correspondence", 1.0, p, 0.02, verdict, HOSTILE, nothing)
        for name, p, verdict in (("propagator", 0.4, "consistent"), ("<b>mean</b>", 1e-9, "inconsistent"))
    )
    found = Checks(tree, "inconsistent", checks)
    shown = safe(found._repr_html_()).cells
    for text in ("propagator", "<b>mean</b>", "0.4", "1e−09", "✗ differs", "2.0 %", found.status):
        assert text in shown
    assert "2 checks, differs" in plain(repr(found))
