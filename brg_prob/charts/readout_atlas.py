"""The charts of a linear readout's members (T5–T8)."""

from __future__ import annotations

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
from brg_prob.charts.field_chart import FieldChart
from brg_prob.charts.field_draws import FieldDraws
from brg_prob.charts.readout_draws import ReadoutDraws, readout_draws
from brg_prob.charts.weight_chart import WeightChart
from brg_prob.geometry import ReadoutMetric
from brg_prob.geometry.readout_spectrum import prior_mean
from brg_prob.network import Hidden, LinearReadout
from brg_prob.posterior.schema import posterior_tree, trained_tree
from brg_prob.results import stored_sites, with_groups


@dataclass(frozen=True, eq=False)
class ReadoutAtlas:
    """Charts of a readout: ``eigen``, its field along Fisher modes; ``parameter``, its single weights.

    Attributes
    ----------
    metric
        At the hidden layers of all members.
    draws
        The posterior's.
    attrs
        Of the posterior.
    chains
        Number of chains of the draws.
    """

    metric: ReadoutMetric
    draws: ReadoutDraws
    attrs: Mapping[str, Any]
    chains: int

    no_flow = ""
    conditioned = None

    @classmethod
    def of(cls, metric: ReadoutMetric, posterior: xr.DataTree, held_out: Any = None) -> ReadoutAtlas:
        """Return the atlas of a posterior.

        Raises
        ------
        ValueError
            A metric at other hidden layers or inputs, or at one set of them where each draw has its own;
            ``held_out`` where there are no predictions.
        """
        draws = readout_draws(posterior, metric.noise, held_out)
        if metric.hidden_keys not in ("", str(posterior.attrs.get("hidden_keys", ""))):
            raise ValueError(
                "the metric was taken at the hidden layers of another posterior; take it at this one: "
                "fisher_metric(network, x, at=posterior)"
            )
        x = np.asarray(draws.data.x)
        if metric.observations != len(x) or not np.allclose(np.asarray(metric.x), x):
            raise ValueError(
                f"the metric was taken at {metric.observations} inputs other than the posterior's {len(x)}; "
                "use the same x"
            )
        if stored_sites(posterior) and metric.hidden[0]:
            raise ValueError(
                f"every draw of this posterior has {', '.join(metric.hidden[0])} of its own, and the metric "
                "those of one; take it over all latent sites: fisher_metric(network, x, at=posterior)"
            )
        attrs = {str(name): value for name, value in posterior.attrs.items()}
        return cls(metric, draws, attrs, posterior["posterior"].sizes["chain"])

    @property
    def model(self) -> LinearReadout:
        """The network."""
        network: LinearReadout = self.metric.network
        return network

    @property
    def members(self) -> int:
        """Number of members."""
        return self.draws.members

    def chart(self, member: int, basis: Basis, key: Array) -> FieldChart | WeightChart:
        """Return the chart of one member; networks without hidden layers have one metric for all."""
        chart = self._field_chart(member, key)
        if basis == "eigen":
            return chart
        return WeightChart(chart.network, chart.hidden, chart.spectrum, chart.draws, chart.key, member)

    @property
    def x(self) -> Array:
        """Training inputs, (n, d)."""
        return self.draws.data.x

    @property
    def targets(self) -> Floats:
        """Training targets, (n, o)."""
        return np.asarray(self.draws.data.y, dtype=float)

    @property
    def noise(self) -> float:
        """σ in λ."""
        return self.metric.noise

    @property
    def draw_noise(self) -> Floats | None:
        """σ of each draw, (S,), where it is sampled."""
        return np.asarray(self.draws.noise, dtype=float) if self.draws.sampled_noise else None

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """Hidden layers of each member."""
        found = self.metric.hidden
        return found if len(found) == self.members else found[:1] * self.members

    def field(self, draws: Sequence[FieldDraws], rows: Rows = None) -> Array:
        """Return the field (S, n, o) at training inputs, in the order of the posterior's draws."""
        return self._joined(draws, slice(self.draws.data.n) if rows is None else rows)

    def projected(self, draws: Sequence[FieldDraws], matrix: Array, known: dict[int, Any]) -> Array:
        """Return combinations of the field at the training inputs, (S, k, o), never made whole."""
        found = [each.projected(matrix, known) for each in draws]
        return found[0] if len(found) == 1 else jnp.concatenate(found)[self._places]

    def posterior(
        self, draws: Sequence[FieldDraws], attrs: Mapping[str, Any], *, predictive: Array | None = None
    ) -> xr.DataTree:
        """Return the common tree of all members' draws."""
        field, start, shape = self._joined(draws, slice(None)), self.draws, (self.chains, -1)
        weighed = predictive is not None or start.sampled_noise  # else leaving out needs no likelihoods
        tree = posterior_tree(
            start.data,
            field=field.reshape(*shape, *field.shape[1:]),
            noise=start.noise.reshape(shape),
            member=start.member.reshape(shape),
            sampled_noise=start.sampled_noise,
            predictive=predictive,
            likelihood=weighed,
            attrs={**self.attrs, **attrs},
        )
        if start.weights is None or not self.metric.hidden[0]:
            return tree
        # hidden layers that were trained regenerate from no key
        hidden = jax.tree.map(lambda *members: jnp.stack(members), *self.metric.hidden)
        return with_groups(tree, trained_tree(hidden=hidden))

    def unmoved(self) -> xr.DataTree:
        """Return the posterior, its held-out targets those of the atlas."""
        return self._start

    @cached_property
    def _start(self) -> xr.DataTree:
        return self.posterior([FieldDraws(self.draws.field)], {})

    def left_out(self, observations: Sequence[float]) -> Floats | None:
        """Return log p(y_i | the others, at T), (k, n): the observation's Gaussian factor taken away (T6).

        Divided by N(y_i | f_i, ρ), ρ = σ²n/T, the law N(m_i, v_i) of the field at x_i is that without
        observation i. None where σ was sampled. Of several members the density is the mean of theirs.
        """
        if self.draws.sampled_noise:
            return None
        square, n, key = self.noise**2, self.draws.data.n, jax.random.key(0)
        total = np.full((len(observations), n), -np.inf)
        for member in range(self.members):
            chart = self._field_chart(member, key)
            for at, weight in enumerate(observations):
                mean, variance = chart.moments(weight)
                share = variance * weight / (square * n)  # v/ρ < 1
                centre = (mean - share[:, None] * self.targets) / (1 - share)[:, None]
                spread = (variance / (1 - share) + square)[:, None]
                logs = -0.5 * ((self.targets - centre) ** 2 / spread + np.log(2 * np.pi * spread))
                total[at] = np.logaddexp(total[at], logs.sum(axis=1))
        return np.asarray(total - np.log(self.members))

    def prior_moments(self, row: int, key: Array) -> tuple[Floats, float]:
        """Return mean (o,) and deviation of the prior field at one input: those of the members' mixture."""
        means, variances = [], []
        for number in range(self.metric.members):
            modes = self.metric.member(number)
            variances.append(float(jnp.sum(jnp.square(modes.inputs[row] * modes.singular_values))))
            mean = prior_mean(self.metric.network, self.x, self.metric.hidden[number])
            means.append(np.asarray(mean[row], dtype=float))
        centre = np.mean(means, axis=0)
        between = float(np.mean((np.asarray(means)[:, 0] - centre[0]) ** 2))
        return centre, float(np.sqrt(np.mean(variances) + between))

    def _field_chart(self, member: int, key: Array) -> FieldChart:
        """Return the chart of one member's field."""
        at = min(member, self.metric.members - 1)
        draws, network = self.draws.of_member(member), self.metric.network
        return FieldChart(network, self.metric.hidden[at], self.metric.member(at), draws, key)

    def _joined(self, draws: Sequence[FieldDraws], rows: Any) -> Array:
        """Return all members' fields at some rows in the order of the posterior's."""
        if len(draws) == 1:
            return draws[0].at(rows)
        return jnp.concatenate([each.at(rows) for each in draws])[self._places]

    @cached_property
    def _places(self) -> np.ndarray:
        """Where each of the posterior's draws stands among those sorted by member."""
        return np.argsort(np.argsort(self.draws.member, kind="stable"), kind="stable")
