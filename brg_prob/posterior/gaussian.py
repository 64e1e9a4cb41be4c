"""Gaussian conditioning in the dual: infinite width at any T, and its solvers (T10).

Posterior of a field with prior covariance K at T of n observations: ridge ρ(T) = σ²n/T,
mean K_*X (K_XX + ρ)⁻¹ y, covariance K_** − K_*X (K_XX + ρ)⁻¹ K_X*. The BRG scale is the
ridge. Functions of arrays. :func:`infinite_width_flow` gives all T at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular

from brg_prob.kernels import explain_singular


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


def infinite_width_flow(
    kernel: Array,
    cross: Array,
    prior: Array,
    y: Array,
    *,
    noise: float,
    scales: Sequence[float] | Array,
) -> tuple[Array, Array]:
    """Return the posterior of a Gaussian field at every T: the flow of infinite width, in closed form (T10).

    Parameters
    ----------
    kernel, cross, prior
        K_XX (n, n), K_*X (m, n), K_** (m, m), of any depth and activation.
    y
        Targets minus the prior mean, (n, o).
    noise
        σ, in the unit of y; 0 interpolates.
    scales
        T, (s,), in observations and in any order; T = 0 is the prior, T = n the trained network.

    Returns
    -------
    tuple
        Means (s, m, o) and covariances (s, m, m), with the ridge ρ(T) = σ²n/T.

    Raises
    ------
    ValueError
        Shapes that do not fit, a negative noise or scale, or a kernel that is singular without
        noise: says which inputs coincide. Values are looked at on the host only.

    Notes
    -----
    [BRG-NNFT] arXiv:2405.17538. One eigendecomposition for all T, then m²n for each; T/(Tμ_k + σ²n) on
    the eigenvectors has no singular point at T = 0.

    Examples
    --------
    >>> one = jnp.ones((1, 1))
    >>> means, variances = infinite_width_flow(one, one, one, 2 * one, noise=1.0, scales=[1.0, 0.0])
    >>> means.ravel().round(6).tolist(), variances.ravel().round(6).tolist()
    ([1.0, 0.0], [0.5, 1.0])
    """
    kernel, cross, prior, y = (jnp.asarray(value) for value in (kernel, cross, prior, y))
    n, m = kernel.shape[0], prior.shape[0]
    if kernel.shape != (n, n) or cross.shape != (m, n) or prior.shape != (m, m) or y.shape[:1] != (n,):
        raise ValueError(
            f"kernel {kernel.shape}, cross {cross.shape}, prior {prior.shape} and y {y.shape} do not fit; "
            "they are (n, n), (m, n), (m, m) and (n, o)"
        )
    if y.ndim != 2:
        raise ValueError(f"y has shape {y.shape}; targets are (n, o), so use y[:, None] for one output")
    observations = jnp.asarray(scales, dtype=kernel.dtype)
    if not any(isinstance(value, jax.core.Tracer) for value in (kernel, observations, noise)):
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise = {noise} must be finite and not negative")
        if observations.ndim != 1 or not bool(jnp.all((observations >= 0) & jnp.isfinite(observations))):
            raise ValueError(f"scales = {scales} must be a list of numbers of observations, 0 or more")
        singular = None if noise > 0 else explain_singular(kernel)
        if singular is not None:
            raise ValueError(singular)
    return _spectral_flow(kernel, cross, prior, y, jnp.asarray(noise, dtype=kernel.dtype), observations)


@jax.jit
def _spectral_flow(
    kernel: Array, cross: Array, prior: Array, y: Array, noise: Array, observations: Array
) -> tuple[Array, Array]:
    """Return means and covariances at every T, on the eigenvectors of K."""
    values, vectors = jnp.linalg.eigh(kernel)
    values = jnp.maximum(values, 0)
    left, inside = cross @ vectors, vectors.T @ y

    def at(scale: Array) -> tuple[Array, Array]:
        ridge = jnp.square(noise) * kernel.shape[0]
        weight = jnp.where(scale > 0, scale / jnp.where(scale > 0, scale * values + ridge, 1), 0)
        return left @ (weight[:, None] * inside), prior - (left * weight) @ left.T

    return jax.lax.map(at, observations)


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
