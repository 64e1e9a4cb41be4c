"""Numbers as people write them are the numbers they mean, or a column is refused with both readings."""

import decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brg_prob.tables import TableError, read_table

PARTED, COMMA = "c: thousands separators removed", "c: comma read as the decimal point"
FIXED = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)

MEANT = {
    "thousands beside a smaller one": (["1,120", "801"], ",", [1120, 801], [PARTED]),
    "thousands alone, many": (["1,120", "2,340", "15,003"], ",", [1120, 2340, 15003], [PARTED]),
    "two groups": (["1,120,300", "2,000"], ",", [1120300, 2000], [PARTED]),
    "thousands and a point": (["1,120.5", "0.25"], ",", [1120.5, 0.25], [PARTED]),
    "thousands beside a point": (["1,120", "0.5"], ",", [1120, 0.5], [PARTED]),
    "spaces": (["1 120", "12\u202f345", "7"], ",", [1120, 12345, 7], [PARTED]),
    "apostrophes": (["1'120", "2\u2019000.5"], ",", [1120, 2000.5], [PARTED]),
    "typeset minus": (["\u22121.5", "2"], ",", [-1.5, 2], []),
    "decimal comma in quotes": (["0,189", "-1,5"], ",", [0.189, -1.5], [COMMA]),
    "decimal comma and points between thousands": (
        ["1.120,5", "1.120"],
        ",",
        [1120.5, 1120],
        [COMMA, PARTED],
    ),
    "decimal comma after a space": (["1 120,25", "3"], "\t", [1120.25, 3], [COMMA, PARTED]),
    "semicolons": (["1,120", "2,341"], ";", [1.12, 2.341], [f"{COMMA} because semicolons separate"]),
    "points alone": (["1.120", "801"], ",", [1.12, 801], []),
    "points beside a large number": (["1.120", "1801"], ";", [1.12, 1801], []),
    "points beside a fraction": (["1.120", "0.5"], ";", [1.12, 0.5], []),
    "exponents": (["1.5e-3", "+2E5"], ",", [0.0015, 2e5], []),
}


@pytest.mark.parametrize("case", MEANT)
def test_marks_that_the_column_or_the_separator_decides(case, column):
    cells, separator, meant, said = MEANT[case]
    table = column(*cells, separator=separator)
    np.testing.assert_array_equal(table.columns["c"], meant)
    assert table.kinds["c"] == "number"
    assert list(table.notes) == said


@pytest.mark.parametrize(
    ("cells", "separator", "said"),
    [
        (["1,120", "2,340"], ",", ["'1,120'", "1120 or 1.12", "decimal point"]),
        (["1,120", "1120"], ",", ["'1,120'", "1120 or 1.12"]),  # written in two ways, whichever it is
        (["1,120", "801"], ";", ["'1,120'", "1120 or 1.12"]),  # cells and separator disagree
        (["1.120", "801"], ";", ["'1.120'", "1120 or 1.12"]),  # where semicolons separate, commas are decimal
        (["1,120", "1.120"], ",", ["'1,120'", "1120 or 1.12"]),
        (["1,5", "2.5"], ",", ["'1,5'", "'2.5'", "write one"]),
        (["5", "$6"], ",", ["'$6'", "[unit]"]),
        (["5 %", "6 %"], ",", ["'5 %'", "[unit]"]),
        (["1,120 EUR", "2"], ",", ["'1,120 EUR'", "[unit]"]),
        (["5 kg", "6 kg", "5 kg"], ",", ["'5 kg'", "[kg]"]),
        (["12", "calm", "3"], ",", ["'calm'", "convert it"]),
        (["1,12,3", "4"], ",", ["'1,12,3'"]),
        (["007", "0.5", "007"], ",", ["'007'", "leading zeros", "'0.5'"]),
    ],
)
def test_a_column_of_two_readings_or_more_than_numbers_is_refused_with_its_value(
    cells, separator, said, column, one_line
):
    message = one_line(column, *cells, separator=separator)
    assert "column 'c'" in message
    for part in said:
        assert part in message


def test_other_columns_of_the_file_decide_what_a_column_leaves_open(file):
    table = read_table(file('a,b\n"0,5","1,120"\n"1,5","2,000"\n'))
    np.testing.assert_array_equal(table.columns["b"], [1.12, 2])
    assert table.notes == ("a, b: comma read as the decimal point",)
    table = read_table(file("a;b\n0,5;1.120\n1,5;2.340\n"))
    np.testing.assert_array_equal(table.columns["b"], [1120, 2340])
    assert table.notes[-1] == "b: thousands separators removed"
    table = read_table(file('a,b\n0.5,"1,120"\n1.5,"2,000"\n'))
    np.testing.assert_array_equal(table.columns["b"], [1120, 2000])


def test_points_in_a_file_of_decimal_commas_part_thousands_only_if_all_do(file, one_line):
    assert "1120 or 1.12" in one_line(read_table, file("a;b\n0,5;1.120\n1,5;1120\n"))
    both = read_table(file("a;b;c\n0,5;0.5;1.120\n1,5;1.5;2.340\n"))
    assert both.columns["c"].tolist() == [1.12, 2.34]


def test_a_file_of_both_marks_decides_nothing(file, one_line):
    assert "1120 or 1.12" in one_line(read_table, file('a,b,c\n"0,5",0.5,"1,120"\n"1,5",1.5,"2,000"\n'))


@settings(max_examples=80, **FIXED)
@given(
    values=st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=8),
    places=st.integers(0, 3),
    marks=st.sampled_from([",.", ".,", " .", " ,", "'.", "\u00a0,"]),
)
def test_numbers_with_any_marks_are_the_numbers_or_refused(values, places, marks, file, one_line):
    """Whatever is read is what was meant: a table with thousands and decimals is never another one."""
    group, point = marks
    meant = [decimal.Decimal(value).scaleb(-places) for value in values]
    swap = str.maketrans({",": group, ".": point})
    rows = [f'{at}\t"{number:,}"'.translate(swap) for at, number in enumerate(meant)]
    path = file("x\tc\n" + "\n".join(rows))
    try:
        read = read_table(path).columns["c"]
    except TableError:
        assert "may be" in one_line(read_table, path)
        return
    if group == "." and not any("," in row for row in rows):
        return  # points between thousands alone are decimal points, as in every other table
    np.testing.assert_array_equal(read, [float(number) for number in meant])


def test_plain_numbers_say_nothing(file):
    table = read_table(file("a,b\n1,0.125\n2,2.5\n"))
    assert table.notes == ()
    assert {name: values.dtype for name, values in table.columns.items()} == {"a": np.int64, "b": np.float64}
