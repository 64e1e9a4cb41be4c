"""Spectral densities, lattice momenta, grids and plane waves of fields on a box (T4, T9).

Fourier convention: K(x − y) = ∫ d^dp/(2π)^d e^{ip(x−y)} G0(|p|), so that a field on a
periodic box of side L has coefficients of variance G0 on plane waves orthonormal in L²
of the box. Momenta p are angular, in inverse units of x.

Momenta, grids and quadratures are worked out on the host in float64, since they fix array
shapes; plane waves and densities are functions of arrays in whatever precision is on.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import j0

Spectrum = Callable[[Any, float, int], Any]
"""``spectrum(p, mass, dim)``: spectral density at momenta |p| of any shape, same shape out."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FreeScalar:
    """The free scalar field, G(p) = 1/(p² + m²), the propagator of (∂φ)²/2 + m²φ²/2.

    Examples
    --------
    >>> FreeScalar()(3.0, 1.0, 1)
    0.1
    """

    def __call__(self, p: Any, mass: float, dim: int) -> Any:
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

    def __call__(self, p: Any, mass: float, dim: int) -> Any:
        """Return G at |p|, any shape."""
        power = self.smoothness + dim / 2
        return mass ** (2 * power - 2) / (p**2 + mass**2) ** power


def evaluate_spectrum(spectrum: Spectrum, p: ArrayLike, mass: float, dim: int) -> NDArray[Any]:
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


def below_cutoff(p: Any, cutoff: float) -> Any:
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


_MOST_MOMENTA = 10**7
"""Points of the cube around a ball of lattice momenta; more would not fit anywhere downstream."""


@lru_cache(maxsize=32)
def lattice_momenta(dim: int, box: float, cutoff: float) -> Floats:
    """Return the momenta of a periodic box up to a cutoff, one of each ±p pair.

    Parameters
    ----------
    dim
        d.
    box
        Side L; momenta are p ∈ (2π/L) Z^d.
    cutoff
        Λ; |p| ≤ Λ is kept.

    Returns
    -------
    numpy.ndarray
        (M, d) float64, read-only, p = 0 first, sorted by |p|; the number of real modes is 2M − 1.

    Raises
    ------
    ValueError
        Far too many momenta.

    Examples
    --------
    >>> lattice_momenta(1, 2 * np.pi, 2.5).tolist()
    [[0.0], [1.0], [2.0]]
    """
    unit = 2 * math.pi / box
    reach = math.floor(cutoff / unit * (1 + 1e-12))
    if (2 * reach + 1) ** dim > _MOST_MOMENTA:
        raise ValueError(
            f"box = {box} and cutoff = {cutoff} hold {ball_volume(dim, reach):.1e} modes: lower one of them"
        )
    line = np.arange(-reach, reach + 1)
    index = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    squares = np.sum(index**2, axis=1)
    # of ±p the one whose first component that is not zero is positive; p = 0 is its own pair
    leading = index[np.arange(len(index)), np.argmax(index != 0, axis=1)]
    keep = below_cutoff(unit * np.sqrt(squares), cutoff) & (leading >= 0)
    index, squares = index[keep], squares[keep]
    order = np.lexsort((*(-index.T[::-1]), squares))
    momenta = unit * index[order].astype(np.float64)
    momenta.flags.writeable = False  # the cache hands out one and the same array
    return momenta


@dataclass(frozen=True)
class Grid:
    """A full cubic grid of equispaced inputs.

    Attributes
    ----------
    points_per_side
        Number of points along each axis.
    spacing
        Distance dx of neighbours, in units of x.
    box
        L = points_per_side · dx: the side of the periodic box that the grid fills once.
    """

    points_per_side: int
    spacing: float
    box: float

    @property
    def largest_index(self) -> int:
        """Largest mode index k with points_per_side > 2k: higher ones alias (T9)."""
        return (self.points_per_side - 1) // 2

    @property
    def cutoff(self) -> float:
        """A momentum half a mode above ``largest_index``."""
        return 2 * math.pi / self.box * (self.largest_index + 0.5)


def equispaced_grid(x: ArrayLike, *, tolerance: float = 1e-3) -> Grid | None:
    """Return the grid that inputs fill, in any order of rows, or None.

    Parameters
    ----------
    x
        Inputs, (n, d) with d = 1, 2, 3; at least two points per side, the same number and
        spacing along every axis.
    tolerance
        Largest admitted displacement of a point, in spacings. The phase of the highest plane
        wave is then off by at most π · tolerance.

    Examples
    --------
    >>> equispaced_grid([[0.5], [0.0], [1.0], [1.5]])
    Grid(points_per_side=4, spacing=0.5, box=2.0)
    >>> equispaced_grid([[0.0], [1.0], [3.0]]) is None
    True
    """
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] not in (1, 2, 3) or not np.isfinite(points).all():
        return None
    n, dim = points.shape
    side = round(n ** (1 / dim))
    if side < 2 or side**dim != n:
        return None
    origin = points.min(axis=0)
    spacings = (points.max(axis=0) - origin) / (side - 1)
    spacing = float(spacings.mean())
    if spacing <= 0 or np.any(np.abs(spacings - spacing) * side > tolerance * spacing):
        return None
    steps = (points - origin) / spacing
    index = np.rint(steps).astype(int)
    if np.max(np.abs(steps - index)) > tolerance or index.max() >= side:
        return None
    if np.unique(np.ravel_multi_index(tuple(index.T), (side,) * dim)).size != n:
        return None
    return Grid(side, spacing, side * spacing)


def plane_waves(x: ArrayLike, momenta: ArrayLike, box: float) -> tuple[Array, NDArray[np.intp]]:
    """Return real plane waves, orthonormal in L² of the box.

    Parameters
    ----------
    x
        Inputs, (n, d).
    momenta
        (M, d), one of each ±p pair, concrete (not traced); see :func:`lattice_momenta`.
    box
        Side L of the periodic box.

    Returns
    -------
    basis : jax.Array
        (n, R): 1/√(L^d) for p = 0, else √(2/L^d) cos(p·x) and √(2/L^d) sin(p·x), in the order
        of the momenta. On an equispaced grid with more points per side than twice the largest
        mode index, Σ_x dx^d basisᵀ basis = 1 to rounding.
    index : numpy.ndarray
        (R,): the row of ``momenta`` that a column belongs to.

    Examples
    --------
    >>> basis, index = plane_waves(jnp.zeros((1, 1)), [[0.0], [1.0]], 2.0)
    >>> basis.round(3).tolist(), index.tolist()
    ([[0.707..., 1.0, 0.0]], [0, 1, 1])
    """
    x = jnp.asarray(x, dtype=float)
    momenta = np.asarray(momenta, dtype=np.float64)
    dim = momenta.shape[1]
    moving = np.any(momenta != 0, axis=1)
    phase = x @ jnp.asarray(momenta.T, dtype=x.dtype)
    waves = jnp.stack([jnp.cos(phase), jnp.sin(phase)], axis=-1).reshape(x.shape[0], -1)
    columns = np.flatnonzero(np.stack([np.ones_like(moving), moving], axis=-1).ravel())
    index = columns // 2
    norm = np.sqrt(np.where(moving, 2.0, 1.0) / box**dim)[index]
    return waves[:, columns] * jnp.asarray(norm, dtype=x.dtype)[None, :], index


_NODES = 32
"""Gauss–Legendre nodes per panel of a momentum integral."""
_PHASE = 20.0
"""Largest phase p·r that one panel spans: 32 nodes then integrate cos(pr) to rounding."""
_BLOCK = 1 << 22
"""Elements of the largest intermediate array of an integral."""
_CHEBYSHEV = 20
"""Chebyshev coefficients per panel of distances, each of phase Λr ≤ 6: error below 1e-13."""


def stationary_covariance(
    x1: ArrayLike, x2: ArrayLike, spectrum: Spectrum, *, mass: float, dim: int, cutoff: float
) -> Floats:
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

    def integral(r: Floats, halvings: int) -> Floats:
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


def _angular_average(phase: Floats, dim: int) -> Floats:
    """Return the average of e^{ip·r} over directions times S_{d−1}/(2π)^d, at phases |p||r|."""
    if dim == 1:
        return np.cos(phase) / math.pi
    if dim == 2:
        return j0(phase) / (2 * math.pi)
    return np.sinc(phase / math.pi) / (2 * math.pi**2)


def _momentum_nodes(cutoff: float, mass: float, reach: float, halvings: int) -> tuple[Floats, Floats]:
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
    integral: Callable[[Floats, int], Floats], r: Floats, spectrum: Spectrum, mass: float, dim: int
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
    function: Callable[[Floats], Floats], distances: Floats, cutoff: float, reach: float
) -> Floats:
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
