"""One reader per format: bytes of a file to columns as they stand there, and their units."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from brg_prob.tables.names import TableError, names_and_units, plain_units, refuse_twice, split_unit

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".npz": "npz",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".parquet": "parquet",
}
"""Ending of a file → its reader."""

Columns = tuple[dict[str, Any], dict[str, str]]

_EMPTY = "is empty: it must hold named columns and at least two rows"
_MISSING = {"", "nan", "na", "n/a", "null", "none"}


def read_columns(data: bytes, kind: str, file: str) -> Columns:
    """Return name → values (n,) of any type, and name → unit.

    Raises
    ------
    TableError
        An empty or damaged file, or one that is no table.
    """
    if not data:
        raise TableError(f"{file} {_EMPTY}")
    return _READERS[kind](data, file)


def _read_csv(data: bytes, file: str) -> Columns:
    import pandas as pd

    lines = _csv_lines(data, file)
    # separators inside quotes belong to a name
    separator = max(",;\t", key=re.sub(r'"[^"]*"', "", lines[0]).count)
    try:
        cells = list(csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise TableError(f"{file} is not readable as CSV: {str(error).lower()}") from None
    header, rows = cells[0], cells[1:]
    if all(_is_number(cell) for cell in header):
        raise TableError(
            f"{file} has no header, its first line is {lines[0].strip()[:60]!r}: add a line of column names"
        )
    if not rows:
        raise TableError(f"{file} has a header but no rows: at least two are needed")
    wide = next((row for row in rows if len(row) > len(header)), None)
    if wide is not None:
        raise TableError(
            f"{file} has a row of {len(wide)} values for {len(header)} columns: {','.join(wide)[:60]!r}"
        )
    padded = [row + [""] * (len(header) - len(row)) for row in rows]
    names, units = names_and_units(header, file)
    columns = {}
    for column, values in zip(names, zip(*padded, strict=True), strict=True):
        stripped = [value.strip() for value in values]
        kept = [None if value.lower() in _MISSING else value for value in stripped]
        columns[column] = pd.Series(kept, dtype=object)
    return columns, units


def _csv_lines(data: bytes, file: str) -> list[str]:
    """Return the lines of a CSV file that are neither blank nor comments, with their ends.

    Lines end where CSV says so; str.splitlines would also end them at form feeds and the like, inside a name.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    # only whole lines are comments: '#' may be part of a name or a unit
    every: Iterator[str] = iter(io.StringIO(text, newline=""))
    lines = [line for line in every if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise TableError(f"{file} {_EMPTY}")
    return lines


def _read_npz(data: bytes, file: str) -> Columns:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception:  # readers raise anything on a damaged file
        raise TableError(
            f"{file} is not a readable NPZ file of plain arrays: write it with numpy.savez"
        ) from None
    names, units = names_and_units(list(arrays), file)
    columns: dict[str, Any] = {}
    every: list[str] = []
    spread: dict[str, str] = {}
    for column, array in zip(names, arrays.values(), strict=True):
        if array.ndim not in (1, 2) or array.dtype.fields is not None:
            found = f"shape {array.shape} of type {array.dtype}"
            raise TableError(f"array {column!r} of {file} has {found}: give numbers, (n,) or (n, k)")
        parts = {column: array}
        if array.ndim == 2:  # its unit is that of all its columns
            parts = {f"{column}_{k}": array[:, k] for k in range(array.shape[1])}
        columns |= parts
        every += parts
        spread |= {part: units[column] for part in parts if column in units}
    refuse_twice(every, file)
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise TableError(f"arrays of {file} have different lengths {lengths}: all must have the same")
    return columns, spread


def _read_netcdf(data: bytes, file: str) -> Columns:
    import h5py
    import xarray as xr

    engine = "scipy" if data.startswith(b"CDF") else "h5netcdf"  # classic NetCDF-3 or NetCDF-4
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if engine == "h5netcdf":  # it complains on stderr of what h5py cannot open
                h5py.File(io.BytesIO(data), "r").close()
            # times stay numbers: "days since 1950-01-01" is the unit
            with xr.open_dataset(io.BytesIO(data), engine=engine, decode_times=False) as opened:
                dataset = opened.load()
    except Exception as error:  # readers raise anything on a damaged file
        raise TableError(
            f"{file} is not a readable NetCDF file ({type(error).__name__}): write it with xarray"
        ) from None
    scalars = [key for key, variable in dataset.variables.items() if variable.ndim == 0]
    dataset = dataset.drop_vars(scalars)
    dims = {tuple(sorted(map(str, variable.dims))) for variable in dataset.data_vars.values()}
    if not dims:
        raise TableError(f"{file} has no variables at its root: give at least one input and one target")
    if len(dims) > 1:
        raise TableError(
            f"variables of {file} have different dimensions {sorted(dims)}: all must have the same"
        )
    frame = dataset.to_dataframe().reset_index()
    # a dimension without coordinate values is a mere row number
    frame = frame.drop(columns=[dim for dim in dataset.dims if dim not in dataset.coords and dim in frame])
    stated = {key: variable.attrs.get("units", "") for key, variable in dataset.variables.items()}
    names, bracketed = names_and_units([str(column) for column in frame.columns], file)
    columns = {column: frame.iloc[:, k] for k, column in enumerate(names)}
    return columns, bracketed | {split_unit(key)[0]: unit for key, unit in plain_units(stated).items()}


def _read_parquet(data: bytes, file: str) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError:
        raise TableError(
            f"reading {file} needs pyarrow: pip install 'brg-prob[parquet]', or give CSV"
        ) from None
    try:
        stored = parquet.ParquetFile(io.BytesIO(data)).read()
        fields = {field.name: (field.metadata or {}).get(b"units", b"") for field in stored.schema}
        # a named index is a column like the others, the first, as pandas shows it; a RangeIndex is a dict
        notes = (stored.schema.pandas_metadata or {}).get("index_columns", ())
        index = [name for name in notes if isinstance(name, str)]
        order = sorted(range(stored.num_columns), key=lambda at: stored.column_names[at] not in index)
        frame = stored.replace_schema_metadata(None).select(order).to_pandas()
    except Exception as error:  # readers raise anything on a damaged file
        raise TableError(
            f"{file} is not a readable Parquet file ({type(error).__name__}): write it with pandas"
        ) from None
    frame = frame.loc[:, [not re.fullmatch(r"__index_level_\d+__", str(name)) for name in frame.columns]]
    names, bracketed = names_and_units([str(column) for column in frame.columns], file)
    columns = {column: frame.iloc[:, k] for k, column in enumerate(names)}
    return columns, bracketed | {split_unit(key)[0]: unit for key, unit in plain_units(fields).items()}


_READERS = {"csv": _read_csv, "npz": _read_npz, "netcdf": _read_netcdf, "parquet": _read_parquet}


def _is_number(cell: str) -> bool:
    """Return whether a cell of a header is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
