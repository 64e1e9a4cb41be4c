"""Columns as a model may use them: of a table that was read, a mapping or a data frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brg_prob.options import UsageError

_MANY = 12


@dataclass(frozen=True, eq=False)
class Columns:
    """Named columns of one length.

    Attributes
    ----------
    values
        Name → (n,), float64 with NaN where missing, or int64 (whole numbers, booleans, codes of categories).
    kinds
        Name → ``"number"``, ``"boolean"``, ``"category"`` or ``"time"``; ``"unreadable"`` of names alone.
    levels
        Name of a column of categories or booleans → its labels; the position is the code.
    source
        How messages call the table.
    notes
        What was done when it was read.
    passed_over
        Columns of the file that were not asked for, or cannot be used.
    unusable
        Name of a column that cannot be used → why, and the remedy: said if it is asked for.
    """

    values: dict[str, NDArray[Any]]
    kinds: dict[str, str]
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "the table"
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    unusable: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows n."""
        return len(next(iter(self.values.values()), ()))

    @property
    def listed(self) -> str:
        """Return the names for a message, the first of many."""
        names = [repr(name) for name in self.values]
        return ", ".join(names[:_MANY]) + (f", … ({len(names)} in all)" if len(names) > _MANY else "")

    def with_all_names(self) -> Columns:
        """Return also the columns passed over, as gaps: names are bound to them, too."""
        gaps = {name: np.full(len(self), np.nan) for name in self.passed_over}
        return replace(self, values=self.values | gaps, kinds=self.kinds | dict.fromkeys(gaps, "unreadable"))


def columns_of(table: Any) -> Columns:
    """Return the columns of a table.

    Parameters
    ----------
    table
        What :func:`brg_prob.tables.read_table` returns; a mapping of names to 1-D arrays; or a data frame.
        Whole numbers stay whole, booleans become 0 and 1, text and categories the codes of their levels
        (in the order of the categories, text alphabetically).

    Raises
    ------
    UsageError
        One line: no table, no column, no row, two columns of one name, a column of another length, of more
        than one dimension or of what is no number.

    Examples
    --------
    >>> found = columns_of({"t": [0.5, 1.5], "station": ["B", "A"], "wet": [True, False]})
    >>> found.values["station"].tolist(), found.levels["station"], found.kinds["wet"]
    ([1, 0], ('A', 'B'), 'boolean')
    """
    if hasattr(table, "kinds") and hasattr(table, "columns"):  # read by brg_prob.tables, a floor above
        return Columns(
            dict(table.columns),
            {name: table.kinds.get(name, "number") for name in table.columns},
            dict(table.levels),
            repr(table.path),
            (*table.notes, *_left_out(table)),
            tuple(table.passed_over),
        )
    if not isinstance(table, Mapping) and not (hasattr(table, "items") and hasattr(table, "columns")):
        raise UsageError(
            f"a {type(table).__name__} is no table; give a mapping of names to columns, or a data frame"
        )
    found, unusable = {}, {}
    for key, column in table.items():
        name = str(key)
        if name in found or name in unusable:
            raise UsageError(f"the table has two columns {name!r}; rename one")
        try:
            found[name] = _column(name, column)
        except _UnusableError as reason:
            unusable[name] = str(reason)
    if not found:
        if unusable:
            raise UsageError(next(iter(unusable.values())))
        raise UsageError("the table has no column; give one for each input and the target")
    lengths = {name: len(values) for name, (values, _, _) in found.items()}
    first, length = next(iter(lengths.items()))
    if length == 0:
        raise UsageError("the table has no row; give at least two")
    for name, other in lengths.items():
        if other != length:
            raise UsageError(
                f"column {name!r} has {other} rows but {first!r} has {length}; give equal lengths"
            )
    return Columns(
        {name: values for name, (values, _, _) in found.items()},
        {name: kind for name, (_, kind, _) in found.items()},
        {name: levels for name, (_, _, levels) in found.items() if levels},
        notes=(
            *(_coded(name, levels) for name, (_, kind, levels) in found.items() if kind == "category"),
            *(f"left out: {reason}" for reason in unusable.values()),
        ),
        passed_over=tuple(unusable),
        unusable=unusable,
    )


class _UnusableError(UsageError):
    """A column that is refused only if it is asked for."""


def _left_out(table: Any) -> list[str]:
    """Return that rows were left out when a table was read: what follows a gap follows what was before."""
    count = int(getattr(table, "dropped", 0))
    rows = "1 row with missing values was" if count == 1 else f"{count} rows with missing values were"
    return [f"{rows} left out when the table was read; of a series, the gaps are closed"] if count else []


def _coded(name: str, levels: tuple[str, ...]) -> str:
    """Return what was made of a column of text or categories."""
    listed = ", ".join(f"{text} = {code}" for code, text in enumerate(levels[:_MANY]))
    return f"{name}: {len(levels)} levels ({listed}{', …' if len(levels) > _MANY else ''})"


def _column(name: str, column: Any) -> tuple[NDArray[Any], str, tuple[str, ...]]:
    """Return values, kind and levels of one column."""
    dtype = getattr(column, "dtype", None)
    categories = getattr(dtype, "categories", None)
    if categories is not None and hasattr(dtype, "ordered"):  # a categorical of pandas knows its own order
        codes = getattr(column, "cat", column).codes
        return _with_gaps(np.asarray(codes)), "category", tuple(str(level) for level in categories)
    if np.ma.isMaskedArray(column):
        column = np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    array = np.asarray(column)
    if array.ndim != 1:
        raise UsageError(f"column {name!r} has shape {array.shape}; a column is 1-D")
    if array.dtype.kind == "b":
        return array.astype(np.int64), "boolean", ("False", "True")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise UsageError(f"column {name!r} holds {array.max()}, too large a whole number; give floats")
    if array.dtype.kind in "iu":
        return array.astype(np.int64), "number", ()
    if array.dtype.kind == "f":
        return array.astype(np.float64), "number", ()
    if array.dtype.kind in "mM":
        raise _UnusableError(_times(name, str(array.dtype)))
    if array.dtype.kind in "OUT":
        return _objects(name, array)
    raise UsageError(f"column {name!r} holds {array.dtype}, not numbers; encode it or leave it out")


def _objects(name: str, array: NDArray[Any]) -> tuple[NDArray[Any], str, tuple[str, ...]]:
    """Return a column of Python objects: numbers with gaps, booleans with gaps, or text."""
    missing = np.array([cell is None or _is_nan(cell) for cell in array], dtype=bool)
    known = list(array[~missing])
    if known and all(isinstance(cell, bool | np.bool_) for cell in known):
        return _placed(np.array(known, dtype=np.int64), missing), "boolean", ("False", "True")
    if all(isinstance(cell, int | float | np.integer | np.floating) for cell in known):
        whole = all(isinstance(cell, int | np.integer) for cell in known)
        return _placed(np.array(known, dtype=np.int64 if whole else np.float64), missing), "number", ()
    if all(isinstance(cell, str) for cell in known):
        if known and all(_is_number(cell) for cell in known):
            raise UsageError(
                f"column {name!r} holds numbers as text, such as {str(known[0])!r}; use astype(float)"
            )
        levels, codes = np.unique(np.array(known, dtype=str), return_inverse=True)
        return _placed(codes.astype(np.int64), missing), "category", tuple(levels.tolist())
    if any(hasattr(cell, "isoformat") for cell in known):
        raise _UnusableError(_times(name, type(known[0]).__name__))
    odd = next(cell for cell in known if not isinstance(cell, str))
    raise UsageError(f"column {name!r} holds {str(odd)[:40]!r}, not numbers; encode it or leave it out")


def _times(name: str, kind: str) -> str:
    """Return the line on a column of times, of which there are many ways to make numbers."""
    return (
        f"column {name!r} holds times ({kind}); give numbers, such as days since the first, or read "
        "the file itself (from brg_prob.tables import read_table)"
    )


def _is_nan(cell: Any) -> bool:
    """Return whether a cell is a NaN, or pandas' NA."""
    return type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and math.isnan(cell))


def _is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _placed(known: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return known values in their rows; where some are missing as floats, with NaN."""
    if not missing.any():
        return known
    values = np.full(len(missing), np.nan)
    values[~missing] = known
    return values


def _with_gaps(codes: NDArray[Any]) -> NDArray[Any]:
    """Return codes of pandas, which writes -1 for a missing one."""
    return _placed(codes[codes >= 0].astype(np.int64), codes < 0)
