"""The flow of one member's draws: one set of hidden layers, one set of Fisher modes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.flow.diffusion import Diffusion
from brg_prob.flow.shell import Shell, shell_modes, shell_parameters
from brg_prob.geometry import ReadoutModes, cross_modes, whitened_features
from brg_prob.geometry.spectrum import diagonal_information, prior_mean
from brg_prob.network import Hidden, LinearReadout, ReadoutPrior
from brg_prob.posterior import Data
from brg_prob.results import key_from_json
from brg_prob.theory import ReadoutTheory, kept_mode_theory, kept_parameter_theory, mode_theory


@dataclass(frozen=True)
class Start:
    """Draws of a posterior, flattened over chains, with the data they were conditioned on.

    Attributes
    ----------
    field
        (S, n + h, o).
    noise
        σ of each draw, (S,).
    member
        Member of each draw, (S,).
    dual
        c of each draw, (S, n, o), or None.
    observations
        T of these draws.
    number
        Number of each draw within its member, (S,).
    weights
        Raw readout of each draw, (S, P, o), where the tree holds it (networks actually trained), or None.
    """

    data: Data
    field: Array
    noise: Array
    member: Array
    dual: Array | None
    observations: float
    chains: int
    independent: bool
    sampled_noise: bool
    attrs: dict[str, Any]
    number: Array
    weights: Array | None = None

    @property
    def members(self) -> int:
        """Number of members."""
        return int(np.max(np.asarray(self.member))) + 1

    @staticmethod
    def of(posterior: xr.DataTree, noise: float, held_out: Any = None) -> Start:
        """Read a posterior tree."""
        draws = posterior["posterior"].dataset
        y = _with_output(posterior["observed_data"]["y"].values, 1)
        field = _with_output(draws["f"].values, 3)
        pair = _held_out(posterior, held_out)
        if pair is not None:
            field = jnp.concatenate([field, _with_output(posterior["predictions"]["f"].values, 3)], axis=2)
        chains, count = field.shape[:2]
        total = chains * count
        sampled = "noise" in draws
        sigma = jnp.asarray(draws["noise"].values) if sampled else jnp.full((chains, count), noise)
        member = jnp.asarray(draws["member"].values) if "member" in draws else jnp.zeros((chains, count), int)
        dual = _with_output(draws["dual"].values, 3).reshape(total, *y.shape) if "dual" in draws else None
        member = member.reshape(total)
        trained = posterior["trained"].dataset if "trained" in posterior.children else {}
        weights = _with_output(trained["readout"].values, 3) if "readout" in trained else None
        return Start(
            data=Data(jnp.asarray(posterior["constant_data"]["inputs"].values), y, pair),
            field=field.reshape(total, *field.shape[2:]),
            noise=sigma.reshape(total),
            member=member,
            dual=dual,
            observations=float(posterior.attrs["observations"]),
            chains=chains,
            independent=bool(posterior.attrs.get("independent", 0)),
            sampled_noise=sampled,
            attrs={str(name): value for name, value in posterior.attrs.items()},
            number=_numbers(np.asarray(member)),
            weights=None if weights is None else weights.reshape(total, *weights.shape[2:]),
        )


def _with_output(values: Any, ndim: int) -> Array:
    """Return an array whose last axis counts outputs; ``ndim`` is its rank without that axis."""
    array = jnp.asarray(values)
    return array[..., None] if array.ndim == ndim else array


def _held_out(posterior: xr.DataTree, held_out: Any) -> tuple[Array, Array] | None:
    """Return held-out inputs and targets of the tree, the targets replaced if given."""
    if "predictions" not in posterior.children:
        if held_out is not None:
            raise ValueError(
                "held_out was given but the posterior has no predictions there; pass held_out to fit as well"
            )
        return None
    x = jnp.asarray(posterior["predictions_constant_data"]["inputs"].values)
    y = _with_output(posterior["predictions_data"]["y"].values, 1)
    if held_out is not None:
        other = np.asarray(held_out[0], dtype=float).reshape(x.shape[0], -1)
        if other.shape != x.shape or not np.array_equal(other, np.asarray(x)):
            raise ValueError(
                "held_out inputs differ from those the posterior was evaluated at; pass the same to fit"
            )
        y = _with_output(np.asarray(held_out[1], dtype=float), 1)
    return x, y


def _numbers(member: np.ndarray) -> Array:
    """Return the number of each draw within its member, (S,)."""
    numbers = np.zeros(member.size, dtype=int)
    for label in np.unique(member):
        at = member == label
        numbers[at] = np.arange(at.sum())
    return jnp.asarray(numbers)


def member_starts(start: Start) -> Iterator[Start]:
    """Yield the draws of each member."""
    if start.members == 1:
        yield start
        return
    labels = np.asarray(start.member)
    for label in range(start.members):
        at = np.flatnonzero(labels == label)
        yield replace(
            start,
            field=start.field[at],
            noise=start.noise[at],
            member=start.member[at],
            dual=None if start.dual is None else start.dual[at],
            number=start.number[at],
            weights=None if start.weights is None else start.weights[at],
        )


@dataclass(frozen=True, eq=False)
class MemberFlow:
    """One member's flow: yields fields, knows its theories.

    Attributes
    ----------
    modes
        Fisher modes at ``hidden``.
    start
        This member's draws.
    key
        This member's key.
    """

    network: LinearReadout
    hidden: Hidden
    modes: ReadoutModes
    scheme: Diffusion | Shell
    scales: tuple[float, ...]
    start: Start
    key: Array

    @cached_property
    def mean(self) -> Array:
        """Prior mean of the field at all inputs, (n + h, o)."""
        return prior_mean(self.network, self.start.data.all_inputs, self.hidden)

    @cached_property
    def mode_fields(self) -> Array:
        """Field of each unit mode at all inputs, (n + h, r)."""
        train = self.modes.inputs * self.modes.singular_values
        if self.start.data.held_out is None:
            return train
        held = cross_modes(
            self.network, self.modes, self.start.data.x, self.start.data.held_out[0], self.hidden
        )
        return jnp.concatenate([train, held])

    @cached_property
    def data_modes(self) -> Array:
        """ẑ, (r, o): the data in mode coordinates."""
        n = self.start.data.n
        return self.modes.coordinates(self.start.data.y - self.mean[:n])

    def fields(self) -> Iterator[Array]:
        """Yield the draws (S, n + h, o) scale by scale."""
        if isinstance(self.scheme, Shell) and self.scheme.basis == "parameter":
            yield from self._parameter_fields()
            return
        n = self.start.data.n
        z = self.modes.coordinates(self.start.field[:, :n] - self.mean[:n])
        if isinstance(self.scheme, Diffusion):
            eigenvalues = self.modes.eigenvalues
            if self.start.sampled_noise:  # each draw flows with its own noise
                eigenvalues = eigenvalues[None] * jnp.square(self.modes.noise / self.start.noise)[:, None]
            steps = self.scheme.steps(z, eigenvalues, self.start.observations, self.scales, self.key)
        else:
            steps = shell_modes(self.scheme, z, self.modes.eigenvalues, self.scales, self.key)
        complement = self._dropped_complement(z)
        for number, moved in enumerate(steps):
            change = moved - z
            field = _shifted(self.start.field, self.mode_fields, change)
            if complement is not None and self.scales[number] > 0:
                field = field - complement
            yield field

    def _dropped_complement(self, z: Array) -> Array | None:
        """Return the field along null directions of the metric, which ``drop`` removes at any cutoff."""
        if not (isinstance(self.scheme, Shell) and self.scheme.action == "drop"):
            return None
        return self.start.field - self.mean - jnp.einsum("mr,sro->smo", self.mode_fields, z)

    def _parameter_fields(self) -> Iterator[Array]:
        """Yield the draws with raw readout weights coarse-grained."""
        assert isinstance(self.scheme, Shell)
        prior = self.network.readout_prior(self.hidden)
        if not prior.covariance.isotropic:
            raise ValueError(
                "basis='parameter' needs independent readout weights and this network's are correlated; "
                "use basis='eigen'"
            )
        given, draw_key = self._readouts(prior)
        changes = shell_parameters(
            whitened_features(self.network, self.start.data.all_inputs, self.hidden),
            given,
            draw_key,
            self.start.number,
            self.kept_parameters,
            self.key,
            drop=self.scheme.action == "drop",
        )
        for change in changes:
            yield self.start.field + change

    def _readouts(self, prior: ReadoutPrior) -> tuple[Array, Array | None]:
        """Return dual coefficients and the key of the prior part of each draw, or whitened weights, None."""
        start = self.start
        if start.weights is not None:
            whiten = prior.covariance.inverse_sqrt_matmul
            return jax.vmap(lambda raw: whiten(raw - prior.mean))(start.weights), None
        if start.dual is None or "draw_keys" not in start.attrs:
            raise ValueError(
                "basis='parameter' needs the weights of each draw; use the tree that fit returned, not one "
                "that was flowed"
            )
        return start.dual, key_from_json(start.attrs["draw_keys"])[int(start.member[0])]

    @cached_property
    def kept_parameters(self) -> Array:
        """Kept raw weights at each cutoff, (scales, P), in the parameter basis."""
        assert isinstance(self.scheme, Shell)
        diagonal = diagonal_information(self.network, self.start.data.x, self.hidden, noise=self.modes.noise)
        return jnp.stack([self.scheme.kept(diagonal, cutoff) for cutoff in self.scales])

    def kept_modes(self, index: int) -> Array:
        """Kept modes at one scale, (r,): all of them for diffusion."""
        if isinstance(self.scheme, Shell):
            return self.scheme.kept(self.modes.eigenvalues, self.scales[index])
        return jnp.ones(self.modes.eigenvalues.shape, dtype=bool)

    def theory(self, index: int) -> ReadoutTheory:
        """Return the theory at one scale."""
        diffusing = isinstance(self.scheme, Diffusion)
        observations = self.scales[index] if diffusing else self.start.observations
        x = self.start.data.x
        if isinstance(self.scheme, Shell) and self.scheme.basis == "parameter":
            return kept_parameter_theory(
                self.network,
                x,
                self.hidden,
                self.start.data.y,
                kept=self.kept_parameters[index],
                observations=observations,
                noise=float(self.modes.noise),
                drop=self.scheme.action == "drop",
            )
        kept = self.kept_modes(index)
        signal = observations * self.modes.eigenvalues
        gain = jnp.where(kept, signal / (1 + signal), 0)
        mean = gain[:, None] * self.data_modes
        if isinstance(self.scheme, Shell) and self.scheme.action == "drop" and self.scales[index] > 0:
            return kept_mode_theory(self.network, x, self.hidden, self.modes, mean=mean, gain=gain, kept=kept)
        return mode_theory(self.network, x, self.hidden, self.modes, mean=mean, gain=gain)


@jax.jit
def _shifted(field: Array, mode_fields: Array, change: Array) -> Array:
    """Return field + Σ_k u_k change_k for draws (S, m, o); exactly ``field`` where nothing changed."""
    return field + jnp.einsum("mr,sro->smo", mode_fields, change)
