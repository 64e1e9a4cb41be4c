"""The prior of a linear readout: a mean and a covariance that is isotropic plus low rank.

A coarse-grained theory is again a network. Its readout covariance is the prior's with
finitely many directions tightened, so this one operator serves priors, posteriors and
every theory between them, and no P × P array is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRankUpdate:
    """The covariance ``C = scale · (1 − basis diag(gain) basisᵀ)``.

    Attributes
    ----------
    scale
        Isotropic variance, shape ().
    basis
        Orthonormal columns, (P, r), or None for an isotropic covariance.
    gain
        Fraction of the variance removed along each column, (r,), in [0, 1]; 1 fixes the direction.
    """

    scale: Array
    basis: Array | None = None
    gain: Array | None = None

    @property
    def isotropic(self) -> bool:
        """Whether the coordinates are independent with equal variance."""
        return self.basis is None

    def _along(self, factor: Array, v: Array) -> Array:
        """Return v + basis diag(factor) basisᵀ v for v of shape (P, ...)."""
        assert self.basis is not None
        projected = jnp.tensordot(self.basis, v, axes=((0,), (0,)))
        projected = factor.reshape(factor.shape + (1,) * (projected.ndim - 1)) * projected
        return v + jnp.tensordot(self.basis, projected, axes=((1,), (0,)))

    def matmul(self, v: Array) -> Array:
        """Return C v for v of shape (P, ...)."""
        return self.scale * (v if self.gain is None else self._along(-self.gain, v))

    def sqrt_matmul(self, v: Array) -> Array:
        """Return C^(1/2) v, the symmetric square root, for v of shape (P, ...)."""
        root = jnp.sqrt(self.scale)
        return root * (v if self.gain is None else self._along(jnp.sqrt(1 - self.gain) - 1, v))

    def inverse_sqrt_matmul(self, v: Array) -> Array:
        """Return C^(-1/2) v for v of shape (P, ...), the pseudo-inverse where gain = 1."""
        root = jnp.sqrt(self.scale)
        if self.gain is None:
            return v / root
        left = 1 - self.gain
        inverse = jnp.where(left > 0, jax.lax.rsqrt(jnp.where(left > 0, left, 1)), 0)
        return self._along(inverse - 1, v) / root

    def diagonal(self, parameters: int) -> Array:
        """Return the variances of the P raw weights, (P,)."""
        if self.basis is None or self.gain is None:
            return jnp.full((parameters,), self.scale)
        return self.scale * (1 - jnp.square(self.basis) @ self.gain)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReadoutPrior:
    """Gaussian prior of the readout weights.

    Attributes
    ----------
    mean
        (P, o), raw readout units.
    covariance
        Operator on (P, ...) arrays, the same for every output.
    """

    mean: Array
    covariance: LowRankUpdate


def isotropic_prior(
    parameters: int, outputs: int = 1, *, mean: float = 0.0, variance: float = 1.0
) -> ReadoutPrior:
    """Return independent readout weights N(mean, variance).

    Examples
    --------
    >>> isotropic_prior(3, variance=0.5).covariance.diagonal(3).tolist()
    [0.5, 0.5, 0.5]
    """
    return ReadoutPrior(
        jnp.full((parameters, outputs), float(mean)), LowRankUpdate(jnp.asarray(float(variance)))
    )
