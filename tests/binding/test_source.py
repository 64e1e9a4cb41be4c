"""Mappings, data frames and tables become columns, kinds and levels."""

import datetime

import numpy as np
import pandas as pd
import pytest

from brg_prob.binding import columns_of
from brg_prob.network import bind
from brg_prob.options import UsageError
from brg_prob.tables import read_table

WORDS = ["b", "a", "b"]


@pytest.mark.parametrize(
    ("column", "values", "dtype", "kind", "levels"),
    [
        ([1, 2, 3], [1, 2, 3], "i", "number", None),
        (np.array([1, 2, 3], "uint8"), [1, 2, 3], "i", "number", None),
        ([1.0, 2.0, 3.0], [1, 2, 3], "f", "number", None),
        ([True, False, True], [1, 0, 1], "i", "boolean", ("False", "True")),
        (WORDS, [1, 0, 1], "i", "category", ("a", "b")),
        (np.array(WORDS, object), [1, 0, 1], "i", "category", ("a", "b")),
        (["b", None, "a"], [1, np.nan, 0], "f", "category", ("a", "b")),
        ([1, None, 3], [1, np.nan, 3], "f", "number", None),
        ([True, None, False], [1, np.nan, 0], "f", "boolean", ("False", "True")),
        (pd.Categorical(WORDS, ["b", "a"]), [0, 1, 0], "i", "category", ("b", "a")),
        (pd.Series(["b", None, "b"], dtype="category"), [0, np.nan, 0], "f", "category", ("b",)),
        (pd.Series([1, None, 3], dtype="Int64"), [1, np.nan, 3], "f", "number", None),
        (pd.Series(WORDS, index=[5, 6, 7]), [1, 0, 1], "i", "category", ("a", "b")),
    ],
)
def test_each_kind_of_column_keeps_what_it_is(column, values, dtype, kind, levels):
    found = columns_of({"c": column})
    np.testing.assert_array_equal(found.values["c"], values)
    assert found.values["c"].dtype.kind == dtype
    assert found.kinds["c"] == kind
    assert found.levels.get("c") == levels


def test_a_data_frame_and_its_file_are_the_same_columns(tmp_path):
    frame = pd.DataFrame({"t": [0.5, 1.5, 2.5, 4.0], "count": [3, 1, 2, 2], "station": ["b", "a", "b", "a"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    one, other = columns_of(frame), columns_of(read_table(tmp_path / "t.csv"))
    assert one.kinds == other.kinds
    assert one.levels == other.levels == {"station": ("a", "b")}
    for name in frame:
        np.testing.assert_array_equal(one.values[name], other.values[name])
        assert one.values[name].dtype == other.values[name].dtype
    assert other.source == repr(str(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no column; give one"),
        ({"a": []}, "no row"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "'b' has 2 rows but 'a' has 1"),
        ({"a": [[1.0]]}, r"'a' has shape \(1, 1\); a column is 1-D"),
        ({"a": [1j]}, "'a' holds complex128, not numbers"),
        ({"a": np.array(["2001-01-01"], "datetime64[D]")}, r"'a' holds times .*read_table"),
        ({"a": [datetime.date(2001, 1, 1)]}, r"'a' holds times .*read_table"),
        ({"a": [object()]}, "'a' holds '<object"),
        ([1, 2], "a list is no table; give a mapping"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(table, message):
    with pytest.raises(UsageError, match=message) as caught:
        columns_of(table)
    assert "\n" not in str(caught.value)


def test_times_of_a_frame_are_refused_only_where_they_are_asked_for():
    frame = pd.DataFrame(
        {"date": pd.to_datetime(["2001-01-01", "2002-01-01"]), "a": [1.0, 2.0], "y": [3.0, 4.0]}
    )
    found = columns_of(frame)
    assert list(found.values) == ["a", "y"]
    assert any(note.startswith("left out: column 'date' holds times") for note in found.notes)

    def model(a, y=None): ...

    def dated(date, y=None): ...

    assert bind(frame, model).x.tolist() == [[1.0], [2.0]]
    for call in (lambda: bind(frame, dated), lambda: bind(frame, model, target="date")):
        with pytest.raises(UsageError, match="column 'date' holds times"):
            call()


def test_two_columns_of_one_name_and_numbers_too_large_are_refused():
    twice = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=["a", "a"])
    with pytest.raises(UsageError, match="two columns 'a'"):
        columns_of(twice)
    with pytest.raises(UsageError, match="two columns '1'"):
        columns_of({1: [1.0], "1": [2.0]})
    with pytest.raises(UsageError, match="9223372036854775809"):
        columns_of({"a": np.array([2**63 + 1], np.uint64)})


def test_what_is_masked_is_missing():
    found = columns_of({"a": np.ma.masked_values([1.0, -999.0], -999.0)})
    assert np.isnan(found.values["a"]).tolist() == [False, True]
