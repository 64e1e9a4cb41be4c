"""A full disk at every write: one clear line, the run that stood there untouched, nothing left beside it.

Three disks refuse: one simulated in Python, call by call; the kernel's own limit on the size of files, which
HDF5's writes meet too; and, where it may be mounted, a small file system that is really full.
"""

import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from brg_prob import store
from brg_prob.cli import scaffold
from brg_prob.options import UsageError

MODEL = {"file": "net.py", "name": "Net", "source": "x", "sha256": "0" * 64}
PAGES = {"report.html": "<p>old</p>"}


def tree(value):
    """A tree with a group, a coordinate, an attribute and enough bytes for several blocks."""
    values = np.full((5, 400), float(value))
    data = xr.Dataset({"f": (("scale", "x"), values)}, coords={"scale": np.arange(5.0)})
    made = xr.DataTree.from_dict({"/flow": data, "/shell/flow": data})
    made.attrs["verdict"] = "consistent"
    return made


def write(folder, mark):
    pages = {"report.html": f"<p>{mark}</p>" * 200}
    return store.write_run(folder, tree=tree(mark), summary={"mark": mark}, model=MODEL, pages=pages).folder


def content(folder):
    """The bytes of the run's files, after whatever reading it would finish; equal bytes read alike."""
    store.recover(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def mark(folder):
    """The value that a run was written with, from each of its files."""
    run = store.read_run(folder)
    assert f"<p>{run.summary['mark']}</p>" in (folder / "report.html").read_text()
    assert run.tree["shell/flow"]["f"].values[4, 399] == run.summary["mark"]
    return run.summary["mark"]


class Disk:
    """Python's writing calls, counted; number ``failing``, or all from it on, find the disk full."""

    def __init__(self, failing=None, *, stays_full=False):
        self.calls, self.failing, self.stays_full = [], failing, stays_full

    def spend(self, name):
        number = len(self.calls)
        self.calls.append(name)
        if self.failing is not None and (
            number == self.failing or (self.stays_full and number > self.failing)
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def counted(self, owner, name, writes=lambda *args, **options: True):
        real = getattr(owner, name)

        def call(*args, **options):
            if writes(*args, **options):
                self.spend(name)
            return real(*args, **options)

        return call

    def file(self, real):
        """Return ``io.open`` whose files spend at each write, flush and close."""

        def opened(path, mode="r", *args, **options):
            if not set(mode) & set("wax+"):
                return real(path, mode, *args, **options)
            self.spend("open")
            handle = real(path, mode, *args, **options)
            for name in ("write", "flush"):
                with contextlib.suppress(AttributeError):  # raw files
                    setattr(handle, name, self.counted(handle, name))
            return handle

        return opened

    @contextlib.contextmanager
    def __call__(self, monkeypatch):
        creates = os.O_CREAT | os.O_WRONLY | os.O_RDWR
        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "link", "symlink", "write", "fsync", "ftruncate"):
                patch.setattr(os, name, self.counted(os, name))
            patch.setattr(
                os, "open", self.counted(os, "open", lambda path, flags, *a, **k: bool(flags & creates))
            )
            patch.setattr(io, "open", self.file(io.open))
            patch.setattr("builtins.open", io.open)
            yield self


def calls_of(action, monkeypatch):
    """Return the names of the writing calls of an action that succeeds."""
    with Disk()(monkeypatch) as disk:
        action()
    return disk.calls


def attempted(action, monkeypatch, failing, stays_full, kinds=(store.StoreError,)):
    """Return the line with which an action is refused on a disk that is full at a call, None if it is not."""
    with Disk(failing, stays_full=stays_full)(monkeypatch):
        try:
            action()
        except kinds as error:
            line = str(error)
        else:
            return None
    assert "\n" not in line
    assert os.strerror(errno.ENOSPC) in line
    assert "free space" in line
    return line


@pytest.mark.parametrize("stays_full", [False, True], ids=["full once", "full from then on"])
@pytest.mark.parametrize("over", [True, False], ids=["over an old run", "fresh"])
def test_writing_a_run_on_a_disk_that_is_full_at_any_call(tmp_path, monkeypatch, over, stays_full):
    old = content(write(tmp_path / "a" / "run", 1))
    scratch = tmp_path / "c" / "deep" / "run"
    count = len(calls_of(lambda: write(tmp_path / "count" / "run", 2), monkeypatch))
    assert count > 20
    refused = 0
    for failing in range(count):
        folder = tmp_path / "a" / "run" if over else scratch
        line = attempted(lambda at=folder: write(at, 2), monkeypatch, failing, stays_full)
        refused += line is not None
        if line is None:  # what failed was not needed
            assert mark(folder) == 2
            write(folder, 1) if over else shutil.rmtree(tmp_path / "c")
        elif over:
            assert content(folder) == old, failing
        else:
            assert not (tmp_path / "c").exists(), (failing, sorted((tmp_path / "c").rglob("*")))
        if over:
            assert [path.name for path in folder.parent.iterdir()] == ["run"], failing
        assert {path.name for path in tmp_path.iterdir()} <= {"a", "count"}
    assert refused >= count - 3


@pytest.mark.parametrize("stays_full", [False, True], ids=["full once", "full from then on"])
def test_replacing_a_page_on_a_disk_that_is_full_at_any_call(tmp_path, monkeypatch, stays_full):
    folder = write(tmp_path / "run", 1)
    old = content(folder)

    def action():
        store.replace_page(folder, "report.html", "<p>new</p>")

    count = len(calls_of(lambda: store.replace_page(folder, "other.html", "x"), monkeypatch))
    (folder / "other.html").unlink()
    assert count >= 3
    files = sorted(folder.iterdir())
    for failing in range(count):
        assert attempted(action, monkeypatch, failing, stays_full) is not None
        assert content(folder) == old
        assert sorted(folder.iterdir()) == files
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
    action()  # the control: with room it is replaced
    assert (folder / "report.html").read_text() == "<p>new</p>"


@pytest.mark.parametrize("stays_full", [False, True], ids=["full once", "full from then on"])
def test_keeping_a_stage_on_a_disk_that_is_full_at_any_call(tmp_path, monkeypatch, stays_full):
    folder = write(tmp_path / "run", 1)
    old = content(folder)

    def action():
        with store.working(folder) as work:
            work.keep("posterior", "digest one", tree(3))
            work.keep("flow", "digest two", tree(4))

    for failing in range(len(calls_of(action, monkeypatch))):
        attempted(action, monkeypatch, failing, stays_full)
        assert content(folder) == old
        assert [path.name for path in tmp_path.iterdir()] == ["run"], failing


@pytest.mark.parametrize("stays_full", [False, True], ids=["full once", "full from then on"])
def test_copying_a_network_on_a_disk_that_is_full_at_any_call(tmp_path, monkeypatch, stays_full):
    (tmp_path / "count").mkdir()
    (tmp_path / "own").mkdir()
    names = calls_of(lambda: scaffold.copy_network("mlp", tmp_path / "count"), monkeypatch)
    for failing, name in enumerate(names):
        line = attempted(
            lambda: scaffold.copy_network("mlp", tmp_path / "own"),
            monkeypatch,
            failing,
            stays_full,
            (UsageError,),
        )
        assert (line is None) == (name == "link" and not stays_full)  # then it is renamed
        assert [path.name for path in (tmp_path / "own").iterdir()] == (["mlp.py"] if line is None else [])
        (tmp_path / "own" / "mlp.py").unlink(missing_ok=True)


# --- disks that really refuse: in a process of its own, as HDF5 remembers what it could not write

_PROCESS = """
import importlib.util, json, os, resource, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("faults", {module!r})
faults = importlib.util.module_from_spec(spec)
spec.loader.exec_module(faults)
from brg_prob import store
folder, said = Path({folder!r}) / "run", []
faults.write(folder, 1)
old = faults.content(folder)
sizes = [path.stat().st_size for path in folder.iterdir()]
for part in range(18):
    room = int({most} * part / 12)
    {before}
    try:
        faults.write(folder, 2)
        line = ""
    except store.StoreError as error:
        line = str(error)
    {after}
    standing = faults.content(folder)
    assert standing == old if line else faults.mark(folder) == 2, room
    beside = sorted(path.name for path in folder.parent.iterdir() if path.name != "filler")
    assert beside == ["run"], beside
    said.append([room, line])
    if not line:
        break
print(json.dumps(said))
"""
_LIMIT = {
    "most": "max(sizes)",
    "before": "resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))",
    "after": "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))",
}
# all of a small file system but `room` bytes is taken by a filler
_FULL = {
    "most": "2 * sum(sizes)",
    "before": "faults.fill(folder.parent / 'filler', room)",
    "after": "(folder.parent / 'filler').unlink()",
}


def fill(path, room):
    """Write zeros until ``room`` bytes are left, to the block."""
    with path.open("wb", buffering=0) as handle:
        with contextlib.suppress(OSError):
            while handle.write(bytes(4096)):
                pass
        os.ftruncate(handle.fileno(), max(0, handle.tell() - room))


def refusals(folder, how, *prefix):
    """Return [room, line] for each size of disk on which a run was written over an old one."""
    code = _PROCESS.format(module=__file__, folder=str(folder), **how)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_refusals(said, reason):
    assert len(said) > 8
    for _, line in said[:-1]:
        assert reason in line, said
        assert "\n" not in line
        assert "free space or choose another --out" in line
    assert said[-1][1] == ""  # the control: with room enough the run is written


def test_files_that_may_not_grow_leave_the_old_run(tmp_path):
    pytest.importorskip("resource")
    check_refusals(refusals(tmp_path, _LIMIT), os.strerror(errno.EFBIG))


def test_a_file_system_that_is_full_leaves_the_old_run(tmp_path):
    mount = f"mount -t tmpfs -o size=512k,mode=700 tmpfs {tmp_path}"
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            check_refusals(refusals(tmp_path, _FULL, *prefix), os.strerror(errno.ENOSPC))
            return
    pytest.skip("file systems may not be mounted here")


def test_stages_of_a_damaged_run_are_not_reused(tmp_path):
    made = tree(1)
    model = MODEL | {"stages": {"flow": store.described_stage("digest", made, "")}}
    folder = store.write_run(tmp_path / "run", tree=made, summary={}, model=model, pages={}).folder
    with store.working(folder) as work:  # the control
        xr.testing.assert_equal(work.find("flow", "digest")["flow"].to_dataset(), made["flow"].to_dataset())
    content = bytearray((folder / "draws.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "draws.nc").write_bytes(content)
    with store.working(folder) as work:
        assert work.find("flow", "digest") is None
