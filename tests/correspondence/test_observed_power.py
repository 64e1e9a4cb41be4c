"""The data's own spectrum against the prior predictive law, and its bootstrap (T9, T18)."""

import dataclasses

import numpy as np
import pytest
from scipy import optimize, stats

from brg_prob.correspondence.observed_power import (
    SpectrumFit,
    bootstrap,
    data_spectrum,
    detectable_mass_factor,
    predicted_variance,
    spectrum_test,
)
from brg_prob.correspondence.plane_waves import momentum_modes
from brg_prob.erg import FreeTheory

THEORY = FreeTheory(dim=1, box=20.0, cutoff=15.0, noise=0.5, mass=1.0)
N = 200
X = np.arange(N)[:, None] * THEORY.box / N


MOMENTA = 2 * np.pi * np.arange(-50, 51) / THEORY.box
COSINES = np.cos(MOMENTA[:, None, None] * (X - X.T))


def covariance(theory=THEORY):
    """Covariance of the data by the sum over momenta, written out."""
    p = MOMENTA
    g = np.where(np.abs(p) <= theory.cutoff, 1 / (p**2 + theory.mass**2), 0) * theory.amplitude**2
    return np.tensordot(g, COSINES, 1) / theory.box + theory.noise**2 * np.eye(N)


ROOT = np.linalg.cholesky(covariance())


def record(rng, outputs=1, root=ROOT):
    return root @ rng.standard_normal((N, outputs))


def spectrum_of(y):
    return data_spectrum(momentum_modes(X, box=THEORY.box), y)


def test_coefficients_of_prior_data_have_the_predicted_variance():
    rng = np.random.default_rng(0)
    found = spectrum_of(record(rng, outputs=4000))
    assert found.counts.tolist() == [4000] + [8000] * 99
    z = (found.squares / found.counts / predicted_variance(THEORY, found) - 1) * np.sqrt(found.counts / 2)
    assert np.sum(z**2) < stats.chi2.isf(1e-3, z.size)
    assert found.degrees.sum() == found.counts.sum()
    # octaves: 0 and the first momentum; 2, 3; 4…7; …
    assert (found.degrees / 4000).tolist() == [3, 4, 8, 16, 32, 64, 72]


@pytest.mark.parametrize("outputs", [1, 3])
def test_p_values_of_the_data_spectrum_are_uniform(outputs):
    rng = np.random.default_rng(1)
    variance = predicted_variance(THEORY, spectrum_of(record(rng)))
    found = []
    for _ in range(200):
        data = spectrum_of(record(rng, outputs))
        found.append(stats.chi2.sf(np.sum(data.octave_z(data.squares, variance) ** 2), data.degrees.size))
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("towards", [1, -1])
def test_a_mass_wrong_by_the_detectable_factor_is_found_with_probability_point_eight(towards):
    rng, repeats = np.random.default_rng(2), 300
    factor = detectable_mass_factor(spectrum_of(record(rng)), THEORY, 0.05, towards=towards)
    assert 1.5 < factor < 30
    other = dataclasses.replace(THEORY, mass=THEORY.mass * factor**towards)
    root = np.linalg.cholesky(covariance(other))
    found = []
    for _ in range(repeats):
        data = spectrum_of(record(rng, root=root))
        z = data.octave_z(data.squares, predicted_variance(THEORY, data))
        found.append(stats.chi2.sf(np.sum(z**2), z.size) <= 0.05)
    assert stats.binomtest(int(np.sum(found)), repeats, 0.8).pvalue > 0.01


def test_a_wrong_mass_fails_and_the_right_one_passes():
    y = record(np.random.default_rng(3))
    assert spectrum_test(spectrum_of(y), THEORY, level=0.05).p_value > 0.05
    wrong = dataclasses.replace(THEORY, mass=12.0)
    assert spectrum_test(spectrum_of(y), wrong, level=0.05).p_value < 1e-4


def test_a_zero_mode_taken_out_of_the_data_is_not_tested():
    y = record(np.random.default_rng(4))
    whole, centred = spectrum_of(y), spectrum_of(y - y.mean())
    assert (whole.centred, centred.centred) == (False, True)
    np.testing.assert_allclose(whole.squares[1:], centred.squares, rtol=1e-9)


def test_the_fit_is_the_maximum_of_the_gaussian_likelihood():
    rng = np.random.default_rng(5)
    y = record(rng)
    data = spectrum_of(y)
    fitted = SpectrumFit(data, THEORY, ("mass", "amplitude", "noise")).fit(data.squares)

    def minus_log_likelihood(logs):
        mass, amplitude, noise = np.exp(logs) * [1.0, 1.0, 0.5]
        dense = covariance(dataclasses.replace(THEORY, mass=mass, amplitude=amplitude, noise=noise))
        return 0.5 * np.linalg.slogdet(dense)[1] + 0.5 * float(y[:, 0] @ np.linalg.solve(dense, y[:, 0]))

    found = np.array([fitted[k] for k in ("mass", "amplitude", "noise")])
    assert np.max(np.abs(found)) > 0.03  # it moved away from where it began
    simplex = found + np.array([[0.1, 0.1, 0.1], [-0.2, 0, 0.1], [0.1, -0.2, 0], [0, 0.1, -0.2]])
    options = {"xatol": 5e-3, "fatol": 1e-3, "initial_simplex": simplex}
    dense = optimize.minimize(minus_log_likelihood, found, method="Nelder-Mead", options=options)
    # the dense likelihood has the Nyquist mode, which the plane waves leave out
    np.testing.assert_allclose(found, dense.x, atol=0.02)


def test_the_bootstrap_refits_each_replicate_and_is_calibrated():
    # the data's parameters are fitted first, as the user does; without refitting the p-values crowd at 1
    rng, names = np.random.default_rng(6), ("mass", "amplitude", "noise")
    refitted, naive = [], []
    for _ in range(40):
        data = spectrum_of(record(rng))
        logs = SpectrumFit(data, THEORY, names).fit(data.squares)
        tuned = dataclasses.replace(THEORY, **{k: getattr(THEORY, k) * np.exp(v) for k, v in logs.items()})
        z = data.octave_z(data.squares, predicted_variance(tuned, data))
        statistic = np.sum(z**2)
        null = bootstrap(data, tuned, names, rng, replicates=19)
        refitted.append((1 + np.sum(null >= statistic)) / 20)
        naive.append(stats.chi2.sf(statistic, z.size))
    jitter = rng.uniform(0, 1 / 20, 40)
    assert stats.kstest(np.array(refitted) - jitter, "uniform").pvalue > 0.01
    assert stats.kstest(naive, "uniform").pvalue < 1e-3


def test_a_spectrum_of_another_shape_fails_although_everything_was_tuned():
    rng = np.random.default_rng(7)
    rough = FreeTheory(
        dim=1, box=20.0, cutoff=15.0, noise=0.05, mass=1.0, spectrum=lambda p, m, d: np.exp(-((p - 6) ** 2))
    )
    data = spectrum_of(record(rng))
    squares = predicted_variance(rough, data) * rng.chisquare(data.counts)
    data = dataclasses.replace(data, squares=squares)
    logs = SpectrumFit(data, THEORY, ("mass", "amplitude", "noise")).fit(squares)
    tuned = dataclasses.replace(THEORY, **{k: getattr(THEORY, k) * np.exp(v) for k, v in logs.items()})
    found = spectrum_test(data, tuned, level=0.05, tuned=("mass", "amplitude", "noise"))
    assert found.p_value == pytest.approx(1 / 200)


def test_an_unknown_tuned_parameter_is_refused():
    data = spectrum_of(record(np.random.default_rng(8)))
    with pytest.raises(ValueError, match="tuned = 'width'"):
        spectrum_test(data, THEORY, level=0.05, tuned=("width",))
