"""What a correspondence test returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from brg_prob.correspondence.statistics import Verdict
from brg_prob.notebook import checks_html, one_line

Role = Literal["correspondence", "data", "control"]


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
        The deviation that would have been found with probability .8.
    verdict
        T18's.
    detail
        A sentence.
    scale_p_values
        Before Holm's correction, (scales,); NaN where there is no such thing.
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
        }


@dataclass(frozen=True, eq=False)
class Checks:
    """Whether a flow is the exact renormalization group's.

    Attributes
    ----------
    tree
        Groups ``theory`` (predicted and measured, mode by mode) and ``checks``.
    verdict
        Of the checks with role ``correspondence``; a control that was not rejected makes it
        ``undetermined``.
    checks
        One by one.
    """

    tree: xr.DataTree
    verdict: Verdict
    checks: tuple[Check, ...]

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
            return f"inconsistent: the flow differs from the exact renormalization group in {named}"
        if self.verdict == "consistent":
            size = max(check.smallest_detectable for check in judged)
            return (
                f"consistent in {len(judged)} checks; a deviation of {100 * size:.2g} % would have been found"
            )
        if unruly:
            return f"undetermined: {', '.join(unruly)} was not rejected, the draws cannot tell"
        weak = ", ".join(check.name for check in judged if check.verdict == "undetermined")
        return f"undetermined: not rejected, but the draws do not suffice for {weak}"


def overall(checks: tuple[Check, ...]) -> Verdict:
    """Return the verdict of all checks together."""
    verdicts = {check.verdict for check in checks if check.role == "correspondence"}
    if "inconsistent" in verdicts:
        return "inconsistent"
    controls = all(check.verdict == "inconsistent" for check in checks if check.role == "control")
    return "consistent" if verdicts == {"consistent"} and controls else "undetermined"
