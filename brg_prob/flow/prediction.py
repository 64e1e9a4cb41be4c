"""How well each scale of a flow predicts: leave-one-out and held-out scores side by side (T6, T8)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from brg_prob.arrays import Floats
from brg_prob.flow.leave_one_out import LooScore, loo_at, sum_and_error
from brg_prob.flow.score import critical_scale

if TYPE_CHECKING:
    from brg_prob.flow.flow import Flow

_COLUMNS = {
    "elpd_loo": "loo",
    "se": "loo_se",
    "difference": "loo_difference",
    "dse": "loo_difference_se",
    "worst_k": "pareto_k_max",
    "bad_k": "pareto_k_bad",
    "held_out": "test_score",
    "held_out_se": "test_score_se",
    "held_out_difference": "score_difference",
    "held_out_dse": "score_difference_se",
}


def rowwise_log_likelihood(tree: xr.DataTree, group: str = "log_likelihood") -> Floats:
    """Return log p(y_i|θ) of every row with an observation, all observed sites together.

    Parameters
    ----------
    tree
        A posterior of any engine.
    group
        ``log_likelihood`` or ``predictions_log_likelihood``, with variables (chain, draw, row…).

    Returns
    -------
    numpy.ndarray
        (chain, draw, rows), float64. Rows that are exactly zero in all draws are missing or masked, and
        dropped. Sites without a row per input are no part of it: they stay when a row is left out.

    Raises
    ------
    ValueError
        No such group, or no site in it with a row per input.
    """
    if group not in tree.children:
        raise ValueError(
            f"there is no group {group!r} to score predictions by; groups: {', '.join(tree.children)}"
        )
    held = group.startswith("predictions")
    rows = _rows(tree, "predictions_constant_data" if held else "constant_data")
    named = "x_held_out" if held else "x"
    told = named in tree[group].dims  # our own trees say which axis the rows are
    found = None
    for variable in tree[group].data_vars.values():
        values = np.asarray(variable.values, dtype=float)
        if values.ndim < 3 or (rows is not None and values.shape[2] != rows):
            continue
        if told and named not in variable.dims:
            continue
        if values.ndim > 3:
            values = values.reshape(*values.shape[:3], -1).sum(axis=-1)
        found = values if found is None else found + values
    if found is None:
        raise ValueError(
            f"no observed site in {group!r} has one row per input, so none can be left out row by row"
        )
    return found[..., (found != 0).any(axis=(0, 1))]


def _rows(tree: xr.DataTree, group: str) -> int | None:
    """Return the number of inputs, where the tree says it."""
    if group in tree.children and "inputs" in tree[group].data_vars:
        return int(tree[group]["inputs"].shape[0])
    return None


def loo_of(tree: xr.DataTree, *, r_eff: float | None = None) -> LooScore:
    """Return the leave-one-out score of a posterior tree at its own T.

    Parameters
    ----------
    tree
        With group ``log_likelihood`` and attributes ``observations`` (T), ``n``, ``independent``.
    r_eff
        See :func:`loo_at`.

    Raises
    ------
    ValueError
        Draws of an information shell (attribute ``scheme``), which are no posterior; else as
        :func:`loo_at` and :func:`rowwise_log_likelihood`.
    """
    if str(tree.attrs.get("scheme", "")).lower() == "shell":
        raise ValueError(
            "draws of an information shell are no posterior, so no observation can be left out of it; "
            "use the held-out score"
        )
    logs = rowwise_log_likelihood(tree)
    return loo_at(
        logs,
        observations=float(tree.attrs["observations"]),
        total=int(tree.attrs["n"]) if "n" in tree.attrs else None,
        independent=bool(tree.attrs.get("independent", 0)),
        r_eff=r_eff,
    )


def closed_loo(pointwise: Floats, tree: xr.DataTree) -> LooScore:
    """Return the leave-one-out score of a posterior whose terms (n,) are known in closed form."""
    elpd, se = (float(value[0]) for value in sum_and_error(pointwise[None]))
    sizes = tree["posterior"].sizes
    return LooScore(
        elpd,
        se,
        pointwise,
        pareto_k=np.full(pointwise.shape, math.nan),
        good_k=math.nan,
        observations=float(tree.attrs["observations"]),
        draws=int(sizes["chain"] * sizes["draw"]),
    )


def held_out_density(tree: xr.DataTree) -> Floats | None:
    """Return the log predictive density of each held-out observation, (h,); None without any.

    log (1/S) Σ_s p(y_i|θ_s) over all chains, from ``predictions_log_likelihood``.
    """
    if "predictions_log_likelihood" not in tree.children:
        return None
    logs = rowwise_log_likelihood(tree, "predictions_log_likelihood")
    peak = logs.max(axis=(0, 1))
    mean = np.exp(logs - np.where(np.isfinite(peak), peak, 0.0)).mean(axis=(0, 1))
    with np.errstate(divide="ignore"):  # an observation that every draw makes impossible
        return np.where(np.isfinite(peak), peak, 0.0) + np.log(mean)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictive scores along a flow; differences are paired, to the first scale.

    Attributes
    ----------
    scales
        Coordinate of each scale, the unflowed posterior first.
    loo
        Leave-one-out score of each scale; None for a shell.
    held_out
        Log predictive density of the held-out observations, (scales, h); None without any.
    """

    scales: tuple[float, ...]
    loo: tuple[LooScore, ...] | None
    held_out: Floats | None

    @property
    def variables(self) -> dict[str, Floats]:
        """Variables of the group ``flow``, each (scale,).

        ``loo``, ``loo_se``, ``loo_difference``, ``loo_difference_se`` are sums over the n observations
        (nats); where draws were weighted ``pareto_k_max`` and ``pareto_k_bad``, how many exceed ``good_k``;
        with held-out data
        ``test_score``, ``test_score_se``, ``score_difference``, ``score_difference_se``, means.
        """
        found: dict[str, Floats] = {}
        if self.loo is not None:
            pointwise = np.stack([score.pointwise for score in self.loo])
            total, error = sum_and_error(pointwise - pointwise[:1])
            found |= {
                "loo": np.array([score.elpd for score in self.loo]),
                "loo_se": np.array([score.se for score in self.loo]),
                "loo_difference": total,
                "loo_difference_se": error,
            }
            if not self.closed:
                found["pareto_k_max"] = np.array([score.worst_k for score in self.loo])
                found["pareto_k_bad"] = np.array([float(score.bad) for score in self.loo])
        if self.held_out is not None:
            for name, values in (
                ("test_score", self.held_out),
                ("score_difference", self.held_out - self.held_out[:1]),
            ):
                found[name], found[f"{name}_se"] = _means(values)
        return found

    @property
    def closed(self) -> bool:
        """Whether leaving out needed no weights at any scale."""
        return self.loo is not None and all(score.closed for score in self.loo)

    @property
    def critical_scale(self) -> float:
        """Last scale before the first to predict held-out data worse by over one standard error (T8)."""
        return self._critical("score_difference")

    @property
    def critical_scale_loo(self) -> float:
        """The same by leave-one-out: defined without held-out data; nan for a shell."""
        return self._critical("loo_difference")

    @property
    def reliable(self) -> bool:
        """Whether every Pareto k is good at every scale; True where nothing was left out."""
        return all(score.reliable for score in self.loo or ())

    @property
    def status(self) -> str:
        """A sentence for the reader."""
        if self.loo is None:
            return "An information shell's draws are no posterior: held-out score only."
        if self.closed:
            return f"Leave-one-out is in closed form at all {len(self.loo)} scales."
        bad = [score for score in self.loo if score.bad]
        if not bad:
            limit = min(score.good_k for score in self.loo)
            return f"No Pareto k exceeds {limit:.2f} at any of {len(self.loo)} scales."
        worst = max(score.worst_k for score in bad)
        return (
            f"Leave-one-out cannot be relied on at {len(bad)} of {len(self.loo)} scales: Pareto k up to "
            f"{worst:.2f}, at most {max(score.bad for score in bad)} observations above {bad[0].good_k:.2f}."
        )

    def _critical(self, name: str) -> float:
        """Return the critical scale by a difference, nan without it."""
        variables = self.variables
        if name not in variables:
            return math.nan
        return critical_scale(self.scales, variables[name].tolist(), variables[f"{name}_se"].tolist())


def predictions_along(
    posteriors: Flow | Iterable[xr.DataTree],
    *,
    scales: Sequence[float] | None = None,
    shell: bool = False,
    left_out: Floats | None = None,
) -> Predictions:
    """Score the posteriors of a flow.

    Parameters
    ----------
    posteriors
        A flow, of which nothing else need be said: its start comes first (scale nan) if its scales begin
        elsewhere. Or one tree per scale, the unflowed posterior (T = n) first; may be a generator, so that
        only one need be in memory. With ``log_likelihood`` (not for a shell) and, for held-out scores,
        ``predictions_log_likelihood``.
    scales
        Coordinates; default: each tree's T.
    shell
        Whether the draws cannot be scored by leaving rows out (those of an information shell are no
        posterior): held-out scores only.
    left_out
        log p(y_i | the others), (posteriors, n), where it is known in closed form.

    Raises
    ------
    ValueError
        No posterior; a shell without held-out data; a flow that nothing can score; else as :func:`loo_of`.
    """
    from brg_prob.flow.flow import Flow

    if isinstance(posteriors, Flow):
        return _of_flow(posteriors)
    found, loo, held_out = [], [], []
    for number, tree in enumerate(posteriors):
        found.append(float(tree.attrs.get("observations", math.nan)))
        known = None if left_out is None else left_out[number]
        if not shell:
            loo.append(loo_of(tree) if known is None else closed_loo(known, tree))
        density = held_out_density(tree)
        if density is not None:
            held_out.append(density)
        elif shell:
            raise ValueError(
                "a shell's draws are no posterior, so only held-out data can score them; "
                "hold some out (--held-out)"
            )
    if not found:
        raise ValueError("there is no posterior to be scored; give one per scale")
    own = tuple(found) if scales is None else tuple(float(scale) for scale in scales)
    if len(own) != len(found):
        raise ValueError(f"{len(own)} scales for {len(found)} posteriors; one each is needed")
    return Predictions(own, None if shell else tuple(loo), np.stack(held_out) if held_out else None)


def _of_flow(flow: Flow) -> Predictions:
    """Return the scores along a flow; ValueError where there is nothing to score it by."""
    from brg_prob.flow.flow_summary import scores_of

    scored, why_not = scores_of(flow, flow.posteriors(whole=False))
    if scored is None:
        raise ValueError(f"this flow has no scores: {why_not.rstrip('.')}; hold data out (fit(held_out=…))")
    return scored


def compare_scales(flow: Predictions | xr.Dataset) -> pd.DataFrame:
    """Return the comparison table of scales, a row each, in the order of the flow.

    Parameters
    ----------
    flow
        From :func:`predictions_along`, or a run's group ``flow`` (dataset) that holds its variables.

    Returns
    -------
    pandas.DataFrame
        Columns ``T`` (or ``scale`` where raw units have no T), ``elpd_loo``, ``se``, ``difference``, ``dse``,
        ``worst_k``, ``bad_k``, ``held_out``, ``held_out_se``, ``held_out_difference``, ``held_out_dse``;
        those without values are left out. A last column ``worse`` says whether the scale predicts worse than
        the first by more than one standard error: by held-out data if there are any, else by leave-one-out.
        One row has no standard error, and without one there is no such column.
    """
    if isinstance(flow, Predictions):
        variables, scales, name = flow.variables, np.array(flow.scales), "T"
    else:
        names = [name for name in _COLUMNS.values() if name in flow]
        variables = {each: np.asarray(flow[each].values, dtype=float) for each in names}
        by_observations = "observations" in flow and np.isfinite(flow["observations"].values).any()
        scales = np.asarray(flow["observations" if by_observations else "scale"].values, dtype=float)
        name = "T" if by_observations else "scale"
    table = pd.DataFrame({name: scales})
    for column, variable in _COLUMNS.items():
        if variable in variables and np.isfinite(variables[variable]).any():
            table[column] = variables[variable]
    by = ("held_out_difference", "held_out_dse") if "held_out_difference" in table else ("difference", "dse")
    if {*by} <= {*table}:
        table["worse"] = ~(table[by[0]] >= -table[by[1]])
    return table


def _means(values: Floats) -> tuple[Floats, Floats]:
    """Return means over observations and their standard errors."""
    total, error = sum_and_error(values)
    return total / values.shape[1], error / values.shape[1]
