"""How a run takes the place of an earlier one, so that nothing of the user's is lost at any step.

A full directory cannot be renamed over, and the folder of a run may hold what its user put there. While the
lock of ``NAME`` is held, in ``.NAME.stages``:

1. everything is written to ``writing-TOKEN`` and flushed to disk;
2. that is renamed ``new`` – from here on the new run is complete;
3. ``NAME`` is renamed ``old``, ``new`` is renamed ``NAME``;
4. out of ``old``, what the earlier run wrote is removed, and all else is renamed into ``NAME``.

A process killed before step 2 leaves the old run; after any later one, :func:`finish` goes on. What the
earlier run wrote is what its ``model.json`` names with its SHA-256; the digests of ``model.json`` itself and
of a page stand in them. A file that was changed is the user's. Links are renamed, never followed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from brg_prob.files import (
    PAGE_SEAL,
    UNSEALED,
    is_aside,
    is_folder,
    is_plain,
    is_sealed,
    sealed,
    sha256_of,
    write_new,
)
from brg_prob.store.locks import StoreError, foreign, state_of

FORMAT = "brg_prob run"
MODEL = "model.json"
_MODEL_SEAL = b'"model.json": "'  # inside a JSON text the quotes would be escaped
_HEAD = 1 << 16
_WRITING = re.compile(r"writing-[0-9a-f]{16}")


def manifest(folder: Path) -> dict[str, str]:
    """Return the files that a run wrote, name → SHA-256, as its ``model.json`` says; none if it is no run."""
    try:
        model = json.loads((folder / MODEL).read_bytes())
        if model["format"] != FORMAT:
            return {}
        return {str(name): str(digest) for name, digest in model["files"].items()} | {MODEL: UNSEALED}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def is_ours(path: Path, stated: Mapping[str, str]) -> bool:
    """Return whether a path is a file as this program wrote it: with the digest stated, or sealed."""
    if not is_plain(path):
        return False
    before = _MODEL_SEAL if path.name == MODEL else PAGE_SEAL
    try:
        if sha256_of(path) == stated.get(path.name):
            return True
        with path.open("rb") as file:  # arrays may be larger than memory
            has_seal = before in file.read(_HEAD)
        return has_seal and is_sealed(path.read_bytes(), before)
    except OSError:
        return False


def write_aside(folder: Path, contents: Mapping[str, bytes], model: str) -> Path:
    """Write all files of a run into the state of its folder, the lock of which is held; return where.

    Parameters
    ----------
    folder
        The run folder.
    contents
        File name → bytes, without ``model.json``.
    model
        The text of ``model.json``; its own digest among those it states is :data:`UNSEALED`.

    Raises
    ------
    OSError
        The disk refuses; then nothing is left.
    """
    aside = _aside(state_of(folder))
    aside.mkdir()
    try:
        # the first: a process killed while it writes leaves only what is named in it
        write_new(aside / MODEL, sealed(model.encode("utf-8", errors="backslashreplace"), _MODEL_SEAL))
        for name, content in contents.items():
            write_new(aside / name, content)
        _flush(aside)
    except BaseException:
        discard(aside)
        raise
    return aside


def _withdraw(new: Path) -> None:
    """Remove a new run that waits to be put in place; killed on the way, it is not taken for a whole one."""
    aside = _aside(new.parent)
    with contextlib.suppress(OSError):
        new.rename(aside)
    discard(aside if os.path.lexists(aside) else new)


def _aside(state: Path) -> Path:
    """Return a name for a run that is not whole, which only this program gives."""
    return state / f"writing-{secrets.token_hex(8)}"


def discard(folder: Path) -> None:
    """Remove what :func:`write_aside` made: the files that a folder names, and the folder if it is empty."""
    named = [*manifest(folder), MODEL]
    for name in named:
        if name == os.path.basename(name) and is_plain(folder / name):
            with contextlib.suppress(OSError):
                os.unlink(folder / name)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def discard_killed(folder: Path) -> None:
    """Remove what writers of a run folder, the lock of which is held, left when they were killed."""
    state = state_of(folder)
    for name in os.listdir(state):
        if _WRITING.fullmatch(name) and is_folder(state / name):
            discard(state / name)


def replace(folder: Path, aside: Path) -> dict[str, str]:
    """Put a run that was written aside into the place of what stands in a folder, and return what was kept.

    The lock is held. The dictionary names what is the user's → what it is called in the new run.

    Raises
    ------
    OSError
        The system refuses a step; the earlier run is untouched.
    StoreError
        As :func:`finish`.
    """
    new, old = _places(folder)
    try:
        finish(folder)  # what an earlier process left half done
        aside.rename(new)
    except BaseException:
        discard(aside)
        raise
    try:
        return finish(folder)
    except BaseException:
        _withdraw(new)
        if os.path.lexists(old) and not os.path.lexists(folder):
            with contextlib.suppress(OSError):  # then the next one to read finds it
                old.rename(folder)
        raise


def is_pending(folder: Path) -> bool:
    """Return whether a swap was left half done."""
    return any(os.path.lexists(place) for place in _places(folder))


def is_complete(folder: Path) -> bool:
    """Return whether a new run waits to be put in place."""
    return os.path.lexists(_places(folder)[0])


def finish(folder: Path) -> dict[str, str]:
    """Bring a complete new run into place, whatever point an earlier swap had reached; the lock is held.

    Returns what was kept of the earlier run, as :func:`replace` does.

    Raises
    ------
    StoreError
        What lies there is no run of ours, or something cannot be moved out of the earlier run.
    OSError
        The system refuses a rename.
    """
    new, old = _places(folder)
    for place in (new, old):
        if os.path.lexists(place) and not is_folder(place):
            raise foreign(place)
    kept: dict[str, str] = {}
    if os.path.lexists(old) and os.path.lexists(folder):
        if not manifest(folder):
            raise StoreError(
                f"{str(folder)!r} is no run, and an earlier one waits in {str(old)!r}; move one away"
            )
        kept = _carried(old, folder)
    if is_complete(folder):
        kept |= _in_place(folder, new, old)
    elif os.path.lexists(old):
        old.rename(folder)
    return kept


def _in_place(folder: Path, new: Path, old: Path) -> dict[str, str]:
    """Put a complete new run in place of what stands there, which may have been moved aside already."""
    if not _is_whole(new):
        if os.path.lexists(old):
            old.rename(folder)
        raise foreign(new)
    if os.path.lexists(folder):
        folder.rename(old)
    new.rename(folder)
    return _carried(old, folder) if os.path.lexists(old) else {}


def _places(folder: Path) -> tuple[Path, Path]:
    """Return where a new run and the one it replaces lie meanwhile."""
    state = state_of(folder)
    return state / "new", state / "old"


def _is_whole(folder: Path) -> bool:
    """Return whether a folder is a run as this program wrote it, every file of it."""
    stated = manifest(folder)
    return bool(stated) and all(
        name == os.path.basename(name) and is_ours(folder / name, stated) for name in stated
    )


def _carried(old: Path, folder: Path) -> dict[str, str]:
    """Rename all that is the user's from the old run into the new one, and remove the rest of the old one."""
    stated, kept = manifest(old), {}
    name = ""
    try:
        # model.json is the last: until then it says what is ours
        for name in sorted(os.listdir(old), key=lambda name: (name == MODEL, name)):
            path = old / name
            if (name in stated and is_ours(path, stated)) or is_aside(path):
                os.unlink(path)
            else:
                place = name if not os.path.lexists(folder / name) else _unused(name, folder, old)
                os.rename(path, folder / place)
                kept[name] = place
        name = ""
        os.rmdir(old)
    except OSError as error:
        raise StoreError(
            f"{str(old / name)!r} cannot be moved into {str(folder)!r}, where the new run stands whole "
            f"({error.strerror or error}); free space or change permissions; the next command on it goes on"
        ) from error
    return kept


def _unused(name: str, *folders: Path) -> str:
    """Return a name like the one given that nothing has in any of the folders."""
    stem, suffix = Path(name).stem, Path(name).suffix
    names = (f"{stem}.kept-{number}{suffix}" for number in itertools.count(1))
    return next(found for found in names if not any(os.path.lexists(at / found) for at in folders))


def _flush(folder: Path) -> None:
    """Force the names in a folder to disk, so that its own renaming cannot overtake them."""
    with contextlib.suppress(PermissionError):  # Windows opens no folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
