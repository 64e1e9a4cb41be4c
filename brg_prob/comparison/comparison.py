"""Field theories against each other: the prior and posterior of one run, or those of several runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from brg_prob.comparison.compared_run import Reading, Reportable, printable_names
from brg_prob.comparison.curves import KINDS, curve_group
from brg_prob.comparison.differences import QUANTITIES, Differences, difference_table
from brg_prob.comparison.groups import (
    fisher_group,
    flow_group,
    posterior_pairs,
    scalar_differences,
    theories_group,
)
from brg_prob.comparison.pairs import Pairs, Theory
from brg_prob.headlines import in_short
from brg_prob.wording import listed


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
    def single(self) -> bool:
        """Return whether one run is compared, its posterior with its prior."""
        return len(self.names) == 1

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the theories, a dict of plain numbers and words each."""
        return self._records("theories")

    @property
    def contrasts(self) -> list[dict[str, Any]]:
        """Return the contrasts: distances, scores, and the largest |z| with its Holm p-value."""
        return self._records("distances")

    @property
    def tests(self) -> list[dict[str, Any]]:
        """Return the differences that were held against their errors."""
        return self._records("differences")

    @property
    def contrasted(self) -> list[Theory]:
        """Return the theory of each contrast that is held against a reference."""
        return [self.pairs.theories[one] for one, _ in self.pairs.contrasts]

    @property
    def largest(self) -> dict[str, Any] | None:
        """Return the difference of most standard errors, a row of ``differences``; None without any."""
        return max(self.tests, key=lambda row: abs(row["z"]), default=None)

    @property
    def largest_z(self) -> dict[str, list[float]]:
        """Return the largest z of each contrast by quantity, in reading order; NaN where there is none."""
        found: dict[str, dict[int, float]] = {}
        for row in sorted(self.tests, key=lambda row: abs(row["z"])):
            found.setdefault(row["quantity"], {})[row["contrast"]] = row["z"]  # the last is the largest
        contrasts = range(len(self.pairs.contrasts))
        return {
            words: [found[words].get(contrast, np.nan) for contrast in contrasts]
            for words in QUANTITIES
            if words in found
        }

    def _records(self, group: str) -> list[dict[str, Any]]:
        """Return a group's rows as dicts of plain values; floats may be NaN."""
        return self.tree[group].to_dataset().to_dataframe().to_dict("records")


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
            notes.append(
                f"“{reading.name}” is measured {_unit_words(reading)}, “{first.name}” {_unit_words(first)}: "
                "only numbers without units, Fisher spectra and flows are compared."
            )
        if not reading.same_record(first, "source", "sha256"):
            sources = [str(r.record.get("source", "")) or "unnamed data" for r in (reading, first)]
            notes.append(
                f"“{reading.name}” was trained on another record ({sources[0]}) than “{first.name}” "
                f"({sources[1]})."
            )
    seeds = [reading.summary.get("seed") for reading in readings]
    names = [
        reading.name
        for reading, seed in zip(readings, seeds, strict=True)
        if seed is not None and seeds.count(seed) > 1
    ]
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
    rows, contrasts = tests.to_dataframe(), range(distances.sizes["contrast"])
    counts = rows["contrast"].value_counts().reindex(contrasts, fill_value=0)
    places = rows["z"].abs().groupby(rows["contrast"]).idxmax()
    most = rows.loc[places].set_index("contrast").reindex(contrasts)
    columns = {
        "largest_z": most["z"],
        "largest_in": most["quantity"].fillna("").astype(str),
        "largest_at": most["at"],
        "p_value": most["p_value"],
        "tests": counts,
    }
    return distances.assign({name: ("contrast", values.to_numpy()) for name, values in columns.items()})


def _settings(readings: Sequence[Reading]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what each run was, names first that all runs have."""
    columns = []
    for reading in readings:
        summary, attrs, record = reading.summary, reading.tree.attrs, reading.record
        seed = summary.get("seed")
        entries: dict[str, Any] = {
            "found": in_short(summary),
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
