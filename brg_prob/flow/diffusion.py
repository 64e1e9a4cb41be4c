"""BRG as Fisher-scaled diffusion (T7).

The Gaussian Markov flow that carries π_T to π_T′, T′ < T, with coefficients that do not
know the data. Per whitened mode about the prior mean, with τ = 1/T:

    z′ = s z + √(v′ − s² v) ξ,   s = (τ + λ)/(τ′ + λ),   v = τ/(τ + λ).

[BK] Berman, Klinger, arXiv:2212.11379; [BR] arXiv:2305.10491. For τ ≪ λ it is a heat
equation with diffusion matrix I⁻¹, for τ ≫ λ an Ornstein–Uhlenbeck process in log τ towards
N(0, 1). A mode with λ = 0 is left alone. Exact for linear-Gaussian models; it needs
coordinates in which the prior is N(0, 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def transition(eigenvalues: Array, start: Array | float, stop: Array | float) -> tuple[Array, Array]:
    """Return factor s and noise standard deviation of the exact transition.

    Parameters
    ----------
    eigenvalues
        λ ≥ 0 per observation, any shape.
    start, stop
        T and T′ ≤ T in observations; T′ = 0 is the prior.

    Examples
    --------
    >>> s, sd = transition(jnp.array([1.0]), 4.0, 0.0)
    >>> float(s[0]), float(sd[0])
    (0.0, 1.0)
    """
    ratio = jnp.asarray(stop, eigenvalues.dtype) / jnp.asarray(start, eigenvalues.dtype)
    forward, backward = 1 + start * eigenvalues, 1 + stop * eigenvalues
    factor = ratio * forward / backward
    # v′ − s²v, written without cancellation: (1−u)(1+u+T′λ)/(1+T′λ)², u = T′/T
    variance = (1 - ratio) * (ratio + backward) / jnp.square(backward)
    alive = eigenvalues > 0
    return jnp.where(alive, factor, 1), jnp.sqrt(jnp.where(alive, variance, 0))


@jax.jit
def diffuse(z: Array, eigenvalues: Array, start: Array | float, stop: Array | float, key: Array) -> Array:
    """Carry draws from π_start to π_stop, mode by mode.

    Parameters
    ----------
    z
        Whitened draws about the prior mean, (S, r, ...).
    eigenvalues
        λ, (r,), or (S, r) where each draw has its own noise.
    start, stop
        T and T′ in observations, T′ ≤ T.
    key
        Random key.

    Returns
    -------
    Array
        Same shape as ``z``.
    """
    factor, spread = transition(eigenvalues, start, stop)
    lead = (1,) * (2 - eigenvalues.ndim) + eigenvalues.shape
    shape = lead + (1,) * (z.ndim - 2)
    return factor.reshape(shape) * z + spread.reshape(shape) * jax.random.normal(key, z.shape, z.dtype)


@dataclass(frozen=True)
class Diffusion:
    """Scheme: diffuse the draws of a posterior at T through smaller and smaller T.

    Scales are numbers of observations T, descending from the posterior's own.
    """

    coordinate: ClassVar[str] = "observations"

    def steps(
        self, z: Array, eigenvalues: Array, start: float, scales: Sequence[float], key: Array
    ) -> Iterator[Array]:
        """Yield the draws (S, r, o) at each scale; one key per scale, so a flow can be replayed."""
        at = start
        for number, stop in enumerate(scales):
            if stop != at:  # a step of no length draws nothing: the posterior's own scale is kept bit for bit
                z = diffuse(z, eigenvalues, at, stop, jax.random.fold_in(key, number))
            at = stop
            yield z

    def equivalent_observations(self, scales: Sequence[float]) -> np.ndarray:
        """Return T that each scale stands for: itself."""
        return np.asarray(scales, dtype=float)

    def check_scales(self, scales: Sequence[float], start: float) -> tuple[float, ...]:
        """Return the scales as floats, or raise ValueError if they do not run towards the prior."""
        values = tuple(float(s) for s in scales)
        if not values:
            raise ValueError("scales is empty; give at least one number of observations T")
        if any(not 0 <= s <= start for s in values) or any(b > a for a, b in itertools.pairwise(values)):
            raise ValueError(
                f"scales = {_short(values)} must descend within [0, T = {start:g}] towards the prior"
            )
        return values


def _short(values: Sequence[float]) -> str:
    """Return numbers for an error line, at most six."""
    shown = ", ".join(f"{v:g}" for v in values[:6])
    return f"[{shown}{', …' if len(values) > 6 else ''}]"
