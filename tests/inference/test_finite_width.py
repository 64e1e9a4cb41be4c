"""Posteriors of finite width approach infinite width: on average as 1/N, one by one as N^(-1/2) (T3, T10)."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import norm

from brg_prob.interactions import connected_four_point
from inference._finite_width import finite_width_deviation, leading_correction, power_law
from models.mlp import Mlp

NETWORK = Mlp((50,), "erf", weight_variance=1.5, bias_variance=0.1, noise=0.5)
X, POINTS = np.linspace(-1, 1, 6)[:, None], np.linspace(-0.8, 1.2, 3)[:, None]
WIDTHS, MEMBERS = (50, 150, 500, 1500, 5000), (3000, 3000, 2000, 1000, 600)
BOTH = np.concatenate([X, POINTS])
RIDGE = NETWORK.noise**2
LEVEL = norm.isf(0.5e-3)


@pytest.fixture(scope="module")
def deviation():
    return finite_width_deviation(NETWORK, X, POINTS, widths=WIDTHS, members=MEMBERS, seed=3)


def neuron_moments():
    """E[φφ′] (9, 9) and E[φφφφ] (9, 9, 9, 9) of a neuron erf(√1.5 w x + √.1 b): Gauss-Hermite in w, b."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    weights = weights / weights.sum()
    z = np.sqrt(1.5) * nodes[:, None, None] * BOTH[:, 0] + np.sqrt(0.1) * nodes[None, :, None]
    phi, weight = erf(z).reshape(-1, len(BOTH)), np.outer(weights, weights).ravel()
    pairs = np.einsum("qi,qj->qij", phi, phi)
    return np.einsum("q,qi,qj->ij", weight, phi, phi), np.einsum("q,qij,qkl->ijkl", weight, pairs, pairs)


def kernel_covariance():
    """N·Cov(K_ij, K_kl) for readout weights of variance 1.5 (T3)."""
    second, fourth = neuron_moments()
    return 1.5**2 * (fourth - np.einsum("ij,kl->ijkl", second, second))


def cumulant_kernel_covariance():
    """The same from the exact fourth cumulant of a network of one neuron, tuple by tuple."""
    tuples = np.array(list(itertools.combinations_with_replacement(range(len(BOTH)), 4)))
    options = {"activation": "erf", "weight_variance": 1.5, "bias_variance": 0.1}
    cumulant = np.asarray(connected_four_point(BOTH, tuples, width=1, **options).value)
    k = np.asarray(NETWORK.kernel(BOTH, BOTH)) - 0.1
    found = np.empty((len(BOTH),) * 4)
    for at, value in zip(tuples, cumulant, strict=True):
        for i, j, m, n in itertools.permutations(at):
            others = k[i, j] * k[m, n] + k[i, m] * k[j, n] + k[i, n] * k[j, m]
            found[i, j, m, n] = (value + others) / 3 - k[i, j] * k[m, n]
    return found


def test_the_ensemble_mean_falls_as_one_over_the_width(deviation):
    slope, error = deviation.mean_slope()
    assert error < 0.015
    assert abs(slope + 1) < LEVEL * error
    # every width is resolved: none of the five is within four of its errors of zero
    assert np.max(deviation.error / np.abs(deviation.mean)) < 0.25


def test_a_single_network_falls_as_its_square_root_which_is_told_apart(deviation):
    slope, error = deviation.single_slope()
    assert abs(slope + 0.5) < LEVEL * error
    assert abs(slope + 1) > 10 * error


def test_a_wrong_limit_does_not_fall():
    """Negative control: two per cent too large a readout variance in the limit, and the slope is not −1."""
    wrong = dataclasses.replace(NETWORK, weight_variance=(1.5, 1.02 * 1.5))
    found = finite_width_deviation(
        NETWORK, X, POINTS, widths=WIDTHS[:3], members=400, limit=wrong.kernel(BOTH, BOTH)
    )
    slope, error = found.mean_slope()
    assert abs(slope + 1) > 10 * error


def test_the_correction_is_the_one_of_the_exact_cumulant(deviation):
    """N times the mean is what T3's G4 makes of it through Cov(K, K); half that covariance is rejected."""
    kernel = np.asarray(NETWORK.kernel(BOTH, BOTH))
    second, _ = neuron_moments()
    np.testing.assert_allclose(1.5 * second + 0.1, kernel, atol=1e-10)  # the quadrature is exact enough
    exact = cumulant_kernel_covariance()
    np.testing.assert_allclose(exact, kernel_covariance(), atol=1e-10)
    expected = leading_correction(kernel, exact, len(X), RIDGE)
    measured, error = deviation.coefficient()
    assert error < 0.02 * abs(expected)
    assert abs(measured - expected) < LEVEL * error
    assert abs(measured - expected / 2) > 10 * error


def test_two_layers_without_the_linear_part_still_fall():
    """At two hidden layers E K_N is not K: smaller widths, more draws, no linear part to take off."""
    deep = Mlp((8, 8), ("erf", "relu"), (2.0, 1.5, 1.5), 0.1, noise=0.5)
    found = finite_width_deviation(deep, X, POINTS, widths=(20, 40, 80, 160), members=8000, seed=5)
    slope, error = found.mean_slope()
    assert error < 0.1
    assert abs(slope + 1) < LEVEL * error


def test_the_fit_is_weighted_least_squares():
    widths, rng = np.array([10.0, 100.0, 1000.0]), np.random.default_rng(0)
    errors = np.array([0.01, 0.02, 0.05]) / widths
    slopes, stated = zip(
        *(power_law(widths, -1 / widths + errors * rng.standard_normal(3), errors) for _ in range(500)),
        strict=True,
    )
    z = (np.asarray(slopes) + 1) / np.asarray(stated)
    assert abs(z.mean()) < norm.isf(0.5e-4) / np.sqrt(500)
    assert abs(z.std() - 1) < norm.isf(0.5e-4) / np.sqrt(2 * 500) + 0.01


def test_networks_without_a_limit_are_refused():
    with pytest.raises(ValueError, match="fan_in=True"):
        finite_width_deviation(Mlp.published(), X, POINTS, widths=(5,), members=1)
