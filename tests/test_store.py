"""Run folders: the old run or the new one, never a mixture, and nothing is executed on reading."""

import errno
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from brg_prob import store

_SPEC = importlib.util.spec_from_file_location("example_tree", Path(__file__).parent / "example_tree.py")
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
        )

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


def test_a_second_run_replaces_the_first_whole(write, tmp_path):
    write(tmp_path / "run")
    (tmp_path / "run" / "extra.txt").write_text("left by the user")
    write(tmp_path / "run", "second")
    assert mark(tmp_path / "run") == "second"
    assert not (tmp_path / "run" / "extra.txt").exists()
    assert litter(tmp_path) == []


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs, cleaning up included."""


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("first", [True, False], ids=["over an old run", "fresh"])
def test_killed_at_any_step_leaves_the_old_run_or_the_new_one(write, tmp_path, monkeypatch, step, first):
    folder = tmp_path / "run"
    if first:
        write(folder, "old")
    counter = {"left": step}

    def counted(function):
        def call(*args, **kwargs):
            if counter["left"] == 0:
                raise Killed
            counter["left"] -= 1
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "write_bytes", "mkdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        remove = counted(shutil.rmtree)
        # after the kill nothing is cleaned up either
        patch.setattr(store.shutil, "rmtree", lambda *a, **k: remove(*a, **k) if counter["left"] else None)
        try:
            write(folder, "new")
            finished = True
        except Killed:
            finished = False
    if finished:
        assert mark(folder) == "new"
    elif first:
        assert mark(folder) in ("old", "new")
    elif folder.exists() or (tmp_path / ".run.new").exists():
        assert mark(folder) == "new"
    else:
        with pytest.raises(store.StoreError, match="no run folder"):
            store.read_run(folder)
    write(folder, "again")
    assert mark(folder) == "again"
    assert litter(tmp_path) == []


def test_reading_finishes_a_swap_between_its_two_renames(write, tmp_path):
    folder = write(tmp_path / "run", "old")
    shutil.copytree(folder, tmp_path / ".run.old")
    write(folder, "new")
    folder.rename(tmp_path / ".run.new")
    shutil.copytree(tmp_path / ".run.new", tmp_path / ".run.old", dirs_exist_ok=True)
    assert mark(folder) == "new"
    assert litter(tmp_path) == []


def test_a_full_disk_leaves_the_old_run_and_no_litter(write, tmp_path, monkeypatch):
    folder = write(tmp_path / "run", "old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
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
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
