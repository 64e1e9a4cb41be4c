"""Random command lines, tables, standardisations: never a traceback, never another table than was written."""

import csv
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brg_prob.cli import main
from brg_prob.cli.arguments import ENGINES, SCHEMES, read_model_source
from brg_prob.network import bind
from brg_prob.tables import read_table
from brg_prob.tables.cells import MISSING
from brg_prob.tables.names import has_controls
from brg_prob.transform import Standardisation

ROOT = Path(__file__).parents[1]
COSNET = str(ROOT / "models" / "cosnet.py")
FIXED = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)

# --- command lines

# what the system can hand over: no NUL, but half surrogate pairs, from names that are not UTF-8
TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)
NUMBERS = st.one_of(
    st.integers().map(str), st.floats().map(str), st.sampled_from(["1e400", "-0", "0x1", "1_0"])
)
FLAGS = [
    "--data", "--target", "--inputs", "--drop-missing", "--held-out", "--no-detrend", "--points", "--engine",
    "--scheme", "--tune", "--observations", "--scales", "--draws", "--seed", "--float32", "--tolerance",
    "--controls", "--out", "--fresh", "--strict", "--quiet", "--help", "--held-out-seed", "-h", "--", "-q",
    "--model.mass", "--model.width", "--model.box", "--model.spectrum", "--model.dim", "--engine.members",
    "--scheme.basis", "--scheme.action", "--version", "--detrend",
]  # fmt: skip
NAMES = ["run", "report", "compare", "rerun", "new", COSNET, f"{COSNET}:CosNet", "cosnet", "teacher",
         "good.csv", "words.csv", "net.py", "shell", "diffusion", "exact", "alternate", "thesis", ".", "..",
         "x" * 300, *ENGINES, *SCHEMES]  # fmt: skip
WORD = st.one_of(
    st.sampled_from(FLAGS),
    st.sampled_from(NAMES),
    st.sampled_from(FLAGS).flatmap(
        lambda flag: st.one_of(TEXT, NUMBERS).map(lambda value: f"{flag}={value}")
    ),
    st.sampled_from(FLAGS).flatmap(lambda flag: st.sampled_from([flag[:-1], flag + "x", flag.upper()])),
    NUMBERS,
    TEXT,
)
COMMAND = st.one_of(
    st.lists(WORD, max_size=6),
    st.tuples(st.sampled_from(["run", "report", "compare", "new"]), st.lists(WORD, max_size=4)).map(
        lambda parts: [parts[0], *parts[1]]
    ),
    st.lists(WORD, max_size=6).map(lambda words: ["run", COSNET, *words]),
)


def outcome(function, *args, **options):
    """Return what a call returns, or None, and the line with which it refuses, or None."""
    try:
        return function(*args, **options), None
    except ValueError as error:
        line = str(error)
    assert line
    assert "\n" not in line
    return None, line


class Accepted(Exception):
    """Raised in place of training."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder, with training replaced."""
    (tmp_path / "good.csv").write_text("x,y\n0,1\n1,3\n2,0\n")
    (tmp_path / "words.csv").write_text("x,y\n0,a\n1,3\n2,0\n")
    (tmp_path / "net.py").write_text("def model(x, y=None): ...\n")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    monkeypatch.chdir(tmp_path)

    def accepted(request, progress):
        # what rerun will do with the stored words must give the same request
        assert shlex.split(request.command)[2:] == list(request.words)
        raise Accepted

    monkeypatch.setattr("brg_prob.cli.loading.execute", accepted)
    return tmp_path


def files(folder):
    return sorted((str(path), path.stat().st_size) for path in folder.rglob("*"))


@settings(max_examples=150, **FIXED)
@given(words=COMMAND)
@example(words=["run", COSNET, "--out", "\udcff"])
@example(words=["run", COSNET, "--model.spectrum", "-" * 99_999 + "1"])
@example(words=["run", "x" * 300])
@example(words=["compare", "good.csv", "good.csv"])
@example(words=["report", "\x1b[31m"])
@example(words=["run", COSNET, "--model.width=" + "9" * 5000])
@example(words=[])
def test_any_command_line_is_refused_in_one_line_or_understood(folder, capsys, words):
    before = files(folder)
    try:
        status = main(words)
    except Accepted:
        status = None
    out, err = capsys.readouterr()
    if status == 2:
        assert re.fullmatch(r"brg-prob: [^\n]+\n", err), (words, err)
        assert err[:-1].isprintable()
        assert out == ""
    else:
        assert status in (None, 0)
        assert err == ""
    if "new" not in words[:1]:
        assert files(folder) == before
    for path in folder.glob("*.py"):
        if path.name != "net.py":
            assert path.read_text(encoding="utf-8").startswith("# A copy of the network")
            path.unlink()


def test_a_good_command_line_is_understood(folder):
    """The control of the test above."""
    with pytest.raises(Accepted):
        main(["run", COSNET, "--model.mass", "2", "--data", "good.csv", "--scheme", "shell"])


@settings(max_examples=60, **FIXED)
@given(source=st.text(st.characters(codec="utf-8"), max_size=60) | st.binary(max_size=60))
def test_any_text_is_a_network_or_one_line(source, tmp_path):
    path = tmp_path / "net.py"
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    source, line = outcome(read_model_source, str(path))
    assert line is None or "net.py" in line
    assert line is not None or source.name


# --- tables

UNIT = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="[]"),
    min_size=1,
    max_size=5,
)
NAME = (
    st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda name: name and name.isprintable() and not name.startswith("#"))
)
COLUMN = st.tuples(NAME, st.none() | UNIT)
CELL = st.floats(width=64) | st.integers(-(10**6), 10**6).map(float)


@st.composite
def written(draw):
    """Names with units, and values with NaN and infinite ones among them."""
    columns = draw(st.lists(COLUMN, min_size=1, max_size=4, unique_by=lambda column: column[0]))
    count = draw(st.integers(1, 6))
    rows = draw(st.lists(st.lists(CELL, min_size=count, max_size=count), min_size=len(columns),
                         max_size=len(columns)))  # fmt: skip
    return columns, np.array(rows).T


def header(column):
    name, unit = column
    return name if unit is None else f"{name} [{unit}]"


def write_table(path, columns, values, separator):
    """Write a table in the format that its ending says."""
    heads = [header(column) for column in columns]
    if path.suffix == ".csv":
        text = io.StringIO()
        out = csv.writer(
            text, delimiter=separator, quoting=csv.QUOTE_ALL if separator == ";" else csv.QUOTE_MINIMAL
        )
        out.writerow(heads)
        out.writerows([["" if np.isnan(cell) else repr(cell) for cell in row] for row in values.tolist()])
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    elif path.suffix == ".npz":
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(zip(heads, values.T, strict=True)))
    elif path.suffix == ".nc":
        units = [{} if unit is None else {"units": unit} for _, unit in columns]
        variables = {
            name: ("number of the row", cells, unit)
            for (name, _), cells, unit in zip(columns, values.T, units, strict=True)
        }
        xr.Dataset(variables).to_netcdf(path, engine="h5netcdf")
    else:
        import pandas as pd

        pd.DataFrame(dict(zip(heads, values.T, strict=True))).to_parquet(path)


@settings(max_examples=80, **FIXED)
@given(
    table=written(), kind=st.sampled_from(["csv", "npz", "nc", "parquet"]), separator=st.sampled_from(",;\t"),
    drop=st.booleans(),
)  # fmt: skip
def test_a_table_is_read_as_it_was_written_or_refused_in_one_line(table, kind, separator, drop, tmp_path):
    columns, values = table
    path = tmp_path / f"räw {kind} data.{kind}"
    try:
        write_table(path, columns, values, separator)
    except (ValueError, TypeError, KeyError, OSError):  # a name that this format cannot hold
        return
    whole = np.isfinite(values).all(axis=1)
    read, line = outcome(read_table, path, drop_missing=drop)
    if line is not None:
        assert path.name in line
        plain = all(re.fullmatch("[A-Za-z]{1,2}", name) for name, _ in columns)
        assert not plain or whole.sum() < 2 or not (drop or whole.all())
        return
    assert drop or whole.all()
    assert read.dropped == (~whole).sum()
    assert list(read.columns) == [name for name, _ in columns]
    assert read.units == {name: unit for name, unit in columns if unit is not None}
    np.testing.assert_array_equal(np.column_stack(list(read.columns.values())), values[whole])
    taken, _ = outcome(bind, read, lambda x, y=None: None)  # what follows refuses in one line, too
    if taken is not None:
        outcome(Standardisation.fit, taken.x, taken.y)


@settings(max_examples=60, **FIXED)
@given(table=written(), cut=st.floats(0, 1), at=st.floats(0, 1), bit=st.integers(0, 7),
       kind=st.sampled_from(["csv", "npz", "nc", "parquet"]))  # fmt: skip
def test_a_damaged_table_is_a_table_or_one_line(table, cut, at, bit, kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    write_table(path, [(f"c{k}", None) for k in range(len(table[0]))], table[1], ",")
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content[: int(cut * len(content))] if cut < 0.7 else content)
    read, line = outcome(read_table, path, drop_missing=True)
    if line is not None:
        assert path.name in line
        return
    assert all(np.isfinite(column).all() for column in read.columns.values())


JUNK = st.one_of(
    st.text("0123456789-/.:TZQ,' $%+eE", max_size=10),
    st.text(max_size=6),
    st.floats().map(repr),
    st.integers().map("{:,}".format),
    st.datetimes().map(str),
    st.dates().map("{:%d/%m/%Y}".format),
    st.sampled_from(
        ["yes", "No", "NA", "#N/A", "007", "1995Q2", "2001-13", "12 kg", "$4", "Jan 2001", "1.120,5", "00:30"]
    ),
)


@settings(max_examples=150, **FIXED)
@given(
    few=st.lists(JUNK, min_size=1, max_size=3), more=st.lists(JUNK, max_size=3),
    separator=st.sampled_from(",;\t|"), drop=st.booleans(), named=st.booleans(),
)  # fmt: skip
def test_random_cells_are_columns_that_say_what_they_are_or_one_line(
    few, more, separator, drop, named, tmp_path
):
    path = tmp_path / "a.csv"
    text = io.StringIO()
    out = csv.writer(text, delimiter=separator)
    out.writerow(["x", "c"])
    out.writerows(enumerate(few * 2 + more))
    path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    options = {"columns": ["c"], "others": True} if named else {}
    read, line = outcome(read_table, path, drop_missing=drop, may_miss=["c"], **options)
    if line is not None:
        assert "a.csv" in line
        return
    assert not any(map(has_controls, read.notes))
    values, kind = read.columns["c"], read.kinds["c"]
    present = values[np.isfinite(values)]
    assert len(values) == len(read)
    assert (kind in ("category", "boolean")) == ("c" in read.levels)
    assert (kind == "time") == ("c" in read.calendars)
    if kind in ("category", "boolean"):
        assert set(present.astype(int)) <= set(range(len(read.levels["c"])))
    if kind == "time":
        labels = read.calendars["c"].labels(values)
        assert [label == "" for label in labels] == np.isnan(values).tolist()
    if kind == "number" and len(present) and not read.notes:
        written = [cell for cell in (few * 2 + more) if cell.strip().lower() not in MISSING]
        np.testing.assert_array_equal(present, [float(cell.replace("\u2212", "-")) for cell in written])


# --- standardisation

SIZE = st.floats(1e-3, 1e3)


@settings(max_examples=80, **FIXED)
@given(
    data=st.data(), n=st.integers(3, 12), outputs=st.integers(0, 2), dim=st.integers(1, 2), unit=SIZE,
    detrend=st.sampled_from(["none", "line", "periodic"]), standardise=st.booleans(),
)  # fmt: skip
def test_standardisation_is_undone_exactly(data, n, outputs, dim, unit, detrend, standardise):
    numbers = st.floats(-1e6, 1e6)
    x = np.array(data.draw(st.lists(st.lists(numbers, min_size=dim, max_size=dim), min_size=n, max_size=n)))
    shape = (n, outputs) if outputs else (n,)
    y = unit * np.array(
        data.draw(st.lists(numbers, min_size=n * max(outputs, 1), max_size=n * max(outputs, 1)))
    )
    y = y.reshape(shape)
    fitted, line = outcome(Standardisation.fit, x, y, detrend=detrend, standardise=standardise)
    if line is not None:
        assert any(word in line for word in ("constant", "inputs are equal", "overflow", "in 2 inputs"))
        return
    again = Standardisation.from_dict(fitted.to_dict())
    assert again == fitted
    inner_x, inner = again.forward_inputs(x), again.forward(x, y)
    assert inner.shape == shape
    scale = np.abs(y).max() + np.abs(fitted.intercept).max() + np.abs(fitted.slope).max() * np.ptp(x[:, 0])
    np.testing.assert_allclose(again.inverse(inner_x, inner), y, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(again.inverse_inputs(inner_x), x, rtol=0, atol=1e-9)
    if standardise:  # mean and variance, by their definitions
        np.testing.assert_allclose(inner.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(inner.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(again.inverse_scale(again.forward_scale(2.0)), 2.0, rtol=1e-14)
