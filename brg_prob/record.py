"""The data as they are shown: in their own units, the field before and after training (group ``record``)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpyro import handlers

from brg_prob.network import Conditioned, Covariance, LinearReadout
from brg_prob.network.trace import FIELD
from brg_prob.posterior.model_tree import site_values
from brg_prob.prior import sample_prior
from brg_prob.transform import Standardisation

_PRIOR_DRAWS = 400
_SHOWN_DRAWS = 3


@dataclass(frozen=True)
class Record:
    """How data are shown: names, units, source, and the way back to the record's own units.

    Attributes
    ----------
    subject
        What was recorded, for titles.
    source, sha256
        File and hash of its bytes.
    inputs, targets
        Names of the columns.
    units
        Column → unit, for the columns that have one.
    preparation
        What was done to the targets before training, or None.
    held_out
        How the held-out rows were chosen.
    held_out_seed
        The seed of that choice, or None where nothing was left to chance.
    dropped
        Rows left out because a value was missing.
    levels
        Column of categories or booleans → its labels; the position is the code.
    calendars
        Column of times → how its numbers count, as JSON.
    notes
        A sentence for each thing that was recognised, converted or left out.
    """

    subject: str = "data"
    source: str = ""
    sha256: str = ""
    inputs: tuple[str, ...] = ("x",)
    targets: tuple[str, ...] = ("y",)
    units: Mapping[str, str] = field(default_factory=dict)
    preparation: Standardisation | None = None
    held_out: str = ""
    held_out_seed: int | None = None
    dropped: int = 0
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calendars: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recorded(
    network: Any,
    posterior: xr.DataTree,
    record: Record,
    key: Array,
    *,
    conditioned: Conditioned | None = None,
) -> xr.Dataset:
    """Return the data with the field before and after training, rows in one list, in the record's own units.

    Of several outputs the first is recorded.

    Parameters
    ----------
    conditioned
        Of a general model: the model with its data. Where its field is not the mean of the observation
        (log-odds, a log rate), that mean E[y|θ] is recorded in its place, which alone can stand beside data.

    Returns
    -------
    xarray.Dataset
        Attribute ``shown``: ``field``; ``mean`` of the observation; ``none``, where it has no mean.
    """
    held = "predictions" in posterior.children
    x = [_values(posterior, "constant_data/inputs")]
    target = next(iter(posterior["observed_data"].data_vars))  # a model may call its observation otherwise
    y = [_values(posterior, f"observed_data/{target}")]
    draws = [_values(posterior, "posterior/f")]
    if held:
        x.append(_values(posterior, "predictions_constant_data/inputs"))
        y.append(_values(posterior, f"predictions_data/{target}"))
        draws.append(_values(posterior, "predictions/f"))
    inputs, targets = np.concatenate(x), np.concatenate(y)
    after, shown_as = _flat(np.concatenate(draws, axis=2)), "field"
    if conditioned is not None:
        mean, shown_as = _mean_of_observation(conditioned, posterior, inputs)
        after = after if mean is None else mean
        network = network if mean is None else _without_field(network)
    before = _flat(_values(sample_prior(network, inputs, key=key, draws=_PRIOR_DRAWS), "prior/f"))
    mean, spread = _prior_moments(network, inputs, before)
    prepare = record.preparation
    restore: Callable[[np.ndarray], np.ndarray] = (
        (lambda values: values) if prepare is None else (lambda values: prepare.inverse(inputs, values))
    )
    factor = 1.0 if prepare is None else float(np.ravel(prepare.inverse_scale(1.0))[0])
    shown = inputs if prepare is None else prepare.inverse_inputs(inputs)
    columns = {
        "value": restore(targets),
        "prior_mean": restore(mean),
        "posterior_mean": restore(after.mean(axis=0)),
    }
    deviations = {"prior_sd": spread, "posterior_sd": after.std(axis=0, ddof=1)}
    variables: dict[str, Any] = {name: ("row", _first_output(value, 1)) for name, value in columns.items()}
    variables |= {name: ("row", factor * _first_output(value, 1)) for name, value in deviations.items()}
    variables["prior_draw"] = (("prior_draws", "row"), _first_output(restore(before[:_SHOWN_DRAWS]), 2))
    variables["training"] = ("row", (np.arange(len(inputs)) < len(x[0])).astype(int))
    variables["input"] = ("row", shown[:, 0]) if shown.shape[1] == 1 else (("row", "dim"), shown)
    attrs = _record_attributes(record, factor * float(posterior.attrs.get("noise", np.nan)))
    return xr.Dataset(variables, attrs=attrs | {"shown": shown_as})


def _without_field(network: Any) -> Any:
    """Return the model without its site "f", so that its field is the mean of its observation."""
    return handlers.block(network, hide=[FIELD])


def _mean_of_observation(
    conditioned: Conditioned, posterior: xr.DataTree, inputs: np.ndarray
) -> tuple[np.ndarray | None, str]:
    """Return E[y|θ] of the posterior's draws, (S, m[, o]), or None where it is the field or unknown."""
    values = {name: jnp.asarray(_flat(v)) for name, v in site_values(posterior).items()}
    everywhere = np.ones(len(inputs), bool)
    named = dataclasses.replace(conditioned, x=jnp.asarray(inputs), y=None, observed=everywhere)
    bare = dataclasses.replace(named, network=_without_field(conditioned.network))
    first = {name: v[0] for name, v in values.items()}
    try:
        field, mean = jax.jit(lambda one: (named.field(one), bare.field(one)))(first)
    except ValueError:  # no observation with a mean
        return None, "none"
    if field.shape == mean.shape and np.allclose(field, mean, equal_nan=True):
        return None, "field"
    if not np.all(np.isfinite(mean)):
        return None, "none"
    return np.asarray(jax.jit(jax.vmap(bare.field))(values)), "mean"


def _prior_moments(network: Any, inputs: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the prior field, exact where the network knows them."""
    mean, spread = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    if isinstance(network, Covariance):
        at = jnp.asarray(inputs)
        variance = np.diagonal(np.asarray(network.covariance(at, at)))
        spread = np.sqrt(variance if spread.ndim == 1 else variance[:, None] + np.zeros_like(spread))
    if isinstance(network, LinearReadout) and not (hidden := network.sample_hidden(jax.random.key(0))):
        exact = np.asarray(network.features(jnp.asarray(inputs), hidden) @ network.readout_prior(hidden).mean)
        mean = exact.reshape(mean.shape)
    return mean, spread


def _values(tree: xr.DataTree, path: str) -> np.ndarray:
    """Return a variable of a tree as an array, by ``group/name``."""
    group, name = path.split("/")
    return np.asarray(tree[group].to_dataset()[name].values)


def _flat(draws: np.ndarray) -> np.ndarray:
    """Return draws (chain, draw, …) as (S, …)."""
    return draws.reshape(-1, *draws.shape[2:])


def _first_output(values: np.ndarray, ndim: int) -> np.ndarray:
    """Return values without their output axis, the first output where there are several."""
    return values if values.ndim == ndim else values[..., 0]


def _record_attributes(record: Record, noise: float) -> dict[str, Any]:
    """Return names, units and history of a record as attributes."""
    name, target = record.inputs[0], record.targets[0]
    prepared = "none"
    if record.preparation is not None:
        line = " the line through first and last training point and" if any(record.preparation.slope) else ""
        prepared = (
            f"{line} the mean taken off, divided by {record.preparation.scale[0]:.6g}; undone in what is "
            "shown".strip()
        )
    return {
        "subject": record.subject,
        "source": record.source,
        "sha256": record.sha256,
        "input_name": name,
        "input_unit": record.units.get(name, ""),
        "value_name": target,
        "value_unit": record.units.get(target, ""),
        "held_out": record.held_out,
        "held_out_seed": "" if record.held_out_seed is None else record.held_out_seed,
        "dropped": record.dropped,
        "levels": json.dumps({name: list(labels) for name, labels in record.levels.items()}),
        "calendar": record.calendars.get(name, ""),
        "transformation": prepared,
        "standardisation": "" if record.preparation is None else json.dumps(record.preparation.to_dict()),
        "noise": noise,
    }
