"""Where a run folder and its siblings lie, and the lock that only one writer holds.

The lock is a file in ``.NAME.stages`` beside the run ``NAME``; it dies with the process that holds it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

_LOCK = "lock"
_HELD: set[Path] = set()


class StoreError(ValueError):
    """A folder that is not a readable run, or cannot become one; the message is one line with the remedy."""


def real_path(folder: str | Path) -> Path:
    """Return where a run lies, links followed: a link cannot be swapped, and a run has one lock."""
    return Path(os.path.realpath(folder))


def beside(folder: Path, state: str) -> Path:
    """Return the hidden sibling of a run folder that holds it in one state."""
    return folder.with_name(f".{folder.name}.{state}")


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[Path]:
    """Hold the lock of a run folder and yield the folder of its stages; the lock dies with the process.

    May be entered again by the process that holds it. What it had to create and is empty at
    the end is removed.
    """
    aside = beside(real_path(folder), "stages")
    if aside in _HELD:
        yield aside
        return
    made = [parent for parent in aside.parents if not parent.exists()]
    try:
        handle = _locked(aside)
    except OSError as error:
        _remove_empty(aside, *made)
        raise refused(folder, error) from error
    _HELD.add(aside)
    try:
        yield aside
    finally:
        _HELD.discard(aside)
        _tidy(aside, made)
        os.close(handle)


def refused(folder: Path, error: OSError) -> StoreError:
    """Return the error for a run folder that the system does not let us write."""
    reason = error.strerror or str(error)
    return StoreError(
        f"cannot write the run to {str(folder)!r}: {reason}; free space or choose another --out"
    )


def _tidy(aside: Path, made: Sequence[Path]) -> None:
    """Remove the lock, and the folders made for it, where nothing else is left in them."""
    with contextlib.suppress(OSError):
        if [path.name for path in aside.iterdir()] == [_LOCK]:
            shutil.rmtree(aside, ignore_errors=True)
    _remove_empty(*made)


def _remove_empty(*folders: Path) -> None:
    """Remove the folders that exist and are empty, in this order."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _locked(aside: Path) -> int:
    """Return an open lock file, or raise StoreError if another process holds it."""
    while True:
        aside.mkdir(parents=True, exist_ok=True)
        path = aside / _LOCK
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another process has just finished and tidied up
            continue
        try:
            _lock(handle, aside)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                with contextlib.suppress(OSError):  # a full disk: the number only says who holds the lock
                    os.ftruncate(handle, 0)
                    os.write(handle, str(os.getpid()).encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, aside: Path) -> None:
    """Take the lock without waiting."""
    try:
        import fcntl
    except ImportError:  # no such locks on this platform: one writer at a time is the user's care
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 32).decode(errors="replace").strip() or "?"
        name = aside.name.removeprefix(".").removesuffix(".stages")
        raise StoreError(
            f"{str(aside.parent / name)!r} is being written by another brg-prob (process {owner}); wait for "
            "it or choose another --out"
        ) from None
    except OSError:  # a file system without locks (some network mounts); the swap itself stays whole
        return
