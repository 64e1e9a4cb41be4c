"""One reader per format: bytes of a file to columns as they stand there, and their units."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from brg_prob.tables.contents import Contents, refuse_empty
from brg_prob.tables.names import TableError, names_and_units, plain_units, refuse_twice, split_unit
from brg_prob.tables.separated import read_separated

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


def read_columns(data: bytes, kind: str, file: str) -> Contents:
    """Return what a file holds, as it stands there.

    Raises
    ------
    TableError
        An empty or damaged file, or one that is no table.
    """
    if not data:
        raise refuse_empty(file)
    return _READERS[kind](data, file)


def _read_npz(data: bytes, file: str) -> Contents:
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
    return Contents(columns, spread)


def _read_netcdf(data: bytes, file: str) -> Contents:
    import h5py
    import xarray as xr

    engine = "scipy" if data.startswith(b"CDF") else "h5netcdf"  # classic NetCDF-3 or NetCDF-4
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if engine == "h5netcdf":  # it complains on stderr of what h5py cannot open
                h5py.File(io.BytesIO(data), "r").close()
            # times are decoded one by one, since not every calendar can be
            with xr.open_dataset(io.BytesIO(data), engine=engine, decode_times=False) as opened:
                dataset = opened.load()
    except Exception as error:  # readers raise anything on a damaged file
        raise TableError(
            f"{file} is not a readable NetCDF file ({type(error).__name__}): write it with xarray"
        ) from None
    scalars = [key for key, variable in dataset.variables.items() if variable.ndim == 0]
    dataset = dataset.drop_vars(scalars)
    dataset, notes = _with_times(dataset)
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
    return _contents(frame, stated, file, notes)


def _with_times(dataset: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a dataset whose "days since …" are times, and what is said of those that are not decoded."""
    import xarray as xr

    notes = []
    coder = xr.coders.CFDatetimeCoder(use_cftime=False, time_unit="us")
    for name, variable in list(dataset.variables.items()):
        unit = str(variable.attrs.get("units", ""))
        if not re.match(r"\s*[A-Za-z]+\s+since\s", unit):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                one = xr.Dataset({"time": (variable.dims, variable.values, variable.attrs)})
                times = xr.decode_cf(one, decode_times=coder)["time"].values
            if times.dtype.kind != "M":
                raise ValueError(times.dtype)
        except Exception:  # a calendar of another kind, months, or no date behind "since"
            stated = variable.attrs.get("calendar")
            kind = f" of the calendar {stated!r}" if stated else ""
            notes.append(f"{name}: numbers of {unit!r}{kind}, not decoded to dates")
        else:
            dataset = (
                dataset.assign({name: (variable.dims, times)})
                if name in dataset.data_vars
                else (dataset.assign_coords({name: (variable.dims, times)}))
            )
    return dataset, tuple(notes)


def _read_parquet(data: bytes, file: str) -> Contents:
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
        frame = stored.replace_schema_metadata(None).select(order).to_pandas(date_as_object=False)
    except Exception as error:  # readers raise anything on a damaged file
        raise TableError(
            f"{file} is not a readable Parquet file ({type(error).__name__}): write it with pandas"
        ) from None
    frame = frame.loc[:, [not re.fullmatch(r"__index_level_\d+__", str(name)) for name in frame.columns]]
    return _contents(frame, fields, file)


def _contents(frame: Any, stated: Mapping[Any, Any], file: str, notes: tuple[str, ...] = ()) -> Contents:
    """Return a data frame's columns; units are those in its headers, and before these the stated ones."""
    names, units = names_and_units([str(column) for column in frame.columns], file)
    units |= {split_unit(key)[0]: unit for key, unit in plain_units(stated).items()}
    return Contents({column: frame.iloc[:, k] for k, column in enumerate(names)}, units, notes)


_READERS = {"csv": read_separated, "npz": _read_npz, "netcdf": _read_netcdf, "parquet": _read_parquet}
