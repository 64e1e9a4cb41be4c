"""The exact renormalization group of a free field: the null hypothesis of every comparison (T9).

Everything here follows from a spectral density, a box and a noise level. No network, kernel
matrix or Fisher matrix enters: BRG = ERG is tested between routes that share nothing.

T independent observations of noise σ, spread evenly over a box of volume L^d, act on the
field as a mass: M_T² = T/(L^d σ²), "the mass of the data". Three renormalization groups are
written in it:

* Callan–Symanzik, R_k = k² = M_T²: G_T(p) = 1/(1/G0(p) + M_T²), what diffusion must reproduce;
* the momentum shell |p| ≤ Λ′ with G0(Λ′) M_T² = 1, what an information shell must reproduce;
* Polchinski's flow with a smooth cutoff, which ends at the same full propagator.

Sources: Howard, Klinger, Maiti, Stapleton, arXiv:2405.17538; Berman, Klinger, Stapleton,
arXiv:2305.10491; Polchinski, Nucl. Phys. B 231 (1984) 269.

Conventions: momenta |p| are angular; G0 is normalised as in :mod:`brg_prob.spectra`, with the
amplitude A included, G0(p) = A² G(p) below the cutoff and 0 above. Functions of arrays
broadcast; scalars in, scalar arrays out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.optimize import brentq

from brg_prob.spectra import (
    Floats,
    FreeScalar,
    Spectrum,
    ball_volume,
    below_cutoff,
    evaluate_spectrum,
    lattice_momenta,
)

CutoffFunction = Callable[[Any], Any]
"""C(p²/Λ²): 1 at 0, decreasing to 0."""


# --- the mass of the data and the Callan–Symanzik flow -------------------------------------------


def data_mass_squared(observations: Any, *, box: float, dim: int, noise: float) -> Any:
    """Return M_T² = T/(L^d σ²), the mass that T observations give the field (T9).

    Examples
    --------
    >>> data_mass_squared(100.0, box=10.0, dim=1, noise=0.5)
    40.0
    """
    return observations / (box**dim * noise**2)


def observations_at_mass(mass_squared: Any, *, box: float, dim: int, noise: float) -> Any:
    """Return T = M_T² L^d σ², the inverse of :func:`data_mass_squared`."""
    return mass_squared * (box**dim * noise**2)


def propagator(g0: Any, data_mass_squared: Any) -> Any:
    """Return G_T = 1/(1/G0 + M_T²), the connected two-point function given data; 0 where G0 is 0 (T9b)."""
    return g0 / (1 + data_mass_squared * g0)


def callan_symanzik(g0: Any, k: Any) -> Any:
    """Return the propagator with the regulator R_k = k², G_k = 1/(1/G0 + k²) (T9b).

    The flow from k = M_T down to k = 0 is inference run backwards.
    """
    return propagator(g0, k**2)


def callan_symanzik_derivative(g0: Any, k: Any) -> Any:
    """Return k ∂_k G_k = −G_k (k ∂_k R_k) G_k = −2k² G_k²."""
    return -2 * k**2 * callan_symanzik(g0, k) ** 2


def mean_filter(g0: Any, data_mass_squared: Any) -> Any:
    """Return M_T² G0/(1 + M_T² G0), by which the trained mean filters the data (T9c)."""
    weight = data_mass_squared * g0
    return weight / (1 + weight)


def running_mass(mass: float, data_mass_squared: Any, *, amplitude: float = 1.0) -> Any:
    """Return m_T = √(m² + A² M_T²), the mass of the free scalar A²/(p² + m²) at T (T9b)."""
    return jnp.sqrt(mass**2 + amplitude**2 * jnp.asarray(data_mass_squared, dtype=float))


# --- the momentum shell --------------------------------------------------------------------------


def momentum_cutoff(
    mass: float, data_mass_squared: Any, *, amplitude: float = 1.0, cutoff: float = math.inf
) -> Any:
    """Return the shell Λ′ = √(A² M_T² − m²) of the free scalar (T9a).

    0 where A M_T < m (the shell is empty), the cutoff Λ where Λ′ ≥ Λ (it is whole).
    """
    square = amplitude**2 * jnp.asarray(data_mass_squared, dtype=float) - mass**2
    return jnp.minimum(jnp.sqrt(jnp.maximum(square, 0)), cutoff)


def raw_amplitude_squared(dim: int, cutoff: float) -> float:
    """Return A² = 2 Vol(B_Λ)/(2π)^d of cosine neurons with momenta uniform in the ball, σ_a = 1 (T4)."""
    return 2 * ball_volume(dim, cutoff) / (2 * math.pi) ** dim


# --- Polchinski's equation with a smooth cutoff --------------------------------------------------


def exponential_cutoff(s: Any) -> Any:
    """Return C(s) = e^(−s) at s = p²/Λ²."""
    return jnp.exp(-s)


def sharp_cutoff(s: Any) -> Any:
    """Return C(s) = 1[s < 1] at s = p²/Λ²: the momentum shell."""
    return jnp.where(s < 1, 1.0, 0.0)


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

    covariance: Array
    coupling: Array
    propagator: Array


def polchinski_flow(
    g0: ArrayLike,
    p: ArrayLike,
    scale: ArrayLike,
    coupling: ArrayLike,
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
    g0, p, scale, r = (jnp.asarray(value, dtype=float) for value in (g0, p, scale, coupling))
    covariance = cutoff_function((p / scale) ** 2) * g0
    flowed = r / (1 + r * (g0 - covariance))
    return PolchinskiFlow(
        covariance=covariance,
        coupling=flowed,
        propagator=covariance / (1 + flowed * covariance),
    )


# --- position space ------------------------------------------------------------------------------


def periodic_two_point(r: ArrayLike, mass: float, box: float) -> Array:
    """Return Σ_p e^{ipr}/(L(p² + m²)) without a cutoff in d = 1: cosh(m(L/2 − r))/(2m sinh(mL/2)) (T4).

    Parameters
    ----------
    r
        Distances, any shape; taken modulo L.
    mass, box
        m and the side L; a flowed theory has m_T for m.
    """
    r = jnp.mod(jnp.asarray(r, dtype=float), box)
    # cosh/sinh written with decaying exponentials: no overflow at large mL
    waves = jnp.exp(-mass * r) + jnp.exp(-mass * (box - r))
    return waves / (2 * mass * -jnp.expm1(jnp.asarray(-mass * box, dtype=float)))


# --- one theory, all of the above ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FreeTheory:
    """A free field on a box, observed with Gaussian noise: T9's prediction at every T.

    G0(p) is rebuilt from the spectrum whenever it is asked for, so that
    ``dataclasses.replace(theory, mass=1.1 * theory.mass)`` is the theory with a wrong mass.

    Attributes
    ----------
    dim, box, cutoff, noise, mass, amplitude
        d, side L, sharp cutoff Λ, noise standard deviation σ, m and A.
    spectrum
        ``spectrum(p, mass, dim)``; G0 = A² spectrum.

    Examples
    --------
    >>> theory = FreeTheory(dim=1, box=10.0, cutoff=20.0, noise=0.5, mass=1.0)
    >>> round(float(theory.shell_cutoff(25.0)), 6), theory.data_mass_squared(25.0)
    (3.0, 10.0)
    """

    dim: int
    box: float
    cutoff: float
    noise: float
    mass: float
    amplitude: float = 1.0
    spectrum: Spectrum = FreeScalar()

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim = {self.dim} must be at least 1")
        for name in ("box", "cutoff", "noise", "mass", "amplitude"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} = {value} must be positive and finite")

    # the prior and its Fisher spectrum

    def g0(self, p: ArrayLike) -> Array:
        """Return G0(|p|) = A² spectrum(p) below the cutoff, 0 above; same shape as p."""
        p = jnp.asarray(p, dtype=float)
        return jnp.where(
            below_cutoff(p, self.cutoff), self.amplitude**2 * self.spectrum(p, self.mass, self.dim), 0
        )

    def momenta(self) -> Floats:
        """Return the momenta of the box up to the cutoff, one of each ±p pair, (M, d)."""
        return lattice_momenta(self.dim, self.box, self.cutoff)

    def fisher_eigenvalue(self, p: ArrayLike) -> Array:
        """Return λ(p) = G0/(L^d σ²), signal-to-noise of mode p in one observation."""
        return self.g0(p) * data_mass_squared(1.0, box=self.box, dim=self.dim, noise=self.noise)

    # Callan–Symanzik: diffusion

    def data_mass_squared(self, observations: Any) -> Any:
        """Return M_T² = T/(L^d σ²)."""
        return data_mass_squared(observations, box=self.box, dim=self.dim, noise=self.noise)

    def propagator_at(self, p: ArrayLike, observations: Any) -> Array:
        """Return the connected two-point function G_T(p) = 1/(1/G0 + M_T²) (T9b)."""
        return propagator(self.g0(p), self.data_mass_squared(observations))

    def mean_filter(self, p: ArrayLike, observations: Any) -> Array:
        """Return the low-pass filter M_T² G0/(1 + M_T² G0) of the trained mean (T9c)."""
        return mean_filter(self.g0(p), self.data_mass_squared(observations))

    def running_mass(self, observations: Any) -> Any:
        """Return m_T: m_T² = m² G0(0)/G_T(0).

        For the free scalar √(m² + A² M_T²), the mass at every p (T9b); for any other density the
        mass that the zero mode alone would show.
        """
        zero = self.amplitude**2 * self.spectrum(jnp.zeros(()), self.mass, self.dim)
        return self.mass * jnp.sqrt(1 + jnp.asarray(self.data_mass_squared(observations), dtype=float) * zero)

    def effective_dimension(self, observations: ArrayLike) -> Array:
        """Return d_eff = Σ_p M_T² G_T(p), the sum over all real modes of the box (T6).

        It is k∂_k of the one-loop free energy ½ Σ log(1 + k² G0) at k = M_T.
        """
        return jnp.sum(self._mode_weights() * self._over_modes(mean_filter, observations), axis=-1)

    def mutual_information(self, observations: ArrayLike) -> Array:
        """Return ½ Σ_p log(1 + T λ(p)) over all real modes of the box, in nats (T6)."""
        each = self._over_modes(lambda g0, mass_squared: jnp.log1p(mass_squared * g0), observations)
        return 0.5 * jnp.sum(self._mode_weights() * each, axis=-1)

    def _mode_weights(self) -> Array:
        """Return the real modes per momentum: 1 for p = 0, 2 for a ±p pair, (M,)."""
        return jnp.where(jnp.asarray(np.any(self.momenta() != 0, axis=1)), 2.0, 1.0)

    def _over_modes(self, function: Callable[[Any, Any], Array], observations: ArrayLike) -> Array:
        """Return function(G0, M_T²) with the momenta as the last axis."""
        mass_squared = self.data_mass_squared(jnp.asarray(observations, dtype=float))
        g0 = self.g0(np.linalg.norm(self.momenta(), axis=1))
        return function(g0.reshape((1,) * mass_squared.ndim + g0.shape), mass_squared[..., None])

    # the shell

    def shell_cutoff(self, observations: float) -> float:
        """Return Λ′, below which Tλ(p) ≥ 1: 0 if the shell is empty, Λ if it is whole (T9a).

        Closed form for the free scalar; for another density, which must decrease, the root of
        G0(Λ′) M_T² = 1. Host-side.

        Raises
        ------
        ValueError
            The density is not decreasing, so that no momentum shell corresponds to T.
        """
        mass_squared = float(self.data_mass_squared(observations))
        if isinstance(self.spectrum, FreeScalar):
            square = self.amplitude**2 * mass_squared - self.mass**2
            return min(math.sqrt(max(square, 0.0)), self.cutoff)
        self._require_decreasing()
        if self._density(0.0) * mass_squared <= 1:
            return 0.0
        if self._density(self.cutoff) * mass_squared >= 1:
            return self.cutoff
        return float(
            brentq(lambda p: math.log(self._density(p) * mass_squared), 0.0, self.cutoff, xtol=1e-15)
        )

    def observations_at_cutoff(self, shell_cutoff: float) -> float:
        """Return T = 1/λ(Λ′) = L^d σ²/G0(Λ′), the inverse of :meth:`shell_cutoff` on 0 < Λ′ < Λ."""
        return float(observations_at_mass(1.0, box=self.box, dim=self.dim, noise=self.noise)) / self._density(
            shell_cutoff
        )

    def shell_keeps(self, p: ArrayLike, observations: float) -> Array:
        """Return whether the shell at T keeps momentum p, boolean, same shape as p."""
        if float(self.data_mass_squared(observations)) * self._density(0.0) < 1:
            return jnp.zeros(jnp.shape(p), dtype=bool)
        return below_cutoff(jnp.asarray(p, dtype=float), self.shell_cutoff(observations))

    def shell_propagator(
        self, p: ArrayLike, observations: float, n: float, action: Literal["reset", "drop"] = "reset"
    ) -> Array:
        """Return the two-point function left by an information shell at 1/T of n observations (T8, T9a).

        Parameters
        ----------
        p
            |p|, any shape.
        observations
            T; the shell in whitened units is Λ_I = 1/T.
        n
            Observations of the posterior that is coarse-grained: kept modes have G_n.
        action
            What becomes of the others: "reset" to the prior G0, or "drop", 0.
        """
        if action not in ("reset", "drop"):
            raise ValueError(f"action = {action!r} is unknown; use 'reset' or 'drop'")
        left = self.g0(p) if action == "reset" else jnp.zeros(jnp.shape(p))
        return jnp.where(self.shell_keeps(p, observations), self.propagator_at(p, n), left)

    def _density(self, p: float) -> float:
        """Return A² spectrum(p) on the host, without the cutoff."""
        return self.amplitude**2 * float(evaluate_spectrum(self.spectrum, p, self.mass, self.dim))

    def _require_decreasing(self) -> None:
        """Raise ValueError unless the density decreases on [0, Λ] (seen at 1024 points)."""
        values = evaluate_spectrum(self.spectrum, np.linspace(0, self.cutoff, 1024), self.mass, self.dim)
        if np.any(np.diff(values) > 0):
            raise ValueError(
                f"spectrum {self.spectrum} rises somewhere: information shells are then no momentum shells"
            )

    # raw readout units of random momenta

    def modes(self) -> float:
        """Return N_modes = L^d Vol(B_Λ)/(2π)^d, the continuum count of real modes (T9a)."""
        return self.box**self.dim * ball_volume(self.dim, self.cutoff) / (2 * math.pi) ** self.dim

    def whitened_diagonal(self, p: ArrayLike, width: int) -> Array:
        """Return (N_modes/N) λ(p), the whitened diagonal Fisher information of a neuron at p (T9a)."""
        return self.modes() / width * self.fisher_eigenvalue(p)

    def raw_diagonal(self, p: ArrayLike) -> Array:
        """Return A_raw² G0(p)/(2σ²), the diagonal Fisher information in raw readout units (T9a)."""
        return raw_amplitude_squared(self.dim, self.cutoff) * self.g0(p) / (2 * self.noise**2)

    def raw_fisher_cutoff(self, observations: Any) -> Any:
        """Return the raw cutoff Λ_I = A_raw² L^d/(2T) at which the raw shell is that of T (T9a)."""
        return raw_amplitude_squared(self.dim, self.cutoff) * self.box**self.dim / (2 * observations)

    def observations_at_raw_cutoff(self, fisher_cutoff: Any) -> Any:
        """Return T = A_raw² L^d/(2Λ_I), the inverse of :meth:`raw_fisher_cutoff`.

        With :meth:`shell_cutoff` this is Λ′² = A_raw² A²/(2σ²Λ_I) − m² for the free scalar.
        """
        return self.raw_fisher_cutoff(fisher_cutoff)

    # position space

    def two_point_function(self, r: ArrayLike, observations: Any = 0.0) -> Array:
        """Return the connected ⟨f(x) f(x + r)⟩ at T on the periodic box, Σ_p G_T(p) cos(p·r)/L^d.

        Parameters
        ----------
        r
            Displacements, (k, d).
        observations
            T; 0 is the prior.

        Returns
        -------
        jax.Array
            (k,). In d = 1 and for Λ → ∞ the free scalar's is
            ``amplitude**2 * periodic_two_point(r, running_mass(T), box)``.
        """
        momenta = self.momenta()
        weights = self._mode_weights() * self.propagator_at(np.linalg.norm(momenta, axis=1), observations)
        r = jnp.asarray(r, dtype=float)
        return jnp.cos(r @ jnp.asarray(momenta.T, dtype=r.dtype)) @ weights / self.box**self.dim
