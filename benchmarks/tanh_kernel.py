"""NNGP kernel of three hidden tanh layers to 1e-8 by Mehler's series, 2000 × 2000, float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Case
from benchmarks.relu_kernel import DEPTH, inputs, three_arccos_passes
from brg_prob.kernels import nngp_kernel

WEIGHT, BIAS, TOLERANCE, NODES = 1.5, 0.1, 1e-9, 160


def recursion(x: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the kernel at pairs (M, 2) by Gauss–Hermite quadrature over two variables in numpy."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    found = []
    for i, j in pairs:
        block = BIAS + WEIGHT * x[[i, j]] @ x[[i, j]].T / x.shape[1]
        for _ in range(DEPTH):
            s, t = np.sqrt(np.diag(block))
            rho = min(block[0, 1] / (s * t), 1.0)
            u = np.tanh(s * nodes)
            v = np.tanh(t * (rho * nodes[:, None] + np.sqrt(1 - rho**2) * nodes[None, :]))
            cross = (weights * u) @ v @ weights
            square = weights @ u**2, weights @ np.tanh(t * nodes) ** 2
            block = BIAS + WEIGHT * np.array([[square[0], cross], [cross, square[1]]])
        found.append(block[0, 1])
    return np.array(found)


def prepare(small: bool) -> Case:
    """Return ours against the bare arccos passes of the ReLU kernel."""
    x = inputs(small)
    x = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True)) * np.linspace(0.5, 1.1, len(x))[:, None]
    device = jnp.asarray(x)

    def ours() -> jax.Array:
        return nngp_kernel(
            device,
            depth=DEPTH,
            activation="tanh",
            weight_variance=WEIGHT,
            bias_variance=BIAS,
            tolerance=TOLERANCE,
        ).block_until_ready()

    def compare(kernel: jax.Array, _: np.ndarray) -> dict[str, float]:
        pairs = np.random.default_rng(1).integers(0, len(x), (60, 2))
        pairs[:3, 1] = pairs[:3, 0]  # the diagonal, where the series is at its worst
        expected = recursion(x, pairs)
        deviation = float(np.abs(np.asarray(kernel)[tuple(pairs.T)] / expected - 1).max())
        assert deviation < 1e-8, f"the kernel is off by {deviation:.1e}"
        return {"max_relative_deviation": deviation}

    return Case(
        ours,
        three_arccos_passes(x),
        compare,
        "3 numpy arccos passes",
        bar=15.0,
        memory_bar=1024,
        note="inputs to kernel, tuning of the series included; variances 0.5 to 1.9",
    )
