"""The posterior tree of any NumPyro model: what its engines share.

From draws of the latent sites follow the field, the pointwise log-likelihood, the log prior and
draws of y, computed draw by draw in batches, so that no engine stores anything by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.batching import even_batch
from brg_prob.network import Conditioned
from brg_prob.network.conditioned import Values
from brg_prob.posterior.engine import Data
from brg_prob.results import Attribute, build_tree, key_from_json

KIND = "model"
"""Attribute ``kind`` of the trees made here; those of linear readouts have none."""

_BATCH_ELEMENTS = 1 << 24
_SMALL = 1 << 26
"""Draws × rows × parameters below which draws go one by one: less to compute than a batch is to compile."""

_SAMPLE = ("chain", "draw")
_RESERVED = frozenset({"f", "inputs"})


def model_tree(
    conditioned: Conditioned,
    values: Mapping[str, Any],
    *,
    attrs: Mapping[str, Attribute],
    held_out: Conditioned | None = None,
    sample_stats: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Return the tree of draws of any model.

    Parameters
    ----------
    conditioned
        The model with its data.
    values
        Site → (chain, draw, *shape), all latent sites.
    attrs
        At least engine, observations (T), independent (0 or 1) and key; ``n``, ``kind`` and
        ``parameters`` are added.
    held_out
        The model at the held-out data (:func:`held_out_data`).
    sample_stats
        Name → (chain, draw), in ArviZ's names.

    Returns
    -------
    DataTree
        ``posterior``: the latent sites (chain, draw, site_dim_0, …), and the field f (chain, draw,
        x[, output]); ``posterior_predictive``: y drawn anew; ``log_likelihood``: each observed site (chain,
        draw, x); ``log_prior``: each latent site (chain, draw); ``sample_stats``; ``observed_data``;
        ``constant_data``;
        with ``held_out`` also ``predictions`` (f), ``predictions_constant_data``, ``predictions_data`` and
        ``predictions_log_likelihood``.
    """
    own = {name: np.asarray(values[name]) for name in conditioned.names}
    found = _at_draws(conditioned, own, predictive=_predictive_key(attrs))
    groups: dict[str, dict[str, Any]] = {
        "posterior": own | {"f": found.pop("field")},
        "posterior_predictive": found.pop("predictive"),
        "log_likelihood": found.pop("log_likelihood"),
        "log_prior": found.pop("log_prior"),
        "observed_data": {} if conditioned.y is None else {_observation(conditioned): _shown(conditioned)},
        "constant_data": {"inputs": conditioned.x},
    }
    if sample_stats:
        groups["sample_stats"] = dict(sample_stats)
    if held_out is not None:
        there = _at_draws(held_out, own)
        groups["predictions"] = {"f": there["field"]}
        groups["predictions_log_likelihood"] = there["log_likelihood"]
        groups["predictions_constant_data"] = {"inputs": held_out.x}
        groups["predictions_data"] = {_observation(held_out): _shown(held_out)}
    described: dict[str, Attribute] = {
        "n": conditioned.n,
        "kind": KIND,
        "parameters": conditioned.sites.parameters,
    }
    groups = {name: group for name, group in groups.items() if group}
    return build_tree(groups, dims=_dims(groups, conditioned), attrs=described | dict(attrs))


def site_values(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Return the draws of the latent sites of a model's tree, site → (chain, draw, *shape)."""
    return {
        str(name): np.asarray(variable.values)
        for name, variable in tree["posterior"].data_vars.items()
        if name not in _RESERVED
    }


def held_out_data(conditioned: Conditioned, data: Data) -> Conditioned | None:
    """Return the model at the held-out rows, or None without any; see :meth:`Conditioned.at`."""
    return None if data.held_out is None else conditioned.at(*data.held_out)


def _predictive_key(attrs: Mapping[str, Attribute]) -> Array:
    """Return the key of the draws of y: that of the fit, moved on."""
    return jax.random.fold_in(key_from_json(str(attrs["key"])), 0x5EED)


def _at_draws(conditioned: Conditioned, values: Values, *, predictive: Array | None = None) -> dict[str, Any]:
    """Return field, log-likelihoods, log priors (and y drawn anew), each with leading axes (chain, draw)."""
    chains, draws = next(iter(values.values())).shape[:2]
    flat = {name: jnp.asarray(v).reshape(chains * draws, *v.shape[2:]) for name, v in values.items()}
    rows = max(1, conditioned.x.shape[0])
    small = chains * draws * rows * max(1, conditioned.sites.parameters) <= _SMALL
    size = max(1, _BATCH_ELEMENTS // (rows * 64))
    mapped = _mapped(conditioned, None if small else even_batch(chains * draws, size))
    found = mapped(jnp.arange(chains * draws), flat, predictive)
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(chains, draws, *leaf.shape[1:]), found)


@lru_cache(maxsize=32)
def _mapped(
    conditioned: Conditioned, batch: int | None
) -> Callable[[Array, Any, Array | None], dict[str, Any]]:
    """Return the compiled function of numbered draws; one program serves all trees of the same model."""

    def all_draws(numbers: Array, values: Any, predictive: Array | None) -> dict[str, Any]:
        one = _one_draw(conditioned, predictive)
        found: dict[str, Any] = jax.lax.map(one, (numbers, values), batch_size=batch)
        return found

    return jax.jit(all_draws)


def _one_draw(
    conditioned: Conditioned, predictive: Array | None
) -> Callable[[tuple[Array, Any]], dict[str, Any]]:
    """Return the function of one draw and its number; y is drawn anew under the key ``predictive``."""

    def at(numbered: tuple[Array, Any]) -> dict[str, Any]:
        number, values = numbered
        found = {
            "field": conditioned.field(values),
            "log_likelihood": conditioned.log_likelihood(values),
            "log_prior": conditioned.log_prior(values),
        }
        if predictive is not None:
            key = jax.random.fold_in(predictive, number)
            found["predictive"] = {
                name: distribution.sample(jax.random.fold_in(key, at))
                for at, (name, distribution) in enumerate(conditioned.distributions(values).items())
            }
        return found

    return at


def _observation(conditioned: Conditioned) -> str:
    """Return the name under which y is stored."""
    return conditioned.sites.observation or "y"


def _shown(conditioned: Conditioned) -> np.ndarray:
    """Return y as it was given: missing rows are NaN."""
    y = np.asarray(conditioned.y)
    if conditioned.observed.all():
        return y
    shown = y.astype(float)
    shown[~conditioned.observed] = math.nan
    return shown


def _dims(groups: Mapping[str, Mapping[str, Any]], conditioned: Conditioned) -> dict[str, list[str]]:
    """Return the dimension names of every variable: rows are x, further axes of the field are outputs."""
    dims = {}
    for group, variables in groups.items():
        held = group.startswith("predictions")
        for name, value in variables.items():
            lead = [] if group.endswith("_data") or group == "constant_data" else list(_SAMPLE)
            rest = np.ndim(value) - len(lead)
            dims[f"{group}/{name}"] = lead + _axes(group, name, np.shape(value)[len(lead) :], rest, held=held)
    return dims


def _axes(group: str, name: str, shape: tuple[int, ...], rest: int, *, held: bool) -> list[str]:
    """Return the names of the axes behind chain and draw."""
    row = "x_held_out" if held else "x"
    if name == "inputs":
        return [row, "dim"]
    if group == "posterior" and name != "f":
        return [f"{name}_dim_{axis}" for axis in range(rest)]
    if name == "f" or group in ("observed_data", "predictions_data", "posterior_predictive"):
        return [row, "output"][:rest] if rest <= 2 else [row, *(f"{name}_dim_{k}" for k in range(rest - 1))]
    return ([row] + [f"{name}_dim_{axis}" for axis in range(rest - 1)])[:rest] if shape else []
