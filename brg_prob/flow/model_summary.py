"""Summaries of a flow of any model's draws: one pass over its scales, for the groups flow and fisher."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from brg_prob.flow.information import effective_dimension, mutual_information
from brg_prob.flow.prediction import Predictions, predictions_along
from brg_prob.flow.shell import Shell
from brg_prob.flow.tempering import Tempering, held_out_rows
from brg_prob.results import build_tree, field_variable

if TYPE_CHECKING:
    from brg_prob.flow.model_flow import ModelFlow

_SCORES = ("test_score", "test_score_se", "score_difference", "score_difference_se")


def summarise(flow: ModelFlow) -> xr.DataTree:
    """Return the tree of a flow: field moments, thinned draws, informations, scores.

    The variables are those of a readout's flow and, where draws are of a posterior, ``loo`` with its error,
    paired difference and Pareto k (:mod:`brg_prob.flow.prediction`). ``kl_to_prior`` is that of the Gaussian
    law with the draws' moments along the modes of the metric: ½ Σ (v + m² − 1 − log v).
    """
    moments: dict[str, list[np.ndarray]] = {"field_mean": [], "field_sd": [], "f": []}
    shell = isinstance(flow.scheme, Shell)
    # differences of scores are to the posterior that the flow started from
    reference = shell or flow.scales[0] != flow.initial_observations

    def passing() -> Iterator[xr.DataTree]:
        """Take the moments of each tree on its way to the scores."""
        if reference:
            yield flow.start
        for tree in flow.posteriors():
            f = np.asarray(tree["posterior"][field_variable(tree)].values)
            f = f.reshape(-1, *f.shape[2:])
            keep = np.linspace(0, len(f) - 1, min(flow.store_draws, len(f))).astype(int)
            moments["field_mean"].append(f.mean(axis=0))
            moments["field_sd"].append(f.std(axis=0, ddof=1))
            moments["f"].append(f[keep])
            yield tree

    found, critical, status = _scored(flow, passing(), shell=shell, reference=reference)
    variables: dict[str, Any] = {name: np.stack(values) for name, values in moments.items()}
    variables |= found | _informations(flow)
    variables["observations"] = flow.equivalent_observations
    return _built(flow, variables, critical, status)


def _scored(
    flow: ModelFlow, trees: Iterator[xr.DataTree], *, shell: bool, reference: bool
) -> tuple[dict[str, np.ndarray], float, str]:
    """Return scores along the flow, the critical scale by them, and what to think of them."""
    held_out = held_out_rows(flow.start) is not None
    without = str(flow.start.attrs.get("no_leave_one_out", ""))
    missing = np.full(len(flow.scales), math.nan)
    if not held_out and (shell or without):
        for _ in trees:
            pass
        said = "a shell's draws are scored by held-out data only" if shell else _not_left_out(without)
        return dict.fromkeys(_SCORES, missing), math.nan, said
    scales = (math.nan, *flow.scales) if reference else flow.scales
    scored: Predictions = predictions_along(trees, scales=scales, shell=shell or bool(without))
    variables = {name: values[len(values) - len(flow.scales) :] for name, values in scored.variables.items()}
    return (
        dict.fromkeys(_SCORES, missing) | variables,
        scored.critical_scale if scored.held_out is not None else scored.critical_scale_loo,
        scored.status if shell or not without else _not_left_out(without),
    )


def _not_left_out(reason: str) -> str:
    """Return the sentence on leave-one-out where it is not applicable."""
    return f"Leave-one-out is not applicable, because {reason}."


def _informations(flow: ModelFlow) -> dict[str, np.ndarray]:
    """Return effective dimension and mutual information of what is kept, and KL of the draws."""
    eigenvalues = flow.metric.eigenvalues
    parameter = isinstance(flow.scheme, Shell) and flow.scheme.basis == "parameter"
    kept = [jnp.ones(eigenvalues.shape, bool)] * len(flow.scales)
    if isinstance(flow.scheme, Shell) and flow.scheme.basis == "eigen":
        kept = [modes for modes, _ in flow.kept()]
    rows = []
    for z, observations, modes in zip(flow.z(), flow.observations, kept, strict=True):
        values = jnp.where(modes, eigenvalues, 0)
        along = np.asarray(z @ flow.metric.directions.T)
        mean, variance = along.mean(axis=0), along.var(axis=0, ddof=1)
        with np.errstate(divide="ignore"):  # dropped directions have no variance: infinitely far
            distance = 0.5 * float(np.sum(variance + mean**2 - 1 - np.log(variance)))
        known = (effective_dimension(values, observations), mutual_information(values, observations))
        rows.append((*(float(value) for value in known), distance))
    names = ("effective_dimension", "mutual_information", "kl_to_prior")
    if not eigenvalues.size:  # no metric, so nothing of this is known
        rows = [(math.nan,) * len(names)] * len(flow.scales)
    found = dict(zip(names, np.asarray(rows).T, strict=True))
    return found | (_parameter_informations(flow) if parameter else {})


def _parameter_informations(flow: ModelFlow) -> dict[str, np.ndarray]:
    """Return what the data tell of the kept coordinates, the others integrated out (T8).

    That of all, minus that of the others given these: det(1 + TI) over the block of the others.
    """
    eigenvalues, weight = flow.metric.eigenvalues, flow.initial_observations
    root = jnp.sqrt(eigenvalues)[:, None] * flow.metric.directions
    rows = []
    for kept, _ in flow.kept():
        others = jnp.where(kept[None, :], 0, root)
        given = jnp.maximum(jnp.linalg.eigvalsh(others @ others.T), 0)
        both = (effective_dimension, mutual_information)
        rows.append([float(known(eigenvalues, weight) - known(given, weight)) for known in both])
    return dict(zip(("effective_dimension", "mutual_information"), np.asarray(rows).T, strict=True))


def _built(flow: ModelFlow, variables: dict[str, Any], critical: float, status: str) -> xr.DataTree:
    """Return the tree of the variables of a flow and of its metric."""
    extra = [] if variables["field_mean"].ndim == 2 else ["output"]
    scheme = type(flow.scheme).__name__.lower()
    options = {name: repr(value) for name, value in vars(flow.scheme).items()}
    fisher = flow.metric.tree
    attrs: dict[str, Any] = {
        "scheme": scheme,
        "scheme_options": json.dumps(options),
        "coordinate": flow.coordinate,
        "critical_scale": critical,
        "initial_observations": flow.initial_observations,
        "draws": int(np.prod([flow.start["posterior"].sizes[name] for name in ("chain", "draw")])),
        "prediction_status": status,
        "exact": int(isinstance(flow.scheme, Tempering)),
    }
    return build_tree(
        {"flow": variables, "fisher": fisher},
        dims={
            **{name: ["scale"] for name in variables if variables[name].ndim == 1},
            "field_mean": ["scale", "x", *extra],
            "field_sd": ["scale", "x", *extra],
            "f": ["scale", "flow_draw", "x", *extra],
            "eigenvalue": ["mode"],
            "direction": ["mode", "parameter"],
            "diagonal": ["parameter"],
        },
        coords={"scale": np.asarray(flow.scales), "parameter": np.asarray(flow.metric.labels)},
        group_attrs={
            "flow": attrs,
            "fisher": {
                "n": flow.metric.observations,
                "rank": flow.metric.rank,
                "floor": flow.metric.floor,
                "status": flow.metric.status,
                "coordinates": flow.metric.coordinate,
            },
        },
    )
