"""The standard normal distribution function and its inverse, to full accuracy in both tails."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import erf, log_ndtr, ndtr, ndtri
from jax.scipy.stats import norm


@jax.custom_jvp
def ndtri_exp(log_p: Array) -> Array:
    """Return Φ⁻¹(exp(log_p)) for log_p ≤ log ½, down to −10¹⁵⁰ (float32: −10¹⁹) and −∞ at −∞.

    Where exp(log_p) underflows, Newton steps on the asymptotic series of log Φ, exact to rounding there.
    """
    tiny = jnp.log(jnp.finfo(log_p.dtype).tiny)
    near = ndtri(jnp.exp(jnp.maximum(log_p, tiny)))
    far_p = jnp.clip(log_p, -jnp.sqrt(jnp.finfo(log_p.dtype).max), tiny)
    far = -jnp.sqrt(-2 * far_p - jnp.log(-4 * jnp.pi * far_p))
    for _ in range(4):
        inverse = 1 / far**2
        series = -inverse * (1 - inverse * (3 - inverse * (15 - inverse * (105 - 945 * inverse))))
        error = -0.5 * far**2 - jnp.log(-far) - 0.5 * math.log(2 * math.pi) + jnp.log1p(series) - far_p
        far = far + error / (far - 1 / far)
    return jnp.where(log_p > tiny, near, jnp.where(log_p == -jnp.inf, log_p, far))


def log_normal_cdf(z: Array) -> Array:
    """Return log Φ(z) with full relative accuracy at both ends (JAX's own rounds to log 1 for z in 5 … 8)."""
    upper = jnp.log1p(-ndtr(jnp.where(z > 0, -z, 0)))
    return jnp.where(z > 0, upper, log_ndtr(jnp.where(z > 0, 0, z)))


def log_normal_mass(low: Array | None, high: Array | None) -> Array:
    """Return log(Φ(high) − Φ(low)), low < high, to full relative accuracy; None: an infinite end."""
    if high is None:
        return jnp.zeros(()) if low is None else log_normal_cdf(-low)
    if low is None:
        return log_normal_cdf(high)
    above = low > 0
    low, high = jnp.where(above, -high, low), jnp.where(above, -low, high)  # now low ≤ 0
    across = high > 0
    far, near = log_normal_cdf(low), log_normal_cdf(jnp.where(across, 0, high))
    inner = near + jnp.log(-jnp.expm1(jnp.where(across, -1, far - near)))
    root = 2**0.5
    both = 0.5 * (erf(jnp.where(across, high, root) / root) - erf(jnp.where(across, low, -root) / root))
    return jnp.where(across, jnp.log(both), inner)


@ndtri_exp.defjvp
def _ndtri_exp_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """dz/d log p = Φ(z)/φ(z)."""
    z = ndtri_exp(primals[0])
    return z, tangents[0] * jnp.exp(log_ndtr(z) - norm.logpdf(z))


def normal_score(log_cdf: Array, log_sf: Array) -> Array:
    """Return z with Φ(z) = F, from log F and log(1 − F), whichever is smaller."""
    lower = log_cdf < log_sf
    z = ndtri_exp(jnp.where(lower, log_cdf, log_sf))
    return jnp.where(lower, z, -z)
