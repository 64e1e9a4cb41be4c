"""The latent sites of any model, in coordinates z where its prior is N(0, 1) (T7, T8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import Floats
from brg_prob.charts.chart import Basis, Mask, Unit, replace_modes
from brg_prob.charts.site_draws import SiteDraws
from brg_prob.geometry import SiteMetric
from brg_prob.geometry.informations import effective_dimension, mutual_information
from brg_prob.theory.tempered import GaussianTheory, TemperedTheory


@dataclass(frozen=True, eq=False)
class SiteChart:
    """Draws of latent sites, moved along the modes of a metric at one point, or coordinate by coordinate.

    Exact for a linear-Gaussian model, an approximation elsewhere, whose error tempering measures. Sites that
    the metric holds fixed never move, and are no null space.

    Attributes
    ----------
    metric
        The metric in z.
    start
        The posterior's draws.
    basis
        ``eigen``: the metric's eigenvectors; ``parameter``: the coordinates themselves.
    key
        Of what is drawn afresh.
    """

    metric: SiteMetric
    start: SiteDraws
    basis: Basis
    key: Array

    unit: ClassVar[Unit] = "whitened"

    @cached_property
    def information(self) -> Floats:
        """λ, or the metric's diagonal of the coordinates that it covers."""
        if self.basis == "parameter":
            return np.asarray(self.metric.diagonal)[self._own]
        return np.asarray(self.metric.eigenvalues)

    @property
    def eigenvalues(self) -> Array:
        """The same for all draws, whatever their noise."""
        return jnp.asarray(self.information)

    @property
    def null_bound(self) -> float:
        """That of the metric; single coordinates span all that it covers."""
        return self.metric.null_bound if self.basis == "eigen" else 0.0

    def read(self, tree: xr.DataTree) -> SiteDraws:
        """Return the draws of another posterior."""
        return SiteDraws(self.metric, tree)

    def modes(self, draws: SiteDraws) -> Array:
        """Return z along the directions, (S, r, 1)."""
        along = draws.z[:, self._own] if self.basis == "parameter" else draws.z @ self.metric.directions.T
        return along[:, :, None]

    def moved(self, z: Array, null: Array | None = None) -> SiteDraws:
        """Return the draws at z; ``null``: what the directions do not span, (S, D)."""
        rest, along = self._rest if null is None else null, z[:, :, 0]
        if self.basis == "parameter":
            return SiteDraws(self.metric, moved=rest.at[:, self._own].set(along))
        return SiteDraws(self.metric, moved=rest + along @ self.metric.directions)

    def at_prior(self, *, drop: bool) -> tuple[Array, Array]:
        """Return z along the directions and what these do not span, what is held fixed left as it is."""
        start = self.start.z
        fresh = jnp.zeros_like(start) if drop else jax.random.normal(self.key, start.shape, start.dtype)
        draws = SiteDraws(self.metric, moved=jnp.where(self.metric.covered, fresh, start))
        z = self.modes(draws)
        return z, self._without(draws.z, z)

    def coordinates(self, draws: SiteDraws) -> Array:
        """Return z, (S, D)."""
        return draws.z

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coordinates: the site, and its indices."""
        return self.metric.labels

    @property
    def directions(self) -> Array:
        """The metric's directions above its floor, (k, D); none where single coordinates are the modes."""
        count = 0 if self.basis == "parameter" else self.metric.rank
        return self.metric.directions[:count]

    def replaced(self, kept: Mask, null_kept: Mask, *, drop: bool) -> Iterator[SiteDraws]:
        """Yield the draws at each cutoff."""
        return replace_modes(self, kept, null_kept, drop=drop)

    def informations(
        self, kept: Mask, null_kept: Mask, observations: Sequence[float]
    ) -> Mapping[str, Floats]:
        """Return effective dimension and mutual information of what is kept, held at T; nan without a metric.

        Of single coordinates: what the data tell of those kept, the others integrated out: that of all, minus
        that of the others given these (T8), of the block of the others in 1 + TI.
        """
        known = {"effective_dimension": effective_dimension, "mutual_information": mutual_information}
        weight = np.asarray(observations, dtype=float)
        if not self.metric.eigenvalues.size:
            return dict.fromkeys(known, np.full(len(weight), np.nan))
        values = np.asarray(self.metric.eigenvalues)
        if self.basis == "eigen":
            left = np.where(kept, values, 0)
            return {name: known[name](left, weight) for name in known}
        root = np.sqrt(values)[:, None] * np.asarray(self.metric.directions)[:, self._own]
        masked = [root * ~mask for mask in kept]
        others = np.stack([np.maximum(np.linalg.eigvalsh(block @ block.T), 0) for block in masked])
        return {name: known[name](values, weight) - known[name](others, weight) for name in known}

    def theory(
        self, kept: Mask, observations: float, *, null_kept: bool, cut: bool, drop: bool, fitted: Any = None
    ) -> TemperedTheory | GaussianTheory | str:
        """Return the model tempered to T, a Gaussian fit in z, or why a shell leaves no tempered model."""
        if fitted is not None:
            return GaussianTheory.of(self.metric.conditioned, self.metric.coordinates, fitted.z)
        if cut:
            return (
                "a shell leaves no tempered model; use theory_at(scale, gaussian=True), a Gaussian fit to "
                "its draws"
            )
        return TemperedTheory(self.metric.conditioned, observations)

    def sloppy_rows(self, kept: Mask) -> None:
        """Return None: rows of a nonlinear model see every direction."""
        return None

    @cached_property
    def _own(self) -> np.ndarray:
        """The coordinates that the metric covers."""
        return np.flatnonzero(np.asarray(self.metric.covered))

    @cached_property
    def _rest(self) -> Array:
        """The start's z less its modes, (S, D): null directions, and what is held fixed."""
        return self._without(self.start.z, self.modes(self.start))

    def _without(self, draws: Array, z: Array) -> Array:
        """Return z (S, D) less its modes."""
        if self.basis == "parameter":
            return draws
        return draws - z[:, :, 0] @ self.metric.directions
