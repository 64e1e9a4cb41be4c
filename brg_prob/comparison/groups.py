"""The other groups of a comparison: theories, mean fields, distances and scores, Fisher spectra, flows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from brg_prob.comparison.compared_run import Floats, HeldOut, Reading
from brg_prob.comparison.differences import Differences
from brg_prob.comparison.distances import DRAWS_PER_INPUT, MOST_INPUTS, Distance, between
from brg_prob.comparison.pairs import Pairs
from brg_prob.comparison.scores import ScoreDifference, score_difference, shared_rows

_SCALARS = (
    "mass_squared",
    "mass_squared_se",
    "effective_dimension",
    "kl_to_prior",
    "wasserstein",
    "excess_kurtosis",
    "excess_kurtosis_se",
)


def theories_group(readings: Sequence[Reading], pairs: Pairs) -> xr.Dataset:
    """Return the numbers of each theory, a row per theory, and what run it belongs to."""
    rows: list[dict[str, Any]] = []
    for theory in pairs.theories:
        reading = readings[theory.run]
        found = reading.group("field_theory").sel(state=theory.state)
        row: dict[str, Any] = {"run": reading.name, "state": theory.state}
        row |= {name: float(found[name]) if name in found else math.nan for name in _SCALARS}
        row["free_mass_squared"] = _free_mass(reading, theory.state)
        score = reading.posterior_score if theory.state == "posterior" else reading.prior_score
        row["score"] = math.nan if score is None else score.mean
        row["score_se"] = math.nan if score is None else score.error
        row["held_out"] = 0 if score is None else int(score.values.size)
        row["field_unit"], row["length_unit"] = reading.units
        row["note"] = str(reading.group("field_theory").attrs.get("note", ""))
        rows.append(row | _setting(reading))
    return xr.Dataset({name: ("theory", np.array([row[name] for row in rows])) for name in rows[0]})


def _free_mass(reading: Reading, state: str) -> float:
    """Return the mass² in the free propagator: m² before training, m² + M_T² after (T9); NaN without one."""
    if "theory" not in reading.tree.children:
        return math.nan
    theory = reading.group("theory")
    if state == "prior":
        return float(theory.attrs.get("mass_squared", math.nan))
    if "running_mass_squared" not in theory:
        return math.nan
    return float(np.asarray(theory["running_mass_squared"].values, dtype=float)[0])


def _setting(reading: Reading) -> dict[str, Any]:
    """Return what a run was, in a few words."""
    summary = reading.summary
    seed = summary.get("seed")
    return {
        "verdict": str(summary["verdict"]),
        "engine": str(summary["engine"]),
        "scheme": str(summary["flow"]["scheme"]),
        "network": str(summary["model"]["name"]),
        "seed": -1 if seed is None else int(seed),
        "observations": float(summary["observations"]),
    }


def scalar_differences(theories: xr.Dataset, pairs: Pairs) -> list[Differences]:
    """Return the differences of log mass² (where inputs have one unit) and of excess kurtosis.

    The logarithm, because the estimate of a mass² is positive and skew where its error is large.
    """
    found = []
    for name, words in (("mass_squared", "mass²"), ("excess_kurtosis", "excess kurtosis")):
        value, error = (np.asarray(theories[n].values, dtype=float) for n in (name, f"{name}_se"))
        unit = theories["length_unit"].values
        for at, (one, other) in enumerate(pairs.contrasts):
            if name == "mass_squared" and unit[one] != unit[other]:
                continue
            both = np.array([one, other])
            mean, spread = value[both], error[both]
            relative = mean[0] / mean[1] - 1 if name == "mass_squared" else math.nan
            if name == "mass_squared":
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean, spread = np.log(mean), spread / mean
            found.append(
                Differences(
                    words,
                    at,
                    np.array([math.nan]),
                    np.array([mean[0] - mean[1]]),
                    np.array([math.hypot(*spread)]),
                    np.array([relative]),
                )
            )
    return found


def posterior_pairs(
    readings: Sequence[Reading], pairs: Pairs, notes: list[str]
) -> tuple[xr.Dataset, xr.Dataset | None, list[Differences]]:
    """Return distances and score differences of each contrast, the mean fields, and their differences."""
    rows, means, found = [], {}, []
    for at, (one, other) in enumerate(pairs.contrasts):
        theory, reference = pairs.theories[one], pairs.theories[other]
        distance, mean = None, None
        if len(readings) == 1:
            distance = _to_prior(readings[0])
        elif theory.state == "posterior":
            distance, mean = _fitted(readings[theory.run], readings[reference.run], at, notes)
        if mean is not None:
            means[at] = mean
            found.append(mean)
        score = _score(readings, pairs, at, notes)
        rows.append(_distance_row(distance) | _score_row(score))
    dataset = xr.Dataset({name: ("contrast", np.array([row[name] for row in rows])) for name in rows[0]})
    return dataset, _mean_group(means, len(pairs.contrasts), readings), found


def _to_prior(reading: Reading) -> Distance:
    """Return the closed-form distances of a posterior to its prior."""
    found = reading.group("field_theory").sel(state="posterior")
    kl, wasserstein = (
        float(found[name]) if name in found else math.nan for name in ("kl_to_prior", "wasserstein")
    )
    nan = math.nan
    return Distance(kl, nan, nan, nan, wasserstein, nan, 0, 0)


def _fitted(
    reading: Reading, reference: Reading, contrast: int, notes: list[str]
) -> tuple[Distance | None, Differences | None]:
    """Return distance and mean difference of two posteriors at common inputs; None and a note without any."""
    if reading.units != reference.units:
        return None, None  # said once
    rows, match = _common_inputs(reading, reference)
    if not rows.size:
        notes.append(
            f"“{reading.name}” and “{reference.name}” have no inputs in common, so their mean fields, KL and "
            "W₂ are not compared."
        )
        return None, None
    one, other = reading.draws(rows), reference.draws(match)
    distance = between(_flat(one), _flat(other))
    x = reading.inputs[rows]
    at = x[:, 0] if x.shape[1] == 1 else np.arange(len(x), dtype=float)
    mean = Differences.of(
        "mean field",
        contrast,
        at,
        (_flat(one).mean(axis=0), _flat(other).mean(axis=0)),
        (_mean_error(one, reading.independent), _mean_error(other, reference.independent)),
    )
    return distance, mean


def _common_inputs(reading: Reading, reference: Reading) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows of inputs that both runs have, in ascending order, thinned evenly."""
    rows, match = shared_rows(reading.inputs, reference.inputs)
    if not rows.size:
        return rows, match
    order = np.lexsort(reading.inputs[rows].T[::-1])
    draws = min(_count(reading), _count(reference))
    most = max(1, min(MOST_INPUTS, draws // DRAWS_PER_INPUT))
    keep = order[np.unique(np.linspace(0, order.size - 1, min(order.size, most)).round().astype(int))]
    return rows[keep], match[keep]


def _count(reading: Reading) -> int:
    """Return the number of posterior draws."""
    sizes = reading.tree["posterior"].sizes
    return int(sizes["chain"] * sizes["draw"])


def _flat(draws: Floats) -> Floats:
    """Return draws (chain, draw, k) as (S, k)."""
    return draws.reshape(-1, draws.shape[2])


def _mean_error(draws: Floats, independent: bool) -> Floats:
    """Return the Monte-Carlo error of the mean, from the effective draws where draws depend on each other."""
    if independent:
        flat = _flat(draws)
        return np.asarray(flat.std(axis=0, ddof=1) / math.sqrt(len(flat)))
    from brg_prob.correlators.k_statistics import error_of_mean

    return error_of_mean(draws - draws.mean(axis=(0, 1)), False)[0]


def _score(
    readings: Sequence[Reading], pairs: Pairs, contrast: int, notes: list[str]
) -> ScoreDifference | None:
    """Return the score difference of a contrast; None, and a note for posteriors, where there is none."""
    theory, reference = (pairs.theories[at] for at in pairs.contrasts[contrast])
    one, other = _held(readings[theory.run], theory.state), _held(readings[reference.run], reference.state)
    told = theory.state == "posterior" and len(readings) > 1
    names = f"“{readings[theory.run].name}” and “{readings[reference.run].name}”"
    if one is None or other is None:
        if told:
            notes.append(f"{names} are not compared by score: not both have held-out observations.")
        return None
    if len(readings) > 1 and readings[theory.run].units != readings[reference.run].units:
        return None
    found = score_difference(one, other)
    if not found.paired and not _same_record(readings[theory.run], readings[reference.run]):
        if told:
            notes.append(f"{names} hold out different observations of different records: no elpd difference.")
        return None
    if told and not found.paired:
        notes.append(
            f"{names} hold out different observations: the difference of their scores is unpaired and "
            "contains that of the observations."
        )
    elif told and found.shared < max(one.values.size, other.values.size):
        notes.append(
            f"{names} share {found.shared} held-out observations; their scores are paired over these."
        )
    return found


def _held(reading: Reading, state: str) -> HeldOut | None:
    """Return the scores of a theory."""
    return reading.posterior_score if state == "posterior" else reading.prior_score


def _same_record(one: Reading, other: Reading) -> bool:
    """Whether two runs name the same source of their data."""
    keys = ("source", "sha256", "value_name", "value_unit")
    return all(one.record.get(key, "") == other.record.get(key, "") for key in keys)


def _distance_row(distance: Distance | None) -> dict[str, Any]:
    """Return distances as columns of the group ``distances``."""
    nan = math.nan
    d = distance or Distance(nan, nan, nan, nan, nan, nan, 0, 0)
    return {
        "kl": d.kl,
        "kl_se": d.kl_error,
        "kl_reverse": d.reverse,
        "kl_reverse_se": d.reverse_error,
        "wasserstein": d.wasserstein,
        "wasserstein_se": d.wasserstein_error,
        "inputs": d.inputs,
    }


def _score_row(score: ScoreDifference | None) -> dict[str, Any]:
    """Return a score difference as columns of the group ``distances``."""
    s = score or ScoreDifference(math.nan, math.nan, 0)
    total, total_error = s.elpd
    return {
        "score_difference": s.value,
        "score_difference_se": s.error,
        "elpd_difference": total,
        "elpd_difference_se": total_error,
        "shared_observations": s.shared,
        "paired": int(s.paired),
    }


def _mean_group(
    means: dict[int, Differences], contrasts: int, readings: Sequence[Reading]
) -> xr.Dataset | None:
    """Return the differences of mean fields, padded with NaN, or None where there are none."""
    if not means:
        return None
    most = max(mean.at.size for mean in means.values())
    columns = {name: np.full((contrasts, most), np.nan) for name in ("at", "difference", "se", "z")}
    for number, mean in means.items():
        for name, values in (("at", mean.at), ("difference", mean.value), ("se", mean.error), ("z", mean.z)):
            columns[name][number, : values.size] = values
    record = readings[0].record
    one = readings[0].inputs.shape[1] == 1
    return xr.Dataset(
        {name: (("contrast", "point"), values) for name, values in columns.items()},
        attrs={
            "input_name": str(record.get("input_name", "x")) if one else "number of the input",
            "input_unit": str(record.get("input_unit", "")) if one else "",
            "field_unit": readings[0].units[0],
        },
    )


def fisher_group(readings: Sequence[Reading]) -> xr.Dataset:
    """Return Fisher spectra by rank: λ per observation, Tλ, and log λ relative to the first run."""
    spectra = [
        np.sort(np.asarray(r.group("fisher")["eigenvalue"].values, dtype=float))[::-1] for r in readings
    ]
    eigenvalue = _padded(spectra)
    observations = np.array([float(r.summary["observations"]) for r in readings])
    weight = eigenvalue * observations[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(eigenvalue / eigenvalue[:1])
    return xr.Dataset(
        {
            "eigenvalue": (("run", "rank"), eigenvalue),
            "weight": (("run", "rank"), weight),
            "log_ratio": (("run", "rank"), np.where(np.isfinite(ratio), ratio, np.nan)),
            "observations": ("run", observations),
            "distinguishable": ("run", np.nansum(weight >= 1, axis=1)),
        },
        coords={"rank": np.arange(1, eigenvalue.shape[1] + 1)},
    )


def flow_group(readings: Sequence[Reading]) -> xr.Dataset:
    """Return the first flow of each run by scale; scores in the record's own units."""
    columns: dict[str, list[Floats]] = {}
    for reading in readings:
        flow = reading.group("flow")
        size = flow.sizes["scale"]
        for name in ("observations", "effective_dimension", "kl_to_prior", "test_score", "test_score_se"):
            values = np.asarray(flow[name].values, dtype=float) if name in flow else np.full(size, np.nan)
            columns.setdefault(name, []).append(
                values - reading.log_scale if name == "test_score" else values
            )
    return xr.Dataset({name: (("run", "scale"), _padded(values)) for name, values in columns.items()})


def _padded(rows: Sequence[Floats]) -> Floats:
    """Return rows of different lengths as one array, filled with NaN."""
    made = np.full((len(rows), max(row.size for row in rows)), np.nan)
    for number, row in enumerate(rows):
        made[number, : row.size] = row
    return made
