"""Summaries of a flow: one pass over its scales, into the groups ``flow`` and ``fisher``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from brg_prob.charts import ModeChart
from brg_prob.flow.leave_one_out import FEWEST
from brg_prob.flow.prediction import Predictions, predictions_along
from brg_prob.geometry.informations import kl_of_moments
from brg_prob.results import build_tree, field_variable

if TYPE_CHECKING:
    from brg_prob.flow.flow import Flow

_SCORES = ("test_score", "test_score_se", "score_difference", "score_difference_se")
_KL = "kl_to_prior"


def summarise(flow: Flow) -> xr.DataTree:
    """Return the tree of a flow: field moments, thinned draws, informations, scores.

    ``kl_to_prior`` is that of the tempered posterior where it is known in closed form, and else that of the
    Gaussian law with the draws' moments along the modes, ½ Σ (v + m² − 1 − log v); the attribute ``kl_from``
    says which, "law" or "moments". Draws of no posterior have no such law: NaN, "none"; ``no_kl`` says why.
    """
    variables: dict[str, list[Any]] = {name: [] for name in ("field_mean", "field_sd", "f")}
    scored = _scored(flow, _passing(flow, variables))
    columns = {name: np.stack(values) for name, values in variables.items()}
    columns |= dict.fromkeys(_SCORES, np.full(len(flow.scales), math.nan)) | scored.columns
    known = _informations(flow)
    no_kl = flow.no_posterior if _KL in known else ""
    if no_kl:
        known[_KL] = np.full(len(flow.scales), math.nan)
    sampled = {} if _KL in known else {_KL: _sampled_divergence(flow)}
    columns |= known | sampled | {"observations": flow.equivalent_observations}
    extra = [] if columns["field_mean"].ndim == 2 else ["output"]
    labels = flow.metric.labels
    return build_tree(
        {"flow": columns, "fisher": flow.metric.tree},
        dims={
            **{name: ["scale"] for name in columns if columns[name].ndim == 1},
            "field_mean": ["scale", "x", *extra],
            "field_sd": ["scale", "x", *extra],
            "f": ["scale", "flow_draw", "x", *extra],
            **flow.metric.tree_dims,
        },
        coords={"scale": np.asarray(flow.scales)} | ({"parameter": np.asarray(labels)} if labels else {}),
        group_attrs={
            "flow": {
                "scheme": flow.scheme.name,
                "scheme_options": json.dumps(
                    {name: repr(value) for name, value in vars(flow.scheme).items()}
                ),
                "coordinate": flow.coordinate,
                "critical_scale": scored.critical_scale,
                "initial_observations": flow.initial_observations,
                "draws": flow.size,
                "prediction_status": scored.status,
                "exact": int(flow.scheme.anew),
                "kl_from": "moments" if sampled else "none" if no_kl else "law",
                **({"no_kl": no_kl} if no_kl else {}),
            },
            "fisher": flow.metric.tree_attrs,
        },
    )


def _passing(flow: Flow, variables: dict[str, list[Any]]) -> Iterator[xr.DataTree]:
    """Yield the posterior of each scale, and take its moments on the way."""
    for tree in flow.posteriors(whole=False):
        f = np.asarray(tree["posterior"][field_variable(tree)].values)
        f = f.reshape(-1, *f.shape[2:])
        keep = np.linspace(0, len(f) - 1, min(flow.store_draws, len(f))).astype(int)
        for name, value in (("field_mean", f.mean(0)), ("field_sd", f.std(0, ddof=1)), ("f", f[keep])):
            variables[name].append(value)
        yield tree


class _Scored(NamedTuple):
    """Scores along a flow, the critical scale by them, and what to think of them."""

    columns: dict[str, np.ndarray]
    critical_scale: float
    status: str


def _scored(flow: Flow, trees: Iterator[xr.DataTree]) -> _Scored:
    """Score every scale; differences are to the posterior that the flow started from."""
    found, without = scores_of(flow, trees)
    if found is None:
        for _ in trees:
            pass
        return _Scored({}, math.nan, without)
    columns = {name: values[len(values) - len(flow.scales) :] for name, values in found.variables.items()}
    critical = found.critical_scale if found.held_out is not None else found.critical_scale_loo
    return _Scored(columns, critical, found.status if flow.cuts or not without else without)


def scores_of(flow: Flow, trees: Iterator[xr.DataTree]) -> tuple[Predictions | None, str]:
    """Return the scores of a flow's posteriors, its start first, and why no row is left out.

    None, and no posterior taken, where there is nothing to score by.
    """
    cut = flow.cuts
    held_out = flow.held_out is not None or "predictions" in flow.start.children
    without = str(flow.start.attrs.get("no_leave_one_out", ""))
    reference = cut or flow.scales[0] != flow.initial_observations
    observations = [flow.initial_observations] * reference + list(flow.observations)
    known = None if cut or without else flow.atlas.left_out(observations)
    if not (cut or without) and known is None and flow.size < FEWEST:
        without = f"{flow.size} draws are too few to be weighted, at least {FEWEST} are needed"
    if not held_out and (cut or without):
        said = "a shell's draws are scored by held-out data only" if cut else _not_left_out(without)
        return None, said
    found = predictions_along(
        _first(flow.atlas.unmoved(), trees) if reference else trees,
        scales=(math.nan, *flow.scales) if reference else flow.scales,
        shell=cut or bool(without),
        left_out=known,
    )
    return found, _not_left_out(without) if without else ""


def _first(tree: xr.DataTree, trees: Iterator[xr.DataTree]) -> Iterator[xr.DataTree]:
    yield tree
    yield from trees


def _not_left_out(reason: str) -> str:
    """Return the sentence on leave-one-out where it is not applicable."""
    return f"Leave-one-out is not applicable, because {reason}."


def _informations(flow: Flow) -> dict[str, np.ndarray]:
    """Return effective dimension, mutual information and KL per scale, averaged over members."""
    total: dict[str, np.ndarray] = {}
    for number in range(flow.atlas.members):
        chart = flow.chart(number)
        for name, values in chart.informations(*flow.kept(chart), flow.observations).items():
            total[name] = total.get(name, 0) + np.asarray(values)
    return {name: values / flow.atlas.members for name, values in total.items()}


def _sampled_divergence(flow: Flow) -> np.ndarray:
    """Return KL to the prior of the Gaussian law with the draws' moments along the modes; nan without any."""
    chart = flow.chart()
    if not isinstance(chart, ModeChart) or not chart.information.size:
        return np.full(len(flow.scales), math.nan)
    modes = (np.asarray(chart.modes(draws)) for (draws,) in flow.draws())
    return np.array([kl_of_moments(z.reshape(len(z), -1)) for z in modes])
