"""The posterior tree of any NumPyro model: what its engines share.

From draws of the latent sites follow the field, the pointwise log-likelihood, the log prior and
draws of y, computed draw by draw in batches, so that no engine stores anything by itself.
"""

from __future__ import annotations

import dataclasses
import json
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
from brg_prob.network.trace import FIELD
from brg_prob.posterior.engine import Data
from brg_prob.posterior.schema import PREDICTIVE
from brg_prob.results import (
    FIELD_VARIABLE,
    SITES,
    Attribute,
    build_tree,
    key_from_json,
    stored_name,
    stored_sites,
)

KIND = "model"
"""Attribute ``kind`` of the trees made here; those of linear readouts have none."""

_BATCH_ELEMENTS = 1 << 24
_SMALL = 1 << 26
"""Draws × rows × parameters below which draws go one by one: less to compute than a batch is to compile."""

_LARGEST_KEPT = 10_000
"""Entries of a deterministic site per draw above which it is not kept."""

_SAMPLE = ("chain", "draw")
_EARLIER = "earlier_"
_ROWS = ("x", "x_held_out")


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
        ``posterior``: the latent and deterministic sites (chain, draw, site_dim_0, …), and the field f
        (chain, draw, x[, output]), called ``field`` where a latent site that is no field is called f;
        ``posterior_predictive``: observed sites drawn anew; ``log_likelihood``: each observed site (chain,
        draw, x) where its terms belong to rows; ``log_prior``: each latent site (chain, draw);
        ``sample_stats``; ``observed_data``: the value of each observed site, NaN where missing;
        ``constant_data``: inputs (x, dim) and targets (x[, output]), those of first rows that a series is
        conditioned on as earlier_inputs and earlier_targets;
        with ``held_out`` also ``predictions`` (f), ``predictions_constant_data``, ``predictions_data`` and
        ``predictions_log_likelihood``. Sites are stored under :func:`brg_prob.results.stored_name`; the
        attribute ``sites`` (JSON) has the latent ones by stored name.
    """
    own = {name: np.asarray(values[name]) for name in conditioned.names}
    found = _at_draws(conditioned, own, predictive=_predictive_key(attrs))
    field_name = _field_name(conditioned)
    groups: dict[str, dict[str, Any]] = {
        "posterior": _stored(own | found.pop("deterministic")) | {field_name: found.pop("field")},
        "posterior_predictive": found.pop("predictive"),
        "log_likelihood": found.pop("log_likelihood"),
        "log_prior": found.pop("log_prior"),
        "observed_data": conditioned.observed_values,
        "constant_data": _constants(conditioned) | _earlier(conditioned),
    }
    if sample_stats:
        groups["sample_stats"] = dict(sample_stats)
    if held_out is not None:
        there = _at_draws(held_out, own)
        groups["predictions"] = {field_name: there["field"]}
        groups["predictions_log_likelihood"] = there["log_likelihood"]
        groups["predictions_constant_data"] = _constants(held_out)
        groups["predictions_data"] = held_out.observed_values
    groups = {name: _stored(group) for name, group in groups.items() if group}
    described = _described(conditioned, field_name) | dict(attrs)
    dims = _dims(groups, conditioned, held_out, field_name)
    return build_tree(groups, dims=dims, coords=_coordinates(conditioned), attrs=described)


def _coordinates(conditioned: Conditioned) -> dict[str, np.ndarray]:
    """Return names along the dimensions of latent sites."""
    return {
        f"{stored_name(site)}_dim_{axis}": np.asarray(names)
        for site, axes in conditioned.axis_names.items()
        for axis, names in axes.items()
    }


def _described(conditioned: Conditioned, field_name: str) -> dict[str, Attribute]:
    """Return what the tree says of the model that it was made of."""
    return {
        "n": conditioned.n,
        "kind": KIND,
        "parameters": conditioned.sites.parameters,
        SITES: json.dumps({stored_name(name): name for name in conditioned.names}),
        FIELD_VARIABLE: field_name,
        "no_leave_one_out": conditioned.reading.no_leave_one_out,
        "notes": json.dumps(conditioned.reading.notes + _not_kept(conditioned)),
    }


def _stored(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables under the names that can be stored."""
    return {stored_name(name): value for name, value in group.items()}


def _field_name(conditioned: Conditioned) -> str:
    """Return the variable of the field: f, unless a latent site that is no field has that name."""
    taken = {*conditioned.names, *conditioned.sites.deterministic}
    if FIELD not in taken or conditioned.sites.has_field:
        return FIELD
    return next(name for name in ("field", "field_", "field__") if name not in taken)


def _kept(conditioned: Conditioned) -> list[str]:
    """Return the deterministic sites that are kept."""
    return [
        name
        for name, shape in conditioned.sites.deterministic.items()
        if np.prod(shape, dtype=int) <= _LARGEST_KEPT
    ]


def _not_kept(conditioned: Conditioned) -> tuple[str, ...]:
    """Return what is said of deterministic sites that are too large to be kept."""
    kept = _kept(conditioned)
    return tuple(
        f"deterministic site {name!r} of {np.prod(shape, dtype=int)} entries is not stored"
        for name, shape in conditioned.sites.deterministic.items()
        if name not in kept
    )


def _constants(conditioned: Conditioned) -> dict[str, np.ndarray]:
    """Return inputs and targets of the rows that are shown."""
    targets = {} if conditioned.y is None else {"targets": conditioned.given}
    return {"inputs": conditioned.inputs} | targets


def _earlier(conditioned: Conditioned) -> dict[str, np.ndarray]:
    """Return inputs and targets of the first rows of a series, which are conditioned on and not shown."""
    if not conditioned.first:
        return {}
    rows = dataclasses.replace(conditioned, first=0)
    return {f"{_EARLIER}{name}": value[: conditioned.first] for name, value in _constants(rows).items()}


def data_of(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets that a model's posterior was conditioned on; NaN where they are missing."""
    group = tree["constant_data"].to_dataset()
    both = [[f"{_EARLIER}{name}", name] for name in ("inputs", "targets")]
    x, y = (np.concatenate([group[name].values for name in names if name in group]) for names in both)
    return x, y


def site_values(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Return the draws of the latent sites of a model's tree, site → ``(chain, draw, *shape)``."""
    return {name: np.asarray(tree["posterior"][at].values) for at, name in stored_sites(tree).items()}


def held_out_rows(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray] | None:
    """Return held-out inputs and targets of a model's tree, or None."""
    if "predictions_constant_data" not in tree.children:
        return None
    group = tree["predictions_constant_data"]
    return np.asarray(group["inputs"].values), np.asarray(group["targets"].values)


def held_out_data(conditioned: Conditioned, data: Data) -> Conditioned | None:
    """Return the model at the held-out rows, or None without any; see :meth:`Conditioned.at`."""
    return None if data.held_out is None else conditioned.at(*data.held_out)


def _predictive_key(attrs: Mapping[str, Attribute]) -> Array:
    """Return the key of the draws of y: that of the fit, moved on."""
    return jax.random.fold_in(key_from_json(str(attrs["key"])), PREDICTIVE)


def traced_draw(conditioned: Conditioned) -> Any:
    """Return shapes and types of what is stored of one draw, nothing computed; raise what it would raise."""
    one = _one_draw(conditioned, jax.random.key(0))
    return jax.eval_shape(one, (0, {name: jnp.asarray(v) for name, v in conditioned.reading.point.items()}))


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
    kept = _kept(conditioned)

    def at(numbered: tuple[Array, Any]) -> dict[str, Any]:
        number, values = numbered
        found = {
            "field": conditioned.field(values),
            "log_likelihood": conditioned.log_likelihood(values),
            "log_prior": conditioned.log_prior(values),
            "deterministic": {
                name: v for name, v in conditioned.deterministic(values).items() if name in kept
            },
        }
        if predictive is not None:
            found["predictive"] = conditioned.predictive(values, jax.random.fold_in(predictive, number))
        return found

    return at


def _dims(
    groups: Mapping[str, Mapping[str, Any]],
    conditioned: Conditioned,
    held_out: Conditioned | None,
    field_name: str,
) -> dict[str, list[str]]:
    """Return the dimension names of every variable: rows are x, further axes of the field are outputs."""
    by_row = {stored_name(name) for name in conditioned.reading.term_rows}
    dims = {}
    for group, variables in groups.items():
        there = held_out if group.startswith("predictions") and held_out is not None else conditioned
        row, rows = _ROWS[there is held_out], len(there.inputs)
        data = group.endswith("_data")
        lead = [] if data else list(_SAMPLE)
        for name, value in variables.items():
            shape = np.shape(value)[len(lead) :]
            field_like = name == field_name and group in ("posterior", "predictions")
            constant = group.endswith("constant_data")
            drawn = data or group == "posterior_predictive" or "log_likelihood" in group
            axes = []
            if field_like or constant or (drawn and name in by_row and shape[:1] == (rows,)):
                own = "earlier" if name.startswith(_EARLIER) and constant else row
                axes = [own, "dim" if constant and name.endswith("inputs") else "output"]
            axes += [f"{name}_dim_{k}" for k in range(len(shape))][len(axes) :]
            dims[f"{group}/{name}"] = lead + axes[: len(shape)]
    return dims
