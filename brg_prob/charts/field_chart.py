"""The field of a linear readout at given hidden layers, along its Fisher modes (T5–T8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.arrays import Floats
from brg_prob.charts.chart import Mask, Unit, replace_modes
from brg_prob.charts.field_draws import FieldDraws
from brg_prob.charts.readout_chart import ReadoutChart
from brg_prob.geometry import cross_modes
from brg_prob.geometry.informations import effective_dimension, kl_to_prior, mutual_information
from brg_prob.geometry.readout_spectrum import prior_mean
from brg_prob.theory import ReadoutTheory, kept_mode_theory, mode_theory


@dataclass(frozen=True, eq=False)
class FieldChart(ReadoutChart):
    """Fields (S, n + h, o) of one member, moved along the modes of its readout's metric.

    Training and held-out rows move alike. What the modes do not span is no part of the field at the training
    inputs: the data cannot see it, so that posterior and prior agree there (T7).
    """

    unit: ClassVar[Unit] = "whitened"

    @cached_property
    def information(self) -> Floats:
        """λ at the noise of the metric."""
        return np.asarray(self.spectrum.eigenvalues)

    @property
    def eigenvalues(self) -> Array:
        """λ, (r,), or (S, r) where σ was sampled: each draw flows with its own."""
        values = self.spectrum.eigenvalues
        if not self.draws.sampled_noise:
            return values
        return values[None] * jnp.square(self.spectrum.noise / self.draws.noise)[:, None]

    @cached_property
    def mean(self) -> Array:
        """Prior mean of the field at all inputs, (n + h, o)."""
        return prior_mean(self.network, self.draws.data.all_inputs, self.hidden)

    @cached_property
    def mode_fields(self) -> Array:
        """Field of each unit mode at all inputs, (n + h, r)."""
        data = self.draws.data
        train = self.spectrum.inputs * self.spectrum.singular_values
        if data.held_out is None:
            return train
        held = cross_modes(self.network, self.spectrum, data.x, data.held_out[0], self.hidden)
        return jnp.concatenate([train, held])

    @cached_property
    def data_modes(self) -> Array:
        """ẑ, (r, o): the data in mode coordinates."""
        n = self.draws.data.n
        return self.spectrum.coordinates(self.draws.data.y - self.mean[:n])

    def modes(self, draws: FieldDraws) -> Array:
        """Return z, (S, r, o)."""
        n = self.draws.data.n
        return self.spectrum.coordinates(draws.at(slice(n)) - self.mean[:n])

    def moved(self, z: Array, null: Array | None = None) -> FieldDraws:
        """Return the fields at z."""
        return FieldDraws(self._rest if null is None else null, self.mode_fields, z)

    def at_prior(self, *, drop: bool) -> tuple[Array, Array]:
        """Return z and the field along null directions: these follow the prior as they are."""
        whole = self.draws.field
        shape, dtype = (len(whole), self.information.size, self.mean.shape[1]), whole.dtype
        if drop:
            return jnp.zeros(shape, dtype), jnp.broadcast_to(self.mean, whole.shape)
        return jax.random.normal(self.key, shape, dtype), self._rest

    def coordinates(self, draws: FieldDraws) -> Array:
        """Return z of the directions above the floor, outputs one after the other."""
        z = self.modes(draws)[:, self.information > 0]
        return z.reshape(len(z), -1)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coordinates: the mode, from 1, and the output where there are several."""
        modes = [f"mode {at + 1}" for at in np.flatnonzero(self.information > 0)]
        outputs = self.modes(self.start).shape[2]
        return tuple(
            f"{mode}, output {o + 1}" if outputs > 1 else mode for mode in modes for o in range(outputs)
        )

    @property
    def directions(self) -> Array:
        """None, (0, D): the coordinates are the modes."""
        return jnp.zeros((0, len(self.labels)))

    def replaced(self, kept: Mask, null_kept: Mask, *, drop: bool) -> Iterator[FieldDraws]:
        """Yield the fields at each cutoff."""
        return replace_modes(self, kept, null_kept, drop=drop)

    def informations(
        self, kept: Mask, null_kept: Mask, observations: Sequence[float]
    ) -> Mapping[str, Floats]:
        """Return effective dimension, mutual information and KL of the kept modes held at T (T6)."""
        values, data = np.where(kept, self.information, 0), np.asarray(self.data_modes)
        weight, outputs = np.asarray(observations, dtype=float), data.shape[1]
        return {
            "effective_dimension": effective_dimension(values, weight, outputs),
            "mutual_information": mutual_information(values, weight, outputs),
            "kl_to_prior": kl_to_prior(values, data, weight),
        }

    def theory(
        self, kept: Mask, observations: float, *, null_kept: bool, cut: bool, drop: bool, fitted: Any = None
    ) -> ReadoutTheory:
        """Return T6's theory at T, or kept ⊗ prior (T8)."""
        known, x = jnp.asarray(kept), self.draws.data.x
        signal = observations * self.spectrum.eigenvalues
        gain = jnp.where(known, signal / (1 + signal), 0)
        mean = gain[:, None] * self.data_modes
        if drop and not null_kept:
            return kept_mode_theory(
                self.network, x, self.hidden, self.spectrum, mean=mean, gain=gain, kept=known
            )
        left = jnp.where(known, gain, 1) if drop else gain  # what is dropped has no variance
        return mode_theory(self.network, x, self.hidden, self.spectrum, mean=mean, gain=left)

    def sloppy_rows(self, kept: Mask) -> Array:
        """Return the modes that are not kept as rows, (k, n)."""
        return self.spectrum.inputs[:, np.flatnonzero(~kept)].T

    def moments(self, observations: float) -> tuple[Floats, Floats]:
        """Return mean (n, o) and variance (n,) of the posterior field at the training inputs at T (T6)."""
        signal = observations * self.information
        gain = signal / (1 + signal)
        fields = np.asarray(self.spectrum.inputs * self.spectrum.singular_values)
        mean = np.asarray(self.mean)[: len(fields)] + fields @ (gain[:, None] * np.asarray(self.data_modes))
        return mean, np.square(fields) @ (1 - gain)

    @cached_property
    def _rest(self) -> Array:
        """The start's field without its modes, (S, n + h, o): the prior mean, and the null directions."""
        return _without(self.draws.field, self.mode_fields, self.modes(self.start))


@jax.jit
def _without(field: Array, mode_fields: Array, z: Array) -> Array:
    """Return field − Σ_k u_k z_k for draws (S, m, o)."""
    return field - jnp.einsum("mr,sro->smo", mode_fields, z)
