"""The one chart of any model's latent sites (T5–T8)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import Floats
from brg_prob.charts.chart import Basis, Rows
from brg_prob.charts.site_chart import SiteChart
from brg_prob.charts.site_draws import SiteDraws, rebuilt, same_data
from brg_prob.geometry import SiteMetric
from brg_prob.network import Conditioned, Hidden, LinearReadout
from brg_prob.posterior.model_tree import held_out_rows
from brg_prob.prior import prior_fields
from brg_prob.results import field_variable, stored_sites

_PRIOR_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class SiteAtlas:
    """The chart of a model's latent sites.

    Attributes
    ----------
    metric
        In coordinates z, with the data of the posterior.
    start
        The posterior.
    """

    metric: SiteMetric
    start: xr.DataTree

    members = 1
    draw_noise = None

    @classmethod
    def of(cls, metric: SiteMetric, posterior: xr.DataTree, held_out: Any = None) -> SiteAtlas:
        """Return the atlas of a posterior.

        Raises
        ------
        ValueError
            A posterior without draws of the latent sites; a metric at other data.
        """
        if not stored_sites(posterior):
            raise ValueError(
                "the metric is over all latent sites, the posterior over a readout's alone; fit with an "
                "engine of any model, such as fit(engine=NUTS())"
            )
        metric = dataclasses.replace(metric, conditioned=same_data(metric.conditioned, posterior))
        if held_out is not None:
            posterior = rebuilt(posterior, metric.conditioned, metric.conditioned.at(*held_out))
        return cls(metric, posterior)

    @property
    def no_flow(self) -> str:
        """Why draws cannot be moved towards the prior; empty if they can."""
        if self.metric.transport:
            return ""
        return f"coordinates in which the prior is N(0, 1), and this model has {self.metric.coordinate}"

    def chart(self, member: int, basis: Basis, key: Array) -> SiteChart:
        """Return the chart, the same for all."""
        return SiteChart(self.metric, self._draws, basis, key)

    @cached_property
    def _draws(self) -> SiteDraws:
        return SiteDraws(self.metric, self.start)

    @property
    def conditioned(self) -> Conditioned:
        """The model read at its data."""
        return self.metric.conditioned

    model = conditioned

    @property
    def x(self) -> Array:
        """Training inputs, (n, d), of the rows that are shown."""
        return jnp.asarray(self.conditioned.inputs)

    @property
    def targets(self) -> Floats:
        """Training targets, (n, o); NaN where missing."""
        given = np.asarray(self.conditioned.given, dtype=float)
        return given.reshape(len(given), -1)

    @property
    def noise(self) -> float:
        """σ of a linear readout; nan of any other model."""
        network = self.metric.network
        return float(network.noise) if isinstance(network, LinearReadout) else math.nan

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """({},) of a linear readout without hidden layers; of other models ()."""
        network = self.metric.network
        bare = isinstance(network, LinearReadout) and not network.sample_hidden(jax.random.key(0))
        return ({},) if bare else ()

    def field(self, draws: Sequence[SiteDraws], rows: Rows = None) -> Array:
        """Return the field (S, n, o) at training inputs."""
        tree = self.posterior(draws, {str(name): value for name, value in self.start.attrs.items()})
        f = np.asarray(tree["posterior"][field_variable(tree)].values)
        f = f.reshape(f.shape[0] * f.shape[1], f.shape[2], -1)
        return jnp.asarray(f if rows is None else f[:, rows])

    def projected(self, draws: Sequence[SiteDraws], matrix: Array, known: dict[int, Any]) -> Array:
        """Return combinations of the field at the training inputs, (S, k, o)."""
        return jnp.einsum("kn,sno->sko", matrix, self.field(draws))

    def posterior(
        self, draws: Sequence[SiteDraws], attrs: Mapping[str, Any], *, predictive: Array | None = None
    ) -> xr.DataTree:
        """Return the common tree of draws, y drawn anew in any case."""
        chains = self.start["posterior"].sizes["chain"]
        return draws[0].posterior(self.conditioned, self._held_out, chains, attrs)

    def unmoved(self) -> xr.DataTree:
        """Return the posterior."""
        return self.start

    def left_out(self, observations: Sequence[float]) -> None:
        """Return None: nothing is known but by draws."""
        return None

    def prior_moments(self, row: int, key: Array) -> tuple[Floats, float]:
        """Return mean and deviation of the prior field at one input, from draws: there is no closed form."""
        (fields,) = prior_fields(self.conditioned, key=key, draws=_PRIOR_DRAWS)
        before = np.asarray(fields[:, row], dtype=float).reshape(_PRIOR_DRAWS, -1)
        return before.mean(axis=0), float(before[:, 0].std(ddof=1))

    @cached_property
    def _held_out(self) -> Conditioned | None:
        """The model at the held-out rows."""
        rows = held_out_rows(self.start)
        return None if rows is None else self.conditioned.at(*rows)
