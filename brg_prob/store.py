"""Run folders: what a run leaves on disk, written aside and swapped in whole.

A run folder holds

``model.json``
    What was run: the file of the model with a copy of its text and its SHA-256, options,
    command, versions. Reading a run never executes that text.
``draws.nc``
    Every array of the run, a DataTree in netCDF4.
``summary.json``
    The few numbers other programs want, under stable keys.
``report.html``
    The report.

A full directory cannot be renamed over, so three steps replace a run ``NAME``:

1. everything is written to ``.NAME.writing`` and flushed to disk;
2. ``.NAME.writing`` is renamed ``.NAME.new`` – from here on the new run is complete;
3. ``NAME`` is renamed ``.NAME.old``, ``.NAME.new`` is renamed ``NAME``, the old one is removed.

A process killed before step 2 leaves the old run; one killed later leaves a new run that
:func:`recover` moves into place. All of it holds the run's lock (:mod:`brg_prob.stages`): a second process
is told that the folder is in use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brg_prob.locks import StoreError, beside, only_writer, real_path, refused
from brg_prob.stages import tree_bytes

if TYPE_CHECKING:  # loaded when a tree is read: a wrong flag is answered without it
    import xarray as xr

FORMAT = "brg_prob run"
FORMAT_VERSION = 1
_PATIENCE = 100
MODEL, DRAWS, SUMMARY, REPORT = "model.json", "draws.nc", "summary.json", "report.html"


@dataclass(frozen=True)
class StoredRun:
    """What a run folder holds, in memory: the tree, ``summary.json`` and ``model.json``."""

    tree: xr.DataTree
    summary: dict[str, Any]
    model: dict[str, Any]


def check_target(folder: Path) -> None:
    """Raise StoreError unless a run can be written to ``folder``; writes nothing.

    A folder may be absent, empty, or an earlier run. Its nearest existing parent must be
    a writable directory.
    """
    folder = Path(folder)
    if folder.exists():
        if not folder.is_dir():
            raise StoreError(f"{str(folder)!r} is a file, not a folder; choose another --out")
        if any(folder.iterdir()) and not _is_run(folder):
            raise StoreError(f"{str(folder)!r} is not a run folder and is not empty; choose another --out")
    parent = real_path(folder).parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write in {str(parent)!r}; choose another --out or change its permissions")


def _is_run(folder: Path) -> bool:
    """Return whether a folder says that brg-prob wrote it; others, too, name a file ``model.json``."""
    try:
        return bool(_read_json(folder / MODEL).get("format") == FORMAT)
    except StoreError:
        return False


def write_run(
    folder: Path,
    *,
    tree: xr.DataTree,
    summary: Mapping[str, Any],
    model: Mapping[str, Any],
    pages: Mapping[str, str],
) -> Path:
    """Write a run folder, whole or not at all.

    Parameters
    ----------
    folder
        Where it shall stand. An earlier run there is replaced.
    tree
        The arrays; attributes str, int or float.
    summary
        The content of ``summary.json``.
    model
        The content of ``model.json`` beside ``format``, ``format_version`` and ``files`` (the
        SHA-256 of arrays and summary, by which damage is found).
    pages
        File name → text, e.g. the report.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    StoreError
        The folder is in use by something else, or the disk refuses (full, read-only). The
        run that stood there is untouched.
    """
    folder = real_path(folder)
    check_target(folder)
    aside = beside(folder, "writing")
    contents = {DRAWS: tree_bytes(tree), SUMMARY: _json(summary)}
    stated = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION}
    contents[MODEL] = _json({**head, **model, "files": stated})
    contents |= {name: text.encode("utf-8", errors="xmlcharrefreplace") for name, text in pages.items()}
    complete = False
    with only_writer(folder):
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for name, content in contents.items():
                (aside / name).write_bytes(content)
            _flush(aside)
            _finish_swap(folder)
            aside.rename(beside(folder, "new"))
            complete = True
            _finish_swap(folder)
        except BaseException as error:
            shutil.rmtree(aside, ignore_errors=True)
            if complete:
                _undo_swap(folder)
            if not isinstance(error, OSError):
                raise
            raise refused(folder, error) from error
    return folder


def recover(folder: Path) -> None:
    """Finish a swap that a killed process left half done; nothing to do otherwise."""
    folder = real_path(folder)
    for attempt in range(_PATIENCE):
        if not (beside(folder, "new").exists() or beside(folder, "old").exists()):
            return
        try:
            with only_writer(folder):
                _finish_swap(folder)
        except StoreError:
            if folder.exists() and not beside(folder, "new").exists():
                return  # the run stands whole; what else lies there is the writer's to tidy
            if attempt == _PATIENCE - 1:
                raise
            time.sleep(0.05)  # the writer is between its renames: a moment


def read_model(folder: Path) -> dict[str, Any]:
    """Return ``model.json`` of a run folder: all that is needed to run it again.

    Raises
    ------
    StoreError
        No run there, a foreign or newer format, or a damaged file.
    """
    folder = real_path(folder)
    recover(folder)
    if not folder.is_dir():
        raise StoreError(f"no run folder {str(folder)!r}; brg-prob run writes one")
    model = _read_json(folder / MODEL)
    if model.get("format") != FORMAT:
        raise StoreError(f"{str(folder)!r} is not a run folder: its {MODEL} was not written by brg-prob")
    version = model.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise StoreError(
            f"{str(folder)!r} has format version {version!r}, this brg-prob reads {FORMAT_VERSION}; upgrade"
        )
    return model


def read_run(folder: Path) -> StoredRun:
    """Read a run folder; the arrays are loaded and the file closed. MODEL.py is not executed.

    Raises
    ------
    StoreError
        No run there, a foreign or newer format, or a damaged file.
    """
    folder = real_path(folder)
    model = read_model(folder)
    summary = _read_json(folder / SUMMARY)
    for name in (DRAWS, SUMMARY):
        _check_intact(folder / name, model.get("files"))
    import xarray as xr

    try:
        with xr.open_datatree(folder / DRAWS, engine="h5netcdf") as stored:
            tree = stored.load()
    except Exception as error:  # HDF5 fails in many ways
        raise StoreError(f"{str(folder / DRAWS)!r} is damaged ({type(error).__name__}); run again") from error
    return StoredRun(tree=tree, summary=summary, model=model)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return ``summary.json`` of a run folder, or None if there is none."""
    path = real_path(folder) / SUMMARY
    return _read_json(path) if path.exists() else None


def check_page(path: Path) -> None:
    """Raise StoreError unless a page can be written to ``path``; writes nothing."""
    parent = Path(path).absolute().parent
    if Path(path).is_dir() or Path(path).suffix.lower() not in (".html", ".htm"):
        raise StoreError(f"{str(path)!r} is no name for a page; give a file that ends in .html")
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write in {str(parent)!r}; choose another --out or change its permissions")


def replace_page(folder: Path, name: str, text: str) -> Path:
    """Replace one page of a run folder atomically and return its path."""
    target = Path(folder).absolute() / name
    aside = target.with_name(f".{name}.{os.getpid()}.writing")
    try:
        aside.write_bytes(text.encode("utf-8", errors="xmlcharrefreplace"))
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {str(target)!r}: {error.strerror or error}; free space or change permissions"
        ) from error
    return target


def _finish_swap(folder: Path) -> None:
    """Bring a complete new run into place, whatever point an earlier swap had reached."""
    new, old = beside(folder, "new"), beside(folder, "old")
    if new.exists():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
    elif old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _undo_swap(folder: Path) -> None:
    """Bring the old run back after a swap that failed: what is reported as not written is not there."""
    old = beside(folder, "old")
    shutil.rmtree(beside(folder, "new"), ignore_errors=True)
    if old.exists() and not folder.exists():
        with contextlib.suppress(OSError):  # then the next one to read finds it
            old.rename(folder)


def _flush(folder: Path) -> None:
    """Force the files of a folder to disk, so that the rename cannot overtake their content."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check_intact(path: Path, stated: Any) -> None:
    """Raise StoreError unless a file is the one that ``model.json`` states; HDF5 overlooks a flipped bit."""
    if not isinstance(stated, dict) or path.name not in stated:
        raise StoreError(
            f"{str(path.parent)!r} is no whole run: its {MODEL} states no SHA-256 of {path.name}; run again"
        )
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(f"{str(path)!r} is damaged ({error.strerror or error}); run again") from error
    if found != stated[path.name]:
        raise StoreError(f"{str(path)!r} is damaged: its SHA-256 is not the one in {MODEL}; run again")


def _json(content: Mapping[str, Any]) -> bytes:
    """Return strict JSON (NaN refused: summary writes null), indented, UTF-8."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", errors="backslashreplace")  # of half a surrogate pair: JSON's own escape


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or raise StoreError in one line."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{str(path.parent)!r} is not a run folder: {path.name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{str(path)!r} is damaged ({type(error).__name__}); run again") from error
    if not isinstance(content, dict):
        raise StoreError(f"{str(path)!r} is damaged (no JSON object); run again")
    return content
