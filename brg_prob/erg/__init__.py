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

from brg_prob.erg.flows import (
    CutoffFunction,
    PolchinskiFlow,
    callan_symanzik,
    callan_symanzik_derivative,
    data_mass_squared,
    exponential_cutoff,
    mean_filter,
    momentum_cutoff,
    observations_at_mass,
    periodic_two_point,
    polchinski_flow,
    propagator,
    raw_amplitude_squared,
    running_mass,
    sharp_cutoff,
)
from brg_prob.erg.free_theory import FreeTheory

__all__ = [
    "CutoffFunction",
    "FreeTheory",
    "PolchinskiFlow",
    "callan_symanzik",
    "callan_symanzik_derivative",
    "data_mass_squared",
    "exponential_cutoff",
    "mean_filter",
    "momentum_cutoff",
    "observations_at_mass",
    "periodic_two_point",
    "polchinski_flow",
    "propagator",
    "raw_amplitude_squared",
    "running_mass",
    "sharp_cutoff",
]
