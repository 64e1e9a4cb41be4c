"""The data as they are shown: in their own units, the field before and after training (group ``record``)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpyro.distributions import OrderedLogistic

from brg_prob.network import Conditioned, Covariance, LinearReadout, NoField
from brg_prob.network.centre import bare
from brg_prob.network.columns import axis_names
from brg_prob.posterior.model_tree import site_values
from brg_prob.prior import affordable_draws, prior_fields, sample_prior
from brg_prob.results import field_variable
from brg_prob.series import annual_cycle
from brg_prob.transform import Standardisation

_PRIOR_DRAWS = 400
_MOST_NAMES = 3
"""Inputs up to which a point is called by their names."""
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

    @property
    def place(self) -> str:
        """Name of a point of the inputs: their names, or x where these are many."""
        names = ", ".join(self.inputs)
        return names if len(self.inputs) == 1 else f"({names})" if len(self.inputs) <= _MOST_NAMES else "x"

    @property
    def said(self) -> tuple[str, ...]:
        """What was done with columns and rows before the model saw them, a sentence each."""
        rows = (
            "1 row with a missing value" if self.dropped == 1 else f"{self.dropped} rows with missing values"
        )
        dropped = f"{rows} left out" if self.dropped else ""
        return tuple(sentence for sentence in (*self.notes, self.held_out, dropped) if sentence)


def named(fitted: Conditioned, record: Record) -> Conditioned:
    """Return a model that was read with the names of columns and levels along the axes of its latent sites.

    Raises ValueError where levels were coded in another order than that which is observed.
    """
    _refuse_alphabetical(fitted, record)
    size = fitted.x.shape[1]
    if not record.source or len(record.inputs) != size:
        return fitted
    stacked = getattr(fitted.network, "columns", record.inputs)
    columns = {at: name for at, name in enumerate(record.inputs) if name in stacked}
    levels = {at: record.levels[name] for at, name in enumerate(record.inputs) if name in record.levels}
    return dataclasses.replace(fitted, axis_names=axis_names(fitted, columns, levels))


def _refuse_alphabetical(conditioned: Conditioned, record: Record) -> None:
    """Raise ValueError for labels, coded as they stand in the alphabet, whose order is observed."""
    laws = {site.name: bare(site.distribution) for site in conditioned.sites.observed}
    ordered = [name for name, law in laws.items() if isinstance(law, OrderedLogistic)]
    for target in record.targets if ordered else ():
        labels = record.levels.get(target, ())
        numbered = all(label[:1].isdigit() for label in labels)  # "1 low", "2 medium"
        if len(labels) > 2 and list(labels) == sorted(labels) and not numbered:
            raise ValueError(
                f"site {ordered[0]!r} observes an order, and the labels of {target!r} are coded in that of "
                f"the alphabet ({', '.join(labels[:4])}); give the numbers 0, 1, … in their own order"
            )


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
        Attribute ``shown``: ``field``; ``mean`` of the observation; ``none``, where that is nothing to
        stand beside the targets: there is no mean, or it is the chance of each category.
    """
    held = "predictions" in posterior.children
    groups = ["constant_data", "predictions_constant_data"][: 1 + held]
    x = [_values(posterior, f"{group}/inputs") for group in groups]
    inputs = np.concatenate(x)
    if conditioned is None:
        targets, after = _readout_rows(posterior, held)
        draws = affordable_draws(network, inputs, _PRIOR_DRAWS)
        before = _flat(_values(sample_prior(network, inputs, key=key, draws=draws), "prior/f"))
        mean, spread = _prior_moments(network, inputs, before)
        shown_as = "field"
    else:
        targets = np.concatenate([_values(posterior, f"{group}/targets") for group in groups])
        before, after, shown_as = _model_rows(conditioned, posterior, key, held=held)
        mean, spread = before.mean(axis=0), before.std(axis=0, ddof=1)
    prepare = record.preparation

    def restored(values: np.ndarray, ndim: int) -> np.ndarray:
        """Return the first output in the record's own units."""
        first = _first_output(values, ndim)
        return first if prepare is None else prepare.first.inverse(inputs, first)

    factor = 1.0 if prepare is None else float(np.ravel(prepare.inverse_scale(1.0))[0])
    shown = inputs if prepare is None else prepare.inverse_inputs(inputs)
    columns = {"value": targets, "prior_mean": mean, "posterior_mean": after.mean(axis=0)}
    deviations = {"prior_sd": spread, "posterior_sd": after.std(axis=0, ddof=1)}
    variables: dict[str, Any] = {name: ("row", restored(value, 1)) for name, value in columns.items()}
    variables |= {name: ("row", factor * _first_output(value, 1)) for name, value in deviations.items()}
    variables["prior_draw"] = (("prior_draws", "row"), restored(before[:_SHOWN_DRAWS], 2))
    variables["training"] = ("row", (np.arange(len(inputs)) < len(x[0])).astype(int))
    variables["input"] = ("row", shown[:, 0]) if shown.shape[1] == 1 else (("row", "dim"), shown)
    attrs = _record_attributes(record, factor * float(posterior.attrs.get("noise", np.nan)))
    attrs |= _history(record, shown, len(x[0]), variables["value"][1])
    return xr.Dataset(variables, attrs=attrs | {"shown": shown_as})


def _readout_rows(posterior: xr.DataTree, held: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and draws of the field (S, rows[, o]) of a readout, training and held-out rows."""
    y = [_values(posterior, "observed_data/y")]
    draws = [_values(posterior, "posterior/f")]
    if held:
        y.append(_values(posterior, "predictions_data/y"))
        draws.append(_values(posterior, "predictions/f"))
    return np.concatenate(y), _flat(np.concatenate(draws, axis=2))


def _model_rows(
    conditioned: Conditioned, posterior: xr.DataTree, key: Array, *, held: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return draws before and after training, (S, rows[, o]), and as what they are shown."""
    places = [conditioned]
    if held:
        there = posterior["predictions_constant_data"]
        places.append(conditioned.at(there["inputs"].values, there["targets"].values))
    shown_as = _shown_as(conditioned)
    mean = shown_as == "mean"
    parts = prior_fields(conditioned, places[1:], key=key, draws=_PRIOR_DRAWS, mean=mean)
    before = np.concatenate([np.asarray(part) for part in parts], axis=1)
    if mean:
        values = {name: jnp.asarray(_flat(v)) for name, v in site_values(posterior).items()}
        call = jax.jit(lambda stacked: jax.lax.map(lambda one: [c.mean(one) for c in places], stacked))
        after = np.concatenate([np.asarray(part) for part in call(values)], axis=1)
    else:
        name = field_variable(posterior)
        stored = [_values(posterior, f"{group}/{name}") for group in ("posterior", "predictions")[: 1 + held]]
        after = _flat(np.concatenate(stored, axis=2))
    return before, after, shown_as


def _shown_as(conditioned: Conditioned) -> str:
    """Return what can stand beside the data: the field, or the mean of the observation where that differs."""
    sites = conditioned.sites
    rows, targets = len(conditioned.given), np.size(conditioned.given)
    if not sites.has_field:  # it is that mean, of each site beside the target that it observes
        return "field" if np.prod(sites.field_shape) in (targets, rows * len(sites.observed)) else "none"
    point = dict(conditioned.reading.point)
    if not sites.observed:
        return "none"
    try:
        field, mean = jax.jit(lambda one: (conditioned.field(one), conditioned.mean(one)))(point)
    except NoField:  # no observation with a mean
        return "none"
    if mean.size != targets:
        return "none"
    if field.shape == mean.shape and np.allclose(field, mean, equal_nan=True):
        return "field"
    return "mean" if np.all(np.isfinite(mean)) else "none"


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
    """Return names, units and origin of a record as attributes."""
    name, target = record.inputs[0], record.targets[0]
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
        "inputs": json.dumps(list(record.inputs)),
        "calendars": json.dumps(dict(record.calendars)),
        "standardisation": "" if record.preparation is None else json.dumps(record.preparation.to_dict()),
        "noise": noise,
    }


def _history(record: Record, inputs: np.ndarray, training: int, value: np.ndarray) -> dict[str, str]:
    """Return as sentences what was done to the targets, and what was not: seasons are left in.

    Parameters
    ----------
    inputs, value
        (n, d) and (n,) in the record's own units, the training rows first.
    training
        Number of training rows.
    """
    said = "nothing was done to the data"
    if record.preparation is not None:
        said = record.preparation.said(inputs[:training], record.targets, record.units)
    if record.dropped:
        said += f"; rows left out for a missing value: {record.dropped}"
    cycle = None
    if inputs.shape[1] == 1:
        cycle = annual_cycle(inputs[:, 0], value, record.units.get(record.inputs[0], ""))
    return {"transformation": said, "seasonality": "" if cycle is None else cycle.sentence}
