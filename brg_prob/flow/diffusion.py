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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array

from brg_prob.charts import Atlas, Chart, ModeChart
from brg_prob.flow.scheme import Scheme

_UNSEEN = 0.01
"""Tλ of directions left alone, up to which their variances are off by less than 1 %."""


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
class Diffusion(Scheme):
    """Scheme: diffuse the draws of a posterior at T through smaller and smaller T.

    Scales are numbers of observations T, descending from the posterior's own. What the modes do not span is
    left alone: the data cannot see it (T7).
    """

    name: ClassVar[str] = "diffusion"

    def check(self, atlas: Atlas, posterior: xr.DataTree) -> None:
        """Raise ValueError without coordinates, or where what is left alone is seen by the data."""
        super().check(atlas, posterior)
        if why_not := left_alone(atlas.metric.null_bound, float(posterior.attrs["observations"])):
            raise ValueError(f"Diffusion() would be wrong: {why_not}")

    def walk(
        self, chart: Chart, origins: Sequence[xr.DataTree], scales: Sequence[float], start: float
    ) -> Iterator[Any]:
        """Yield the draws at each scale; one key per scale, so that a flow can be replayed."""
        assert isinstance(chart, ModeChart)
        z, at = chart.modes(chart.start), start
        for number, stop in enumerate(scales):
            if stop != at:  # a step of no length draws nothing: the posterior's own scale is kept bit for bit
                z = diffuse(z, chart.eigenvalues, at, stop, jax.random.fold_in(chart.key, number))
            at = stop
            yield chart.start if stop == start else chart.moved(z)


def left_alone(null_bound: float, observations: float) -> str:
    """Return why directions with λ up to ``null_bound`` cannot be left alone at T; empty if they can."""
    if not observations * null_bound > _UNSEEN:
        return ""
    return (
        f"the metric has its leading eigenvalues alone, down to Tλ = {observations * null_bound:.2g}, and "
        "what lies beyond would be left as it is; give more of them (leading=…), all (method='dense'), or "
        "temper (scheme=Tempering(engine=NUTS()))"
    )
