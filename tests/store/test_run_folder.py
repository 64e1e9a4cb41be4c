"""Run folders: the old run or the new one, never a mixture, and nothing is executed on reading."""

import errno
import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from brg_prob import files, store

_SPEC = importlib.util.spec_from_file_location("example_tree", Path(__file__).parents[1] / "example_tree.py")
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

MODEL = {"file": "net.py", "name": "Net", "source": "raise SystemExit('read, not run')", "sha256": "0" * 64}


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


SMALL = xr.DataTree.from_dict({"/flow": xr.Dataset({"scale": ("scale", np.arange(3.0))})})


@pytest.fixture
def write():
    def write(folder, mark="first", tree=SMALL):
        return store.write_run(
            folder, tree=tree, summary={"mark": mark}, model=MODEL, pages={"report.html": mark}
        ).folder

    return write


def mark(folder) -> str:
    return store.read_run(folder).summary["mark"]


def litter(parent) -> list[str]:
    return sorted(path.name for path in Path(parent).iterdir() if path.name.startswith("."))


def test_a_run_comes_back_as_it_was(write, tree, tmp_path):
    folder = write(tmp_path / "run é 1", tree=tree)
    stored = store.read_run(folder)
    xr.testing.assert_identical(stored.tree["flow"].to_dataset(), tree["flow"].to_dataset())
    for name in ("record", "shell/checks", "posterior", "tuning"):
        xr.testing.assert_equal(stored.tree[name].to_dataset(), tree[name].to_dataset())
    assert stored.tree.attrs == tree.attrs
    assert stored.model["source"] == MODEL["source"]
    assert {path.name for path in folder.iterdir()} == {
        "model.json",
        "draws.nc",
        "summary.json",
        "report.html",
    }
    assert litter(tmp_path) == []


@pytest.mark.parametrize("name", ["link", "run/../run", "./run/"])
def test_a_run_is_replaced_by_whatever_name(write, tmp_path, name):
    write(tmp_path / "run", "old")
    (tmp_path / "link").symlink_to("run")
    for new in ("first", "second"):
        assert write(f"{tmp_path}/{name}", new) == tmp_path / "run"
        assert mark(tmp_path / "run") == mark(tmp_path / "link") == new
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "run"]


def test_a_run_is_written_through_a_link_to_nothing(write, tmp_path):
    (tmp_path / "link").symlink_to("run")
    write(tmp_path / "link")
    assert mark(tmp_path / "run") == "first"


@pytest.mark.parametrize("content", ['{"weights": 1}', '{"format": "other"}', "no JSON", "[]"])
def test_the_model_json_of_someone_else_makes_no_run_folder(write, tmp_path, content):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "model.json").write_text(content)
    (folder / "chapter.tex").write_text("years of work")
    for attempt in (store.check_target, write):
        with pytest.raises(store.StoreError, match="is not a run folder and is not empty"):
            attempt(folder)
    assert (folder / "chapter.tex").read_text() == "years of work"
    assert litter(tmp_path) == []


def test_the_file_is_closed_after_reading(write, tmp_path):
    folder = write(tmp_path / "run")
    stored = store.read_run(folder)
    (folder / "draws.nc").unlink()
    assert stored.tree["flow"]["scale"].values.tolist() == [0.0, 1.0, 2.0]


def test_model_json_names_every_file_of_the_run_with_its_digest(write, tmp_path):
    folder = write(tmp_path / "run")
    whole = (folder / "model.json").read_bytes()
    stated = json.loads(whole)["files"]
    assert set(stated) == {path.name for path in folder.iterdir()}
    own = stated.pop("model.json")
    assert hashlib.sha256(whole.replace(own.encode(), b"0" * 64)).hexdigest() == own
    for name, digest in stated.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_full_disk_leaves_the_old_run_and_no_litter(write, tmp_path, monkeypatch):
    folder = write(tmp_path / "run", "old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(store.StoreError, match="No space left on device; free space") as caught:
            write(folder, "new")
    assert "\n" not in str(caught.value)
    assert mark(folder) == "old"
    assert litter(tmp_path) == []


def test_a_folder_that_is_no_run_is_left_alone(write, tmp_path):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    with pytest.raises(store.StoreError, match="not a run folder and is not empty"):
        write(other)
    assert (other / "chapter.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(store.StoreError, match="is a file"):
        write(tmp_path / "file")
    assert litter(tmp_path) == []


def damage(folder, how):
    if how == "truncated draws":
        content = (folder / "draws.nc").read_bytes()
        (folder / "draws.nc").write_bytes(content[: len(content) // 3])
    elif how == "one bit":
        content = bytearray((folder / "draws.nc").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "draws.nc").write_bytes(content)
    elif how == "changed summary":
        (folder / "summary.json").write_text('{"mark": "first", "more": 1}')
    elif how == "no digests":
        model = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**model, "files": {}}))
    elif how == "version true":
        model = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**model, "format_version": True}))
    elif how == "endless":
        (folder / "model.json").write_text("[" * 100_000)
    elif how == "no draws":
        (folder / "draws.nc").unlink()
    elif how == "no summary":
        (folder / "summary.json").unlink()
    elif how == "foreign":
        (folder / "model.json").write_text(json.dumps({"name": "someone else's"}))
    elif how == "newer":
        model = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**model, "format_version": 99}))
    elif how == "not json":
        (folder / "model.json").write_text("{")
    else:
        (folder / "summary.json").write_text("[]")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated draws", "damaged"),
        ("no draws", "damaged"),
        ("one bit", "its SHA-256 is not the one"),
        ("changed summary", "its SHA-256 is not the one"),
        ("no digests", "states no SHA-256"),
        ("version true", "format version True"),
        ("endless", "damaged"),
        ("no summary", "summary.json is missing"),
        ("foreign", "was not written by brg-prob"),
        ("newer", "format version 99"),
        ("not json", "damaged"),
        ("a list", "no JSON object"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused_in_one_line(write, tmp_path, how, said):
    folder = write(tmp_path / "run")
    damage(folder, how)
    with pytest.raises(store.StoreError, match=said) as caught:
        store.read_run(folder)
    assert "\n" not in str(caught.value)


def test_one_page_is_replaced_without_touching_the_rest(write, tmp_path):
    folder = write(tmp_path / "run")
    before = (folder / "draws.nc").stat().st_mtime_ns
    store.replace_page(folder, "report.html", "again")
    assert (folder / "report.html").read_text() == "again"
    assert (folder / "draws.nc").stat().st_mtime_ns == before
    assert litter(folder) == []


# --- pages of the user

PAGE = files.sealed(b"<!DOCTYPE html>\n" + files.PAGE_SEAL + b"0" * 64 + b'">\nours', files.PAGE_SEAL)


def put_page(path, kind):
    """Put something of the user's where a page is to be written, and return what it must read later."""
    if kind == "a link":
        (path.parent / "elsewhere.html").write_bytes(PAGE)
        path.symlink_to("elsewhere.html")
    elif kind == "a link to nothing":
        path.symlink_to("nowhere.html")
    else:
        path.write_bytes({"mine": b"mine", "edited": PAGE + b"my remark", "empty": b""}[kind])
    return listed(path.parent)


def listed(folder):
    """What a folder holds: links as links, files by content."""
    return {
        path.name: os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("kind", ["mine", "edited", "empty", "a link", "a link to nothing"])
def test_a_page_of_the_user_is_neither_replaced_nor_written_through(tmp_path, kind):
    before = put_page(tmp_path / "page.html", kind)
    attempts = (store.check_page, lambda path: store.replace_page(path.parent, path.name, "new"))
    for attempt in attempts:
        with pytest.raises(store.StoreError, match="was not written by brg-prob or was changed") as said:
            attempt(tmp_path / "page.html")
        assert "choose another --out or move it away" in str(said.value)
    assert listed(tmp_path) == before


def test_a_page_of_ours_is_replaced(tmp_path):
    """The control of the test above."""
    (tmp_path / "page.html").write_bytes(PAGE)
    store.check_page(tmp_path / "page.html")
    store.replace_page(tmp_path, "page.html", PAGE.decode())
    assert listed(tmp_path) == {"page.html": PAGE}


def test_a_page_that_appears_while_ours_is_written_is_kept(tmp_path, monkeypatch):
    real = files.write_new

    def slow(path, content):
        real(path, content)
        (tmp_path / "page.html").write_text("mine")

    monkeypatch.setattr(files, "write_new", slow)
    with pytest.raises(store.StoreError, match="File exists"):
        store.replace_page(tmp_path, "page.html", "new")
    assert listed(tmp_path) == {"page.html": b"mine"}
