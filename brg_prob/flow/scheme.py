"""What a scheme is: a way of moving draws towards the prior, scale by scale (T6–T8)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import Floats
from brg_prob.charts import Atlas, Basis, Chart
from brg_prob.charts.chart import Mask, Unit


@dataclass(frozen=True)
class Cut:
    """What an information shell does at one scale.

    Attributes
    ----------
    cutoff
        Λ_I; a direction is sloppy if its information is below it.
    unit
        Of the cutoff.
    drop
        Whether sloppy directions go to the prior's mean instead of the prior.
    reversed
        Whether as many directions are coarse-grained from the other end: a negative control.
    """

    cutoff: float
    unit: Unit
    drop: bool
    reversed: bool

    def keeps(self, information: Any) -> Mask:
        """Return which directions are kept, (r,); a reversed cut ranks those that have information."""
        values = np.asarray(information)
        stiff = values >= self.cutoff
        if not self.reversed:
            return np.asarray(stiff)
        ranks = np.argsort(np.argsort(-values, kind="stable"), kind="stable")
        return np.asarray((ranks >= np.sum(~stiff & (values > 0))) | (values <= 0))

    @property
    def keeps_null(self) -> bool:
        """Whether what the directions do not span is kept: it has no information at all."""
        return self.cutoff <= 0 or self.reversed


@runtime_checkable
class Scheme(Protocol):
    """A way of flowing; a small frozen dataclass whose fields are its options, and this class its base.

    A scheme has to state ``name`` and ``walk``; the rest is as for one that moves all draws along
    eigenvectors of the metric, its scales numbers of observations T at which they are held.
    """

    name: ClassVar[str]
    coordinate: ClassVar[str] = "observations"
    anew: ClassVar[bool] = False
    """Whether draws are sampled anew at every scale, so that nothing exacter is left to hold them against."""

    @property
    def basis(self) -> Basis:
        """Which chart it walks in."""
        return "eigen"

    def check_scales(self, scales: Sequence[float], start: float) -> tuple[float, ...]:
        """Return the scales as floats, or raise ValueError if they do not run towards the prior."""
        values = tuple(float(s) for s in scales)
        if not values:
            raise ValueError("scales is empty; give at least one number of observations T")
        if any(not 0 <= s <= start for s in values) or any(b > a for a, b in itertools.pairwise(values)):
            shown = ", ".join(f"{v:g}" for v in values[:6]) + (", …" if len(values) > 6 else "")
            raise ValueError(f"scales = [{shown}] must descend within [0, T = {start:g}] towards the prior")
        return values

    def check(self, atlas: Atlas, posterior: xr.DataTree) -> None:
        """Raise ValueError where draws cannot be flowed so, with the remedy."""
        if atlas.no_flow:
            raise ValueError(
                f"{type(self).__name__}() needs {atlas.no_flow}; use scheme=Tempering(engine=NUTS())"
            )

    def origins(
        self, network: Any, posterior: xr.DataTree, scales: Sequence[float], key: Array
    ) -> tuple[xr.DataTree, ...]:
        """Return the posterior from whose draws each scale's come."""
        return (posterior,) * len(scales)

    def walk(
        self, chart: Chart, origins: Sequence[xr.DataTree], scales: Sequence[float], start: float
    ) -> Iterator[Any]:
        """Yield the draws of one chart at each scale; ``start`` is the T of those it begins with."""

    def held_at(self, scale: float, start: float) -> float:
        """Return the T at which what is kept is held."""
        return float(scale)

    def cut(self, scale: float) -> Cut | None:
        """Return what is cut off at a scale; None where nothing is, so that the draws are a posterior's."""
        return None

    def with_engine(self, engine: Any) -> Scheme:
        """Return the scheme for draws of an engine, or raise ValueError if it has no use for them."""
        return self

    def at_observations(self, observations: Sequence[float]) -> tuple[float, ...]:
        """Return the scales that stand for these T."""
        return tuple(observations)

    def equivalent_observations(self, scales: Sequence[float]) -> Floats:
        """Return T that each scale stands for: itself, 1/Λ_I of whitened cutoffs (T8), nan of raw ones."""
        return np.array([_equivalent(self.cut(scale), scale) for scale in scales])


def _equivalent(cut: Cut | None, scale: float) -> float:
    if cut is None:
        return float(scale)
    if cut.unit == "raw":
        return float("nan")
    return 1 / cut.cutoff if cut.cutoff > 0 else float("inf")
