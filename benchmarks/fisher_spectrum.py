"""Fisher spectrum of a random-momentum cos-net, P = 100 000, n = 1000, features included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Case, close
from brg_prob.geometry import fisher_spectrum
from models.cosnet import CosNet


def prepare(small: bool) -> Case:
    """Return ours (streamed Gram) against numpy's features, Gram matrix and eigenvalues."""
    width, n = (2000, 60) if small else (100_000, 1000)
    network = CosNet(dim=1, cutoff=20.0, mass=1.0, noise=0.5, width=width)
    x = jnp.linspace(0.0, 10.0, n)[:, None]
    hidden = network.sample_hidden(jax.random.key(0))
    w, b, inputs = (np.asarray(v) for v in (hidden["w"], hidden["b"], x))
    momenta = np.linalg.norm(w.reshape(width, -1), axis=1)
    # T4 in numpy: A² = 2·Vol/(2π)^d with Vol = 2Λ; whitened by the readout variance 1/N
    amplitude = np.sqrt(2 * 2 * network.cutoff / (2 * np.pi) / (momenta**2 + 1.0) / width)

    def ours() -> jax.Array:
        return fisher_spectrum(network, x, hidden=hidden).block_until_ready()

    def peer() -> np.ndarray:
        features = np.cos(inputs @ w.reshape(width, -1).T + b) * amplitude
        values = np.linalg.eigvalsh(features @ features.T)[::-1]
        return values / (n * network.noise**2)

    return Case(
        ours, peer, close(1e-9), "numpy", bar=1.0, memory_bar=2048, note="features + Gram + eigenvalues"
    )
