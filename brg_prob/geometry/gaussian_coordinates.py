"""A named approximation of the prior by a Gaussian, for models without a map to the standard normal (T7).

Where a site has no distribution function, or ``numpyro.factor`` shapes the prior, no exact coordinates
with an N(0, 1) prior are known. Mean and covariance of unconstrained prior draws still give each
direction a unit. They do not give diffusion its fixed point: that is refused, and tempering offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import Distribution, biject_to
from scipy.special import ndtr

from brg_prob.geometry.coordinates import SiteVectors
from brg_prob.geometry.substitution import FromCoordinates
from brg_prob.geometry.transport import NoTransport
from brg_prob.network.conditioned import Conditioned, Values

_DRAWS = 2000
_FEWEST = 20  # effective draws below which weights of draws are noise
_TAIL = 0.05
_LARGEST_BLOCK = 200  # a larger site keeps its variances only: 2000 draws give no larger covariance


@dataclass(frozen=True, eq=False)
class GaussianCoordinates(SiteVectors):
    """Unconstrained sites, centred and whitened site by site with moments of prior draws.

    The same face as :class:`~brg_prob.geometry.coordinates.StandardNormalCoordinates`; made by :meth:`of`.

    Attributes
    ----------
    conditioned
        The model.
    shapes
        Site → shape of its coordinate: that of its unconstrained value, or (rank,) where this varies in
        fewer directions, as on a surface.
    means, roots
        Site → mean (size,) and Cholesky factor of the covariance (size, size), or a factor of it (size, rank)
        where it is singular, or widths (size,) where the site is large or has no variance.
    effective_draws
        Effective number of prior draws behind the moments; draws are weighted by the prior's factors, unless
        fewer than 20 would be left.
    free
        Site → shape of its unconstrained value.
    note
        What was done at sites whose moments do not serve; empty where all do.
    """

    conditioned: Conditioned
    shapes: dict[str, tuple[int, ...]]
    means: dict[str, Array]
    roots: dict[str, Array]
    effective_draws: float
    free: dict[str, tuple[int, ...]]
    note: str = ""

    @classmethod
    def of(cls, conditioned: Conditioned, *, key: Array, draws: int = _DRAWS) -> GaussianCoordinates:
        """Draw from the prior and take its moments.

        Raises
        ------
        NoTransport
            A site whose prior draws are not finite, or whose support has no unconstrained coordinates.
        """
        factors = conditioned.prior_factors
        names = conditioned.names

        def draw(key: Array) -> tuple[dict[str, Array], Array]:
            trace = _run(conditioned, handlers.seed(conditioned.whole, key))
            weight = sum(
                (jnp.sum(trace[n]["fn"].log_prob(trace[n]["value"])) for n in factors), jnp.zeros(())
            )
            return {n: _unconstrained(n, trace[n]) for n in names}, weight

        values, logs = jax.jit(jax.vmap(draw))(jax.random.split(key, draws))
        weights, effective = _weights(np.asarray(logs, dtype=float))
        units, free = {}, {}
        for name in names:
            flat = np.asarray(values[name], dtype=float).reshape(draws, -1)
            if not np.isfinite(flat).all():
                raise NoTransport(f"site {name!r}: prior draws are not finite, so they have no moments")
            free[name] = tuple(values[name].shape[1:])
            units[name] = _units(flat, weights)
        notes = [f"site {name!r} {unit.how}" for name, unit in units.items() if unit.how]
        if effective < _FEWEST:
            notes.insert(0, "too few to weight draws by the factor, whose effect on units is left out")
        return cls(
            conditioned,
            {n: free[n] if u.root.shape[-1] == u.centre.size else u.root.shape[1:] for n, u in units.items()},
            {name: jnp.asarray(unit.centre) for name, unit in units.items()},
            {name: jnp.asarray(unit.root) for name, unit in units.items()},
            effective,
            free,
            "; ".join(notes),
        )

    def forward(self, values: Values) -> dict[str, Array]:
        """Return z of every site of one draw."""
        call = handlers.substitute(self.conditioned.whole, data=dict(values))
        trace = _run(self.conditioned, handlers.seed(call, jax.random.key(0)))
        return {name: self._whitened(name, _unconstrained(name, trace[name])) for name in self.names}

    def inverse(self, z: Values) -> dict[str, Array]:
        """Return the values of every site at z of one draw."""
        call = FromCoordinates(
            self.conditioned.whole,
            {name: self._coloured(name, z[name]) for name in self.names},
            lambda distribution, free: biject_to(distribution.support)(free),
        )
        trace = _run(self.conditioned, handlers.seed(call, jax.random.key(0)))
        return {name: trace[name]["value"] for name in self.names}

    def _whitened(self, name: str, value: Array) -> Array:
        offset, root = jnp.ravel(value) - self.means[name], self.roots[name]
        if root.ndim == 1:
            return (offset / jnp.where(root > 0, root, 1)).reshape(self.shapes[name])  # a constant: z = 0
        if root.shape[0] != root.shape[1]:
            return jnp.linalg.pinv(root) @ offset if root.size else jnp.zeros((0,), offset.dtype)
        solved = jax.scipy.linalg.solve_triangular(root, offset, lower=True)
        return solved.reshape(self.shapes[name])

    def _coloured(self, name: str, z: Array) -> Array:
        root, flat = self.roots[name], jnp.ravel(z)
        change = root * flat if root.ndim == 1 else root @ flat
        return (self.means[name] + change).reshape(self.free[name])


def _run(conditioned: Conditioned, call: Any) -> Any:
    """Return the trace of one run."""
    return handlers.trace(call).get_trace(conditioned.x, conditioned.y)


def _unconstrained(name: str, site: Mapping[str, Any]) -> Array:
    """Return the unconstrained value of a site of a trace."""
    return _bijection(name, site["fn"]).inv(site["value"])


def _weights(logs: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights of draws from their logarithms, equal ones where too few count, and how many do."""
    weights = np.exp(logs - np.max(logs))
    weights /= weights.sum()
    effective = float(1 / np.sum(weights**2))
    return (weights if effective >= _FEWEST else np.full(logs.size, 1 / logs.size)), effective


def _bijection(name: str, distribution: Distribution) -> Any:
    """Return the map from unconstrained numbers to the support of a site."""
    try:
        return biject_to(distribution.support)
    except NotImplementedError:
        raise NoTransport(
            f"site {name!r}: {type(distribution).__name__} has a support without unconstrained coordinates; "
            "write it as a transformation of sites that have them"
        ) from None


class _Units(NamedTuple):
    """Centre (size,), root (size, rank) or widths (size,), and how they were found if not by moments."""

    centre: np.ndarray
    root: np.ndarray
    how: str = ""


def _units(draws: np.ndarray, weights: np.ndarray) -> _Units:
    """Return the units of weighted draws (S, size).

    Moments; quantiles where the tail's index is below 2, as without a variance; widths alone where there
    are too few effective draws for a covariance.
    """
    if _tail_index(draws, weights) <= 2:
        low, middle, high = (_quantiles(draws, weights, level) for level in ndtr([-1.0, 0.0, 1.0]))
        return _Units(
            middle,
            (high - low) / 2,
            "by quantiles, for the tails of its prior draws are too heavy for a variance",
        )
    mean = weights @ draws
    centred = draws - mean
    widths = np.sqrt(weights @ centred**2)
    if draws.shape[1] > _LARGEST_BLOCK:
        return _Units(mean, widths)
    if 2 * draws.shape[1] > 1 / np.sum(weights**2):
        return _Units(mean, widths, "by variances alone, for so few draws give no covariance")
    moving = widths > 1e-12 * np.abs(mean)
    scaled = np.where(moving, centred / np.where(moving, widths, 1), 0)
    correlation = (weights[:, None] * scaled).T @ scaled
    values, vectors = np.linalg.eigh(correlation)
    kept = values > 100 * draws.shape[1] * np.finfo(float).eps
    if kept.all():
        return _Units(mean, widths[:, None] * np.linalg.cholesky(correlation))
    how = (
        f"in the {int(kept.sum())} of {kept.size} directions in which it varies" if kept.any() else "constant"
    )
    return _Units(mean, widths[:, None] * vectors[:, kept] * np.sqrt(values[kept]), how)


def _tail_index(draws: np.ndarray, weights: np.ndarray) -> float:
    """Return the least tail index of the columns, by Hill's estimator on the outer twentieth.

    [Hill, doi:10.1214/aos/1176343247]. Infinite moments of order two mean an index of 2 or less.
    """
    distances = np.abs(draws - _quantiles(draws, weights, 0.5))
    threshold = _quantiles(distances, weights, 1 - _TAIL)
    beyond = (distances > threshold) & (threshold > 0)
    excess = np.log(np.where(beyond, distances, 1) / np.where(threshold > 0, threshold, 1))
    mass = weights @ beyond
    mean = (weights @ np.where(beyond, excess, 0)) / np.maximum(mass, np.finfo(float).tiny)
    return float(np.min(1 / np.maximum(mean, np.finfo(float).tiny), initial=np.inf))


def _quantiles(draws: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """Return a quantile of each column of weighted draws, (size,)."""
    order = np.argsort(draws, axis=0)
    mass = np.cumsum(weights[order], axis=0)
    first = np.argmax(mass >= level * mass[-1], axis=0)
    return np.take_along_axis(np.take_along_axis(draws, order, axis=0), first[None], axis=0)[0]
