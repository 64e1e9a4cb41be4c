"""Summaries of a flow: one pass over its scales, into the groups ``flow`` and ``fisher``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.flow.diffusion import Diffusion
from brg_prob.flow.information import (
    effective_dimension,
    kept_parameter_information,
    kl_to_prior,
    mutual_information,
)
from brg_prob.flow.member import MemberFlow
from brg_prob.flow.score import critical_scale, log_predictive_density, mean_and_error
from brg_prob.flow.shell import Shell
from brg_prob.geometry import whitened_features
from brg_prob.posterior.schema import squeeze_outputs
from brg_prob.results import build_tree

if TYPE_CHECKING:
    from brg_prob.flow.flow import Flow

_SCORES = ("test_score", "test_score_se", "score_difference", "score_difference_se")


def summarise(flow: Flow) -> xr.DataTree:
    """Return the tree of a flow: field moments, thinned draws, informations, scores."""
    n, o = flow.start.data.y.shape
    keep = np.linspace(
        0, flow.start.field.shape[0] - 1, min(flow.store_draws, flow.start.field.shape[0])
    ).astype(int)
    moments: dict[str, list[Array]] = {"field_mean": [], "field_sd": [], "f": []}
    scores: dict[str, list[float]] = {name: [] for name in _SCORES}
    reference = _scores(flow, flow.start.field)
    for field in flow._all_fields():
        train = field[:, :n]
        for name, value in (
            ("field_mean", train.mean(0)),
            ("field_sd", train.std(0, ddof=1)),
            ("f", train[keep]),
        ):
            moments[name].append(squeeze_outputs(value)[0])
        _add_scores(scores, _scores(flow, field), reference)
    extra = [] if o == 1 else ["output"]
    critical = critical_scale(flow.scales, scores["score_difference"], scores["score_difference_se"])
    variables: dict[str, Any] = {
        name: np.stack([np.asarray(v) for v in values]) for name, values in moments.items()
    }
    variables |= {name: np.asarray(values) for name, values in scores.items()}
    variables |= _informations(flow)
    variables["observations"] = flow.equivalent_observations
    options = asdict(flow.scheme)
    return build_tree(
        {"flow": variables, "fisher": flow.metric.tree},
        dims={
            **{name: ["scale"] for name in variables if variables[name].ndim == 1},
            "field_mean": ["scale", "x", *extra],
            "field_sd": ["scale", "x", *extra],
            "f": ["scale", "flow_draw", "x", *extra],
            "eigenvalue": ["mode"],
            "mode_field": ["x", "mode"],
            "diagonal": ["parameter"],
        },
        coords={"scale": np.asarray(flow.scales)},
        group_attrs={
            "flow": {
                "scheme": type(flow.scheme).__name__.lower(),
                "scheme_options": json.dumps(options),
                "coordinate": flow.coordinate,
                "critical_scale": critical,
                "initial_observations": flow.initial_observations,
                "draws": int(flow.start.field.shape[0]),
            },
            "fisher": {
                "noise": flow.metric.noise,
                "n": flow.metric.observations,
                "rank": flow.metric.rank,
                "floor": flow.metric.floor,
                "status": flow.metric.status,
            },
        },
    )


def _scores(flow: Flow, field: Array) -> Array | None:
    """Return the log predictive density of each held-out observation, (h,)."""
    if flow.start.data.held_out is None:
        return None
    return log_predictive_density(
        field[:, flow.start.data.n :], flow.start.data.held_out[1], flow.start.noise
    )


def _add_scores(scores: dict[str, list[float]], values: Array | None, reference: Array | None) -> None:
    """Append score, error, paired difference to the unflowed posterior and its error."""
    if values is None or reference is None:
        found = (math.nan,) * 4
    else:
        found = (*mean_and_error(values), *mean_and_error(values - reference))
    for name, value in zip(_SCORES, found, strict=True):
        scores[name].append(value)


def _informations(flow: Flow) -> dict[str, np.ndarray]:
    """Return effective dimension, mutual information and KL per scale, averaged over members."""
    total = np.zeros((3, len(flow.scales)))
    for member in flow._members():
        parameter = isinstance(flow.scheme, Shell) and flow.scheme.basis == "parameter"
        total += _parameter_informations(member) if parameter else _mode_informations(member)
    names = ("effective_dimension", "mutual_information", "kl_to_prior")
    return dict(zip(names, total / flow.start.members, strict=True))


def _mode_informations(member: MemberFlow) -> np.ndarray:
    """Return (3, scales) from the modes: at T for diffusion, of the kept modes at T = n for a shell."""
    diffusing = isinstance(member.scheme, Diffusion)
    observations = member.scales if diffusing else (member.start.observations,) * len(member.scales)
    kept = jnp.stack([member.kept_modes(index) for index in range(len(member.scales))])
    eigenvalues = jnp.where(kept, member.modes.eigenvalues, 0)
    return np.asarray(_informations_of(eigenvalues, member.data_modes, jnp.asarray(observations)))


@jax.jit
def _informations_of(eigenvalues: Array, data_modes: Array, observations: Array) -> Array:
    """Return (3, scales) for eigenvalues (scales, r): one program, as an ensemble asks once per member."""
    outputs = data_modes.shape[1]

    def one(at: tuple[Array, Array]) -> Array:
        values, weight = at
        return jnp.stack(
            [
                effective_dimension(values, weight, outputs),
                mutual_information(values, weight, outputs),
                kl_to_prior(values, data_modes, weight),
            ]
        )

    return jax.vmap(one)((eigenvalues, observations)).T


def _parameter_informations(member: MemberFlow) -> np.ndarray:
    """Return (3, scales) of the marginal posterior of the kept raw weights."""
    data = member.start.data
    features = whitened_features(member.network, data.x, member.hidden)
    ridge = member.modes.noise**2 * data.n / member.start.observations
    residual = data.y - member.mean[: data.n]
    rows = []
    for kept in member.kept_parameters:
        masked = features * kept
        found = kept_parameter_information(masked @ masked.T, features @ features.T, residual, ridge)
        rows.append([float(value) for value in found])
    return np.asarray(rows).T
