"""NUTS started from draws at another T: one compiled program for every T of a ladder.

The kernel is NumPyro's (``numpyro.infer.hmc.hmc``); T, the draws to start from and the first step
size are arguments of the program, so that a further T costs its steps and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.infer.hmc import hmc
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from brg_prob.network import Conditioned
from brg_prob.posterior.model_tree import site_values
from brg_prob.posterior.reparam import reparametrised, reparams, sampled_values

if TYPE_CHECKING:
    from brg_prob.posterior.nuts import NUTS

Draws = Mapping[str, Any]
Blocks = dict[tuple[str, ...], Array]
"""Sites of one block of the mass matrix → its inverse, (k,) or (k, k)."""


class WarmProgram:
    """A sampler of π_T that starts where draws at another T end.

    Parameters
    ----------
    engine
        Options.
    conditioned
        The model with its data.
    each
        Draws per chain.
    """

    def __init__(self, engine: NUTS, conditioned: Conditioned, each: int) -> None:
        self.engine, self.conditioned, self.each = engine, conditioned, each
        self._run = jax.jit(_program(engine, conditioned, each))

    def __call__(
        self, key: Array, observations: float, start: xr.DataTree
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the values of the latent sites, (chain, draw, …), and the statistics of each step.

        Raises
        ------
        ValueError
            ``start`` lacks a latent site.
        """
        from brg_prob.posterior.nuts import sample_stats

        given = site_values(start)
        for name in self.conditioned.names:
            if name not in given:
                raise ValueError(f"the tree to start from has no site {name!r}; give one of the same model")
        values = {name: self._by_chain(given[name]) for name in self.conditioned.names}
        step = self.engine.step_size
        if "sample_stats" in start.children and "step_size" in start["sample_stats"]:
            step = float(np.asarray(start["sample_stats"]["step_size"])[:, -1].mean())
        found, fields = self._run(key, jnp.asarray(observations, float), values, jnp.asarray(step, float))
        return {name: np.asarray(v) for name, v in found.items()}, sample_stats(fields)

    def _by_chain(self, values: np.ndarray) -> Array:
        """Return draws shared out among the engine's chains, (chains, draws of each, …), the last ones last.

        The shape does not depend on the tree's, so that any tree runs the same program.
        """
        chains = self.engine.chains
        if values.shape[0] != chains:  # every chain an even share; a few draws are left over
            values = values.reshape(-1, *values.shape[2:])
            values = np.concatenate([values] * -(-chains // values.shape[0]))
            values = values[: values.shape[0] // chains * chains].reshape(chains, -1, *values.shape[1:])
        values = np.concatenate([values] * -(-self.each // values.shape[1]), axis=1)
        return jnp.asarray(values[:, -self.each :], float)


def _program(engine: NUTS, conditioned: Conditioned, each: int) -> Callable[..., Any]:
    """Return the function (key, T, draws, step size) → (values, statistics), to be compiled."""
    config = reparams(conditioned, engine.reparam)

    def model(observations: Array) -> Any:  # seeded anew at each call: a seed handler keeps its key
        made = reparametrised(conditioned.tempered(observations), config)
        return handlers.seed(made, jax.random.key(0))()

    def unconstrained(observations: Array, values: Draws) -> Any:
        return unconstrain_fn(model, (observations,), {}, sampled_values(conditioned, config, values))

    begin, sample = hmc(potential_fn_gen=lambda t: lambda z: potential_energy(model, (t,), {}, z))

    def constrained(observations: Array, z: Draws) -> Any:
        found = constrain_fn(model, (observations,), {}, z, return_deterministic=True)
        return {name: found[name] for name in conditioned.names}

    def run(key: Array, observations: Array, values: Draws, step_size: Array) -> Any:
        z = jax.vmap(jax.vmap(lambda one: unconstrained(observations, one)))(values)
        first = jax.tree.map(lambda leaf: leaf[:, -1], z)
        options = _options(engine, _spread(z, engine.dense_blocks(conditioned)))
        given = {"model_args": (observations,), "step_size": step_size}

        def start(key: Array, at: Draws) -> Any:
            return begin(at, engine.warm_warmup, rng_key=key, **given, **options)

        def step(state: Any) -> Any:
            return sample(state, (observations,))

        keys = jax.random.split(key, engine.chains)
        if engine.chain_method == "vectorized":
            rows = _collected(jax.vmap(start)(keys, first), jax.vmap(step), engine, each)
            rows = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), rows)
        else:
            rows = jax.lax.map(lambda at: _collected(start(*at), step, engine, each), (keys, first))
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows[0])
        found = jax.lax.map(lambda one: constrained(observations, one), flat)
        return jax.tree.map(lambda leaf: leaf.reshape(engine.chains, each, *leaf.shape[1:]), found), rows[1]

    return run


def _options(engine: NUTS, scale: Blocks) -> dict[str, Any]:
    """Return the options of NumPyro's kernel that are the same for all chains."""
    return {
        "inverse_mass_matrix": dict(scale),
        "adapt_step_size": engine.adapt_step_size,
        "adapt_mass_matrix": engine.adapt_mass,
        "dense_mass": [names for names, block in scale.items() if block.ndim == 2],
        "target_accept_prob": engine.target_accept,
        "trajectory_length": None,
        "max_tree_depth": engine.max_tree_depth,
        "find_heuristic_step_size": engine.heuristic_step_size,
        "forward_mode_differentiation": engine.forward_mode,
        "regularize_mass_matrix": engine.regularise_mass,
    }


def _collected(state: Any, step: Callable[[Any], Any], engine: NUTS, each: int) -> Any:
    """Return positions and statistics of the steps that are kept, (draw, …), warm-up left out.

    One loop with one sampler in it: two would double the compile time. What warm-up and thinned steps
    write is overwritten by the next draw that is kept.
    """

    def body(number: Array, carry: Any) -> Any:
        state, rows = carry
        state = step(state)
        row = jnp.maximum(number - engine.warm_warmup, 0) // engine.thinning
        write = partial(jax.lax.dynamic_update_index_in_dim, index=row, axis=0)
        return state, jax.tree.map(write, rows, _kept(state))

    empty = jax.tree.map(lambda leaf: jnp.zeros((each, *leaf.shape), leaf.dtype), _kept(state))
    return jax.lax.fori_loop(0, engine.warm_warmup + each * engine.thinning, body, (state, empty))[1]


def _kept(state: Any) -> Any:
    """Return what is kept of one step: the position and its statistics."""
    return state.z, _statistics(state)


def _statistics(state: Any) -> dict[str, Array]:
    """Return what is kept of one step, under NumPyro's names."""
    return {
        "diverging": state.diverging,
        "energy": state.energy,
        "potential_energy": state.potential_energy,
        "num_steps": state.num_steps,
        "accept_prob": state.accept_prob,
        "adapt_state.step_size": state.adapt_state.step_size,
    }


def _spread(z: Draws, dense: bool | list[tuple[str, ...]]) -> Blocks:
    """Return the covariance of all draws in the blocks of the mass matrix, shrunk as NumPyro does it.

    The sites that are in no dense block share a diagonal one.
    """
    blocks = dense if isinstance(dense, list) else [tuple(sorted(z))] * dense
    rest = tuple(sorted(set(z).difference(*blocks)))
    found = {}
    for names in [*blocks, rest] if rest else blocks:
        block = tuple(z[name] for name in names)
        flat = jax.vmap(jax.vmap(lambda one: ravel_pytree(one)[0]))(block)
        flat = flat.reshape(-1, flat.shape[-1])
        count = flat.shape[0]
        weight, floor = count / (count + 5.0), 1e-3 * 5.0 / (count + 5.0)
        centred = flat - flat.mean(axis=0)
        if names in blocks:
            found[names] = weight * centred.T @ centred / count + floor * jnp.eye(flat.shape[1])
        else:
            found[names] = weight * jnp.mean(jnp.square(centred), axis=0) + floor
    return found
