"""What a scale knows: effective dimension, two informations, Kullback–Leibler to the prior (T6).

Functions of eigenvalues λ (…, r) per observation and of the number of observations T (…), on the host: all
that is asked of them is small. Nats throughout; each of o outputs counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from brg_prob.arrays import Floats


def effective_dimension(eigenvalues: ArrayLike, observations: ArrayLike, outputs: int = 1) -> Any:
    """Return Σ Tλ/(1 + Tλ), the number of distinguishable directions at T, (…).

    Examples
    --------
    >>> float(effective_dimension([1.0, 1.0, 0.0], 1.0))
    1.0
    """
    signal = _signal(eigenvalues, observations)
    return outputs * np.sum(signal / (1 + signal), axis=-1)


def mutual_information(eigenvalues: ArrayLike, observations: ArrayLike, outputs: int = 1) -> Any:
    """Return ½ Σ log(1 + Tλ): what T actual observations tell; d/d log T is half the effective dimension."""
    return 0.5 * outputs * np.sum(np.log1p(_signal(eigenvalues, observations)), axis=-1)


def kl_to_prior(eigenvalues: ArrayLike, data_modes: ArrayLike, observations: ArrayLike) -> Any:
    """Return KL(π_T ‖ π_0) = ½ Σ (v + m² − 1 − log v) of these data tempered to T, (…).

    Parameters
    ----------
    eigenvalues
        λ, (…, r).
    data_modes
        ẑ, (r, o): the data's whitened mode coordinates; zero where λ is.
    observations
        T, (…). The mean over data equals the mutual information at T = n only.
    """
    data = np.asarray(data_modes)
    signal = _signal(eigenvalues, observations)
    gain = signal / (1 + signal)
    mean = gain[..., None] * data
    # v = 1/(1+Tλ): v − 1 = −gain and −log v = log(1+Tλ), without cancellation
    spread = data.shape[1] * np.sum(np.log1p(signal) - gain, axis=-1)
    return 0.5 * (np.sum(np.square(mean), axis=(-2, -1)) + spread)


def kl_of_moments(draws: ArrayLike) -> float:
    """Return KL(N(m, v) ‖ N(0, 1)) of the moments m, v of draws (S, D), summed over D; ∞ where v = 0."""
    z = np.asarray(draws, dtype=float)
    mean, variance = z.mean(axis=0), z.var(axis=0, ddof=1)
    with np.errstate(divide="ignore"):  # what was dropped has no variance: infinitely far
        return 0.5 * float(np.sum(variance + mean**2 - 1 - np.log(variance)))


def kept_parameter_information(
    kept_kernel: ArrayLike, kernel: ArrayLike, residual: ArrayLike, ridge: float
) -> tuple[float, float, float]:
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
    kept, residual = np.asarray(kept_kernel), np.asarray(residual)
    n, outputs = residual.shape
    total = np.asarray(kernel) + ridge * np.eye(n)
    weights = np.linalg.solve(total, residual)
    dimension = outputs * np.trace(np.linalg.solve(total, kept))
    mutual = 0.5 * outputs * (np.linalg.slogdet(total)[1] - np.linalg.slogdet(total - kept)[1])
    kl = mutual + 0.5 * (np.sum(weights * (kept @ weights)) - dimension)
    return float(dimension), float(mutual), float(kl)


def _signal(eigenvalues: ArrayLike, observations: ArrayLike) -> Floats:
    """Return Tλ, (…, r)."""
    return np.asarray(observations)[..., None] * np.asarray(eigenvalues)
