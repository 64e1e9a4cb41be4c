"""Tables, and the regression problem taken from one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brg_prob.tables.calendar import Calendar
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


@dataclass(frozen=True)
class Regression:
    """Inputs and targets taken from a table: x (n, d), y (n,) or (n, o), and their names."""

    x: np.ndarray
    y: np.ndarray
    inputs: tuple[str, ...]
    targets: tuple[str, ...]


def read_table(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    others: bool = False,
    drop_missing: bool = False,
) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path
        ``.csv`` (also ``.tsv``, ``.txt``; comma, semicolon or tab), ``.npz``, ``.nc``, ``.parquet`` (needs
        pyarrow).
    columns
        Names to keep, without units; default all. Only these are checked.
    others
        Keep beside ``columns`` also those that hold finite numbers throughout.
    drop_missing
        Leave rows with NaN or infinite values out instead of refusing them.

    Returns
    -------
    Table
        At least one column and two rows, all values finite float64.

    Raises
    ------
    TableError
        Missing or unreadable file, unknown format, empty file, header only, unknown, duplicate or non-numeric
        column, NaN or infinite rows, fewer than two rows.
    """
    name = repr(str(path))
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        listed = ", ".join(FORMATS)
        raise TableError(f"{name} has the unknown format {Path(path).suffix!r}: give one of {listed}")
    data = _read_bytes(path, name)
    raw, units = read_columns(data, kind, name)
    wanted = list(raw) if columns is None else [known(column, raw, name) for column in columns]
    if not wanted:
        raise TableError(f"{name} has no columns: give at least one input and one target")
    values = {column: _numeric(column, raw[column], name) for column in wanted}
    values, kept = _finite_rows(values, name, drop_missing)
    rows, dropped = int(kept.sum()), int((~kept).sum())
    if rows < 2:
        raise TableError(f"{name} has {rows} usable row{'s' * (rows != 1)}: at least two are needed")
    if others:
        values |= _numbers_throughout({key: raw[key] for key in raw if key not in values}, kept)
    units = {column: unit for column, unit in units.items() if column in values}
    left = tuple(column for column in raw if column not in values)
    return Table(values, units, str(path), hashlib.sha256(data).hexdigest(), dropped, left)


def regression(
    table: Table, *, inputs: Sequence[str] | None = None, targets: Sequence[str] | None = None
) -> Regression:
    """Split a table into inputs and targets and check that a regression on them makes sense.

    Parameters
    ----------
    table
        From :func:`read_table`.
    inputs
        Names of the input columns; default all that are not targets, in the order of the file.
    targets
        Names of the target columns; default the column ``y`` if there is one, else the last column that is no
        input.

    Returns
    -------
    Regression
        x (n, d), y (n,) for one target and (n, o) for several.

    Raises
    ------
    TableError
        Unknown column, a column both input and target, no input left, a constant target, rows with equal
        inputs.
    """
    name = repr(table.path)
    rest = [column for column in table.columns if column not in (inputs or ())]
    if targets is None:
        targets = ["y"] if "y" in rest else rest[-1:]
    if inputs is None:
        inputs = [column for column in table.columns if column not in targets]
    for column in (*inputs, *targets):
        known(column, table.columns, name)
        if [*inputs, *targets].count(column) > 1 and not {*inputs} & {*targets}:
            raise TableError(f"column {column!r} of {name} is given twice: name it once")
    both = sorted(set(inputs) & set(targets))
    if both:
        raise TableError(f"column {both[0]!r} of {name} is both input and target: choose one")
    if not inputs or not targets:
        missing, columns = ("input" if not inputs else "target"), ", ".join(map(repr, table.columns))
        raise TableError(f"{name} leaves no {missing} column (columns: {columns}): give at least two columns")
    for column in targets:
        values = table.columns[column]
        if values.min() == values.max():
            raise TableError(
                f"target {column!r} of {name} is constant ({values[0]:g}): there is nothing to learn"
            )
    x = np.column_stack([table.columns[column] for column in inputs])
    _refuse_duplicates(x, inputs, name)
    y = np.column_stack([table.columns[column] for column in targets])
    return Regression(x, y[:, 0] if len(targets) == 1 else y, tuple(inputs), tuple(targets))


def _read_bytes(path: str | Path, name: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise TableError(f"no such file: {name}") from None
    except OSError as error:
        raise TableError(f"cannot read {name}: {(error.strerror or 'unknown error').lower()}") from None
    return data


def _numeric(column: str, cells: Any, name: str) -> np.ndarray:
    """Return the cells as (n,) float64, missing ones as NaN; text, dates and complex numbers are refused."""
    import pandas as pd

    series = pd.Series(cells)
    is_plain = (
        series.dtype == object
        or pd.api.types.is_string_dtype(series)
        or pd.api.types.is_numeric_dtype(series)
    )
    if is_plain and not pd.api.types.is_complex_dtype(series):
        numbers = pd.to_numeric(series, errors="coerce")
        bad = series.notna() & numbers.isna()
        if not bad.any():
            return numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        series = series[bad]
    first = str(series.iloc[0])[:40] if len(series) else str(series.dtype)
    raise TableError(
        f"column {column!r} of {name} is not numeric (first such value {first!r}): convert it, or name the "
        "others in --inputs and --target"
    )


def _numbers_throughout(raw: dict[str, Any], kept: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns that hold finite numbers in all the rows kept, in these rows."""
    found = {}
    for column, cells in raw.items():
        with contextlib.suppress(TableError):
            values = _numeric(column, cells, "")[kept]
            if np.isfinite(values).all():
                found[column] = values
    return found


def _finite_rows(
    values: dict[str, np.ndarray], name: str, drop: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns without the rows where one is not finite, and which rows are kept, (n,) bool."""
    finite = np.logical_and.reduce([np.isfinite(column) for column in values.values()])
    bad = int(np.sum(~finite))
    if bad and not drop:
        where = next(column for column, cells in values.items() if not np.isfinite(cells).all())
        raise TableError(
            f"{name} has {bad} of {len(finite)} rows with missing or infinite values (first in {where!r}): "
            "pass --drop-missing to leave them out"
        )
    return {column: cells[finite] for column, cells in values.items()}, finite


def _refuse_duplicates(x: np.ndarray, inputs: Sequence[str], name: str) -> None:
    order = np.lexsort(x.T)
    equal = np.all(x[order[1:]] == x[order[:-1]], axis=1)
    if equal.any():
        row = int(order[int(np.argmax(equal))])
        at = ", ".join(f"{column} = {value:g}" for column, value in zip(inputs, x[row], strict=True))
        count = int(equal.sum())
        raise TableError(
            f"{name} has {count} rows with the inputs of another (first at {at}): average or remove them"
        )
