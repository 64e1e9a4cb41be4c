"""The engine ``given``: draws that the user has already, from NumPyro's MCMC or a DataTree.

Nothing is sampled. The draws are checked against the model, and what every tree holds (field,
log-likelihood, log prior) is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from jax import Array

from brg_prob.network import Conditioned
from brg_prob.posterior.engine import Data
from brg_prob.posterior.model_tree import held_out_data, model_tree
from brg_prob.posterior.nuts import sample_stats
from brg_prob.results import key_to_json


@dataclass(frozen=True, eq=False)
class Given:
    """Draws of a finished run of one's own.

    Attributes
    ----------
    mcmc
        A ``numpyro.infer.MCMC`` that has run. Statistics asked for by ``extra_fields`` are kept.
    tree
        A DataTree with a group ``posterior`` that holds every latent site, dimensions (chain, draw, …).
        Exactly one of the two is given.
    observations
        T at which the draws were made; default: the tree's attribute ``observations`` if it has one, else n.
    independent
        Whether the draws are independent of each other; default: the tree's attribute, else no.
    likelihood_factors
        ``numpyro.factor`` statements that belong to the likelihood; by default those that change with y.

    Raises
    ------
    ValueError
        Neither or both are given, or the run is not finished.

    Notes
    -----
    All draws are stored; the number that ``fit`` asks for counts for nothing here, and its key serves
    draws of y alone. No other T can be had from given draws.
    """

    mcmc: Any = None
    tree: xr.DataTree | None = None
    observations: float | None = None
    independent: bool | None = None
    likelihood_factors: tuple[str, ...] | None = None

    any_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.mcmc is None) == (self.tree is None):
            raise ValueError("give either a finished MCMC, Given(mcmc=...), or a DataTree, Given(tree=...)")
        if self.mcmc is not None and getattr(self.mcmc, "last_state", None) is None:
            raise ValueError("the MCMC has no draws; call its run first")
        if self.tree is not None and "posterior" not in self.tree:
            raise ValueError("the tree has no group 'posterior'; give one with dimensions (chain, draw, ...)")

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Return the given draws in the common schema.

        Raises
        ------
        ValueError
            One line naming the site: a latent site without draws, of the wrong shape, or with values that are
            not finite; or T is not the one at which the draws were made.
        """
        conditioned = data.conditioned(network, self.likelihood_factors)
        made_at = self._made_at(conditioned.n)
        if not np.isclose(observations, made_at, rtol=1e-6, atol=0.0):
            raise ValueError(
                f"the given draws were made at T = {made_at:g}, not {observations:g}; sample anew with "
                "NUTS() or say Given(observations=...)"
            )
        values, stats = self._draws()
        attrs = {} if self.tree is None else self.tree.attrs
        independent = attrs.get("independent", 0) if self.independent is None else self.independent
        return model_tree(
            conditioned,
            _checked(conditioned, values),
            held_out=held_out_data(conditioned, data),
            sample_stats=stats or None,
            attrs={
                "engine": "given",
                "observations": observations,
                "independent": int(independent),
                "key": key_to_json(key),
            },
        )

    def _made_at(self, n: int) -> float:
        """Return T of the draws."""
        if self.observations is not None:
            return float(self.observations)
        return float(n if self.tree is None else self.tree.attrs.get("observations", n))

    def _draws(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return sites and statistics of each step, (chain, draw, …)."""
        if self.mcmc is not None:
            samples = self.mcmc.get_samples(group_by_chain=True)
            fields = self.mcmc.get_extra_fields(group_by_chain=True)
            return {name: np.asarray(value) for name, value in samples.items()}, sample_stats(fields)
        assert self.tree is not None
        stats = self.tree["sample_stats"].data_vars if "sample_stats" in self.tree else {}
        kept = {name: value for name, value in stats.items() if set(value.dims) == {"chain", "draw"}}
        return (
            {str(name): _ordered(value) for name, value in self.tree["posterior"].data_vars.items()},
            {str(name): _ordered(value) for name, value in kept.items()},
        )


def _ordered(variable: xr.DataArray) -> np.ndarray:
    """Return a variable's values with chain and draw in front."""
    if not {"chain", "draw"} <= set(variable.dims):
        return np.asarray(variable.values)
    return np.asarray(variable.transpose("chain", "draw", ...).values)


def _checked(conditioned: Conditioned, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the draws of the latent sites, or refuse the first that does not fit the model."""
    found = {}
    lead: tuple[int, ...] | None = None
    for site in conditioned.sites.latent:
        if site.name not in values:
            known = ", ".join(sorted(values)) or "none"
            raise ValueError(
                f"site {site.name!r} has no draws (given: {known}); give draws of every latent site"
            )
        value = values[site.name]
        if value.ndim < 2 or value.shape[2:] != site.shape:
            raise ValueError(
                f"site {site.name!r} has draws of shape {value.shape} but shape {site.shape} in the model; "
                f"give (chain, draw{''.join(f', {k}' for k in site.shape)}), and the data they were made with"
            )
        if lead is not None and value.shape[:2] != lead:
            raise ValueError(
                f"site {site.name!r} has {value.shape[:2]} chains and draws but the sites before it {lead}; "
                "give all sites of one run"
            )
        if bad := int(np.sum(~np.isfinite(value))):
            raise ValueError(f"site {site.name!r} has {bad} draws that are not finite; sample anew")
        lead = value.shape[:2]
        found[site.name] = value
    return found
