"""The few numbers of a run under stable keys (``summary.json``), read off the tree.

Nothing is computed here beyond sums over what the tree holds, so that tree, summary,
terminal and report cannot disagree. Numbers that do not exist are null, never NaN.

Tree of a run (groups as in :mod:`brg_prob.results`)::

    posterior, log_likelihood, …     from brg_prob.fit
    fisher, flow, theory, checks     the first flow and what it was held against
    shell/{flow, theory, checks}     the second flow, where there is one
    record                           the data as shown, in its own units
    tempering/flow                   the posterior sampled anew at every T, for any model (T6)
    directions, parameters           what the data determine, for any model
    tuning                           the evidence curve, where hyperparameters were tuned
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from brg_prob.headlines import DATA, FLOW, Judged, flow_against_theory, model_against_data

CHECK_KEYS = ("name", "hypothesis", "statistic", "p_value", "smallest_detectable", "verdict", "detail")
_POWER_KEYS = ("smallest_detectable_single", "observed", "observed_single", "where", "scales_tested")
SECOND = "shell"
"""Name of the branch that holds the second flow."""
TEMPERED = "tempering"
"""Name of the branch that holds the posterior sampled anew at every T."""
_TRAINED = frozenset({"gradient_flow", "sgd_exact", "ensemble"})  # engines that condition on nothing


def summarise(tree: xr.DataTree) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Parameters
    ----------
    tree
        The tree of a run, with the root attributes that :func:`brg_prob.run` writes.

    Returns
    -------
    dict
        ``model{file, name, options, infinite_width}, engine, seed, observations, fisher{eigenvalues,
        effective_dimension}, flow{scheme, coordinate, scales, observations,
        effective_dimension, kl_to_prior, test_score, test_score_se}, critical_scale, checks
        [{name, hypothesis, statistic, p_value, smallest_detectable, verdict, detail, role, unit,
        flow}], flow_against_theory, model_against_data`` (T18a: :mod:`brg_prob.headlines`), ``verdict,
        versions, seconds`` and, beside these stable keys, ``flows`` (the
        same as ``flow`` for each flow, by scheme), ``tolerance``, ``shift_tolerance``, ``no_prediction``
        (why there is no exact renormalization group to hold the flow against, or null), ``kind``
        (``readout`` or ``model``: what was sampled) and ``notes`` (what was held fixed, held out, converted
        or ignored, a sentence each). Only JSON types.
    """
    attrs = tree.attrs
    observations = float(attrs["observations"])
    rows = [row for branch in branches(tree) for row in check_rows(branch)]
    flows = {_scheme(branch): _flow(branch["flow"].to_dataset()) for branch in branches(tree)}
    return {
        "model": {
            "file": attrs.get("model_file", ""),
            "name": attrs["model_name"],
            "options": json.loads(attrs["model_options"]),
            "infinite_width": bool(attrs.get("infinite_width", 0)),
        },
        "engine": attrs["engine"],
        "seed": _seed(attrs.get("seed", -1)),
        "observations": observations,
        "fisher": _fisher(tree["fisher"].to_dataset(), observations),
        "flow": next(iter(flows.values())),
        "critical_scale": _number(tree["flow"].attrs.get("critical_scale", math.nan)),
        "checks": rows,
        **answers(tree, rows),
        "verdict": attrs["verdict"],
        "versions": json.loads(attrs["versions"]),
        "seconds": json.loads(attrs["seconds"]),
        "flows": flows,
        "tolerance": _number(attrs.get("tolerance", math.nan)),
        "shift_tolerance": _number(attrs.get("shift_tolerance", math.nan)),
        "no_prediction": tree["flow"].attrs.get("no_prediction"),
        "kind": str(attrs.get("kind", "readout")),
        "notes": list(json.loads(attrs.get("notes", "[]"))),
    }


def answers(tree: xr.DataTree, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return ``flow_against_theory`` and ``model_against_data`` (T18a), from a run's tree and its checks."""
    attrs, flow = tree.attrs, tree["flow"]
    made = group(tree, "checks").attrs
    no_prediction = str(flow.attrs.get("no_prediction", ""))
    whole_width = not any(str(row["name"]).startswith("finite width") for row in rows)
    judged = Judged(
        rows=rows,
        drawn=draws_of(attrs["engine"]),
        flows=[_scheme(branch) for branch in branches(tree)],
        scales=int(flow.to_dataset().sizes["scale"]),
        tempered=_scheme(tree) == TEMPERED,
        lattice=attrs["engine"] == "exact" and not no_prediction and whole_width,
        no_prediction=no_prediction,
        tolerance=_number(attrs.get("tolerance", math.nan)),
        place=_number(attrs.get("shift_tolerance", math.nan)),
        spread=_number(attrs.get("spread_tolerance", math.nan)),
        level=float(made.get("level", 0.05)),
        seed=_seed(attrs.get("seed", -1)),
        data_reason="so far the only test is of the spectrum of a free field on a full grid",
    )
    return {FLOW: flow_against_theory(judged), DATA: model_against_data(judged)}


def branches(tree: xr.DataTree) -> Iterator[xr.DataTree]:
    """Yield the branches of a run's tree that hold a flow: the root, then the others."""
    yield tree
    for name in (TEMPERED, SECOND):
        if name in tree.children and "flow" in tree.children[name].children:
            yield tree.children[name]


def group(tree: xr.DataTree, path: str) -> xr.Dataset:
    """Return a group of a run's tree, by its path; an empty dataset where there is none."""
    try:
        return tree[path].to_dataset()
    except KeyError:
        return xr.Dataset()


def floats(data: Any, name: str) -> np.ndarray:
    """Return a variable of a group, or a column of a table, as an array of floats."""
    return np.asarray(data[name].values, dtype=float)


def check_rows(branch: xr.DataTree) -> list[dict[str, Any]]:
    """Return the checks of one flow: the stable keys, then ``role``, ``unit`` and ``flow`` (its scheme)."""
    if "checks" not in branch.children:
        return []
    checks = branch["checks"].to_dataset()
    rows = []
    for index in range(checks.sizes["check"]):
        row = {key: _plain(checks[key].values[index]) for key in CHECK_KEYS}
        role = str(checks["role"].values[index]) if "role" in checks else "correspondence"
        unit = str(checks["unit"].values[index]) if "unit" in checks else "relative"
        power = {name: _plain(checks[name].values[index]) if name in checks else None for name in _POWER_KEYS}
        rows.append(row | {"role": role, "unit": unit} | power | {"flow": _scheme(branch)})
    return rows


def combine_verdicts(verdicts: Sequence[str]) -> str:
    """Return the verdict of several flows together: the worst of them.

    Examples
    --------
    >>> combine_verdicts(["consistent", "undetermined"])
    'undetermined'
    """
    for worst in ("inconsistent", "undetermined"):
        if worst in verdicts:
            return worst
    return "consistent" if verdicts else "undetermined"


def draws_of(engine: str) -> str:
    """Return what an engine's draws are: of a posterior, or networks trained from draws of the prior.

    Examples
    --------
    >>> draws_of("exact"), draws_of("sgd_exact")
    ('posterior', 'trained ensemble')
    """
    return "trained ensemble" if engine in _TRAINED else "posterior"


def scale_rows(branch: xr.DataTree) -> list[dict[str, float]]:
    """Return the numbers of one flow, a row per scale; NaN for what it does not have."""
    flow, theory = branch["flow"].to_dataset(), group(branch, "theory")
    names = ("observations", "effective_dimension", "kl_to_prior", "test_score", "test_score_se")
    sources = {"scale": flow, "momentum_cutoff": theory} | dict.fromkeys(names, flow)
    nothing = np.full(flow.sizes["scale"], np.nan)
    columns = {name: floats(data, name) if name in data else nothing for name, data in sources.items()}
    return pd.DataFrame(columns).to_dict("records")


def deciding_columns(branch: xr.DataTree) -> list[tuple[str, np.ndarray]]:
    """Return name and p-values per scale of the checks that decide and have such p-values."""
    if "checks" not in branch.children:
        return []
    p_values = np.asarray(branch["checks"].to_dataset()["scale_p_value"].values, dtype=float)
    rows = check_rows(branch)
    return [
        (row["name"], p_values[at])
        for at, row in enumerate(rows)
        if row["role"] == "correspondence" and np.isfinite(p_values[at]).any()
    ]


def _scheme(branch: xr.DataTree) -> str:
    """Return the scheme of a branch's flow, lower case."""
    return str(branch["flow"].attrs["scheme"]).lower()


def _fisher(fisher: xr.Dataset, observations: float) -> dict[str, Any]:
    """Return the whitened spectrum, descending, and the effective dimension at T (T6)."""
    eigenvalues = np.asarray(fisher["eigenvalue"].values, dtype=float)
    weight = observations * eigenvalues
    dimension = float(np.sum(weight / (1 + weight))) if eigenvalues.size else None  # None: no metric
    return {"eigenvalues": _numbers(eigenvalues), "effective_dimension": dimension}


def _flow(flow: xr.Dataset) -> dict[str, Any]:
    """Return the per-scale numbers of one flow."""
    size = flow.sizes["scale"]
    missing: list[None] = [None] * size
    columns = ("effective_dimension", "kl_to_prior", "test_score", "test_score_se")
    observations = _numbers(flow["observations"].values) if "observations" in flow else None
    return {
        "scheme": str(flow.attrs["scheme"]).lower(),
        "coordinate": str(flow.attrs["coordinate"]),
        "scales": _numbers(flow["scale"].values),
        "observations": observations,
        **{name: _numbers(flow[name].values) if name in flow else missing for name in columns},
    }


def _seed(value: Any) -> int | None:
    """Return the seed, or None where a key was passed instead (stored as −1)."""
    return None if int(value) < 0 else int(value)


def _number(value: Any) -> float | None:
    """Return a finite float, or None."""
    number = float(value)
    return number if math.isfinite(number) else None


def _numbers(values: Any) -> list[float | None]:
    """Return a flat list of finite floats or None."""
    return [_number(value) for value in np.ravel(np.asarray(values, dtype=float))]


def _plain(value: Any) -> Any:
    """Return an entry of a tree as a JSON type."""
    return str(value) if isinstance(value, str | np.str_) else _number(value)
