"""Diagonal Fisher matrix of the published network's 2000 readout weights from 200 inputs (T5, T11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
import numpy as np

from benchmarks.harness import Case, close
from brg_prob.geometry.readout_spectrum import diagonal_information
from models.mlp import Mlp

PUBLISHED = Mlp(
    dim=2,
    widths=(10, 10, 2000),
    activation=("identity", "relu", "relu"),
    weight_variance=1.0,
    fan_in=False,
    noise=1.0,
)
"""Network 2-10-10-2000-1 of arXiv:2405.17538: no biases, no scaling, all weights N(0, 1)."""


def numpy_features(x: np.ndarray, hidden: Mapping[str, jax.Array]) -> np.ndarray:
    """Return the published network's features (n, P) in numpy."""
    field = x @ np.asarray(hidden["W0"]).T
    for name in ("W1", "W2"):
        field = np.maximum(field @ np.asarray(hidden[name]).T, 0)
    return field


def prepare(small: bool) -> Case:
    """Return ours against mean(ϕ²) by numpy; both sides compute the features from the same hidden weights."""
    network = replace(PUBLISHED, widths=(10, 10, 50)) if small else PUBLISHED
    x = 1 + jax.random.normal(jax.random.key(0), (200, 2))
    hidden = network.sample_hidden(jax.random.key(1))
    inputs = np.asarray(x)

    def ours() -> jax.Array:
        return diagonal_information(network, x, hidden, noise=network.noise).block_until_ready()

    def peer() -> np.ndarray:
        return np.mean(np.square(numpy_features(inputs, hidden)), axis=0) / network.noise**2

    return Case(ours, peer, close(1e-10), "numpy mean(ϕ²)", bar=2.0, note="features included on both sides")
