"""What has the name of a run's state and is not ours is refused and left alone; no link of it is followed."""

import contextlib
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from brg_prob import files, store
from brg_prob.store import locks, run_folder

_SPEC = importlib.util.spec_from_file_location("run_folders", Path(__file__).parent / "run_folders.py")
runs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(runs)
write, mark, listed, described, place = runs.write, runs.mark, runs.listed, runs.described, runs.place


@pytest.fixture
def run(tmp_path):
    """The folder of a run, beside something else of the user's."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.tex").write_text("years of work")
    return write(tmp_path / "run", "old").folder


def planted(run, what):
    """Put something of the user's where a run has its state."""
    state, other = place(run, ""), run.parent / "elsewhere"
    if what == "state a link":
        (other / "posterior.0123456789abcdef.nc").write_text("mine")
        (other / "lock").write_text("")
        state.symlink_to(other)
        return
    if what == "state a file":
        state.write_text("mine")
        return
    state.mkdir()
    if what == "lock a link":
        (state / "lock").symlink_to(other / "thesis.tex")
    elif what == "lock a link to nothing":
        (state / "lock").symlink_to(other / "made.txt")
    elif what == "lock another name":
        (state / "lock").hardlink_to(other / "thesis.tex")
    elif what == "lock with text":
        (state / "lock").write_text("my notes")
    elif what == "lock a pipe":
        os.mkfifo(state / "lock")
    elif what == "new a link":
        shutil.copytree(run, other / "a run")
        (state / "new").symlink_to(other / "a run")
    elif what == "old a link":
        (state / "old").symlink_to(other)
    elif what == "new no run":
        shutil.copytree(other, state / "new")
    else:
        shutil.copytree(run, state / "new")
        (state / "new" / "summary.json").write_text("changed")


PLANTED = ["state a link", "state a file", "lock a link", "lock a link to nothing", "lock another name"]
PLANTED += ["lock with text", "lock a pipe", "new a link", "old a link", "new no run", "new a changed run"]


def unread(folder):
    return {
        str(path.relative_to(folder)): "pipe" if path.is_fifo() else described(path)
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("what", PLANTED)
def test_state_that_is_not_ours_is_refused_and_left_alone(run, what):
    planted(run, what)
    before = unread(run.parent)
    attempts = [lambda: write(run, "new"), lambda: store.working(run).__enter__()]
    if "new" in what or "old" in what:
        attempts = attempts[:1]
    for attempt in attempts:
        with pytest.raises(store.StoreError, match="was not made by brg-prob and is left alone") as said:
            attempt()
        assert "\n" not in str(said.value)
        assert unread(run.parent) == before
    with contextlib.suppress(store.StoreError):
        assert store.read_run(run).summary["mark"] == "old"
    assert unread(run.parent) == before


@pytest.mark.parametrize("state", ["writing", "new", "old"])
def test_folders_of_the_user_beside_a_run_are_not_ours(run, state):
    """An earlier run that the user has copied aside, say, with something in it."""
    shutil.copytree(run, run.with_name(f".run.{state}"))
    (run.with_name(f".run.{state}") / "notes.txt").write_text("mine")
    before = listed(run.with_name(f".run.{state}"))
    write(run, "new")
    assert mark(run) == "new"
    assert listed(run.with_name(f".run.{state}")) == before


def test_files_of_the_user_among_the_stages_stay(run):
    place(run, "writing-notes").mkdir(parents=True)
    mine = {"posterior.nc": b"mine", "notes.txt": b"mine", "writing-notes/a": b"mine", "a.writing": b"mine"}
    for name, content in mine.items():
        place(run, name).write_bytes(content)
    with store.working(run) as desk:
        desk.keep("posterior", "digest", runs.TREE)
        write(run, "new")
    state = listed(place(run, ""))
    assert {name: what[0] for name, what in state.items() if what != "folder" and name != "lock"} == mine


def test_a_stage_is_not_written_through_a_link(run):
    thesis = run.parent / "elsewhere" / "thesis.tex"
    with store.working(run) as desk:
        desk.keep("posterior", "digest", runs.TREE)
        (kept,) = place(run, "").glob("*.nc")
        kept.unlink()
        kept.symlink_to(thesis)
        assert desk.find("posterior", "digest") is None
        desk.keep("posterior", "digest", runs.TREE)
        assert files.is_plain(kept)
    assert thesis.read_text() == "years of work"
    assert sorted(path.name for path in run.parent.iterdir()) == ["elsewhere", "run"]


def test_a_reader_does_not_wait_for_what_no_writer_will_finish(run, monkeypatch):
    planted(run, "new no run")
    monkeypatch.setattr(run_folder.time, "sleep", lambda seconds: pytest.fail("waits"))
    with pytest.raises(store.StoreError, match="was not made by brg-prob"):
        store.read_run(run)


def test_the_lock_is_kept_by_who_has_it(run):
    """The control of the locks that are not ours: one of a killed process is taken over, and says who."""
    place(run, "").mkdir()
    place(run, "lock").write_text("99999")
    with locks.only_writer(run) as state:
        assert (state / "lock").read_text() == str(os.getpid())
    assert not state.exists()
