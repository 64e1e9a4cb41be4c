"""Files of every format: what is read is what was written, and every bad file is one clear line."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brg_prob.tables import TableError, read_table

RECORD = Path(__file__).parents[2] / "data" / "soi_monthly.csv"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


GOOD = "t [yr],y [m/s]\n0,1.5\n1,2.5\n2,-1\n"


def test_csv_gives_columns_units_and_the_hash_of_the_bytes(tmp_path):
    path = write(tmp_path / "my räw data.CSV", "\ufeff# a comment, with a comma\n\n" + GOOD)
    table = read_table(path)
    np.testing.assert_array_equal(table.columns["t"], [0, 1, 2])
    np.testing.assert_array_equal(table.columns["y"], [1.5, 2.5, -1])
    assert {name: values.dtype for name, values in table.columns.items()} == {"t": np.int64, "y": np.float64}
    assert table.units == {"t": "yr", "y": "m/s"}
    assert table.label("y") == "y [m/s]"
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(table) == 3
    assert table.dropped == 0


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(tmp_path, separator):
    table = read_table(write(tmp_path / "a.txt", GOOD.replace(",", separator)))
    np.testing.assert_array_equal(table.columns["y"], [1.5, 2.5, -1])


def test_a_hash_sign_inside_a_line_is_no_comment(tmp_path):
    assert list(read_table(write(tmp_path / "a.csv", 'run #,"a, b"\n1,2\n3,4\n')).columns) == [
        "run #",
        "a, b",
    ]


@settings(max_examples=40, deadline=None)
@given(values=arrays(np.float64, (5, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_finite_float_survives_csv_and_npz(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("floats")
    rows = "\n".join(f"{a!r},{b!r}" for a, b in values.tolist())
    np.savez(folder / "a.npz", x=values[:, 0], y=values[:, 1])
    for table in (read_table(write(folder / "a.csv", "x,y\n" + rows)), read_table(folder / "a.npz")):
        np.testing.assert_array_equal(np.column_stack(list(table.columns.values())), values)


@settings(max_examples=60, deadline=None)
@given(text=st.one_of(st.text(max_size=80), st.text("x,y;\t\n\r\"'#0.1-nae \0", max_size=80)))
def test_any_text_is_a_table_or_one_line(text, tmp_path_factory, one_line):
    path = tmp_path_factory.mktemp("text") / "a.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        table = read_table(path)
    except TableError:
        one_line(read_table, path)
        return
    assert len(table) >= 2
    assert all(np.isfinite(column).all() for column in table.columns.values())


@settings(max_examples=40, deadline=None)
@given(
    junk=st.binary(min_size=1, max_size=200),
    head=st.sampled_from([b"", b"PK\x03\x04", b"CDF\x01", b"\x89HDF\r\n\x1a\n"]),
)
def test_any_bytes_are_one_line(junk, head, tmp_path_factory, one_line):
    folder = tmp_path_factory.mktemp("junk")
    for suffix in ("npz", "nc"):
        (folder / f"a.{suffix}").write_bytes(head + junk)
        assert f"a.{suffix}" in one_line(read_table, folder / f"a.{suffix}")


def test_npz_splits_wide_arrays_and_reads_units(tmp_path):
    np.savez(
        tmp_path / "a.npz", x=np.arange(6).reshape(3, 2), **{"y [K]": np.array([1, 2, 4], dtype=np.float32)}
    )
    table = read_table(tmp_path / "a.npz")
    assert list(table.columns) == ["x_0", "x_1", "y"]
    assert table.units == {"y": "K"}
    np.testing.assert_array_equal(table.columns["x_1"], [1, 3, 5])


def test_a_wide_arrays_unit_is_that_of_all_its_columns(tmp_path, one_line):
    np.savez(tmp_path / "a.npz", **{"x [m]": np.arange(6.0).reshape(3, 2), "y": np.arange(3.0)})
    assert read_table(tmp_path / "a.npz").units == {"x_0": "m", "x_1": "m"}
    np.savez(tmp_path / "b.npz", x=np.arange(6.0).reshape(3, 2), x_0=np.arange(3.0))
    assert "two columns named 'x_0'" in one_line(read_table, tmp_path / "b.npz")


@pytest.mark.parametrize("how", ["csv", "npz", "nc", "parquet"])
def test_units_survive_when_rows_are_dropped_and_their_number_is_kept(how, tmp_path, one_line):
    path, x, y = tmp_path / f"a.{how}", np.arange(5.0), np.array([1.0, np.nan, 2.0, np.inf, 3.0])
    if how == "csv":
        write(path, "x [s],y [K]\n" + "\n".join(f"{a},{b}" for a, b in zip(x, y, strict=True)))
    elif how == "npz":
        np.savez(path, **{"x [s]": x, "y [K]": y})
    elif how == "nc":
        coords = {"x": ("x", x, {"units": "s"})}
        xr.Dataset({"y": ("x", y, {"units": "K"})}, coords=coords).to_netcdf(path, engine="h5netcdf")
    else:
        parquet(path, {"x": "s", "y": "K"}, x=x, y=y)
    assert "2 of 5 rows" in one_line(read_table, path)
    table = read_table(path, drop_missing=True)
    assert table.units == {"x": "s", "y": "K"}
    assert table.dropped == 2
    np.testing.assert_array_equal(table.columns["x"], [0, 2, 4])


def test_netcdf_series_with_its_coordinate_and_units(tmp_path):
    data = xr.Dataset(
        {"y": ("time", [1.0, 3.0, 2.0], {"units": "K"})},
        coords={"time": ("time", [0.0, 1.0, 2.0], {"units": "days since 1950-01-01"}), "run": 7},
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    table = read_table(tmp_path / "a.nc")
    assert set(table.columns) == {"time", "y"}
    assert table.units == {"time": "d", "y": "K"}
    assert table.calendars["time"].labels(table.columns["time"])[2] == "1950-01-03"
    np.testing.assert_array_equal(table.columns["time"], [0, 1, 2])


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_netcdf_grid_is_flattened_with_its_coordinates(tmp_path, engine):
    values = np.arange(6.0).reshape(2, 3)
    data = xr.Dataset({"y": (("a", "b"), values)}, coords={"a": [10.0, 20.0], "b": [0.0, 1.0, 2.0]})
    data.to_netcdf(tmp_path / "a.nc", engine=engine)
    columns = read_table(tmp_path / "a.nc").columns
    for a, b, y in zip(columns["a"], columns["b"], columns["y"], strict=True):
        assert y == values[[10, 20].index(a), int(b)]


def parquet(path, units=None, **columns):
    """Write columns with the units that their fields' metadata shall state."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    fields = [
        pa.field(name, pa.array(values).type, metadata={"units": (units or {}).get(name, "")})
        for name, values in columns.items()
    ]
    pq.write_table(pa.table([pa.array(v) for v in columns.values()], schema=pa.schema(fields)), path)


def test_parquet_keeps_the_units_of_names_and_fields(tmp_path):
    parquet(tmp_path / "a.parquet", {"t": "yr"}, **{"t": [0.0, 1.0], "x [s]": [1, 3], "y": [True, False]})
    table = read_table(tmp_path / "a.parquet")
    assert table.units == {"t": "yr", "x": "s"}
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "t": [0, 1],
        "x": [1, 3],
        "y": [1, 0],
    }
    assert table.kinds == {"t": "number", "x": "number", "y": "boolean"}
    assert table.notes == ()  # nothing was guessed


def test_the_index_of_a_frame_is_its_first_column_and_a_row_number_is_none(tmp_path):
    import pandas as pd

    years = pd.Index([1950.0, 1951.0], name="year [yr]")
    pd.DataFrame({"soi": [2.0, 4.0]}, index=years).to_parquet(tmp_path / "a.parquet")
    columns = read_table(tmp_path / "a.parquet").columns
    assert list(columns) == ["year", "soi"]
    np.testing.assert_array_equal(columns["year"], [1950, 1951])
    for index in (None, [5, 9]):
        pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 1.0]}, index=index).to_parquet(tmp_path / "b.parquet")
        assert list(read_table(tmp_path / "b.parquet").columns) == ["a", "b"]


def test_parquet_that_cannot_be_a_table(tmp_path, one_line):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + b"x" * 99)
    assert "not a readable Parquet file" in one_line(read_table, path)
    parquet(path, x=[[1.0], [2.0]], y=[1.0, 2.0])
    assert "'x'" in one_line(read_table, path)
    parquet(path, x=np.array([1, 2], dtype="m8[s]"), y=[1.0, 2.0])
    assert "not numeric" in one_line(read_table, path)
    parquet(path, x=[1.0, None, 2.0], y=[1.0, 2.0, np.nan])
    assert "2 of 3 rows" in one_line(read_table, path)


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch, one_line):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert "pip install 'brg-prob[parquet]'" in one_line(read_table, tmp_path / "a.parquet")


BAD_CSV = {
    "empty": ("", "is empty"),
    "comments only": ("# only\n# comments\n", "is empty"),
    "header only": ("x,y\n", "no rows"),
    "no header": ("1,2\n3,4\n", "no header"),
    "one row": ("x,y\n1,2\n", "1 usable row:"),
    "text": ("x,y\n1,2\n2,calm\n", "'calm'"),
    "dates": ("x,y\n01/02/1951,2\n02/03/1951,3\n", "DD/MM/YYYY or MM/DD/YYYY"),
    "data for a header": ("1951-01-01,2\n1951-02-01,3\n", "no header"),
    "numbers for a header": ("0,5;1,5\n1,5;2,5\n", "no header"),
    "missing": ("x,y\n1,2\n2,\n3,NaN\n4,1\n", "2 of 4 rows"),
    "infinite": ("x,y\n1,2\n2,inf\n3,4\n", "1 of 3 rows"),
    "too wide": ("x,y\n1,2\n1,2,3\n", "3 values for 2 columns"),
    "all too wide": ("x,y\n1,2,3\n4,5,6\n", "3 values for 2 columns"),
    "twice": ("x,x [m]\n1,2\n3,4\n", "two columns named 'x'"),
    "nameless": ("x,\n1,2\n3,4\n", "column 2"),
    "unclosed quote": ('x,y\n1,"2\n3,4\n', "not readable as CSV"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv_is_one_line_with_the_offending_value(tmp_path, case, one_line):
    text, expected = BAD_CSV[case]
    message = one_line(read_table, write(tmp_path / "bad.csv", text))
    assert expected in message
    assert "bad.csv" in message


def test_missing_rows_name_the_remedy_and_the_remedy_works(tmp_path, one_line):
    path = write(tmp_path / "a.csv", BAD_CSV["missing"][0])
    assert "--drop-missing" in one_line(read_table, path)
    table = read_table(path, drop_missing=True)
    np.testing.assert_array_equal(table.columns["x"], [1, 4])
    assert table.dropped == 2


def test_only_the_columns_asked_for_are_checked(tmp_path, one_line):
    path = write(tmp_path / "a.csv", "station,temp,flow\nA,1,\nB,2,3\n")
    assert list(read_table(path, columns=["temp"]).columns) == ["temp"]
    assert "'A'" in one_line(read_table, path)
    assert "did you mean 'temp'?" in one_line(read_table, path, columns=["tmp"])


def test_others_are_kept_where_they_hold_numbers_throughout(tmp_path):
    text = "station,temp,depth,flow\nA,1,7,2\nB,,8,\nC,3,9,\n"
    path = write(tmp_path / "a.csv", text)
    table = read_table(path, columns=["temp"], others=True, drop_missing=True)
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "temp": [1, 3],
        "depth": [7, 9],  # flow has a hole in a row that is kept, station holds words
    }
    assert table.dropped == 1


def test_missing_file_folder_unknown_format_and_foreign_encoding(tmp_path, one_line):
    assert "no such file" in one_line(read_table, tmp_path / "absent.csv")
    assert "unknown format '.xlsx'" in one_line(read_table, tmp_path / "a.xlsx")
    (tmp_path / "folder.csv").mkdir()
    assert "cannot read" in one_line(read_table, tmp_path / "folder.csv")
    (tmp_path / "latin.csv").write_bytes("x,größe\n1,2\n".encode("latin-1"))
    assert "UTF-8" in one_line(read_table, tmp_path / "latin.csv")
    hostile = one_line(read_table, tmp_path / "a\nb\x1b[31m.csv")
    assert "\x1b" not in hostile


def test_npz_that_cannot_be_a_table(tmp_path, one_line):
    np.savez(tmp_path / "lengths.npz", x=np.zeros(3), y=np.zeros(4))
    assert "different lengths" in one_line(read_table, tmp_path / "lengths.npz")
    np.savez(tmp_path / "deep.npz", x=np.zeros((2, 2, 2)))
    assert "(2, 2, 2)" in one_line(read_table, tmp_path / "deep.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}, {}], dtype=object))
    assert "plain arrays" in one_line(read_table, tmp_path / "objects.npz")
    np.savez(tmp_path / "complex.npz", x=np.ones(2) * 1j)
    assert "not numeric" in one_line(read_table, tmp_path / "complex.npz")
    np.savez(tmp_path / "compound.npz", x=np.zeros(2, dtype=[("a", float), ("b", int)]))
    assert "give numbers" in one_line(read_table, tmp_path / "compound.npz")
    np.savez(tmp_path / "none.npz")
    assert "no columns" in one_line(read_table, tmp_path / "none.npz")


def test_netcdf_without_variables_at_its_root(tmp_path, one_line):
    below = xr.Dataset({"y": ("t", [1.0, 2.0])})
    xr.DataTree.from_dict({"/below": below}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert "no variables at its root" in one_line(read_table, tmp_path / "a.nc")


@pytest.mark.parametrize("header", ['"a\nb",y', "a\0b,y", "a\x1b[31m,y", "a\x85b,y"])
def test_control_characters_in_a_name_are_refused(header, tmp_path, one_line):
    message = one_line(read_table, write(tmp_path / "a.csv", header + "\n1,2\n3,4\n"))
    assert "control characters" in message
    assert "\x1b" not in message


def test_only_line_ends_end_a_line_and_only_separators_separate(tmp_path):
    # str.splitlines would make of this a table of one column and one row more
    assert list(read_table(write(tmp_path / "a.csv", "a\u20281\n2\n3\n")).columns) == ["a\u20281"]
    quoted = read_table(write(tmp_path / "b.csv", '"a;b;c",y\n1,2\n3,4\n'))
    assert list(quoted.columns) == ["a;b;c", "y"]


def test_a_table_is_shown_in_one_line_without_its_values(tmp_path):
    path = write(tmp_path / "a.csv", GOOD)
    assert repr(read_table(path)) == f"<Table {str(path)!r}: 3 rows of t [yr], y [m/s]>"


def test_importing_tables_leaves_jax_out():
    code = "import sys, brg_prob.tables, brg_prob.transform; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shipped_record_is_the_one_its_header_describes():
    table = read_table(RECORD)
    year, soi = table.columns["year"], table.columns["soi"]
    assert table.units == {"year": "yr", "soi": "standard units"}
    np.testing.assert_array_equal(year, 1951 + (np.arange(888) + 0.5) / 12)
    # the published base period: every calendar month of 1951-1980 has mean 0 and standard deviation 1,
    # to the rounding of thirty values to two decimals (each off by at most .005)
    base = soi[:360].reshape(30, 12)
    assert np.abs(base.mean(axis=0)).max() < 0.005
    assert np.abs(base.std(axis=0, ddof=1) - 1).max() < 0.005 * np.sqrt(30 / 29)
    later = soi[360:720].reshape(30, 12)  # negative control: other years are not so normalised
    assert np.abs(later.mean(axis=0)).max() > 0.1
