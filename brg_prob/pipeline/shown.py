"""What a run shows beside its verdict: the record, and what is observed of the field theories."""

from __future__ import annotations

from typing import Any

import jax
import xarray as xr
from jax import Array

from brg_prob.correspondence import ExactRG
from brg_prob.data_record import Record, recorded
from brg_prob.flow import Flow
from brg_prob.observables import convergence_table, data_spectrum, field_theory, slides, trust


def shown(flow: Flow, tree: xr.DataTree, record: Record, key: Array) -> xr.DataTree:
    """Return the groups that show a run; an observable that does not apply is left out.

    Parameters
    ----------
    flow
        The first.
    tree
        The run's, with its flows and checks.
    record
        How the data are shown.
    key
        Of draws of the prior.
    """
    posterior, metric, network = flow.start, flow.metric, flow.network
    prepared: dict[str, Any] = {"preparation": record.preparation}
    named: dict[str, Any] = prepared | {"units": _units(record)}
    whole = tree.copy()
    whole["record"] = xr.DataTree(
        recorded(network, posterior, record, key, conditioned=flow.atlas.conditioned)
    )
    groups: dict[str, xr.Dataset | None] = {
        "record": whole["record"].to_dataset(),
        "field_theory": field_theory(network, posterior, metric, key=jax.random.fold_in(key, 1), **named),
        "data_spectrum": _spectrum_of_data(flow, named),
        "trust": trust(whole, **prepared),
        "diagnostics": convergence_table(posterior, metric, input_name=record.place, **prepared),
        "slides": slides(flow, **prepared),
    }
    return xr.DataTree.from_dict({name: group for name, group in groups.items() if group is not None})


def _spectrum_of_data(flow: Flow, named: dict[str, Any]) -> xr.Dataset | None:
    """Return the data's own spectrum beside the prior predictive law; None without a prediction."""
    exact = ExactRG()
    return None if exact.applies(flow) else data_spectrum(flow, exact.predicted(flow), **named)


def _units(record: Record) -> dict[str, str]:
    """Return the units of lengths and of the field."""
    return {
        "length": record.units.get(record.inputs[0], ""),
        "field": record.units.get(record.targets[0], ""),
    }
