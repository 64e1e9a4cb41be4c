"""A case: a model, a table, and what is right; with the closed forms and the quadrature that say so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray

LARGEST = 5.0
"""Monte-Carlo errors beyond which a moment is off: exceeded by chance once in two million."""
_ROUNDING = 0.01
"""Part of a standard deviation that quadrature, tolerances of solvers and warm-up may cost."""

Moments = Mapping[str, tuple[float, float]]
"""Parameter, as ``a`` or ``a[0]`` → mean and standard deviation."""


@dataclass(frozen=True, eq=False)
class Case:
    """One input and what is right.

    Attributes
    ----------
    model
        Name of the model in the file of its kind.
    table
        Column → values; NaN is an empty cell.
    posterior
        What is right.
    information
        T λ, the eigenvalues of the Fisher information of all observations, whitened by the prior, largest
        first; empty: there are none, or they are not known. ``within``: relative tolerance.
    score
        Log predictive density per held-out row; None: nothing is held out, or it is not known.
    target
        Columns that are observed, with commas; empty: the default.
    engine
        "nuts", or "laplace" where it is exact.
    words
        Further words of the command line.
    says
        Sentences that must be printed.
    refused
        What the one line of a refusal must hold, a regular expression; empty: it is answered.
    """

    model: str
    table: Mapping[str, Any]
    posterior: Moments = field(default_factory=dict)
    information: tuple[float, ...] = ()
    within: float = 1e-6
    score: float | None = None
    target: str = ""
    engine: str = "nuts"
    words: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    refused: str = ""

    def write(self, path: Path) -> Path:
        """Write the table as CSV."""
        rows = zip(*self.table.values(), strict=True)
        lines = [",".join(self.table), *(",".join(map(_cell, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def _cell(value: Any) -> str:
    """Return a value as a cell, missing ones empty."""
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else repr(value.item() if hasattr(value, "item") else value)


def wrong(case: Case, tree: xr.DataTree) -> str:
    """Return what is wrong with a posterior; empty if nothing is.

    Means and standard deviations must lie within :data:`LARGEST` of the draws' own errors.
    """
    posterior = tree["posterior"].to_dataset()
    stored = {name: key for key, name in json.loads(tree.attrs["sites"]).items()}
    off = []
    for parameter, (mean, sd) in case.posterior.items():
        site, _, index = parameter.partition("[")
        values = np.asarray(posterior[stored[site]].values, float)
        if index:
            values = values[(..., *map(int, index.rstrip("]").split(",")))]
        axes = {"chain_axis": 0, "draw_axis": 1}
        errors = [float(array_stats.mcse(values, method=moment, **axes)) for moment in ("mean", "sd")]
        found = (values.mean(), values.std(ddof=1))
        for moment, got, want, error in zip(("mean", "sd"), found, (mean, sd), errors, strict=True):
            if not abs(got - want) <= LARGEST * error + _ROUNDING * sd:
                off.append(f"{moment} of {parameter} {got:.4g}, right {want:.4g}")
    return ", ".join(off)


def wrong_information(case: Case, found: Sequence[float]) -> str:
    """Return what is wrong with T λ; empty if nothing is."""
    got = sorted(found, reverse=True)[: len(case.information)]
    if len(got) == len(case.information) and np.allclose(got, case.information, rtol=case.within, atol=0):
        return ""
    shown = [", ".join(f"{value:.5g}" for value in each) for each in (got, case.information)]
    return f"T λ {shown[0] or 'missing'}, right {shown[1]}"


def moments(names: Sequence[str], mean: ArrayLike, covariance: ArrayLike) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation by name, of a Gaussian."""
    sd = np.sqrt(np.diag(covariance))
    return {n: (float(m), float(s)) for n, m, s in zip(names, np.asarray(mean), sd, strict=True)}


@dataclass(frozen=True, eq=False)
class Regression:
    """A linear model in closed form: y ~ N(design β, noise²), β ~ N(0, prior²), row weights optional."""

    names: tuple[str, ...]
    design: NDArray[np.float64]
    y: NDArray[np.float64]
    prior: float
    noise: float
    weights: float | NDArray[np.float64] = 1.0

    @property
    def _information(self) -> NDArray[np.float64]:
        return (self.design.T * self.weights) @ self.design / self.noise**2

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the posterior."""
        own: NDArray[np.float64] = np.linalg.inv(self._information + np.eye(len(self.names)) / self.prior**2)
        return own

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the posterior."""
        own: NDArray[np.float64] = self.covariance @ (self.design.T * self.weights) @ self.y / self.noise**2
        return own

    @property
    def posterior(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation by name."""
        return moments(self.names, self.mean, self.covariance)

    @property
    def information(self) -> tuple[float, ...]:
        """T λ, largest first."""
        return tuple(np.linalg.eigvalsh(self._information * self.prior**2)[::-1].tolist())

    def score(self, design: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        """Return the mean log predictive density of further rows, each on its own."""
        variance = self.noise**2 + np.einsum("ni,ij,nj->n", design, self.covariance, design)
        return float(normal_log(y, design @ self.mean, np.sqrt(variance)).mean())


def normal_log(y: Any, mean: Any, sd: Any) -> Any:
    """Return log N(y; mean, sd²)."""
    return -0.5 * ((y - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def quadrature(
    log_density: Callable[..., Any], **axes: NDArray[np.float64]
) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation by name, by the trapezoidal rule on a grid of equal steps.

    Parameters
    ----------
    log_density
        Of the parameters by name, up to a constant; arrays of the grid's shape.
    **axes
        Parameter → its grid; it must hold the posterior.
    """
    grid = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
    log = log_density(**grid)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    means = {name: float((weight * values).sum()) for name, values in grid.items()}
    sds = {n: float(np.sqrt((weight * (values - means[n]) ** 2).sum())) for n, values in grid.items()}
    return {name: (means[name], sds[name]) for name in axes}
