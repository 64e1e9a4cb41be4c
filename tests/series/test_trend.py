"""The line that stands out: least squares, and how often chance or a season looks like one."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import linregress

from brg_prob.series import straight_line


def red(rng, records, n, memory):
    """Stationary first-order autoregressions of unit variance, (records, n)."""
    steps = rng.standard_normal((records, n))
    steps[:, 1:] *= np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], steps, axis=1)


def rate(records, x=None):
    """Part of the records out of which a line stands."""
    x = np.arange(records.shape[1], dtype=float) if x is None else x
    return np.mean([straight_line(x, y).stands_out for y in records])


def test_the_line_is_that_of_least_squares_in_any_order_of_rows():
    rng = np.random.default_rng(0)
    x = rng.uniform(1900, 1950, 30)
    y = 3 * x + rng.normal(size=30)
    line, known = straight_line(x, y), linregress(x, y)
    assert line.slope == pytest.approx(known.slope, rel=1e-12)
    assert line.rise == pytest.approx(known.slope * np.ptp(x), rel=1e-12)
    assert line.spread == pytest.approx(np.std(y - known.intercept - known.slope * x), rel=1e-9)


def test_of_independent_rows_the_error_is_at_least_that_of_least_squares():
    rng = np.random.default_rng(1)
    x = np.arange(400.0)
    errors, known = [], []
    for y in rng.standard_normal((200, 400)):
        errors.append(straight_line(x, y).error)
        known.append(linregress(x, y).stderr * 399)
    assert np.all(errors > 0.98 * np.array(known))
    assert np.median(errors) < 2 * np.median(known)


@pytest.mark.parametrize(("n", "memory"), [(60, 0.5), (200, 0.0), (200, 0.9), (600, 0.97)])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_red_noise_seldom_looks_like_a_line(n, memory, noise):
    rng = np.random.default_rng(2)
    records = red(rng, 600, n, memory) + noise * rng.standard_normal((600, n))
    # records of twenty correlation times and more; 2000 of them gave at most 1.8 %
    assert rate(records) < 0.035
    # negative control: the textbook's error, which knows no memory
    u = np.arange(float(n))
    textbook = [abs(f.slope) > 3 * f.stderr for f in (linregress(u, y) for y in records[:200])]
    assert np.mean(textbook) > 0.3 or memory < 0.9


@pytest.mark.parametrize("years", [1.5, 3.3, 5.0, 30.0])
def test_a_season_never_looks_like_a_line_wherever_it_starts_and_ends(years):
    rng = np.random.default_rng(3)
    t = np.arange(int(12 * years)) / 12
    season = 3 * np.cos(2 * np.pi * t + rng.uniform(0, 2 * np.pi, (400, 1)))
    records = season + red(rng, 400, t.size, 0.8)
    assert rate(records, t) == 0
    ends = np.abs(records[:, -1] - records[:, 0]) / records.std(axis=1)
    assert np.mean(ends > 0.5) > 0.5  # negative control: the line between the ends


@pytest.mark.parametrize(("n", "memory", "rise"), [(200, 0.5, 3.0), (600, 0.9, 6.0), (200, 0.9, 8.0)])
def test_a_true_trend_stands_out(n, memory, rise):
    records = red(np.random.default_rng(4), 100, n, memory) + rise * np.linspace(-0.5, 0.5, n)
    assert rate(records) > 0.9
    assert rate(records - rise * np.linspace(-0.5, 0.5, n)) < 0.05


def test_a_rise_that_does_not_matter_is_left_however_sure_it_is():
    x = np.arange(20000.0)
    line = straight_line(x, 0.3 * x / 20000 + np.random.default_rng(5).standard_normal(20000))
    assert abs(line.rise) > 3 * line.error and not line.stands_out


def test_few_rows_and_constants_show_no_line():
    assert not straight_line(np.arange(11.0), np.arange(11.0)).stands_out
    assert straight_line(np.arange(12.0), np.arange(12.0)).stands_out
    constant = straight_line(np.arange(50.0), np.full(50, 7.1))
    assert constant.slope == 0 and not constant.stands_out
