"""What a picture leaves out of a long series takes no peak with it."""

import numpy as np
import pytest

from brg_prob.arrays import thin
from brg_prob.figures.thinning import peaks, spread


@pytest.mark.parametrize("size", [5000, 5001, 99_991])
def test_a_line_keeps_the_extremes_of_every_stretch(size):
    rng = np.random.default_rng(size)
    curve = np.cumsum(rng.standard_normal(size))
    curve[rng.integers(0, size, 7)] += 100 * rng.standard_normal(7)
    kept = peaks(curve, most=400)
    assert kept.size <= 400
    assert np.all(np.diff(kept) > 0)
    assert {0, size - 1} <= set(kept.tolist())
    width = -(-size // 199)  # stretches of which both extremes fit
    for start in range(0, size, width):
        stretch = curve[start : start + width]
        inside = curve[kept[(kept >= start) & (kept < start + width)]]
        assert (inside.min(), inside.max()) == (stretch.min(), stretch.max())
    even = curve[thin(size, 400)]
    assert (even.min(), even.max()) != (curve.min(), curve.max())  # evenly spread points lose them
    assert (curve[kept].min(), curve[kept].max()) == (curve.min(), curve.max())


def test_a_band_keeps_the_extremes_of_both_edges():
    at = np.linspace(0, 1, 30_000)
    even = thin(at.size, 2000)
    other = np.setdiff1d(np.arange(at.size), even)
    low, high = -1 - at, 1 + at
    low[other[9000]], high[other[20_000]] = -9.0, 9.0
    kept = peaks(low, high)
    assert kept.size <= 2000
    assert (low[kept].min(), high[kept].max()) == (-9, 9)
    assert low[even].min() > -9  # evenly spread points lose them
    assert high[even].max() < 9


def test_gaps_hide_no_peak_and_stay_gaps():
    curve = np.sin(np.arange(10_000) / 50.0)
    curve[4000:8000] = np.nan
    curve[9000] = np.inf
    curve[100] = 7.0
    kept = peaks(curve, most=200)
    assert np.nanmax(curve[kept][np.isfinite(curve[kept])]) == 7
    inside = kept[(kept > 4100) & (kept < 7900)]
    assert inside.size > 10
    assert np.isnan(curve[inside]).all()


def test_markers_are_spread_evenly_and_hold_the_extremes():
    values = np.random.default_rng(0).standard_normal(50_000)
    kept = spread(values, 1500)
    assert kept.size <= 1500
    assert (values[kept].min(), values[kept].max()) == (values.min(), values.max())
    assert np.diff(kept).max() <= 2 * 50_000 / 1500
    assert abs(values[kept].std() - 1) < 0.08  # as the data scatter: 4 standard errors of 1500
    few = np.array([3.0, 1.0, 2.0])
    assert spread(few, 1500).tolist() == peaks(few).tolist() == [0, 1, 2]
    assert spread(np.zeros(0), 4).tolist() == []
