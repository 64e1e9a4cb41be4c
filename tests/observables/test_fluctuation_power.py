"""Power draw by draw against plane waves, and the mass of the propagator against closed forms."""

import numpy as np
import pytest
from scipy import stats

from brg_prob.correlators import power_spectrum
from brg_prob.observables.fluctuation_power import (
    ShellPower,
    bin_starts,
    present,
    propagator_mass,
    shell_power,
)

BOX = 20.0
P = 2 * np.pi * np.arange(40) / BOX
COUNT = np.where(P > 0, 2, 1)


def simulated(rng, mass, draws, *, chains=1, density=None):
    """Powers of independent Gaussian modes, from their χ² law."""
    expected = 1 / (P**2 + mass**2) if density is None else density(P)
    squares = rng.chisquare(COUNT, (chains, draws, P.size)) / COUNT
    return ShellPower(P, COUNT, expected * squares * (chains * draws - 1) / (chains * draws))


@pytest.mark.parametrize(("dim", "side"), [(1, 21), (1, 24), (2, 7), (3, 5)])
def test_power_is_that_of_the_plane_waves(dim, side):
    rng = np.random.default_rng(dim)
    axes = np.meshgrid(*[np.arange(side) * 0.3] * dim, indexing="ij")
    x = rng.permutation(np.stack([axis.ravel() for axis in axes], axis=1)) + 5
    f = rng.standard_normal((1, 30, side**dim)) + x[:, 0]
    found = shell_power(f, x)
    exact = power_spectrum(f, x, bins="shell", connected=True, independent=True)
    # the plane waves reach a quarter of a mode further, into the corners between shells
    ball = exact.momentum < 2 * np.pi / (side * 0.3) * ((side - 1) // 2) + 1e-9
    np.testing.assert_allclose(found.momentum, exact.momentum[ball], atol=1e-12)
    np.testing.assert_array_equal(found.modes, exact.modes[ball])
    np.testing.assert_allclose(found.value, exact.value[ball], rtol=1e-9)
    np.testing.assert_allclose(found.errors(True), exact.standard_error[ball] * 30 / 29, rtol=1e-9)


def test_bins_keep_the_total_power_and_the_lowest_modes():
    assert bin_starts(60).tolist() == list(range(60)) and bin_starts(0).size == 0
    for count in (61, 100, 1000, 10**5):
        starts = bin_starts(count)
        assert np.all(np.diff(starts, n=2) >= 0) and count - starts[-1] >= starts[-1] - starts[-2]
        assert len(starts) <= 60 and starts[:24].tolist() == list(range(24)) and np.all(np.diff(starts) > 0)
    p = np.arange(200.0)
    power = ShellPower(p, np.arange(200) % 3 + 1, np.random.default_rng(0).chisquare(2, (2, 10, 200)))
    binned = power.binned()
    for column in ("value", "momentum"):
        total = np.sum(getattr(power, column) * power.modes)
        assert np.isclose(np.sum(getattr(binned, column) * binned.modes), total)


def test_two_shells_give_the_second_moment_mass():
    power = simulated(np.random.default_rng(1), 0.7, 500)[P < 0.5]
    g0, g1 = power.value
    mass, error = propagator_mass(power, True)
    assert mass == pytest.approx(P[1] ** 2 / (g0 / g1 - 1), rel=1e-9)
    # the delta method by hand: both shells are independent
    se = power.errors(True)
    slope = P[1] ** 2 / (g0 - g1) ** 2 * np.array([-g1, g0])
    assert error == pytest.approx(np.hypot(*(slope * se)), rel=0.05)


@pytest.mark.parametrize("mass", [0.5, 3.0])
def test_masses_and_their_errors_cover_over_seeds(mass):
    z, wrong = [], []
    for seed in range(200):
        found, error = propagator_mass(simulated(np.random.default_rng(seed), mass, 400), True)
        z.append((found - mass**2) / error)
        wrong.append((found - (1.2 * mass) ** 2) / error)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert stats.kstest(wrong, "norm").pvalue < 1e-6


def test_a_mass_far_above_the_lowest_momentum_is_determined():
    """What the second moment at 2π/L alone cannot do: there the difference of powers drowns."""
    power = simulated(np.random.default_rng(2), 8.0, 2000)
    assert propagator_mass(power, True)[1] < 0.1 * 64
    alone, error = propagator_mass(power[P < 0.5], True)
    assert np.isnan(alone) or error > 64


def test_the_mass_is_that_of_low_momenta_where_the_field_is_not_free():
    density = np.vectorize(lambda p: 1 / (p**2 + 1) if p < 2.5 else 1e-4)
    found, error = propagator_mass(simulated(np.random.default_rng(3), 1.0, 4000, density=density), True)
    assert abs(found - 1) < 4 * error < 0.3


def test_power_that_does_not_fall_has_no_mass():
    rising = simulated(np.random.default_rng(4), 1.0, 400, density=lambda p: 1 + p**2)
    assert np.isnan(propagator_mass(rising, True)).all()
    assert np.isnan(propagator_mass(rising[P < 0.1], True)).all()
    # twelve decades: a network trained for long has next to no fluctuations at low momenta
    steep = simulated(np.random.default_rng(4), 1.0, 400, density=lambda p: 1e-12 + p**12 / P.max() ** 12)
    assert np.isnan(propagator_mass(steep, True)).all()


def test_shells_above_a_cutoff_are_absent():
    rng = np.random.default_rng(5)
    cut = simulated(rng, 1.0, 50, density=lambda p: np.where(p < 3, 1.0, 1e-30))
    assert present(cut).sum() == np.sum(P < 3)
    assert present(cut, simulated(rng, 1.0, 50)).all()


def test_irregular_inputs_have_no_power():
    assert shell_power(np.zeros((1, 5, 4)), np.array([[0.0], [1.0], [3.0], [4.0]])) is None
