"""What a correspondence test returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from brg_prob.correspondence.statistics import Verdict
from brg_prob.headlines import Judged, flow_against_theory
from brg_prob.notebook import checks_html, one_line
from brg_prob.results import build_tree

Role = Literal["correspondence", "data", "control", "draws"]
Unit = Literal["relative", "sd"]


@dataclass(frozen=True)
class Check:
    """One hypothesis, tested at one or all scales.

    Attributes
    ----------
    name, hypothesis, role
        ``correspondence`` holds the flow against theory; ``data`` the data against the model; ``control``
        is a wrong prediction that must be rejected; ``draws`` asks whether the draws can be trusted at all.
    statistic, p_value
        At the scale that speaks loudest, and Holm's p-value over the scales; p is NaN for a
        comparison without chance.
    smallest_detectable
        The deviation, common to all modes, that would have been found with probability .8, in ``unit``.
    verdict
        T18's.
    detail
        A sentence.
    scale_p_values
        Before Holm's correction, (scales,); NaN where there is no such thing.
    unit
        Of deviations: ``relative`` for variances and eigenvalues, ``sd`` for shifts, in standard deviations
        of a draw.
    smallest_detectable_single
        The same as ``smallest_detectable``, of one mode alone (T18b).
    observed, observed_single
        The largest deviation seen at any scale: common to all modes, and of the mode that speaks loudest.
    where
        What deviates most, at which scale, by how much: a phrase.
    scales_tested
        At how many scales there was something to test; None: at all.
    """

    name: str
    hypothesis: str
    role: Role
    statistic: float
    p_value: float
    smallest_detectable: float
    verdict: Verdict
    detail: str
    scale_p_values: np.ndarray
    unit: Unit = "relative"
    smallest_detectable_single: float = math.nan
    observed: float = math.nan
    observed_single: float = math.nan
    where: str = ""
    scales_tested: int | None = None

    def row(self) -> dict[str, Any]:
        """Return the check under the keys of summary.json, and its role."""
        return {
            "name": self.name,
            "hypothesis": self.hypothesis,
            "statistic": self.statistic,
            "p_value": self.p_value,
            "smallest_detectable": self.smallest_detectable,
            "verdict": self.verdict,
            "detail": self.detail,
            "role": self.role,
            "unit": self.unit,
            "smallest_detectable_single": self.smallest_detectable_single,
            "observed": self.observed,
            "observed_single": self.observed_single,
            "where": self.where,
            "scales_tested": len(self.scale_p_values) if self.scales_tested is None else self.scales_tested,
        }


@dataclass(frozen=True, eq=False)
class Checks:
    """Whether a flow is the exact renormalization group's.

    Attributes
    ----------
    tree
        Groups ``checks`` and, where there is a field theory, ``theory`` (predicted and measured, mode by
        mode).
    verdict
        Of the checks with roles ``correspondence`` and ``draws``; a control that was not rejected makes it
        ``undetermined``. Kept for a release: the answers are :mod:`brg_prob.headlines`'.
    checks
        One by one.
    against
        What the flow was held against, in words.
    """

    tree: xr.DataTree
    verdict: Verdict
    checks: tuple[Check, ...]
    against: str = "the exact renormalization group"

    def without(self, role: Role) -> Checks:
        """Return the same without the checks of a role; the verdict stays."""
        kept = [number for number, check in enumerate(self.checks) if check.role != role]
        tree = self.tree.copy()
        tree["checks"] = xr.DataTree(self.tree["checks"].to_dataset().isel(check=kept))
        return dataclasses.replace(self, tree=tree, checks=tuple(self.checks[number] for number in kept))

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per check: name, hypothesis, statistic, p_value, …, role."""
        return [check.row() for check in self.checks]

    def __repr__(self) -> str:
        """Return one line: how many checks, and their verdict."""
        return one_line("Checks", f"{len(self.checks)} checks", self.status)

    def _repr_html_(self) -> str:
        """Return a small table for notebooks."""
        return checks_html(self.rows(), self.status)

    @property
    def status(self) -> str:
        """Whether the flow agrees with its theory, and the sentence that says so."""
        attrs = self.tree["checks"].attrs
        judged = Judged(
            rows=self.rows(),
            drawn="posterior",
            flows=("the flow",),
            scales=len(self.checks[0].scale_p_values) if self.checks else 0,
            tolerance=float(attrs.get("tolerance", math.nan)),
            place=float(attrs.get("tolerance", math.nan)),
            spread=float(attrs.get("spread_tolerance", math.nan)),
            level=float(attrs.get("level", math.nan)),
            theory=self.against,
        )
        found = flow_against_theory(judged)
        return f"{found['state']}: {found['sentence']}"


def check_table(checks: Sequence[Check]) -> dict[str, np.ndarray]:
    """Return the variables of the group ``checks``: a column per key, and ``scale_p_value``."""
    rows = [check.row() for check in checks]
    table = {key: np.asarray([row[key] for row in rows]) for key in rows[0]}
    return table | {"scale_p_value": np.stack([check.scale_p_values for check in checks])}


def check_tree(checks: Sequence[Check], scales: Sequence[float], attrs: dict[str, Any]) -> xr.DataTree:
    """Return the group ``checks`` alone."""
    table = check_table(checks)
    return build_tree(
        {"checks": table},
        dims={name: ["check"] for name in table} | {"scale_p_value": ["check", "scale"]},
        coords={"scale": np.asarray(scales)},
        attrs=attrs,
        group_attrs={"checks": attrs},
    )


def joined(found: Sequence[Checks], *, tolerance: float, level: float) -> Checks:
    """Return the checks of several hypotheses of one flow as one, with the verdict of all."""
    checks = tuple(check for one in found for check in one.checks)
    verdict = overall(checks)
    attrs = {"verdict": verdict, "tolerance": tolerance, "level": level}
    tree = check_tree(checks, np.asarray(found[0].tree["checks"].to_dataset()["scale"]).tolist(), attrs)
    for one in found:
        for name, group in one.tree.children.items():
            if name != "checks":
                tree[name] = group
    return Checks(tree, verdict, checks, " and ".join(one.against for one in found))


def overall(checks: tuple[Check, ...]) -> Verdict:
    """Return the verdict of all checks together."""
    verdicts = {check.verdict for check in checks if check.role in ("correspondence", "draws")}
    if "inconsistent" in verdicts:
        return "inconsistent"
    controls = all(check.verdict == "inconsistent" for check in checks if check.role == "control")
    return "consistent" if verdicts == {"consistent"} and controls else "undetermined"
