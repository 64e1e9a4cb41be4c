"""Averages of connected functions over pairs against cumulants pair by pair, and their errors."""

import numpy as np
import pytest
from scipy import stats

from brg_prob.correlators import cumulant, excess_kurtosis
from brg_prob.observables.connected_functions import Pairs, connected_functions, pairs_of

N, SIDE = 24, 6.0
X = np.arange(N)[:, None] * SIDE / N


def lattice_root():
    """A square root of the covariance of a free field, m = 1, on a circle of circumference 6."""
    p = 2 * np.pi * np.fft.fftfreq(N, SIDE / N)
    covariance = np.cos(p * (X - X.T)[..., None]) @ (1 / (p**2 + 1)) / SIDE
    return np.linalg.cholesky(covariance), covariance


def skewed(rng, chains, draws, points):
    """Correlated points of a field that is far from Gaussian."""
    mixing = np.eye(points) + 0.5 * np.eye(points, k=1)
    return rng.standard_exponential((chains, draws, points)) @ mixing


@pytest.mark.parametrize("chains", [1, 3])
def test_averages_are_those_of_the_cumulants_of_each_pair(chains, monkeypatch):
    five_pairs = 5 * 400 * chains
    monkeypatch.setattr("brg_prob.observables.connected_functions._BLOCK", five_pairs)  # at a time
    f = skewed(np.random.default_rng(0), chains, 400, 12)
    pairs = pairs_of(np.arange(12.0)[:, None])
    found = connected_functions(f, pairs, independent=chains == 1)
    assert pairs.lag.tolist() == list(range(7))
    for lag, (i, j) in enumerate(zip(pairs.left, pairs.right, strict=True)):
        two = cumulant(f, np.stack([i, j], axis=1)).value.mean()
        four = cumulant(f, np.stack([i, i, j, j], axis=1)).value.mean()
        np.testing.assert_allclose(found.two_point.value[lag], two, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(found.four_point.value[lag], four, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.excess_kurtosis.value[0], excess_kurtosis(f).value.mean(), rtol=1e-10)


def test_the_error_of_a_single_pair_is_that_of_its_cumulant():
    f = skewed(np.random.default_rng(1), 4, 300, 2)
    one = Pairs(np.array([0.0, 1.0]), (np.array([0]), np.array([0])), (np.array([0]), np.array([1])))
    for independent in (True, False):
        found = connected_functions(f, one, independent=independent)
        for estimate, indices in (
            (found.two_point, [[0, 0], [0, 1]]),
            (found.four_point, [[0, 0, 0, 0], [0, 0, 1, 1]]),
        ):
            alone = cumulant(f, indices, independent=independent)
            np.testing.assert_allclose(estimate.standard_error, alone.standard_error, rtol=1e-10)
        ratio = excess_kurtosis(f, [0], independent=independent).standard_error
        np.testing.assert_allclose(found.excess_kurtosis.standard_error, ratio, rtol=1e-10)


def test_errors_of_averages_cover_over_seeds_and_naive_ones_do_not():
    root, covariance = lattice_root()
    pairs = pairs_of(X)
    exact = np.array([covariance[i, j].mean() for i, j in zip(pairs.left, pairs.right, strict=True)])
    z, naive = [], []
    for seed in range(200):
        f = np.random.default_rng(seed).standard_normal((1, 300, N)) @ root.T
        found = connected_functions(f, pairs, independent=True)
        deviation = found.two_point.value - exact
        four = found.four_point
        z.append([deviation[3] / found.two_point.standard_error[3], four.value[3] / four.standard_error[3]])
        # the control: base points taken for independent
        spread = cumulant(f, np.stack([pairs.left[3], pairs.right[3]], axis=1), independent=True)
        naive.append(deviation[3] * len(pairs.left[3]) ** 0.5 / spread.standard_error.mean())
    for column in np.transpose(z):
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert stats.kstest(naive, "norm").pvalue < 1e-6


def test_a_repeated_draw_is_no_new_information():
    draws = np.random.default_rng(2).standard_normal((4, 500, 8))
    repeated = np.repeat(draws, 4, axis=1)
    pairs = pairs_of(np.arange(8.0)[:, None])
    once = connected_functions(draws, pairs, independent=True).two_point.standard_error
    right = connected_functions(repeated, pairs, independent=False).two_point.standard_error
    wrong = connected_functions(repeated, pairs, independent=True).two_point.standard_error
    np.testing.assert_allclose(right, once, rtol=0.35)
    np.testing.assert_allclose(wrong, once / 2, rtol=0.05)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_pairs_of_irregular_inputs_lie_at_their_lag(dim):
    x = np.random.default_rng(dim).uniform(0, 10, (300, dim))
    pairs = pairs_of(x)
    assert pairs.lag[0] == 0 and np.all(np.diff(pairs.lag) > 0)
    width = np.ptp(np.linalg.norm(x[:, None] - x, axis=2)) / 2 / 24
    for lag, i, j in zip(pairs.lag, pairs.left, pairs.right, strict=True):
        distance = np.linalg.norm(x[i] - x[j], axis=1)
        assert np.isclose(distance.mean(), lag) and np.ptp(distance) <= width and 0 < len(i) <= 512


def test_a_line_in_any_order_has_its_neighbours_as_pairs():
    x = np.random.default_rng(3).permutation(np.arange(100) * 0.5)[:, None]
    pairs = pairs_of(x)
    assert len(pairs.lag) <= 48 and pairs.lag[-1] == 25.0
    for lag, i, j in zip(pairs.lag, pairs.left, pairs.right, strict=True):
        np.testing.assert_allclose(x[j, 0] - x[i, 0], lag)
    assert [len(pairs_of(np.arange(k)[:, None]).lag) for k in (1, 2, 3)] == [1, 2, 2]


def test_a_field_that_never_moves_has_no_kurtosis_there():
    f = np.random.default_rng(4).standard_normal((1, 200, 3))
    pinned = f * np.array([1.0, 0.0, 1.0])
    every = connected_functions(f[..., [0, 2]], pairs_of(np.arange(2.0)[:, None]), independent=True)
    found = connected_functions(pinned, pairs_of(np.arange(3.0)[:, None]), independent=True)
    np.testing.assert_allclose(found.excess_kurtosis.value, every.excess_kurtosis.value)


def test_four_draws_determine_no_four_point_function():
    with pytest.raises(ValueError, match="4 draws do not determine"):
        connected_functions(np.zeros((1, 4, 3)), pairs_of(np.arange(3.0)[:, None]), independent=True)
