"""The annual cycle: share of variance against the cycle put in, false alarms on red noise, units of time."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from brg_prob.series import annual_cycle


def red(rng, records, n, memory):
    """Stationary first-order autoregressions of unit variance, (records, n)."""
    steps = rng.standard_normal((records, n))
    steps[:, 1:] *= np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], steps, axis=1)


@pytest.mark.parametrize(("n", "memory"), [(40, 0.5), (60, 0.98), (240, 0.9), (240, 0.0)])
def test_red_noise_has_a_cycle_no_oftener_than_the_level_says(n, memory):
    rng = np.random.default_rng(0)
    months = np.arange(float(n))
    p = np.array([annual_cycle(months, y, "months").p_value for y in red(rng, 1500, n, memory)])
    for level in (0.001, 0.05):
        # and not much above it, since 6 % at .05 was the most in simulations of 4000
        assert np.sum(p < level) <= binom.isf(1e-4, 1500, 1.3 * level)
    assert np.mean(p < 0.05) > 0.01  # not merely because nothing is ever found


@pytest.mark.parametrize(("n", "size"), [(60, 2.0), (240, 0.6)])
def test_a_cycle_is_found_and_its_share_is_the_one_put_in(n, size):
    rng = np.random.default_rng(1)
    months = np.arange(float(n))
    phase = rng.uniform(0, 2 * np.pi, (60, 1))
    records = red(rng, 60, n, 0.5) + size * np.sqrt(2) * np.cos(2 * np.pi * months / 12 + phase)
    found = [annual_cycle(months, y + 0.1 * months, "months") for y in records]  # a line is no cycle
    assert np.mean([cycle.found for cycle in found]) > 0.9
    share = np.mean([cycle.share for cycle in found])
    assert share == pytest.approx(size**2 / (1 + size**2), abs=0.08)
    beside = red(rng, 60, n, 0.5) + size * np.sqrt(2) * np.cos(2 * np.pi * months / 17 + phase)
    assert np.mean([annual_cycle(months, y, "months").found for y in beside]) < 0.1  # another period


def test_a_half_yearly_cycle_belongs_to_the_year():
    months = np.arange(120.0)
    rng = np.random.default_rng(2)
    cycle = annual_cycle(months, np.cos(2 * np.pi * months / 6) + 0.3 * rng.normal(size=120), "months")
    assert cycle.found and cycle.share == pytest.approx(0.5 / 0.59, abs=0.05)


@pytest.mark.parametrize(
    ("unit", "year"),
    [
        ("yr", 1),
        ("Years", 1),
        ("month", 12),
        ("d", 365.2425),
        ("days since 1950-01-01", 365.2425),
        ("h", 8765.82),
    ],
)
def test_every_unit_of_time_gives_the_same_answer(unit, year):
    rng = np.random.default_rng(3)
    years = rng.permutation(1951 + np.arange(100) / 12)
    y = 2 * np.cos(2 * np.pi * years) + rng.normal(size=100)
    found, known = annual_cycle(years * year, y, unit), annual_cycle(years, y, "year")
    assert found.found and found.share == pytest.approx(known.share, rel=1e-6)
    carried = f"an annual cycle carries {100 * known.share:.0f} % of the variance about a straight line"
    assert found.sentence == f"{carried}; nothing was done about it"


def test_what_cannot_be_judged_is_not():
    y = np.random.default_rng(4).normal(size=100)
    months = np.arange(100.0)
    assert annual_cycle(months, y, "m") is None  # metres
    assert annual_cycle(months, y, "") is None
    assert annual_cycle(months[:30], y[:30], "months") is None  # less than three years
    assert annual_cycle(np.arange(100) / 2, y, "yr") is None  # two points a year
    assert annual_cycle(months, np.full(100, 7.1), "months") is None
    pure = annual_cycle(months, np.cos(2 * np.pi * months / 12), "months")
    assert pure.p_value == 0 and pure.share == 1
    assert annual_cycle(np.zeros(100), y, "yr") is None
    quarters = annual_cycle(np.arange(100) / 4, y, "yr")  # one harmonic, on both sides of the axis
    assert (
        not quarters.found and quarters.sentence == f"no annual cycle was found (p = {quarters.p_value:.2g})"
    )
