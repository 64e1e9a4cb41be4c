"""The spectral density of a network, in the form that the predictions take."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from brg_prob.spectra.densities import Density, Momenta, Spectrum, evaluate_spectrum
from brg_prob.spectra.grids import lattice_momenta


@dataclass(frozen=True)
class NetworkDensity:
    """A free-field network's own spectral density as ``spectrum(p, mass, dim)``.

    Another mass is asked of a copy of the network, which must then be a dataclass.
    """

    network: Any

    def __call__(self, p: Momenta, mass: float, dim: int) -> Density:
        """Return G0 at |p|, any shape."""
        same = mass == self.network.mass
        return (self.network if same else dataclasses.replace(self.network, mass=mass)).spectral_density(p)


def own_spectrum(network: Any) -> tuple[float, Spectrum]:
    """Return A and G of a free-field network whose spectral density is A² G below its cutoff.

    The ``amplitude`` and ``spectrum`` that it names, where its density is made of them, to rounding,
    at a thousand momenta up to the cutoff and at those of its box; else 1 and its density itself.

    Parameters
    ----------
    network
        Capability FreeField.
    """
    named = getattr(network, "spectrum", None)
    if named is None:
        return 1.0, NetworkDensity(network)
    amplitude = float(getattr(network, "amplitude", 1.0))
    momenta = network.cutoff * (np.arange(1024) + 0.5) / 1024
    if network.box is not None:
        lattice = lattice_momenta(network.dim, network.box, network.cutoff)
        momenta = np.concatenate([np.linalg.norm(lattice, axis=1), momenta])
    momenta = momenta.astype(jnp.result_type(float))  # those that the network sees
    own = evaluate_spectrum(NetworkDensity(network), momenta, network.mass, network.dim)
    made = amplitude**2 * evaluate_spectrum(named, momenta, network.mass, network.dim)
    precision = max((np.finfo(np.result_type(v, np.float32)) for v in (own, made)), key=lambda p: p.eps)
    same = np.allclose(own, made, rtol=64 * float(precision.eps), atol=float(precision.tiny))
    return (amplitude, named) if same else (1.0, NetworkDensity(network))
