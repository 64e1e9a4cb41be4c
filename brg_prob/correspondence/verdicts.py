"""What a correspondence test returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from brg_prob.correspondence.statistics import Verdict
from brg_prob.notebook import checks_html, one_line
from brg_prob.results import build_tree
from brg_prob.wording import detectable_deviation

Role = Literal["correspondence", "data", "control"]
Unit = Literal["relative", "sd"]


@dataclass(frozen=True)
class Check:
    """One hypothesis, tested at one or all scales.

    Attributes
    ----------
    name, hypothesis, role
        ``correspondence`` makes the verdict; ``data`` asks whether the data look like the
        prior's; ``control`` is a wrong prediction that must be rejected.
    statistic, p_value
        At the scale that speaks loudest, and Holm's p-value over the scales; p is NaN for a
        comparison without chance.
    smallest_detectable
        The deviation that would have been found with probability .8, in ``unit``.
    verdict
        T18's.
    detail
        A sentence.
    scale_p_values
        Before Holm's correction, (scales,); NaN where there is no such thing.
    unit
        Of ``smallest_detectable``: ``relative`` for variances and eigenvalues, ``sd`` for shifts, in
        standard deviations of a draw.
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
        Of the checks with role ``correspondence``; a control that was not rejected makes it
        ``undetermined``.
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
        """The verdict as a sentence."""
        judged = [check for check in self.checks if check.role == "correspondence"]
        unruly = [
            check.name for check in self.checks if check.role == "control" and check.verdict != "inconsistent"
        ]
        if self.verdict == "inconsistent":
            named = ", ".join(
                f"{c.name} (p = {c.p_value:.2g})" for c in judged if c.verdict == "inconsistent"
            )
            return f"inconsistent: the flow differs from {self.against} in {named}"
        if self.verdict == "consistent":
            found = detectable_deviation([check.row() for check in judged])
            return f"consistent in {len(judged)} checks; {found} would have been found"
        if unruly:
            return f"undetermined: {', '.join(unruly)} was not rejected, the draws cannot tell"
        weak = ", ".join(check.name for check in judged if check.verdict == "undetermined")
        return f"undetermined: not rejected, but the draws do not suffice for {weak}"


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
    verdicts = {check.verdict for check in checks if check.role == "correspondence"}
    if "inconsistent" in verdicts:
        return "inconsistent"
    controls = all(check.verdict == "inconsistent" for check in checks if check.role == "control")
    return "consistent" if verdicts == {"consistent"} and controls else "undetermined"
