"""Values by content: what makes a finished stage the same as the one that is asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_SHOWS = {
    "cli/commands.py",
    "cli/dispatch.py",
    "cli/parser.py",
    "cli/terminal",
    "comparison",
    "figures",
    "notebook.py",
    "report",
}
"""Rooms and files that show numbers and make none."""


def content_digest(*parts: Any) -> str:
    """Return the SHA-256 of values by content, 64 hex digits.

    Parameters
    ----------
    parts
        None, booleans, numbers, text, bytes, arrays (type, shape and bytes), random keys, frozen
        dataclasses (class and fields), mappings and sequences of these. Anything else counts
        as equal to nothing, itself included, so that it is computed again.

    Examples
    --------
    >>> content_digest(1, {"a": [2.0]}) == content_digest(1, {"a": [2.0]})
    True
    >>> content_digest(1) == content_digest(1.0), content_digest(len) == content_digest(len)
    (False, False)
    """
    found = hashlib.sha256()
    for part in parts:
        _feed(found.update, part)
    return found.hexdigest()


def _feed(update: Callable[[bytes], None], part: Any) -> None:
    """Hand a value to a hash, with its type and length, so that no two values look alike."""
    kind = type(part).__name__
    if part is None or isinstance(part, bool | int | float | str):
        text = repr(part).encode()
        update(f"{kind} {len(text)} ".encode() + text)
    elif isinstance(part, bytes):
        update(f"bytes {len(part)} ".encode() + part)
    elif isinstance(part, Mapping):
        update(f"mapping {len(part)} ".encode())
        for name in sorted(part, key=str):
            _feed(update, str(name))
            _feed(update, part[name])
    elif isinstance(part, Sequence):
        update(f"sequence {len(part)} ".encode())
        for item in part:
            _feed(update, item)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        update(f"{type(part).__qualname__} ".encode())
        _feed(update, {field.name: getattr(part, field.name) for field in dataclasses.fields(part)})
    elif hasattr(part, "dtype"):
        _feed_array(update, part)
    else:
        update(uuid.uuid4().bytes)


def _feed_array(update: Callable[[bytes], None], part: Any) -> None:
    """Hand an array or a random key to a hash."""
    if str(part.dtype).startswith("key<"):
        part = _key_data(part)
    array = np.ascontiguousarray(part)
    if array.dtype == object:
        update(uuid.uuid4().bytes)
        return
    update(f"array {array.dtype.str} {array.shape} ".encode() + array.tobytes())


def _key_data(key: Any) -> np.ndarray:
    """Return the bits of a random key."""
    import jax

    return np.asarray(jax.random.key_data(key))


@cache
def code_digest() -> str:
    """Return the digest of this package's source, less what only shows: other code makes a stage again."""
    root = Path(__file__).parent
    files = {path.relative_to(root): path for path in root.rglob("*.py")}
    return content_digest(
        {
            name.as_posix(): path.read_bytes()
            for name, path in files.items()
            if not _SHOWS & {place.as_posix() for place in (name, *name.parents)}
        }
    )
