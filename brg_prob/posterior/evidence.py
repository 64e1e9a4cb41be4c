"""Marginal likelihood of a Gaussian field at T observations (T10), and the noise's own posterior.

The prior is f ~ N(0, K), the same for each of o outputs; each observation has noise σ and counts T/n (T6).
With the field integrated out, ρ = σ²n/T and r = y - prior mean,

  log p_T(y|σ) = -(oT/2) log 2πσ² + (on/2) log 2πρ - (o/2) log det 2π(K + ρ) - ½ tr rᵀ(K + ρ)⁻¹r,

at T = n the log density of N(0, K + σ²), at T = 0 zero. :func:`brg_prob.posterior.tuning.tune` maximises it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from brg_prob.posterior.tuning import EvidenceCurve, Tuned, tune

__all__ = ["EvidenceCurve", "NoisePosterior", "Tuned", "log_evidence", "noise_posterior", "tune"]

_SCAN = 512  # grid points while the support is searched
_POINTS = 1025  # grid points of the result; odd, so that every second one is again a grid
_DEPTH = 60.0  # log density below its maximum at which the support ends


@jax.jit
def log_evidence(
    kernel: Array, y: Array, noise_variance: Array | float, weight: Array | float = 1.0
) -> Array:
    """Return log p_T(y), the field integrated out.

    Parameters
    ----------
    kernel
        K_XX, prior covariance of the field on the inputs, (n, n).
    y
        Targets minus the prior mean, (n,) or (n, o); outputs are independent.
    noise_variance
        σ², > 0.
    weight
        T/n, the weight of each observation's log-likelihood, ≥ 0; 1 is the ordinary evidence.

    Returns
    -------
    Array
        A scalar, in nats.

    Notes
    -----
    T10; one Cholesky factorisation, n³/3. The factor is of 1 + K/ρ, so that weight 0 is no special case.

    Examples
    --------
    >>> round(float(log_evidence(jnp.eye(1), jnp.ones(1), 1.0)), 4)  # log N(1; 0, 2)
    -1.5155
    """
    residual = y[:, None] if y.ndim == 1 else y
    n, outputs = residual.shape
    precision = weight / noise_variance  # 1/ρ
    factor = jnp.linalg.cholesky(jnp.eye(n, dtype=kernel.dtype) + precision * kernel)
    whitened = solve_triangular(factor, residual, lower=True)
    log_determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    constant = weight * n * jnp.log(2 * math.pi * noise_variance)
    return -0.5 * (outputs * (constant + log_determinant) + precision * jnp.sum(jnp.square(whitened)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoisePosterior:
    """Posterior of σ with the readout integrated out, on a grid of log σ.

    Attributes
    ----------
    log_noise
        Equispaced log σ, (G,); ends where the density is e⁻⁶⁰ of its maximum.
    log_density
        Normalised log density of log σ (per unit of log σ), (G,).
    log_evidence
        log ∫ p_T(y|σ) p(σ) dσ.
    quadrature_error
        Relative difference of that integral on the grid and on every second point of it. The trapezoidal rule
        converges exponentially for such a density: the error left is far smaller.
    edge
        Log density relative to the maximum at the ends of the range that was searched; far below zero unless
        the support was cut off.
    """

    log_noise: Array
    log_density: Array
    log_evidence: Array
    quadrature_error: Array
    edge: Array

    def sample(self, key: Array, draws: int) -> Array:
        """Return independent draws of σ, (draws,), by the inverse distribution function.

        The distribution function is interpolated linearly: the grid's step h adds h²/6 or less to the
        variance of log σ, below 1e-4 of it.
        """
        density = jnp.exp(self.log_density)
        cells = 0.5 * (density[1:] + density[:-1])
        cumulative = jnp.concatenate([jnp.zeros_like(cells[:1]), jnp.cumsum(cells)])
        uniform = jax.random.uniform(key, (draws,), dtype=density.dtype)
        return jnp.exp(jnp.interp(uniform, cumulative / cumulative[-1], self.log_noise))

    def mean(self, function: Callable[[Array], Array]) -> Array:
        """Return the posterior expectation of an elementwise function of σ."""
        weights = jax.nn.softmax(self.log_density)
        return jnp.sum(weights * function(jnp.exp(self.log_noise)))


def noise_posterior(
    eigenvalues: Array,
    coefficients: Array,
    n: int,
    *,
    residual_sum_squares: Array | float,
    log_prior: Callable[[Array], Array],
    observations: Array | float,
    centre: Array | float,
    spread: Array | float,
) -> NoisePosterior:
    """Return the posterior of the noise σ at T observations, the readout integrated out.

    Parameters
    ----------
    eigenvalues
        Of the kernel K on the inputs, (r,), r ≤ n, none negative.
    coefficients
        Vᵀ(y - prior mean) on its orthonormal eigenvectors V (n, r): (r, o).
    n
        Number of inputs.
    residual_sum_squares
        Sum over outputs of the squared part of y - prior mean outside the range of V; 0 if r = n.
    log_prior
        log σ → log prior density of σ (per unit of σ).
    observations
        T.
    centre, spread
        Where the prior lies: median of σ and standard deviation of log σ. They only place the search for the
        support.

    Notes
    -----
    Traceable: fixed shapes, no branch on values. Cost O(r) per grid point once the spectrum is known. The
    density of log σ is scanned over prior and data together, the range narrowed three times to where it
    exceeds e⁻⁶⁰ of its maximum, and integrated there by the trapezoidal rule.
    """
    coefficients = jnp.asarray(coefficients)
    outputs = coefficients.shape[1]
    power = jnp.sum(jnp.square(coefficients), axis=1)
    squares = jnp.asarray(residual_sum_squares, dtype=power.dtype)

    def log_density(log_noise: Array) -> Array:
        value = _log_evidence_spectrum(log_noise, eigenvalues, power, squares, n, outputs, observations)
        return value + log_prior(log_noise) + log_noise  # density of log σ

    low, high = _search_range(power, squares, n * outputs, centre, spread)
    edge = jnp.maximum(log_density(low[None])[0], log_density(high[None])[0])
    for _ in range(3):
        low, high = _narrow(log_density, low, high, outputs * observations)
    grid = jnp.linspace(low, high, _POINTS)
    values = log_density(grid)
    top = jnp.max(values)
    fine, coarse = _trapezoid(values - top, grid), _trapezoid((values - top)[::2], grid[::2])
    evidence = top + jnp.log(fine)
    return NoisePosterior(grid, values - evidence, evidence, jnp.abs(fine - coarse) / fine, edge - top)


def _log_evidence_spectrum(
    log_noise: Array,
    eigenvalues: Array,
    power: Array,
    squares: Array,
    n: int,
    outputs: int,
    observations: Array | float,
) -> Array:
    """Return log p_T(y|σ) at each log σ (G,), from the kernel's spectrum."""
    precision = (observations / n) * jnp.exp(-2 * log_noise)[:, None]  # 1/ρ, (G, 1)
    scaled = 1 + precision * eigenvalues[None, :]
    quadratic = precision[:, 0] * (jnp.sum(power[None, :] / scaled, axis=1) + squares)
    constant = observations * (math.log(2 * math.pi) + 2 * log_noise)
    return -0.5 * (outputs * (constant + jnp.sum(jnp.log(scaled), axis=1)) + quadratic)


def _search_range(
    power: Array, squares: Array, size: int, centre: Array | float, spread: Array | float
) -> tuple[Array, Array]:
    """Return the ends of log σ that hold prior (12 spreads) and data (1e-6 to 20 root mean squares)."""
    dtype = power.dtype
    middle, width = jnp.log(jnp.asarray(centre, dtype)), 12 * jnp.asarray(spread, dtype)
    mean_square = (jnp.sum(power) + squares) / size
    level = jnp.where(mean_square > 0, 0.5 * jnp.log(jnp.where(mean_square > 0, mean_square, 1)), middle)
    smallest = 0.5 * math.log(float(jnp.finfo(dtype).tiny)) + 4  # σ² and 1/σ² stay finite
    low = jnp.maximum(jnp.minimum(middle - width, level - 14), smallest)
    return low, jnp.minimum(jnp.maximum(middle + width, level + 3), -smallest)


def _narrow(
    log_density: Callable[[Array], Array], low: Array, high: Array, count: Array | float
) -> tuple[Array, Array]:
    """Return the ends of the grid cells in which the density exceeds its threshold."""
    grid = jnp.linspace(low, high, _SCAN)
    step = grid[1] - grid[0]
    values = log_density(grid)
    # a peak of curvature 2oT between two points is underestimated by up to oT step²/4
    alive = values > jnp.max(values) - _DEPTH - count * step**2
    first, last = jnp.argmax(alive), _SCAN - 1 - jnp.argmax(alive[::-1])
    return grid[jnp.maximum(first - 1, 0)], grid[jnp.minimum(last + 1, _SCAN - 1)]


def _trapezoid(log_values: Array, grid: Array) -> Array:
    return jnp.trapezoid(jnp.exp(log_values), grid)
