"""Charts: coordinates of draws in which the prior is N(0, 1), and what the flow may ask of them (T5–T8).

A chart belongs to the draws of one member. What a set of draws is (fields, values of latent sites) is its own
affair; whoever flows them hands them on. An atlas holds the charts of all members, one open at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import NDArray

from brg_prob.arrays import Floats
from brg_prob.geometry import FisherMetric
from brg_prob.network import Conditioned, Hidden

Mask = NDArray[np.bool_]
Unit = Literal["whitened", "raw"]
Rows = Sequence[int] | None
Basis = Literal["eigen", "parameter"]


@runtime_checkable
class Chart(Protocol):
    """Coordinates of some draws; shapes: S draws, r directions, o outputs."""

    @property
    def key(self) -> Array:
        """Random key of what is drawn afresh."""

    @property
    def start(self) -> Any:
        """The posterior's draws."""

    @property
    def information(self) -> Floats:
        """What a cutoff is compared with, (r,): eigenvalues or diagonal of the metric, 0 for round-off."""

    @property
    def unit(self) -> Unit:
        """Unit of ``information``: of prior-whitened parameters, or of raw ones."""

    @property
    def null_bound(self) -> float:
        """Largest λ of what ``information`` does not span."""

    def read(self, tree: xr.DataTree) -> Any:
        """Return the draws of another posterior of the same network."""

    def replaced(self, kept: Mask, null_kept: Mask, *, drop: bool) -> Iterator[Any]:
        """Yield the draws at each cutoff, what is not kept fresh from the prior or at its mean (``drop``).

        Parameters
        ----------
        kept, null_kept
            (scales, r) and (scales,): which directions, and whether what they do not span.
        """

    def informations(
        self, kept: Mask, null_kept: Mask, observations: Sequence[float]
    ) -> Mapping[str, Floats]:
        """Return informations of what is kept, held at T, by scale, (scales,): those in closed form."""

    def theory(
        self, kept: Mask, observations: float, *, null_kept: bool, cut: bool, drop: bool, fitted: Any = None
    ) -> Any:
        """Return the theory left, again a network; or a sentence why there is none.

        Parameters
        ----------
        kept, observations
            (r,), and the T at which these are held.
        null_kept
            Whether what they do not span is kept.
        cut, drop
            Whether the rest was coarse-grained, and to the prior's mean instead of the prior.
        fitted
            Draws at this scale, for a Gaussian fit where no theory is known.
        """

    def sloppy_rows(self, kept: Mask) -> Array | None:
        """Return combinations of rows that see what is not kept alone, (k, n); None if there are none."""


@runtime_checkable
class ModeChart(Chart, Protocol):
    """A chart in which the metric is diagonal."""

    @property
    def eigenvalues(self) -> Array:
        """λ, (r,), or (S, r) where each draw has its own noise."""

    def modes(self, draws: Any) -> Array:
        """Return z, (S, r, o)."""

    def moved(self, z: Array, null: Any = None) -> Any:
        """Return the draws at z, set and not added; ``null``: what the modes do not span, None: as it was."""

    def at_prior(self, *, drop: bool) -> tuple[Array, Any]:
        """Return z and null space afresh from the prior, or at its mean: one draw serves a whole flow."""

    def coordinates(self, draws: Any) -> Array:
        """Return all coordinates (S, D), N(0, 1) under the prior."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coordinates, (D,)."""

    @property
    def directions(self) -> Array:
        """Unit rows (k, D) of coordinates: the modes, where they are not the coordinates themselves."""


class Atlas(Protocol):
    """The charts of a posterior's members, its data, and how draws become results again."""

    @property
    def metric(self) -> FisherMetric:
        """The metric, with the posterior's data."""

    @property
    def model(self) -> Any:
        """What an engine would sample anew: the network, or the model read at its data."""

    @property
    def conditioned(self) -> Conditioned | None:
        """The model read at its data; None of a readout, whose field is known without."""

    @property
    def members(self) -> int:
        """Number of charts."""

    def chart(self, member: int, basis: Basis, key: Array) -> Chart:
        """Return the chart of one member, opened; ``key`` is that of what is drawn afresh in it."""

    @property
    def x(self) -> Array:
        """Training inputs, (n, d)."""

    @property
    def targets(self) -> Floats:
        """Training targets, (n, o); NaN where missing."""

    @property
    def noise(self) -> float:
        """σ in λ; nan where the network states none."""

    @property
    def draw_noise(self) -> Floats | None:
        """σ that each draw is flowed with, (S,), where it is sampled; None where one is given for all."""

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """Hidden layers of a readout, a set for each member; () if each draw has its own or none."""

    @property
    def no_flow(self) -> str:
        """Why draws cannot be moved towards the prior in these charts; empty if they can."""

    def field(self, draws: Sequence[Any], rows: Rows = None) -> Array:
        """Return the field (S, n, o) of all members' draws at all training inputs, or at some rows."""

    def projected(self, draws: Sequence[Any], matrix: Array, known: dict[int, Any]) -> Array:
        """Return combinations (S, k, o) of the field at the training inputs, of the rows of a matrix (k, n).

        ``known`` is the caller's, one for all scales: what these share is kept there.
        """

    def posterior(
        self, draws: Sequence[Any], attrs: Mapping[str, Any], *, predictive: Array | None = None
    ) -> xr.DataTree:
        """Return all members' draws as :func:`brg_prob.fit` does.

        Parameters
        ----------
        attrs
            Of the tree, beside the posterior's own.
        predictive
            Key of draws of y; None: what is cheap without, and not needed to score the draws, is left out.
        """

    def unmoved(self) -> xr.DataTree:
        """Return the posterior that the charts are of, with its held-out rows."""

    def left_out(self, observations: Sequence[float]) -> Floats | None:
        """Return log p(y_i | the others, at T) of k numbers T, (k, n), where it is known in closed form."""

    def prior_moments(self, row: int, key: Array) -> tuple[Floats, float]:
        """Return mean (o,) and deviation (first output) of the prior field at one input, if need be drawn."""


def replace_modes(chart: ModeChart, kept: Mask, null_kept: Mask, *, drop: bool) -> Iterator[Any]:
    """Yield the draws of a chart with modes, at each cutoff; see :meth:`Chart.replaced`."""
    z, (fresh, null) = chart.modes(chart.start), chart.at_prior(drop=drop)
    for modes, whole in zip(kept, null_kept, strict=True):
        if modes.all() and whole:
            yield chart.start
        else:
            moved = jnp.where(jnp.asarray(modes)[None, :, None], z, fresh)
            yield chart.moved(moved, None if whole else null)
