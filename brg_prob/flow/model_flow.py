"""A flow of any model's draws, in coordinates z where its prior is N(0, 1) (T6–T8).

Diffusion and shells move the draws along the modes of a Fisher metric taken at one point:
exact for a linear-Gaussian model, an approximation elsewhere, whose error tempering measures.
"""

from __future__ import annotations

import dataclasses
import math
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
from brg_prob.flow.draws import by_chain, diverged, flattened, rebuilt, sites_alone
from brg_prob.flow.scales import scale_index
from brg_prob.flow.shell import Shell
from brg_prob.flow.tempering import Tempering, held_out_rows
from brg_prob.geometry import ModelMetric
from brg_prob.network import Conditioned, Hidden, LinearReadout
from brg_prob.notebook import one_line
from brg_prob.posterior.model_tree import KIND, data_of, model_tree, site_values
from brg_prob.results import field_variable, key_to_json
from brg_prob.theory.tempered import GaussianTheory, TemperedTheory

ModelScheme = Diffusion | Shell | Tempering


@dataclass(frozen=True, eq=False)
class ModelFlow:
    """Draws of a model's latent sites at every scale.

    Attributes
    ----------
    network, metric, scheme
        What was flowed, along which metric, how.
    scales
        Towards the prior: observations T descending, or Fisher cutoffs ascending.
    start
        The posterior tree flowed.
    key
        The flow's key: its draws are regenerated from it, one scale in memory at a time.
    store_draws
        Number of field draws per scale kept in ``tree``.
    """

    network: Any
    metric: ModelMetric
    scheme: ModelScheme
    scales: tuple[float, ...]
    start: xr.DataTree
    key: Array
    store_draws: int = 200

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
        if isinstance(self.scheme, Shell):
            return (self.initial_observations,) * len(self.scales)
        return self.scales

    @property
    def conditioned(self) -> Conditioned:
        """The model with its data."""
        return self.metric.conditioned

    @property
    def x(self) -> Array:
        """Training inputs, (n, d), of the rows that are shown."""
        return jnp.asarray(self.conditioned.inputs)

    @property
    def y(self) -> Array | None:
        """Training targets as the model takes them."""
        return self.conditioned.y

    @property
    def targets(self) -> NDArray[np.float64]:
        """Training targets, (n, o), on the host; NaN where missing."""
        given = np.asarray(self.conditioned.given, dtype=float)
        return given.reshape(len(given), -1)

    @property
    def noise(self) -> float:
        """σ of a linear readout; nan of any other model."""
        return float(self.network.noise) if isinstance(self.network, LinearReadout) else math.nan

    @property
    def draw_noise(self) -> None:
        """One metric serves all draws, whatever their σ."""
        return None

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """({},) of a linear readout without hidden layers; of other models ()."""
        bare = isinstance(self.network, LinearReadout) and not self.network.sample_hidden(self.key)
        return ({},) if bare else ()

    @property
    def equivalent_observations(self) -> NDArray[np.float64]:
        """T that each scale stands for; nan where it stands for none."""
        return self.scheme.equivalent_observations(self.scales)

    @property
    def chains(self) -> int:
        """Number of chains; draws are ordered chain by chain. Tempering: of its own draws, which it makes."""
        return int(self._own_draws[0]["posterior"].sizes["chain"])

    @property
    def independent(self) -> bool:
        """Whether the draws are independent of each other. Tempering: its own draws, which it makes."""
        return all(bool(tree.attrs.get("independent", 0)) for tree in self._own_draws)

    @property
    def divergences(self) -> int:
        """Number of transitions that diverged where these draws come from; 0 for engines without any."""
        return sum(diverged(tree) for tree in self._own_draws)

    def z(self) -> Iterator[Array]:
        """Yield the draws in standard-normal coordinates, (S, D), scale by scale."""
        if isinstance(self.scheme, Tempering):
            yield from (self.metric.whiten(flattened(site_values(tree))) for tree in self._tempered)
            return
        z = self._start_z
        yield from self._shell(z) if isinstance(self.scheme, Shell) else self._diffused(z)

    def posteriors(self) -> Iterator[xr.DataTree]:
        """Yield the draws of each scale in the schema of a posterior of any model."""
        if isinstance(self.scheme, Tempering):
            yield from (self._whole(tree) for tree in self._tempered)
            return
        start = np.asarray(self._start_z)
        attrs: dict[str, Any] = {
            "engine": str(self.start.attrs["engine"]),
            "independent": int(self.independent),
            "key": key_to_json(self.key),
            "scheme": type(self.scheme).__name__.lower(),
            "flowed": 1,
        }
        for z, observations in zip(self.z(), self.observations, strict=True):
            # where nothing has moved the posterior's own values are kept bit for bit
            same = np.array_equal(np.asarray(z), start)
            moved = {} if same else self.metric.unwhiten(z)
            values = {name: by_chain(v, self.chains) for name, v in moved.items()} or site_values(self.start)
            tagged = attrs | {"observations": observations}
            yield model_tree(self.conditioned, values, attrs=tagged, held_out=self._held_out)

    def fields(self) -> Iterator[Array]:
        """Yield the field draws (S, n, o) at the training inputs, scale by scale."""
        for tree in self.posteriors():
            f = np.asarray(tree["posterior"][field_variable(tree)].values)
            yield jnp.asarray(f.reshape(f.shape[0] * f.shape[1], f.shape[2], -1))

    def posterior_at(self, scale: float) -> xr.DataTree:
        """Return the draws at a scale in :func:`brg_prob.fit`'s schema."""
        index = self._index(scale)
        return next(tree for at, tree in enumerate(self.posteriors()) if at == index)

    def theory_at(self, scale: float, *, gaussian: bool = False) -> TemperedTheory | GaussianTheory:
        """Return the theory left at a scale, again a NumPyro model ``model(x, y=None)``.

        Parameters
        ----------
        scale
            One of ``scales``.
        gaussian
            A Gaussian fit to the draws in z, instead of the tempered model itself.

        Returns
        -------
        TemperedTheory or GaussianTheory
            Prior times the likelihood of the data at weight T/n (T6): conditioned on the same data at
            weight (n − T)/n it is the posterior.

        Raises
        ------
        ValueError
            A shell without ``gaussian=True``: its draws are those of no tempered model.
        """
        index = self._index(scale)
        if gaussian:
            z = next(z for at, z in enumerate(self.z()) if at == index)
            return GaussianTheory.of(self.conditioned, self.metric.coordinates, z)
        if isinstance(self.scheme, Shell):
            raise ValueError(
                "a shell leaves no tempered model; use theory_at(scale, gaussian=True), a Gaussian fit to "
                "its draws"
            )
        return TemperedTheory(self.conditioned, self.scales[index])

    @cached_property
    def tree(self) -> xr.DataTree:
        """Groups ``flow`` and ``fisher``: summaries of every scale and some draws, ready for netCDF."""
        from brg_prob.flow.model_summary import summarise

        return summarise(self)

    @cached_property
    def _start_z(self) -> Array:
        """The posterior's draws in z, (S, D)."""
        return self.metric.whiten(flattened(site_values(self.start)))

    @cached_property
    def _tempered(self) -> tuple[xr.DataTree, ...]:
        """Latent sites and statistics of the posterior at every scale; the rest is computed from them."""
        assert isinstance(self.scheme, Tempering)
        trees = self.scheme.posteriors(self.conditioned, self.start, self.scales, self.key)
        return tuple(tree if tree is self.start else sites_alone(tree) for tree in trees)

    @property
    def _own_draws(self) -> tuple[xr.DataTree, ...]:
        """The trees whose draws these are: the start's, or those of tempering below its T."""
        if not isinstance(self.scheme, Tempering):
            return (self.start,)
        return tuple(tree for tree in self._tempered if tree is not self.start) or (self.start,)

    def _whole(self, tree: xr.DataTree) -> xr.DataTree:
        """Return the tree of what :func:`sites_alone` kept, with field and likelihoods again."""
        if tree is self.start:
            return tree
        return rebuilt(tree, self.conditioned, self._held_out)

    @cached_property
    def _held_out(self) -> Conditioned | None:
        """The model at the held-out rows."""
        rows = held_out_rows(self.start)
        return None if rows is None else self.conditioned.at(*rows)

    def _diffused(self, z: Array) -> Iterator[Array]:
        """Yield z at each T; what the modes do not span has λ = 0 and is left alone (T7)."""
        assert isinstance(self.scheme, Diffusion)
        directions = self.metric.directions
        modes = z @ directions.T
        rest = z - modes @ directions
        steps = self.scheme.steps(
            modes, self.metric.eigenvalues, self.initial_observations, self.scales, self.key
        )
        for scale, moved in zip(self.scales, steps, strict=True):
            yield z if scale == self.initial_observations else rest + moved @ directions

    def _shell(self, z: Array) -> Iterator[Array]:
        """Yield z at each cutoff; each direction is redrawn once (T8)."""
        assert isinstance(self.scheme, Shell)
        shell, directions = self.scheme, self.metric.directions
        fresh = jnp.zeros_like(z) if shell.action == "drop" else jax.random.normal(self.key, z.shape, z.dtype)
        fresh = jnp.where(self.metric.covered, fresh, z)  # what is held fixed never moves
        for kept, kept_rest in self.kept():
            if shell.basis == "parameter":
                yield jnp.where(kept[None, :], z, fresh)
                continue
            change = fresh - z
            along = change @ directions.T
            moved = jnp.where(kept[None, :], 0, along) @ directions
            outside = change - along @ directions
            yield z + moved + (0 if kept_rest else outside)

    def kept(self) -> Iterator[tuple[Array, bool]]:
        """Yield which directions (or parameters) a shell keeps, and whether what they do not span."""
        assert isinstance(self.scheme, Shell)
        if self.scheme.basis == "parameter":
            yield from ((self.scheme.kept(self.metric.diagonal, cutoff), True) for cutoff in self.scales)
            return
        count, size = self.metric.eigenvalues.size, int(self.metric.covered.sum())
        # what the modes do not span counts as λ = 0, and moves as a whole (also in a reversed shell)
        information = jnp.concatenate([self.metric.eigenvalues, jnp.zeros(size - count)])
        for cutoff in self.scales:
            kept = self.scheme.kept(information, cutoff)
            yield kept[:count], bool(kept[-1]) if size > count else True

    def _index(self, scale: float) -> int:
        """Return the position of a scale, or raise ValueError naming the nearest."""
        return scale_index(self.scales, scale)

    def __repr__(self) -> str:
        """Return one line, no arrays; nothing is computed."""
        return one_line(
            "ModelFlow",
            getattr(self.network, "__name__", type(self.network).__name__),
            type(self.scheme).__name__.lower(),
            f"{len(self.scales)} scales, {self.coordinate} {self.scales[0]:.4g} → {self.scales[-1]:.4g}",
        )


def model_flow(
    network: Any,
    posterior: xr.DataTree,
    metric: ModelMetric,
    *,
    scheme: ModelScheme,
    scales: Sequence[float],
    key: Array,
    store_draws: int,
    held_out: tuple[Any, Any] | None = None,
) -> ModelFlow:
    """Return the flow of a model's draws; :func:`brg_prob.coarse_grain` calls it.

    Raises
    ------
    ValueError
        Scales that do not run towards the prior; a metric at other data; diffusion or a shell where the prior
        is not N(0, 1) in any known coordinates.
    """
    if not isinstance(scheme, Tempering) and not metric.transport:
        raise ValueError(
            f"{type(scheme).__name__}() needs coordinates in which the prior is N(0, 1), and this model has "
            f"{metric.coordinate}; use scheme=Tempering(engine=NUTS())"
        )
    metric = _with_data(metric, posterior)
    values = scheme.check_scales(scales, float(posterior.attrs["observations"]))
    if held_out is not None:
        posterior = rebuilt(posterior, metric.conditioned, metric.conditioned.at(*held_out))
    return ModelFlow(network, metric, scheme, values, posterior, key, store_draws)


def _with_data(metric: ModelMetric, posterior: xr.DataTree) -> ModelMetric:
    """Return the metric with the posterior's data, or raise ValueError if it was taken at others."""
    if posterior.attrs.get("kind") != KIND:
        raise ValueError(
            "the metric is over all latent sites, the posterior over a readout's alone; fit with an engine "
            "of any model, such as fit(engine=NUTS())"
        )
    x, y = data_of(posterior)
    own = metric.conditioned
    if own.x.shape != x.shape or not np.allclose(own.x, x):
        raise ValueError(
            f"the metric was taken at {own.x.shape[0]} inputs other than the posterior's {x.shape[0]}; "
            "use the same x"
        )
    if own.y is None:  # targets do not enter a metric, but the flow is scored by them
        factors = own.likelihood_factors or None
        theirs = Conditioned.of(own.network, own.x, y, likelihood_factors=factors)
        return dataclasses.replace(metric, conditioned=theirs)
    if not own.reads(own.x, y):
        raise ValueError("the metric was taken with targets other than the posterior's; use the same y")
    return metric
