"""Dependent draws (T18): p-values uniform at the smallest admitted ESS, plug-in statistics too loose."""

import numpy as np
import pytest
from scipy import stats

from brg_prob.correspondence import chains
from brg_prob.correspondence.chains import _ar1_moments, ar1_chains, effective_sizes
from brg_prob.correspondence.moments import Moments, mean_test, moments, variance_test
from brg_prob.correspondence.statistics import smallest_detectable_variance

CHAINS = 4


def observed(rng, correlation, draws, modes, *, scale=1.0):
    """Moments of AR(1) chains of given variance."""
    sample = np.sqrt(scale) * ar1_chains(correlation, (modes, CHAINS, draws), rng)
    return moments(np.moveaxis(sample, 0, 2).reshape(CHAINS * draws, modes), chains=CHAINS, independent=False)


@pytest.mark.parametrize("correlation", [0.6, -0.6])
def test_ar1_moments_are_those_of_the_dense_covariance(correlation):
    draws, size = 7, 2 * 7
    block = correlation ** np.abs(np.subtract.outer(np.arange(draws), np.arange(draws)))
    covariance = np.kron(np.eye(2), block)
    centring = np.eye(size) - 1 / size
    product = centring @ covariance @ centring
    expected = (
        np.trace(product) / (size - 1),
        2 * np.sum(product**2) / (size - 1) ** 2,
        covariance.sum() / size**2,
    )
    np.testing.assert_allclose(_ar1_moments(correlation, 2, draws), expected, rtol=1e-12)


def test_chains_have_the_autocorrelation_asked_for():
    sample = ar1_chains(-0.5, (2000, 50), np.random.default_rng(0))
    lags = [np.mean(sample[:, : 50 - k] * sample[:, k:]) for k in range(4)]
    np.testing.assert_allclose(lags, [1, -0.5, 0.25, -0.125], atol=0.02)
    assert sample[:, 0].var() == pytest.approx(1, abs=0.1)


def test_antithetic_chains_know_a_mean_better_and_a_variance_worse_than_independent_draws():
    # the reason for the ESS of squared deviations: the draws' own would understate the error of a variance
    sample = ar1_chains(-0.5, (40, CHAINS, 1000), np.random.default_rng(1))
    of_squares, of_draws = (ess.mean() / 4000 for ess in effective_sizes(sample))
    assert of_squares == pytest.approx((1 - 0.25) / (1 + 0.25), rel=0.05)
    assert of_draws == pytest.approx(3.0, rel=0.1)


@pytest.fixture
def no_r_hat(monkeypatch):
    """R-hat, two thirds of the time of a simulated sample, is no part of a p-value."""
    monkeypatch.setattr(chains.array_stats, "rhat", lambda draws, **axes: np.ones(len(draws)))


# S such that the smaller of both ESS is near 400, the smallest admitted; chains of one length share pools
AT_400 = [(0.0, 105), (0.35, 210), (-0.6, 210)]


def p_values(correlation, draws, *, seeds, modes):
    """P-values of both tests, and of the plug-in statistic, on chains for which the hypothesis holds."""
    rng = np.random.default_rng([18, draws])
    found = []
    for _ in range(seeds):
        sample = observed(rng, correlation, draws, modes)
        variance = variance_test(sample, np.ones(modes))
        mean = mean_test(sample, np.zeros(modes), np.ones(modes))
        found.append((variance.p_value, mean.p_value, stats.chi2.sf(variance.statistic, modes)))
    return np.array(found).T


@pytest.mark.slow
@pytest.mark.parametrize(("correlation", "draws"), AT_400)
@pytest.mark.usefixtures("no_r_hat")
def test_p_values_of_chains_are_uniform_at_the_smallest_admitted_ess(correlation, draws):
    variance, mean, _ = p_values(correlation, draws, seeds=120, modes=15)
    for p in (variance, mean):
        assert stats.kstest(p, "uniform").pvalue > 0.01
        assert stats.binomtest(int(np.sum(p <= 0.05)), p.size, 0.05).pvalue > 0.01


@pytest.mark.usefixtures("no_r_hat")
def test_rejections_of_chains_are_five_percent_where_the_plug_in_is_too_loose():
    # S = 4·40 draws at ρ = .7: the plug-in z, its ESS estimated from the same draws, is far too sure
    variance, mean, plug_in = p_values(0.7, 60, seeds=50, modes=21)
    for p in (variance, mean):
        assert stats.binomtest(int(np.sum(p <= 0.05)), p.size, 0.05).pvalue > 0.01
    assert stats.binomtest(int(np.sum(plug_in <= 0.05)), plug_in.size, 0.05, "greater").pvalue < 1e-2


@pytest.mark.slow
def test_a_plug_in_z_rejects_nine_percent_with_400_draws_and_63_modes():
    # T18's figure: z = (s² − G)/(s²√(2/ESS)), error and ESS both estimated from the draws
    rng, repeats = np.random.default_rng(4), 250
    found = []
    for _ in range(repeats):
        sample = rng.standard_normal((63, CHAINS, 100))
        squares = np.square(sample - sample.mean(axis=(1, 2), keepdims=True))
        ess = chains.array_stats.ess(squares, chain_axis=1, draw_axis=2, method="mean")
        variance = sample.var(axis=(1, 2), ddof=1)
        z = (variance - 1) / variance * np.sqrt(ess / 2)
        found.append(stats.chi2.sf(np.sum(z**2), 63) <= 0.05)
    count = int(np.sum(found))
    assert stats.binomtest(count, repeats, 0.05, "greater").pvalue < 0.05
    assert stats.binomtest(count, repeats, 0.09).pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.5, -0.5])
@pytest.mark.usefixtures("no_r_hat")
def test_chains_find_their_smallest_detectable_deviation_with_probability_point_eight(correlation):
    rng, modes, draws, repeats = np.random.default_rng(12), 21, 210, 80
    size = variance_test(observed(rng, correlation, draws, modes), np.ones(modes)).smallest_detectable(0.05)
    found = [
        variance_test(observed(rng, correlation, draws, modes, scale=1 + size), np.ones(modes)).p_value
        <= 0.05
        for _ in range(repeats)
    ]
    assert stats.binomtest(int(np.sum(found)), repeats, 0.8).pvalue > 0.01
    assert size > smallest_detectable_variance(np.full(modes, CHAINS * draws), 0.05)


def test_independent_draws_called_chains_lose_little_and_gain_nothing():
    rng = np.random.default_rng(9)
    sample = observed(rng, 0.0, 210, 21)
    exact = Moments(sample.mean, sample.variance, sample.largest, sample.precision, CHAINS, 210)
    chain, plain = (variance_test(s, np.ones(21)).smallest_detectable(0.05) for s in (sample, exact))
    assert chain == pytest.approx(plain, rel=0.12)
    assert sample.r_hat < 1.03
