"""One free theory on a box, observed with noise: T9's prediction at every T."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real
from scipy.optimize import brentq

from brg_prob.erg.flows import (
    Numbers,
    Result,
    data_mass_squared,
    mean_filter,
    namespace,
    observations_at_mass,
    plain,
    propagator,
    raw_amplitude_squared,
)
from brg_prob.spectra import (
    FreeScalar,
    Spectrum,
    ball_volume,
    below_cutoff,
    evaluate_spectrum,
    lattice_momenta,
)


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

    def g0(self, p: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return G0(|p|) = A² spectrum(p) below the cutoff, 0 above; same shape as p."""
        return jnp.asarray(self._g0(p))

    def _g0(self, p: Real[ArrayLike, "*shape"]) -> Float[Any, "*shape"]:
        """Return the same on the host, unless jax traces the momenta: one by one its operations compile."""
        p = plain(p)
        with np.errstate(all="ignore"):
            density = plain(self.amplitude**2 * self.spectrum(p, self.mass, self.dim))
        below = below_cutoff(p, self.cutoff)
        return namespace(density, below).where(below, density, np.zeros((), density.dtype))

    def momenta(self) -> Float[np.ndarray, "M {self.dim}"]:
        """Return the momenta of the box up to the cutoff, one of each ±p pair, (M, d)."""
        return lattice_momenta(self.dim, self.box, self.cutoff)

    def fisher_eigenvalue(self, p: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return λ(p) = G0/(L^d σ²), signal-to-noise of mode p in one observation."""
        return jnp.asarray(self._g0(p) * data_mass_squared(1.0, box=self.box, dim=self.dim, noise=self.noise))

    # Callan–Symanzik: diffusion

    def data_mass_squared(self, observations: Numbers) -> Result:
        """Return M_T² = T/(L^d σ²)."""
        return data_mass_squared(observations, box=self.box, dim=self.dim, noise=self.noise)

    def propagator_at(
        self, p: Real[ArrayLike, "*#shape"], observations: Real[ArrayLike, "*#shape"]
    ) -> Float[Array, "*shape"]:
        """Return the connected two-point function G_T(p) = 1/(1/G0 + M_T²) (T9b)."""
        return jnp.asarray(propagator(self._g0(p), self.data_mass_squared(plain(observations))))

    def mean_filter(
        self, p: Real[ArrayLike, "*#shape"], observations: Real[ArrayLike, "*#shape"]
    ) -> Float[Array, "*shape"]:
        """Return the low-pass filter M_T² G0/(1 + M_T² G0) of the trained mean (T9c)."""
        return jnp.asarray(mean_filter(self._g0(p), self.data_mass_squared(plain(observations))))

    def running_mass(self, observations: Real[ArrayLike, "*scales"]) -> Float[Array, "*scales"]:
        """Return m_T: m_T² = m² G0(0)/G_T(0).

        For the free scalar √(m² + A² M_T²), the mass at every p (T9b); for any other density the
        mass that the zero mode alone would show.
        """
        zero = plain(self.amplitude**2 * self.spectrum(plain(0.0), self.mass, self.dim))
        square = 1 + self.data_mass_squared(plain(observations)) * zero
        return jnp.asarray(self.mass * namespace(square).sqrt(square))

    def effective_dimension(self, observations: Real[ArrayLike, "*scales"]) -> Float[Array, "*scales"]:
        """Return d_eff = Σ_p M_T² G_T(p), the sum over all real modes of the box (T6).

        It is k∂_k of the one-loop free energy ½ Σ log(1 + k² G0) at k = M_T.
        """
        return jnp.asarray((self._mode_weights() * self._over_modes(mean_filter, observations)).sum(axis=-1))

    def mutual_information(self, observations: Real[ArrayLike, "*scales"]) -> Float[Array, "*scales"]:
        """Return ½ Σ_p log(1 + T λ(p)) over all real modes of the box, in nats (T6)."""
        information = self._over_modes(lambda g0, mass_squared: mass_squared * g0, observations)
        each = namespace(information).log1p(information)
        return jnp.asarray(0.5 * (self._mode_weights() * each).sum(axis=-1))

    def _mode_weights(self) -> Float[np.ndarray, " M"]:
        """Return the real modes per momentum: 1 for p = 0, 2 for a ±p pair, (M,)."""
        return np.where(np.any(self.momenta() != 0, axis=1), 2.0, 1.0).astype(jnp.result_type(float))

    def _over_modes(
        self, function: Callable[[Any, Any], Any], observations: Real[ArrayLike, "*scales"]
    ) -> Float[Any, "*scales M"]:
        """Return function(G0, M_T²) with the momenta as the last axis."""
        mass_squared: Any = self.data_mass_squared(plain(observations))
        g0 = self._g0(np.linalg.norm(self.momenta(), axis=1))
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

    def shell_keeps(self, p: Real[ArrayLike, "*shape"], observations: float) -> Bool[Array, "*shape"]:
        """Return whether the shell at T keeps momentum p, boolean, same shape as p."""
        return jnp.asarray(self._shell_keeps(p, observations))

    def _shell_keeps(self, p: Real[ArrayLike, "*shape"], observations: float) -> Bool[Any, "*shape"]:
        """Return the same on the host, unless jax traces the momenta."""
        if float(self.data_mass_squared(observations)) * self._density(0.0) < 1:
            return np.zeros(jnp.shape(p), dtype=bool)
        return below_cutoff(plain(p), self.shell_cutoff(observations))

    def shell_propagator(
        self,
        p: Real[ArrayLike, "*shape"],
        observations: float,
        n: float,
        action: Literal["reset", "drop"] = "reset",
    ) -> Float[Array, "*shape"]:
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
        left = self._g0(p) if action == "reset" else np.zeros(jnp.shape(p), jnp.result_type(float))
        kept = propagator(self._g0(p), self.data_mass_squared(n))
        keeps = self._shell_keeps(p, observations)
        return jnp.asarray(namespace(keeps, kept).where(keeps, kept, left))

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

    def whitened_diagonal(self, p: Real[ArrayLike, "*shape"], width: int) -> Float[Array, "*shape"]:
        """Return (N_modes/N) λ(p), the whitened diagonal Fisher information of a neuron at p (T9a)."""
        return jnp.asarray(self.modes() / width * plain(self.fisher_eigenvalue(p)))

    def raw_diagonal(self, p: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return A_raw² G0(p)/(2σ²), the diagonal Fisher information in raw readout units (T9a)."""
        return jnp.asarray(raw_amplitude_squared(self.dim, self.cutoff) * self._g0(p) / (2 * self.noise**2))

    def raw_fisher_cutoff(self, observations: Numbers) -> Result:
        """Return the raw cutoff Λ_I = A_raw² L^d/(2T) at which the raw shell is that of T (T9a)."""
        return raw_amplitude_squared(self.dim, self.cutoff) * self.box**self.dim / (2 * observations)

    def observations_at_raw_cutoff(self, fisher_cutoff: Numbers) -> Result:
        """Return T = A_raw² L^d/(2Λ_I), the inverse of :meth:`raw_fisher_cutoff`.

        With :meth:`shell_cutoff` this is Λ′² = A_raw² A²/(2σ²Λ_I) − m² for the free scalar.
        """
        return self.raw_fisher_cutoff(fisher_cutoff)

    # position space

    def two_point_function(
        self, r: Real[ArrayLike, "k d"], observations: Real[ArrayLike, ""] = 0.0
    ) -> Float[Array, " k"]:
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
        g0, mass_squared = (
            self._g0(np.linalg.norm(momenta, axis=1)),
            self.data_mass_squared(plain(observations)),
        )
        weights = self._mode_weights() * propagator(g0, mass_squared)
        phase = plain(r) @ momenta.T.astype(g0.dtype)
        return jnp.asarray(namespace(phase).cos(phase) @ weights / self.box**self.dim)
