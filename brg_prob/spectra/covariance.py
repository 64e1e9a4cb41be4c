"""Covariances of stationary fields in infinite volume, by quadrature over momenta (T4)."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real
from scipy.spatial.distance import cdist
from scipy.special import j0

from brg_prob.shapes import Rows
from brg_prob.spectra.densities import Spectrum, evaluate_spectrum

_NODES = 32
"""Gauss–Legendre nodes per panel of a momentum integral."""
_PHASE = 20.0
"""Largest phase p·r that one panel spans: 32 nodes then integrate cos(pr) to rounding."""
_BLOCK = 1 << 22
"""Elements of the largest intermediate array of an integral."""
_CHEBYSHEV = 20
"""Chebyshev coefficients per panel of distances, each of phase Λr ≤ 6: error below 1e-13."""

Distances = Float[np.ndarray, " k"]


def stationary_covariance(
    x1: Real[ArrayLike, "n1 d"] | Rows,
    x2: Real[ArrayLike, "n2 d"] | Rows,
    spectrum: Spectrum,
    *,
    mass: float,
    dim: int,
    cutoff: float,
) -> Float[np.ndarray, "n1 n2"]:
    """Return K(x − y) = ∫_{|p|<Λ} d^dp/(2π)^d e^{ip(x−y)} G(|p|) in infinite volume (T4).

    Parameters
    ----------
    x1, x2
        Inputs, (n1, d) and (n2, d), concrete (not traced): the number of quadrature nodes
        follows from the largest distance.
    spectrum, mass, dim, cutoff
        Spectral density, its mass, d = 1, 2 or 3, and the sharp cutoff Λ.

    Returns
    -------
    numpy.ndarray
        (n1, n2) float64.

    Notes
    -----
    The angular integral is done: ∫ dp G cos(pr)/π, p G J0(pr)/2π, p² G sinc(pr)/2π² in
    d = 1, 2, 3. The rest is Gauss–Legendre on panels that double away from p = 0 (the
    density varies on the scale m there) and span a bounded phase, at the distances of a
    piecewise Chebyshev table; K is band-limited by Λ, so the table is exact to rounding.
    Panels are halved until K changes by less than 1e-10 K(0); the error in float64 is below that.
    Cost: about 5 (Λ r_max)² evaluations for the table and n1·n2 to read it; fewer distances
    than the table has are integrated one by one.

    Warns
    -----
    RuntimeWarning
        The density is too rough for that accuracy; the message tells the change at the last halving.
    """
    distances = cdist(np.asarray(x1, dtype=np.float64), np.asarray(x2, dtype=np.float64))
    reach = float(distances.max(initial=0.0))

    def integral(r: Distances, halvings: int) -> Distances:
        nodes, weights = _momentum_nodes(cutoff, mass, reach, halvings)
        density = evaluate_spectrum(spectrum, nodes, mass, dim)
        weighted = weights * nodes ** (dim - 1) * density
        rows = max(1, _BLOCK // nodes.size)
        blocks = [r[start : start + rows] for start in range(0, r.size, rows)]
        return np.concatenate([_angular_average(np.outer(block, nodes), dim) @ weighted for block in blocks])

    halvings = _enough_halvings(integral, np.array([0.0, reach / math.e, reach]), spectrum, mass, dim)
    if distances.size <= _table_panels(cutoff, reach) * _CHEBYSHEV:
        return integral(distances.ravel(), halvings).reshape(distances.shape)
    return _read_radial_table(lambda r: integral(r, halvings), distances, cutoff, reach)


def _angular_average(phase: Float[np.ndarray, "*shape"], dim: int) -> Float[np.ndarray, "*shape"]:
    """Return the average of e^{ip·r} over directions times S_{d−1}/(2π)^d, at phases |p||r|."""
    if dim == 1:
        return np.cos(phase) / math.pi
    if dim == 2:
        return j0(phase) / (2 * math.pi)
    return np.sinc(phase / math.pi) / (2 * math.pi**2)


def _momentum_nodes(
    cutoff: float, mass: float, reach: float, halvings: int
) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Return Gauss–Legendre nodes and weights on [0, Λ] for distances up to ``reach``."""
    doublings = max(0, math.ceil(math.log2(cutoff / mass)))
    coarse = np.concatenate([[0.0], cutoff * 2.0 ** np.arange(-doublings - 1, 1)])
    edges = [coarse[:1]]
    for low, high in itertools.pairwise(coarse):
        pieces = max(1, math.ceil((high - low) * reach / _PHASE)) * 2**halvings
        edges.append(np.linspace(low, high, pieces + 1)[1:])
    joined = np.concatenate(edges)
    unit, weight = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(joined)[:, None] / 2
    return (joined[:-1, None] + half * (1 + unit)).ravel(), (half * weight).ravel()


def _enough_halvings(
    integral: Callable[[Distances, int], Distances],
    r: Distances,
    spectrum: Spectrum,
    mass: float,
    dim: int,
) -> int:
    """Return how often panels must be halved, judged at a few distances; warn if that stays in vain."""
    dtype = np.result_type(evaluate_spectrum(spectrum, np.array([mass]), mass, dim), np.float32)
    tolerance = max(1e-10, 10 * float(np.finfo(dtype).eps))
    before, change = integral(r, 0), math.inf
    for halvings in range(1, 9):
        after = integral(r, halvings)
        change = float(np.max(np.abs(after - before)) / max(abs(after[0]), np.finfo(float).tiny))
        if change <= tolerance:
            return halvings - 1
        before = after
    message = f"rough spectrum: at the last halving its integral changed by {change:.1e} of K(0)"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
    return 8


def _table_panels(cutoff: float, reach: float) -> int:
    """Return the number of panels on [0, reach]."""
    return max(1, math.ceil(cutoff * reach / 6))


def _read_radial_table(
    function: Callable[[Distances], Distances],
    distances: Float[np.ndarray, "*shape"],
    cutoff: float,
    reach: float,
) -> Float[np.ndarray, "*shape"]:
    """Return a function band-limited by Λ at all distances, from Chebyshev panels on [0, reach]."""
    panels = _table_panels(cutoff, reach)
    width = reach / panels or 6 / cutoff
    nodes = np.cos(np.pi * (np.arange(_CHEBYSHEV) + 0.5) / _CHEBYSHEV)
    centres = width * (np.arange(panels) + 0.5)
    values = function((centres[:, None] + width / 2 * nodes).ravel()).reshape(panels, _CHEBYSHEV)
    transform = 2 / _CHEBYSHEV * np.cos(np.outer(np.arange(_CHEBYSHEV), np.arccos(nodes)))
    transform[0] /= 2
    coefficients = transform @ values.T
    panel = np.minimum((distances / width).astype(int), panels - 1)
    t = 2 * (distances / width - panel) - 1
    later = latest = np.zeros_like(t)
    for k in range(_CHEBYSHEV - 1, 0, -1):  # Clenshaw's recurrence
        latest, later = coefficients[k][panel] + 2 * t * latest - later, latest
    return coefficients[0][panel] + t * latest - later
