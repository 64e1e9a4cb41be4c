"""Activations without a closed form, tuned on the host to the variances that a network reaches (T2)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from brg_prob.activations import Activation
from brg_prob.kernels.checked_options import Options

TOLERANCE = 1e-10  # of E[φ²] and E[φ′²] at the largest variance of a layer
GRID = 33  # variances at which the range of a layer is carried to the next
SHORT = 64  # terms of a series that serves layers of smaller variances too


def tuned_to(act: Activation, variance: float, tolerance: float = TOLERANCE) -> Activation:
    """Return φ with kernels good to ``tolerance`` up to a variance.

    It is rounded up to a power of √2, so that similar inputs share what is compiled.
    """
    if act.numeric is None or not 0 < variance < math.inf:
        return act
    return act.tuned(2.0 ** (math.ceil(2 * math.log2(variance) - 1e-6) / 2), tolerance)


def tuned_options(
    options: Options, x1: Float[Any, "n1 d"], x2: Float[Any, "n2 d"] | None, tolerance: float
) -> Options:
    """Return options whose activations are tuned, layer by layer, to the variances of given inputs (n, d)."""
    if all(act.numeric is None for act in options.activations):
        return options
    dtype = options.weights.dtype
    tolerance = max(tolerance, 16 * float(jnp.finfo(dtype).eps))
    weights, biases = np.asarray(options.weights), np.asarray(options.biases)
    inputs = [np.asarray(x) for x in (x1, x2) if x is not None]
    squares = np.concatenate([np.mean(x**2, axis=1) for x in inputs])
    low, high = (float(biases[0] + weights[0] * end(squares)) for end in (np.min, np.max))
    tuned = []
    for layer, act in enumerate(options.activations, start=1):
        tuned.append(tuned_to(act, high, tolerance))
        k = np.linspace(low, high, GRID)
        following = biases[layer] + weights[layer] * _square(act, k, dtype)
        low, high = float(following.min()), float(following.max())
    return options._replace(activations=merged(tuned))


def _square(act: Activation, k: Float[np.ndarray, " m"], dtype: Any) -> Float[np.ndarray, " m"]:
    """Return E[φ²] at variances, on the host where a dual kernel would have to be compiled for it."""
    if act.numeric is not None:
        return act.numeric.mean_square(k)
    variance = jnp.asarray(k, dtype)
    return np.asarray(act.dual(variance, variance, variance))


def merged(tuned: list[Activation]) -> tuple[Activation, ...]:
    """Return activations among which the series of one layer serves its neighbours, if not much longer.

    Layers whose variances grow or shrink then share one, and with it one loop of the recursion.
    """
    found = list(tuned)
    onwards = list(pairwise(range(len(found))))
    backwards = [(later, earlier) for earlier, later in reversed(onwards)]
    for one, other in onwards + backwards:
        if _serves(found[one], found[other]):
            found[other] = found[one]
    return tuple(found)


def _serves(one: Activation, other: Activation) -> bool:
    """Whether the series of one contains that of the other, and is short or about as long."""
    if not (one.has_series and other.has_series) or one.numeric.function is not other.numeric.function:
        return False
    terms, needed = set(one.numeric.degrees), set(other.numeric.degrees)
    return (
        needed <= terms
        and len(terms) <= max(SHORT, 1.3 * len(needed))
        and (one.numeric.order >= other.numeric.order)
    )
