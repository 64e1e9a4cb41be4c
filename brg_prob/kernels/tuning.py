"""Activations without a closed form, tuned on the host to the variances that a network reaches (T2)."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from brg_prob.activations import Activation
from brg_prob.kernels.options import Options

TOLERANCE = 1e-10  # of E[φ²] and E[φ′²] at the largest variance of a layer
GRID = 33  # variances at which the range of a layer is carried to the next


def tuned_to(act: Activation, variance: float, tolerance: float = TOLERANCE) -> Activation:
    """Return φ with kernels good to ``tolerance`` up to a variance.

    It is rounded up to a power of √2, so that similar inputs share what is compiled.
    """
    if act.numeric is None or not 0 < variance < math.inf:
        return act
    return act.tuned(2.0 ** (math.ceil(2 * math.log2(variance) - 1e-6) / 2), tolerance)


def tuned_options(options: Options, x1: Any, x2: Any, tolerance: float) -> Options:
    """Return options whose activations are tuned, layer by layer, to the variances of given inputs (n, d)."""
    if all(act.numeric is None for act in options.activations):
        return options
    weights, biases = np.asarray(options.weights), np.asarray(options.biases)
    inputs = [np.asarray(x) for x in (x1, x2) if x is not None]
    squares = np.concatenate([np.mean(x**2, axis=1) for x in inputs])
    low, high = (float(biases[0] + weights[0] * end(squares)) for end in (np.min, np.max))
    tuned = []
    for layer, act in enumerate(options.activations, start=1):
        tuned.append(tuned_to(act, high, tolerance))
        k = jnp.asarray(np.linspace(low, high, GRID), dtype=options.weights.dtype)
        following = biases[layer] + weights[layer] * np.asarray(tuned[-1].dual(k, k, k))
        low, high = float(following.min()), float(following.max())
    return options._replace(activations=tuple(tuned))
