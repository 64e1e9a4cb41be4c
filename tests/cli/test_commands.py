"""The subcommands beside ``run``, from words to files: compare, report, new, and every help."""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import brg_prob
from brg_prob import figures, store
from brg_prob.cli import dispatch, main
from brg_prob.cli.commands import labelled
from brg_prob.cli.loading import Executed
from brg_prob.files import PAGE_SEAL, is_sealed, sealed
from brg_prob.report import render_report
from brg_prob.report.page import render_page
from brg_prob.summary import summarise

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)
MODEL = {
    "file": "net.py",
    "name": "CosNet",
    "source": "raise SystemExit('not run')",
    "sha256": "0" * 64,
}
A_PAGE = sealed(PAGE_SEAL + b"0" * 64 + b'">a page', PAGE_SEAL).decode()


def write(folder, tree):
    """Store a run without a report."""
    return store.write_run(folder, tree=tree, summary=summarise(tree), model=MODEL, pages={}).folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Two runs of equal folder names, and one without the groups to compare."""
    folder = tmp_path_factory.mktemp("stored")
    trees = {"first": example.example_tree(0), "second": example.example_tree(1)}
    for place, tree in trees.items():
        (folder / place).mkdir()
        write(folder / place / "run é", tree)
    old = trees["first"].copy()
    del old["field_theory"]
    write(folder / "old", old)
    return folder


@pytest.fixture
def runs(stored, tmp_path, monkeypatch):
    """A copy of the runs as working directory, and a terminal of 80 columns."""
    monkeypatch.chdir(shutil.copytree(stored, tmp_path / "here"))
    monkeypatch.setenv("COLUMNS", "80")
    return Path.cwd()


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the page's drawings out: they take most of the time; what is compared goes through."""
    seen = []
    monkeypatch.setattr("brg_prob.report.render_comparison", lambda found: seen.append(found) or A_PAGE)
    return seen


def content(folder):
    """Return every path below a folder, and the bytes of the files."""
    return sorted((str(p), p.read_bytes() if p.is_file() else b"") for p in folder.rglob("*"))


def refused(words, folder, capsys, *parts):
    """Run a command line that is refused in one line, with nothing written."""
    before = content(folder)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"brg-prob: [^\n]+\n", err), err
    for part in parts:
        assert part in err
    assert content(folder) == before


# --- compare


def test_compare_prints_eighty_columns_and_writes_the_page_where_it_says(runs, capsys):
    assert main(["compare", "first/run é", "second/run é"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *said, last = out.splitlines()
    assert last == f"page: {runs / 'first' / 'comparison.html'}"
    assert max(map(len, said)) <= 80
    page = (runs / "first" / "comparison.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    headline = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)[1]
    assert " ".join(out.split()).startswith(" ".join(headline.split()))
    for name in ("first/run é", "second/run é"):
        assert name in page
        assert name in out
    assert sorted(path.name for path in (runs / "first").iterdir()) == ["comparison.html", "run é"]
    stored = [store.read_run(Path(place) / "run é").tree["field_theory"] for place in ("first", "second")]
    for tree in stored:  # the numbers are those of the runs
        assert f"{float(tree['mass_squared'][1]):.3g}"[:3] in out


def test_the_page_goes_where_out_says_and_quiet_says_nothing(runs, capsys, undrawn):
    assert main(["compare", "first/run é", "--out", "my page.HTML", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("my page.HTML").read_text() == A_PAGE
    assert not Path("first/comparison.html").exists()
    assert undrawn[0].names == ("run é",)
    before = Path("my page.HTML").stat().st_ino
    assert main(["compare", "first/run é", "--out", "my page.HTML", "--quiet"]) == 0
    assert Path("my page.HTML").stat().st_ino != before  # swapped in, not written over


def test_a_run_in_the_working_directory_is_named_by_its_folder(runs, capsys, undrawn, monkeypatch):
    monkeypatch.chdir("first/run é")
    assert main(["compare", "."]) == 0
    assert undrawn[0].names == ("run é",)
    assert f"page: {runs / 'first' / 'comparison.html'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["a/run", "b/run"], ["a/run", "b/run"]),
        (["a/run", "b/other"], ["run", "other"]),
        (["c/a/run", "c/b/run", "d/a/run"], ["c/a/run", "c/b/run", "d/a/run"]),
        (["run", "run/run"], None),
        (["/run", "/a/run"], None),
    ],
)
def test_labels_are_short_and_differ(folders, names):
    found = labelled([Path(folder) for folder in folders])
    assert [str(folder) for folder in found.values()] == folders
    assert len(found) == len(folders)
    if names:
        assert list(found) == names


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["first/run é", "first/run é"], ["'first/run é' is named twice", "once"]),
        (["first/run é", "./first/../first/run é"], ["is named twice"]),
        (["first/run é", "link"], ["'link' is named twice"]),
        (["old"], ["'old'", "'field_theory'", "run it again"]),
        (["first/run é", "old"], ["'old'", "'field_theory'", "run it again"]),
        (["first/run é", "nowhere"], ["nowhere", "no run folder"]),
        (["first/run é", "first"], ["first", "not a run folder"]),
        (["first/run é", "--out", "second"], ["'second'", "ends in .html"]),
        (["first/run é", "--out", "folder.html"], ["'folder.html'", "ends in .html"]),
        (["first/run é", "--out", "page.txt"], ["'page.txt'", "ends in .html"]),
        (["first/run é", "--out", "nowhere/page.html"], ["nowhere", "cannot write in"]),
        (["first/run é", "--out"], ["--out", "expected one argument", "--help"]),
        (["first/run é", "--ouput", "a.html"], ["--ouput"]),
        ([], ["RUN", "--help"]),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_nothing_is_written(words, parts, runs, capsys, undrawn):
    os.symlink("first/run é", "link")
    Path("folder.html").mkdir()
    refused(["compare", *words], runs, capsys, *parts)


def test_a_refused_comparison_leaves_the_page_of_an_earlier_one(runs, capsys):
    Path("first/comparison.html").write_text(A_PAGE)
    refused(["compare", "first/run é", "old"], runs, capsys, "field_theory")
    assert Path("first/comparison.html").read_text() == A_PAGE


@pytest.mark.parametrize("words", [[], ["--out", "mine.html"]])
@pytest.mark.parametrize("content", ["my own table", A_PAGE + "my remark"], ids=["mine", "edited"])
def test_compare_leaves_a_page_of_the_user_before_it_computes(words, content, runs, capsys, undrawn):
    page = Path(words[-1] if words else "first/comparison.html")
    page.write_text(content)
    refused(["compare", "first/run é", *words], runs, capsys, page.name, "choose another --out or move it")
    page.unlink()
    Path("thesis.html").write_text("years of work")
    page.symlink_to(Path("thesis.html").absolute())
    refused(["compare", "first/run é", *words], runs, capsys, page.name)
    assert undrawn == []
    page.unlink()
    assert main(["compare", "first/run é", *words, "--quiet"]) == 0  # the control
    assert page.read_text() == A_PAGE


# --- report


def test_report_renders_the_stored_run_as_it_was(runs, capsys, monkeypatch):
    monkeypatch.setattr(figures, "pictures", lambda tree: [figures.field_picture(tree)])
    folder = runs / "second" / "run é"
    run = brg_prob.load_run(folder)
    expected = render_report(SimpleNamespace(tree=run.tree, summary=run.summary, model=run.model))
    others = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "report.html"}
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr() == (f"{folder / 'report.html'}\n", "")
    assert (folder / "report.html").read_text(encoding="utf-8") == expected
    assert {name: (folder / name).read_bytes() for name in others} == others
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run é"]


def test_report_leaves_a_page_of_the_user_and_takes_another_place(runs, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr("brg_prob.report.render_report", lambda run: drawn.append(run) or A_PAGE)
    page = Path("first/run é/report.html")
    page.write_text(A_PAGE + "<p>my remark</p>")
    refused(["report", "first/run é"], runs, capsys, "report.html", "choose another --out or move it away")
    refused(["report", "first/run é", "--out", "a.txt"], runs, capsys, "'a.txt'", "ends in .html")
    assert drawn == []
    assert main(["report", "first/run é", "--out", "other.html"]) == 0
    assert capsys.readouterr() == (f"{runs / 'other.html'}\n", "")
    assert Path("other.html").read_text() == A_PAGE
    assert page.read_text() == A_PAGE + "<p>my remark</p>"


def test_every_page_is_sealed(runs):
    """What render_report and render_comparison return: the stand-in above is no more than they do."""
    page = render_page("base.html.jinja", title="", sentence="").encode()
    assert is_sealed(page, PAGE_SEAL)
    assert not is_sealed(page.replace(b"<body", b"<body id='mine'"), PAGE_SEAL)


@pytest.mark.parametrize("words", [[], ["--quiet"]])
def test_run_says_what_it_kept_of_the_user_s_in_one_line(words, tmp_path, capsys, monkeypatch):
    written = store.Written(tmp_path, {"notes.txt": "notes.txt", "a.html": "a.kept-1.html"})
    done = Executed(SimpleNamespace(summary={"verdict": "consistent"}), written, ())
    monkeypatch.setattr("brg_prob.cli.loading.execute", lambda request, progress: done)
    monkeypatch.setattr("brg_prob.cli.terminal.run.print_result", lambda run, folder: None)
    network = str(Path(__file__).parents[2] / "models" / "cosnet.py")
    assert main(["run", network, "--out", str(tmp_path / "run"), *words]) == 0
    said = "kept, as not the run's own: 'notes.txt', 'a.html' (now 'a.kept-1.html')\n"
    assert capsys.readouterr().out == ("" if words else said)


def test_a_report_of_no_run_or_of_two_is_refused(runs, capsys):
    refused(["report", "first"], runs, capsys, "first", "not a run folder")
    refused(["report"], runs, capsys, "RUN", "--help")
    refused(["report", "old", "first/run é"], runs, capsys, "first/run é")


# --- write_report


def test_a_report_that_cannot_be_written_leaves_the_old_page(tmp_path, monkeypatch):
    monkeypatch.setattr("brg_prob.report.html.render_report", lambda run: "new \ud800")
    page = tmp_path / "report.html"
    page.write_text(A_PAGE, encoding="utf-8")

    def full(handle, data):  # the file is there, its content does not fit
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(store.StoreError, match="No space left on device"):
            brg_prob.write_report(None, tmp_path)
    assert page.read_text(encoding="utf-8") == A_PAGE
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(store.StoreError, match="nowhere"):
        brg_prob.write_report(None, tmp_path / "nowhere" / "page.html")
    assert brg_prob.write_report(None, tmp_path) == page  # the control
    assert page.read_text(encoding="utf-8") == "new &#55296;"
    assert brg_prob.write_report(None, tmp_path / "other.html") == tmp_path / "other.html"


# --- new


def test_new_copies_a_network_and_says_how_to_run_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "cosnet"]) == 0
    assert capsys.readouterr() == ("cosnet.py\nrun it: brg-prob run cosnet.py\n", "")
    original = Path(__file__).parents[2] / "models" / "cosnet.py"
    assert Path("cosnet.py").read_bytes().endswith(original.read_bytes())
    assert main(["new", "mlp", "my own é.py"]) == 0
    assert capsys.readouterr().out.endswith("run it: brg-prob run 'my own é.py'\n")
    assert main(["run", "cosnet.py", "--help"]) == 0
    assert "--model.mass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["cosnet"], ["'cosnet.py'", "not overwritten"]),
        (["mlp", "cosnet.py"], ["'cosnet.py'", "not overwritten"]),
        (["cosent"], ["'cosent'", "did you mean 'cosnet'?"]),
        (["cosnet", "nowhere/a.py"], ["nowhere", "create it"]),
        (["cosnet", "notes.txt"], ["'notes.txt'", ".py"]),
        ([], ["NETWORK", "--help"]),
    ],
)
def test_new_overwrites_nothing(words, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cosnet.py").write_text("years of work")
    refused(["new", *words], tmp_path, capsys, *parts)


# --- help


def helped(words, capsys):
    """Return the help of a command, which fits 80 columns however wide the terminal is."""
    assert main([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    return out


def without_default(text):
    """Return the options of a help that take a value and do not say what is taken without one."""
    entries = re.split(r"\n(?=  \S)", text)
    flags = [" ".join(entry.split()) for entry in entries if re.match(r"  --\S+ \S", entry)]
    return [flag for flag in flags if re.match(r"--\S+ [A-Z]", flag) and "default: " not in flag]


@pytest.mark.parametrize("columns", ["80", "300"])
@pytest.mark.parametrize("command", dispatch._COMMANDS)
def test_every_help_fits_eighty_columns_and_shows_defaults(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    text = helped([command], capsys)
    assert text.startswith(f"usage: brg-prob {command}")
    assert without_default(text) == []


def test_the_first_help_names_every_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = helped([], capsys)
    for name, meaning in dispatch._COMMANDS.items():
        assert f"  {name:<7}  {meaning}" in text
    assert main([]) == 0
    assert capsys.readouterr().out == text


def test_a_flag_without_its_default_is_noticed():
    """The control of the test above."""
    text = "usage: x\n\n  --out DIR   run folder\n  --quiet     nothing\n  --seed N    s (default: 0)\n"
    assert without_default(text) == ["--out DIR run folder"]


def test_a_stored_run_is_plain_json_and_netcdf(stored):
    """What the tests above read was written by the store, not made up here."""
    model = json.loads((stored / "first" / "run é" / "model.json").read_text(encoding="utf-8"))
    assert model["format"] == store.FORMAT
