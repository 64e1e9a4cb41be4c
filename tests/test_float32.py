"""float32 works, and what it costs: eigenvalues to about 1e-6 of the largest, fields to about 1e-3."""

import jax
import jax.numpy as jnp
import numpy as np

from brg_prob import coarse_grain, fisher_metric, fit


def test_spine_runs_in_float32_at_its_stated_cost(random_cosines, dense_oracle, sine_data):
    x, y, other, target = (np.asarray(v) for v in sine_data)
    network = random_cosines()
    with jax.enable_x64(False):
        posterior = fit(network, x, y, key=jax.random.key(3), draws=2000, held_out=(other, target))
        metric = fisher_metric(network, x, at=posterior)
        flow = coarse_grain(network, posterior, metric, scales=[30.0, 5.0, 0.0], key=jax.random.key(4))
        tree = flow.tree
        assert tree["flow"]["field_mean"].dtype == np.float32
        assert metric.eigenvalues.dtype == jnp.float32
        low = np.asarray(metric.eigenvalues, dtype=float)
        hidden = {name: np.asarray(value, dtype=float) for name, value in metric.hidden[0].items()}
        mean, spread = (tree["flow"][name].values.astype(float) for name in ("field_mean", "field_sd"))
        theory = np.asarray(flow.theory_at(5.0).mean(jnp.asarray(other)), dtype=float)
    phi = np.asarray(network.features(x, hidden))
    exact = np.linalg.eigvalsh(network.variance * phi @ phi.T)[::-1] / (30 * network.noise**2)
    assert np.abs(low - exact[: low.size]).max() < 4e-6 * exact[0]
    for index, observations in enumerate((30.0, 5.0, 0.0)):
        centre, covariance = dense_oracle(network, hidden, x, y, observations).field(x)
        z = (mean[index] - centre[:, 0]) / np.sqrt(np.diag(covariance) / 2000)
        assert np.abs(z).max() < 4.5
        assert np.abs(spread[index] / np.sqrt(np.diag(covariance)) - 1).max() < 4.5 / np.sqrt(2 * 2000)
    expected = dense_oracle(network, hidden, x, y, 5.0).field(other)[0]
    assert np.abs(theory - expected).max() < 1e-3
    assert np.abs(theory - expected).max() > 1e-9  # the loss is real
