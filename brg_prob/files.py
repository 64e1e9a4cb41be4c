"""Files made without following links or replacing what is not ours; content that carries its own digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

PAGE_SEAL = b'<meta name="generator" content="brg_prob sha256:'
"""What stands before the digest of a page, in the first lines of every page of ours."""
UNSEALED = "0" * 64
"""What stands for the digest until the content is sealed."""

_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)  # Windows has none; O_EXCL alone follows nothing either
_BINARY: int = getattr(os, "O_BINARY", 0)
_ASIDE = re.compile(r"\.brg-prob-[0-9a-f]{16}\.writing")


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet and flush it to disk; a half-written one is removed.

    Raises
    ------
    OSError
        Something has that name, a link to nothing included, or the disk refuses.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY, 0o666)
    try:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def put(path: Path, content: bytes, *, over: bool = False) -> None:
    """Give content a name, whole or not at all: it is written aside and renamed.

    Parameters
    ----------
    path
        The name. A link there is replaced itself, never written through.
    content
        The bytes.
    over
        Whether what has that name is replaced.

    Raises
    ------
    OSError
        Something has that name (unless ``over``), or the disk refuses.
    """
    aside = path.with_name(f".brg-prob-{secrets.token_hex(8)}.writing")
    try:
        write_new(aside, content)
        if over:
            os.replace(aside, path)
        else:
            _place(aside, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(aside)


def _place(aside: Path, path: Path) -> None:
    """Rename a file unless something has the new name, even if it has appeared a moment ago."""
    try:
        os.link(aside, path)  # unlike a rename, this never replaces anything
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.rename(aside, path)


def is_aside(path: Path) -> bool:
    """Return whether a file was written aside by :func:`put`, in a process that was killed then."""
    return _ASIDE.fullmatch(path.name) is not None and is_plain(path)


def is_plain(path: Path) -> bool:
    """Return whether a path is a file, and no link to one."""
    return _has_mode(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder, and no link to one."""
    return _has_mode(path, stat.S_ISDIR)


def _has_mode(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Return whether what has a name is of a kind, links not followed."""
    try:
        return is_kind(os.lstat(path).st_mode)
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits, in little memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def page_bytes(text: str) -> bytes:
    """Return the bytes of a page; half a surrogate pair becomes a reference."""
    return text.encode("utf-8", errors="xmlcharrefreplace")


def sealed(content: bytes, before: bytes) -> bytes:
    """Return content with its own SHA-256 in it, so that a change shows.

    Parameters
    ----------
    content
        Has :data:`UNSEALED` where the digest shall stand; that is the content whose SHA-256 is taken.
    before
        The bytes in front of the digest; their first occurrence counts.

    Examples
    --------
    >>> page = sealed(b"digest: " + UNSEALED.encode() + b" text", b"digest: ")
    >>> is_sealed(page, b"digest: "), is_sealed(page + b"!", b"digest: ")
    (True, False)
    """
    digest = hashlib.sha256(content).hexdigest().encode()
    return content.replace(before + UNSEALED.encode(), before + digest, 1)


def is_sealed(content: bytes, before: bytes) -> bool:
    """Return whether content is as :func:`sealed` left it."""
    head, found, rest = content.partition(before)
    stated, tail = rest[: len(UNSEALED)], rest[len(UNSEALED) :]
    expected = hashlib.sha256(head + before + UNSEALED.encode() + tail).hexdigest()
    return bool(found) and stated == expected.encode()
