"""What a run keeps of itself to be done again, read off ``model.json``, which may have been edited."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brg_prob.options import UsageError
from brg_prob.store.locks import StoreError
from brg_prob.store.run_folder import read_model
from brg_prob.store.swap import MODEL


@dataclass(frozen=True)
class Recipe:
    """What repeats a run.

    Attributes
    ----------
    file, source
        Name and bytes of the network's file.
    words
        The command line.
    folder
        Where the network's file was.
    data
        Name, place, SHA-256 and, unless it is too large, content of the table; None for a teacher.
    modules
        The user's modules that the network's file imports, file → text.
    """

    file: str
    source: bytes
    words: tuple[str, ...]
    folder: str
    data: dict[str, Any] | None
    modules: dict[str, str]


def read_recipe(folder: Path) -> Recipe:
    """Return what repeats the run in a folder.

    Raises
    ------
    UsageError
        Not a run of the command line.
    StoreError
        No run there; or an entry is missing, has another type, or is not the text whose hash is stated.
    """
    model = read_model(folder)
    request = model.get("request")
    if request in (None, {}) or not model.get("source"):
        raise UsageError(
            f"{str(folder)!r} was not made by brg-prob run, so model.json cannot repeat it; run your script "
            "again"
        )
    try:
        kept = Recipe(
            Path(_text(model["file"])).name,
            _text(model["source"]).encode(),
            tuple(_text(word) for word in _entries(request["words"], list)),
            _text(request["folder"]),
            None if request.get("data") is None else _entries(request["data"], dict),
            {_text(name): _text(text) for name, text in _entries(request.get("modules") or {}, dict).items()},
        )
        if kept.data is not None:
            _text(kept.data["name"]), _text(kept.data["sha256"])
            _text(kept.data.get("content") or "")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    if not kept.file or hashlib.sha256(kept.source).hexdigest() != model.get("sha256"):
        if "\ufffd" in model["source"]:
            raise UsageError(
                f"{kept.file!r} was not UTF-8, so model.json could not keep it; save it as UTF-8"
            )
        raise _damaged(folder, "the network's file in it is not the one whose SHA-256 it states")
    return kept


def _text(value: Any) -> str:
    """Return a value that must be text a file system takes."""
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _entries[C: (list[Any], dict[str, Any])](value: Any, kind: type[C]) -> C:
    """Return a value that must be a list or an object."""
    if not isinstance(value, kind):
        raise TypeError(f"{str(value)[:40]!r} is no {kind.__name__}")
    return value


def _damaged(folder: Path, why: str) -> StoreError:
    """Return the error for a ``model.json`` that cannot be what brg-prob wrote."""
    return StoreError(f"{str(Path(folder) / MODEL)!r} is damaged ({why}); run again")


def restored_table(data: dict[str, Any], scratch: Path) -> Path:
    """Return a file with a run's table, the bytes of which are those that were learned.

    A table that is in ``model.json`` is written to ``scratch``; another is looked for where it was.

    Raises
    ------
    UsageError
        It is not there any more, or has changed.
    """
    name, sha256 = data["name"], data["sha256"]
    if data.get("content"):
        try:
            content = zlib.decompress(base64.b64decode(data["content"]))
        except (ValueError, zlib.error):
            content = b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise UsageError(f"the table {name!r} in model.json is damaged: not its SHA-256; run again")
        copy = scratch / (Path(name).name or "table")
        copy.write_bytes(content)
        return copy
    places = [place for place in (Path(name), Path(data.get("place") or name)) if place.is_file()]
    if not places:
        raise UsageError(f"the table {name!r} is not here and too large for model.json; bring it back")
    path = places[0]
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise UsageError(f"the table {name!r} is not this run's (sha256 {sha256[:12]}…); bring it back")
    return path
