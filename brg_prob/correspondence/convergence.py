"""Whether draws may be trusted at all, as a check: chains, divergences, guides, weights (T18).

It can make a verdict undetermined, never inconsistent: draws that did not converge say nothing
about the hypothesis.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from brg_prob.correspondence.result import Check, Checks, check_tree, overall
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
        role="correspondence",
        statistic=found.r_hat,
        p_value=math.nan,
        smallest_detectable=math.nan,
        verdict="undetermined" if reasons else "consistent",
        detail=found.status + (f"; {'; '.join(reasons)}" if reasons else ""),
        scale_p_values=np.full(scales, math.nan),
    )


def check_convergence(
    posterior: xr.DataTree, scales: tuple[float, ...], *, tolerance: float = 0.05, level: float = 0.05
) -> Checks:
    """Return the convergence of a posterior as all there is to judge a run by."""
    check = convergence_check(posterior, scales=len(scales))
    attrs = {"verdict": check.verdict, "tolerance": tolerance, "level": level}
    return Checks(check_tree([check], scales, attrs), check.verdict, (check,), "its own convergence")


def with_convergence(found: Checks, posterior: xr.DataTree, scales: tuple[float, ...]) -> Checks:
    """Return checks with that of convergence beside them."""
    checks = (*found.checks, convergence_check(posterior, scales=len(scales)))
    attrs = dict(found.tree["checks"].attrs) | {"verdict": overall(checks)}
    tree = found.tree.copy()
    tree["checks"] = check_tree(checks, scales, attrs)["checks"]
    return Checks(tree, overall(checks), checks, found.against)


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
