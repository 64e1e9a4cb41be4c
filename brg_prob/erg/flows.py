"""The flows of a free field as functions of arrays: Callan–Symanzik, momentum shell, Polchinski (T9)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from brg_prob.spectra import ball_volume

# of numpy, jax or Python, and so is what follows; several broadcast
Numbers = Real[Any, "*#shape"] | float
Result = Real[Any, "*shape"] | float

CutoffFunction = Callable[[Float[Any, "*shape"]], Float[Any, "*shape"]]
"""C(p²/Λ²): 1 at 0, decreasing to 0."""


# --- on the host where values are known: operations of jax one by one compile at every shape ---------


def plain(value: Real[ArrayLike, "*shape"]) -> Float[Any, "*shape"]:
    """Return floating numbers as a numpy array, or as they are where jax traces them."""
    if isinstance(value, jax.core.Tracer):
        return jnp.asarray(value, dtype=float)
    return np.asarray(value, dtype=jnp.result_type(float))


def namespace(*values: Any) -> Any:
    """Return numpy, or jax.numpy where one of the values is traced."""
    return jnp if any(isinstance(value, jax.core.Tracer) for value in values) else np


# --- the mass of the data and the Callan–Symanzik flow -------------------------------------------


def data_mass_squared(observations: Numbers, *, box: float, dim: int, noise: float) -> Result:
    """Return M_T² = T/(L^d σ²), the mass that T observations give the field (T9).

    Examples
    --------
    >>> data_mass_squared(100.0, box=10.0, dim=1, noise=0.5)
    40.0
    """
    return observations / (box**dim * noise**2)


def observations_at_mass(mass_squared: Numbers, *, box: float, dim: int, noise: float) -> Result:
    """Return T = M_T² L^d σ², the inverse of :func:`data_mass_squared`."""
    return mass_squared * (box**dim * noise**2)


def propagator(g0: Numbers, data_mass_squared: Numbers) -> Result:
    """Return G_T = 1/(1/G0 + M_T²), the connected two-point function given data; 0 where G0 is 0 (T9b)."""
    return g0 / (1 + data_mass_squared * g0)


def callan_symanzik(g0: Numbers, k: Numbers) -> Result:
    """Return the propagator with the regulator R_k = k², G_k = 1/(1/G0 + k²) (T9b).

    The flow from k = M_T down to k = 0 is inference run backwards.
    """
    return propagator(g0, k**2)


def callan_symanzik_derivative(g0: Numbers, k: Numbers) -> Result:
    """Return k ∂_k G_k = −G_k (k ∂_k R_k) G_k = −2k² G_k²."""
    return -2 * k**2 * callan_symanzik(g0, k) ** 2


def mean_filter(g0: Numbers, data_mass_squared: Numbers) -> Result:
    """Return M_T² G0/(1 + M_T² G0), by which the trained mean filters the data (T9c)."""
    weight = data_mass_squared * g0
    return weight / (1 + weight)


def running_mass(
    mass: float, data_mass_squared: Real[ArrayLike, "*shape"], *, amplitude: float = 1.0
) -> Float[Array, "*shape"]:
    """Return m_T = √(m² + A² M_T²), the mass of the free scalar A²/(p² + m²) at T (T9b)."""
    square = mass**2 + amplitude**2 * plain(data_mass_squared)
    return jnp.asarray(namespace(square).sqrt(square))


# --- the momentum shell --------------------------------------------------------------------------


def momentum_cutoff(
    mass: float,
    data_mass_squared: Real[ArrayLike, "*shape"],
    *,
    amplitude: float = 1.0,
    cutoff: float = math.inf,
) -> Float[Array, "*shape"]:
    """Return the shell Λ′ = √(A² M_T² − m²) of the free scalar (T9a).

    0 where A M_T < m (the shell is empty), the cutoff Λ where Λ′ ≥ Λ (it is whole).
    """
    square = amplitude**2 * plain(data_mass_squared) - mass**2
    xp = namespace(square)
    return jnp.asarray(xp.minimum(xp.sqrt(xp.maximum(square, 0)), cutoff))


def raw_amplitude_squared(dim: int, cutoff: float) -> float:
    """Return A² = 2 Vol(B_Λ)/(2π)^d of cosine neurons with momenta uniform in the ball, σ_a = 1 (T4)."""
    return 2 * ball_volume(dim, cutoff) / (2 * math.pi) ** dim


# --- Polchinski's equation with a smooth cutoff --------------------------------------------------


def exponential_cutoff(s: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Return C(s) = e^(−s) at s = p²/Λ²."""
    at = plain(s)
    return jnp.asarray(namespace(at).exp(-at))


def sharp_cutoff(s: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Return C(s) = 1[s < 1] at s = p²/Λ²: the momentum shell."""
    at = plain(s)
    return jnp.asarray((at < 1).astype(at.dtype))


@dataclass(frozen=True)
class PolchinskiFlow:
    """A Gaussian theory at a smooth cutoff; all arrays broadcast momenta against scales.

    Attributes
    ----------
    covariance
        G_Λ(p) = C(p²/Λ²) G0(p), of the Gaussian measure left at Λ.
    coupling
        r_Λ(p), of the interaction V_Λ = ½ ∫ d^dp/(2π)^d r_Λ |φ|².
    propagator
        1/(1/G_Λ + r_Λ), the two-point function of the modes left.
    """

    covariance: Float[Array, "*#shape"]
    coupling: Float[Array, "*shape"]
    propagator: Float[Array, "*shape"]


def polchinski_flow(
    g0: Real[ArrayLike, "*#shape"],
    p: Real[ArrayLike, "*#shape"],
    scale: Real[ArrayLike, "*#shape"],
    coupling: Real[ArrayLike, "*#shape"],
    *,
    cutoff_function: CutoffFunction = exponential_cutoff,
) -> PolchinskiFlow:
    """Solve Polchinski's equation for a quadratic interaction, from Λ = ∞ down to a scale (T9).

    Parameters
    ----------
    g0
        Spectral density at p.
    p
        |p|, inverse units of x.
    scale
        Λ > 0, broadcast against p.
    coupling
        r at Λ = ∞; M_T² for T observations at y = 0.
    cutoff_function
        C.

    Notes
    -----
    exp(−V_Λ) is exp(−V_∞) smeared with the covariance G0 − G_Λ: the heat equation
    ∂_Λ e^(−V) = −½ ∂_ΛG · δ²e^(−V)/δφ², so ∂_Λ r = ∂_ΛG_Λ r², with the solution
    1/r_Λ = 1/r_∞ + G0 − G_Λ. As Λ → 0 it leaves the amputated connected two-point function, and
    G0 − G0² r_0 = 1/(1/G0 + r_∞) is Callan–Symanzik's propagator: two exact RGs, one theory.

    Examples
    --------
    >>> r = float(polchinski_flow(0.5, 1.0, 1e-3, 2.0).coupling)
    >>> r, 0.5 - 0.5 * r * 0.5, callan_symanzik(0.5, 2.0**0.5)
    (1.0, 0.25, 0.25)
    """
    g0, p, scale, r = (plain(value) for value in (g0, p, scale, coupling))
    covariance = plain(cutoff_function((p / scale) ** 2)) * g0
    flowed = r / (1 + r * (g0 - covariance))
    return PolchinskiFlow(
        covariance=jnp.asarray(covariance),
        coupling=jnp.asarray(flowed),
        propagator=jnp.asarray(covariance / (1 + flowed * covariance)),
    )


# --- position space ------------------------------------------------------------------------------


def periodic_two_point(
    r: Real[ArrayLike, "*shape"], mass: Real[Any, ""] | float, box: float
) -> Float[Array, "*shape"]:
    """Return Σ_p e^{ipr}/(L(p² + m²)) without a cutoff in d = 1: cosh(m(L/2 − r))/(2m sinh(mL/2)) (T4).

    Parameters
    ----------
    r
        Distances, any shape; taken modulo L.
    mass, box
        m and the side L; a flowed theory has m_T for m.
    """
    distance, scale = plain(r), plain(-mass * box)
    xp = namespace(distance, scale)
    distance = xp.mod(distance, box)
    # cosh/sinh written with decaying exponentials: no overflow at large mL
    waves = xp.exp(-mass * distance) + xp.exp(-mass * (box - distance))
    return jnp.asarray(waves / (2 * mass * -xp.expm1(scale)))
