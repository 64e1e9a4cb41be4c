"""What a scale knows: effective dimension, two informations, Kullback–Leibler to the prior (T6).

Functions of eigenvalues λ (r,) per observation and mode coordinates ẑ (r, o) of the data.
Nats throughout; each of o outputs counts.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def effective_dimension(eigenvalues: Array, observations: Array | float, outputs: int = 1) -> Array:
    """Return Σ Tλ/(1 + Tλ), the number of distinguishable directions at T.

    Examples
    --------
    >>> float(effective_dimension(jnp.array([1.0, 1.0, 0.0]), 1.0))
    1.0
    """
    signal = observations * eigenvalues
    return outputs * jnp.sum(signal / (1 + signal))


def mutual_information(eigenvalues: Array, observations: Array | float, outputs: int = 1) -> Array:
    """Return ½ Σ log(1 + Tλ): what T actual observations tell; d/d log T is half the effective dimension."""
    return 0.5 * outputs * jnp.sum(jnp.log1p(observations * eigenvalues))


def kl_to_prior(eigenvalues: Array, data_modes: Array, observations: Array | float) -> Array:
    """Return KL(π_T ‖ π_0) = ½ Σ (v + m² − 1 − log v) of these data tempered to T.

    Parameters
    ----------
    eigenvalues
        λ, (r,).
    data_modes
        ẑ, (r, o): the data's whitened mode coordinates; zero where λ is.
    observations
        T. The mean over data equals the mutual information at T = n only.
    """
    signal = observations * eigenvalues
    gain = signal / (1 + signal)
    mean = gain[:, None] * data_modes
    outputs = data_modes.shape[1]
    # v = 1/(1+Tλ): v − 1 = −gain and −log v = log(1+Tλ), without cancellation
    return 0.5 * (jnp.sum(jnp.square(mean)) + outputs * jnp.sum(jnp.log1p(signal) - gain))


def kept_parameter_information(
    kept_kernel: Array, kernel: Array, residual: Array, ridge: Array | float
) -> tuple[Array, Array, Array]:
    """Return effective dimension, mutual information and KL of the posterior of kept weights (T8).

    Parameters
    ----------
    kept_kernel, kernel
        Φ̃Φ̃ᵀ of the kept weights, and of all, (n, n).
    residual
        Data minus prior mean, (n, o).
    ridge
        ρ = σ²n/T.

    Notes
    -----
    The marginal posterior of the kept weights A: the others act as noise of covariance
    K − K_A. tr, |mean|² and log det follow from the matrix determinant lemma.
    """
    n, outputs = residual.shape
    total = kernel + ridge * jnp.eye(n, dtype=kernel.dtype)
    weights = jnp.linalg.solve(total, residual)
    dimension = outputs * jnp.trace(jnp.linalg.solve(total, kept_kernel))
    mutual = 0.5 * outputs * (jnp.linalg.slogdet(total)[1] - jnp.linalg.slogdet(total - kept_kernel)[1])
    kl = mutual + 0.5 * (jnp.sum(weights * (kept_kernel @ weights)) - dimension)
    return dimension, mutual, kl
