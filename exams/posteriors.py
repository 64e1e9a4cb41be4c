"""Eight published posteriors: means and standard deviations within four combined Monte-Carlo errors.

Each is run twice, through ``brg-prob run`` and through ``brg_prob.fit``. The reference means, standard
deviations and their errors are those of posteriordb's reference draws; ours come from the draws' own
effective sample sizes.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy import stats

FOLDER = Path(__file__).parent / "posteriordb"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
LARGEST = 4.0
"""Combined errors beyond which a moment is off: exceeded by chance once in 16 000."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "logearn_height_male": {"dense_mass": True},
    "sblrc_blr": {"dense_mass": True},
    "mesquite": {"dense_mass": True},
}


@dataclass(frozen=True)
class Compared:
    """One parameter of a run against its reference, differences in combined errors."""

    parameter: str
    mean: float
    sd: float


def models() -> Any:
    """Return the module with the models."""
    return importlib.import_module("exams.posteriordb.models")


def compared(name: str, posterior: xr.Dataset) -> Iterator[Compared]:
    """Yield each reference parameter of a posterior against the draws of a run."""
    reference = json.loads((FOLDER / f"{name}.json").read_text())["parameters"]
    for parameter, known in reference.items():
        site, _, index = parameter.rstrip("]").partition("[")
        values = np.asarray(posterior[site].values, dtype=float)
        if index:
            values = values[..., int(index) - 1]
        axes = {"chain_axis": 0, "draw_axis": 1}
        errors = [float(array_stats.mcse(values, method=moment, **axes)) for moment in ("mean", "sd")]
        off = (values.mean() - known["mean"], values.std(ddof=1) - known["sd"])
        theirs = (known["mean_mcse"], known["sd_mcse"])
        found = [d / math.hypot(own, other) for d, own, other in zip(off, errors, theirs, strict=True)]
        yield Compared(parameter, *found)


def by_python(name: str, *, draws: int = 4000, seed: int = 1) -> xr.Dataset:
    """Return the draws of ``brg_prob.fit`` with the table's columns bound to the model's arguments."""
    import jax

    import brg_prob
    from brg_prob.tables import read_table

    brg_prob.enable_x64()
    table = read_table(FOLDER / f"{name}.csv")
    bound = brg_prob.bind(table, getattr(models(), name), target=list(table.columns)[-1])
    engine = brg_prob.NUTS(**_OPTIONS.get(name, {}))
    key = jax.random.key(seed)
    tree = brg_prob.fit(bound.network, bound.x, bound.y, engine=engine, key=key, draws=draws)
    return tree["posterior"].to_dataset()


def by_command(name: str, folder: Path, *, draws: int = 4000, seed: int = 1) -> xr.Dataset:
    """Return the draws of ``brg-prob run``, whose only options are the target and what the sampler needs."""
    table = FOLDER / f"{name}.csv"
    target = table.read_text().splitlines()[0].split(",")[-1]
    words = ["run", f"{FOLDER / 'models.py'}:{name}", "--data", str(table), "--target", target]
    words += ["--scales", "2", "--draws", str(draws), "--seed", str(seed), "--out", str(folder / name)]
    chosen = _OPTIONS.get(name, {})
    if chosen:
        words += ["--engine", "nuts"]
        words += [w for key, value in chosen.items() for w in (f"--engine.{key}", str(value).lower())]
    subprocess.run([sys.executable, "-m", "brg_prob", *words], check=True, capture_output=True, text=True)
    with xr.open_datatree(folder / name / "draws.nc", engine="h5netcdf") as tree:
        return tree["posterior"].to_dataset().load()


@dataclass(frozen=True)
class Line:
    """A regression y ~ N(Xβ, σ²) whose Fisher information is known; β ~ N(0, scale²), σ of a law of scipy."""

    intercept: bool
    scale: float
    sigma: Any


LINES = {
    "kidiq_momiq": Line(True, 1000.0, stats.halfcauchy(scale=2.5)),
    "mesquite": Line(True, 1e5, stats.halfnorm(scale=1e5)),
    "arK": Line(True, 10.0, stats.halfcauchy(scale=2.5)),
    "sblrc_blr": Line(False, 10.0, stats.halfnorm(scale=10)),
    "logearn_height_male": Line(True, 1000.0, stats.halfnorm(scale=1000)),
}


def information(name: str) -> tuple[list[float], list[float]]:
    """Return eigenvalues nλ of a regression's Fisher information at the reference mean, and the right ones.

    In coordinates where the prior is N(0, 1): β_k / scale and z with Φ(z) = F(σ), so that the matrix has the
    blocks scale² XᵀX / σ² and 2n (dσ/dz / σ)², dσ/dz = φ(z) / F′(σ).
    """
    import brg_prob
    from brg_prob.tables import read_table

    brg_prob.enable_x64()
    line = LINES[name]
    table = read_table(FOLDER / f"{name}.csv")
    *inputs, y = (np.asarray(column, float) for column in table.columns.values())
    design = np.column_stack([*([np.ones(len(y))] * line.intercept), *inputs])
    known = json.loads((FOLDER / f"{name}.json").read_text())["parameters"]
    means = [known[parameter]["mean"] for parameter in known]
    beta, sigma = np.array(means[:-1]), means[-1]
    slope = stats.norm.pdf(stats.norm.ppf(line.sigma.cdf(sigma))) / line.sigma.pdf(sigma)
    of_beta = np.linalg.eigvalsh((line.scale / sigma) ** 2 * design.T @ design)
    right = sorted([*of_beta, 2 * len(y) * (slope / sigma) ** 2], reverse=True)
    bound = brg_prob.bind(table, getattr(models(), name), target=list(table.columns)[-1])
    at = {"beta": beta, "sigma": np.asarray(sigma)}
    if name == "arK":
        at = {"alpha": beta[0], "beta": beta[1:], "sigma": np.asarray(sigma)}
    metric = brg_prob.fisher_metric(bound.network, bound.x, y=bound.y, at=at)
    return [metric.observations * float(value) for value in metric.eigenvalues], [float(v) for v in right]


HEAD = (
    "posterior",
    "through",
    "parameters",
    "largest difference of a mean",
    "of a standard deviation",
    "of nλ, relative",
    "outcome",
)
ASKS = (
    "Means and standard deviations of eight published posteriors lie within four combined Monte-Carlo errors "
    "of posteriordb's reference draws (differences in these errors); of regressions the Fisher information "
    "at the reference mean is the closed form."
)
_PRECISE = 1e-6


def exam(seed: int, small: bool) -> list[tuple[str, ...]]:
    """Return a row for each posterior and way of running it."""
    import tempfile

    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in NAMES[: 2 if small else None]:
            rows.append(_row(name, "Python", by_python(name, seed=seed), metric=name in LINES))
            rows.append(_row(name, "command line", by_command(name, Path(place), seed=seed)))
    return rows


def _row(name: str, way: str, posterior: xr.Dataset, *, metric: bool = False) -> tuple[str, ...]:
    """Return the row of one run, of Python with the metric where it is known."""
    found = list(compared(name, posterior))
    worst = [max(found, key=lambda one, m=moment: abs(getattr(one, m))) for moment in ("mean", "sd")]
    off = [c.parameter for c in found if max(abs(c.mean), abs(c.sd)) > LARGEST]
    differs = float(np.max(np.abs(np.divide(*information(name)) - 1))) if metric else 0.0
    off += ["nλ"] * (differs > _PRECISE)
    return (
        name,
        way,
        str(len(found)),
        f"{worst[0].mean:+.1f} ({worst[0].parameter})",
        f"{worst[1].sd:+.1f} ({worst[1].parameter})",
        f"{differs:.0e}" if metric else "",
        f"off: {', '.join(off)}" if off else "ok",
    )
