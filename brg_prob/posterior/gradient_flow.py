"""Gradient flow of a linear readout in closed form: any training time, without a step (T11).

Gradient flow on ½ Σ_i (f(x_i) − y_i)² from weights w_0 for a time t ends at w_0 + Φᵀc with

    c = g_t(K) (y − f_0(X)),   K = ΦΦᵀ,   g_t(λ) = (1 − e^{−tλ})/λ,   g_t(0) = t,

on the eigenvectors of K, never through an inverse: K may be singular. Small steps of size η on
(f − y)² for E epochs are t = 2ηE (:mod:`brg_prob.posterior.sgd_exact` knows any step).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array

from brg_prob.geometry.readout_spectrum import readout_kernel, whitened_features
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.posterior.engine import Data
from brg_prob.posterior.readout_members import (
    MemberDraws,
    check_members,
    check_trainable,
    fit_members,
    readout_variance,
    trained_member,
)
from brg_prob.posterior.schema import TRAINED


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


def _resolved(values: Array, n: int) -> Array:
    """Return the eigenvalues of K (n, n) with round-off set to zero."""
    floor = jnp.finfo(values.dtype).eps * n * jnp.max(jnp.abs(values))
    return jnp.where(values > floor, values, 0)


def _eigensystem(kernel: Array) -> tuple[Array, Array]:
    """Return eigenvalues (n,), ascending, round-off set to zero, and eigenvectors (n, n)."""
    values, vectors = jnp.linalg.eigh(kernel)
    return _resolved(values, values.shape[-1]), vectors


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
    It is returned so until tλ_max reaches 1/√ε and as 0 beyond (:func:`flow_gain`). Eigenvalues below nελ_max
    count as null. Fields Kc are good to ελ_max min(t, 1/λ_min), λ_min the least above that: the price of
    coefficients on nearly dependent inputs.

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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FlowMap:
    """g_t(K) on the nonzero modes of K, which the smaller side of the features gives.

    Attributes
    ----------
    vectors
        Orthonormal eigenvectors of K, (n, r), r = min(n, P); c stays zero outside them.
    gain
        g_t of each, (r,).
    """

    vectors: Array
    gain: Array

    def solve(self, residual: Array) -> Array:
        """Return c of residuals, one per column, (n, S·o)."""
        return self.vectors @ (self.gain[:, None] * (self.vectors.T @ residual))


@dataclass(frozen=True)
class GradientFlow:
    """Readout trained by gradient flow from prior draws: an ensemble of networks, in closed form.

    Attributes
    ----------
    time
        Training time t of the raw weights on ½ Σ (f − y)², inf included; by default that of T observations.
    members
        Number of draws of the hidden layers; readout draws are shared out evenly.

    Notes
    -----
    T11. Every draw starts from its own prior weights and is trained on the data as they are: its spread is
    what is left of the prior, 1 − e^{−2tK} removed, where the posterior has K/(K + ρ) removed. The two agree
    for no t > 0, so the draws are those of a trained ensemble, not of π_T.

    ``time=None``: t = s/ρ(T) = sT/(nσ²), s the prior variance of each weight. In a mode of eigenvalue μ of
    the prior covariance, training then takes up the fraction 1 − e^{−μ/ρ} of the data, the ridge ρ(T) the
    fraction (μ/ρ)/(1 + μ/ρ): both μ/ρ for small ones. T = 0 is the prior. With a ``time``, T (default n) is
    nominal: the number of observations at which a flow of these draws is said to start. Either way T6 is not
    the law of these draws: a flow of them has no KL to the prior and no theory at a scale.

    Flow is that of the raw readout weights, kernel ΦΦᵀ of the raw features. These weights must be
    independent under the prior; their common variance s only rescales time, t/s in whitened coordinates.

    Examples
    --------
    >>> GradientFlow(time=-1.0)
    Traceback (most recent call last):
    ValueError: time = -1.0 is no training time; give t >= 0, inf for the end of training
    """

    time: float | None = None
    members: int = 1

    def __post_init__(self) -> None:
        check_members(self.members)
        if self.time is not None and not self.time >= 0:
            raise ValueError(
                f"time = {self.time} is no training time; give t >= 0, inf for the end of training"
            )

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Return draws of the trained ensemble in the schema of :func:`brg_prob.fit`.

        Attribute ``time`` says for how long they were trained: t, or "inf", of which JSON knows no number.
        """
        name = "GradientFlow()"
        network = require(network, LinearReadout, name)
        check_trainable(network, name, observations, fixed=self.time is not None)
        matched = observations / (data.n * float(network.noise) ** 2)  # 1/ρ(T)
        times = []

        def draw(hidden: Hidden, own: Array, each: int) -> MemberDraws:
            variance = readout_variance(network, hidden, name)
            whitened = matched if self.time is None else self.time / variance
            times.append(variance * whitened if self.time is None else self.time)
            trained = flow_map(network, data.x, hidden, whitened)
            return trained_member(network, data, hidden, own, each, trained)

        tree = fit_members(
            network,
            data,
            key=key,
            draws=draws,
            members=self.members,
            draw=draw,
            attrs={
                "engine": "gradient_flow",
                "observations": observations,
                "no_leave_one_out": TRAINED,
                "no_posterior": TRAINED,
            },
        )
        tree.attrs["time"] = times[0] if math.isfinite(times[0]) else "inf"
        return tree


def flow_map(network: LinearReadout, x: Array, hidden: Hidden, time: float) -> FlowMap:
    """Return g_t(K) of a network's whitened readout, through n × n or n × P, whichever is smaller."""
    if network.readout_prior(hidden).mean.shape[0] < x.shape[0]:
        return _flow_map_of_features(whitened_features(network, x, hidden), time)
    return _flow_map_of_kernel(readout_kernel(network, x, hidden), time)


@jax.jit
def _flow_map_of_kernel(kernel: Array, time: Array | float) -> FlowMap:
    """Return the map from K, (n, n)."""
    values, vectors = _eigensystem(kernel)
    return _flow_map(values, vectors, time)


@jax.jit
def _flow_map_of_features(features: Array, time: Array | float) -> FlowMap:
    """Return the map from whitened features (n, P), P < n.

    By singular values: the eigenvectors of ΦᵀΦ, carried to the inputs, lose their digits where K is small,
    and 1/λ multiplies what they lost.
    """
    vectors, values, _ = jnp.linalg.svd(features, full_matrices=False)
    return _flow_map(_resolved(jnp.square(values), features.shape[0]), vectors, time)


def _flow_map(values: Array, vectors: Array, time: Array | float) -> FlowMap:
    """Return the map from the eigensystem."""
    return FlowMap(vectors, flow_gain(values, time, jnp.max(values)))
