"""Draws of latent sites along a flow: kept alone, made whole again, flattened over chains."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.network import Conditioned
from brg_prob.posterior.model_tree import model_tree, site_values, stored_sites


def sites_alone(tree: xr.DataTree) -> xr.DataTree:
    """Return a posterior's latent sites, its statistics and attributes: little beside all fields."""
    kept = {"posterior": tree["posterior"].to_dataset()[list(stored_sites(tree))]}
    if "sample_stats" in tree.children:
        kept["sample_stats"] = tree["sample_stats"].to_dataset()
    made = xr.DataTree.from_dict(kept)
    made.attrs = dict(tree.attrs)
    return made


def rebuilt(tree: xr.DataTree, conditioned: Conditioned, held_out: Conditioned | None) -> xr.DataTree:
    """Return the whole tree of draws of the latent sites."""
    stats = tree["sample_stats"].data_vars if "sample_stats" in tree.children else {}
    return model_tree(
        conditioned,
        site_values(tree),
        attrs={str(name): value for name, value in tree.attrs.items()},
        held_out=held_out,
        sample_stats={str(name): value.values for name, value in stats.items()},
    )


def diverged(tree: xr.DataTree) -> int:
    """Return the number of transitions that diverged."""
    if "sample_stats" not in tree.children or "diverging" not in tree["sample_stats"].data_vars:
        return 0
    return int(np.sum(np.asarray(tree["sample_stats"]["diverging"].values)))


def flattened(values: dict[str, np.ndarray]) -> dict[str, Array]:
    """Return draws (chain, draw, …) as (S, …)."""
    return {name: jnp.asarray(v.reshape(-1, *v.shape[2:])) for name, v in values.items()}


def by_chain(values: Array, chains: int) -> Array:
    """Return draws (S, …) as (chain, draw, …)."""
    return values.reshape(chains, -1, *values.shape[1:])
