"""Spectral densities, lattice momenta, grids and plane waves of fields on a box (T4, T9).

Fourier convention: K(x − y) = ∫ d^dp/(2π)^d e^{ip(x−y)} G0(|p|), so that a field on a
periodic box of side L has coefficients of variance G0 on plane waves orthonormal in L²
of the box. Momenta p are angular, in inverse units of x.

Momenta, grids and quadratures are worked out on the host in float64, since they fix array
shapes; plane waves and densities are functions of arrays in whatever precision is on.
"""

from brg_prob.spectra.covariance import (
    stationary_covariance,
)
from brg_prob.spectra.densities import (
    FreeScalar,
    Matern,
    Spectrum,
    ball_volume,
    below_cutoff,
    evaluate_spectrum,
)
from brg_prob.spectra.grids import (
    Grid,
    equispaced_grid,
    lattice_momenta,
    plane_waves,
    why_no_grid,
)
from brg_prob.spectra.own import (
    NetworkDensity,
    own_spectrum,
)

__all__ = [
    "FreeScalar",
    "Grid",
    "Matern",
    "NetworkDensity",
    "Spectrum",
    "ball_volume",
    "below_cutoff",
    "equispaced_grid",
    "evaluate_spectrum",
    "lattice_momenta",
    "own_spectrum",
    "plane_waves",
    "stationary_covariance",
    "why_no_grid",
]
