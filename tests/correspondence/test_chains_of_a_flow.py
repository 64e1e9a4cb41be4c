"""Chains of a lattice cos-net against T9, the public way: rejected by chance alone, or called independent.

The exam of the same subject has 200 seeds of chains of several kinds, and of real engines.
"""

import jax
import numpy as np
import pytest
from scipy import stats

from exams.chains import LEVEL, NOISE, Chains, N, found, lattice

DRAWS = Chains(0.6, 0.6, 500)
"""The smallest ESS of 13 modes is near 400."""
SEEDS = 10


def held(scale, *, independent=False, wrong=False):
    """What is found of the same draws, called chains or independent."""
    trees = DRAWS.trees(5, independent=independent)
    return found(trees, SEEDS, key=jax.random.key(5), scales=(scale,), wrong=wrong)


def test_the_law_of_the_chains_is_the_posterior_by_dense_algebra():
    system = lattice()
    features = np.asarray(system.network.features(system.x, {}))
    covariance = np.linalg.inv(np.eye(features.shape[1]) + features.T @ features / NOISE**2)
    mean, spread = system.posterior
    np.testing.assert_allclose(np.diag(spread**2), covariance, atol=1e-13)
    np.testing.assert_allclose(mean, covariance @ features.T @ system.y / NOISE**2, atol=1e-12)
    z = (Chains(0.7, -0.6, 500).weights(np.random.default_rng(0)) - mean) / spread
    lag_one = np.mean(z[:, 1:] * z[:, :-1], axis=(0, 1))
    np.testing.assert_allclose(lag_one, np.linspace(0.7, -0.6, mean.size), atol=0.15)
    # of sums of 2000 dependent draws, 13 modes: a mean has at most √5.7 times the error of independent ones
    np.testing.assert_allclose(z.mean(axis=(0, 1)), 0, atol=4 * np.sqrt(5.7 / 2000))
    np.testing.assert_allclose(z.var(axis=(0, 1)), 1, atol=4 * np.sqrt(2 * 2.9 / 2000))


def by_chance_alone(draws):
    """Whether neither p-values nor verdicts are rejected, at a level that the two p-values share."""
    uniform = [stats.kstest(p, "uniform").pvalue > 0.01 / 2 for p in draws.p_values.reshape(SEEDS, -1).T]
    verdicts = stats.binomtest(int(draws.inconsistent.sum()), SEEDS, LEVEL, "greater")
    return all(uniform) and verdicts.pvalue > 0.01


def test_chains_are_rejected_by_chance_alone():
    right = held(float(N))
    assert 300 < np.median(right.ess.min(axis=1)) < 500
    assert by_chance_alone(right)


@pytest.mark.slow
def test_a_wrong_mass_is_rejected_where_the_data_do_not_drown_it_and_the_right_one_by_chance_alone():
    right = held(0.05, wrong=True)
    assert by_chance_alone(right)
    assert right.wrong.sum() >= 7  # the exam asks for nine in ten: fewer than seven of ten have then p = .013


def test_called_independent_the_same_chains_are_rejected():
    wrong = held(float(N), independent=True)
    assert not by_chance_alone(wrong)
    for p in wrong.p_values[..., 0].T:
        assert stats.kstest(p, "uniform").pvalue < 0.01 / 2
