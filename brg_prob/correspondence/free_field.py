"""Is this Bayesian renormalization the exact one of a free field? (T9, T18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from brg_prob.correspondence.checks import (
    Demands,
    control_checks,
    data_check,
    finite_size_checks,
    fisher_check,
    fisher_pairs,
    mean_check,
    variance_check,
)
from brg_prob.correspondence.momentum_survey import FiniteSize, Survey, survey
from brg_prob.correspondence.observed_power import TUNABLE
from brg_prob.correspondence.verdicts import Check, Checks, check_table, overall
from brg_prob.erg import FreeTheory
from brg_prob.flow import Flow
from brg_prob.results import build_tree


def check_free_field(
    flow: Flow,
    prediction: FreeTheory,
    *,
    demands: Demands,
    finite_size: FiniteSize | None = None,
    tuned: bool | Sequence[str] = False,
) -> Checks:
    """Test whether a flow is the exact renormalization group's, at every scale (T18).

    Parameters
    ----------
    flow
        From :func:`brg_prob.coarse_grain`, on a full grid of equispaced inputs.
    prediction
        From :func:`brg_prob.erg_prediction`: T9's formulas, which know nothing of the flow.
    demands
        Tolerance, relative for variances and eigenvalues, in standard deviations of a draw for means;
        level; and whether the draws are also held against a wrong mass, a wrong map and a reversed shell.
    finite_size
        ``finite_size(scale)`` returns the covariance (n, n) of the field at the inputs for this
        very network, or (covariance, mean), e.g. T10 with ΦC0Φᵀ for K. Shown beside the
        prediction and tested as a hypothesis of its own.
    tuned
        Which of "mass", "amplitude", "noise" were fitted to these data, or True for all: the
        test of the data's own spectrum is then calibrated by a parametric bootstrap.

    Returns
    -------
    Checks
        ``tree`` with the groups ``theory`` and ``checks``, ``verdict``, ``rows()``, ``status``.

        ``theory``, dimensions (scale, momentum), a momentum per real plane wave: ``momentum``
        |p|; ``predicted``, ``measured`` variance (averaged over outputs) and its ``se``;
        ``mean_predicted``, ``mean_measured``, ``mean_se`` (with a dimension ``output`` where
        there are several); ``finite_size`` where given; ``fisher_predicted``,
        ``fisher_measured`` by momentum.

    Raises
    ------
    ValueError
        Inputs that are no full grid of the prediction's box, an unknown name in ``tuned``.

    Notes
    -----
    Independent draws: exact χ² laws. Chains: laws simulated at the observed effective sample
    size. Cost: one (S, n) × (n, R) product per scale.
    """
    names = (TUNABLE if tuned else ()) if isinstance(tuned, bool) else tuple(tuned)
    if flow.draw_noise is not None:
        prediction = dataclasses.replace(prediction, noise=float(flow.noise))
    samples = survey(flow, prediction, finite_size)
    family = 2 + (1 + samples.finite[0].has_mean if samples.finite else 0)
    demands = dataclasses.replace(demands, family=family)
    checks = [
        variance_check(samples, demands),
        mean_check(samples, demands),
        fisher_check(flow, samples, demands),
        *(finite_size_checks(samples, demands) if samples.finite else []),
        data_check(flow, samples, demands, names),
        *(control_checks(samples, demands) if demands.controls else []),
    ]
    verdict = overall(tuple(checks))
    attrs = {"verdict": verdict, "tolerance": demands.tolerance, "level": demands.level}
    tree = _tree(_theory(flow, samples), checks, samples, attrs)
    return Checks(tree, verdict, tuple(checks))


def _theory(flow: Flow, samples: Survey) -> dict[str, np.ndarray]:
    """Return predicted and measured moments by scale and plane wave."""
    shape = (samples.copies, -1)
    fisher = [pair[: samples.modes.momentum.size] for pair in fisher_pairs(samples, flow.metric)]
    columns: dict[str, list[np.ndarray]] = {}

    def add(name: str, value: np.ndarray) -> None:
        columns.setdefault(name, []).append(value)

    for scale, sample in zip(samples.scales, samples.samples, strict=True):
        predicted = samples.variance(scale)
        add("predicted", predicted.reshape(shape)[0])
        add("measured", sample.variance.reshape(shape).mean(axis=0))
        error = np.square(sample.variance) * 2 / np.maximum(sample.ess_variance - 1, 1)
        add("se", np.sqrt(error.reshape(shape).sum(axis=0)) / samples.copies)
        add("mean_predicted", _by_output(samples.mean(scale), shape))
        add("mean_measured", _by_output(sample.mean, shape))
        add("mean_se", _by_output(np.sqrt(sample.variance / sample.ess_mean), shape))
    for finite in samples.finite:
        add("finite_size", finite.variance)
    stacked = {name: np.stack(values) for name, values in columns.items()}
    return stacked | {
        "momentum": samples.modes.momentum,
        "fisher_predicted": fisher[0],
        "fisher_measured": fisher[1],
    }


def _by_output(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return (R,) for one output, (R, o) for several."""
    return values if shape[0] == 1 else values.reshape(shape).T


def _tree(
    theory: dict[str, np.ndarray], checks: list[Check], samples: Survey, attrs: dict[str, Any]
) -> xr.DataTree:
    """Return the groups ``theory`` and ``checks``."""
    table, note = check_table(checks), samples.modes.aliases.note
    momentum = {name: ["momentum"] for name in theory if theory[name].ndim == 1}
    scaled = {
        name: ["scale", "momentum", "output"][: theory[name].ndim] for name in theory if theory[name].ndim > 1
    }
    return build_tree(
        {"theory": theory, "checks": table},
        dims={
            **momentum,
            **scaled,
            **{name: ["check"] for name in table},
            "scale_p_value": ["check", "scale"],
        },
        coords={"scale": np.asarray(samples.scales)},
        attrs=attrs,
        group_attrs={"checks": attrs, **({"theory": {"aliased_note": note}} if note else {})},
    )


def with_running(found: Checks, flow: Flow, prediction: FreeTheory) -> Checks:
    """Return the checks with the momentum cutoff of each scale and, for a diffusion, the running mass (T9).

    Every mode measures the mass of the data, 1/G_T(p) − 1/G0(p) = M_T²; their mean, weighted by
    the null hypothesis' errors, is shown as m_T² = m² G0(0)/G_T(0).
    """
    tree = found.tree.copy()
    tree["theory"] = xr.DataTree(_running(tree["theory"].to_dataset(), flow, prediction))
    return dataclasses.replace(found, tree=tree)


def _running(theory: xr.Dataset, flow: Flow, prediction: FreeTheory) -> xr.Dataset:
    """Return the group ``theory`` with momentum cutoff and running mass."""
    observations = flow.equivalent_observations
    cutoff = [prediction.shell_cutoff(float(t)) if np.isfinite(t) else np.nan for t in observations]
    theory = theory.assign(momentum_cutoff=("scale", np.asarray(cutoff)))
    if flow.cuts:
        return theory
    bare = prediction.mass**2
    predicted, measured, error = (
        np.asarray(theory[name].values, float) for name in ("predicted", "measured", "se")
    )
    g0 = np.asarray(prediction.g0(theory["momentum"].values), dtype=float)
    use = (g0 > 0) & np.all(predicted > 0, axis=0) & np.all(measured > 0, axis=0)
    relative = error[:, use] / measured[:, use]
    # 1/s of a sample variance s is biased upwards by its relative variance
    data_mass = (1 - relative**2) / measured[:, use] - 1 / g0[use]
    weight = (predicted[:, use] / relative) ** 2
    total = weight.sum(axis=1)
    unit = bare * float(
        prediction.amplitude**2 * prediction.spectrum(np.zeros(()), prediction.mass, prediction.dim)
    )
    running = {
        "": np.asarray([float(prediction.running_mass(t)) ** 2 for t in observations]),
        "_measured": bare + unit * (weight * data_mass).sum(axis=1) / total,
        "_se": unit / np.sqrt(total),
    }
    theory = theory.assign(
        {f"running_mass_squared{part}": ("scale", value) for part, value in running.items()}
    )
    return theory.assign_attrs(mass_squared=bare)
