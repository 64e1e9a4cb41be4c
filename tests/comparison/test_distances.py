"""KL and Wasserstein distances of Gaussians: dense oracles, known values, bias and error over seeds."""

import math

import numpy as np
import pytest
from scipy import linalg

from brg_prob.comparison.distances import between, gaussian_kl, gaussian_wasserstein_squared


def random_covariance(rng, k):
    a = rng.standard_normal((k, k + 3))
    return a @ a.T / k


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    return (
        rng.standard_normal(6),
        random_covariance(rng, 6),
        rng.standard_normal(6),
        random_covariance(rng, 6),
    )


def test_divergence_is_that_of_generalised_eigenvalues(pair):
    mean, cov, other_mean, other_cov = pair
    ratio = linalg.eigh(cov, other_cov, eigvals_only=True)
    shift = linalg.solve_triangular(linalg.cholesky(other_cov, lower=True), other_mean - mean, lower=True)
    expected = 0.5 * np.sum(ratio - 1 - np.log(ratio)) + 0.5 * shift @ shift
    np.testing.assert_allclose(gaussian_kl(*pair), expected, rtol=1e-12)


def test_wasserstein_is_that_of_the_matrix_square_root(pair):
    mean, cov, other_mean, other_cov = pair
    root = linalg.sqrtm(cov)
    overlap = np.real(np.trace(linalg.sqrtm(root @ other_cov @ root)))
    expected = np.sum((mean - other_mean) ** 2) + np.trace(cov) + np.trace(other_cov) - 2 * overlap
    np.testing.assert_allclose(gaussian_wasserstein_squared(*pair), expected, rtol=1e-10)


@pytest.mark.parametrize(("shift", "sd", "other_sd"), [(0.0, 1.0, 2.0), (1.5, 1.0, 1.0), (-2.0, 3.0, 0.5)])
def test_known_values_in_one_dimension(shift, sd, other_sd):
    given = (np.zeros(1), np.array([[sd**2]]), np.array([shift]), np.array([[other_sd**2]]))
    kl = math.log(other_sd / sd) + (sd**2 + shift**2) / (2 * other_sd**2) - 0.5
    np.testing.assert_allclose(gaussian_kl(*given), kl, rtol=1e-12)
    np.testing.assert_allclose(gaussian_wasserstein_squared(*given), shift**2 + (sd - other_sd) ** 2)


def draws_of(rng, mean, cov, size):
    return mean + rng.standard_normal((size, len(mean))) @ np.linalg.cholesky(cov).T


def test_finite_draws_leave_no_bias_and_the_error_is_the_spread():
    """Twenty inputs, 800 draws: the plug-in, the negative control, is off by many errors of the mean."""
    rng = np.random.default_rng(0)
    k, size, repeats = 20, 800, 30
    cov, other_cov = random_covariance(rng, k), random_covariance(rng, k)
    other_cov = 0.5 * (cov + other_cov)
    mean, other_mean = np.zeros(k), 0.2 * rng.standard_normal(k)
    exact = gaussian_kl(mean, cov, other_mean, other_cov)
    exact_distance = math.sqrt(gaussian_wasserstein_squared(mean, cov, other_mean, other_cov) / k)
    found, plugged = [], []
    for _ in range(repeats):
        one, other = draws_of(rng, mean, cov, size), draws_of(rng, other_mean, other_cov, size)
        found.append(between(one, other))
        moments = [(d.mean(axis=0), np.cov(d, rowvar=False)) for d in (one, other)]
        plugged.append(gaussian_kl(*moments[0], *moments[1]))
    kl = np.array([d.kl for d in found])
    spread = kl.std(ddof=1)
    assert abs(kl.mean() - exact) < 4 * spread / math.sqrt(repeats)
    assert np.mean(plugged) - exact > 10 * spread / math.sqrt(repeats)
    assert 0.7 < np.mean([d.kl_error for d in found]) / spread < 1.4  # χ²₂₉ gives ±13 %
    distance = np.array([d.wasserstein for d in found])
    assert abs(distance.mean() - exact_distance) < 4 * distance.std(ddof=1) / math.sqrt(repeats)


def test_dependent_draws_have_larger_errors():
    """AR(1) with coefficient 0.9 in one dimension: the variance of a mean is 19 times as large."""
    rng = np.random.default_rng(1)
    shift, values, errors = 0.3, [], []
    for _ in range(40):
        chains = []
        for start in (0.0, shift):
            noise = math.sqrt(1 - 0.81) * rng.standard_normal(6000)
            chain = np.empty(6000)
            chain[0] = rng.standard_normal()
            for t in range(1, 6000):
                chain[t] = 0.9 * chain[t - 1] + noise[t]
            chains.append(start + chain[:, None])
        found = between(*chains)
        values.append(found.kl)
        errors.append(found.kl_error)
    assert 0.7 < np.mean(errors) / np.std(values, ddof=1) < 1.4
    independent = shift * math.sqrt(2 / 6000)  # δ²/2 with an error of δ by the mean's
    assert np.mean(errors) > 2.5 * independent


def test_the_same_draws_are_exactly_equal():
    draws = np.random.default_rng(2).standard_normal((100, 4))
    found = between(draws, draws.copy())
    assert (found.kl, found.reverse, found.wasserstein) == (0.0, 0.0, 0.0)


def test_order_swaps_the_divergences():
    rng = np.random.default_rng(4)
    one, other = rng.standard_normal((200, 3)), 1.5 * rng.standard_normal((200, 3)) + 0.2
    forth, back = between(one, other), between(other, one)
    np.testing.assert_allclose((forth.kl, forth.reverse), (back.reverse, back.kl), rtol=1e-9)
    np.testing.assert_allclose(forth.wasserstein, back.wasserstein, rtol=1e-9)


def test_a_direction_that_only_one_field_has_makes_the_divergence_infinite():
    rng = np.random.default_rng(5)
    flat = rng.standard_normal((300, 2)) @ np.array([[1.0, 0, 1], [0, 1.0, 1]])
    full = flat + 0.5 * rng.standard_normal((300, 3))
    found = between(flat, full)
    assert found.kl == math.inf
    assert found.reverse == math.inf
    assert 0.1 < found.wasserstein < 1.0


def test_a_field_of_fewer_modes_than_inputs_is_compared_in_its_modes():
    rng = np.random.default_rng(6)
    waves = rng.standard_normal((2, 5))
    found = between(rng.standard_normal((900, 2)) @ waves, 2 * rng.standard_normal((900, 2)) @ waves)
    exact = 2 * (math.log(2) + 1 / 8 - 0.5)
    assert found.directions == 2
    assert abs(found.kl - exact) < 4 * found.kl_error
