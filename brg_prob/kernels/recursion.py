"""The recursion of infinite width as pure functions of arrays: NNGP and NTK, layer by layer (T2).

    K¹ = σ_b² + σ_w² x·x′/d,        K^{l+1} = σ_b² + σ_w² E[φ(u)φ(v)],
    Θ¹ = K¹,                        Θ^{l+1} = K^{l+1} + σ_w² E[φ′(u)φ′(v)] Θ^l,

(u, v) ~ N(0, [[K^l(x, x), K^l], [K^l, K^l(x′, x′)]]). Lee et al., arXiv:1711.00165; Jacot et
al., arXiv:1806.07572. Nothing is checked here: see :mod:`brg_prob.kernels.checked_options`.

Consecutive layers of one activation are one loop, which compiles once for any depth.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from brg_prob.activations import Activation

Activations = tuple[Activation, ...]
Layers = Float[Array, " layers"]  # L + 1 of them
Kernel = Float[Array, "*pairs"]  # (n1, n2), or (n,) on the diagonal
UNROLLED = 4  # layers of one closed form that are faster written out than in a loop


class State(NamedTuple):
    """Kernels of one layer l.

    Attributes
    ----------
    rows, columns
        K^l(x, x) and K^l(x′, x′), (n1,) and (n2,); columns None: x′ are x; both None on the diagonal.
    nngp
        K^l, (n1, n2), or (n,) on the diagonal.
    ntk
        Θ^l, the same shape; None if only the NNGP was asked for.
    """

    rows: Float[Array, " n1"] | None
    columns: Float[Array, " n2"] | None
    nngp: Kernel
    ntk: Kernel | None

    @property
    def output(self) -> Kernel:
        """Θ^l if it was asked for, else K^l."""
        return self.nngp if self.ntk is None else self.ntk


def diagonal(x: Float[Array, "n d"], weights: Layers, biases: Layers, ntk: bool) -> State:
    """Return the first layer of every input (n, d) with itself."""
    k = biases[0] + weights[0] * jnp.mean(x**2, axis=1)
    return State(None, None, k, k if ntk else None)


def pairs(
    x1: Float[Array, "n1 d"], x2: Float[Array, "n2 d"] | None, weights: Layers, biases: Layers, ntk: bool
) -> State:
    """Return the first layer of all pairs."""
    other = x1 if x2 is None else x2
    k = biases[0] + weights[0] * jnp.matmul(x1, other.T, precision="highest") / x1.shape[1]
    columns = None if x2 is None else diagonal(x2, weights, biases, False).nngp
    return State(diagonal(x1, weights, biases, False).nngp, columns, k, k if ntk else None)


def next_layer(act: Activation, state: State, weight: Float[Array, ""], bias: Float[Array, ""]) -> State:
    """Return the kernels one layer on."""

    def own(k: Float[Array, " n"] | None) -> Float[Array, " n"] | None:
        return None if k is None else bias + weight * act.dual(k, k, k)

    block = (state.nngp,) * 3
    if state.rows is not None:
        columns = state.rows if state.columns is None else state.columns
        block = (state.rows[:, None], columns[None, :], state.nngp)
    k = bias + weight * act.dual(*block)
    if act.numeric is not None:  # else XLA computes a series anew wherever it is read
        k = jax.lax.optimization_barrier(k)
    ntk = None if state.ntk is None else k + weight * act.dual_derivative(*block) * state.ntk
    return State(own(state.rows), own(state.columns), k, ntk)


def flow(
    state: State, weights: Layers, biases: Layers, activations: Activations, every_layer: bool
) -> Float[Array, " ..."]:
    """Return the output's kernel (…), or every layer's (L + 1, …), from the first layer's."""
    found: list[Any] = [state.output[None]]
    first = 1
    for act, layers in groupby(activations):

        def step(state: State, variances: tuple[Array, Array], act: Activation = act) -> tuple[State, Any]:
            state = next_layer(act, state, *variances)
            return state, state.output if every_layer else None

        last = first + len(list(layers))
        variances = weights[first:last], biases[first:last]
        if last - first > (UNROLLED if act.numeric is None else 1):
            state, outputs = jax.lax.scan(step, state, variances)
            found.append(outputs)
        else:
            for weight, bias in zip(*variances, strict=True):
                state, output = step(state, (weight, bias))
                found.append(output[None] if every_layer else None)
        first = last
    return jnp.concatenate(found) if every_layer else state.output


def mirrored(
    kernel: Float[Array, "*layers n n"], diagonal: Float[Array, "*layers n"]
) -> Float[Array, "*layers n n"]:
    """Return kernels of equal inputs (…, n, n) without rounding: symmetric, diagonals (…, n) as given."""
    kernel = jax.lax.optimization_barrier(kernel)  # else XLA computes it once more, transposed
    symmetric = (kernel + kernel.mT) / 2
    return jnp.where(jnp.eye(kernel.shape[-1], dtype=bool), diagonal[..., None], symmetric)


@partial(jax.jit, static_argnames=("activations", "ntk", "every_layer"))
def all_pairs(
    x1: Float[Array, "n1 d"],
    x2: Float[Array, "n2 d"] | None,
    weights: Layers,
    biases: Layers,
    activations: Activations,
    ntk: bool,
    every_layer: bool = False,
) -> Float[Array, "*layers n1 n2"]:
    """Return the output's kernel (n1, n2), or every layer's (L + 1, n1, n2); of x1 alone if x2 is None."""
    found = flow(pairs(x1, x2, weights, biases, ntk), weights, biases, activations, every_layer)
    if x2 is not None:
        return found
    return mirrored(found, all_diagonals(x1, weights, biases, activations, ntk, every_layer))


@partial(jax.jit, static_argnames=("activations", "ntk", "every_layer"))
def all_diagonals(
    x: Float[Array, "n d"],
    weights: Layers,
    biases: Layers,
    activations: Activations,
    ntk: bool,
    every_layer: bool = False,
) -> Float[Array, "*layers n"]:
    """Return the diagonal (n,) of the output's kernel, or of every layer's (L + 1, n)."""
    return flow(diagonal(x, weights, biases, ntk), weights, biases, activations, every_layer)
