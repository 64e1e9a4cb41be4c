"""Spectral densities of stationary fields, and the cutoff (T4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

Momenta = Real[Any, "*shape"] | float
Density = Float[Any, "*shape"] | float
Spectrum = Callable[[Momenta, float, int], Density]
"""``spectrum(p, mass, dim)``: spectral density at momenta |p| of any shape, same shape out."""


@dataclass(frozen=True)
class FreeScalar:
    """The free scalar field, G(p) = 1/(p² + m²), the propagator of (∂φ)²/2 + m²φ²/2.

    Examples
    --------
    >>> FreeScalar()(3.0, 1.0, 1)
    0.1
    """

    def __call__(self, p: Momenta, mass: float, dim: int) -> Density:
        """Return G at |p|, any shape."""
        return 1.0 / (p**2 + mass**2)


@dataclass(frozen=True)
class Matern:
    """The Matérn density of smoothness ν, G(p) = m^(2ν+d−2) / (p² + m²)^(ν+d/2).

    The constant makes G(0) = 1/m² for every ν, in the units of the free scalar, which is the
    case ν = 1 − d/2 (in d = 1: ν = ½, the Ornstein–Uhlenbeck process). The usual length scale
    is √(2ν)/m.

    Attributes
    ----------
    smoothness
        ν > 1 − d/2 tames the ultraviolet more than a free scalar does.

    Examples
    --------
    >>> Matern(smoothness=0.5)(3.0, 1.0, 1)
    0.1
    """

    smoothness: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.smoothness < math.inf:
            raise ValueError(f"smoothness = {self.smoothness} must be positive and finite, e.g. 1.5")

    def __call__(self, p: Momenta, mass: float, dim: int) -> Density:
        """Return G at |p|, any shape."""
        power = self.smoothness + dim / 2
        return mass ** (2 * power - 2) / (p**2 + mass**2) ** power


def evaluate_spectrum(
    spectrum: Spectrum, p: Real[ArrayLike, "*shape"], mass: float, dim: int
) -> Real[np.ndarray, "*shape"]:
    """Return a spectral density on the host, as a constant even where jax is tracing.

    Raises
    ------
    ValueError
        The spectrum changes the shape, or is negative or not finite at one of the momenta.
    """
    momenta = np.asarray(p, dtype=np.float64)
    with jax.ensure_compile_time_eval():
        values = np.asarray(spectrum(momenta, mass, dim))
    if values.shape != momenta.shape:
        raise ValueError(
            f"spectrum returned shape {values.shape} for momenta {momenta.shape}; keep the shape"
        )
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        at, value = momenta.flat[bad[0]], values.flat[bad[0]]
        raise ValueError(f"spectrum is {value} at |p| = {at}; a spectral density is finite and not negative")
    return values


def below_cutoff(p: Momenta, cutoff: float) -> Bool[Any, "*shape"] | bool:
    """Return whether |p| ≤ cutoff, a momentum on the cutoff counting as below it despite rounding."""
    dtype = getattr(p, "dtype", np.dtype(float))
    dtype = dtype if np.issubdtype(dtype, np.floating) else np.dtype(float)
    return p <= cutoff * (1 + 8 * float(np.finfo(dtype).eps))


def ball_volume(dim: int, radius: float) -> float:
    """Return the volume of a ball in d dimensions, π^(d/2) r^d / Γ(d/2 + 1).

    Examples
    --------
    >>> ball_volume(1, 3.0)
    6.0
    """
    return math.pi ** (dim / 2) * radius**dim / math.gamma(dim / 2 + 1)
