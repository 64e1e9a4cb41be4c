"""Draws of a linear readout as a posterior tree holds them, flattened over chains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.posterior import Data


@dataclass(frozen=True)
class ReadoutDraws:
    """Draws of a posterior, with the data that they were conditioned on.

    Attributes
    ----------
    field
        (S, n + h, o).
    noise
        σ of each draw, (S,).
    sampled_noise
        Whether σ was sampled.
    member, number
        Member of each draw, and its number in its member, (S,).
    dual
        c of each draw, (S, n, o), or None.
    weights
        Raw readout of each draw, (S, P, o), where the tree holds it (networks actually trained), or None.
    observations
        T of these draws.
    draw_keys
        Keys of the prior parts of the readouts, as the tree has them; empty if it has none.
    """

    data: Data
    field: Array
    noise: Array
    sampled_noise: bool
    member: np.ndarray
    number: Array
    dual: Array | None
    weights: Array | None
    observations: float
    draw_keys: str

    @property
    def members(self) -> int:
        """Number of members."""
        return int(self.member.max()) + 1

    def of_member(self, label: int) -> ReadoutDraws:
        """Return the draws of one member."""
        if self.members == 1:
            return self
        at = np.flatnonzero(self.member == label)
        return replace(
            self,
            field=self.field[at],
            noise=self.noise[at],
            member=self.member[at] * 0,
            number=self.number[at],
            dual=None if self.dual is None else self.dual[at],
            weights=None if self.weights is None else self.weights[at],
        )


def readout_draws(posterior: xr.DataTree, noise: float, held_out: Any = None) -> ReadoutDraws:
    """Read a posterior tree.

    Parameters
    ----------
    noise
        σ where none was sampled.
    held_out
        Replaces the tree's own held-out targets.

    Raises
    ------
    ValueError
        ``held_out`` at inputs of which the tree has no predictions.
    """
    draws = posterior["posterior"].dataset
    y = with_output(posterior["observed_data"]["y"].values, 1)
    pair = _held_out(posterior, held_out)
    total = draws.sizes["chain"] * draws.sizes["draw"]
    sampled = "noise" in draws
    member = np.zeros(total, int) if "member" not in draws else np.ravel(draws["member"].values)
    trained = posterior["trained"].dataset if "trained" in posterior.children else {}
    return ReadoutDraws(
        data=Data(jnp.asarray(posterior["constant_data"]["inputs"].values), y, pair),
        field=field_of(posterior, held_out=pair is not None),
        noise=jnp.ravel(jnp.asarray(draws["noise"].values)) if sampled else jnp.full(total, noise),
        sampled_noise=sampled,
        member=member,
        number=_numbers(member),
        dual=_flattened(draws["dual"].values) if "dual" in draws else None,
        weights=_flattened(trained["readout"].values) if "readout" in trained else None,
        observations=float(posterior.attrs["observations"]),
        draw_keys=str(posterior.attrs.get("draw_keys", "")),
    )


def field_of(posterior: xr.DataTree, *, held_out: bool) -> Array:
    """Return the field (S, n + h, o) of a posterior tree, at the training and then at the held-out inputs."""
    groups = ("posterior", "predictions") if held_out else ("posterior",)
    parts = [_flattened(posterior[group]["f"].values) for group in groups]
    return jnp.concatenate(parts, axis=1) if held_out else parts[0]


def with_output(values: Any, ndim: int) -> Array:
    """Return an array whose last axis counts outputs; ``ndim`` is its rank without that axis."""
    array = jnp.asarray(values)
    return array[..., None] if array.ndim == ndim else array


def _flattened(values: Any) -> Array:
    """Return (chain, draw, m[, o]) as (S, m, o)."""
    array = with_output(values, 3)
    return array.reshape(-1, *array.shape[2:])


def _held_out(posterior: xr.DataTree, held_out: Any) -> tuple[Array, Array] | None:
    """Return held-out inputs and targets of the tree, the targets replaced if given."""
    if "predictions" not in posterior.children:
        if held_out is not None:
            raise ValueError(
                "held_out was given but the posterior has no predictions there; pass held_out to fit as well"
            )
        return None
    x = jnp.asarray(posterior["predictions_constant_data"]["inputs"].values)
    y = with_output(posterior["predictions_data"]["y"].values, 1)
    if held_out is not None:
        other = np.asarray(held_out[0], dtype=float).reshape(x.shape[0], -1)
        if other.shape != x.shape or not np.array_equal(other, np.asarray(x)):
            raise ValueError(
                "held_out inputs differ from those the posterior was evaluated at; pass the same to fit"
            )
        y = with_output(np.asarray(held_out[1], dtype=float), 1)
    return x, y


def _numbers(member: np.ndarray) -> Array:
    """Return the number of each draw within its member, (S,)."""
    numbers = np.zeros(member.size, dtype=int)
    for label in np.unique(member):
        at = member == label
        numbers[at] = np.arange(at.sum())
    return jnp.asarray(numbers)
