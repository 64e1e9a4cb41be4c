"""Text files of separated cells as people have them: marks, encodings, counters, comments, gaps."""

import time

import numpy as np
import pandas  # noqa: F401  (its import is not to be timed)
import pytest

from brg_prob.tables import read_table


def test_bars_and_a_stated_separator_separate(file):
    for text in ("x|y\n1|2\n3|4\n", "sep=;\nx;y\n1;2\n3;4\n", "sep=,\nx,y\n1,2\n3,4\n"):
        columns = read_table(file(text)).columns
        assert {name: values.tolist() for name, values in columns.items()} == {"x": [1, 3], "y": [2, 4]}
    assert list(read_table(file("p(a|b)\n1\n2\n")).columns) == ["p(a|b)"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_with_a_byte_order_mark_is_read(encoding, file, one_line):
    text = "größe [µm],y\n1,2\n3,5\n"
    assert read_table(file(text.encode(encoding))).units == {"größe": "µm"}
    assert "UTF-16" in one_line(read_table, file(text.encode("utf-16")[:-1]))


def test_a_row_that_begins_with_a_spreadsheets_word_is_data_and_a_comment_is_said(file, one_line):
    text = "# above\nx,y\n#N/A,1\n#na,2\n# between\n3,4\n5,6\n"
    table = read_table(file(text), drop_missing=True)
    assert (len(table), table.dropped, table.missing) == (2, 2, {"x": 2, "y": 0})
    assert table.notes == ("1 line below the header begins with # and is a comment",)
    path = file("x,y\n1,2\n#DIV/0!,3\n4,5\n")  # not a row less
    assert "'#DIV/0!'" in one_line(read_table, path)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_counter_of_rows_is_left_out_and_said(name, start, file, one_line):
    rows = "".join(f"{start + at},{at * at},{at % 2}\n" for at in range(4))
    path = file(f"{name},x,y\n{rows}")
    table = read_table(path)
    assert list(table.columns) == ["x", "y"]
    assert table.notes == (f"column 1 ({name or 'unnamed'}) counts the rows and is left out",)
    if name:  # it is there for who asks for it
        assert list(read_table(path, columns=[name, "y"]).columns) == [name, "y"]
    skipping = file(f"{name},x,y\n{rows}7,2,3\n")
    if name:
        assert list(read_table(skipping).columns) == [name, "x", "y"]
    else:
        assert "column 1" in one_line(read_table, skipping)


def test_columns_that_may_miss_keep_their_rows(file, one_line):
    path = file("x,z,y\n1,5,1\n2,6,\n,7,3\n4,8,inf\n5,9,2\n")
    assert "2 of 5 rows" in one_line(read_table, path, may_miss=["y"])  # an infinite value is not missing
    table = read_table(path, drop_missing=True, may_miss=["y"])
    np.testing.assert_array_equal(table.columns["y"], [1, np.nan, 2])
    np.testing.assert_array_equal(table.columns["x"], [1, 2, 5])
    assert (table.dropped, table.missing) == (2, {"x": 1, "z": 0, "y": 1})
    assert len(read_table(path, drop_missing=True)) == 2
    beside = read_table(path, columns=["x"], others=True, drop_missing=True, may_miss=["y"])
    assert beside.notes == ("y is left out: it is missing or infinite in 1 of 4 rows",)
    assert beside.passed_over == ("y",)


def test_whole_numbers_are_whole_once_no_row_misses_one(file):
    path = file("x,y\n1,1.0\n,2.0\n3,3.5\n")
    assert read_table(path, may_miss=["x"]).columns["x"].dtype == np.float64
    whole = read_table(path, drop_missing=True).columns
    assert (whole["x"].dtype, whole["y"].dtype) == (np.int64, np.float64)
    # a negative zero and 2⁶³ are none of int64's
    big = read_table(file("x,y\n-0,9223372036854775808\n1,1\n")).columns
    assert np.signbit(big["x"][0])
    assert big["y"][0] == 2.0**63


def test_a_hundred_thousand_rows_of_text_take_less_than_two_seconds(file):
    words = ["dwarf", "giant", "middling", "other"]
    rows = [",".join(words[(at * 7 + shift) % 4] for shift in range(5)) for at in range(100_000)]
    path = file("a,b,c,d,e\n" + "\n".join(rows))
    start = time.process_time()
    table = read_table(path)
    assert time.process_time() - start < 2
    assert len(table) == 100_000
    assert set(table.kinds.values()) == {"category"}


@pytest.mark.parametrize(
    "cell", ["1" * 50_000 + ",5", "a" + " " * 50_000 + "b", "1 200" * 10_000, "1," * 20_000]
)
def test_the_time_of_a_long_cell_grows_with_its_length_only(cell, column, one_line):
    start = time.process_time()
    message = one_line(column, cell, "0.5x")
    assert time.process_time() - start < 1  # ten times the length squared were half a minute
    assert len(message) < 400
