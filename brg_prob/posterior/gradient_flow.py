"""Gradient flow of a linear readout in closed form: any training time, without a step (T11).

Gradient flow on ½ Σ_i (f(x_i) − y_i)² from weights w_0 for a time t ends at w_0 + Φᵀc with

    c = g_t(K) (y − f_0(X)),   K = ΦΦᵀ,   g_t(λ) = (1 − e^{−tλ})/λ,   g_t(0) = t,

on the eigenvectors of K, never through an inverse: K may be singular. Small steps of size η on
(f − y)² for E epochs are t = 2ηE (:mod:`brg_prob.posterior.sgd_exact` knows any step).
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def flow_gain(eigenvalues: Array, time: Array | float, top: Array | float) -> Array:
    """Return g_t(λ) = (1 − e^{−tλ})/λ, with g_t(0) = t; what time t makes of each direction of K.

    Parameters
    ----------
    eigenvalues
        λ ≥ 0, any shape; round-off must have been set to zero.
    time
        t ≥ 0; infinity gives 1/λ.
    top
        The largest eigenvalue of K.

    Returns
    -------
    Array
        Same shape. Once tλ_max exceeds 1/√ε of the float type, infinity included, 0 stands for
        g_t(0): these directions of c leave the weights Φᵀc alone, and ever larger coefficients
        would only bring their rounding in.

    Examples
    --------
    >>> flow_gain(jnp.array([2.0, 0.0]), jnp.inf, 2.0).tolist()
    [0.5, 0.0]
    >>> flow_gain(jnp.array([0.0]), 3.0, 2.0).tolist()
    [3.0]
    """
    time = jnp.asarray(time, eigenvalues.dtype)
    alive = eigenvalues > 0
    safe = jnp.where(alive, eigenvalues, 1)
    null = jnp.where(time * top * jnp.sqrt(jnp.finfo(eigenvalues.dtype).eps) < 1, time, 0)
    return jnp.where(alive, -jnp.expm1(-time * safe) / safe, null)


def _eigensystem(kernel: Array) -> tuple[Array, Array]:
    """Return eigenvalues (n,), ascending, round-off set to zero, and eigenvectors (n, n)."""
    values, vectors = jnp.linalg.eigh(kernel)
    floor = jnp.finfo(values.dtype).eps * values.shape[-1] * jnp.max(jnp.abs(values))
    return jnp.where(values > floor, values, 0), vectors


def gradient_flow_dual(kernel: Array, residual: Array, time: Array | float) -> Array:
    """Return c = g_t(K) r: the readout trained by gradient flow is w_0 + Φᵀc.

    Parameters
    ----------
    kernel
        K = ΦΦᵀ, symmetric, positive semi-definite of any rank, (n, n).
    residual
        r = y − f_0(X), targets minus the untrained outputs, (n, o).
    time
        t ≥ 0 of the flow on ½ Σ (f − y)²; infinity interpolates as far as the range of K allows.

    Returns
    -------
    Array
        c, (n, o), dtype of the kernel.

    Notes
    -----
    T11; [Lee] arXiv:1902.06720. One eigendecomposition, about 9n³. Pure: it may be jitted, vmapped
    and mapped. Along a null direction v of K, c grows as t vᵀr while Φᵀc does not see it, ‖Φᵀv‖² = vᵀKv = 0.
    It is returned so until tλ_max reaches 1/√ε and as 0 beyond (:func:`flow_gain`).

    Examples
    --------
    >>> kernel = jnp.array([[1.0, 1.0], [1.0, 1.0]])  # the same input twice
    >>> c = gradient_flow_dual(kernel, jnp.array([[1.0], [3.0]]), jnp.inf)
    >>> [round(float(f), 5) for f in (kernel @ c)[:, 0]]  # its mean target
    [2.0, 2.0]
    """
    values, vectors = _eigensystem(kernel)
    return vectors @ (flow_gain(values, time, values[-1])[:, None] * (vectors.T @ residual))


def gradient_flow_moments(
    kernel: Array, cross: Array, prior: Array, y: Array, time: Array | float
) -> tuple[Array, Array]:
    """Return mean (m, o) and covariance (m, m) of an ensemble trained by gradient flow.

    The members differ by their prior draw alone: at given hidden layers, or at infinite width. ::

        mean = K_*X g_t(K) y,   covariance = K_** − K_*X K⁻¹(1 − e^{−2tK}) K_X*

    The bracket is g_2t(K): no inverse here either. It is no posterior: that has K/(K + ρ) where this has
    1 − e^{−2tK}, and noise plays no part.

    Parameters
    ----------
    kernel, cross, prior
        K_XX (n, n), K_*X (m, n), K_** (m, m): kernel of the readout and, at once, prior covariance of the
        field, so for prior variance 1 of each weight. For another variance s give the prior covariances
        and t/s: gradient flow of the raw weights for t is that of the whitened ones for t/s.
    y
        Targets minus the prior mean, (n, o).
    time
        t ≥ 0, infinity included.

    Notes
    -----
    T11; [Lee] arXiv:1902.06720, eqs. 13-14.

    Examples
    --------
    >>> one = jnp.ones((1, 1))
    >>> mean, variance = gradient_flow_moments(one, one, one, 2 * one, jnp.log(2.0))
    >>> round(float(mean[0, 0]), 5), round(float(variance[0, 0]), 5)
    (1.0, 0.25)
    """
    values, vectors = _eigensystem(kernel)
    rotated, top = cross @ vectors, values[-1]
    mean = (rotated * flow_gain(values, time, top)) @ (vectors.T @ y)
    twice = jnp.asarray(2.0, kernel.dtype) * time
    return mean, prior - (rotated * flow_gain(values, twice, top)) @ rotated.T
