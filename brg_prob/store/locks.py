"""Where a run folder and its state lie, and the lock that only one writer holds.

While ``NAME`` is written, ``.NAME.stages`` beside it holds all that is not finished: the lock, the finished
stages (:mod:`brg_prob.store.stages`) and the run that is on its way (:mod:`brg_prob.store.swap`). The lock
is a file and dies with the process that holds it. Nothing here is opened through a link, and nothing is
removed but what has a name that only this program gives.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_LOCK = "lock"
_ATTEMPTS = 1000
_HELD: set[Path] = set()
_FLAGS: int = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class StoreError(ValueError):
    """A folder that is not a readable run, or cannot become one; the message is one line with the remedy."""


class InUseError(StoreError):
    """Another process holds the lock of a run folder."""


def real_path(folder: str | Path) -> Path:
    """Return where a run lies, links followed: a link cannot be swapped, and a run has one lock."""
    return Path(os.path.realpath(folder))


def state_of(folder: Path) -> Path:
    """Return the hidden sibling of a run folder that holds all that is not finished.

    Raises
    ------
    StoreError
        Something else has its name: a link, which would lead elsewhere, or a file.
    """
    folder = real_path(folder)
    state = folder.with_name(f".{folder.name}.stages")
    _check(state, stat.S_ISDIR)
    _check(state / _LOCK, stat.S_ISREG)
    return state


def _check(path: Path, is_kind: Callable[[int], bool]) -> None:
    """Raise StoreError for something of another kind; nothing may be there, another process tidies up."""
    with contextlib.suppress(OSError):
        if not is_kind(os.lstat(path).st_mode):
            raise foreign(path)


def foreign(path: Path) -> StoreError:
    """Return the error for something that has the name of a file of ours and is none."""
    return StoreError(
        f"{str(path)!r} was not made by brg-prob and is left alone; move it away or choose another --out"
    )


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[Path]:
    """Hold the lock of a run folder and yield the folder of its state; the lock dies with the process.

    May be entered again by the process that holds it. What it had to create and is empty at
    the end is removed.

    Raises
    ------
    StoreError
        Another process holds it, the disk refuses, or something that we did not make has its name.
    """
    state = state_of(folder)
    if state in _HELD:
        yield state
        return
    made = [parent for parent in state.parents if not parent.exists()]
    try:
        handle = _locked(state)
    except OSError as error:
        _remove_empty(state, *made)
        raise refused(folder, error) from error
    _HELD.add(state)
    try:
        yield state
    finally:
        _HELD.discard(state)
        try:
            _tidy(state, made)
        finally:
            os.close(handle)


def refused(folder: Path, error: OSError) -> StoreError:
    """Return the error for a run folder that the system does not let us write."""
    reason = error.strerror or str(error)
    return StoreError(
        f"cannot write the run to {str(folder)!r}: {reason}; free space or choose another --out"
    )


def _tidy(state: Path, made: Sequence[Path]) -> None:
    """Remove the lock, and the folders made for it where nothing else is left in them."""
    with contextlib.suppress(OSError):
        os.unlink(state / _LOCK)
    _remove_empty(state, *made)


def _remove_empty(*folders: Path) -> None:
    """Remove the folders that exist and are empty, in this order."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _locked(state: Path) -> int:
    """Return an open lock file, or raise StoreError if another process holds it."""
    path = state / _LOCK
    attempts = 0
    while True:
        attempts += 1
        try:
            state.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, _FLAGS, 0o644)
        except (FileNotFoundError, FileExistsError):
            _check(state, stat.S_ISDIR)
            if attempts == _ATTEMPTS:  # a file system that takes no folders, such as /proc, says the same
                raise
            continue  # another process has just finished and tidied up
        try:
            owner = _owner(handle, path)
            _lock(handle, state, owner)
            if _is_at(handle, path):
                with contextlib.suppress(OSError):  # a full disk: the number only says who holds the lock
                    os.ftruncate(handle, 0)
                    os.lseek(handle, 0, os.SEEK_SET)
                    os.write(handle, str(os.getpid()).encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file still has its name: another process may have tidied up meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _owner(handle: int, path: Path) -> str:
    """Return the process that a lock file names; raise StoreError for a file with anything else in it.

    The number of a process is written over it. Another name of the same file, a hard link, may be the user's.
    """
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise foreign(path)
    content = os.read(handle, 32)
    if content and not content.isdigit():
        raise foreign(path)
    return content.decode()


def _lock(handle: int, state: Path, owner: str) -> None:
    """Take the lock without waiting."""
    try:
        import fcntl
    except ImportError:  # no such locks on this platform: one writer at a time is the user's care
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        name = state.name.removeprefix(".").removesuffix(".stages")
        raise InUseError(
            f"{str(state.parent / name)!r} is being written by another brg-prob (process {owner or '?'}); "
            "wait for it or choose another --out"
        ) from None
    except OSError:  # a file system without locks (some network mounts); the swap itself stays whole
        return
