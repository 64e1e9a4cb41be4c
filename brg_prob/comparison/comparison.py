"""Field theories against each other: the prior and posterior of one run, or those of several runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from brg_prob.comparison.compared_run import Reading, Reportable, printable_names
from brg_prob.comparison.curves import KINDS, curve_group, listed
from brg_prob.comparison.differences import Differences, difference_table
from brg_prob.comparison.groups import (
    fisher_group,
    flow_group,
    posterior_pairs,
    scalar_differences,
    theories_group,
)
from brg_prob.comparison.pairs import Pairs


@dataclass(frozen=True)
class Comparison:
    """Field theories held against each other; see :func:`compare`.

    Attributes
    ----------
    names
        The runs; the first is the reference.
    tree
        Groups ``theories``, ``two_point``, ``four_point``, ``power``, ``mean_field``,
        ``distances``, ``fisher``, ``flow``, ``differences``; those that no run has are left out.
        Dimensions ``theory`` (posteriors, then priors), ``contrast`` (a theory against its
        reference), ``run``.
    notes
        What could not be compared and why, and what to bear in mind, a line each.
    settings
        What the runs were: (name, one value per run).
    """

    names: tuple[str, ...]
    tree: xr.DataTree
    notes: tuple[str, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def pairs(self) -> Pairs:
        """Return which theories are held against which."""
        return Pairs.of(len(self.names))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the theories, a dict of plain numbers and words each."""
        return _rows(self.tree["theories"].to_dataset(), "theory")

    @property
    def contrasts(self) -> list[dict[str, Any]]:
        """Return the contrasts: distances, scores, and the largest |z| with its Holm p-value."""
        return _rows(self.tree["distances"].to_dataset(), "contrast")

    @property
    def largest(self) -> dict[str, Any] | None:
        """Return the difference of most standard errors, a row of ``differences``; None without any."""
        rows = _rows(self.tree["differences"].to_dataset(), "test")
        return max(rows, key=lambda row: abs(row["z"]), default=None)


def compare(runs: Mapping[str, Reportable]) -> Comparison:
    """Hold field theories against each other.

    Of one run the posterior is held against the prior; of several, each posterior against that
    of the first run, and each prior against its prior. Correlation functions are compared on
    common lags and momenta, posteriors as Gaussians fitted to their draws at common inputs,
    scores observation by observation. Nothing is drawn, no network is executed.

    Parameters
    ----------
    runs
        Name → run; a run has ``tree``, ``summary`` and ``model`` as those of :func:`brg_prob.run`
        or :func:`brg_prob.load_run`.

    Returns
    -------
    Comparison
        Its ``tree`` holds all numbers in the record's own units; differences are theory minus
        reference with the standard error of independent draws.

    Raises
    ------
    ValueError
        No run, or one without the groups that are compared (written by an older version); the
        message is one line that names the run.

    Examples
    --------
    The prior against the posterior of a stored run::

        from brg_prob import load_run
        from brg_prob.comparison import compare

        compare({"demo": load_run("runs/demo")}).tree["theories"]
    """
    if not runs:
        raise ValueError("no run to compare; give at least one")
    readings = [
        Reading.of(name, run) for name, run in zip(printable_names(list(runs)), runs.values(), strict=True)
    ]
    pairs, notes = Pairs.of(len(readings)), _general_notes(readings)
    groups: dict[str, xr.Dataset] = {"theories": theories_group(readings, pairs)}
    found: list[Differences] = []
    for kind in KINDS:
        dataset, differences = curve_group(kind, readings, pairs, notes)
        found += differences
        if dataset is not None:
            groups[kind.group] = dataset
    found += scalar_differences(groups["theories"], pairs)
    distances, means, differences = posterior_pairs(readings, pairs, notes)
    found += differences
    if means is not None:
        groups["mean_field"] = means
    groups["differences"] = difference_table(found)
    groups["distances"] = _with_largest(distances, groups["differences"])
    groups |= {"fisher": fisher_group(readings), "flow": flow_group(readings)}
    names = tuple(reading.name for reading in readings)
    theories = pairs.names(names)
    coords = {
        "theory": theories,
        "contrast": [f"{theories[one]} − {theories[other]}" for one, other in pairs.contrasts],
        "run": list(names),
    }
    made = {
        name: dataset.assign_coords({d: v for d, v in coords.items() if d in dataset.dims})
        for name, dataset in groups.items()
    }
    tree = xr.DataTree.from_dict(made)
    tree.attrs.update(runs=json.dumps(names, ensure_ascii=False), notes=json.dumps(notes, ensure_ascii=False))
    return Comparison(names, tree, tuple(dict.fromkeys(notes)), _settings(readings))


def _general_notes(readings: Sequence[Reading]) -> list[str]:
    """Return what several runs do not share, and when their errors overstate."""
    notes = []
    first = readings[0]
    for reading in readings[1:]:
        if reading.units != first.units:
            mine, other = (_unit_words(r) for r in (reading, first))
            notes.append(
                f"“{reading.name}” is measured {mine}, “{first.name}” {other}: only numbers without "
                "units, Fisher spectra and flows are compared."
            )
        same = all(reading.record.get(k, "") == first.record.get(k, "") for k in ("source", "sha256"))
        if not same:
            sources = [str(r.record.get("source", "")) or "unnamed data" for r in (reading, first)]
            notes.append(
                f"“{reading.name}” was trained on another record ({sources[0]}) than “{first.name}” "
                f"({sources[1]})."
            )
    shared = [
        pair
        for pair in combinations(readings, 2)
        if pair[0].summary.get("seed") is not None and pair[0].summary["seed"] == pair[1].summary.get("seed")
    ]
    names = list(dict.fromkeys(reading.name for pair in shared for reading in pair))
    if names:
        notes.append(
            f"{listed(names)} have the same seed: their draws may share random numbers, and their "
            "differences are then less noisy than the errors say, which take the draws as independent."
        )
    return notes


def _unit_words(reading: Reading) -> str:
    """Return the units of a run's field and inputs in words."""
    field, length = reading.units
    if not field and not length:
        return "without units"
    return f"in {field or 'no unit'} over {length or 'no unit'}"


def _with_largest(distances: xr.Dataset, tests: xr.Dataset) -> xr.Dataset:
    """Add to each contrast its largest difference in standard errors."""
    contrast = np.asarray(tests["contrast"].values)
    columns: dict[str, list[Any]] = {name: [] for name in ("z", "quantity", "at", "p_value", "tests")}
    for number in range(distances.sizes["contrast"]):
        rows = np.flatnonzero(contrast == number)
        columns["tests"].append(rows.size)
        if not rows.size:
            for name, value in (("z", math.nan), ("quantity", ""), ("at", math.nan), ("p_value", math.nan)):
                columns[name].append(value)
            continue
        most = rows[np.argmax(np.abs(tests["z"].values[rows]))]
        for name in ("z", "quantity", "at", "p_value"):
            columns[name].append(tests[name].values[most])
    renamed = {"z": "largest_z", "quantity": "largest_in", "at": "largest_at"}
    return distances.assign(
        {renamed.get(name, name): ("contrast", np.array(values)) for name, values in columns.items()}
    )


def _settings(readings: Sequence[Reading]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what each run was, names first that all runs have."""
    columns = []
    for reading in readings:
        summary, attrs, record = reading.summary, reading.tree.attrs, reading.record
        seed = summary.get("seed")
        entries: dict[str, Any] = {
            "verdict": summary["verdict"],
            "network": summary["model"]["name"],
            **{f"model.{name}": value for name, value in summary["model"]["options"].items()},
            "data": record.get("source", ""),
            "data sha256": str(record.get("sha256", ""))[:12],
            "held out": record.get("held_out", ""),
            "engine": summary["engine"],
            "engine options": attrs.get("engine_options", ""),
            "scheme": summary["flow"]["scheme"],
            "scales": len(summary["flow"]["scales"]),
            "observations T": summary["observations"],
            "draws": attrs.get("draws", ""),
            "seed": "a key was passed" if seed is None else seed,
            "command": attrs.get("command", ""),
        }
        columns.append({name: _words(value) for name, value in entries.items()})
    names = list(dict.fromkeys(name for column in columns for name in column))
    return tuple((name, tuple(column.get(name, "–") for column in columns)) for name in names)


def _words(value: Any) -> str:
    """Return a setting in words, numbers with at most six digits."""
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    return str(value) if value is not None and str(value) != "" else "–"


def _rows(dataset: xr.Dataset, dim: str) -> list[dict[str, Any]]:
    """Return a table's rows as dicts of plain values; floats may be NaN."""
    columns = {str(name): dataset[name].values for name in dataset.data_vars}
    return [
        {name: np.asarray(values[at]).item() for name, values in columns.items()}
        for at in range(dataset.sizes.get(dim, 0))
    ]
