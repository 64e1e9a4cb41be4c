"""The numbers of a model on real data, read off its tree, and the sentences that hold for them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import brg_prob
from brg_prob import NUTS
from brg_prob.arrays import holm
from brg_prob.data_record import Record
from brg_prob.diagnostics import convergence
from brg_prob.headlines import DIFFERS, FLOW, SAMPLED, row_state
from brg_prob.summary import TEMPERED, answers, branches, check_rows

Floats = NDArray[np.float64]
Row = tuple[str, str]
"""A label and what is printed beside it."""

_COLUMNS = (8, 12, 19, 11, 10, 9, 7)
_EVERY, _OFFSET, HELD_OUT = 5, 4, "every fifth row held out"
_LEVEL = 0.025  # half of .05: scores of each parameter have the other half (T18c)


TOY = NUTS(chains=2, warmup=200, warm_warmup=100, chain_method="sequential")
"""How toy sizes are sampled: a program for one chain is compiled in half the time."""


@dataclass(frozen=True, eq=False)
class Study:
    """Data, a model of them, and how it is sampled.

    Attributes
    ----------
    title
        What is studied.
    record
        Where the data come from, and how they are shown.
    network
        The NumPyro model.
    x, y
        All rows, (n, d) and (n,); every fifth is held out.
    engine
        How it is sampled.
    names
        Coordinate such as "slope[3]" → what it multiplies, in words.
    """

    title: str
    record: Record
    network: Any
    x: Floats
    y: Floats
    engine: NUTS
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which rows are held out, (n,)."""
        return np.arange(len(self.y)) % _EVERY == _OFFSET

    def in_words(self, phrase: str) -> str:
        """Return a direction with the names of its coordinates.

        Examples
        --------
        >>> study = Study("", Record(), None, np.zeros((1, 1)), np.zeros(1), NUTS(), {"slope[0]": "age"})
        >>> study.in_words("0.80·slope[0] − 0.60·slope[1]")
        '0.80·age − 0.60·slope[1]'
        """
        return re.sub(r"\w+\[[\d,]+\]", lambda found: self.names.get(found.group(), found.group()), phrase)


@dataclass(frozen=True, eq=False)
class Scales:
    """Figures of the flow at each T, the posterior first.

    Attributes
    ----------
    observations
        T.
    effective
        Σ Tλ/(1 + Tλ).
    loss, loss_error
        Leave-one-out elpd of the posterior sampled anew at T, less that at T = n; nats, with standard error.
    bad
        How many of its Pareto k are too large for it to be relied on.
    missed
        Root mean square over the inputs of the difference between the diffused and the sampled field's mean,
        in standard deviations of the sampled field.
    apart, p_value
        Energy distance of diffused and sampled parameters as a shift in standard deviations, and its p-value;
        nan where both are the same draws (T18).
    """

    observations: Floats
    effective: Floats
    loss: Floats
    loss_error: Floats
    bad: Floats
    missed: Floats
    apart: Floats
    p_value: Floats

    @classmethod
    def of(cls, tree: xr.DataTree) -> Scales:
        """Read the tree of a run: its groups ``flow``, ``tempering/flow`` and ``distance``."""
        flow, truth = tree["flow"].to_dataset(), tree[TEMPERED]["flow"].to_dataset()
        distance = tree["distance"].to_dataset()
        axes = tuple(range(1, truth["field_mean"].ndim))
        off = (flow["field_mean"].values - truth["field_mean"].values) / truth["field_sd"].values
        return cls(
            observations=flow["observations"].values,
            effective=flow["effective_dimension"].values,
            loss=truth["loo_difference"].values,
            loss_error=truth["loo_difference_se"].values,
            bad=truth["pareto_k_bad"].values,
            missed=np.sqrt(np.mean(off**2, axis=axes)),
            apart=distance["equivalent_shift"].values,
            p_value=distance["p_value"].values,
        )

    @property
    def critical(self) -> float:
        """Smallest T before elpd is lower by more than one standard error of the difference (T8)."""
        columns = (self.observations.tolist(), self.loss.tolist(), self.loss_error.tolist())
        return float(brg_prob.critical_scale(*columns))

    @property
    def told_apart(self) -> NDArray[np.bool_]:
        """Where diffused and sampled draws have different laws, at half of level .05 (Holm)."""
        return np.asarray(holm(self.p_value) <= _LEVEL)

    def lines(self) -> list[str]:
        """Return a table of 80 columns."""
        words = ("T", "parameters", "elpd − at n", "mean off", "apart", "p", "bad k")
        lines = ["".join(f"{word:>{size}}" for word, size in zip(words, _COLUMNS, strict=True))]
        for at, scale in enumerate(self.observations):
            same = not math.isfinite(self.p_value[at])
            cells = (
                f"{scale:.4g}",
                f"{self.effective[at]:.2f}",
                f"{self.loss[at]:.1f} ± {self.loss_error[at]:.1f}" if at else "–",
                f"{self.missed[at]:.2f}",
                "–" if same else f"{self.apart[at]:.2f}",
                "–" if same else f"{self.p_value[at]:.2g}",
                f"{self.bad[at]:.0f}",
            )
            lines.append("".join(f"{cell:>{size}}" for cell, size in zip(cells, _COLUMNS, strict=True)))
        return lines


@dataclass(frozen=True, eq=False)
class Figures:
    """The numbers of a run that the scripts print and speak of.

    Attributes
    ----------
    observations, held_out, parameters
        Counts n, rows held out, P.
    eigenvalues
        λ of the metric at the posterior mean, (P,), descending.
    stiff, undetermined
        How many nλ ≥ 1; how many are zero to rounding.
    effective
        Σ nλ/(1 + nλ).
    contraction
        Parameter → 1 − (posterior variance/prior variance) in coordinates where the prior is N(0, 1).
    phrases
        Directions in words, stiffest first.
    conflicts
        Parameters whose mean contradicts the prior.
    scales
        The flow.
    critical
        The run's own critical scale, by held-out data; nan where none is found.
    converged
        What the run says of its draws.
    verdict, checks
        Whether diffusion agrees with its theory (T18a), and the checks as in ``summary.json``.
    """

    observations: int
    held_out: int
    parameters: int
    eigenvalues: Floats
    stiff: int
    undetermined: int
    effective: float
    contraction: dict[str, float]
    phrases: tuple[str, ...]
    conflicts: tuple[str, ...]
    scales: Scales
    critical: float
    converged: str
    verdict: str
    checks: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, tree: xr.DataTree, study: Study) -> Figures:
        """Read the tree of a run of a study."""
        directions, parameters = tree["directions"].to_dataset(), tree["parameters"].to_dataset()
        names = [str(name) for name in parameters["parameter"].values]
        conflict = parameters["conflict"].values == 1
        rows = [row for branch in branches(tree) for row in check_rows(branch)]
        return cls(
            observations=int(np.sum(~study.held_out)),
            held_out=int(np.sum(study.held_out)),
            parameters=int(directions.attrs["parameters"]),
            eigenvalues=np.asarray(directions["eigenvalue"].values, dtype=float),
            stiff=int(directions.attrs["stiff"]),
            undetermined=int(directions.attrs["undetermined"]),
            effective=float(directions.attrs["effective_parameters"]),
            contraction=dict(zip(names, map(float, parameters["contraction"].values), strict=True)),
            phrases=tuple(study.in_words(str(phrase)) for phrase in directions["phrase"].values),
            conflicts=tuple(study.in_words(names[at]) for at in np.flatnonzero(conflict)),
            scales=Scales.of(tree),
            critical=float(tree["flow"].attrs["critical_scale"]),
            converged=convergence(tree).status,
            verdict=str(answers(tree, rows)[FLOW]["state"]),
            checks=tuple(check_rows(tree)),
        )

    def rows(self) -> list[Row]:
        """Return what every script prints."""
        few = ", ".join(f"{value:.3g}" for value in self.eigenvalues[:4])
        rest = f" … {self.eigenvalues[-1]:.3g}" if self.eigenvalues.size > 4 else ""
        zero = f"; {self.undetermined} are zero to rounding" if self.undetermined else ""
        return [
            ("observations", f"{self.observations}, {self.held_out} more held out"),
            ("parameters", str(self.parameters)),
            ("draws", self.converged),
            ("eigenvalues", f"{few}{rest} per observation{zero}"),
            ("stiff directions", f"{self.stiff} (nλ ≥ 1)"),
            ("effective parameters", f"{self.effective:.2f}; by contraction {self.learnt:.2f}"),
            ("stiffest", self.phrases[0]),
            ("second stiffest", self.phrases[min(1, len(self.phrases) - 1)]),
            ("sloppiest", self.phrases[-1]),
            ("critical scale", self._critical()),
            ("prior conflicts", ", ".join(self.conflicts[:4]) or "none"),
            ("verdict on diffusion", self._verdict()),
        ]

    @property
    def learnt(self) -> float:
        """Σ of the contractions: what the draws themselves say was learnt."""
        return sum(self.contraction.values())

    def teaches(self) -> list[str]:
        """Return sentences that hold for these numbers."""
        share = 100 * self.effective / self.parameters
        found = [
            f"At the posterior mean {self.stiff} of {self.parameters} directions are stiff; the effective "
            f"number of parameters is {self.effective:.1f}, {share:.0f} % of their count."
        ]
        positive = self.eigenvalues[self.eigenvalues > 0]
        if positive.size > 1:
            decades = math.log10(positive[0] / positive[-1])
            found.append(f"The spectrum spans {decades:.1f} decades: {self._kind(decades)}.")
        return [*found, self._cost(), self._flow()]

    def _kind(self, decades: float) -> str:
        """Return what such a spectrum is called."""
        if self.stiff == self.parameters:
            return "every direction is told from the prior"
        return "sloppy" if decades > 3 else "not sloppy, but some directions stay at their prior"

    def _verdict(self) -> str:
        """Return whether diffusion follows its theory, and the checks that say so."""
        decided = dict.fromkeys(row["name"] for row in self.checks if row_state(row) == self.verdict)
        return f"{self.verdict} by {', '.join(decided)}" if decided else self.verdict

    def _critical(self) -> str:
        """Return the critical scales, by held-out data and by leave-one-out."""
        own, others = self.scales.critical, self.critical
        first = f"T = {others:.4g} by held-out data" if math.isfinite(others) else "none by held-out data"
        second = f"T = {own:.4g} by leave-one-out" if math.isfinite(own) else "none by leave-one-out"
        return f"{first}, {second}; n = {self.observations}"

    def _cost(self) -> str:
        """Return what flowing costs in prediction, or gains."""
        s = self.scales
        if not np.isfinite(s.loss).all():
            return "Leave-one-out gave no score at some scale, so there is no critical scale by it."
        worst, best = int(np.argmin(s.loss)), int(np.argmax(s.loss - s.loss_error))
        kept = s.effective[int(np.argmin(np.abs(s.observations - s.critical)))]
        found = [
            "Of the scales computed, none below n predicts rows left out as well as n."
            if s.critical >= s.observations[0]
            else f"Down to T = {s.critical:.4g}, where {kept:.1f} effective parameters are left, rows left "
            "out are predicted as well as at n, within one standard error."
        ]
        for at, word in ((worst, "loses"), (best, "gains")):
            change = -s.loss[at] if at == worst else s.loss[at]
            if change > s.loss_error[at]:
                amount = f"{change:.1f} ± {s.loss_error[at]:.1f} nats"
                found.append(f"T = {s.observations[at]:.3g} {word} {amount}.")
        if s.bad.any():
            found.append(f"Rows that weights cannot leave out (Pareto k): up to {s.bad.max():.0f}.")
        return " ".join(found)

    def _flow(self) -> str:
        """Return where the Gaussian flow of the draws may be trusted."""
        s, worst = self.scales, int(np.argmax(self.scales.missed))
        if not np.isfinite(s.p_value).any():
            return "Nothing was sampled anew below n, so diffusion was held against nothing."
        apart, largest = s.observations[s.told_apart], int(np.argmax(s.apart))
        where = f"at T = {', '.join(f'{scale:.3g}' for scale in apart)}" if apart.size else "at no scale"
        sampled = [row for row in self.checks if row["name"] in SAMPLED]
        found = [row["where"] for row in sampled if row_state(row) == DIFFERS and row["name"] != "joint law"]
        weak = [row["smallest_detectable"] for row in sampled]
        verdict = (
            f"there only tempering is to be trusted{f'; {found[0]}' if found else ''}"
            if apart.size or found
            else "diffusion will do"
            if all(row["verdict"] == "consistent" for row in sampled)
            else "whether diffusion will do stays open, as a shift below "
            f"{max(weak):.2f} may have been missed"
        )
        return (
            f"Draws diffused and draws sampled anew are told apart {where} (at most like a shift of "
            f"{s.apart[largest]:.2f} standard deviations, at T = {s.observations[largest]:.3g}), and the "
            f"mean of the field is off by at most {s.missed[worst]:.2f} of its standard deviations, at "
            f"T = {s.observations[worst]:.3g}: {verdict}."
        )
