"""Lattice momenta, equispaced grids and the plane waves of a periodic box (T4, T9)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Real

from brg_prob.shapes import Rows
from brg_prob.spectra.densities import ball_volume, below_cutoff

_MOST_MOMENTA = 10**7
"""Points of the cube around a ball of lattice momenta; more would not fit anywhere downstream."""


@lru_cache(maxsize=32)
def lattice_momenta(dim: int, box: float, cutoff: float) -> Float[np.ndarray, "M {dim}"]:
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
    displacement
        Largest distance of a point from its place in the grid, in units of x: dates and
        decimals are rounded.
    """

    points_per_side: int
    spacing: float
    box: float
    displacement: float = field(default=0.0, repr=False)

    @property
    def largest_index(self) -> int:
        """Largest mode index k with points_per_side > 2k: higher ones alias (T9)."""
        return (self.points_per_side - 1) // 2

    @property
    def cutoff(self) -> float:
        """A momentum half a mode above ``largest_index``."""
        return 2 * math.pi / self.box * (self.largest_index + 0.5)


def equispaced_grid(x: Real[ArrayLike, "n d"] | Rows, *, tolerance: float = 1e-3) -> Grid | None:
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
    return Grid(side, spacing, side * spacing, float(np.max(np.abs(steps - index))) * spacing)


def plane_waves(
    x: Real[ArrayLike, "n d"] | Rows, momenta: Real[ArrayLike, "M d"] | Rows, box: float
) -> tuple[Float[Array, "n R"], Int[np.ndarray, " R"]]:
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
    columns = np.flatnonzero(np.stack([np.ones_like(moving), moving], axis=-1).ravel())
    index = columns // 2
    norm = np.sqrt(np.where(moving, 2.0, 1.0) / box**dim)[index]
    waves = _waves(x, momenta.T.astype(x.dtype), norm.astype(x.dtype), columns)
    return waves, index


@jax.jit  # one program for each shape, whatever the momenta
def _waves(
    x: Float[Array, "n d"],
    momenta: Float[Array, "d M"],
    norm: Float[Array, " R"],
    columns: Int[Array, " R"],
) -> Float[Array, "n R"]:
    """Return cosine and sine of each momentum (d, M), those of ``columns`` (R,) times ``norm`` (R,)."""
    phase = x @ momenta
    waves = jnp.stack([jnp.cos(phase), jnp.sin(phase)], axis=-1).reshape(x.shape[0], -1)
    return waves[:, columns] * norm[None, :]


def why_no_grid(x: Real[ArrayLike, "n d"] | Rows) -> str:
    """Return why inputs (n, d) are no grid for :func:`equispaced_grid`, and what of it can be mended.

    Examples
    --------
    >>> why_no_grid([[0.0], [1.0], [1.0], [2.0]])
    'repeats 1 row of an equispaced cubic grid (average rows with equal inputs)'
    >>> why_no_grid([[0.0], [1.0], [5.0]])
    'is no equispaced cubic grid'
    """
    points = np.unique(np.asarray(x), axis=0)
    repeated = np.shape(x)[0] - len(points)
    if not repeated or equispaced_grid(points) is None:
        return "is no equispaced cubic grid"
    rows = f"{repeated} row{'s' * (repeated != 1)}"
    return f"repeats {rows} of an equispaced cubic grid (average rows with equal inputs)"
