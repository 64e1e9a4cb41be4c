"""Files to named columns: CSV, NPZ, NetCDF, Parquet.

Every mistake in a file is a :class:`TableError`, one line with the offending value and the remedy, so that
the command line can print it as it is. This module imports neither jax nor numpyro: tables are checked before
they are loaded.

A name may carry its unit, ``name [unit]``, as in ``year [yr]``: the column is then called ``name``. NetCDF
files say it in the attribute ``units``. Lines of a CSV file that begin with ``#`` are comments.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".npz": "npz",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".parquet": "parquet",
}


class TableError(ValueError):
    """A table that cannot be used; the message is one line with the offending value and the remedy."""


@dataclass(frozen=True)
class Table:
    """Named columns of equal length.

    Attributes
    ----------
    columns
        Name to values, each (n,) float64 and finite.
    units
        Name to unit; only for the columns that state one.
    path
        The file as it was given.
    sha256
        Hex digest of the file's bytes, the same bytes the columns were read from.
    dropped
        Number of rows left out because a value was missing or infinite (``drop_missing``).
    """

    columns: dict[str, np.ndarray]
    units: dict[str, str]
    path: str
    sha256: str
    dropped: int = 0

    def __len__(self) -> int:
        """Return the number of rows n."""
        return len(next(iter(self.columns.values())))

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
    path: str | Path, *, columns: Sequence[str] | None = None, drop_missing: bool = False
) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path
        ``.csv`` (also ``.tsv``, ``.txt``; comma, semicolon or tab), ``.npz``, ``.nc``, ``.parquet`` (needs
        pyarrow).
    columns
        Names to keep, without units; default all. Only these are checked.
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
        known = ", ".join(FORMATS)
        raise TableError(f"{name} has the unknown format {Path(path).suffix!r}: give one of {known}")
    data = _read_bytes(path, name)
    raw, units = _READERS[kind](data, name)
    if columns is not None:
        raw = {wanted: raw[_known(wanted, raw, name)] for wanted in columns}
    if not raw:
        raise TableError(f"{name} has no columns: give at least one input and one target")
    values = {column: _numeric(column, cells, name) for column, cells in raw.items()}
    values, dropped = _finite_rows(values, name, drop_missing)
    rows = len(next(iter(values.values())))
    if rows < 2:
        raise TableError(f"{name} has {rows} usable row{'s' * (rows != 1)}: at least two are needed")
    units = {column: unit for column, unit in units.items() if column in values}
    return Table(values, units, str(path), hashlib.sha256(data).hexdigest(), dropped)


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
        _known(column, table.columns, name)
    both = sorted(set(inputs) & set(targets))
    if both:
        raise TableError(f"column {both[0]!r} of {name} is both input and target: choose one")
    if not inputs or not targets:
        missing, columns = ("input" if not inputs else "target"), ", ".join(map(repr, table.columns))
        raise TableError(f"{name} leaves no {missing} column (columns: {columns}): give at least two columns")
    for column in targets:
        values = table.columns[column]
        if np.ptp(values) == 0:
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
    if not data:
        raise TableError(f"{name} is empty: it must hold named columns and at least two rows")
    return data


def _read_csv(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    import pandas as pd

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    # only whole lines are comments: '#' may be part of a name or a unit
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise TableError(f"{name} is empty: it must hold named columns and at least two rows")
    separator = max(",;\t", key=lines[0].count)
    try:
        cells = list(csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise TableError(f"{name} is not readable as CSV: {str(error).lower()}") from None
    header, rows = cells[0], cells[1:]
    if all(_is_number(cell) for cell in header):
        raise TableError(
            f"{name} has no header, its first line is {lines[0][:60]!r}: add a line of column names"
        )
    if not rows:
        raise TableError(f"{name} has a header but no rows: at least two are needed")
    wide = next((row for row in rows if len(row) > len(header)), None)
    if wide is not None:
        raise TableError(
            f"{name} has a row of {len(wide)} values for {len(header)} columns: {','.join(wide)[:60]!r}"
        )
    padded = [row + [""] * (len(header) - len(row)) for row in rows]
    names, units = _names_and_units(header, name)
    missing = {"", "nan", "na", "n/a", "null", "none"}
    columns = {}
    for column, values in zip(names, zip(*padded, strict=True), strict=True):
        series = pd.Series(
            [None if value.strip().lower() in missing else value.strip() for value in values], dtype=object
        )
        columns[column] = series
    return columns, units


def _read_npz(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile):
        raise TableError(
            f"{name} is not a readable NPZ file of plain arrays: write it with numpy.savez"
        ) from None
    names, units = _names_and_units(list(arrays), name)
    columns: dict[str, Any] = {}
    for column, array in zip(names, arrays.values(), strict=True):
        if array.ndim not in (1, 2):
            raise TableError(f"array {column!r} of {name} has shape {array.shape}: give (n,) or (n, k)")
        if array.ndim == 1:
            columns[column] = array
        else:
            columns |= {f"{column}_{k}": array[:, k] for k in range(array.shape[1])}
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise TableError(f"arrays of {name} have different lengths {lengths}: all must have the same")
    return columns, units


def _read_netcdf(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    import xarray as xr

    engine = "scipy" if data.startswith(b"CDF") else "h5netcdf"  # classic NetCDF-3 or NetCDF-4
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # times stay numbers: "days since 1950-01-01" is the unit
            with xr.open_dataset(io.BytesIO(data), engine=engine, decode_times=False) as opened:
                dataset = opened.load()
    except Exception as error:  # readers raise anything on a damaged file
        raise TableError(
            f"{name} is not a readable NetCDF file ({type(error).__name__}): write it with xarray"
        ) from None
    scalars = [key for key, variable in dataset.variables.items() if variable.ndim == 0]
    dataset = dataset.drop_vars(scalars)
    dims = {tuple(sorted(map(str, variable.dims))) for variable in dataset.data_vars.values()}
    if len(dims) > 1:
        raise TableError(
            f"variables of {name} have different dimensions {sorted(dims)}: all must have the same"
        )
    frame = dataset.to_dataframe().reset_index()
    # a dimension without coordinate values is a mere row number
    frame = frame.drop(columns=[dim for dim in dataset.dims if dim not in dataset.coords and dim in frame])
    units = {
        str(key): str(variable.attrs["units"])
        for key, variable in dataset.variables.items()
        if "units" in variable.attrs
    }
    names, bracketed = _names_and_units([str(column) for column in frame.columns], name)
    columns = {column: frame.iloc[:, k] for k, column in enumerate(names)}
    return columns, bracketed | {_split_unit(key)[0]: unit for key, unit in units.items()}


def _read_parquet(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except ImportError:
        raise TableError(
            f"reading {name} needs pyarrow: pip install 'brg-prob[parquet]', or give CSV"
        ) from None
    except Exception as error:  # readers raise anything on a damaged file
        raise TableError(
            f"{name} is not a readable Parquet file ({type(error).__name__}): write it with pandas"
        ) from None
    names, units = _names_and_units([str(column) for column in frame.columns], name)
    return {column: frame.iloc[:, k] for k, column in enumerate(names)}, units


_READERS = {"csv": _read_csv, "npz": _read_npz, "netcdf": _read_netcdf, "parquet": _read_parquet}


def _split_unit(header: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"\s*(.*?)\s*\[([^\[\]]*)\]\s*", header)
    return (match[1], match[2].strip()) if match and match[1] else (header.strip(), None)


def _names_and_units(headers: Sequence[str], name: str) -> tuple[list[str], dict[str, str]]:
    split = [_split_unit(header) for header in headers]
    names = [column for column, _ in split]
    if "" in names:
        raise TableError(f"column {names.index('') + 1} of {name} has no name: name it in the header")
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise TableError(f"{name} has two columns named {twice!r}: rename one")
    return names, {column: unit for column, unit in split if unit}


def _known(column: str, columns: dict[str, Any], name: str) -> str:
    if column in columns:
        return column
    close = difflib.get_close_matches(column, list(columns), n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(map(repr, columns))}"
    raise TableError(f"{name} has no column {column!r}: {remedy}")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


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
        f"column {column!r} of {name} is not numeric (first such value {first!r}): leave it out or convert it"
    )


def _finite_rows(values: dict[str, np.ndarray], name: str, drop: bool) -> tuple[dict[str, np.ndarray], int]:
    finite = np.logical_and.reduce([np.isfinite(column) for column in values.values()])
    bad = int(np.sum(~finite))
    if bad and not drop:
        where = next(column for column, cells in values.items() if not np.isfinite(cells).all())
        raise TableError(
            f"{name} has {bad} of {len(finite)} rows with missing or infinite values (first in {where!r}): "
            "pass --drop-missing to leave them out"
        )
    return {column: cells[finite] for column, cells in values.items()}, bad


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
