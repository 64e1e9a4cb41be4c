"""A table read for whoever judges its gaps: what can be read is there, and nothing is refused for a gap."""

import numpy as np
import pytest

from brg_prob.tables import TableError, read_table

TEXT = "x,note,y,z\n1,ab1,2.5,inf\n2,c2,,1\n3,d e,0.5,\n"


def test_whatever_can_be_read_keeps_its_gaps(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TEXT)
    table = read_table(path, columns=(), others=True, may_miss=None)
    assert (list(table.columns), table.passed_over) == (["x", "y", "z"], ("note",))
    np.testing.assert_array_equal(table.columns["y"], [2.5, np.nan, 0.5])
    np.testing.assert_array_equal(table.columns["z"], [np.inf, 1, np.nan])
    assert table.columns["x"].dtype.kind == "i"
    assert table.dropped == 0
    for refused in ({}, {"columns": ["x", "y"]}, {"columns": ["z"], "may_miss": ["z"]}):  # the controls
        with pytest.raises(TableError):
            read_table(path, **refused)
    assert len(read_table(path, columns=["x", "z"], may_miss=None)) == 3
