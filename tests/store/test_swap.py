"""A second run keeps all that is not the first one's own, whatever stops it; nothing elsewhere is touched."""

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brg_prob import store
from brg_prob.store import run_folder, stages, swap

_SPEC = importlib.util.spec_from_file_location("run_folders", Path(__file__).parent / "run_folders.py")
runs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(runs)
write, mark, furnish, listed, described = runs.write, runs.mark, runs.furnish, runs.listed, runs.described
of_the_user, place, OURS = runs.of_the_user, runs.place, runs.OURS


@pytest.fixture
def run(tmp_path):
    """The folder of a run, beside something else of the user's."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.tex").write_text("years of work")
    return write(tmp_path / "run", "old").folder


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """Make the arrays once: hundreds of runs are written here, and HDF5 has no part in what fails."""
    content = stages.tree_bytes(runs.TREE)
    monkeypatch.setattr(run_folder, "tree_bytes", lambda *_: content)


# --- a second run


def test_a_second_run_keeps_what_the_user_put_there_and_says_so(run):
    mine = furnish(run)
    written = write(run, "new")
    assert mark(run) == "new"
    assert of_the_user(run) == mine
    tops = {name for name in mine if "/" not in name} - {"report.kept-1.html"}
    assert written.kept == {name: name for name in tops} | {"report.html": "report.kept-1.html"}
    assert "\n" not in written.note
    assert "'.hidden', 'draws', 'empty', " in written.note
    assert write(run, "more").kept == {name: name for name in [*tops, "report.kept-1.html"]}
    assert of_the_user(run) == mine
    assert sorted(path.name for path in run.parent.iterdir()) == ["elsewhere", "run"]
    assert listed(run.parent / "elsewhere")["thesis.tex"][0] == b"years of work"


def test_a_second_run_replaces_its_own_files_and_says_nothing(run):
    """The control of the test above."""
    written = write(run, "new")
    assert (written.folder, written.kept, written.note) == (run, {}, "")
    assert mark(run) == "new"
    assert {path.name for path in run.iterdir()} == OURS


def test_what_was_kept_is_said_in_one_line_however_much_it_is():
    many = store.Written(Path("run"), {f"a\n{number}": f"a\n{number}" for number in range(30)}).note
    assert "\n" not in many
    assert many.endswith(" and 22 more")
    assert len(many) < 200


def test_a_large_file_is_renamed_and_not_copied(run):
    with (run / "large.bin").open("wb") as large:
        large.truncate(1 << 40)  # a terabyte of nothing: a copy would not fit
    before = (run / "large.bin").stat().st_ino
    write(run, "new")
    assert (run / "large.bin").stat().st_ino == before


@pytest.mark.parametrize("name", ["model.json", "draws.nc", "summary.json", "report.html"])
@pytest.mark.parametrize("how", ["changed", "a link", "a folder"])
def test_a_file_of_the_run_that_is_the_user_s_now_is_kept_under_another_name(run, name, how):
    other = run.parent / "elsewhere" / name
    shutil.copy(run / name, other)
    if how == "changed":
        model = json.loads(other.read_text()) if name == "model.json" else None
        content = json.dumps(model | {"remark": 1}) if model else other.read_bytes().decode("latin1") + " "
        (run / name).write_bytes(content.encode("latin1"))
    else:
        (run / name).unlink()
        (run / name).symlink_to(other) if how == "a link" else (run / name).mkdir()
    if name == "model.json" and how == "a folder":
        with pytest.raises(store.StoreError, match="not a run folder"):
            write(run, "new")
        return
    mine, elsewhere = described(run / name), listed(run.parent / "elsewhere")
    place = f"{Path(name).stem}.kept-1{Path(name).suffix}"
    assert write(run, "new").kept == {name: place}
    assert mark(run) == "new"
    assert of_the_user(run) == {place: mine}
    assert listed(run.parent / "elsewhere") == elsewhere
    assert write(run, "newer").kept == {place: place}
    assert of_the_user(run) == {place: mine}


def test_what_a_killed_process_wrote_aside_is_no_file_of_the_user(run):
    (run / ".brg-prob-0123456789abcdef.writing").write_text("half a page")
    (run / ".brg-prob-notes.writing").write_text("mine")  # the control
    assert set(write(run, "new").kept) == set(of_the_user(run)) == {".brg-prob-notes.writing"}


def test_names_that_are_taken_are_counted_on(run):
    for number in (1, 2, 3):
        (run / "report.html").write_text(f"edit {number}")
        write(run, str(number))
    assert {name: what[0] for name, what in of_the_user(run).items()} == {
        f"report.kept-{number}.html": f"edit {number}".encode() for number in (1, 2, 3)
    }


def test_a_manifest_cannot_name_a_file_elsewhere(run):
    """A run folder may come from anywhere; what its model.json says of other places is not followed."""
    thesis = run.parent / "elsewhere" / "thesis.tex"
    stated = {"../elsewhere/thesis.tex": hashlib.sha256(thesis.read_bytes()).hexdigest()}
    model = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(model | {"files": model["files"] | stated}))
    write(run, "new")
    assert thesis.read_text() == "years of work"
    shutil.copytree(run, place(run, "new"))
    shutil.copy(run / "model.kept-1.json", place(run, "new") / "model.json")
    with pytest.raises(store.StoreError, match="was not made by brg-prob"):
        write(run, "newer")
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize("fixed", [".", "plots"])
def test_what_could_not_be_moved_is_refused_before_anything_is_computed(run, monkeypatch, fixed):
    mine = furnish(run)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run / fixed and access(path, mode))
    for attempt in (store.check_target, lambda folder: write(folder, "new")):
        with pytest.raises(store.StoreError, match="cannot be moved; make it writable or choose another"):
            attempt(run)
    (run / "report.html").rename(run / "report.kept-1.html")
    assert of_the_user(run) == mine


# --- killed, or refused by the disk, at any step

FILLS = ("mkdir", "rename", "replace", "link", "write", "fsync", "open")
CALLS = (*FILLS, "unlink", "rmdir")


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs, cleaning up included."""


class Steps:
    """The calls that change a disk, counted; from number ``last`` on all raise, or that one alone."""

    def __init__(self, last, error, *, once=False, calls=CALLS):
        self.left, self.error, self.once, self.calls = last, error, once, calls

    def counted(self, real):
        def call(*args, **options):
            self.left -= 1
            if self.left == -1 or (self.left < -1 and not self.once):
                raise self.error
            return real(*args, **options)

        return call

    @contextlib.contextmanager
    def __call__(self, monkeypatch):
        with monkeypatch.context() as patch:
            for name in self.calls:
                patch.setattr(os, name, self.counted(getattr(os, name)))
            yield self


def number_of_steps(folder, monkeypatch):
    steps = Steps(1 << 20, None)
    with steps(monkeypatch):
        write(folder, "count")
    return (1 << 20) - steps.left


@pytest.fixture(params=["furnished", "bare", "fresh"])
def stage(request, tmp_path, monkeypatch):
    """Return how many steps a run takes, and a function that sets the scene: folder, and the user's own."""

    def scene(name):
        folder = tmp_path / name / "run"
        folder.parent.mkdir()
        if request.param != "fresh":
            write(folder, "old")
        return folder, furnish(folder) if request.param == "furnished" else {}

    return number_of_steps(scene("count")[0], monkeypatch), scene


def test_killed_at_any_step_all_that_is_the_user_s_is_there(stage, monkeypatch):
    count, scene = stage
    found = set()
    assert count > 20
    for step in range(count):
        folder, mine = scene(str(step))
        begun = folder.exists()
        with Steps(step, Killed())(monkeypatch), pytest.raises(Killed):
            write(folder, "new")
        if begun or folder.exists() or place(folder, "new").exists():
            # the report of the old run, if it stands, is the one that was changed
            found.add(store.read_run(folder).summary["mark"])
        else:
            with pytest.raises(store.StoreError, match="no run folder"):
                store.read_run(folder)
        write(folder, "again")
        assert mark(folder) == "again"
        assert of_the_user(folder) == mine, step
        assert [path.name for path in folder.parent.iterdir()] == ["run"], step
    assert found == ({"old", "new"} if begun else {"new"})


@pytest.mark.parametrize("once", [True, False], ids=["full once", "full from then on"])
def test_a_disk_that_refuses_any_step_loses_nothing(stage, monkeypatch, once):
    count, scene = stage
    refused = standing = 0
    for step in range(count):
        folder, mine = scene(f"{step} of {once}")
        before = listed(folder) if folder.exists() else None
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with Steps(step, full, once=once, calls=CALLS if once else FILLS)(monkeypatch):
            try:
                write(folder, "new")
                line = ""
            except store.StoreError as error:
                line = str(error)
        assert "\n" not in line
        assert not line or "free space" in line
        if "the new run stands whole" in line:
            standing += 1
            assert mark(folder) == "new"  # and reading it has moved the rest
            assert of_the_user(folder) == mine
        elif line:
            refused += 1
            assert not (once and place(folder, "old").exists())
            store.recover(folder)
            assert (listed(folder) if folder.exists() else None) == before, (step, line)
        write(folder, "again")
        assert of_the_user(folder) == mine, (step, line)
        assert mark(folder) == "again"
        assert [path.name for path in folder.parent.iterdir()] == ["run"], (step, line)
    assert refused > 15
    assert (standing > 0) == bool(mine or (before and once))


@pytest.mark.parametrize("refused", [2, 3])
def test_killed_while_it_takes_a_refused_run_back_the_old_one_stands(tmp_path, monkeypatch, refused):
    """The disk refuses to move the old run aside, or the new one into place; then comes the kill."""
    for step in range(12):
        folder = write(tmp_path / str(step) / "run", "old").folder
        mine = furnish(folder)
        steps, names, rename = Steps(1 << 20, Killed()), [], os.rename

        def refusing(*args, steps=steps, names=names, rename=rename, step=step):
            names.append(args)
            if len(names) == refused:
                steps.left = step  # the calls that are left from here on
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rename(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refusing)
            with steps(patch), contextlib.suppress(Killed, store.StoreError):
                write(folder, "new")
        assert len(names) >= refused
        found = store.read_run(folder).summary["mark"]
        # killed before it could be withdrawn, the new run was whole
        assert found == ("new" if step == 0 else "old")
        write(folder, "again")
        assert mark(folder) == "again"
        assert of_the_user(folder) == mine
        assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_reading_finishes_a_swap_between_its_two_renames(run):
    mine = furnish(run)
    place(run, "old").parent.mkdir()
    run.rename(place(run, "old"))
    write(run.with_name("other"), "new").folder.rename(place(run, "new"))
    assert mark(run) == "new"
    assert of_the_user(run) == mine
    assert sorted(path.name for path in run.parent.iterdir()) == ["elsewhere", "run"]


def test_a_folder_that_was_made_anew_meanwhile_is_not_taken_for_the_run(run):
    place(run, "old").parent.mkdir()
    run.rename(place(run, "old"))
    run.mkdir()
    (run / "chapter.tex").write_text("new work")
    before = listed(run.parent)
    with pytest.raises(store.StoreError, match="not a run folder"):
        write(run, "new")
    with pytest.raises(store.StoreError, match="not a run folder"):
        store.read_run(run)
    assert listed(run.parent) == before


KILL = """
import os, signal, sys
from brg_prob import files
from brg_prob.store import swap
step, real = int(sys.argv[2]), os.rename
def rename(*names):
    global step
    step -= 1
    if step < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*names)
os.rename = rename
sys.path.insert(0, sys.argv[3])
import run_folders
run_folders.write(sys.argv[1], "new")
"""


@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_a_process_killed_between_two_renames_leaves_all_to_the_next_one(run, step):
    mine = furnish(run)
    words = [sys.executable, "-c", KILL, str(run), str(step), str(Path(__file__).parent)]
    assert subprocess.run(words, check=False).returncode == -9
    assert store.read_run(run).summary["mark"] == "new"
    assert of_the_user(run) == mine
    assert sorted(path.name for path in run.parent.iterdir()) == ["elsewhere", "run"]


def test_a_manifest_that_says_nothing_names_nothing(tmp_path):
    for content in (
        b"",
        b"[]",
        b"{}",
        b'{"format": "brg_prob run", "files": 3}',
        b'{"format": "x", "files": {}}',
    ):
        (tmp_path / "model.json").write_bytes(content)
        assert swap.manifest(tmp_path) == {}
