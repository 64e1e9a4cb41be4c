"""The other groups of a comparison: theories, mean fields, distances and scores, Fisher spectra, flows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from brg_prob.arrays import Floats, thin
from brg_prob.comparison.compared_run import Reading
from brg_prob.comparison.differences import Differences
from brg_prob.comparison.distances import DRAWS_PER_INPUT, MOST_INPUTS, Distance, between
from brg_prob.comparison.pairs import Pairs
from brg_prob.comparison.scores import ScoreDifference, score_difference, shared_rows
from brg_prob.headlines import in_short
from brg_prob.summary import floats, group, scale_rows

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
    rows = [_theory_row(readings[theory.run], theory.state) for theory in pairs.theories]
    return xr.Dataset({name: ("theory", np.array([row[name] for row in rows])) for name in rows[0]})


def _theory_row(reading: Reading, state: str) -> dict[str, Any]:
    """Return the numbers of one theory, and what its run was in a few words."""
    theory, summary, score = reading.group("field_theory"), reading.summary, reading.score(state)
    seed = summary.get("seed")
    numbers = theory.sel(state=state)
    return {
        "run": reading.name,
        "state": state,
        **{name: float(numbers[name]) if name in numbers else math.nan for name in _SCALARS},
        "free_mass_squared": _free_mass(reading, state),
        "score": math.nan if score is None else score.mean,
        "score_se": math.nan if score is None else score.error,
        "held_out": 0 if score is None else int(score.values.size),
        "field_unit": reading.units[0],
        "length_unit": reading.units[1],
        "note": str(theory.attrs.get("note", "")),
        "verdict": in_short(summary),
        "engine": str(summary["engine"]),
        "scheme": str(summary["flow"]["scheme"]),
        "network": str(summary["model"]["name"]),
        "seed": -1 if seed is None else int(seed),
        "observations": float(summary["observations"]),
    }


def _free_mass(reading: Reading, state: str) -> float:
    """Return the mass² in the free propagator: m² before training, m² + M_T² after (T9); NaN without one."""
    theory = group(reading.tree, "theory")
    if state == "prior":
        return float(theory.attrs.get("mass_squared", math.nan))
    return float(floats(theory, "running_mass_squared")[0]) if "running_mass_squared" in theory else math.nan


def scalar_differences(theories: xr.Dataset, pairs: Pairs) -> list[Differences]:
    """Return the differences of log mass² (where inputs have one unit) and of excess kurtosis.

    The logarithm, because the estimate of a mass² is positive and skew where its error is large.
    """
    names = ("mass_squared", "mass_squared_se", "excess_kurtosis", "excess_kurtosis_se")
    mass, mass_error, kurtosis, kurtosis_error = (floats(theories, name) for name in names)
    with np.errstate(invalid="ignore", divide="ignore"):
        log, log_error = np.log(mass), mass_error / mass
    unit = theories["length_unit"].values
    contrasts = list(enumerate(pairs.contrasts))
    masses = [
        _single("mass²", at, log[[*pair]], log_error[[*pair]], mass[pair[0]] / mass[pair[1]] - 1)
        for at, pair in contrasts
        if unit[pair[0]] == unit[pair[1]]
    ]
    return masses + [
        _single("excess kurtosis", at, kurtosis[[*pair]], kurtosis_error[[*pair]]) for at, pair in contrasts
    ]


def _single(
    quantity: str, contrast: int, pair: Floats, errors: Floats, relative: float = math.nan
) -> Differences:
    """Return the difference of two single numbers, (2,), with the error of independent ones."""
    at, value, error = math.nan, pair[0] - pair[1], math.hypot(*errors)
    return Differences(quantity, contrast, *(np.array([number]) for number in (at, value, error, relative)))


def posterior_pairs(
    readings: Sequence[Reading], pairs: Pairs, notes: list[str]
) -> tuple[xr.Dataset, xr.Dataset | None, list[Differences]]:
    """Return distances and score differences of each contrast, the mean fields, and their differences."""
    rows, means = [], {}
    for at, (one, other) in enumerate(pairs.contrasts):
        theory, reference = pairs.theories[one], pairs.theories[other]
        distance = Distance()
        if len(readings) == 1:
            distance = _to_prior(readings[0])
        elif theory.state == "posterior":
            fitted = _fitted(readings[theory.run], readings[reference.run], at, notes)
            if fitted is not None:
                distance, means[at] = fitted
        rows.append(_distance_row(distance) | _score_row(_score(readings, pairs, at, notes)))
    dataset = xr.Dataset({name: ("contrast", np.array([row[name] for row in rows])) for name in rows[0]})
    return dataset, _mean_group(means, len(pairs.contrasts), readings), list(means.values())


def _to_prior(reading: Reading) -> Distance:
    """Return the closed-form distances of a posterior to its prior."""
    after = reading.group("field_theory").sel(state="posterior")
    kl, wasserstein = (
        float(after[name]) if name in after else math.nan for name in ("kl_to_prior", "wasserstein")
    )
    return Distance(kl=kl, wasserstein=wasserstein)


def _fitted(
    reading: Reading, reference: Reading, contrast: int, notes: list[str]
) -> tuple[Distance, Differences] | None:
    """Return distance and mean difference of two posteriors at common inputs; None and a note without any."""
    if reading.units != reference.units:
        return None  # said once
    rows, match = _common_inputs(reading, reference)
    if not rows.size:
        notes.append(
            f"“{reading.name}” and “{reference.name}” have no inputs in common, so their mean fields, KL and "
            "W₂ are not compared."
        )
        return None
    one, other = reading.draws(rows), reference.draws(match)
    x = reading.inputs[rows]
    at = x[:, 0] if x.shape[1] == 1 else np.arange(len(x), dtype=float)
    means = _flat(one).mean(axis=0), _flat(other).mean(axis=0)
    errors = _mean_error(one, reading.independent), _mean_error(other, reference.independent)
    return between(_flat(one), _flat(other)), Differences.of("mean field", contrast, at, means, errors)


def _common_inputs(reading: Reading, reference: Reading) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows of inputs that both runs have, in ascending order, thinned evenly."""
    rows, match = shared_rows(reading.inputs, reference.inputs)
    if not rows.size:
        return rows, match
    order = np.lexsort(reading.inputs[rows].T[::-1])
    draws = min(reading.draw_count, reference.draw_count)
    most = max(1, min(MOST_INPUTS, draws // DRAWS_PER_INPUT))
    keep = order[thin(order.size, most)]
    return rows[keep], match[keep]


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


def _score(readings: Sequence[Reading], pairs: Pairs, contrast: int, notes: list[str]) -> ScoreDifference:
    """Return the score difference of a contrast; where there is none an empty one, noted for posteriors."""
    theory, reference = (pairs.theories[at] for at in pairs.contrasts[contrast])
    run, other_run = readings[theory.run], readings[reference.run]
    one, other = run.score(theory.state), other_run.score(reference.state)
    told = notes if theory.state == "posterior" and len(readings) > 1 else []
    names = f"“{run.name}” and “{other_run.name}”"
    if one is None or other is None:
        told.append(f"{names} are not compared by score: not both have held-out observations.")
        return ScoreDifference()
    if run.units != other_run.units:
        return ScoreDifference()
    difference = score_difference(one, other)
    if difference.paired:
        if difference.shared < max(one.values.size, other.values.size):
            told.append(
                f"{names} share {difference.shared} held-out observations; their scores are paired over "
                "these."
            )
        return difference
    if not run.same_record(other_run, "source", "sha256", "value_name", "value_unit"):
        told.append(f"{names} hold out different observations of different records: no elpd difference.")
        return ScoreDifference()
    told.append(
        f"{names} hold out different observations: the difference of their scores is unpaired and "
        "contains that of the observations."
    )
    return difference


def _distance_row(d: Distance) -> dict[str, Any]:
    """Return distances as columns of the group ``distances``."""
    return {
        "kl": d.kl,
        "kl_se": d.kl_error,
        "kl_reverse": d.reverse,
        "kl_reverse_se": d.reverse_error,
        "wasserstein": d.wasserstein,
        "wasserstein_se": d.wasserstein_error,
        "inputs": d.inputs,
    }


def _score_row(s: ScoreDifference) -> dict[str, Any]:
    """Return a score difference as columns of the group ``distances``."""
    return {
        "score_difference": s.value,
        "score_difference_se": s.error,
        "elpd_difference": s.elpd[0],
        "elpd_difference_se": s.elpd[1],
        "shared_observations": s.shared,
        "paired": int(s.paired),
    }


def _mean_group(
    means: dict[int, Differences], contrasts: int, readings: Sequence[Reading]
) -> xr.Dataset | None:
    """Return the differences of mean fields, padded with NaN, or None where there are none."""
    if not means:
        return None
    nothing = np.empty(0)
    columns = {
        name: _padded([getattr(means[at], part) if at in means else nothing for at in range(contrasts)])
        for name, part in (("at", "at"), ("difference", "value"), ("se", "error"), ("z", "z"))
    }
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
    eigenvalue = _padded([np.sort(floats(r.group("fisher"), "eigenvalue"))[::-1] for r in readings])
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
    tables = [pd.DataFrame(scale_rows(reading.tree)) for reading in readings]
    for table, reading in zip(tables, readings, strict=True):
        table["test_score"] -= reading.log_scale
    names = ("observations", "effective_dimension", "kl_to_prior", "test_score", "test_score_se")
    return xr.Dataset(
        {name: (("run", "scale"), _padded([table[name].to_numpy() for table in tables])) for name in names}
    )


def _padded(rows: Sequence[Floats]) -> Floats:
    """Return rows of different lengths as one array, filled with NaN."""
    return np.array(list(zip_longest(*rows, fillvalue=np.nan)), dtype=float).T.reshape(len(rows), -1)
