"""Sizes of deviations in words: each with its own unit, none mixed."""

import math

import pytest

from brg_prob.wording import detectable_deviation, deviation


@pytest.mark.parametrize(
    ("size", "unit", "words"),
    [
        (0.0209, "relative", "2.1 %"),
        (0.996, "relative", "100 %"),
        (2.4, "relative", "240 %"),
        (1e-12, "relative", "< 0.1 %"),
        (1e-12, "sd", "1e-12 sd"),
        (0.3, "sd", "0.3 sd"),
        (math.nan, "sd", "–"),
        (None, "relative", "–"),
    ],
)
def test_a_size_has_its_unit(size, unit, words):
    assert deviation(size, unit) == words


def test_the_largest_of_each_unit_is_named_and_what_is_unknown_is_not():
    rows = [
        {"smallest_detectable": 0.02, "unit": "relative"},
        {"smallest_detectable": 0.04},
        {"smallest_detectable": 0.2, "unit": "sd"},
        {"smallest_detectable": None, "unit": "sd"},
        {"smallest_detectable": math.nan},
    ]
    assert detectable_deviation(rows) == "a common deviation of 4.0 % and a shift of 0.2 sd"
    assert detectable_deviation(rows[2:4]) == "a shift of 0.2 sd"
    assert detectable_deviation(rows[3:]) == ""
