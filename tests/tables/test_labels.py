"""Text becomes codes that say what they stand for: booleans, categories; never a name or free text."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brg_prob.tables import TableError, read_table
from brg_prob.tables.cells import MISSING

FIXED = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)


@pytest.mark.parametrize("pair", [("no", "yes"), ("N", "Y"), ("False", "true"), ("F", "T")])
def test_two_words_for_no_and_yes_are_0_and_1(pair, column):
    no, yes = pair
    table = column(yes, no, yes.upper(), no)
    assert table.columns["c"].tolist() == [1, 0, 1, 0]
    assert table.columns["c"].dtype == np.int64
    assert (table.kinds["c"], table.levels["c"]) == ("boolean", pair)
    assert table.notes == (f"c: {yes} is 1 and {no} is 0",)


def test_a_boolean_that_is_always_the_same_keeps_its_meaning(column):
    table = column("yes", "yes")
    assert table.columns["c"].tolist() == [1, 1]
    assert table.levels["c"] == ("no", "yes")


def test_labels_are_coded_in_alphabetical_order_and_said(column):
    table = column("middling", "giant", "dwarf", " giant ", "middling")
    assert table.columns["c"].tolist() == [2, 1, 0, 1, 2]
    assert (table.kinds["c"], table.levels["c"]) == ("category", ("dwarf", "giant", "middling"))
    assert table.notes == ("c: 3 levels (dwarf = 0, giant = 1, middling = 2)",)


def test_words_of_different_pairs_are_labels(column):
    assert column("yes", "false", "yes").kinds["c"] == "category"


def test_many_levels_are_said_in_one_short_line(column):
    table = column(*[f"L{at:03}" for at in range(200)] * 2)
    assert table.columns["c"].max() == 199
    assert table.notes[0].startswith("c: 200 levels (L000 = 0, ")
    assert table.notes[0].endswith("…, L199 = 199)")
    assert len(table.notes[0]) < 200


def test_leading_zeros_make_labels_of_numbers(column):
    table = column("00123", "45678", "00123")
    assert table.levels["c"] == ("00123", "45678")
    assert table.notes[0] == "c: numbers with leading zeros, such as 00123, are labels"
    assert column("0", "10", "0.5").kinds["c"] == "number"


def test_names_and_free_text_are_refused_when_used_and_passed_over_when_not(file, one_line):
    path = file("who,x,y\nada,1,2\nbob,3,4\ncyd,5,7\n")
    assert "column 'who'" in one_line(read_table, path)
    assert "'ada'" in one_line(read_table, path, columns=["who", "y"])
    table = read_table(path, columns=["x", "y"], others=True)
    assert table.passed_over == ("who",)
    assert table.notes[0].startswith("who is left out: it is not numeric (first such value 'ada')")


def test_labels_of_control_characters_are_refused(column, one_line):
    message = one_line(column, "a\x1b[31m", "b", "a\x1b[31m")
    assert "control characters" in message
    assert "\x1b" not in message


def test_missing_cells_of_text_are_missing_codes_and_odd_words_are_said(column):
    table = column("light", "None", "heavy", "light", "", may_miss=["c"])
    np.testing.assert_array_equal(table.columns["c"], [1, np.nan, 0, 1, np.nan])
    assert table.missing["c"] == 2
    assert "c: 'None' read as missing" in table.notes
    dropped = column("light", "None", "heavy", "light", "", drop_missing=True)
    assert dropped.columns["c"].dtype == np.int64
    assert dropped.columns["c"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("word", sorted(MISSING | {"NaN", "NULL", "#N/A", "Missing"}))
def test_every_word_for_missing_is_missing_and_no_other(word, column):
    table = column("1.5", word, "2.5", may_miss=["c"])
    np.testing.assert_array_equal(table.columns["c"], [1.5, np.nan, 2.5])


def test_a_sentinel_is_a_number(column):
    assert column("-999", "1.5").columns["c"].tolist() == [-999, 1.5]


LABEL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@settings(max_examples=100, **FIXED)
@given(
    labels=st.lists(LABEL, min_size=1, max_size=5, unique=True), picks=st.lists(st.integers(0, 4), min_size=2)
)
def test_labels_come_back_from_their_codes(labels, picks, file, one_line):
    cells = [labels[pick % len(labels)] for pick in picks]
    rows = ['{},"{}"'.format(at, cell.replace('"', '""')) for at, cell in enumerate(cells)]
    path, options = file("\n".join(["x,c", *rows])), {"drop_missing": True, "columns": ["x", "c"]}
    try:
        table = read_table(path, **options)
    except TableError:
        one_line(read_table, path, **options)
        return
    if table.kinds["c"] not in ("category", "boolean"):
        return
    codes = table.columns["c"]
    kept = [cells[at] for at in table.columns["x"]]
    read = [table.levels["c"][code] for code in codes]
    same = str.lower if table.kinds["c"] == "boolean" else str
    assert [*map(same, read)] == [*map(same, kept)]
    if table.kinds["c"] == "category":
        assert list(table.levels["c"]) == sorted(
            table.levels["c"], key=lambda label: (label.casefold(), label)
        )


def test_booleans_of_parquet_with_gaps_are_whole_once_these_are_left_out(tmp_path):
    import pandas as pd

    pd.DataFrame({"c": [True, None, False], "y": [1.5, 2.5, 3.5]}).to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet", drop_missing=True)
    assert (table.kinds["c"], table.levels["c"]) == ("boolean", ("false", "true"))
    assert table.columns["c"].tolist() == [1, 0]
    assert table.columns["c"].dtype == np.int64
    gaps = read_table(tmp_path / "a.parquet", may_miss=["c"]).columns["c"]
    np.testing.assert_array_equal(gaps, [1, np.nan, 0])


@pytest.mark.parametrize("how", ["npz", "parquet", "nc"])
def test_text_in_arrays_is_read_as_text_in_files(how, tmp_path):
    import pandas as pd
    import xarray as xr

    path, kinds, y = tmp_path / f"a.{how}", np.array(["b", "a", "b"]), np.arange(3.0)
    if how == "npz":
        np.savez(path, kind=kinds, y=y)
    elif how == "parquet":
        pd.DataFrame({"kind": pd.Categorical(kinds), "y": y}).to_parquet(path)
    else:
        xr.Dataset({"kind": ("row", kinds), "y": ("row", y)}).to_netcdf(path, engine="h5netcdf")
    table = read_table(path)
    assert table.columns["kind"].tolist() == [1, 0, 1]
    assert table.levels == {"kind": ("a", "b")}
