"""A named approximation of the prior by a Gaussian, for models without a map to the standard normal (T7).

Where a site has no distribution function, or ``numpyro.factor`` shapes the prior, no exact coordinates
with an N(0, 1) prior are known. Mean and covariance of unconstrained prior draws still give each
direction a unit. They do not give diffusion its fixed point: that is refused, and tempering offered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.primitives import Messenger

from brg_prob.geometry.transport import NoTransport
from brg_prob.network.conditioned import Conditioned

Values = Mapping[str, Any]

_DRAWS = 2000
_LARGEST_BLOCK = 200  # a larger site keeps its variances only: 2000 draws give no larger covariance


@dataclass(frozen=True, eq=False)
class GaussianCoordinates:
    """Unconstrained sites, centred and whitened site by site with moments of prior draws.

    The same face as :class:`~brg_prob.geometry.coordinates.StandardNormalCoordinates`; made by :meth:`of`.

    Attributes
    ----------
    conditioned
        The model.
    shapes
        Site → shape of its unconstrained value.
    means, roots
        Site → mean (size,) and Cholesky factor of the covariance (size, size), or standard deviations (size,)
        where the site is large.
    effective_draws
        Effective number of prior draws behind the moments; draws are weighted by the prior's factors.
    """

    conditioned: Conditioned
    shapes: dict[str, tuple[int, ...]]
    means: dict[str, Array]
    roots: dict[str, Array]
    effective_draws: float

    @classmethod
    def of(cls, conditioned: Conditioned, *, key: Array, draws: int = _DRAWS) -> GaussianCoordinates:
        """Draw from the prior and take its moments.

        Raises
        ------
        NoTransport
            A site whose prior draws are not finite.
        """
        factors = conditioned.prior_factors
        names = conditioned.names

        def draw(key: Array) -> tuple[dict[str, Array], Array]:
            trace = _run(conditioned, handlers.seed(conditioned.whole, key))
            weight = sum(
                (jnp.sum(trace[n]["fn"].log_prob(trace[n]["value"])) for n in factors), jnp.zeros(())
            )
            return {n: _unconstrained(trace[n]) for n in names}, weight

        values, logs = jax.jit(jax.vmap(draw))(jax.random.split(key, draws))
        weights = np.exp(np.asarray(logs) - np.max(logs))
        weights /= weights.sum()
        means, roots, shapes = {}, {}, {}
        for name in names:
            flat = np.asarray(values[name]).reshape(draws, -1)
            if not np.isfinite(flat).all():
                raise NoTransport(f"site {name!r}: prior draws are not finite, so they have no moments")
            shapes[name] = tuple(values[name].shape[1:])
            means[name], roots[name] = (jnp.asarray(v) for v in _moments(flat, weights))
        return cls(conditioned, shapes, means, roots, float(1 / np.sum(weights**2)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latent sites."""
        return tuple(self.shapes)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def forward(self, values: Values) -> dict[str, Array]:
        """Return z of every site of one draw."""
        call = handlers.substitute(self.conditioned.whole, data=dict(values))
        trace = _run(self.conditioned, handlers.seed(call, jax.random.key(0)))
        return {name: self._whitened(name, _unconstrained(trace[name])) for name in self.names}

    def inverse(self, z: Values) -> dict[str, Array]:
        """Return the values of every site at z of one draw."""
        call = _FromUnconstrained(
            self.conditioned.whole,
            {name: self._coloured(name, z[name]) for name in self.names},
        )
        trace = _run(self.conditioned, handlers.seed(call, jax.random.key(0)))
        return {name: trace[name]["value"] for name in self.names}

    def flatten(self, z: Values) -> Array:
        """Return z as one vector, (dimension,), sites in order."""
        return jnp.concatenate([jnp.ravel(z[name]) for name in self.names])

    def unflatten(self, vector: Array) -> dict[str, Array]:
        """Return the vector of :meth:`flatten` as a dict again."""
        z, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            z[name] = vector[start : start + size].reshape(shape)
            start += size
        return z

    def _whitened(self, name: str, value: Array) -> Array:
        offset, root = jnp.ravel(value) - self.means[name], self.roots[name]
        if root.ndim == 1:
            return (offset / root).reshape(self.shapes[name])
        solved = jax.scipy.linalg.solve_triangular(root, offset, lower=True)
        return solved.reshape(self.shapes[name])

    def _coloured(self, name: str, z: Array) -> Array:
        root, flat = self.roots[name], jnp.ravel(z)
        change = root * flat if root.ndim == 1 else root @ flat
        return (self.means[name] + change).reshape(self.shapes[name])


class _FromUnconstrained(Messenger):
    """Run a model with each latent site at its unconstrained value, constrained given its parents."""

    def __init__(self, fn: Any, values: Values) -> None:
        self.values = values
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Set the value of a latent site."""
        if msg["type"] == "sample" and msg["name"] in self.values and msg["value"] is None:
            msg["value"] = biject_to(msg["fn"].support)(self.values[msg["name"]])


def _run(conditioned: Conditioned, call: Any) -> Any:
    """Return the trace of one run."""
    return handlers.trace(call).get_trace(conditioned.x, conditioned.y)


def _unconstrained(site: Mapping[str, Any]) -> Array:
    """Return the unconstrained value of a site of a trace."""
    return biject_to(site["fn"].support).inv(site["value"])


def _moments(draws: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and Cholesky factor (or standard deviations) of weighted draws (S, size)."""
    mean = weights @ draws
    centred = draws - mean
    if draws.shape[1] > _LARGEST_BLOCK:
        return mean, np.sqrt(weights @ centred**2)
    return mean, np.linalg.cholesky((weights[:, None] * centred).T @ centred)
