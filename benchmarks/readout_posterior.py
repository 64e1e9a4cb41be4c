"""Last-layer posterior of the published network: 1000 joint draws at 200 points, 200 observations (T10)."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve

from benchmarks.fisher_diagonal import PUBLISHED, numpy_features
from benchmarks.harness import Case, close
from brg_prob.posterior import as_data
from brg_prob.posterior.exact import draw_member
from brg_prob.posterior.readout_members import prior_weights


def prepare(small: bool) -> Case:
    """Return ours against Matheron's rule in the dual, written out in numpy.

    Both sides draw their normal numbers inside the timing and compute features, kernel, factor and draws.
    First the numpy code is run on our normal numbers: the same draws come out.
    """
    network = replace(PUBLISHED, widths=(10, 10, 50)) if small else PUBLISHED
    draws, n, width = (20 if small else 1000), 200, network.widths[-1]
    keys = jax.random.split(jax.random.key(0), 4)
    x, other = (1 + jax.random.normal(k, (n, 2)) for k in keys[:2])
    y = (1 - x[:, 0]) ** 2 - (x[:, 1] - x[:, 0]) ** 2 / 2
    hidden = network.sample_hidden(keys[2])
    data = as_data(x, y, (other, jnp.zeros(n)))
    inputs, targets = np.asarray(data.all_inputs), np.asarray(data.y)

    def ours() -> np.ndarray:
        return np.asarray(draw_member(network, data, hidden, keys[3], draws, float(n)).field[:, n:, 0])

    def written_out(weights: np.ndarray, error: np.ndarray) -> np.ndarray:
        features = numpy_features(inputs, hidden)
        kernel = features @ features[:n].T
        prior = features @ weights
        factor = cho_factor(kernel[:n] + network.noise**2 * np.eye(n), lower=True)
        dual = cho_solve(factor, targets - prior[:n] - network.noise * error)
        return (prior[n:] + kernel[n:] @ dual).T

    def peer() -> np.ndarray:
        rng = np.random.default_rng(0)
        return written_out(rng.standard_normal((width, draws)), rng.standard_normal((n, draws)))

    def compare(found: np.ndarray, _: np.ndarray) -> dict[str, float]:
        at = range(draws)
        weights = np.stack([np.asarray(prior_weights(keys[3], i, (width, 1)))[:, 0] for i in at], axis=1)
        errors = [jax.random.normal(jax.random.fold_in(keys[3], 2 * i + 1), (n,)) for i in at]
        return close(1e-8)(found, written_out(weights, np.stack(errors, axis=1)))

    return Case(
        ours, peer, compare, "numpy, dual form", bar=2.0, note="features and normal numbers on both sides"
    )
