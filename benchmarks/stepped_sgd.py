"""Batch-1 SGD, step by step: 100 networks of the published readout problem, n = 200, P = 2000 (T11)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Case, close
from brg_prob.posterior.descent_steps import Batches, recorded_epochs
from brg_prob.posterior.network_training import Training, train_members
from brg_prob.posterior.readout_members import member_keys, prior_weights
from models.mlp import Mlp


def prepare(small: bool) -> Case:
    """Return ours for all members against the plain numpy loop for one, per member and step."""
    width, n, members, epochs = (60, 20, 4, 5) if small else (2000, 200, 100, 1000)
    rate = 1e-6
    network = Mlp(
        widths=(10, 10, width),
        activation=("identity", "relu", "relu"),
        weight_variance=1.0,
        fan_in=False,
        dim=2,
    )
    x = 1 + jax.random.normal(jax.random.key(1), (n, 2))
    y = jnp.square(1 - x[:, :1]) - (x[:, 1:] - jnp.square(x[:, :1])) / 2
    keys = member_keys(jax.random.key(0), members)
    how = Training("sgd", False, Batches(n, 1, False), 1)
    arguments = (x, y, keys, jnp.asarray(rate), jnp.asarray(recorded_epochs(epochs)))

    features = np.asarray(network.features(x, network.sample_hidden(keys[0][0])))
    start = np.asarray(prior_weights(keys[1][0], 0, (width, 1)))[:, 0]
    target = np.asarray(y)[:, 0]

    def ours() -> np.ndarray:
        return np.asarray(train_members(network, how, *arguments).readout)[0, 0, :, 0]

    def peer() -> np.ndarray:
        w = start.copy()
        for _ in range(epochs):
            for phi, value in zip(features, target, strict=True):
                w -= 2 * rate * (phi @ w - value) * phi
        return w

    return Case(
        ours,
        peer,
        close(1e-10),
        "numpy, 1 member",
        bar=0.2,
        work=members,
        note=f"{epochs} epochs of {n} steps; per member and step. Ours: {members} members, each with hidden "
        "layers of its own, features and kernel matrix included; every step is taken, on the dual "
        "coefficients, at a cost of n and not of P. The peer's features are ready and stay in cache. "
        "The weights of one member are compared.",
    )
