"""Whether draws can be trusted, and how well they predict: convergence and predictive scores.

Convergence is summarised by its worst value over the field and the latent
sites: rank-normalised split R-hat, bulk and tail effective sample sizes [Vehtari
et al., arXiv:1903.08008] and the number of divergent transitions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from brg_prob.arrays import Floats
from brg_prob.flow.score import mean_and_error
from brg_prob.results import field_variable

_DUAL = "dual"
_TAIL = (0.05, 0.95)  # the quantiles whose effective sample size is the tail's


@dataclass(frozen=True, eq=False)
class Convergence:
    """The worst convergence measures of a set of draws.

    Attributes
    ----------
    r_hat
        Largest R-hat; nan where it does not apply (independent draws, one chain).
    ess_bulk, ess_tail
        Smallest effective sample sizes; the number of draws for independent draws.
    divergences
        Number of divergent transitions; 0 if the engine has none.
    worst
        Measure → the entry where it is worst, such as "f[12]".
    draws
        Number of draws over all chains.
    independent
        Whether the draws are independent, so that convergence is not in question.
    status
        A sentence for the reader.
    """

    r_hat: float
    ess_bulk: float
    ess_tail: float
    divergences: int
    worst: dict[str, str]
    draws: int
    independent: bool
    status: str

    def passes(self, *, largest_r_hat: float = 1.01, smallest_ess: float = 400.0) -> bool:
        """Return whether T18's conditions hold: R-hat below its bound (or not applicable), ESS above."""
        mixed = self.independent or self.r_hat < largest_r_hat
        return mixed and min(self.ess_bulk, self.ess_tail) > smallest_ess and self.divergences == 0


def convergence(
    tree: xr.DataTree, *, group: str = "posterior", independent: bool | None = None
) -> Convergence:
    """Summarise the convergence of a group's field and latent sites.

    Parameters
    ----------
    tree
        A result with dimensions (chain, draw, ...); divergences are read from
        ``sample_stats/diverging`` if present.
    group
        The group to judge.
    independent
        Whether the draws are independent; default: the tree's attribute ``independent``.

    Returns
    -------
    Convergence
        For independent draws R-hat is nan and the effective sample sizes are the number of
        draws: nothing is estimated. Cost otherwise: three estimates per field entry.

    Raises
    ------
    ValueError
        The group is absent or holds neither a field nor a scalar.
    """
    if group not in tree.children:
        raise ValueError(f"there is no group {group!r}; groups: {', '.join(tree.children)}")
    columns = _columns(tree[group].to_dataset())
    if group == "posterior" and "sites" in tree.attrs:  # what is computed of the sites is no parameter
        judged = {*json.loads(str(tree.attrs["sites"])), field_variable(tree)}
        columns = {name: values for name, values in columns.items() if name in judged}
    if not columns:
        raise ValueError(f"group {group!r} holds neither a field nor a scalar with dimensions chain and draw")
    chains, length = next(iter(columns.values())).shape[:2]
    if independent is None:
        independent = bool(tree.attrs.get("independent", 0))
    divergences = _divergences(tree)
    total = chains * length
    if independent:
        status = f"{total} independent draws: convergence is not in question"
        return Convergence(math.nan, float(total), float(total), divergences, {}, total, True, status)
    if length < 4:
        status = f"{length} draws per chain are too few for R-hat and effective sample sizes"
        return Convergence(math.nan, math.nan, math.nan, divergences, {}, total, False, status)
    r_hat, r_hat_at = _worst(columns, "rhat", np.nanargmax) if chains > 1 else (math.nan, "")
    bulk, bulk_at = _worst(columns, "bulk", np.nanargmin)
    tail, tail_at = _worst(columns, "tail", np.nanargmin)
    mixing = f"worst R-hat {r_hat:.3f} at {r_hat_at}" if chains > 1 else "one chain, so no R-hat"
    status = f"{total} draws in {chains} chains: {mixing}, bulk ESS {bulk:.0f}, tail ESS {tail:.0f}"
    status += f", {divergences} divergent" if divergences else ""
    worst = {"r_hat": r_hat_at, "ess_bulk": bulk_at, "ess_tail": tail_at}
    return Convergence(r_hat, bulk, tail, divergences, worst, total, False, status)


def _columns(dataset: xr.Dataset) -> dict[str, Floats]:
    """Return the field and the latent sites of a group as arrays (chain, draw, entries).

    The dual coefficients of a readout are left out: they are no parameters, and the field says all of them.
    """
    columns = {}
    for name, variable in dataset.data_vars.items():
        if variable.dims[:2] == ("chain", "draw") and variable.dtype.kind == "f" and name != _DUAL:
            columns[str(name)] = variable.values.reshape(*variable.shape[:2], -1).astype(float)
    return columns


def _divergences(tree: xr.DataTree) -> int:
    """Return the number of divergent transitions recorded by the engine."""
    if "sample_stats" in tree.children and "diverging" in tree["sample_stats"].data_vars:
        return int(tree["sample_stats"].to_dataset()["diverging"].sum())
    return 0


def _worst(columns: dict[str, Floats], measure: str, pick: Callable[[Floats], Any]) -> tuple[float, str]:
    """Return the worst value of a measure over all entries, and where it is.

    An entry that never moves in any chain (a field pinned by construction) has no measure and
    is passed over, unless there is no other.
    """
    labels, values = [], []
    for name, series in columns.items():
        moving = np.ptp(series, axis=(0, 1)) > 0
        found = np.full(series.shape[2], np.nan)
        if moving.any():
            found[moving] = _measure(series[..., moving], measure)
        values.append(found)
        labels += [f"{name}[{i}]" if series.shape[2] > 1 else name for i in range(series.shape[2])]
    flat = np.concatenate(values)
    if np.all(np.isnan(flat)):
        return math.nan, ""
    at = int(pick(flat))
    return float(flat[at]), labels[at]


def _measure(series: Floats, measure: str) -> Floats:
    """Return R-hat, or the bulk or tail effective sample size, of every series (chain, draw, entries)."""
    if measure == "rhat":
        return np.asarray(array_stats.rhat(series, chain_axis=0, draw_axis=1))
    prob = _TAIL if measure == "tail" else None
    return np.asarray(array_stats.ess(series, chain_axis=0, draw_axis=1, method=measure, prob=prob))


@dataclass(frozen=True, eq=False)
class PredictiveDensity:
    """Log predictive density of each observation under draws.

    Attributes
    ----------
    value
        log E_θ[p(y_i|θ)], (n,), nats.
    standard_error
        Monte-Carlo error of each, (n,), by the delta method.
    score
        Mean over observations.
    score_error
        Its standard error over observations: how far the mean on new observations may differ.
    """

    value: Floats
    standard_error: Floats
    score: float
    score_error: float


def log_predictive_density(log_likelihood: ArrayLike, *, independent: bool = False) -> PredictiveDensity:
    """Average p(y_i|θ) over draws, in logarithms.

    Parameters
    ----------
    log_likelihood
        log p(y_i|θ_s), (chain, draw, n).
    independent
        Whether the draws are independent; else the Monte-Carlo error uses the effective
        number of draws of p(y_i|θ) itself.

    Returns
    -------
    PredictiveDensity
        lpd_i = log (1/S) Σ_s p(y_i|θ_s) [Vehtari, Gelman, Gabry, arXiv:1507.04544], biased low by
        half the squared Monte-Carlo error.

    Raises
    ------
    ValueError
        Not (chain, draw, n), or an undefined log-likelihood.

    Examples
    --------
    >>> density = log_predictive_density(np.log([[[0.1, 0.5], [0.3, 0.5]]]), independent=True)
    >>> np.exp(density.value).round(3).tolist(), density.standard_error.round(3).tolist()
    ([0.2, 0.5], [0.5, 0.0])
    """
    logs = np.asarray(log_likelihood, dtype=float)
    if logs.ndim != 3:
        raise ValueError(f"log-likelihood has shape {logs.shape}; (chain, draw, n) is needed")
    if np.isnan(logs).any() or np.isposinf(logs).any():
        raise ValueError("the log-likelihood is nan or infinite for some draw; look at the draws first")
    total = logs.shape[0] * logs.shape[1]
    value = logsumexp(logs, axis=(0, 1)) - math.log(total)
    ratio = np.exp(logs - np.where(np.isfinite(value), value, 0.0))
    spread = ratio.std(axis=(0, 1), ddof=1) if total > 1 else np.full(logs.shape[2], np.nan)
    effective = np.full(logs.shape[2], float(total))
    if not independent:
        effective = np.asarray(array_stats.ess(ratio, chain_axis=0, draw_axis=1, method="mean"), dtype=float)
    score, error = mean_and_error(value)
    return PredictiveDensity(value, spread / np.sqrt(effective), score, error)


@dataclass(frozen=True)
class ScoreDifference:
    """The paired difference of two scores: mean over observations, and its standard error."""

    value: float
    standard_error: float

    @property
    def worse(self) -> bool:
        """Whether the first is worse by more than one standard error (the rule of the critical scale, T8)."""
        return self.value < -self.standard_error


def score_difference(first: ArrayLike, second: ArrayLike) -> ScoreDifference:
    """Compare two sets of predictions observation by observation.

    Parameters
    ----------
    first, second
        Log predictive densities of the same observations, (n,).

    Returns
    -------
    ScoreDifference
        Mean of first − second and its standard error: observations hard for both cancel.

    Raises
    ------
    ValueError
        Different shapes.

    Examples
    --------
    >>> difference = score_difference([-1.0, -5.0, -2.0], [-1.1, -5.3, -2.2])
    >>> round(difference.value, 3), round(difference.standard_error, 3)
    (0.2, 0.058)
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"scores of shapes {a.shape} and {b.shape} cannot be paired; both are (n,)")
    return ScoreDifference(*mean_and_error(a - b))
