"""NNGP kernel of three hidden ReLU layers, 2000 × 2000, float64, from the inputs."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Case
from brg_prob.kernels import nngp_kernel

DEPTH = 3


def inputs(small: bool) -> np.ndarray:
    """Return standardised inputs (n, 10)."""
    return np.random.default_rng(0).standard_normal((100 if small else 2000, 10))


def three_arccos_passes(x: np.ndarray) -> Callable[[], np.ndarray]:
    """Return the peer: three passes of numpy's arccos over the matrix of cosines, and nothing else."""
    size = np.sqrt(np.sum(x**2, axis=1))
    cosine = np.clip(x @ x.T / np.outer(size, size), -1, 1)

    def peer() -> np.ndarray:
        for _ in range(DEPTH):
            angle = np.arccos(cosine)
        return angle

    return peer


def recursion(x: np.ndarray, weight: float) -> np.ndarray:
    """Return the kernel by numpy, in the angle alone: without biases the norm only scales (Cho and Saul)."""
    norm = np.sqrt(weight * np.mean(x**2, axis=1))
    cosine = np.clip(weight * x @ x.T / x.shape[1] / np.outer(norm, norm), -1, 1)
    for _ in range(DEPTH):
        angle = np.arccos(cosine)
        cosine = (np.sin(angle) + (np.pi - angle) * cosine) / np.pi
    return (weight / 2) ** DEPTH * np.outer(norm, norm) * cosine


def prepare(small: bool) -> Case:
    """Return ours, matrix product, angles and symmetry included, against the bare arccos passes."""
    x, weight = inputs(small), 1.8
    device = jnp.asarray(x)

    def ours() -> jax.Array:
        return nngp_kernel(
            device, depth=DEPTH, activation="relu", weight_variance=weight, bias_variance=0.0
        ).block_until_ready()

    def compare(kernel: jax.Array, _: np.ndarray) -> dict[str, float]:
        # the peer is part of the work only: the kernel is held against numpy's recursion instead
        expected = recursion(x, weight)
        deviation = float(np.abs(np.asarray(kernel) - expected).max() / expected.max())
        assert deviation < 1e-12, f"the kernel is off by {deviation:.1e}"
        return {"max_relative_deviation": deviation}

    return Case(
        ours,
        three_arccos_passes(x),
        compare,
        "3 numpy arccos passes",
        bar=2.0,
        memory_bar=1024,
        note="inputs to kernel; the peer is three bare arccos passes over the same matrix",
    )
