"""Curves on common grids: what is linear is exact, what is curved stays inside the stated bound."""

import numpy as np
import pytest

from brg_prob.comparison.interpolation import Curve, common_grid, on_grid, same_grid


def curve(at, value, error=0.0):
    return Curve(at, value, np.full_like(value, error))


def test_the_same_grid_changes_nothing():
    at = np.linspace(0, 3, 7)
    given = curve(at, np.exp(-at), 0.1)
    moved = on_grid(given, at + 1e-12)
    np.testing.assert_array_equal(moved.value, given.value)
    np.testing.assert_array_equal(moved.error, given.error)


def test_a_straight_line_is_exact_with_no_added_error():
    at, grid = np.array([0.0, 1.0, 2.5, 4.0]), np.array([0.5, 1.0, 3.9])
    moved = on_grid(curve(at, 2 - 3 * at, 0.2), grid)
    np.testing.assert_allclose(moved.value, 2 - 3 * grid, rtol=1e-14)
    np.testing.assert_allclose(moved.error, 0.2, rtol=1e-12)


@pytest.mark.parametrize("points", [9, 17, 40])
def test_the_bound_holds_for_a_propagator_and_is_not_idle(points):
    """exp(−r): the error of linear interpolation is within the bound, the bound within twice it."""
    at, grid = np.linspace(0, 4, points), np.linspace(0, 4, 101)
    moved = on_grid(curve(at, np.exp(-at)), grid)
    off = np.abs(moved.value - np.exp(-grid))
    assert np.all(off <= moved.error * 1.1 + 1e-12)  # f″ grows faster than linearly at the end
    assert off.max() > 0.5 * moved.error.max()
    assert off.max() > 1e-5


def test_the_common_grid_does_not_depend_on_the_order():
    fine, coarse = np.linspace(0, 4, 33), np.linspace(0.3, 5, 11)
    forth, back = common_grid([fine, coarse]), common_grid([coarse, fine])
    np.testing.assert_array_equal(forth, back)
    np.testing.assert_array_equal(forth, coarse[coarse <= 4])


def test_grids_that_do_not_overlap_have_nothing_in_common():
    assert common_grid([np.linspace(0, 1, 5), np.linspace(2, 3, 5)]) is None
    assert not same_grid(np.linspace(0, 1, 5), np.linspace(0, 1, 6))
