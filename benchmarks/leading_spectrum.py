"""Leading 20 eigenvalues of a Bayesian network's Fisher metric, P = 1 000 000, n = 1000, by Lanczos."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from benchmarks.harness import Case
from brg_prob.geometry import site_metric

NOISE = 0.5
LEADING = 20


def network(width: int, dim: int):
    """Return a network of one hidden tanh layer, every weight N(0, 1), as a NumPyro model."""

    def model(x, y=None):
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([dim, width]).to_event(2))
        a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([width]).to_event(1))
        f = jnp.tanh(x @ w / dim**0.5) @ a / width**0.5
        numpyro.sample("y", dist.Normal(numpyro.deterministic("f", f), NOISE), obs=y)

    return model


def dual(x: np.ndarray, w: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the leading eigenvalues of JJᵀ/(nσ²), written by hand: JJᵀ is a sum of products of kernels."""
    n, dim = x.shape
    hidden = np.tanh(x @ w / dim**0.5)
    slopes = (1 - hidden**2) * a / (w.shape[1] * dim) ** 0.5
    gram = hidden @ hidden.T / w.shape[1] + (slopes @ slopes.T) * (x @ x.T)
    return np.linalg.eigvalsh(gram)[::-1][:LEADING] / (n * NOISE**2)


def relative(ours: np.ndarray, peer: np.ndarray) -> dict[str, float]:
    """Return the largest relative deviation of an eigenvalue; it must be below 1e-6."""
    deviation = float(np.abs(np.asarray(ours) / peer - 1).max())
    assert deviation < 1e-6, f"an eigenvalue differs by {deviation:.2e}"
    return {"max_relative_deviation": deviation}


def prepare(small: bool) -> Case:
    """Return ours (products with the Jacobian) against the dual matrix of this network in numpy."""
    width, dim, n = (200, 19, 60) if small else (10_000, 99, 1000)
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (n, dim))
    at = {"w": jax.random.normal(keys[1], (dim, width)), "a": jax.random.normal(keys[2], (width,))}
    model = network(width, dim)
    arrays = [np.asarray(value) for value in (x, at["w"], at["a"])]

    def ours() -> jax.Array:
        return site_metric(model, x, at=at, method="leading", leading=LEADING).eigenvalues.block_until_ready()

    return Case(
        ours,
        lambda: dual(*arrays),
        relative,
        "numpy dual",
        memory_bar=4096,
        seconds_bar=120,
        note="a general model by automatic differentiation, compilation included; the peer knows the network",
    )
