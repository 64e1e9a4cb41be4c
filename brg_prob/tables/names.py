"""Names of columns, with the units they carry."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class TableError(ValueError):
    """A table that cannot be used; the message is one line with the offending value and the remedy."""


def names_and_units(headers: Sequence[str], file: str) -> tuple[list[str], dict[str, str]]:
    """Return the names in headers such as ``year [yr]``, and the units of those that have one.

    Raises
    ------
    TableError
        A header without a name, two with the same, or control characters in one.
    """
    split = [split_unit(header) for header in headers]
    for header in headers:
        # neither netCDF nor SVG can hold them, and a terminal obeys them
        if has_controls(header.strip()):
            raise TableError(f"column {header!r} of {file} has control characters in its name: rename it")
    names = [column for column, _ in split]
    if "" in names:
        raise TableError(f"column {names.index('') + 1} of {file} has no name: name it in the header")
    refuse_twice(names, file)
    return names, {column: unit for column, unit in split if unit}


def has_controls(text: str) -> bool:
    """Return whether control characters or lone surrogates are in a text."""
    return not text.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def refuse_twice(names: Sequence[str], file: str) -> None:
    """Raise TableError if two columns have the same name."""
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise TableError(f"{file} has two columns named {twice!r}: rename one")


def split_unit(header: str) -> tuple[str, str | None]:
    """Return name and unit of ``name [unit]``; without brackets the whole is the name."""
    match = re.fullmatch(r"\s*(.*?)\s*\[([^\[\]]*)\]\s*", header)
    return (match[1], match[2].strip()) if match and match[1] else (header.strip(), None)


def plain_units(units: Mapping[Any, Any]) -> dict[str, str]:
    """Return units from a file's metadata as text: decoded, on one line, without control characters."""
    found = {}
    for name, unit in units.items():
        text = unit.decode("utf-8", errors="replace") if isinstance(unit, bytes) else str(unit)
        kept = "".join(" " if has_controls(letter) else letter for letter in text)
        if kept.strip():
            found[str(name)] = " ".join(kept.split())
    return found


def known(column: str, columns: Iterable[str], file: str) -> str:
    """Return the name of a column that a file has, or raise TableError with the nearest."""
    columns = list(columns)
    if column in columns:
        return column
    close = difflib.get_close_matches(column, columns, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(map(repr, columns))}"
    raise TableError(f"{file} has no column {column!r}: {remedy}")
