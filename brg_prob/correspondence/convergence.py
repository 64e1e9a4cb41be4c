"""Whether draws may be trusted at all, as a check: chains, divergences, guides, weights (T18).

Draws that did not converge say nothing about a hypothesis: whatever the other checks found of them,
the verdict is undetermined. Leave-one-out weights that cannot be relied on only forbid "consistent".
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from brg_prob.correspondence.sampled_anew import SHIFT_TOLERANCE
from brg_prob.correspondence.verdicts import Check, Checks, check_tree, overall
from brg_prob.diagnostics import Convergence, convergence

LARGEST_R_HAT, SMALLEST_ESS, LARGEST_K = 1.01, 400.0, 0.7


def convergence_check(posterior: xr.DataTree, *, scales: int = 1) -> Check:
    """Return the check that the draws of a posterior converged.

    Parameters
    ----------
    posterior
        From :func:`brg_prob.fit`. Its attributes ``converged`` (0 or 1) and ``pareto_k`` are heeded where an
        engine optimises or approximates.
    scales
        Number of scales of the flow beside which the check stands.

    Returns
    -------
    Check
        Name ``convergence``; statistic R-hat (nan for independent draws), no p-value. Consistent if R-hat <
        1.01, both effective sample sizes > 400, no transition diverged, the optimiser converged and the
        guide's Pareto k < 0.7; else undetermined.
    """
    found = convergence(posterior)
    reasons = _reasons(found, posterior)
    return Check(
        name="convergence",
        hypothesis=(
            f"R-hat < {LARGEST_R_HAT}, ESS > {SMALLEST_ESS:.0f}, no divergences, Pareto k < {LARGEST_K}"
        ),
        role="draws",
        statistic=found.r_hat,
        p_value=math.nan,
        smallest_detectable=math.nan,
        verdict="undetermined" if reasons else "consistent",
        detail=found.status + (f"; {'; '.join(reasons)}" if reasons else ""),
        scale_p_values=np.full(scales, math.nan),
    )


def leave_one_out_check(flow: xr.Dataset) -> Check:
    """Return the check that leave-one-out prediction can be relied on at every scale of a flow.

    Parameters
    ----------
    flow
        A group ``flow`` with ``pareto_k_max`` and ``pareto_k_bad`` by scale.

    Returns
    -------
    Check
        Name ``leave-one-out``; statistic the largest Pareto k, no p-value. Consistent if none exceeds its
        bound for this number of draws (:func:`brg_prob.flow.leave_one_out.good_k`), else undetermined.
    """
    bad = np.asarray(flow["pareto_k_bad"].values, dtype=float)
    largest = np.asarray(flow["pareto_k_max"].values, dtype=float)
    worst = float(np.nanmax(largest)) if np.isfinite(largest).any() else math.nan
    scales = int((bad > 0).sum())
    where = (
        f"{int(bad.max())} observations above it at the worst of {scales} scales: rows held out (--held-out) "
        "score these instead"
    )
    return Check(
        name="leave-one-out",
        hypothesis="no Pareto k of the leave-one-out weights exceeds its bound at any scale",
        role="draws",
        statistic=worst,
        p_value=math.nan,
        smallest_detectable=math.nan,
        verdict="undetermined" if bad.any() else "consistent",
        detail=f"largest Pareto k {worst:.2f}; {where if bad.any() else 'none above its bound'}",
        scale_p_values=np.full(flow.sizes["scale"], math.nan),
    )


def with_convergence(
    found: Checks | None,
    posterior: xr.DataTree,
    flow: xr.Dataset,
    *,
    tolerance: float = SHIFT_TOLERANCE,
    level: float = 0.05,
    listed: bool = True,
) -> Checks | None:
    """Return checks with those of convergence and of leave-one-out weights beside them.

    Parameters
    ----------
    found
        What the flow was held against; None: its own convergence is all there is to judge by.
    posterior, flow
        The draws, and the group ``flow`` made of them.
    listed
        Whether they are listed; False: they stand beside another flow of the same draws, and draws that did
        not converge make this verdict undetermined all the same.

    Returns
    -------
    Checks or None
        Independent draws of no optimiser or approximation have nothing to converge.
    """
    scales = tuple(float(scale) for scale in flow["scale"].values)
    converged = convergence_check(posterior, scales=len(scales)) if _may_fail(posterior) else None
    own = [] if converged is None else [converged]
    own += [leave_one_out_check(flow)] if "pareto_k_bad" in flow else []
    checks = (*(found.checks if found else ()), *(own if listed else ()))
    if not checks or (found is not None and not own):
        return found
    trusted = converged is None or converged.verdict == "consistent"
    verdict = overall(checks) if trusted else "undetermined"
    attrs = {"tolerance": tolerance, "level": level, "verdict": verdict}
    tree = check_tree(checks, scales, attrs) if found is None else found.tree.copy()
    tree["checks"] = check_tree(checks, scales, attrs)["checks"]
    return Checks(tree, verdict, checks, found.against if found else "its own convergence")


def _may_fail(posterior: xr.DataTree) -> bool:
    """Return whether the draws are chains, or say of themselves how well they were made."""
    chains = not int(posterior.attrs.get("independent", 0))
    return chains or "converged" in posterior.attrs or "pareto_k" in posterior.attrs


def _reasons(found: Convergence, posterior: xr.DataTree) -> list[str]:
    """Return why the draws are not to be trusted; empty if they are."""
    attrs = posterior.attrs
    reasons = []
    if not found.independent:
        if not found.r_hat < LARGEST_R_HAT:
            reasons.append(
                f"R-hat is {found.r_hat:.3f}" if math.isfinite(found.r_hat) else "one chain has no R-hat"
            )
        smallest = min(found.ess_bulk, found.ess_tail)
        if not smallest > SMALLEST_ESS:
            reasons.append(f"the smallest effective sample size is {smallest:.0f}: more draws are needed")
    elif not found.draws > SMALLEST_ESS:
        reasons.append(f"{found.draws} draws are too few; {SMALLEST_ESS:.0f} are needed")
    if found.divergences:
        reasons.append(f"{found.divergences} transitions diverged: reparameterise, or raise target_accept")
    if not int(attrs.get("converged", 1)):
        reasons.append("the optimisation did not converge")
    k = float(attrs.get("pareto_k", math.nan))
    if k >= LARGEST_K:
        reasons.append(f"Pareto k of the approximation is {k:.2f}: it misses part of the posterior")
    return reasons
