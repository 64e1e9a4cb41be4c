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
:func:`recover` moves into place. Steps 2 and 3 hold a lock on the parent directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded when a tree is read: a wrong flag is answered without it
    import xarray as xr

FORMAT = "brg_prob run"
FORMAT_VERSION = 1
MODEL, DRAWS, SUMMARY, REPORT = "model.json", "draws.nc", "summary.json", "report.html"


class StoreError(ValueError):
    """A folder that is not a readable run, or cannot become one; the message is one line with the remedy."""


@dataclass(frozen=True)
class StoredRun:
    """What a run folder holds, in memory: the tree, ``summary.json`` and ``model.json``."""

    tree: xr.DataTree
    summary: dict[str, Any]
    model: dict[str, Any]


def describe_source(source: Path | None) -> dict[str, str]:
    """Return name, SHA-256 and text of a MODEL.py for ``model.json``; all empty where there is no file."""
    if source is None:
        return {"file": "", "sha256": "", "source": ""}
    content = source.read_bytes()
    return {
        "file": source.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": content.decode("utf-8", errors="replace"),
    }


def check_target(folder: Path) -> None:
    """Raise StoreError unless a run can be written to ``folder``; writes nothing.

    A folder may be absent, empty, or an earlier run. Its nearest existing parent must be
    a writable directory.
    """
    folder = Path(folder)
    if folder.exists():
        if not folder.is_dir():
            raise StoreError(f"{str(folder)!r} is a file, not a folder; choose another --out")
        if any(folder.iterdir()) and not (folder / MODEL).is_file():
            raise StoreError(f"{str(folder)!r} is not a run folder and is not empty; choose another --out")
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write in {str(parent)!r}; choose another --out or change its permissions")


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
        The content of ``model.json`` beside ``format`` and ``format_version``.
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
    folder = Path(folder).absolute()
    check_target(folder)
    aside = _beside(folder, "writing")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        tree.to_netcdf(aside / DRAWS, engine="h5netcdf")
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        for name, content in {MODEL: {**head, **model}, SUMMARY: summary}.items():
            (aside / name).write_text(_json(content), encoding="utf-8")
        for name, text in pages.items():
            (aside / name).write_text(text, encoding="utf-8")
        _flush(aside)
        with _locked(folder.parent):
            _finish_swap(folder)
            aside.rename(_beside(folder, "new"))
            _finish_swap(folder)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or str(error)
        raise StoreError(
            f"cannot write the run to {str(folder)!r}: {reason}; free space or choose another --out"
        ) from error
    return folder


def recover(folder: Path) -> None:
    """Finish a swap that a killed process left half done; nothing to do otherwise."""
    folder = Path(folder).absolute()
    if not (_beside(folder, "new").exists() or _beside(folder, "old").exists()):
        return
    with _locked(folder.parent):
        _finish_swap(folder)


def read_run(folder: Path) -> StoredRun:
    """Read a run folder; the arrays are loaded and the file closed. MODEL.py is not executed.

    Raises
    ------
    StoreError
        No run there, a foreign or newer format, or a damaged file.
    """
    folder = Path(folder).absolute()
    recover(folder)
    if not folder.is_dir():
        raise StoreError(f"no run folder {str(folder)!r}; brg-prob run writes one")
    model = _read_json(folder / MODEL)
    if model.get("format") != FORMAT:
        raise StoreError(f"{str(folder)!r} is not a run folder: its {MODEL} was not written by brg-prob")
    version = model.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreError(
            f"{str(folder)!r} has format version {version!r}, this brg-prob reads {FORMAT_VERSION}; upgrade"
        )
    summary = _read_json(folder / SUMMARY)
    import xarray as xr

    try:
        with xr.open_datatree(folder / DRAWS, engine="h5netcdf") as stored:
            tree = stored.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise StoreError(f"{str(folder / DRAWS)!r} is damaged ({type(error).__name__}); run again") from error
    return StoredRun(tree=tree, summary=summary, model=model)


def replace_page(folder: Path, name: str, text: str) -> Path:
    """Replace one page of a run folder atomically and return its path."""
    target = Path(folder).absolute() / name
    aside = target.with_name(f".{name}.writing")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {str(target)!r}: {error.strerror or error}; free space or change permissions"
        ) from error
    return target


def _beside(folder: Path, state: str) -> Path:
    """Return the hidden sibling of a run folder that holds it in one state of the swap."""
    return folder.with_name(f".{folder.name}.{state}")


def _finish_swap(folder: Path) -> None:
    """Bring a complete new run into place, whatever point an earlier swap had reached."""
    new, old = _beside(folder, "new"), _beside(folder, "old")
    if new.exists():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
    elif old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on a directory; it is released if the process dies."""
    try:
        import fcntl
    except ImportError:  # no such locks on this platform: one writer at a time is the user's care
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        # A file system without locks (some network mounts) refuses; the swap itself stays whole.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    """Force the files of a folder to disk, so that the rename cannot overtake their content."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _json(content: Mapping[str, Any]) -> str:
    """Return strict JSON (NaN refused: summary writes null), indented, UTF-8."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or raise StoreError in one line."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{str(path.parent)!r} is not a run folder: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{str(path)!r} is damaged ({type(error).__name__}); run again") from error
    if not isinstance(content, dict):
        raise StoreError(f"{str(path)!r} is damaged (no JSON object); run again")
    return content
