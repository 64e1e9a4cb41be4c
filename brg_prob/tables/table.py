"""Tables of named columns, read from files as people have them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from brg_prob.tables.calendar import Calendar
from brg_prob.tables.cells import CellsError, Column, Text, read_column
from brg_prob.tables.contents import Contents
from brg_prob.tables.names import TableError, known
from brg_prob.tables.readers import FORMATS, read_columns


@dataclass(frozen=True)
class Table:
    """Named columns of equal length.

    Attributes
    ----------
    columns
        Name to values, each (n,): float64 for numbers, int64 for whole numbers written without a decimal
        point, for booleans (0, 1) and for the codes of categories (0 … L − 1); float64 with NaN where a cell
        is missing and may be.
    units
        Name to unit; only for the columns that state one, and for times.
    path
        The file as it was given.
    sha256
        Hex digest of the file's bytes, the same bytes the columns were read from.
    dropped
        Number of rows left out because a value was missing or infinite (``drop_missing``).
    passed_over
        Names of the file's columns that were not asked for and do not hold finite numbers throughout.
    kinds
        Name to ``"number"``, ``"boolean"``, ``"category"`` or ``"time"``.
    levels
        Name of a category or boolean to its labels as they were written; the position is the code.
    calendars
        Name of a time column to how its numbers count.
    notes
        One sentence for each thing that was recognised, converted or left out.
    missing
        Name to the number of missing cells in the file.
    """

    columns: dict[str, np.ndarray]
    units: dict[str, str]
    path: str
    sha256: str
    dropped: int = 0
    passed_over: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calendars: dict[str, Calendar] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows n."""
        return len(next(iter(self.columns.values())))

    def __repr__(self) -> str:
        """Return one line, no arrays."""
        return f"<Table {self.path!r}: {len(self)} rows of {', '.join(map(self.label, self.columns))}>"

    def label(self, name: str) -> str:
        """Return the column's name with its unit, for axes."""
        return f"{name} [{self.units[name]}]" if name in self.units else name


def read_table(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    others: bool = False,
    drop_missing: bool = False,
    may_miss: Sequence[str] | None = (),
) -> Table:
    """Read a table: numbers, and times, booleans and categories as numbers.

    Parameters
    ----------
    path
        ``.csv`` (also ``.tsv``, ``.txt``; comma, semicolon, tab or bar), ``.npz``, ``.nc``, ``.parquet``
        (needs pyarrow).
    columns
        Names to keep, without units; default all; ``()`` with ``others``: whatever can be read. Only these
        are checked.
    others
        Keep beside ``columns`` also those that can be read and hold finite values throughout.
    drop_missing
        Leave rows with NaN or infinite values out instead of refusing them.
    may_miss
        Names of columns whose cells may be missing: they keep their NaN, and their rows. None: any may be
        missing or infinite, which whoever uses them judges.

    Returns
    -------
    Table
        At least one column and two rows, all values finite but for NaN in ``may_miss``.

    Raises
    ------
    TableError
        Missing or unreadable file, unknown format, empty file, header only, unknown or duplicate column, one
        that cannot be read or in two ways, NaN or infinite rows, fewer than two rows.
    """
    name = repr(str(path))
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        listed = ", ".join(FORMATS)
        raise TableError(f"{name} has the unknown format {Path(path).suffix!r}: give one of {listed}")
    data = _read_bytes(path, name)
    contents = read_columns(data, kind, name)
    contents = _without_counter(contents, columns or ())
    raw = contents.columns
    wanted = list(raw) if columns is None else [known(column, raw, name) for column in columns]
    if not (wanted or others):
        raise TableError(f"{name} has no columns: give at least one input and one target")
    remedy = ", or name the others in --inputs and --target" if columns is None else ""
    read = {column: _readable(column, contents, name, remedy) for column in wanted}
    kept = _usable_rows(read, name, drop_missing, may_miss) if read else np.ones(_rows(contents), bool)
    rows, dropped = int(kept.sum()), int((~kept).sum())
    if rows < 2:
        raise TableError(f"{name} has {rows} usable row{'s' * (rows != 1)}: at least two are needed")
    notes: tuple[str, ...] = ()
    if others:
        more, notes = _usable_throughout(contents, read, kept, may_miss)
        read |= more
    return Table(
        columns={column: found.at(kept) for column, found in read.items()},
        units=_units(contents.units, read),
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        dropped=dropped,
        passed_over=tuple(column for column in raw if column not in read),
        kinds={column: found.kind for column, found in read.items()},
        levels={column: found.levels for column, found in read.items() if found.levels},
        calendars={column: found.calendar for column, found in read.items() if found.calendar},
        notes=(*contents.notes, *_sentences(read), *notes),
        missing={column: int(np.isnan(found.values).sum()) for column, found in read.items()},
    )


def _read_bytes(path: str | Path, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise TableError(f"no such file: {name}") from None
    except OSError as error:
        raise TableError(f"cannot read {name}: {(error.strerror or 'unknown error').lower()}") from None


def _without_counter(contents: Contents, asked: Sequence[str]) -> Contents:
    """Return contents without the counter of rows that pandas leaves in a file, unless it is asked for."""
    name = next(iter(contents.columns), None)
    if name != "Unnamed: 0" or name in asked or len(contents.columns) < 2:
        return contents
    try:
        if not read_column(contents.columns[name], contents.marks).counts_rows():
            return contents
    except CellsError:
        return contents
    rest = {column: cells for column, cells in contents.columns.items() if column != name}
    note = f"column 1 ({name}) counts the rows and is left out"
    return replace(contents, columns=rest, notes=(*contents.notes, note))


def _readable(column: str, contents: Contents, name: str, remedy: str) -> Column:
    """Return a column of a file, or raise TableError with what hinders and the remedy."""
    try:
        return read_column(contents.columns[column], contents.marks)
    except CellsError as error:
        raise TableError(f"column {column!r} of {name} {error}{remedy}") from None


def _rows(contents: Contents) -> int:
    """Return the number of rows of a file."""
    cells = next(iter(contents.columns.values()), ())
    return len(cells.codes if isinstance(cells, Text) else cells)


def _usable(column: str, found: Column, may_miss: Sequence[str] | None) -> np.ndarray:
    """Return which rows (n,) bool of a column are finite, or missing where that may be."""
    finite = np.isfinite(found.values)
    if may_miss is None:
        return np.ones_like(finite)
    return finite | np.isnan(found.values) if column in may_miss else finite


def _usable_rows(
    read: dict[str, Column], name: str, drop: bool, may_miss: Sequence[str] | None
) -> np.ndarray:
    """Return which rows are usable in all columns, (n,) bool."""
    usable = {column: _usable(column, found, may_miss) for column, found in read.items()}
    kept = np.logical_and.reduce(list(usable.values()))
    bad = int(np.sum(~kept))
    if bad and not drop:
        where = next(column for column, rows in usable.items() if not rows.all())
        raise TableError(
            f"{name} has {bad} of {len(kept)} rows with missing or infinite values (first in {where!r}): "
            "pass --drop-missing (drop_missing=True) to leave them out"
        )
    return kept


def _usable_throughout(
    contents: Contents, read: dict[str, Column], kept: np.ndarray, may_miss: Sequence[str] | None
) -> tuple[dict[str, Column], tuple[str, ...]]:
    """Return the other columns that are usable in all the rows kept, and why the rest is left out."""
    found, notes = {}, []
    for column in contents.columns:
        if column in read:
            continue
        try:
            other = read_column(contents.columns[column], contents.marks)
        except CellsError as error:
            notes.append(f"{column} is left out: it {error}")
            continue
        holes = int(np.sum(~_usable(column, other, may_miss)[kept]))
        if holes:
            notes.append(f"{column} is left out: it is missing or infinite in {holes} of {kept.sum()} rows")
        else:
            found[column] = other
    return found, tuple(notes)


def _units(stated: dict[str, str], read: dict[str, Column]) -> dict[str, str]:
    """Return the units of columns: those of the file, and what the numbers of times count."""
    times = {column: found.calendar.unit for column, found in read.items() if found.calendar}
    return {column: unit for column, unit in stated.items() if column in read} | times


def _sentences(read: dict[str, Column]) -> tuple[str, ...]:
    """Return what was said of columns, once for all columns it was said of."""
    said: dict[str, list[str]] = {}
    for column, found in read.items():
        for sentence in found.said:
            said.setdefault(sentence, []).append(column)
    return tuple(f"{', '.join(columns)}: {sentence}" for sentence, columns in said.items())
