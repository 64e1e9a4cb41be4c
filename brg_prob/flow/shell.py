"""BRG as an information shell (T8): directions below the cutoff are coarse-grained, the rest kept.

Two bases. ``eigen``: modes of the whitened metric, cutoff Λ_I = 1/T. ``parameter``: the
diagonal of the metric in raw readout units, the published experiment ([BRG-NNFT],
arXiv:2405.17538). Two actions. ``reset`` redraws a direction from its prior, once, at the
first cutoff that exceeds it; ``drop`` sets it to the prior mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import xarray as xr

from brg_prob.charts import Chart
from brg_prob.charts.chart import Unit
from brg_prob.flow.scales import fisher_cutoffs
from brg_prob.flow.scheme import Cut, Scheme


@dataclass(frozen=True)
class Shell(Scheme):
    """Scheme: an information shell.

    Attributes
    ----------
    basis
        ``eigen`` or ``parameter``.
    action
        ``reset`` or ``drop``.
    keep
        ``stiff``, or ``sloppy``: the shell reversed, a negative control that coarse-grains
        the best-determined directions first.

    Notes
    -----
    Scales are Fisher cutoffs Λ_I, ascending. A reversed shell coarse-grains as many
    directions as the true one, from the other end of the spectrum.
    """

    basis: Literal["eigen", "parameter"] = "eigen"  # a Basis; spelt out, as options are read off the source
    action: Literal["reset", "drop"] = "reset"
    keep: Literal["stiff", "sloppy"] = "stiff"

    name: ClassVar[str] = "shell"
    coordinate: ClassVar[str] = "fisher_cutoff"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("basis", ("eigen", "parameter")),
            ("action", ("reset", "drop")),
            ("keep", ("stiff", "sloppy")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} = {value!r} is unknown; use {allowed[0]!r} or {allowed[1]!r}")

    def check_scales(self, scales: Sequence[float], start: float) -> tuple[float, ...]:
        """Return the cutoffs as floats, or raise ValueError if they do not run towards the prior."""
        values = tuple(float(s) for s in scales)
        if not values:
            raise ValueError("scales is empty; give at least one Fisher cutoff")
        if any(not v >= 0 for v in values) or any(b < a for a, b in itertools.pairwise(values)):
            raise ValueError(
                f"scales = {list(values)[:6]} must ascend from 0: Fisher cutoffs towards the prior"
            )
        return values

    def walk(
        self, chart: Chart, origins: Sequence[xr.DataTree], scales: Sequence[float], start: float
    ) -> Iterator[Any]:
        """Yield the draws at each cutoff; every direction is redrawn once, at the first cutoff above it."""
        cuts = [self.cut(scale) for scale in scales]
        kept = np.stack([cut.keeps(chart.information) for cut in cuts])
        null = np.array([cut.keeps_null for cut in cuts])
        return chart.replaced(kept, null, drop=self.action == "drop")

    def at_observations(self, observations: Sequence[float]) -> tuple[float, ...]:
        """Return the information cutoffs Λ_I = 1/T of whitened units (T8)."""
        return fisher_cutoffs(tuple(observations))

    def held_at(self, scale: float, start: float) -> float:
        """Return the posterior's own T."""
        return start

    def cut(self, scale: float) -> Cut:
        """Return the cut at Λ_I."""
        unit: Unit = "whitened" if self.basis == "eigen" else "raw"
        return Cut(float(scale), unit, self.action == "drop", self.keep == "sloppy")
