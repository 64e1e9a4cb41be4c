"""Draws of the latent sites of a model, as values, as coordinates, or as the tree that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.geometry import SiteMetric
from brg_prob.network import Conditioned
from brg_prob.posterior.model_tree import data_of, model_tree, site_values
from brg_prob.results import stored_sites


@dataclass(frozen=True, eq=False)
class SiteDraws:
    """Draws in coordinates z, or those of a tree, whose z is found when it is asked for.

    Attributes
    ----------
    metric
        Has the coordinates.
    tree
        A posterior that holds the draws.
    moved
        z of draws that are in no tree, (S, D).
    """

    metric: SiteMetric
    tree: xr.DataTree | None = None
    moved: Array | None = None

    @cached_property
    def z(self) -> Array:
        """Coordinates, (S, D)."""
        if self.moved is not None:
            return self.moved
        assert self.tree is not None
        values = site_values(self.tree)
        return self.metric.whiten({n: jnp.asarray(v.reshape(-1, *v.shape[2:])) for n, v in values.items()})

    def settled(self) -> SiteDraws:
        """Return the same: little is kept of them."""
        return self

    def posterior(
        self, conditioned: Conditioned, held_out: Conditioned | None, chains: int, attrs: Mapping[str, Any]
    ) -> xr.DataTree:
        """Return the whole tree of these draws; one that holds them keeps its statistics and attributes."""
        if self.tree is None:
            moved = self.metric.unwhiten(self.z)
            values = {n: v.reshape(chains, -1, *v.shape[1:]) for n, v in moved.items()}
            return model_tree(conditioned, values, attrs=attrs, held_out=held_out)
        return self.tree if "log_prior" in self.tree.children else rebuilt(self.tree, conditioned, held_out)


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


def same_data(conditioned: Conditioned, posterior: xr.DataTree) -> Conditioned:
    """Return a model with the targets of a posterior.

    Raises
    ------
    ValueError
        The posterior was conditioned on other data.
    """
    x, y = data_of(posterior)
    if conditioned.x.shape != x.shape or not np.allclose(conditioned.x, x):
        raise ValueError(
            f"the metric was taken at {conditioned.x.shape[0]} inputs other than the posterior's "
            f"{x.shape[0]}; use the same x"
        )
    if conditioned.y is None:  # targets do not enter a metric, but the flow is scored by them
        factors = conditioned.likelihood_factors or None
        return Conditioned.of(conditioned.network, conditioned.x, y, likelihood_factors=factors)
    if not conditioned.reads(conditioned.x, y):
        raise ValueError("the metric was taken with targets other than the posterior's; use the same y")
    return conditioned
