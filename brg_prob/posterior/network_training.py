"""Whole networks, trained side by side in chunks of bounded memory: what the engine ``ensemble`` runs (T11).

A member is one draw of the hidden layers; its networks differ in their prior draw of the readout. With
frozen hidden layers they share features; with trained ones a member is a single network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.batching import even_batch
from brg_prob.network import Hidden, LinearReadout
from brg_prob.posterior.descent_steps import Batches, descend_dual, largest_rate, optimise
from brg_prob.posterior.readout_members import prior_weights

_ELEMENTS = 1 << 22
"""Numbers alive at once in a chunk of members: 32 MiB in float64."""

_CACHED_ELEMENTS = 1 << 18
"""The same for kernels, on which steps run: 2 MiB, which a processor's cache holds."""


class Training(NamedTuple):
    """How networks are trained; all that a compiled program depends on beside shapes.

    Attributes
    ----------
    optimiser
        A key of :data:`brg_prob.posterior.descent_steps.OPTIMISERS`.
    every_layer
        Whether the hidden layers are trained too.
    batches
        How samples are dealt to steps.
    each
        Networks per member.
    """

    optimiser: str
    every_layer: bool
    batches: Batches
    each: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Untrained:
    """Networks before training.

    Attributes
    ----------
    hidden
        Hidden sites, (members, ...).
    readout
        Raw weights, (members, each, P, o).
    order
        Keys of the random orders of samples, (members, each).
    """

    hidden: dict[str, Array]
    readout: Array
    order: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trained:
    """Trained networks.

    Attributes
    ----------
    field
        At training, then held-out inputs, (members, each, n + h, o).
    readout
        Raw weights, (members, each, P, o).
    hidden
        Trained hidden sites, (members, ...); empty where they are frozen.
    log_prior
        Log density of the whitened readout under its prior, (members, each).
    loss
        Mean over samples of (f − y)², summed over outputs, at the recorded epochs, (members, each, R).
    """

    field: Array
    readout: Array
    hidden: dict[str, Array]
    log_prior: Array
    loss: Array


def train_members(
    network: LinearReadout,
    how: Training,
    inputs: Array,
    y: Array,
    keys: tuple[Array, Array],
    rate: Array,
    recorded: Array,
) -> Trained:
    """Return all members' networks, trained; chunk by chunk, so that memory stays bounded.

    Parameters
    ----------
    inputs, y
        (n + h, d), of which the first n are trained on, and targets (n, o).
    keys
        Of the hidden layers and of the readouts, (members,) each.
    rate, recorded
        Learning rate () and epochs at which the loss is kept (R,); other values compile nothing new.
    """
    members = keys[0].size
    hidden = jax.eval_shape(network.sample_hidden, keys[0][0])
    parameters = jax.eval_shape(network.readout_prior, hidden).mean.shape[0]
    size = even_batch(members, _chunk(how, inputs.shape[0], parameters, y.shape, hidden))
    start, train = _kept(_starter, network, how.each), _kept(_trainer, network, how)
    found = []
    for first in range(0, members, size):
        # a ragged last chunk is filled up: another shape would compile again
        at = np.minimum(np.arange(first, first + size), members - 1)
        found.append(train(inputs, y, start(keys[0][at], keys[1][at]), rate, recorded))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:members], *found)


def stable_rate(
    network: LinearReadout, how: Training, x: Array, keys: tuple[Array, Array], number: int
) -> float:
    """Return :func:`brg_prob.posterior.descent_steps.largest_rate` of one untrained network.

    Parameters
    ----------
    keys
        The member's two keys, () each.
    number
        Of the network in its member.
    """
    start = _kept(_starter, network, how.each)(keys[0][None], keys[1][None])
    hidden = jax.tree.map(lambda leaf: np.asarray(leaf)[0], start.hidden)
    readout = np.asarray(start.readout)[0, number]
    return float(_kept(_limiter, network, how.every_layer, how.batches)(x, hidden, readout))


def _kept(build: Any, *arguments: Any) -> Callable[..., Any]:
    """Return ``build(*arguments)`` from its cache, or afresh for networks that do not hash."""
    try:
        found: Callable[..., Any] = build(*arguments)
    except TypeError:
        found = build.__wrapped__(*arguments)
    return found


@lru_cache(maxsize=64)
def _starter(network: LinearReadout, each: int) -> Callable[[Array, Array], Untrained]:
    """Return the compiled draw of untrained networks from the keys of hidden layers and readouts, (m,)."""

    def one(keys: tuple[Array, Array]) -> Untrained:
        hidden_key, draw_key = keys
        hidden = dict(network.sample_hidden(hidden_key))
        prior = network.readout_prior(hidden)

        def readout(number: Array) -> Array:
            whitened = prior_weights(draw_key, number, prior.mean.shape)
            return prior.mean + prior.covariance.sqrt_matmul(whitened)

        numbers = jnp.arange(each)
        order = jax.vmap(lambda number: jax.random.fold_in(draw_key, 2 * number + 1))(numbers)
        return Untrained(hidden, jax.lax.map(readout, numbers), order)

    # mapped one by one: random numbers under vmap take three times as long to compile
    return jax.jit(lambda hidden_keys, draw_keys: jax.lax.map(one, (hidden_keys, draw_keys)))


@lru_cache(maxsize=64)
def _trainer(network: LinearReadout, how: Training) -> Callable[..., Trained]:
    """Return the compiled training of a chunk of members; see :func:`train_members`."""
    member = _train_layers if how.every_layer else _train_readouts

    def train(inputs: Array, y: Array, start: Untrained, rate: Array, recorded: Array) -> Trained:
        return jax.vmap(lambda own: member(network, how, inputs, y, own, rate, recorded))(start)

    return jax.jit(train)


@lru_cache(maxsize=64)
def _limiter(network: LinearReadout, every_layer: bool, batches: Batches) -> Callable[..., Array]:
    """Return the compiled largest stable learning rate at inputs, hidden layers and readout."""

    def limit(x: Array, hidden: dict[str, Array], readout: Array) -> Array:
        if every_layer:
            return largest_rate(_all_layers(network), {"hidden": hidden, "readout": readout}, x, batches)
        return largest_rate(_linear, readout, network.features(x, hidden), batches)

    return jax.jit(limit)


def _in_dual(how: Training, n: int, parameters: int) -> bool:
    """Return whether steps run on dual coefficients: gradient descent on a readout with n ≤ P."""
    return how.optimiser == "sgd" and not how.every_layer and n <= parameters


def _chunk(how: Training, rows: int, parameters: int, shape: tuple[int, ...], hidden: Any) -> int:
    """Return how many members are trained side by side."""
    leaves = jax.tree.leaves(hidden)
    widest = max([parameters, *(max(leaf.shape, default=1) for leaf in leaves)])
    weights = how.each * parameters * shape[1] + sum(leaf.size for leaf in leaves)
    most = _ELEMENTS // (4 * (rows * widest + weights))
    if _in_dual(how, shape[0], parameters):
        most = min(most, _CACHED_ELEMENTS // (shape[0] * (shape[0] + how.each * shape[1])))
    return max(1, most)


def _linear(readout: Array, features: Array) -> Array:
    """Return the field (b, o) of a readout (P, o)."""
    return features @ readout


def _all_layers(network: LinearReadout) -> Callable[[Any, Array], Array]:
    """Return the field (b, o) as a function of all parameters and inputs."""
    return lambda parameters, x: network.features(x, parameters["hidden"]) @ parameters["readout"]


def _log_prior(network: LinearReadout, hidden: Hidden, readout: Array) -> Array:
    """Return the log density of a raw readout (P, o) in whitened coordinates, ()."""
    prior = network.readout_prior(hidden)
    whitened = prior.covariance.inverse_sqrt_matmul(readout - prior.mean)
    return -0.5 * jnp.sum(jnp.square(whitened)) - 0.5 * whitened.size * math.log(2 * math.pi)


def _train_readouts(
    network: LinearReadout,
    how: Training,
    inputs: Array,
    y: Array,
    start: Untrained,
    rate: Array,
    recorded: Array,
) -> Trained:
    """Return the networks of one member, readouts trained."""
    features = network.features(inputs, start.hidden)
    seen = features[: y.shape[0]]
    if _in_dual(how, *seen.shape):
        kernel = seen @ seen.T

        def one(readout: Array, order: Array) -> tuple[Array, Array]:
            dual, loss = descend_dual(kernel, seen @ readout - y, rate, order, how.batches, recorded)
            return readout + seen.T @ dual, loss
    else:
        step = partial(optimise, optimiser=how.optimiser, rate=rate, batches=how.batches, recorded=recorded)

        def one(readout: Array, order: Array) -> tuple[Array, Array]:
            return step(_linear, readout, seen, y, key=order)

    readout, loss = jax.vmap(one)(start.readout, start.order)
    log_prior = jax.vmap(lambda trained: _log_prior(network, start.hidden, trained))(readout)
    return Trained(features @ readout, readout, {}, log_prior, loss)


def _train_layers(
    network: LinearReadout,
    how: Training,
    inputs: Array,
    y: Array,
    start: Untrained,
    rate: Array,
    recorded: Array,
) -> Trained:
    """Return the one network of a member, all layers trained."""
    field = _all_layers(network)
    found, loss = optimise(
        field,
        {"hidden": start.hidden, "readout": start.readout[0]},
        inputs[: y.shape[0]],
        y,
        optimiser=how.optimiser,
        rate=rate,
        key=start.order[0],
        batches=how.batches,
        recorded=recorded,
    )
    hidden, readout = found["hidden"], found["readout"]
    log_prior = _log_prior(network, hidden, readout)
    return Trained(field(found, inputs)[None], readout[None], hidden, log_prior[None], loss[None])
