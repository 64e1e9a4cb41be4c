""":func:`coarse_grain`: a posterior's draws, flowed towards the prior scale by scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import NDArray

from brg_prob.flow.diffusion import Diffusion
from brg_prob.flow.member import MemberFlow, Start, member_starts
from brg_prob.flow.model_flow import ModelFlow, model_flow
from brg_prob.flow.scales import scale_index
from brg_prob.flow.shell import Shell
from brg_prob.flow.tempering import Tempering
from brg_prob.geometry import FisherMetric, ModelMetric
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.network.identity import identity, refuse_another
from brg_prob.notebook import one_line, quantity, table_html
from brg_prob.posterior.schema import posterior_tree, trained_tree
from brg_prob.results import with_groups
from brg_prob.theory import ProjectedObservation, ReadoutTheory

Scheme = Diffusion | Shell


@dataclass(frozen=True, eq=False)
class Flow:
    """Draws of a network's field at every scale, and the theory left there.

    Attributes
    ----------
    network, metric, scheme
        What was flowed, along which metric, how.
    scales
        Towards the prior: observations T descending, or Fisher cutoffs ascending.
    start
        The draws flowed, with their data.
    key
        The flow's key: its draws are regenerated from it, one scale in memory at a time.
    store_draws
        Number of field draws per scale kept in ``tree``.
    """

    network: LinearReadout
    metric: FisherMetric
    scheme: Scheme
    scales: tuple[float, ...]
    start: Start
    key: Array
    store_draws: int = 200

    @property
    def coordinate(self) -> str:
        """``observations`` or ``fisher_cutoff``."""
        return self.scheme.coordinate

    @property
    def observations(self) -> tuple[float, ...]:
        """T at which kept directions are held: the scale, or the posterior's own T for a shell."""
        if isinstance(self.scheme, Diffusion):
            return self.scales
        return (self.initial_observations,) * len(self.scales)

    @property
    def initial_observations(self) -> float:
        """T of the posterior handed in."""
        return self.start.observations

    @property
    def x(self) -> Array:
        """Training inputs, (n, d)."""
        return self.start.data.x

    @property
    def y(self) -> Array:
        """Training targets, (n, o)."""
        return self.start.data.y

    @property
    def noise(self) -> float:
        """σ in λ."""
        return self.metric.noise

    @property
    def targets(self) -> NDArray[np.float64]:
        """Training targets, (n, o), on the host."""
        return np.asarray(self.y, dtype=float)

    @property
    def draw_noise(self) -> NDArray[np.float64] | None:
        """σ of each draw, (S,), where it is sampled; each draw flows with its own."""
        return np.asarray(self.start.noise, dtype=float) if self.start.sampled_noise else None

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """Hidden layers of each member."""
        found = self.metric.hidden
        return found if len(found) == self.start.members else found[:1] * self.start.members

    @property
    def equivalent_observations(self) -> NDArray[np.float64]:
        """T that each scale stands for; nan where it stands for none."""
        return self.scheme.equivalent_observations(self.scales)

    @property
    def chains(self) -> int:
        """Number of chains of the draws; draws are ordered chain by chain."""
        return self.start.chains

    @property
    def independent(self) -> bool:
        """Whether the draws are independent of each other."""
        return self.start.independent

    def _members(self) -> Iterator[MemberFlow]:
        """Yield the flow of each member's draws."""
        for number, start in enumerate(member_starts(self.start)):
            yield self._member_flow(number, start)

    def _member_flow(self, number: int, start: Start) -> MemberFlow:
        """Return the flow of one member; networks without hidden layers have one metric for all."""
        at = min(number, self.metric.members - 1)
        key = jax.random.fold_in(self.key, number)
        modes = self.metric.member(at)
        return MemberFlow(self.network, self.metric.hidden[at], modes, self.scheme, self.scales, start, key)

    def _all_fields(self) -> Iterator[Array]:
        """Yield the draws (S, n + h, o) at training and held-out inputs, scale by scale."""
        if self.start.members == 1:
            yield from next(self._members()).fields()
            return
        # An ensemble's modes differ by member: flow one member at a time through all scales.
        flowed = [np.stack([np.asarray(f) for f in member.fields()]) for member in self._members()]
        for number in range(len(self.scales)):
            yield jnp.concatenate([jnp.asarray(member[number]) for member in flowed])

    def fields(self) -> Iterator[Array]:
        """Yield the draws (S, n, o) at the training inputs, scale by scale, regenerated from the key."""
        n = self.start.data.n
        for field in self._all_fields():
            yield field[:, :n]

    def _index(self, scale: float) -> int:
        """Return the position of a scale, or raise ValueError naming the nearest."""
        return scale_index(self.scales, scale)

    def theory_at(self, scale: float, member: int = 0) -> ReadoutTheory:
        """Return the field theory left at a scale, again a network.

        Diffusion: T6's theory at T; conditioned on the same data at weight (n − T)/n it
        returns the posterior. Shell: kept ⊗ prior; conditioned on the sloppy projection of
        the data (:meth:`sloppy_observation`) it returns the posterior.

        Parameters
        ----------
        scale
            One of ``scales``.
        member
            Which member's hidden layers; a theory has them fixed.
        """
        return self._member(member).theory(self._index(scale))

    def _member(self, number: int) -> MemberFlow:
        """Return the flow of one member."""
        for index, start in enumerate(member_starts(self.start)):
            if index == number:
                return self._member_flow(number, start)
        raise ValueError(f"member = {number} does not exist; this posterior has {self.start.members}")

    def sloppy_observation(self, scale: float) -> tuple[ProjectedObservation, Array, Array]:
        """Return (network, x, y) of the data's sloppy projection: what a shell's theory has forgotten.

        ``fit(network, x, y)`` of the returned network, whose base is ``theory_at(scale)``,
        gives back the posterior. Eigenbasis and action ``reset`` only.
        """
        if (
            not isinstance(self.scheme, Shell)
            or self.scheme.basis != "eigen"
            or self.scheme.action != "reset"
        ):
            raise ValueError("sloppy_observation needs scheme=Shell(basis='eigen', action='reset')")
        if self.start.observations != self.start.data.n:
            raise ValueError(
                f"sloppy_observation needs a posterior at T = n = {self.start.data.n}, "
                f"not T = {self.start.observations:g}"
            )
        modes = self.metric.first
        kept = self.scheme.kept(modes.eigenvalues, self.scales[self._index(scale)])
        rows = modes.inputs[:, jnp.flatnonzero(~kept)].T
        return ProjectedObservation(self.theory_at(scale), rows), self.x, rows @ self.y

    def posterior_at(self, scale: float) -> xr.DataTree:
        """Return the draws at a scale in :func:`brg_prob.fit`'s schema: flow them again, or use ArviZ."""
        index = self._index(scale)
        field = next(f for i, f in enumerate(self._all_fields()) if i == index)
        start, shape = self.start, (self.start.chains, -1)
        tree = posterior_tree(
            start.data,
            field=field.reshape(*shape, *field.shape[1:]),
            noise=start.noise.reshape(shape),
            member=start.member.reshape(shape),
            sampled_noise=start.sampled_noise,
            attrs={**start.attrs, "observations": self.observations[index], "flowed": 1},
        )
        if start.weights is None or not self.metric.hidden[0]:
            return tree
        # hidden layers that were trained regenerate from no key
        hidden = jax.tree.map(lambda *members: jnp.stack(members), *self.metric.hidden)
        return with_groups(tree, trained_tree(hidden=hidden))

    @cached_property
    def tree(self) -> xr.DataTree:
        """Groups ``flow`` and ``fisher``: summaries of every scale and some draws, ready for netCDF."""
        from brg_prob.flow.summary import summarise

        return summarise(self)

    def __repr__(self) -> str:
        """Return one line, no arrays; nothing is computed."""
        return one_line(
            "Flow",
            type(self.network).__name__,
            type(self.scheme).__name__.lower(),
            f"{len(self.scales)} scales, {self.coordinate} {self._reach()}",
            f"{self.start.field.shape[0]} draws",
        )

    def _repr_html_(self) -> str:
        """Return a small table for notebooks; nothing is computed."""
        rows = [
            ("scheme", self.scheme),
            (self.coordinate.replace("_", " "), self._reach()),
            ("scales", len(self.scales)),
            ("training inputs n", self.start.data.n),
            ("draws", f"{self.start.field.shape[0]} in {self.chains} chain(s)"),
            ("field draws kept per scale", min(self.store_draws, self.start.field.shape[0])),
        ]
        title = f"Flow of {type(self.network).__name__} towards its prior"
        return table_html(title, rows, note=".tree computes all scales, .theory_at(scale) the theory at one")

    def _reach(self) -> str:
        """Return first and last scale as text."""
        return " → ".join(quantity(scale) for scale in dict.fromkeys((self.scales[0], self.scales[-1])))


def coarse_grain(
    network: Any,
    posterior: xr.DataTree,
    metric: FisherMetric | ModelMetric,
    *,
    scheme: Scheme | Tempering | None = None,
    scales: Sequence[float],
    key: Array,
    held_out: tuple[Any, Any] | None = None,
    store_draws: int = 200,
) -> Flow | ModelFlow:
    """Flow a posterior's draws towards the prior along its Fisher metric.

    Parameters
    ----------
    network
        The network that was fitted: with the capability LinearReadout, or any NumPyro model.
    posterior
        From :func:`brg_prob.fit`; with ``held_out`` there, scores are computed here.
    metric
        From :func:`brg_prob.fisher_metric` at the same inputs.
    scheme
        ``Diffusion()`` (default), ``Shell(...)`` or, for any model, ``Tempering(engine)``.
    scales
        Observations T, descending, or Fisher cutoffs Λ_I, ascending.
    key
        Random key.
    held_out
        Replaces the posterior's own held-out targets; the inputs must be the same.
    store_draws
        Field draws per scale kept in the tree.

    Returns
    -------
    Flow or ModelFlow
        Lazy: ``tree`` is computed once when asked for; ``fields()`` replays the draws.

    Raises
    ------
    TypeError
        No linear readout.
    ValueError
        Scales that do not run towards the prior; a posterior or metric of another network, of other hidden
        layers, or at other inputs.
    """
    refuse_another(network, str(posterior.attrs.get("network", "")), "the posterior")
    refuse_another(network, identity(metric.network), "the metric")
    if isinstance(metric, ModelMetric):
        options: dict[str, Any] = {
            "scales": scales,
            "key": key,
            "store_draws": store_draws,
            "held_out": held_out,
        }
        return model_flow(network, posterior, metric, scheme=scheme or Diffusion(), **options)
    network = require(network, LinearReadout, "coarse_grain")
    scheme = scheme or Diffusion()
    if isinstance(scheme, Tempering):
        raise ValueError(
            "Tempering() needs the posterior of an engine of any model, such as fit(engine=NUTS()); the "
            "closed-form posterior of a linear readout is exact at every T: use Diffusion()"
        )
    start = Start.of(posterior, metric.noise, held_out)
    if metric.hidden_keys not in ("", str(posterior.attrs.get("hidden_keys", ""))):
        raise ValueError(
            "the metric was taken at the hidden layers of another posterior; take it at this one: "
            "fisher_metric(network, x, at=posterior)"
        )
    if metric.observations != start.data.n:
        raise ValueError(
            f"the metric was taken at {metric.observations} inputs, the posterior at {start.data.n}; "
            "use the same x"
        )
    values = scheme.check_scales(scales, start.observations)
    return Flow(network, metric, scheme, values, start, key, store_draws)
