"""Steps of stochastic gradient descent and Adam, compiled: what the engine ``ensemble`` runs (T11).

The loss of a batch is the mean over its B samples of (f − y)², summed over outputs. A batch of one
in fixed order is then the published w ← w − 2η(f(x_i) − y_i)φ(x_i), and E epochs of small steps η are
gradient flow on ½Σ(f − y)² for the time t = 2ηE/B, at any batch size B that divides n.

Gradient descent on a linear readout never leaves w_0 + span(Φᵀ). Its steps are therefore taken on the
dual coefficients c of w = w_0 + Φᵀc wherever n ≤ P: the same iterates, at a cost of n instead
of P per sample and step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from brg_prob.arrays import thin

Step = Callable[[Any, Array | None, Array], Any]
"""(state, rows of the batch or None for all, weight of each row in the mean) → state."""

OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {"sgd": optax.sgd, "adam": optax.adam}

_RECORDED = 64
"""Epochs at which the loss is kept, at most, beside the untrained one."""


@dataclass(frozen=True)
class Batches:
    """How samples are dealt out to steps.

    Attributes
    ----------
    n
        Number of samples.
    size
        Samples per step; the last batch of an epoch may be smaller.
    shuffle
        Whether each epoch deals in a new random order; else 0 … n − 1.
    """

    n: int
    size: int
    shuffle: bool

    @property
    def whole(self) -> bool:
        """Whether a step sees all samples."""
        return self.size == self.n

    def dealt(self, key: Array, epoch: Array) -> tuple[Array, Array]:
        """Return rows and their weights in the mean, (steps, B), of one epoch; padding weighs nothing."""
        steps = -(-self.n // self.size)
        rows = jnp.arange(self.n)
        if self.shuffle:
            rows = jax.random.permutation(jax.random.fold_in(key, epoch), self.n)
        rows = jnp.concatenate([rows, jnp.zeros(steps * self.size - self.n, rows.dtype)])
        real = (jnp.arange(steps * self.size) < self.n).reshape(steps, self.size).astype(float)
        return rows.reshape(steps, self.size), real / real.sum(axis=1, keepdims=True)


def recorded_epochs(epochs: int) -> np.ndarray:
    """Return the epochs after which the loss is kept: 0, the last, and evenly between.

    Examples
    --------
    >>> recorded_epochs(3).tolist(), recorded_epochs(1000).size
    ([0, 1, 2, 3], 65)
    """
    return thin(epochs + 1, _RECORDED + 1)


def run_epochs(
    step: Step, loss: Callable[[Any], Array], state: Any, key: Array, batches: Batches, recorded: Array
) -> tuple[Any, Array]:
    """Return the trained state, and the loss over all samples at the recorded epochs, (R,).

    Parameters
    ----------
    step
        One step of the optimiser.
    loss
        Mean loss over all samples of a state.
    state
        Parameters, and what the optimiser remembers.
    key
        Of the random orders.
    recorded
        Ascending from 0; the last is the number of epochs. Another number of epochs compiles
        nothing new while as many are recorded.
    """

    def epoch(number: Array, state: Any) -> Any:
        if batches.whole:
            return step(state, None, jnp.full(batches.n, 1 / batches.n))
        return jax.lax.scan(lambda s, at: (step(s, *at), None), state, batches.dealt(key, number))[0]

    def span(state: Any, bounds: tuple[Array, Array]) -> tuple[Any, Array]:
        state = jax.lax.fori_loop(*bounds, epoch, state)
        return state, loss(state)

    return jax.lax.scan(span, state, (jnp.concatenate([recorded[:1], recorded[:-1]]), recorded))


def _taken(array: Array, rows: Array | None) -> Array:
    """Return rows of an array, or all of it without a copy."""
    return array if rows is None else array[rows]


def descend_dual(
    kernel: Array, residual: Array, rate: Array, key: Array, batches: Batches, recorded: Array
) -> tuple[Array, Array]:
    """Return the dual coefficients of a readout trained by gradient descent, step by step, and its losses.

    Parameters
    ----------
    kernel
        ΦΦᵀ of the readout, (n, n).
    residual
        f_0 − y of the untrained readout, (n, o).
    rate
        η.
    key, batches, recorded
        See :func:`run_epochs`.

    Returns
    -------
    tuple
        c, (n, o), with trained weights w_0 + Φᵀc, and losses (R,).
    """

    def step(state: tuple[Array, Array], rows: Array | None, weight: Array) -> tuple[Array, Array]:
        residual, dual = state
        change = -2 * rate * weight[:, None] * _taken(residual, rows)
        dual = dual + change if rows is None else dual.at[rows].add(change)
        return residual + jnp.einsum("bn,bo->no", _taken(kernel, rows), change), dual

    def loss(state: tuple[Array, Array]) -> Array:
        return jnp.mean(jnp.sum(jnp.square(state[0]), axis=1))

    (_, dual), losses = run_epochs(step, loss, (residual, jnp.zeros_like(residual)), key, batches, recorded)
    return dual, losses


def optimise(
    field: Callable[[Any, Array], Array],
    parameters: Any,
    x: Array,
    y: Array,
    *,
    optimiser: str,
    rate: Array,
    key: Array,
    batches: Batches,
    recorded: Array,
) -> tuple[Any, Array]:
    """Return parameters trained by an optax optimiser, and their losses (R,).

    Parameters
    ----------
    field
        (parameters, rows of x) → (b, o).
    parameters
        Any pytree of real arrays.
    x, y
        Samples (n, …) and targets (n, o); x may hold features.
    optimiser
        A key of ``OPTIMISERS``.
    rate
        Learning rate; may be traced, so that another value compiles nothing new.
    """
    rule = OPTIMISERS[optimiser](rate)

    def batch_loss(parameters: Any, x: Array, y: Array, weight: Array) -> Array:
        return weight @ jnp.sum(jnp.square(field(parameters, x) - y), axis=1)

    def step(state: tuple[Any, Any], rows: Array | None, weight: Array) -> tuple[Any, Any]:
        parameters, memory = state
        gradient = jax.grad(batch_loss)(parameters, _taken(x, rows), _taken(y, rows), weight)
        updates, memory = rule.update(gradient, memory, parameters)
        return optax.apply_updates(parameters, updates), memory

    def loss(state: tuple[Any, Any]) -> Array:
        return jnp.mean(jnp.sum(jnp.square(field(state[0], x) - y), axis=1))

    (trained, _), losses = run_epochs(step, loss, (parameters, rule.init(parameters)), key, batches, recorded)
    return trained, losses


def largest_rate(
    field: Callable[[Any, Array], Array], parameters: Any, x: Array, batches: Batches, *, iterations: int = 30
) -> Array:
    """Return about the largest η at which steps of gradient descent do not expand the error, shape ().

    With J the Jacobian of the field in the parameters and Θ = JJᵀ (the kernel ΦΦᵀ of a readout, the
    tangent kernel of all layers at this point): n/‖Θ‖ for the whole sample, by power iteration; for
    smaller batches 1/max_i ‖Θ_ii‖, which suffices for any of them.

    Parameters
    ----------
    field, parameters, x
        As for :func:`optimise`.
    iterations
        Of the power iteration, which approaches ‖Θ‖ from below.
    """
    if batches.whole:
        value, pull = jax.vjp(lambda p: field(p, x), parameters)

        def again(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
            vector = state[0]
            found = jax.jvp(lambda p: field(p, x), (parameters,), pull(vector))[1]
            size = jnp.sqrt(jnp.sum(jnp.square(found)))
            return (found / jnp.maximum(size, jnp.finfo(found.dtype).tiny), size), None

        start = jax.random.normal(jax.random.key(0), value.shape, value.dtype)
        start = start / jnp.sqrt(jnp.sum(jnp.square(start)))
        (_, norm), _ = jax.lax.scan(again, (start, jnp.zeros((), value.dtype)), length=iterations)
        return x.shape[0] / norm

    def norm_of(row: Array) -> Array:
        jacobian = jax.tree.leaves(jax.jacrev(lambda p: field(p, row[None])[0])(parameters))
        rows = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jacobian], axis=1)
        return jnp.linalg.eigvalsh(rows @ rows.T)[-1]

    return 1 / jnp.max(jax.lax.map(norm_of, x))


__all__ = [
    "OPTIMISERS",
    "Batches",
    "descend_dual",
    "largest_rate",
    "optimise",
    "recorded_epochs",
    "run_epochs",
]
