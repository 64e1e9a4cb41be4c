"""The recursion of infinite width as pure functions of arrays: NNGP and NTK, layer by layer (T2).

    K¹ = σ_b² + σ_w² x·x′/d,        K^{l+1} = σ_b² + σ_w² E[φ(u)φ(v)],
    Θ¹ = K¹,                        Θ^{l+1} = K^{l+1} + σ_w² E[φ′(u)φ′(v)] Θ^l,

(u, v) ~ N(0, [[K^l(x, x), K^l], [K^l, K^l(x′, x′)]]). Lee et al., arXiv:1711.00165; Jacot et
al., arXiv:1806.07572. Nothing is checked here: see :mod:`brg_prob.kernels.options`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from brg_prob.activations import Activation

Activations = tuple[Activation, ...]


class Layers(NamedTuple):
    """Kernels of every layer, l = 1 … L + 1; the last is the output's.

    Attributes
    ----------
    nngp
        K^l: (n1, n2) each, or (n,) on the diagonal.
    ntk
        Θ^l, the same shapes; empty if only the NNGP was asked for.
    """

    nngp: tuple[Array, ...]
    ntk: tuple[Array, ...]

    @property
    def output(self) -> Array:
        """Θ^{L+1} if it was asked for, else K^{L+1}."""
        return (self.ntk or self.nngp)[-1]


def diagonal(x: Array, weights: Array, biases: Array, activations: Activations, ntk: bool) -> Layers:
    """Return K^l(x, x), and Θ^l(x, x), of every input (n, d): arrays (n,)."""
    k = biases[0] + weights[0] * jnp.mean(x**2, axis=1)
    variances, tangents = [k], [k]
    for layer, act in enumerate(activations, start=1):
        slope = weights[layer] * act.dual_derivative(k, k, k) if ntk else 0.0
        k = biases[layer] + weights[layer] * act.dual(k, k, k)
        variances.append(k)
        tangents.append(k + slope * tangents[-1])
    return Layers(tuple(variances), tuple(tangents) if ntk else ())


def pairs(x1: Array, x2: Array, weights: Array, biases: Array, activations: Activations, ntk: bool) -> Layers:
    """Return K^l(x, x′), and Θ^l(x, x′), of all pairs: arrays (n1, n2)."""
    rows = diagonal(x1, weights, biases, activations, False).nngp
    columns = diagonal(x2, weights, biases, activations, False).nngp
    k = biases[0] + weights[0] * jnp.matmul(x1, x2.T, precision="highest") / x1.shape[1]
    kernels, tangents = [k], [k]
    for layer, act in enumerate(activations, start=1):
        block = (rows[layer - 1][:, None], columns[layer - 1][None, :], k)
        slope = weights[layer] * act.dual_derivative(*block) if ntk else 0.0
        k = biases[layer] + weights[layer] * act.dual(*block)
        if act.numeric is not None:  # else XLA computes a series anew wherever the next layer reads it
            k = jax.lax.optimization_barrier(k)
        kernels.append(k)
        tangents.append(k + slope * tangents[-1])
    return Layers(tuple(kernels), tuple(tangents) if ntk else ())


def mirrored(kernel: Array, diagonal: Array) -> Array:
    """Return a kernel of equal inputs with rounding taken out: symmetric, its diagonal as given."""
    kernel = jax.lax.optimization_barrier(kernel)  # else XLA computes it once more, transposed
    symmetric = (kernel + kernel.T) / 2
    return jnp.where(jnp.eye(len(diagonal), dtype=bool), diagonal[:, None], symmetric)


@partial(jax.jit, static_argnames=("activations", "ntk", "every_layer"))
def all_pairs(
    x1: Array,
    x2: Array | None,
    weights: Array,
    biases: Array,
    activations: Activations,
    ntk: bool,
    every_layer: bool = False,
) -> Array:
    """Return the output's kernel (n1, n2), or every layer's (L + 1, n1, n2); of x1 alone if x2 is None."""
    layers = pairs(x1, x1 if x2 is None else x2, weights, biases, activations, ntk)
    found = (layers.ntk or layers.nngp) if every_layer else (layers.output,)
    if x2 is None:
        own = diagonal(x1, weights, biases, activations, ntk)
        exact = (own.ntk or own.nngp)[-len(found) :]
        found = tuple(mirrored(k, diag) for k, diag in zip(found, exact, strict=True))
    return jnp.stack(found) if every_layer else found[0]


@partial(jax.jit, static_argnames=("activations", "ntk", "every_layer"))
def all_diagonals(
    x: Array,
    weights: Array,
    biases: Array,
    activations: Activations,
    ntk: bool,
    every_layer: bool = False,
) -> Array:
    """Return the diagonal (n,) of the output's kernel, or of every layer's (L + 1, n)."""
    layers = diagonal(x, weights, biases, activations, ntk)
    return jnp.stack(layers.ntk or layers.nngp) if every_layer else layers.output
