"""Run folders: what a run leaves on disk, written aside and swapped in whole.

A run folder holds

``model.json``
    What was run: the file of the model with a copy of its text and its SHA-256, options,
    command, versions; and under ``files`` every file of the run with its SHA-256, by which damage is
    found and the run's own files are told from the user's. Reading a run never executes that text.
``draws.nc``
    Every array of the run, a DataTree in netCDF4.
``summary.json``
    The few numbers other programs want, under stable keys.
``report.html``
    The report.

A run replaces an earlier one whole, at once, and keeps all else that lies in its folder
(:mod:`brg_prob.store.swap`). All of it holds the run's lock (:mod:`brg_prob.store.locks`): a second process
is told that the folder is in use.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brg_prob.derived import with_derived
from brg_prob.files import UNSEALED, is_folder, page_bytes, put, sha256_of
from brg_prob.store import swap
from brg_prob.store.locks import InUseError, StoreError, only_writer, real_path, refused, state_of
from brg_prob.store.packing import packing
from brg_prob.store.stages import tree_bytes
from brg_prob.store.swap import FORMAT, MODEL

if TYPE_CHECKING:  # loaded when a tree is read: a wrong flag is answered without it
    import xarray as xr

FORMAT_VERSION = 1
_PATIENCE = 100
_NAMED = 8
DRAWS, SUMMARY, REPORT = "draws.nc", "summary.json", "report.html"


@dataclass(frozen=True)
class StoredRun:
    """What a run folder holds, in memory: the tree, ``summary.json`` and ``model.json``."""

    tree: xr.DataTree
    summary: dict[str, Any]
    model: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """A run folder that was written.

    Attributes
    ----------
    folder
        Its place, absolute.
    kept
        What in it is not the run's own and was kept from the folder that stood there: its name then →
        its name now.
    """

    folder: Path
    kept: dict[str, str]

    @property
    def note(self) -> str:
        """What was kept, in one line; empty if nothing was.

        Examples
        --------
        >>> Written(Path("run"), {"notes.txt": "notes.txt", "report.html": "report.kept-1.html"}).note
        "kept, as not the run's own: 'notes.txt', 'report.html' (now 'report.kept-1.html')"
        """
        names = [repr(was) if was == now else f"{was!r} (now {now!r})" for was, now in self.kept.items()]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"kept, as not the run's own: {', '.join(names[:_NAMED])}{more}" if names else ""


def check_target(folder: Path) -> None:
    """Raise StoreError unless a run can be written to ``folder``; writes nothing.

    A folder may be absent, empty, or an earlier run. Its nearest existing parent must be
    a writable directory, and what the user put into the earlier run must be movable into the new one.
    """
    folder = Path(folder)
    state_of(folder)
    if folder.exists():
        if not folder.is_dir():
            raise StoreError(f"{str(folder)!r} is a file, not a folder; choose another --out")
        if any(folder.iterdir()) and not _is_run(folder):
            raise StoreError(f"{str(folder)!r} is not a run folder and is not empty; choose another --out")
        for fixed in [folder, *filter(is_folder, folder.iterdir())]:
            if os.path.ismount(fixed) or not os.access(fixed, os.W_OK | os.X_OK):
                raise StoreError(f"{str(fixed)!r} cannot be moved; make it writable or choose another --out")
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
) -> Written:
    """Write a run folder, whole or not at all.

    Of an earlier run there, the files that it wrote are replaced; all else – other files, folders, links, and
    files of the run that were changed since – is moved into the new run, under another name where the new
    run has a file of that name (``report.kept-1.html``).

    Parameters
    ----------
    folder
        Where it shall stand.
    tree
        The arrays; attributes str, int or float. Draws of a large field are packed (:func:`packing`).
    summary
        The content of ``summary.json``.
    model
        The content of ``model.json`` beside ``format``, ``format_version`` and ``files`` (every file
        of the run → its SHA-256; that of ``model.json`` is of its text with 64 zeros in its own place).
    pages
        File name → text, e.g. the report.

    Returns
    -------
    Written
        The folder, and what was kept.

    Raises
    ------
    StoreError
        The folder is in use by something else, or the disk refuses (full, read-only). The
        run that stood there is untouched, unless the message says that the new one stands.
    """
    folder = real_path(folder)
    check_target(folder)
    said = _json(summary).encode("utf-8", errors="backslashreplace")
    contents = {DRAWS: tree_bytes(tree, packing), SUMMARY: said}
    contents |= {name: page_bytes(text) for name, text in pages.items()}
    stated = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "files": stated | {MODEL: UNSEALED}}
    whole = _json(head | {name: value for name, value in model.items() if name not in head})
    with only_writer(folder):
        try:
            swap.discard_killed(folder)
            return Written(folder, swap.replace(folder, swap.write_aside(folder, contents, whole)))
        except OSError as error:
            raise refused(folder, error) from error


def recover(folder: Path) -> None:
    """Finish a swap that a killed process left half done; nothing to do otherwise.

    Raises
    ------
    StoreError
        Another process does not come to an end with it, or what lies there is no run of ours.
    """
    folder = real_path(folder)
    for attempt in range(_PATIENCE):
        if not swap.is_pending(folder):
            return
        try:
            with only_writer(folder):
                swap.finish(folder)
        except (StoreError, OSError) as error:
            if folder.exists() and not swap.is_complete(folder):
                return  # the run stands whole; what else lies there is the writer's to tidy
            if isinstance(error, OSError):
                raise refused(folder, error) from error
            if not isinstance(error, InUseError) or attempt == _PATIENCE - 1:
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
            tree = with_derived(stored.load())
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
    _is_replaced(path)


def replace_page(folder: Path, name: str, text: str) -> Path:
    """Write one page, whole or not at all, and return its path.

    Raises
    ------
    StoreError
        Something has its name that is no page of ours, or one that was changed since; or the disk refuses.
    """
    target = Path(folder).absolute() / name
    try:
        put(target, page_bytes(text), over=_is_replaced(target))
    except OSError as error:
        raise StoreError(
            f"cannot write {str(target)!r}: {error.strerror or error}; free space or change permissions"
        ) from error
    return target


def _is_replaced(path: Path) -> bool:
    """Return whether a page of ours stands there; raise StoreError for anything else: it is the user's."""
    if not os.path.lexists(path):
        return False
    if swap.is_ours(path, swap.manifest(path.parent)):
        return True
    raise StoreError(
        f"{str(path)!r} was not written by brg-prob or was changed since, and is not overwritten; choose "
        "another --out or move it away"
    )


def _check_intact(path: Path, stated: Any) -> None:
    """Raise StoreError unless a file is the one that ``model.json`` states; HDF5 overlooks a flipped bit."""
    if not isinstance(stated, dict) or path.name not in stated:
        raise StoreError(
            f"{str(path.parent)!r} is no whole run: its {MODEL} states no SHA-256 of {path.name}; run again"
        )
    try:
        found = sha256_of(path)
    except OSError as error:
        raise StoreError(f"{str(path)!r} is damaged ({error.strerror or error}); run again") from error
    if found != stated[path.name]:
        raise StoreError(f"{str(path)!r} is damaged: its SHA-256 is not the one in {MODEL}; run again")


def _json(content: Mapping[str, Any]) -> str:
    """Return strict JSON (NaN refused: summary writes null), indented."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
