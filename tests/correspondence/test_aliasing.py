"""Momenta that a grid cannot tell from lower ones: what is left out, and the sums, against dense algebra."""

import dataclasses

import jax
import numpy as np
import pytest

import brg_prob
from brg_prob.correspondence import ClosedForm, ExactRG, check_correspondence, erg_prediction
from brg_prob.correspondence.momentum_survey import survey
from brg_prob.correspondence.plane_waves import all_alias, momentum_modes
from brg_prob.report.html import render_report
from models.cosnet import CosNet

BOX, N = 10.0, 60
X = np.arange(N)[:, None] * BOX / N


@pytest.mark.parametrize(
    ("points", "dim", "cutoff"), [(20, 1, 7.0), (21, 1, 7.0), (20, 1, 13.5), (6, 2, 3.0), (5, 2, 3.0)]
)
def test_clean_waves_and_sums_are_the_whole_spectrum_of_a_grid(points, dim, cutoff):
    axes = np.meshgrid(*[np.arange(points) * BOX / points] * dim, indexing="ij")
    x = np.stack([axis.ravel() for axis in axes], axis=1)
    network = CosNet(dim=dim, box=BOX, cutoff=cutoff)
    phi = np.asarray(network.features(x, {}))
    values = np.linalg.eigvalsh(phi @ phi.T)[::-1] * BOX**dim / len(x)  # G(p), where p is alone
    modes = momentum_modes(x, box=BOX, cutoff=cutoff)

    def density(p):
        return 1 / (p**2 + 1)

    found = np.concatenate([density(modes.momentum), modes.aliases.summed(density)])
    np.testing.assert_allclose(np.sort(found)[::-1], values[: found.size], atol=1e-12)
    np.testing.assert_allclose(values[found.size :], 0, atol=1e-12)
    # nothing that is left out reaches a wave that is tested
    covariance = modes.projection @ phi @ phi.T @ modes.projection.T
    np.testing.assert_allclose(covariance, np.diag(density(modes.momentum)), atol=1e-12)
    naive = momentum_modes(x, box=BOX)  # with the partners: they hold more than their own variance
    full = np.diagonal(naive.projection @ phi @ phi.T @ naive.projection.T)
    own = density(naive.momentum) * (naive.momentum <= cutoff)
    assert np.max(full - own) > 1e-3 and modes.aliases.momenta


def test_the_largest_index_that_is_resolved_and_a_cutoff_that_resolves_nothing():
    at = {
        points: momentum_modes(np.arange(points)[:, None] * BOX / points, box=BOX, cutoff=20.0).aliases
        for points in (63, 62, 60)
    }
    assert [(found.momenta, found.folded) for found in at.values()] == [(0, 0), (1, 0), (2, 2)]
    assert at[63].note == "" and at[62].note.startswith("1 momentum at or above")
    assert at[60].note == (
        "2 momenta at or above the grid's Nyquist momentum 18.85 alias: left out of the tests, with the 2 "
        "plane waves onto which such fold, but for the Fisher spectrum, which has their sums; 63 points "
        "per side resolve all"
    )
    assert all_alias(X, box=BOX, cutoff=37.0) is None
    assert "take 121 points per side" in all_alias(X, box=BOX, cutoff=38.0)
    assert "take 121 points per side" in all_alias(X, box=None, cutoff=38.0)


@pytest.fixture(scope="module")
def run():
    """Return a run of the README's network on a grid three points too coarse for it."""
    network = CosNet(box=BOX)
    draw = brg_prob.sample_prior(network, X, key=jax.random.key(5), draws=1)["prior"]["f"].values[0, 0]
    y = draw + 0.5 * np.random.default_rng(1).normal(size=N)
    return brg_prob.run(network, X, y, key=jax.random.key(0), scales=3, draws=4000)


def test_a_right_network_on_a_coarse_grid_is_not_rejected(run):
    deciding = [row for row in run.summary["checks"] if row["role"] == "correspondence"]
    assert {row["name"] for row in deciding} >= {"propagator", "information shell", "Fisher spectrum"}
    assert {row["verdict"] for row in deciding} == {"consistent"}
    spectra = [row for row in deciding if row["name"] == "Fisher spectrum"]
    assert max(row["statistic"] for row in spectra) < 1e-12  # of all 60 eigenvalues, sums among them
    assert all(row["detail"].startswith("60 modes") for row in spectra)
    page, sentence = render_report(run), "2 momenta at or above the grid's Nyquist momentum 18.85 alias"
    assert any(note.startswith(sentence) for note in run.summary["notes"])
    assert run.tree["trust"].attrs["aliased_note"].startswith(sentence)
    assert "All modes lie below the training grid" not in page
    assert run.tree["theory"].sizes["momentum"] == 57


def test_a_wrong_one_is_and_so_are_the_partners_if_they_are_taken_for_themselves(run):
    network = run.network
    metric = brg_prob.fisher_metric(network, X)
    posterior = brg_prob.fit(
        network, X, run.tree["observed_data"]["y"].values, key=jax.random.key(2), draws=4000
    )
    flow = brg_prob.coarse_grain(network, posterior, metric, scales=(60.0, 1.0), key=jax.random.key(3))
    right = erg_prediction(network, X)
    wrong = dataclasses.replace(right, mass=1.3)
    assert check_correspondence(flow, ExactRG(wrong)).verdict == "inconsistent"
    below = dataclasses.replace(right, cutoff=18.5)  # knows nothing of what folds onto its highest wave
    found = survey(flow, below)
    highest = np.flatnonzero(found.modes.momentum == found.modes.momentum.max())
    g0 = [1 / ((2 * np.pi * index / BOX) ** 2 + 1) for index in (29, 31)]
    measured = found.samples[1].variance[highest]
    both = 1 / (1 / sum(g0) + right.data_mass_squared(1.0))
    np.testing.assert_allclose(measured, both, rtol=5 * np.sqrt(2 / 4000))
    assert np.all(measured > 1.5 * found.variance(1.0)[highest])
    coarse = dataclasses.replace(flow, network=dataclasses.replace(network, cutoff=38.0))
    assert "every plane wave of the grid" in ExactRG().applies(coarse)
    assert ClosedForm().applies(coarse) is None
