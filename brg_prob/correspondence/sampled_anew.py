"""A Gaussian flow of draws held against the posterior sampled anew at every T (T6, T18)."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import Floats, holm
from brg_prob.correspondence.statistics import judge
from brg_prob.correspondence.two_sample import TwoSample, energy_distance
from brg_prob.correspondence.verdicts import Check, Checks, check_tree, overall
from brg_prob.flow import Flow
from brg_prob.results import build_tree

SHIFT_TOLERANCE = 0.3
"""Shift, in standard deviations, that a flow may be off: a central 95 % interval then covers 94 %."""
SAMPLED_ANEW = "the posterior sampled anew at every T (T6)"


def check_against_tempering(
    flow: Flow, truth: Flow, *, tolerance: float = SHIFT_TOLERANCE, level: float = 0.05, key: Array
) -> Checks:
    """Test whether a flow's draws have the law of the posterior at every T (T6, T18).

    Parameters
    ----------
    flow
        Draws moved along Fisher modes.
    truth
        The same model's draws from an engine run at every T, at the same scales.
    tolerance
        Largest shift, in standard deviations of a draw, that may go unseen.
    level
        Probability of an inconsistent verdict when the hypothesis holds, over all scales (Holm).
    key
        Of the permutations.

    Returns
    -------
    Checks
        Never consistent where transitions diverged, R-hat ≥ 1.01 or an ESS ≤ 400.
        ``tree`` with groups ``checks`` and ``distance``: size, equivalent_shift, null_size, null_shift
        (that which equal laws stay below with probability .95), smallest_detectable, p_value and rejected
        (0 or 1, by Holm) by scale; NaN and zero size where both hold the very same draws.

    Raises
    ------
    ValueError
        Flows at different scales.
    """
    scales = tuple(float(scale) for scale in flow.scales)
    if not np.array_equal(scales, np.asarray(truth.scales, dtype=float)):
        raise ValueError("flow and truth are at different scales; give both the same scales")
    found: list[TwoSample | None] = []
    options: dict[str, Any] = {
        "chains1": flow.chains,
        "chains2": truth.chains,
        "independent1": flow.independent,
        "independent2": truth.independent,
        "permutations": max(999, math.ceil(4 * len(scales) / level)),
        "level": level / len(scales),
    }
    for number, (first, second) in enumerate(zip(flow.z(), truth.z(), strict=True)):
        same = np.array_equal(np.asarray(first), np.asarray(second))
        own = options | {"key": jax.random.fold_in(key, number)}
        found.append(None if same else energy_distance(first, second, **own))
    diverged = flow.divergences + truth.divergences
    check = _judged(found, scales, tolerance, level, diverged)
    verdict = overall((check,))
    attrs = {"verdict": verdict, "tolerance": tolerance, "level": level}
    tree = check_tree([check], scales, attrs)
    tree["distance"] = _table(found, scales, check.scale_p_values, level)["distance"]
    return Checks(tree, verdict, (check,), SAMPLED_ANEW)


def _table(
    found: list[TwoSample | None], scales: tuple[float, ...], p_values: Floats, level: float
) -> xr.DataTree:
    """Return the group ``distance``."""
    same = dict.fromkeys(("null_size", "null_shift", "smallest_detectable", "p_value"), math.nan)
    same |= {"size": 0.0, "equivalent_shift": 0.0}
    columns = {
        name: np.array([value if test is None else getattr(test, name) for test in found])
        for name, value in same.items()
    }
    columns["rejected"] = (holm(p_values) <= level).astype(int)
    dims = {name: ["scale"] for name in columns}
    return build_tree({"distance": columns}, dims=dims, coords={"scale": np.asarray(scales)})


def _judged(
    found: list[TwoSample | None], scales: tuple[float, ...], tolerance: float, level: float, diverged: int
) -> Check:
    """Return the check over all scales."""
    p_values = np.array([math.nan if test is None else test.p_value for test in found])
    adjusted = holm(p_values)
    tests = [test for test in found if test is not None]
    rejected = np.flatnonzero(adjusted <= level)  # NaN is not
    detectable = max((test.smallest_detectable for test in tests), default=math.nan)
    ess = min((min(test.ess1, test.ess2) for test in tests), default=math.nan)
    verdict = judge(
        rejected=rejected.size > 0,
        smallest_detectable=detectable,
        tolerance=tolerance,
        r_hat=max((test.r_hat for test in tests), default=math.nan),
        effective_size=ess,
    )
    if diverged and verdict == "consistent":
        verdict = "undetermined"

    def at(index: int) -> str:
        test = found[index]
        assert test is not None
        return f"T = {scales[index]:.4g} (size {test.size:.2g}, a shift of {test.equivalent_shift:.2g} sd)"

    sizes = np.array([-1.0 if test is None else test.size for test in found])
    where = f"the flow is not to be trusted at {', '.join(map(at, rejected.tolist()))}"
    detail = f"{len(tests)} scales (Holm, level {level:.2g}), ESS ≥ {ess:.0f}"
    if tests:
        worst = int(np.lexsort((-sizes, np.nan_to_num(p_values, nan=2.0)))[0])
        detail += f"; {where if rejected.size else 'rejected at none'}; largest at {at(int(sizes.argmax()))}"
        detail += f"; a shift of {detectable:.2g} sd along one direction would have been found"
    if diverged:
        detail += f"; {diverged} transitions diverged"
    return Check(
        name="diffusion = tempering",
        hypothesis="the flow's draws have the law of the posterior sampled anew at T observations",
        role="correspondence",
        statistic=float(max(sizes[worst], 0.0)) if tests else 0.0,
        p_value=float(np.nanmin(adjusted)) if tests else math.nan,
        smallest_detectable=detectable,
        verdict=verdict,
        detail=detail,
        scale_p_values=p_values,
        unit="sd",
    )
