"""BRG as an information shell (T8): directions below the cutoff are coarse-grained, the rest kept.

Two bases. ``eigen``: modes of the whitened metric, cutoff Λ_I = 1/T. ``parameter``: the
diagonal of the metric in raw readout units, the published experiment ([BRG-NNFT],
arXiv:2405.17538). Two actions. ``reset`` redraws a direction from its prior, once, at the
first cutoff that exceeds it; ``drop`` sets it to the prior mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.batching import even_batch, map_batches
from brg_prob.posterior.members import prior_weights

_ELEMENTS = 1 << 22
"""Weights (draws × cutoffs × P) alive at once in the parameter basis: 32 MiB in float64."""


@dataclass(frozen=True)
class Shell:
    """Scheme: an information shell.

    Attributes
    ----------
    basis
        ``eigen`` or ``parameter``.
    action
        ``reset`` or ``drop``.
    keep
        ``stiff``, or ``sloppy``: the shell reversed, a negative control that coarse-grains
        the best-determined directions first.

    Notes
    -----
    Scales are Fisher cutoffs Λ_I, ascending. A reversed shell coarse-grains as many
    directions as the true one, from the other end of the spectrum.
    """

    basis: Literal["eigen", "parameter"] = "eigen"
    action: Literal["reset", "drop"] = "reset"
    keep: Literal["stiff", "sloppy"] = "stiff"

    coordinate: ClassVar[str] = "fisher_cutoff"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("basis", ("eigen", "parameter")),
            ("action", ("reset", "drop")),
            ("keep", ("stiff", "sloppy")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} = {value!r} is unknown; use {allowed[0]!r} or {allowed[1]!r}")

    def equivalent_observations(self, scales: Sequence[float]) -> np.ndarray:
        """Return T that each cutoff stands for: 1/Λ_I in the eigenbasis (T8), nan in raw units."""
        values = np.asarray(scales, dtype=float)
        if self.basis == "parameter":
            return np.full(values.shape, np.nan)
        with np.errstate(divide="ignore"):
            return np.asarray(1 / values)

    def check_scales(self, scales: Sequence[float], start: float) -> tuple[float, ...]:
        """Return the cutoffs as floats, or raise ValueError if they do not run towards the prior."""
        values = tuple(float(s) for s in scales)
        if not values:
            raise ValueError("scales is empty; give at least one Fisher cutoff")
        if any(not v >= 0 for v in values) or any(b < a for a, b in itertools.pairwise(values)):
            raise ValueError(
                f"scales = {list(values)[:6]} must ascend from 0: Fisher cutoffs towards the prior"
            )
        return values

    def kept(self, information: Array, cutoff: float) -> Array:
        """Return which directions are kept at a cutoff.

        Parameters
        ----------
        information
            Eigenvalues λ or diagonal entries of the metric, (k,).
        cutoff
            Λ_I; a direction is sloppy if its information is below it.
        """
        stiff = information >= cutoff
        if self.keep == "stiff":
            return stiff
        ranks = jnp.argsort(jnp.argsort(-information, stable=True), stable=True)
        return ranks >= jnp.sum(~stiff)


def shell_modes(
    shell: Shell, z: Array, eigenvalues: Array, scales: Sequence[float], key: Array
) -> Iterator[Array]:
    """Yield mode coordinates (S, r, o) at each cutoff.

    One prior draw per direction and draw serves the whole flow, so every direction is
    redrawn exactly once, at the first cutoff above it.
    """
    fresh = jax.random.normal(key, z.shape, z.dtype) if shell.action == "reset" else jnp.zeros_like(z)
    for cutoff in scales:
        kept = shell.kept(eigenvalues, cutoff)
        yield jnp.where(kept[None, :, None], z, fresh)


@partial(jax.jit, static_argnames=("drop",))
def shell_parameters(
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
        Action.

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
