"""Tables of eight kinds that people have, each read whole: rows, first values, and all that is said."""

import numpy as np
import pytest

from brg_prob.tables import read_table


def rows(*columns):
    """Return lines of comma-separated cells."""
    return "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


MONTHS = [f"{1998 + at // 12}-{at % 12 + 1:02}-01" for at in range(30)]
QUARTERS = [f"{1988 + at // 4}Q{at % 4 + 1}" for at in range(20)]
Y = [(7 * at % 11) / 4 for at in range(30)]
CASES = {
    "dates": (
        "when,sea level [cm]\n" + rows(MONTHS, Y),
        {"when": [1998, 1998 + 1 / 12, 1998 + 2 / 12], "sea level": Y[:3]},
        ["when: calendar dates as years, months taken as equispaced twelfths"],
    ),
    "quarters": (
        "quarter,rate [%]\n" + rows(QUARTERS, Y[:20]),
        {"quarter": [1988, 1988.25, 1988.5], "rate": Y[:3]},
        ["quarter: quarters as years, equispaced by a fourth"],
    ),
    "decimal comma": (
        "x;y\n-0,4;3,7\n1,8;-1,25\n0,75;2\n",
        {"x": [-0.4, 1.8, 0.75], "y": [3.7, -1.25, 2]},
        ["x, y: comma read as the decimal point because semicolons separate"],
    ),
    "thousands": (
        'year,sold\n1990,"870"\n1991,"1,002"\n1992,"1,120"\n',
        {"year": [1990, 1991, 1992], "sold": [870, 1002, 1120]},
        ["sold: thousands separators removed"],
    ),
    "counter": (
        ",x,y\n0,1.5,2\n1,2.5,3\n2,0.5,7\n",
        {"x": [1.5, 2.5, 0.5], "y": [2, 3, 7]},
        ["column 1 (unnamed) counts the rows and is left out"],
    ),
    "labels": (
        "soil,y\nsand,1\nclay,2\nloam,4\nclay,3\n",
        {"soil": [2, 0, 1], "y": [1, 2, 4]},
        ["soil: 3 levels (clay = 0, loam = 1, sand = 2)"],
    ),
    "yes and no": (
        "dose,cured\n0.5,no\n1.5,yes\n2.5,yes\n",
        {"dose": [0.5, 1.5, 2.5], "cured": [0, 1, 1]},
        ["cured: yes is 1 and no is 0"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_table_as_people_have_it_is_read_and_said(case, file):
    text, first, said = CASES[case]
    table = read_table(file(text))
    assert len(table) == text.count("\n") - 1
    assert {name: values[:3].tolist() for name, values in table.columns.items()} == first
    assert list(table.notes) == said
    assert table.dropped == 0


def test_missing_rows_are_counted_and_one_that_begins_with_a_hash_is_no_comment(file, one_line):
    path = file("t,y\n0,1.5\n#N/A,3.5\n2,#N/A\n3,NA\n4,\n5,2.5\n")
    message = one_line(read_table, path)
    assert "4 of 6 rows" in message
    assert "--drop-missing" in message
    table = read_table(path, drop_missing=True)
    np.testing.assert_array_equal(table.columns["t"], [0, 5])
    assert (table.dropped, table.missing) == (4, {"t": 1, "y": 3})
