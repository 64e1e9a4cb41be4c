"""Inputs and targets taken from a table."""

import numpy as np

from brg_prob.tables import read_table, refuse_constant, regression


def table_of(tmp_path, **columns):
    np.savez(tmp_path / "t.npz", **columns)
    return read_table(tmp_path / "t.npz", may_miss=["y"])


def test_regression_takes_y_or_the_last_column_as_target(tmp_path):
    table = table_of(tmp_path, y=np.array([1.0, 2, 3]), a=np.array([0.0, 1, 2]), b=np.array([0.0, 0, 1]))
    taken = regression(table)
    assert (taken.inputs, taken.targets) == (("a", "b"), ("y",))
    assert taken.x.shape == (3, 2)
    assert taken.y.shape == (3,)
    other = regression(table, inputs=["a"], targets=["b", "y"])
    assert other.x.shape == (3, 1)
    assert other.y.shape == (3, 2)
    assert regression(table, inputs=["y"]).targets == ("b",)


def test_targets_and_inputs_that_make_no_regression(tmp_path, one_line):
    twice = table_of(tmp_path, x=np.array([0.0, 1, 0, 1]), t=np.array([3.0, 4, 3, 5]), y=np.arange(4.0))
    assert "both input and target" in one_line(regression, twice, inputs=["x"], targets=["x"])
    assert "'x'" in one_line(regression, twice, inputs=["x", "x"], targets=["y"])
    assert "'y'" in one_line(regression, twice, targets=["y", "y"])
    assert "no column 'z'" in one_line(regression, twice, targets=["z"])
    assert "no input column" in one_line(regression, table_of(tmp_path, y=np.arange(3.0)))


def test_repeated_inputs_and_constant_targets_are_a_regression(tmp_path):
    taken = regression(table_of(tmp_path, x=np.array([0.0, 1, 0]), y=np.ones(3)))
    np.testing.assert_array_equal(taken.x, [[0], [1], [0]])
    np.testing.assert_array_equal(taken.y, [1, 1, 1])


def test_a_constant_target_is_refused_for_who_cannot_learn_from_it(tmp_path, one_line):
    flat = regression(table_of(tmp_path, x=np.arange(3.0), y=np.array([7.0, np.nan, 7.0])))
    assert "target 'y' of 'a.csv' is constant (7)" in one_line(refuse_constant, flat, "a.csv")
    both = regression(table_of(tmp_path, x=np.arange(3.0), a=np.ones(3), b=np.arange(3)), targets=["b", "a"])
    assert "target 'a'" in one_line(refuse_constant, both, "a.csv")
    refuse_constant(regression(table_of(tmp_path, x=np.arange(3.0), y=np.arange(3))), "a.csv")


def test_codes_and_booleans_enter_a_regression_as_numbers(file):
    taken = regression(read_table(file("who,passed\ncat,yes\ndog,no\ncat,no\n")))
    assert taken.x.dtype == taken.y.dtype == np.float64
    np.testing.assert_array_equal(taken.x[:, 0], [0, 1, 0])
    np.testing.assert_array_equal(taken.y, [1, 0, 0])
