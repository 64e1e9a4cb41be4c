"""The data's spectrum: its band covers the prior predictive law, another mass leaves it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from brg_prob.erg import FreeTheory
from brg_prob.observables import data_spectrum
from brg_prob.observables.data_spectrum import steady

THEORY = FreeTheory(dim=1, box=20.0, cutoff=30.0, noise=0.3, mass=1.5, amplitude=1.2)
N = 240
X = np.arange(N)[:, None] * THEORY.box / N
P = 2 * np.pi * np.arange(-95, 96) / THEORY.box
COSINES = np.cos(P[:, None, None] * (X - X.T))


def root(mass=1.5):
    """A square root of the covariance of the data, the sum over momenta written out."""
    g = 1.2**2 / (P**2 + mass**2) * (np.abs(P) <= 30)
    return np.linalg.cholesky(np.tensordot(g, COSINES, 1) / 20 + 0.3**2 * np.eye(N))


def spectrum(y, preparation=None, theory=THEORY, x=X):
    return data_spectrum(SimpleNamespace(x=x, targets=y), theory, preparation=preparation)


def covered(factor, seeds=60):
    """The number of bins inside the band over records of another mass, and of all bins."""
    inside = [
        (found.power.values >= found.low.values) & (found.power.values <= found.high.values)
        for found in (
            spectrum(factor @ np.random.default_rng(s).standard_normal((N, 1))) for s in range(seeds)
        )
    ]
    return int(np.sum(inside)), int(np.size(inside))


def test_the_band_covers_ninety_five_percent_of_prior_data():
    inside, total = covered(root())
    assert total == 60 * 60
    assert stats.binomtest(inside, total, 0.95).pvalue > 1e-3


def test_another_mass_leaves_the_band():
    inside, total = covered(root(mass=0.4))
    assert stats.binomtest(inside, total, 0.95).pvalue < 1e-6


def test_power_and_prediction_by_hand_in_the_records_unit(preparation):
    y = np.random.default_rng(0).standard_normal((N, 1))
    found = spectrum(y, preparation)
    p = 2 * np.pi * np.arange(24) / 20
    waves = np.abs(np.fft.fft(y[:, 0])[:24]) ** 2 * 20 / N**2
    np.testing.assert_allclose(found.momentum[:24], p)
    np.testing.assert_allclose(found.power[:24], 2.5**2 * waves, rtol=1e-9)
    exact = 2.5**2 * (1.2**2 / (p**2 + 1.5**2) + 0.3**2 * 20 / N)
    np.testing.assert_allclose(found.predicted[:24], exact, rtol=1e-7)
    chi2 = stats.chi2.ppf(0.975, 2) / 2
    np.testing.assert_allclose(found.high[1:24], exact[1:] * chi2, rtol=1e-7)
    np.testing.assert_allclose(found.low[0], exact[0] * stats.chi2.ppf(0.025, 1), rtol=1e-9)
    assert found.modes.values.sum() == N - 1 and found.modes.values[:3].tolist() == [1, 2, 2]
    assert np.all(found.low < found.predicted) and np.all(found.predicted < found.high)
    assert found.attrs["note"] == ""


def test_the_first_of_several_outputs_is_shown_and_a_centred_one_has_no_zero_mode():
    y = np.random.default_rng(1).standard_normal((N, 2))
    np.testing.assert_allclose(spectrum(y).power, spectrum(y[:, :1]).power)
    centred = spectrum(y - y.mean(axis=0))
    assert centred.momentum.values[0] > 0 and "zero mode" in centred.attrs["note"]


@pytest.mark.parametrize("x", [X**1.1, X * 2, np.hstack([X, X])])
def test_inputs_that_do_not_fill_the_box_have_no_spectrum(x):
    assert spectrum(np.ones((N, 1)), x=x) is None


def test_two_dimensions():
    side = 9
    axes = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    x = np.stack([axis.ravel() for axis in axes], axis=1) * 0.5
    theory = dataclasses.replace(THEORY, dim=2, box=4.5, cutoff=6.0)
    found = spectrum(np.random.default_rng(2).standard_normal((side**2, 1)), theory=theory, x=x)
    assert found.modes.values.sum() == side**2 and np.all(np.diff(found.momentum) > 0)


def grid(dim, side):
    """An equispaced grid of spacing 0.5 and the theory in its box."""
    axes = np.meshgrid(*[np.arange(side)] * dim, indexing="ij")
    x = np.stack([axis.ravel() for axis in axes], axis=1) * 0.5
    return x, dataclasses.replace(THEORY, dim=dim, box=0.5 * side, cutoff=3.0)


@pytest.mark.parametrize(("dim", "side"), [(1, 122), (1, 191), (1, 1000), (1, 4001), (2, 9), (2, 40), (3, 8)])
def test_no_bin_holds_fewer_modes_than_the_one_before_and_the_band_never_widens(dim, side):
    x, theory = grid(dim, side)
    found = spectrum(np.random.default_rng(3).standard_normal((side**dim, 1)), theory=theory, x=x)
    assert found.modes.values.sum() == (side - 1 + side % 2) ** dim  # the Nyquist wave is left out
    assert 4 < found.modes.size <= 60
    assert np.all(np.diff(found.modes) >= 0)
    white = found.momentum.values > 3.8  # beyond the cutoff all modes have one variance
    ratio = (found.high / found.low).values[white]
    assert ratio.size > 2 and np.all(np.diff(ratio) <= 1e-9)


def test_merging_by_hand():
    starts, counts = np.arange(8), np.array([1, 4, 2, 2, 3, 2, 9, 1])
    assert steady(starts, counts).tolist() == [0, 1, 2, 4, 6]
    assert np.add.reduceat(counts, steady(starts, counts)).tolist() == [1, 4, 4, 5, 10]
    alternating = np.add.reduceat(counts, starts)  # the control
    assert np.any(np.diff(alternating) < 0)
