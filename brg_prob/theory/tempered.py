"""The theory of any model at a scale, again a NumPyro model (T6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers

from brg_prob.network import Conditioned

SEEN = "seen"
"""Name of the factor that holds the data seen so far; of a theory of a theory, with an underscore more."""


class Coordinates(Protocol):
    """Coordinates z of a model's latent sites."""

    def unflatten(self, vector: Array) -> dict[str, Array]:
        """Return z by site."""

    def inverse(self, z: Any) -> dict[str, Array]:
        """Return the values of the sites."""


@dataclass(frozen=True, eq=False)
class TemperedTheory:
    """A model whose prior has seen T of its n observations: p(θ) p(y|θ)^{T/n}, as a factor ``seen``.

    Conditioned on the same data at weight (n − T)/n it is the posterior; sampled by an engine, it is π_T.

    Attributes
    ----------
    conditioned
        The model and the data seen.
    observations
        T.
    """

    conditioned: Conditioned
    observations: float

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Run the model at other inputs, or observe further data; latent sites as in the model itself."""
        with handlers.trace() as own:
            returned = self.conditioned.network(x, y)
        values = {name: own[name]["value"] for name in self.conditioned.names}
        if self.observations > 0:  # at T = 0 nothing was seen, however impossible
            with handlers.block():
                seen = self.conditioned.total_log_likelihood(values)
            numpyro.factor(_unused(own), self.observations / self.conditioned.n * seen)
        return returned


def _unused(trace: Mapping[str, Any]) -> str:
    """Return the name of the factor: a theory that is flowed again has one already."""
    name = SEEN
    while name in trace:
        name += "_"
    return name


@dataclass(frozen=True, eq=False)
class GaussianTheory:
    """A model whose latent sites have a Gaussian law in the coordinates z where its prior is N(0, 1).

    An approximation of π_T, or of what a shell leaves. Its one latent site is ``z``.

    Attributes
    ----------
    conditioned
        The model.
    coordinates
        z.
    mean, covariance
        (D,) and (D, D).
    """

    conditioned: Conditioned
    coordinates: Coordinates
    mean: Array
    covariance: Array

    @classmethod
    def of(cls, conditioned: Conditioned, coordinates: Coordinates, z: Array) -> Self:
        """Fit it to draws of z, (S, D).

        Raises
        ------
        ValueError
            The covariance would be singular: not more draws than coordinates, or a coordinate that a shell
            dropped.
        """
        if z.shape[0] <= z.shape[1]:
            raise ValueError(
                f"{z.shape[0]} draws do not fix the covariance of {z.shape[1]} coordinates; give more draws"
            )
        covariance = jnp.atleast_2d(jnp.cov(z, rowvar=False))
        spread = np.linalg.eigvalsh(np.asarray(covariance))
        if not spread[0] > len(spread) * np.finfo(spread.dtype).eps * max(spread[-1], 1.0):  # 1: the prior's
            raise ValueError(
                "some directions have no spread, so they have no Gaussian law; use action='reset'"
            )
        return cls(conditioned, coordinates, jnp.mean(z, axis=0), covariance)

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Run the model at z drawn from its Gaussian law."""
        law = dist.MultivariateNormal(self.mean, covariance_matrix=self.covariance)
        z = numpyro.sample("z", law)
        with handlers.block():
            values = self.coordinates.inverse(self.coordinates.unflatten(z))
        # factors of the prior are in the law of z already
        hidden = [*self.conditioned.names, *self.conditioned.prior_factors]
        with handlers.block(hide=hidden), handlers.substitute(data=values):
            return self.conditioned.network(x, y)
