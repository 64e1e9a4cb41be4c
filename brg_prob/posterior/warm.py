"""NUTS started from draws at another T: one compiled program for every T of a ladder.

The kernel is NumPyro's (``numpyro.infer.hmc.hmc``); T, the draws to start from and the first step
size are arguments of the program, so that a further T costs its steps and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    def chain(key: Array, first: Draws, scale: Blocks, observations: Array, step_size: Array) -> Any:
        begin, sample = hmc(potential_fn_gen=lambda t: lambda z: potential_energy(model, (t,), {}, z))
        state = begin(
            first,
            engine.warm_warmup,
            step_size=step_size,
            inverse_mass_matrix=dict(scale),
            adapt_step_size=engine.adapt_step_size,
            adapt_mass_matrix=engine.adapt_mass,
            dense_mass=[names for names, block in scale.items() if block.ndim == 2],
            target_accept_prob=engine.target_accept,
            trajectory_length=None,
            max_tree_depth=engine.max_tree_depth,
            find_heuristic_step_size=engine.heuristic_step_size,
            forward_mode_differentiation=engine.forward_mode,
            regularize_mass_matrix=engine.regularise_mass,
            model_args=(observations,),
            rng_key=key,
        )

        def steps(state: Any, count: int) -> Any:
            return jax.lax.fori_loop(0, count, lambda _, at: sample(at, (observations,)), state)

        def kept(state: Any, _: None) -> Any:
            state = steps(state, engine.thinning)
            found = constrain_fn(model, (observations,), {}, state.z, return_deterministic=True)
            return state, ({name: found[name] for name in conditioned.names}, _statistics(state))

        return jax.lax.scan(kept, steps(state, engine.warm_warmup), None, length=each)[1]

    def run(key: Array, observations: Array, values: Draws, step_size: Array) -> Any:
        z = jax.vmap(jax.vmap(lambda one: unconstrained(observations, one)))(values)
        first = jax.tree.map(lambda leaf: leaf[:, -1], z)
        scale = _spread(z, engine.dense_blocks(conditioned))
        keys = jax.random.split(key, engine.chains)
        if engine.chain_method == "vectorized":
            return jax.vmap(lambda k, at: chain(k, at, scale, observations, step_size))(keys, first)
        return jax.lax.map(lambda at: chain(at[0], at[1], scale, observations, step_size), (keys, first))

    return run


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
