"""The single raw weights of a linear readout: the published experiment's coordinates (T8).

[BRG-NNFT], arXiv:2405.17538, cuts by the diagonal of the metric in raw readout units. A chart without modes:
single weights do not diagonalise the metric, and their draws (S × P) are never made whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.arrays import Floats
from brg_prob.batching import even_batch, map_batches
from brg_prob.charts.chart import Mask, Unit
from brg_prob.charts.field_draws import FieldDraws
from brg_prob.charts.readout_chart import ReadoutChart
from brg_prob.geometry import whitened_features
from brg_prob.geometry.informations import kept_parameter_information
from brg_prob.geometry.readout_spectrum import diagonal_information, prior_mean
from brg_prob.network import ReadoutPrior
from brg_prob.posterior.readout_members import prior_weights
from brg_prob.results import key_from_json
from brg_prob.theory import ReadoutTheory, kept_parameter_theory

_ELEMENTS = 1 << 22
"""Weights (draws × cutoffs × P) alive at once: 32 MiB in float64."""


@dataclass(frozen=True, eq=False)
class WeightChart(ReadoutChart):
    """Fields (S, n + h, o) of one member, its readout changed weight by weight.

    Attributes
    ----------
    number
        Of the member, among the keys that the tree has of them.
    """

    number: int

    unit: ClassVar[Unit] = "raw"

    @cached_property
    def information(self) -> Floats:
        """Diagonal of the metric in raw readout units, (P,)."""
        noise = self.spectrum.noise
        return np.asarray(diagonal_information(self.network, self.draws.data.x, self.hidden, noise=noise))

    def replaced(self, kept: Mask, null_kept: Mask, *, drop: bool) -> Iterator[FieldDraws]:
        """Yield the fields at each cutoff; weights are streamed in batches of draws.

        Raises
        ------
        ValueError
            Correlated weights, or a tree from which they cannot be made again.
        """
        prior = self.network.readout_prior(self.hidden)
        if not prior.covariance.isotropic:
            raise ValueError(
                "basis='parameter' needs independent readout weights and this network's are correlated; "
                "use basis='eigen'"
            )
        given, draw_key = self._readouts(prior)
        changes = field_changes(
            whitened_features(self.network, self.draws.data.all_inputs, self.hidden),
            given,
            draw_key,
            self.draws.number,
            jnp.asarray(kept),
            self.key,
            drop=drop,
        )
        for change in changes:
            yield FieldDraws(self.draws.field + change)

    def informations(
        self, kept: Mask, null_kept: Mask, observations: Sequence[float]
    ) -> Mapping[str, Floats]:
        """Return effective dimension, mutual information and KL of the kept weights' marginal posterior."""
        data = self.draws.data
        features = np.asarray(whitened_features(self.network, data.x, self.hidden))
        residual = np.asarray(data.y - prior_mean(self.network, data.x, self.hidden))
        kernel, rows = features @ features.T, []
        for weights, weight in zip(kept, observations, strict=True):
            masked = features * weights
            ridge = float(self.spectrum.noise) ** 2 * data.n / weight
            rows.append(kept_parameter_information(masked @ masked.T, kernel, residual, ridge))
        names = ("effective_dimension", "mutual_information", "kl_to_prior")
        return dict(zip(names, np.asarray(rows).T, strict=True))

    def theory(
        self, kept: Mask, observations: float, *, null_kept: bool, cut: bool, drop: bool, fitted: Any = None
    ) -> ReadoutTheory:
        """Return the kept weights' marginal posterior, the others at their prior or left out (T8)."""
        return kept_parameter_theory(
            self.network,
            self.draws.data.x,
            self.hidden,
            self.draws.data.y,
            kept=jnp.asarray(kept),
            observations=observations,
            noise=float(self.spectrum.noise),
            drop=drop,
        )

    def sloppy_rows(self, kept: Mask) -> None:
        """Return None: every row sees all weights."""
        return None

    def _readouts(self, prior: ReadoutPrior) -> tuple[Array, Array | None]:
        """Return dual coefficients and the key of the prior part of each draw, or whitened weights, None."""
        draws = self.draws
        if draws.weights is not None:
            whiten = prior.covariance.inverse_sqrt_matmul
            return jax.vmap(lambda raw: whiten(raw - prior.mean))(draws.weights), None
        if draws.dual is None or not draws.draw_keys:
            raise ValueError(
                "basis='parameter' needs the weights of each draw; use the tree that fit returned, not one "
                "that was flowed"
            )
        return draws.dual, key_from_json(draws.draw_keys)[self.number]


@partial(jax.jit, static_argnames=("drop",))
def field_changes(
    features: Array,
    given: Array,
    draw_key: Array | None,
    indices: Array,
    kept: Array,
    key: Array,
    *,
    drop: bool,
) -> Array:
    """Return the change of the field at each cutoff, weights streamed in batches of draws.

    Parameters
    ----------
    features
        Whitened features (m, P) at all inputs; the first n rows are the training inputs.
    given
        c of each draw, (S, n, o), or its whitened weights themselves, (S, P, o).
    draw_key
        The member's key, from which the prior part of each draw's weights regenerates; None if they
        are given.
    indices
        Numbers of the draws in their member, (S,).
    kept
        Kept weights at each cutoff, (scales, P), boolean.
    key
        Random key of the redraw.
    drop
        Whether the others go to their prior mean instead of the prior.

    Returns
    -------
    Array
        f(cutoff) − f, (scales, S, m, o); exactly zero where all weights are kept.
    """
    n, shape = given.shape[1], (features.shape[1], given.shape[2])

    def random(index: Array) -> tuple[Array, Array]:
        prior = jnp.zeros(shape) if draw_key is None else prior_weights(draw_key, index, shape)
        new = jnp.zeros(shape) if drop else jax.random.normal(jax.random.fold_in(key, index), shape)
        return prior, new

    def one(prior: Array, new: Array, old: Array) -> Array:
        if draw_key is not None:
            old = prior + features[:n].T @ old
        change = jnp.where(kept[:, :, None], 0, (new - old)[None])
        return jnp.einsum("mp,cpo->cmo", features, change)

    def batch(at: tuple[Array, Array]) -> Array:
        # random numbers one by one: see map_batches
        prior, new = jax.lax.map(random, at[0])
        return jax.vmap(one)(prior, new, at[1])

    size = even_batch(indices.size, max(1, _ELEMENTS // kept.size))
    return jnp.moveaxis(map_batches(batch, (indices, given), size), 0, 1)
