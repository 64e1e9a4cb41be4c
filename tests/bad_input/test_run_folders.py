"""Run folders that are damaged, foreign or newer, and hostile text in the report."""

import importlib.util
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from brg_prob import figures, store
from brg_prob.report import render_report
from brg_prob.summary import summarise

# --- run folders

DAMAGE = {
    "not there": (None, "brg-prob run writes one"),
    "empty": ("rm *", "model.json is missing"),
    "no arrays": ("rm draws.nc", "draws.nc' is damaged"),
    "no summary": ("rm summary.json", "summary.json is missing"),
    "arrays cut short": (("draws.nc", lambda whole: whole[: len(whole) // 2]), "damaged"),
    "arrays empty": (("draws.nc", lambda whole: b""), "damaged"),
    "a bit of the arrays": (("draws.nc", lambda whole: whole[:-99] + b"?" + whole[-98:]), "SHA-256"),
    "arrays of somebody else": (("draws.nc", lambda whole: b"\x89HDF\r\n\x1a\n else"), "damaged"),
    "summary cut short": (("summary.json", lambda whole: whole[:-3]), "damaged"),
    "summary of another run": (("summary.json", lambda whole: b"{}"), "damaged"),
    "model no JSON": (("model.json", lambda whole: b"{"), "damaged"),
    "model a list": (("model.json", lambda whole: b"[]"), "damaged"),
    "model endless": (("model.json", lambda whole: b"[" * 99_999), "damaged"),
    "model in another encoding": (("model.json", lambda whole: whole.decode().encode("utf-16")), "damaged"),
    "foreign": (("model.json", lambda whole: b'{"format": "other"}'), "not written by brg-prob"),
    "newer": (("model.json", lambda whole: whole.replace(b'_version": 1', b'_version": 2')), "upgrade"),
    "model without digests": (
        ("model.json", lambda whole: b'{"format": "brg_prob run", "format_version": 1}'),
        " again",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run folder in order, as far as reading goes."""
    tree = xr.DataTree.from_dict({"/flow": xr.Dataset({"f": ("x", np.arange(500.0))})})
    model = {"file": "n.py", "name": "N", "source": "", "sha256": ""}
    folder = tmp_path_factory.mktemp("whole") / "run"
    written = store.write_run(folder, tree=tree, summary={"a": 1}, model=model, pages={"report.html": "old"})
    return written.folder


# a run is repeated from its model.json alone
IN_THE_MODEL = [how for how in DAMAGE if how in ("not there", "empty", "foreign", "newer") or "model" in how]


@pytest.mark.parametrize(
    ("command", "how"),
    [(command, how) for command in ("report", "compare") for how in DAMAGE]
    + [("rerun", how) for how in IN_THE_MODEL],
)
def test_run_folders(command, how, whole, tmp_path, refused, listing, monkeypatch):
    damage, said = DAMAGE[how]
    folder = tmp_path / "run é"
    if damage is not None:
        shutil.copytree(whole, folder)
    if isinstance(damage, str):
        for path in folder.glob(damage.removeprefix("rm ")):
            path.unlink()
    elif damage is not None:
        path = folder / damage[0]
        path.write_bytes(damage[1](path.read_bytes()))
    before = listing(tmp_path)
    monkeypatch.chdir(tmp_path)
    refused([command, folder.name], "run é", said)
    assert listing(tmp_path) == before


def test_an_undamaged_folder_is_read(whole):
    """The control of the damages above."""
    run = store.read_run(whole)
    assert run.summary == {"a": 1}
    stated = json.loads((whole / "model.json").read_text())["files"]
    assert set(stated) == {"draws.nc", "summary.json", "report.html", "model.json"}


# --- hostile text in the report

HOSTILE = (
    "</script></style></title></svg><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    "\"'`><a href='javascript:window.hacked=1'>{{7*7}}{% include 'x' %}<!--]]>&lt;$\\frac{1$\u202e"
)
_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)


class Skeleton(HTMLParser):
    """The elements of a page, outside of drawings with their attributes' names, and its visible text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.drawn, self.text, self.inside = [], set(), [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert not [name for name, _ in attrs if name.startswith("on")]
        assert not [value for name, value in attrs if name in ("href", "src") and "javascript" in value]
        if tag == "svg" or self.inside == "svg":
            self.drawn.add(tag)
            self.inside = "svg"
        else:
            self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_startendtag(self, tag, attrs):
        inside = self.inside
        self.handle_starttag(tag, attrs)
        self.inside = inside

    def handle_endtag(self, tag):
        self.inside = "" if tag == "svg" else self.inside

    def handle_data(self, data):
        self.text.append(data)


def report_of_a_run_named(text):
    """The page of a run in which every text that a user may choose is ``text``."""
    tree = example.example_tree()
    tree.attrs |= {"model_file": text, "model_name": text, "command": text, "engine_options": "{}"}
    tree.attrs |= {"model_options": json.dumps({"spectrum": text}), "versions": json.dumps({"jax": text})}
    for name in ("subject", "source", "sha256", "input_name", "input_unit", "value_name", "value_unit"):
        tree["record"].attrs[name] = text
    for name in ("held_out", "transformation"):
        tree["record"].attrs[name] = text
    tree["fisher"].attrs["status"] = text
    checks = tree["checks"].to_dataset()
    texts = {name: ("check", [text] * checks.sizes["check"]) for name in ("hypothesis", "detail")}
    tree["checks"] = xr.DataTree(checks.assign(texts))
    model = {"file": text, "name": text, "source": text, "sha256": text, "command": text}
    return render_report(SimpleNamespace(tree=tree, summary=summarise(tree), model=model))


def test_hostile_text_is_text_in_the_report(monkeypatch):
    """Whatever the names, the page has the same elements; what a script reads holds no tag."""
    monkeypatch.setattr(figures, "pictures", lambda tree: [figures.field_picture(tree)])
    plain, hostile = (Skeleton(report_of_a_run_named(text)) for text in ("plain", HOSTILE))
    assert hostile.elements == plain.elements
    assert not hostile.drawn & {"script", "image", "img", "foreignobject", "iframe"}
    assert sum("<img src=x onerror" in text for text in hostile.text) > 10  # as text it is there
    assert not any("49" in text for text in hostile.text if "7*7" in text)


def test_a_page_that_does_not_escape_has_other_elements():
    """The control of the test above."""
    with pytest.raises(AssertionError):
        Skeleton(f"<p>{HOSTILE}</p>")
    named = [Skeleton(f"<p>{text}</p>").elements for text in ("plain", "<b>bold</b>")]
    assert named[0] != named[1]
