"""The whitened Fisher spectrum: dual = primal, invariance, closed forms (T5)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brg_prob import fisher_metric
from brg_prob.geometry import ReadoutModes, fisher_spectrum, readout_modes
from brg_prob.geometry.readout_spectrum import (
    modes_of_features,
    modes_of_gram,
    readout_kernel,
    whitened_features,
)
from brg_prob.network import LowRankUpdate, ReadoutPrior


def _features(key, n=25, parameters=60):
    return jax.random.normal(key, (n, parameters)) / np.sqrt(parameters)


@pytest.mark.parametrize("parameters", [10, 25, 60])
def test_dual_spectrum_equals_primal_spectrum(getkey, parameters):
    phi = _features(getkey(), parameters=parameters)
    dual = modes_of_gram(phi @ phi.T, 0.3, parameters=parameters)
    primal = modes_of_features(phi, 0.3)
    rank = min(25, parameters)
    np.testing.assert_allclose(dual.eigenvalues, primal.eigenvalues[:rank], atol=1e-10 * dual.eigenvalues[0])
    fisher = np.asarray(phi.T @ phi) / (25 * 0.3**2)
    np.testing.assert_allclose(dual.eigenvalues, np.linalg.eigvalsh(fisher)[::-1][:rank], atol=1e-12)


def test_modes_reproduce_fields_of_the_features_span(getkey):
    phi = _features(getkey(), parameters=10)
    for modes in (modes_of_features(phi, 0.3), modes_of_gram(phi @ phi.T, 0.3, parameters=10)):
        field = (phi @ jax.random.normal(getkey(), (10, 4))).T[:, :, None]
        np.testing.assert_allclose(modes.fields(modes.coordinates(field)), field, atol=1e-10)
        gram = modes.inputs.T @ modes.inputs
        np.testing.assert_allclose(gram, np.eye(10), atol=1e-9)


def test_null_directions_are_clipped_to_zero_and_reported(random_cosines, getkey):
    network = random_cosines()
    x = jnp.zeros((8, 1)).at[4:].set(1.0)  # two distinct inputs: rank two
    metric = fisher_metric(network, x, at=network.sample_hidden(getkey()))
    assert metric.rank == 2
    assert np.all(np.asarray(metric.eigenvalues[2:]) == 0)
    assert "2 of 8" in metric.status
    assert metric.floor > 0


def test_spectrum_is_invariant_under_linear_reparameterisation(getkey):
    phi = _features(getkey())
    transform = np.eye(60) + 0.3 * np.asarray(jax.random.normal(getkey(), (60, 60))) / 8
    # θ → Mθ: features Φ M⁻¹, prior covariance M Mᵀ; whitened features Φ M⁻¹ (M Mᵀ)^(1/2)
    values, vectors = np.linalg.eigh(transform @ transform.T)
    root = vectors * np.sqrt(values) @ vectors.T
    moved = phi @ jnp.asarray(np.linalg.inv(transform) @ root)
    before, after = (modes_of_gram(f @ f.T, 0.3, parameters=60).eigenvalues for f in (phi, moved))
    np.testing.assert_allclose(before, after, atol=1e-10 * before[0])


def test_streamed_kernel_equals_the_product_of_features(random_cosines, getkey, monkeypatch):
    network, x = random_cosines(width=103), jnp.linspace(0, 1, 30)[:, None]
    hidden = network.sample_hidden(getkey())
    monkeypatch.setattr("brg_prob.geometry.readout_spectrum._BLOCK_ELEMENTS", 30 * 20)
    phi = whitened_features(network, x, hidden)
    np.testing.assert_allclose(readout_kernel(network, x, hidden), phi @ phi.T, atol=1e-12)


def test_block_triangle_product_is_symmetric_and_right(getkey):
    from brg_prob.geometry.readout_spectrum import _symmetric_product

    phi = _features(getkey(), n=531, parameters=20)
    product = _symmetric_product(phi)
    np.testing.assert_allclose(product, np.asarray(phi) @ np.asarray(phi).T, atol=1e-12)


def test_fisher_equals_the_curvature_of_the_kl_divergence(random_cosines, getkey):
    """½δᵀIδ is the KL per observation between predictions at two readouts: exact for Gaussian noise."""
    network, x = random_cosines(width=6), jnp.linspace(0, 2, 9)[:, None]
    hidden = network.sample_hidden(getkey())
    delta = jax.random.normal(getkey(), (6,))
    phi = network.features(x, hidden)
    kl = jnp.mean(jnp.square(phi @ delta)) / (2 * network.noise**2)
    whitened = delta / np.sqrt(network.variance)
    modes = readout_modes(network, x, hidden, noise=network.noise)
    coordinates = modes.coordinates((whitened_features(network, x, hidden) @ whitened)[None, :, None])[
        0, :, 0
    ]
    assert float(jnp.sum(modes.eigenvalues * coordinates**2) / 2) == pytest.approx(float(kl), rel=1e-9)
    diagonal = fisher_metric(network, x, at=hidden).diagonal
    np.testing.assert_allclose(diagonal, np.mean(np.asarray(phi) ** 2, 0) / network.noise**2, rtol=1e-12)


def test_monte_carlo_scores_agree_with_the_expected_fisher(random_cosines, getkey):
    """Expected over simulated y: the score covariance, within 4 standard errors; not the empirical Fisher."""
    network, x = random_cosines(width=5), jnp.linspace(0, 2, 7)[:, None]
    hidden = network.sample_hidden(getkey())
    phi = network.features(x, hidden)
    noise = network.noise * jax.random.normal(getkey(), (40000, 7))
    scores = jnp.einsum("sn,np->snp", noise / network.noise**2, phi)
    per_draw = jnp.mean(jnp.square(scores), axis=1)
    diagonal = fisher_metric(network, x, at=hidden).diagonal
    error = jnp.std(per_draw, axis=0) / np.sqrt(40000)
    assert np.all(np.abs(per_draw.mean(0) - diagonal) < 4 * error)
    assert np.any(np.abs(per_draw.mean(0) - 2 * diagonal) > 4 * error)  # the factor-two trap is seen


def test_spectrum_without_modes_is_the_metrics(random_cosines, getkey):
    network, x = random_cosines(), jnp.linspace(0, 3, 12)[:, None]
    hidden = network.sample_hidden(getkey())
    np.testing.assert_array_equal(
        fisher_spectrum(network, x, hidden=hidden), fisher_metric(network, x, at=hidden).eigenvalues
    )


def test_metric_needs_a_point_where_it_depends_on_one(random_cosines):
    with pytest.raises(ValueError, match="pass at=posterior"):
        fisher_metric(random_cosines(), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="no sample site"):
        fisher_metric(lambda x, y=None: None, jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="'readout' alone"):
        fisher_metric(random_cosines(), jnp.zeros((3, 1)), sites=("w",))


def test_low_rank_covariance_operator_matches_dense_matrices(getkey):
    basis = jnp.linalg.qr(jax.random.normal(getkey(), (9, 3)))[0]
    operator = LowRankUpdate(jnp.asarray(1.7), basis, jnp.array([0.9, 0.5, 0.1]))
    dense = 1.7 * (np.eye(9) - np.asarray(basis) * np.array([0.9, 0.5, 0.1]) @ np.asarray(basis).T)
    v = jax.random.normal(getkey(), (9, 2))
    np.testing.assert_allclose(operator.matmul(v), dense @ v, atol=1e-12)
    np.testing.assert_allclose(operator.sqrt_matmul(operator.sqrt_matmul(v)), dense @ v, atol=1e-12)
    np.testing.assert_allclose(operator.inverse_sqrt_matmul(operator.sqrt_matmul(v)), v, atol=1e-12)
    np.testing.assert_allclose(operator.diagonal(9), np.diag(dense), atol=1e-12)
    assert isinstance(ReadoutPrior(v, operator), ReadoutPrior)
    assert isinstance(modes_of_features(basis, 1.0), ReadoutModes)
