"""The flow: a posterior's draws at every scale, whatever they are of; :func:`coarse_grain` makes it."""

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

from brg_prob.charts import Atlas, Chart, ModeChart, atlas_of
from brg_prob.charts.chart import Mask
from brg_prob.flow.diffusion import Diffusion
from brg_prob.flow.scales import scale_index
from brg_prob.flow.scheme import Scheme
from brg_prob.geometry import FisherMetric
from brg_prob.network import Hidden, network_label
from brg_prob.network.identity import identity, refuse_another
from brg_prob.notebook import one_line, quantity, table_html
from brg_prob.posterior.schema import PREDICTIVE, no_posterior
from brg_prob.results import key_to_json
from brg_prob.theory import ProjectedObservation


@dataclass(frozen=True, eq=False)
class Flow:
    """Draws of a network at every scale, and the theory left there.

    Attributes
    ----------
    network, metric, scheme
        What was flowed, along which metric, how.
    scales
        Towards the prior: observations T descending, or Fisher cutoffs ascending.
    start
        The posterior that was flowed.
    key
        The flow's key: its draws are regenerated from it, one scale in memory at a time.
    held_out
        Replaces the posterior's own held-out rows.
    store_draws
        Number of field draws per scale kept in ``tree``.
    """

    network: Any
    metric: FisherMetric
    scheme: Scheme
    scales: tuple[float, ...]
    start: xr.DataTree
    key: Array
    held_out: tuple[Any, Any] | None = None
    store_draws: int = 200

    @cached_property
    def atlas(self) -> Atlas:
        """The charts: coordinates in which the draws are moved, a chart for each member."""
        return atlas_of(self.metric, self.start, held_out=self.held_out)

    @property
    def coordinate(self) -> str:
        """``observations`` or ``fisher_cutoff``."""
        return self.scheme.coordinate

    @property
    def initial_observations(self) -> float:
        """T of the posterior handed in."""
        return float(self.start.attrs["observations"])

    @property
    def observations(self) -> tuple[float, ...]:
        """T at which kept directions are held: the scale, or the posterior's own T for a shell."""
        return tuple(self.scheme.held_at(scale, self.initial_observations) for scale in self.scales)

    @property
    def equivalent_observations(self) -> NDArray[np.float64]:
        """T that each scale stands for; nan where it stands for none."""
        return self.scheme.equivalent_observations(self.scales)

    @property
    def no_posterior(self) -> str:
        """Why the flow began with the draws of no posterior, so that T6 is not their law; empty if it did."""
        return no_posterior(self.start.attrs)

    @property
    def cuts(self) -> bool:
        """Whether directions are cut off, so that the draws are no posterior's."""
        return any(self.scheme.cut(scale) is not None for scale in self.scales)

    @property
    def x(self) -> Array:
        """Training inputs, (n, d)."""
        return self.atlas.x

    @property
    def targets(self) -> NDArray[np.float64]:
        """Training targets, (n, o); NaN where missing."""
        return self.atlas.targets

    @property
    def noise(self) -> float:
        """σ in λ; nan where the network states none."""
        return self.atlas.noise

    @property
    def draw_noise(self) -> NDArray[np.float64] | None:
        """σ that each draw is flowed with, (S,), where it is sampled; None where one is given for all."""
        return self.atlas.draw_noise

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """Hidden layers of a readout, a set for each member; () if each draw has its own or none."""
        return self.atlas.hidden

    @property
    def size(self) -> int:
        """Number of draws that are flowed."""
        sizes = self.start["posterior"].sizes
        return int(sizes["chain"] * sizes["draw"])

    @cached_property
    def origins(self) -> tuple[xr.DataTree, ...]:
        """The posterior from whose draws each scale's come: the start's, or one sampled for it."""
        return self.scheme.origins(self.atlas.model, self.start, self.scales, self.key)

    @property
    def sampled(self) -> tuple[xr.DataTree, ...]:
        """Posteriors that were sampled for this flow; the start alone if none was."""
        return tuple(tree for tree in self.origins if tree is not self.start) or (self.start,)

    @property
    def chains(self) -> int:
        """Number of chains; draws are ordered chain by chain."""
        return int(self.sampled[0]["posterior"].sizes["chain"])

    @property
    def independent(self) -> bool:
        """Whether the draws are independent of each other."""
        return all(bool(tree.attrs.get("independent", 0)) for tree in self.sampled)

    @property
    def divergences(self) -> int:
        """Number of transitions that diverged where these draws come from; 0 for engines without any."""
        return sum(_diverged(tree) for tree in self.sampled)

    def draws(self) -> Iterator[tuple[Any, ...]]:
        """Yield the draws of all members scale by scale, regenerated from the key."""
        at = (self.origins, self.scales, self.initial_observations)
        walks = (self.scheme.walk(self.chart(number), *at) for number in range(self.atlas.members))
        if self.atlas.members == 1:
            return ((draws,) for draws in next(walks))
        # members have no modes in common: each walks through all scales while its chart is open
        return zip(*([draws.settled() for draws in walk] for walk in walks), strict=True)

    def fields(self, rows: Sequence[int] | None = None) -> Iterator[Array]:
        """Yield the draws (S, n, o) of the field at the training inputs, or some of them, scale by scale."""
        return (self.atlas.field(draws, rows) for draws in self.draws())

    def projections(self, matrix: Any) -> Iterator[Array]:
        """Yield combinations (S, k, o) of the field at the training inputs, rows of (k, n), by scale."""
        rows, known = jnp.asarray(matrix, self.x.dtype), dict[int, Any]()
        return (self.atlas.projected(draws, rows, known) for draws in self.draws())

    @property
    def no_coordinates(self) -> str:
        """Why the draws have no one set of coordinates; empty if they have."""
        if self.atlas.members > 1:
            return "the draws of several members have no coordinates in common"
        return "" if isinstance(self.chart(), ModeChart) else "single weights are never made whole"

    def z(self) -> Iterator[Array]:
        """Yield the draws in coordinates with an N(0, 1) prior, (S, D), scale by scale.

        Raises
        ------
        ValueError
            Several members, which have no coordinates in common; a chart without modes.
        """
        chart = self._with_modes()
        return (chart.coordinates(draws) for (draws,) in self.draws())

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coordinates of :meth:`z`, (D,)."""
        return self._with_modes().labels

    @property
    def directions(self) -> Array:
        """Fisher directions in these coordinates, unit rows (k, D), where they are not the coordinates."""
        return self._with_modes().directions

    def posteriors(self, *, whole: bool = True) -> Iterator[xr.DataTree]:
        """Yield the draws of each scale in :func:`brg_prob.fit`'s schema.

        Parameters
        ----------
        whole
            False: what is not needed to score the draws may be left out, such as y drawn anew.
        """
        attrs = {"key": key_to_json(self.key), "scheme": self.scheme.name, "flowed": 1}
        kept = {
            name: self.start.attrs[name] for name in ("engine", "independent") if name in self.start.attrs
        }
        for draws, observations in zip(self.draws(), self.observations, strict=True):
            key = jax.random.fold_in(self.key, PREDICTIVE) if whole else None
            tagged = kept | attrs | {"observations": observations}
            yield self.atlas.posterior(draws, tagged, predictive=key)

    def posterior_at(self, scale: float) -> xr.DataTree:
        """Return the draws at a scale in :func:`brg_prob.fit`'s schema: flow them again, or use ArviZ."""
        return _nth(self.posteriors(), self._index(scale))

    def kept(self, chart: Chart) -> tuple[Mask, Mask]:
        """Return which directions each scale keeps, (scales, r), and whether what is beyond, (scales,)."""
        cuts = [self.scheme.cut(scale) for scale in self.scales]
        everything = np.ones(chart.information.size, dtype=bool)
        kept = [everything if cut is None else cut.keeps(chart.information) for cut in cuts]
        return np.stack(kept), np.array([cut is None or cut.keeps_null for cut in cuts])

    def theory_at(self, scale: float, member: int = 0, *, gaussian: bool = False) -> Any:
        """Return the field theory left at a scale, again a network.

        Diffusion and tempering: T6's theory at T; conditioned on the same data at weight (n − T)/n it returns
        the posterior. Of a linear readout it is a readout; of any other model that model with the data
        at weight T/n as a factor. Shell of a readout: kept ⊗ prior; conditioned on the sloppy projection of
        the data (:meth:`sloppy_observation`) it returns the posterior.

        Parameters
        ----------
        scale
            One of ``scales``.
        member
            Which member's hidden layers; a theory has them fixed.
        gaussian
            Where draws are those of no such network: a Gaussian fit to them in z.

        Raises
        ------
        ValueError
            No such scale or member; a scheme that leaves no such network, with what helps; draws of no
            posterior, such as trained networks (T11), whose law T6 is not.
        """
        if self.no_posterior and not (gaussian and self.atlas.conditioned):
            raise ValueError(
                f"{self.no_posterior}, so no theory of theirs is known at a scale; posterior_at(scale) has "
                "the draws, and a posterior at T observations, such as fit(engine=Exact()), the theories"
            )
        index, chart = self._index(scale), self.chart(member)
        cut, (kept, null) = self.scheme.cut(self.scales[index]), self.kept(chart)
        found = chart.theory(
            kept[index],
            self.observations[index],
            null_kept=bool(null[index]),
            cut=cut is not None,
            drop=cut is not None and cut.drop,
            fitted=_nth(self.draws(), index)[member] if gaussian else None,
        )
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def sloppy_observation(self, scale: float) -> tuple[ProjectedObservation, Array, Array]:
        """Return (network, x, y) of the data's sloppy projection: what a shell's theory has forgotten.

        ``fit(network, x, y)`` of the returned network, whose base is ``theory_at(scale)``, gives back the
        posterior. A readout's eigenbasis, action ``reset`` and a posterior at T = n only.
        """
        index, chart = self._index(scale), self.chart()
        cut, kept = self.scheme.cut(self.scales[index]), self.kept(chart)[0][index]
        rows = chart.sloppy_rows(kept)
        if cut is None or cut.drop or rows is None:
            raise ValueError("sloppy_observation needs scheme=Shell(basis='eigen', action='reset')")
        if self.initial_observations != len(self.x):
            raise ValueError(
                f"sloppy_observation needs a posterior at T = n = {len(self.x)}, "
                f"not T = {self.initial_observations:g}"
            )
        y = jnp.asarray(self.targets, self.x.dtype)
        return ProjectedObservation(self.theory_at(scale), rows), self.x, rows @ y

    def chart(self, member: int = 0) -> Chart:
        """Return the chart of one member, in the scheme's basis; ValueError if there is no such member."""
        if not 0 <= member < self.atlas.members:
            raise ValueError(f"member = {member} does not exist; this posterior has {self.atlas.members}")
        return self.atlas.chart(member, self.scheme.basis, jax.random.fold_in(self.key, member))

    def _with_modes(self) -> ModeChart:
        """Return the chart of all draws, which has modes; ValueError if there is none."""
        chart = self.chart()
        if not isinstance(chart, ModeChart) or self.no_coordinates:
            raise ValueError(f"{network_label(self.network)}: {self.no_coordinates}; use fields()")
        return chart

    def _index(self, scale: float) -> int:
        """Return the position of a scale, or raise ValueError naming the nearest."""
        return scale_index(self.scales, scale)

    @cached_property
    def tree(self) -> xr.DataTree:
        """Groups ``flow`` and ``fisher``: summaries of every scale and some draws, ready for netCDF."""
        from brg_prob.flow.flow_summary import summarise

        return summarise(self)

    def __repr__(self) -> str:
        """Return one line, no arrays; nothing is computed."""
        return one_line(
            "Flow",
            network_label(self.network),
            self.scheme.name,
            f"{len(self.scales)} scales, {self.coordinate} {self._reach()}",
            f"{self.size} draws",
        )

    def _repr_html_(self) -> str:
        """Return a small table for notebooks; nothing is computed."""
        rows = [
            ("scheme", self.scheme),
            (self.coordinate.replace("_", " "), self._reach()),
            ("scales", len(self.scales)),
            ("training inputs n", len(self.x)),
            ("draws", f"{self.size} in {self.start['posterior'].sizes['chain']} chain(s)"),
            ("field draws kept per scale", min(self.store_draws, self.size)),
        ]
        title = f"Flow of {network_label(self.network)} towards its prior"
        return table_html(title, rows, note=".tree computes all scales, .theory_at(scale) the theory at one")

    def _reach(self) -> str:
        """Return first and last scale as text."""
        return " → ".join(quantity(scale) for scale in dict.fromkeys((self.scales[0], self.scales[-1])))


def coarse_grain(
    network: Any,
    posterior: xr.DataTree,
    metric: FisherMetric,
    *,
    scheme: Scheme | None = None,
    scales: Sequence[float],
    key: Array,
    held_out: tuple[Any, Any] | None = None,
    store_draws: int = 200,
) -> Flow:
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
        Replaces the posterior's own held-out targets (of a readout; the inputs must be the same), or rows.
    store_draws
        Field draws per scale kept in the tree.

    Returns
    -------
    Flow
        Lazy: ``tree`` is computed once when asked for; ``fields()`` replays the draws.

    Raises
    ------
    ValueError
        Scales that do not run towards the prior; a posterior or metric of another network, of other hidden
        layers, or at other data; draws that the scheme cannot move.
    """
    refuse_another(network, str(posterior.attrs.get("network", "")), "the posterior")
    refuse_another(network, identity(metric.network), "the metric")
    scheme = scheme or Diffusion()
    values = scheme.check_scales(scales, float(posterior.attrs["observations"]))
    flow = Flow(network, metric, scheme, values, posterior, key, held_out, store_draws)
    scheme.check(flow.atlas, posterior)
    return flow


def _nth(found: Iterator[Any], index: int) -> Any:
    """Return one of what an iterator yields."""
    return next(one for at, one in enumerate(found) if at == index)


def _diverged(tree: xr.DataTree) -> int:
    """Return the number of transitions that diverged."""
    if "sample_stats" not in tree.children or "diverging" not in tree["sample_stats"].data_vars:
        return 0
    return int(np.sum(np.asarray(tree["sample_stats"]["diverging"].values)))
