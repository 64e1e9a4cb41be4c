"""The exact laws, their power and the verdict (T18), against SciPy, brute force and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from brg_prob.arrays import holm
from brg_prob.correspondence.moments import ModeTest, mean_test, moments, variance_test
from brg_prob.correspondence.statistics import (
    chi2_to_normal,
    judge,
    of_largest,
    smallest_detectable_mean,
    smallest_detectable_variance,
    variance_z,
    whitener,
)


@pytest.mark.parametrize("degrees", [1, 7, 399, 3999])
def test_z_is_the_normal_quantile_of_the_chi2_law(degrees):
    tails = np.array([1e-100, 1e-20, 1e-3, 0.3])
    z = chi2_to_normal(stats.chi2.isf(tails, degrees), degrees)
    np.testing.assert_allclose(z, stats.norm.isf(tails), rtol=1e-6)
    z = chi2_to_normal(stats.chi2.ppf(tails, degrees), degrees)
    np.testing.assert_allclose(z, stats.norm.ppf(tails), rtol=1e-6)


@pytest.mark.parametrize("degrees", [3, 399, 3999])
def test_z_stays_finite_monotone_and_smooth_where_the_tail_underflows(degrees):
    value = degrees * np.geomspace(1, 1e8, 400)
    z = chi2_to_normal(value, degrees)
    assert np.isfinite(z).all()
    assert np.all(np.diff(z) > 0)
    # log of the tail to leading order, log sf ≈ −z²/2 − log(z√2π), against the series of Γ(a, x)
    a, x = degrees / 2, value[-1] / 2
    log_tail = (a - 1) * math.log(x) - x - math.lgamma(a)
    assert -(z[-1] ** 2) / 2 - math.log(z[-1] * math.sqrt(2 * math.pi)) == pytest.approx(log_tail, rel=1e-6)
    assert np.isfinite(chi2_to_normal(0.0, degrees))


def test_z_is_continuous_where_the_saddlepoint_formula_takes_over():
    degrees = 3999
    switch = stats.chi2.isf(1e-280, degrees)
    below, above = chi2_to_normal(switch * (1 - 1e-9), degrees), chi2_to_normal(switch * (1 + 1e-9), degrees)
    assert abs(above - below) < 1e-3


def test_holm_is_the_closed_test_of_bonferroni_tests():
    rng = np.random.default_rng(3)
    for _ in range(20):
        p = rng.uniform(size=4) ** 2
        closed = np.zeros(4)
        for subset in range(1, 16):
            members = [k for k in range(4) if subset >> k & 1]
            bonferroni = min(1.0, len(members) * p[members].min())
            closed[members] = np.maximum(closed[members], bonferroni)
        np.testing.assert_allclose(holm(p), closed)


def test_holm_does_not_count_tests_that_were_not_made():
    adjusted = holm([0.02, np.nan, 0.5])
    np.testing.assert_allclose(adjusted[[0, 2]], [0.04, 0.5])
    assert np.isnan(adjusted[1])


def test_smallest_detectable_deviations_are_those_of_t18():
    assert smallest_detectable_variance(np.full(63, 3999), 0.05) == pytest.approx(0.016, abs=5e-4)
    assert smallest_detectable_variance(np.full(63, 3999), 0.05 / 12) == pytest.approx(0.020, abs=5e-4)
    assert smallest_detectable_variance([3999], 0.05) == pytest.approx(0.063, abs=5e-4)


@pytest.mark.parametrize("modes", [1, 63])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_smallest_detectable_deviation_is_found_with_probability_point_eight(modes, sign):
    rng, repeats, draws, level = np.random.default_rng(5), 4000, 4000, 0.05 / 12
    size = sign * smallest_detectable_variance(np.full(modes, draws - 1), level)
    s2 = (1 + size) * rng.chisquare(draws - 1, (repeats, modes)) / (draws - 1)
    z = variance_z(s2, np.ones(modes), draws - 1)
    rate = np.mean(stats.chi2.sf(np.sum(z**2, axis=1), modes) <= level)
    # the law is that of z to first order in the deviation: 2 % of power at δ = 8 %
    assert rate == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / repeats) + 0.4 * abs(size))


def test_the_same_for_means():
    rng, repeats, draws, modes = np.random.default_rng(6), 2000, 900, 20
    size = smallest_detectable_mean(np.full(modes, draws), 0.05)
    z = rng.standard_normal((repeats, modes)) + size * math.sqrt(draws)
    rate = np.mean(stats.chi2.sf(np.sum(z**2, axis=1), modes) <= 0.05)
    assert rate == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / repeats))


@pytest.mark.parametrize(
    ("rejected", "detectable", "r_hat", "size", "verdict"),
    [
        (True, 0.01, 1.0, 4000, "inconsistent"),
        (True, 0.50, 1.2, 10, "inconsistent"),
        (False, 0.01, 1.0, 4000, "consistent"),
        (False, 0.05, 1.0, 4000, "undetermined"),
        (False, math.nan, 1.0, 4000, "undetermined"),
        (False, math.inf, 1.0, 4000, "undetermined"),
        (False, 0.01, 1.01, 4000, "undetermined"),
        (False, 0.01, math.nan, 4000, "undetermined"),
        (False, 0.01, 1.0, 400, "undetermined"),
        (False, 0.01, 1.009, 401, "consistent"),
    ],
)
def test_verdict_table(rejected, detectable, r_hat, size, verdict):
    found = judge(
        rejected=rejected, smallest_detectable=detectable, tolerance=0.05, r_hat=r_hat, effective_size=size
    )
    assert found == verdict


def test_p_values_of_independent_draws_are_uniform():
    rng = np.random.default_rng(11)
    scale = np.geomspace(1e-3, 10, 15)
    p_variance, p_mean = [], []
    for _ in range(200):
        sample = moments(2.0 + np.sqrt(scale) * rng.standard_normal((60, scale.size)))
        p_variance.append(variance_test(sample, scale).p_value)
        p_mean.append(mean_test(sample, np.full(scale.size, 2.0), scale).p_value)
    for p_values in (p_variance, p_mean):
        assert stats.kstest(p_values, "uniform").pvalue > 0.01
    # the negative control: a variance 10 % off, seen with 60 draws × 15 modes or not, is not uniform
    wrong = [
        variance_test(moments(rng.standard_normal((400, 15))), np.full(15, 1.1)).p_value for _ in range(200)
    ]
    assert stats.kstest(wrong, "uniform").pvalue < 1e-6


def test_a_mode_predicted_to_vanish_must_vanish_to_rounding():
    rng = np.random.default_rng(2)
    draws = rng.standard_normal((500, 3)) * [1.0, 1.0, 1e-15]
    predicted = np.array([1.0, 1.0, 0.0])
    assert variance_test(moments(draws), predicted).z.size == 2
    assert variance_test(moments(draws), predicted).p_value > 1e-3
    draws[:, 2] *= 1e9
    assert variance_test(moments(draws), predicted).p_value == 0
    assert mean_test(moments(draws), 0 * predicted, predicted).p_value == 0
    assert variance_test(moments(draws[:, 2:] * 0), predicted[2:]).p_value == 1


def test_whitened_draws_of_a_singular_covariance_are_independent():
    rng = np.random.default_rng(8)
    root = rng.standard_normal((12, 5))
    matrix, left_out = whitener(root @ root.T, 2.2e-16)
    assert (matrix.shape, left_out) == ((5, 12), 7)
    np.testing.assert_allclose(matrix @ root @ root.T @ matrix.T, np.eye(5), atol=1e-10)


def test_draws_that_make_no_chains_are_refused():
    with pytest.raises(ValueError, match="10 draws do not make 4 chains"):
        moments(np.zeros((10, 2)), chains=4)


def drawn_tests(modes, off, size=3999.0, seeds=400):
    """Tests of the variances of many sets of 4000 draws, one mode's off by a share."""
    rng = np.random.default_rng(modes)
    variance = rng.chisquare(size, (seeds, modes)) / size
    variance[:, 0] *= 1 + off
    z = variance_z(variance, np.ones(modes), np.full(modes, size))
    largest = [float(of_largest(2 * stats.norm.sf(np.abs(row).max()), modes)) for row in z]
    both = zip(stats.chi2.sf((z**2).sum(axis=1), modes), largest, strict=True)
    return [
        ModeTest(0.0, pair, row, row, np.full(modes, size), "variance")
        for pair, row in zip(both, z, strict=True)
    ]


@pytest.mark.parametrize(
    ("modes", "scales", "off", "by_sum", "by_both"),
    [(63, 12, 0.10, 0.14, 0.57), (63, 12, 0.15, 0.65, 0.99), (200, 6, 0.10, 0.08, 0.55)],
)
def test_one_mode_alone_is_found_by_the_largest_not_by_the_sum(modes, scales, off, by_sum, by_both):
    found = drawn_tests(modes, off)
    level = 0.05 / scales
    for count, share in (
        (sum(test.p_values[0] <= level for test in found), by_sum),
        (sum(test.p_value <= level for test in found), by_both),
    ):
        assert abs(count / len(found) - share) < 4 * np.sqrt(share * (1 - share) / len(found)) + 0.02
    alone = found[0].smallest_single(level)
    caught = sum(test.p_value <= level for test in drawn_tests(modes, alone))
    assert stats.binom.cdf(caught, len(found), 0.8) > 1e-3


def test_both_together_have_the_level_and_say_what_they_see():
    found = drawn_tests(63, 0.0)
    assert stats.kstest([test.p_value for test in found], "uniform").pvalue > 1e-3
    # 63 modes, 4000 draws, twelve scales: the figures of T18b, 2.0 % and, to first order, 11.2 %
    assert found[0].smallest_detectable(0.05 / 12) == pytest.approx(0.0204, abs=2e-4)
    assert found[0].smallest_single(0.05 / 12) == pytest.approx(0.1117, rel=0.06)
    sample = moments(np.random.default_rng(3).standard_normal((4000, 5)) * np.array([1, 1, 1.2, 1, 1]))
    test = variance_test(sample, np.ones(5))
    assert test.single == pytest.approx(sample.variance[2] - 1)
    assert test.common == pytest.approx(sample.variance.mean() - 1)
