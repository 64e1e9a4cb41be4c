"""T9 on the cos-net's own Fisher metric: formulas written out here, none taken from the library."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from scipy import stats

from brg_prob.correspondence import ExactRG, check_correspondence, erg_prediction
from brg_prob.flow import Diffusion, Shell, coarse_grain, default_scales
from brg_prob.geometry import fisher_metric, whitened_features
from brg_prob.geometry.readout_spectrum import diagonal_information, features_of
from brg_prob.posterior import fit
from models.cosnet import CosNet
from models.mlp import Mlp

VOLUME = {1: lambda r: 2 * r, 2: lambda r: math.pi * r**2}


def grid(dim, box, side):
    line = box * np.arange(side) / side
    return np.stack(np.meshgrid(*[line] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def lattice_squares(dim, box, cutoff):
    """Return |p|² of every real mode, ±p one by one."""
    reach = int(cutoff * box / (2 * math.pi)) + 1
    index = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * dim), axis=-1).reshape(-1, dim)
    squares = np.sum((2 * math.pi / box * index) ** 2, axis=1)
    return squares[squares <= cutoff**2]


def prior_data(network, x, seed):
    rng = np.random.default_rng(seed)
    features = np.asarray(features_of(network, x, {}))
    field = features @ rng.standard_normal(features.shape[1])
    return field + network.noise * rng.standard_normal(field.shape)


# --- the lattice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dim", "box", "cutoff", "side"), [(1, 10.0, 20.0, 63), (2, 4.0, 8.0, 11), (3, 3.0, 5.0, 5)]
)
def test_fisher_eigenvalues_of_the_lattice_are_the_spectral_density(dim, box, cutoff, side):
    network = CosNet(dim=dim, box=box, cutoff=cutoff, mass=0.8, noise=0.3, amplitude=1.2)
    metric = fisher_metric(network, grid(dim, box, side))
    density = 1.2**2 / (lattice_squares(dim, box, cutoff) + 0.8**2)
    expected = np.sort(density)[::-1] / (box**dim * 0.3**2)
    assert metric.rank == expected.size
    found = np.asarray(metric.eigenvalues)[: metric.rank]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    heavier = np.sort(1.2**2 / (lattice_squares(dim, box, cutoff) + 0.88**2))[::-1] / (box**dim * 0.3**2)
    assert np.max(np.abs(found / heavier - 1)) > 0.1


def test_with_one_point_less_per_side_the_highest_mode_is_wrong():
    network = CosNet(box=10.0, cutoff=20.0)  # largest index 31
    highest = 1 / ((2 * math.pi * 31 / 10) ** 2 + 1) / (10.0 * 0.25)
    enough = np.asarray(fisher_metric(network, grid(1, 10.0, 63)).eigenvalues)
    np.testing.assert_allclose(enough[-2:], highest, rtol=1e-12)
    # on 62 points its sine vanishes and its cosine is ±1: one mode of twice the information
    few = np.asarray(fisher_metric(network, grid(1, 10.0, 62)).eigenvalues)
    assert few[-1] > 1.05 * highest and np.min(np.abs(few / (2 * highest) - 1)) < 1e-12


# --- random momenta in raw readout units -------------------------------------------------------------


@pytest.fixture(scope="module", params=[(1, 200.0, 20.0, 2000), (2, 40.0, 4.0, 64)], ids=["d=1", "d=2"])
def raw(request):
    """Return dim, box, cutoff, |w|, raw diagonal and whitened diagonal of 4096 neurons."""
    dim, box, cutoff, side = request.param
    network, x = CosNet(dim=dim, width=4096, cutoff=cutoff), grid(dim, box, side)
    hidden = jax.jit(network.sample_hidden)(jax.random.key(dim))
    size = np.linalg.norm(np.asarray(hidden["w"]), axis=1)
    diagonal = np.asarray(diagonal_information(network, x, hidden, noise=network.noise))
    whitened = np.mean(np.square(np.asarray(whitened_features(network, x, hidden))), axis=0) / 0.25
    return dim, box, cutoff, size, diagonal, whitened


def test_raw_diagonal_is_a_function_of_the_momentum_alone(raw):
    dim, box, cutoff, size, diagonal, _ = raw
    amplitude = 2 * VOLUME[dim](cutoff) / (2 * math.pi) ** dim
    error = np.abs(diagonal / (amplitude / (2 * 0.25 * (size**2 + 1))) - 1)
    # the mean of cos² over a box differs from ½ by at most half of 1/(|w|L) per fast direction
    assert np.median(error) < 3 / (box * cutoff)
    assert np.mean(error < 0.1) > 0.97
    without_half = np.abs(diagonal / (amplitude / (0.25 * (size**2 + 1))) - 1)
    assert np.median(without_half) > 0.4


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8])
def test_raw_cutoff_is_a_momentum_cutoff(raw, fraction):
    dim, box, cutoff, size, diagonal, _ = raw
    amplitude = 2 * VOLUME[dim](cutoff) / (2 * math.pi) ** dim
    target = fraction * cutoff
    observations = box**dim * 0.25 * (target**2 + 1)  # M_T² = Λ′² + m²
    raw_cutoff = amplitude * box**dim / (2 * observations)
    assert raw_cutoff == pytest.approx(amplitude / (2 * 0.25 * (target**2 + 1)))
    kept = Shell(basis="parameter").cut(raw_cutoff).keeps(diagonal)
    # below the effective cutoff lie as many neurons as are kept
    measured = np.sort(size)[kept.sum()]
    assert measured == pytest.approx(target, rel=0.01)
    assert np.mean(kept != (size <= target)) < 0.01
    twice = Shell(basis="parameter").cut(2 * raw_cutoff).keeps(diagonal)
    assert abs(np.sort(size)[twice.sum()] / target - 1) > 0.2


def test_whitened_diagonal_is_the_eigenvalue_times_modes_per_neuron(raw):
    dim, box, cutoff, size, diagonal, whitened = raw
    modes = box**dim * VOLUME[dim](cutoff) / (2 * math.pi) ** dim
    eigenvalue = 1 / (size**2 + 1) / (box**dim * 0.25)
    ratio = whitened / eigenvalue
    assert np.median(ratio) == pytest.approx(modes / 4096, rel=1e-3)
    np.testing.assert_allclose(whitened, diagonal / 4096, rtol=1e-12)


# --- running mass ------------------------------------------------------------------------------------


def fitted_mass_squared(fields, basis, square, mass_squared):
    """Return m_T² and its standard error: weighted mean of 1/s² − p², weights from a first guess."""
    variance = (fields @ basis).var(axis=0, ddof=1)
    degrees = len(fields) - 1
    inverse = (degrees - 2) / degrees / variance  # unbiased for 1/G
    weight = 1 / (square + mass_squared) ** 2
    return np.sum(weight * (inverse - square)) / weight.sum(), math.sqrt(2 / (degrees - 4) / weight.sum())


def test_running_mass_grows_by_the_same_with_every_observation(getkey):
    network, x = CosNet(box=10.0, cutoff=20.0), grid(1, 10.0, 64)
    square = lattice_squares(1, 10.0, 20.0)
    p = 2 * math.pi / 10 * np.arange(1, 32)
    waves = [np.full((64, 1), 10**-0.5), np.sqrt(0.2) * np.cos(x * p), np.sqrt(0.2) * np.sin(x * p)]
    basis, square = np.concatenate(waves, axis=1) * 10 / 64, np.concatenate([[0.0], p**2, p**2])
    metric, y = fisher_metric(network, x), prior_data(network, x, 0)
    scales, masses, errors = [64.0, 30.0, 10.0, 3.0, 1.0], [], []
    for scale in scales:  # a posterior and a flow of its own each: independent
        posterior = fit(network, x, y, key=getkey(), draws=1024)
        flow = coarse_grain(network, posterior, metric, scheme=Diffusion(), scales=[scale], key=getkey())
        field = np.asarray(next(flow.fields()))[:, :, 0]
        guess = fitted_mass_squared(field, basis, square, 1 + 0.4 * scale)
        masses.append(guess[0])
        errors.append(guess[1])
    design = np.stack([scales, np.ones(5)], axis=1) / np.array(errors)[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope, intercept = covariance @ design.T @ (np.array(masses) / errors)
    spread = np.sqrt(np.diag(covariance))
    assert abs(slope - 1 / (10 * 0.5**2)) < 4 * spread[0]
    assert abs(intercept - 1) < 4 * spread[1]
    residual = np.sum(((np.array(masses) - slope * np.array(scales) - intercept) / errors) ** 2)
    assert stats.chi2.sf(residual, 3) > 1e-4
    assert abs(slope - 1 / (10 * 0.5)) > 8 * spread[0]  # σ instead of σ²


# --- a network that is no free field -----------------------------------------------------------------


def rejections(network, free, x, seeds):
    """Return, over seeds, how often the propagators and the verdict are rejected."""
    prediction = erg_prediction(free, x)
    propagator = verdict = 0
    for seed in range(seeds):
        fit_key, flow_key = jax.random.split(jax.random.key(seed))
        posterior = fit(network, x, prior_data(free, x, seed), key=fit_key, draws=512)
        metric = fisher_metric(network, x, at=posterior)
        scales = default_scales(float(len(x)), 4)
        flow = coarse_grain(network, posterior, metric, scheme=Diffusion(), scales=scales, key=flow_key)
        checks = check_correspondence(flow, ExactRG(prediction))
        propagator += checks.checks[0].name == "propagator" and checks.checks[0].verdict == "inconsistent"
        verdict += checks.verdict == "inconsistent"
    return propagator, verdict


@pytest.mark.slow
def test_a_relu_network_is_rejected_as_the_free_scalar_and_the_lattice_is_not():
    free, x, seeds = CosNet(box=10.0, cutoff=14.0), grid(1, 10.0, 64), 8
    relu = Mlp(widths=(256,), weight_variance=0.25, bias_variance=0.25, noise=0.5)
    fewest = stats.binom.ppf(1e-3, seeds, 0.95)
    assert min(rejections(relu, free, x, seeds)) >= fewest
    assert max(rejections(free, free, x, seeds)) <= stats.binom.ppf(1 - 1e-3, seeds, 0.05)


def test_no_rescaling_makes_a_relu_fisher_spectrum_the_free_scalars(getkey):
    x = grid(1, 10.0, 64)
    relu = Mlp(widths=(256,), weight_variance=0.25, bias_variance=0.25, noise=0.5)
    found = np.asarray(fisher_metric(relu, x, at=relu.sample_hidden(getkey())).eigenvalues)[:31]
    expected = np.sort(1 / (lattice_squares(1, 10.0, 14.0) + 1))[::-1][:31]
    ratio = found / expected
    assert ratio.max() / ratio.min() > 10
    own = np.asarray(fisher_metric(CosNet(box=10.0, cutoff=14.0), x).eigenvalues)[:31] / expected
    assert own.max() / own.min() < 1 + 1e-12


def test_a_wrong_mass_moves_every_eigenvalue():
    network, x = CosNet(box=10.0, cutoff=14.0), grid(1, 10.0, 64)
    heavier = dataclasses.replace(network, mass=1.1)
    light, heavy = (np.asarray(fisher_metric(each, x).eigenvalues)[:45] for each in (network, heavier))
    assert np.all(heavy < light)
