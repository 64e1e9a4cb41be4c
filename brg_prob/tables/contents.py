"""What a reader finds in a file: columns as they stand there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brg_prob.tables.cells import Marks
from brg_prob.tables.names import TableError


@dataclass(frozen=True)
class Contents:
    """Columns as a file has them.

    Attributes
    ----------
    columns
        Name to cells (n,) of any type; text as :class:`brg_prob.tables.cells.Text`.
    units
        Name to unit.
    notes
        What is said of the file as a whole.
    marks
        What a text file says of the numbers in all its columns.
    """

    columns: dict[str, Any]
    units: dict[str, str]
    notes: tuple[str, ...] = ()
    marks: Marks = Marks()


def refuse_empty(file: str) -> TableError:
    """Return the error that a file without rows is."""
    return TableError(f"{file} is empty: it must hold named columns and at least two rows")
