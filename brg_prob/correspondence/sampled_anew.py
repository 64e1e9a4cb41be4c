"""A Gaussian flow of draws held against the posterior sampled anew at every T (T6, T18c, T18d).

An approximation check: diffusion moves draws as if the model were linear, tempering samples them. Two tests
share the level: rank scores of every parameter and every Fisher direction, and the energy distance of the
joint law. What "agrees" means is neither: that intervals of every parameter's place and spread lie within
tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import Floats, holm
from brg_prob.correspondence.agreement import PLACE, SPREAD
from brg_prob.correspondence.marginals import Compared, Marginals
from brg_prob.correspondence.rank_scores import SCORES, smallest_detectable_place, smallest_detectable_ratio
from brg_prob.correspondence.statistics import MAXIMUM_R_HAT, MINIMUM_ESS, Verdict
from brg_prob.correspondence.two_sample import TwoSample, energy_distance
from brg_prob.correspondence.verdicts import Check, Checks, check_tree, overall
from brg_prob.flow import Flow
from brg_prob.results import build_tree

SHIFT_TOLERANCE = PLACE
"""Shift, in standard deviations, that a flow may be off: a central 95 % interval then covers 94 %."""
SAMPLED_ANEW = "the posterior sampled anew at every T (T6)"
_NAMED = 4
"""Rejected marginals written out; the rest are counted."""


def check_against_tempering(
    flow: Flow,
    truth: Flow,
    *,
    tolerance: float = SHIFT_TOLERANCE,
    spread: float = SPREAD,
    level: float = 0.05,
    key: Array,
) -> Checks:
    """Test whether a flow's draws have the law of the posterior at every T (T6, T18c, T18d).

    Parameters
    ----------
    flow
        Draws moved along Fisher modes.
    truth
        The same model's draws from an engine run at every T, at the same scales.
    tolerance
        Largest shift of a parameter that still agrees, in its standard deviations.
    spread
        Largest ratio of its standard deviations that still agrees.
    level
        Probability of an inconsistent verdict when the hypothesis holds, over both tests and all scales.
    key
        Of the permutations.

    Returns
    -------
    Checks
        ``each parameter`` and ``joint law``; never consistent where transitions diverged, R-hat ≥ 1.01, an
        ESS ≤ 400, or both sides hold the very same draws at every scale: those of T = n are not tested.
        ``tree`` with groups ``checks``; ``distance``: size, equivalent_shift, null_size, null_shift
        (that which equal laws stay below with probability .95), smallest_detectable, p_value and rejected
        (0 or 1, by Holm) by scale, NaN and zero size where nothing is tested; ``agreement``: log_ratio, shift
        and half the widths of their simultaneous intervals by scale and ``parameter``, and ``score_z`` by
        scale, ``score`` and ``along`` (parameters, then directions).

    Raises
    ------
    ValueError
        Flows at different scales, or of different numbers of coordinates.
    """
    scales = tuple(float(scale) for scale in flow.scales)
    if not np.array_equal(scales, np.asarray(truth.scales, dtype=float)):
        raise ValueError("flow and truth are at different scales; give both the same scales")
    joint: list[TwoSample | None] = []
    marginals: list[Marginals | None] = []
    directions = np.asarray(flow.directions, dtype=float)
    options: dict[str, Any] = {"independent1": flow.independent, "independent2": truth.independent}
    permuted = {
        "permutations": max(999, math.ceil(8 * len(scales) / level)),
        "level": level / (2 * len(scales)),
        "chains1": flow.chains,
        "chains2": truth.chains,
    }
    for number, (z1, z2) in enumerate(zip(flow.z(), truth.z(), strict=True)):
        first, second = np.asarray(z1, dtype=float), np.asarray(z2, dtype=float)
        if first.shape[1] != second.shape[1]:
            raise ValueError(
                f"draws have {first.shape[1]} and {second.shape[1]} coordinates; compare one model's"
            )
        if np.array_equal(first, second):
            joint.append(None)
            marginals.append(None)
            continue
        own = permuted | options | {"key": jax.random.fold_in(key, number)}
        joint.append(energy_distance(first, second, **own))
        one, two = (z.reshape(each.chains, -1, z.shape[1]) for z, each in ((first, flow), (second, truth)))
        marginals.append(Marginals.of(one, two, directions, level=level, **options))
    labels = (*flow.labels, *(f"direction {at + 1}" for at in range(len(directions))))
    compared = Compared(labels, tuple(marginals), level / 2, spread, tolerance)
    found = _Found(scales, tuple(joint), compared, level / 2, flow.divergences + truth.divergences)
    checks = (found.each_parameter(), found.joint_law())
    verdict = overall(checks)
    attrs = {"verdict": verdict, "tolerance": tolerance, "spread_tolerance": spread, "level": level}
    tree = check_tree(list(checks), scales, attrs)
    tree["distance"] = found.distances()
    tree["agreement"] = _agreement(compared, scales)
    return Checks(tree, verdict, checks, SAMPLED_ANEW)


def _agreement(compared: Compared, scales: Sequence[float]) -> xr.DataTree:
    """Return the group ``agreement``."""
    columns = compared.table()
    size = columns["shift"].shape[1]
    dims = {name: ["scale", "parameter"] for name in columns} | {"score_z": ["scale", "score", "along"]}
    coords = {
        "scale": np.asarray(scales),
        "parameter": np.array(compared.labels[:size], dtype=str),
        "along": np.array(compared.labels, dtype=str),
        "score": np.array(SCORES, dtype=str),
    }
    tolerances = {"spread": compared.spread, "place": compared.place, "level": compared.level}
    return build_tree(
        {"agreement": columns}, dims=dims, coords=coords, group_attrs={"agreement": tolerances}
    ).children["agreement"]


@dataclass(frozen=True)
class _Found:
    """What the two tests found at all scales.

    Attributes
    ----------
    scales
        T.
    joint
        Energy distances by scale, None where both sides hold the very same draws.
    compared
        The marginals.
    level
        Of each of the two tests.
    diverged
        Transitions that diverged, on either side.
    """

    scales: tuple[float, ...]
    joint: tuple[TwoSample | None, ...]
    compared: Compared
    level: float
    diverged: int

    def each_parameter(self) -> Check:
        """Return the check of every parameter and every direction by itself, and of their closeness."""
        compared = self.compared
        rejected, differs = compared.rejected(), compared.differs()
        ess1, ess2, usable = self._sizes()
        place = ratio = statistic = math.nan
        detail = "both sides hold the very same draws at every scale"
        p_values = np.full(len(self.scales), math.nan)
        if compared.tested:
            one = self.level / compared.count
            place = smallest_detectable_place(ess1, ess2, one)
            ratio = smallest_detectable_ratio(ess1, ess2, one)
            adjusted = compared.adjusted
            p_values[compared.tested] = adjusted.min(axis=(1, 2))
            loud = np.stack([np.abs(m.z).max() for m in compared.marginals if m is not None])
            statistic = float(loud.max())
            detail = self._marginal_detail(rejected, differs, place, ratio)
        verdict: Verdict = "undetermined"
        if differs or compared.far():
            verdict = "inconsistent"
        elif usable and compared.close():
            verdict = "consistent"
        return Check(
            name="each parameter",
            hypothesis="each parameter and each Fisher direction has its law in the posterior sampled at T",
            role="correspondence",
            statistic=statistic,
            p_value=float(np.nanmin(p_values)) if compared.tested else math.nan,
            smallest_detectable=place,
            verdict=verdict,
            detail=detail,
            scale_p_values=p_values,
            unit="sd",
            where=self._named(differs)
            if differs
            else ", ".join(self._apart(*far) for far in compared.far()[:_NAMED]),
            scales_tested=len(compared.tested),
        )

    def joint_law(self) -> Check:
        """Return the check of the joint law, by the energy distance."""
        p_values = np.array([math.nan if test is None else test.p_value for test in self.joint])
        tests = [test for test in self.joint if test is not None]
        adjusted = holm(p_values)
        rejected = np.flatnonzero(adjusted <= self.level)  # NaN is not
        detectable = max((test.smallest_detectable for test in tests), default=math.nan)
        verdict: Verdict = "undetermined"
        if rejected.size:
            verdict = "inconsistent"
        elif tests and self._sizes()[2]:
            verdict = "consistent"
        sizes = np.array([-1.0 if test is None else test.size for test in self.joint])
        return Check(
            name="joint law",
            hypothesis="the flow's draws have the law of the posterior sampled anew at T observations",
            role="correspondence",
            statistic=float(max(sizes.max(), 0.0)),
            p_value=float(np.nanmin(adjusted)) if tests else math.nan,
            smallest_detectable=detectable,
            verdict=verdict,
            detail=self._joint_detail(rejected.tolist(), detectable, sizes),
            scale_p_values=p_values,
            unit="sd",
            where=", ".join(map(self._distance, rejected.tolist())),
            scales_tested=len(tests),
        )

    def distances(self) -> xr.DataTree:
        """Return the group ``distance``."""
        same = dict.fromkeys(("null_size", "null_shift", "smallest_detectable", "p_value"), math.nan)
        same |= {"size": 0.0, "equivalent_shift": 0.0}
        columns: dict[str, Floats] = {
            name: np.array([value if test is None else getattr(test, name) for test in self.joint])
            for name, value in same.items()
        }
        columns["rejected"] = (holm(columns["p_value"]) <= self.level).astype(int)
        dims = {name: ["scale"] for name in columns}
        coords = {"scale": np.asarray(self.scales)}
        return build_tree({"distance": columns}, dims=dims, coords=coords).children["distance"]

    def _sizes(self) -> tuple[float, float, bool]:
        """Return the smallest effective sizes of the two sides, and whether the draws may be trusted."""
        apart = [one.apart for one in self.compared.marginals if one is not None]
        ess1, ess2 = (min((getattr(a, name) for a in apart), default=math.nan) for name in ("ess1", "ess2"))
        r_hat = max((a.r_hat for a in apart), default=math.nan)
        usable = r_hat < MAXIMUM_R_HAT and min(ess1, ess2) > MINIMUM_ESS and not self.diverged
        return ess1, ess2, usable

    def _marginal_detail(
        self,
        rejected: list[tuple[int, int, int]],
        differs: list[tuple[int, int, int]],
        place: float,
        ratio: float,
    ) -> str:
        compared, (at, k) = self.compared, self.compared.largest()
        drawn = self._sizes()
        said = [
            f"{len(compared.labels)} parameters and directions at {len(compared.tested)} scales, four scores "
            f"each (Holm, level {self.level:.2g}), ESS ≥ {min(drawn[:2]):.0f}"
        ]
        if differs:
            said.append(f"differs in {self._named(differs)}")
        elif rejected:
            said.append(f"told apart, but within tolerance: {self._named(rejected)}")
        said.append(f"farthest is {self._apart(at, k)}")
        said.append(f"alone a shift of {place:.2g} sd or a spread {ratio:.2f} times as large would be found")
        return "; ".join(said) + self._divergences()

    def _joint_detail(self, rejected: list[int], detectable: float, sizes: Floats) -> str:
        tests = [test for test in self.joint if test is not None]
        if not tests:
            return "both sides hold the very same draws at every scale"
        ess = min(min(test.ess1, test.ess2) for test in tests)
        where = "rejected at none"
        if rejected:
            where = f"the flow is not to be trusted at {', '.join(map(self._distance, rejected))}"
        return (
            f"{len(tests)} scales (Holm, level {self.level:.2g}), ESS ≥ {ess:.0f}; {where}; largest at "
            f"{self._distance(int(sizes.argmax()))}; a shift of {detectable:.2g} sd along one direction "
            "would have been found" + self._divergences()
        )

    def _divergences(self) -> str:
        return f"; {self.diverged} transitions diverged" if self.diverged else ""

    def _named(self, found: list[tuple[int, int, int]]) -> str:
        """Return what is rejected in words: the loudest score of each coordinate, where, and by how much."""
        first = {k: (at, score) for at, score, k in reversed(found)}
        order = list(dict.fromkeys(k for _, _, k in found))
        said = [f"{SCORES[first[k][1]]} of {self._apart(first[k][0], k)}" for k in order[:_NAMED]]
        more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
        return ", ".join(said) + more

    def _apart(self, at: int, k: int) -> str:
        """Return a coordinate, its scale, and how far the two sides are apart there."""
        marginal, label = self.compared.marginals[at], self.compared.labels[k]
        assert marginal is not None
        where = f"{label} at T = {self.scales[at]:.4g}"
        if k >= marginal.apart.shift.size:
            return where
        ratio = math.exp(marginal.apart.log_ratio[k]) if marginal.apart.log_ratio[k] < 700 else math.inf
        return f"{where} (spread {ratio:.2f} times, shift {marginal.apart.shift[k]:+.2f} sd)"

    def _distance(self, index: int) -> str:
        test = self.joint[index]
        assert test is not None
        shift = f"a shift of {test.equivalent_shift:.2g} sd"
        return f"T = {self.scales[index]:.4g} (size {test.size:.2g}, {shift})"


__all__ = ["SAMPLED_ANEW", "SHIFT_TOLERANCE", "check_against_tempering"]
