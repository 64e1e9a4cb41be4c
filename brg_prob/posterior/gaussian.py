"""Gaussian conditioning in the dual: infinite width at any T, and its solvers (T10).

Posterior of a field with prior covariance K at T of n observations: ridge ρ(T) = σ²n/T,
mean K_*X (K_XX + ρ)⁻¹ y, covariance K_** − K_*X (K_XX + ρ)⁻¹ K_X*. The BRG scale is the
ridge. Functions of arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular


@jax.jit
def gaussian_posterior(
    kernel: Array, cross: Array, prior: Array, y: Array, ridge: Array | float
) -> tuple[Array, Array]:
    """Return mean (m, o) and covariance (m, m) of the field at m points given n observations.

    Parameters
    ----------
    kernel, cross, prior
        K_XX (n, n), K_*X (m, n), K_** (m, m).
    y
        Targets minus the prior mean, (n, o).
    ridge
        ρ = σ²n/T; at T = n the noise variance.

    Notes
    -----
    [BRG-NNFT] arXiv:2405.17538; one Cholesky factorisation, n³/3.

    Examples
    --------
    >>> one = jnp.ones((1, 1))
    >>> mean, variance = gaussian_posterior(one, one, one, 2 * one, 1.0)
    >>> round(float(mean[0, 0]), 6), round(float(variance[0, 0]), 6)
    (1.0, 0.5)
    """
    n = kernel.shape[0]
    factor = jnp.linalg.cholesky(kernel + ridge * jnp.eye(n, dtype=kernel.dtype))
    half = solve_triangular(factor, cross.T, lower=True)
    mean = half.T @ solve_triangular(factor, y, lower=True)
    return mean, prior - half.T @ half


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RidgeSolver:
    """(K + ρ)⁻¹ at one ρ, through the smaller side of the whitened features.

    Attributes
    ----------
    features
        Φ̃, (n, P).
    factor
        Cholesky factor of Φ̃Φ̃ᵀ + ρ (n × n), or of Φ̃ᵀΦ̃ + ρ (P × P) when P < n.
    """

    features: Array
    factor: Array

    def solve(self, residual: Array, ridge: Array) -> Array:
        """Return (K + ρ)⁻¹ residual for residuals (n, ...), at the ρ that was factorised."""
        n, parameters = self.features.shape
        if parameters >= n:
            return cho_solve((self.factor, True), residual)
        # Woodbury: (ΦΦᵀ + ρ)⁻¹ = (1 − Φ(ΦᵀΦ + ρ)⁻¹Φᵀ)/ρ
        inner = cho_solve((self.factor, True), self.features.T @ residual)
        return (residual - self.features @ inner) / ridge


@jax.jit
def ridge_solver(features: Array, ridge: Array) -> RidgeSolver:
    """Return the solver for whitened features (n, P) at ridge ρ, dual or primal."""
    n, parameters = features.shape
    gram = features @ features.T if parameters >= n else features.T @ features
    factor = jnp.linalg.cholesky(gram + ridge * jnp.eye(min(n, parameters), dtype=gram.dtype))
    return RidgeSolver(features, factor)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpectralSolver:
    """(K + ρ)⁻¹ at any ρ, on the eigenvectors of K: one factorisation, a different ρ per draw.

    Attributes
    ----------
    values, vectors
        Nonzero eigenvalues (r,) of K and their orthonormal eigenvectors (n, r).
    """

    values: Array
    vectors: Array

    def solve(self, residual: Array, ridge: Array) -> Array:
        """Return (K + ρ)⁻¹ residual, (n, o), for one ρ."""
        inside = self.vectors.T @ residual
        shrunk = inside * (1 / (self.values + ridge) - 1 / ridge)[:, None]
        return residual / ridge + self.vectors @ shrunk
