"""Exact transport of one distribution to N(0, 1), and back: z = Φ⁻¹(F(θ)) (T7).

Location-scale families and everything made from a transported distribution by a bijection are closed
forms. Elsewhere the smaller of distribution and survival function is used, in logarithms, so that both
tails keep their digits; without a closed inverse it is bisection, differentiated implicitly to any order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import betainc, erf, erfinv, gammainc, gammaincc, log_ndtr, ndtr
from jax.scipy.stats import norm
from numpyro.distributions import Distribution, biject_to
from numpyro.distributions.transforms import AbsTransform

from brg_prob.geometry.normal import log_normal_cdf, ndtri_exp, normal_score

Tails = Callable[[Any, Array], tuple[Array, Array]]
Quantile = Callable[[Any, Array], Array]

_LOG2 = 0.6931471805599453
_BISECTIONS = 64  # halve an interval of width 1400 to below rounding


class NoTransport(ValueError):
    """A distribution has no known map to the standard normal; the message says which and why."""


@runtime_checkable
class OwnTransport(Protocol):
    """A distribution that brings its own map to the standard normal, such as the uniform one in a ball.

    Both methods broadcast over batch dimensions and invert each other.
    """

    def to_standard_normal(self, value: Array) -> Array:
        """Return z, N(0, 1) entry by entry under the distribution."""
        ...

    def from_standard_normal(self, z: Array) -> Array:
        """Return the value at z."""
        ...


def to_standard_normal(distribution: Distribution, value: Any) -> Array:
    """Return z = Φ⁻¹(F(value)), N(0, 1) distributed and independent entry by entry under the distribution.

    Parameters
    ----------
    distribution
        A continuous NumPyro distribution, its parameters (the parents) at their values.
    value
        A value of it, batch and event shape.

    Returns
    -------
    Array
        z; the shape of ``value``, except where a bijection changes the number of entries.

    Raises
    ------
    NoTransport
        Discrete, degenerate, improper, or without distribution function.

    Notes
    -----
    Accurate to rounding in both tails for Normal, LogNormal, Uniform, HalfNormal, HalfCauchy,
    Cauchy, Exponential, Weibull, Gumbel, Laplace, Logistic, Gamma, Beta, StudentT, multivariate
    normals and their images under NumPyro transforms; a distribution may also bring its own
    map (:class:`OwnTransport`). A distribution known by its ``cdf`` alone
    loses digits in its upper tail, 1e-16/φ(z). Derivatives with respect to the shape
    parameters of Beta and StudentT are not available in JAX.

    Examples
    --------
    >>> float(to_standard_normal(dist.LogNormal(1.0, 2.0), jnp.exp(5.0)))
    2.0
    """
    value = _floating(value)
    distribution = _unwrapped(distribution)
    if isinstance(distribution, OwnTransport):
        return distribution.to_standard_normal(value)
    if isinstance(distribution, dist.TransformedDistribution):
        for transform in reversed(_bijections(distribution)):
            value = transform.inv(value)
        return _orientation(distribution) * to_standard_normal(distribution.base_dist, value)
    if isinstance(distribution, dist.Normal):
        return (value - distribution.loc) / distribution.scale
    if isinstance(distribution, dist.MultivariateNormal | dist.LowRankMultivariateNormal):
        offset = (value - distribution.loc)[..., None]
        root = _cholesky(distribution, offset.shape[:-2])
        return jax.lax.linalg.triangular_solve(root, offset, left_side=True, lower=True)[..., 0]
    return normal_score(*_tails(distribution)(distribution, value))


def from_standard_normal(distribution: Distribution, z: Any) -> Array:
    """Return F⁻¹(Φ(z)), the inverse of :func:`to_standard_normal`; same arguments, errors and accuracy.

    Examples
    --------
    >>> round(float(from_standard_normal(dist.Exponential(2.0), 0.0)), 6)
    0.346574
    """
    z = _floating(z)
    distribution = _unwrapped(distribution)
    if isinstance(distribution, OwnTransport):
        return distribution.from_standard_normal(z)
    if isinstance(distribution, dist.TransformedDistribution):
        value = from_standard_normal(distribution.base_dist, _orientation(distribution) * z)
        for transform in _bijections(distribution):
            value = transform(value)
        return value
    if isinstance(distribution, dist.Normal):
        return distribution.loc + distribution.scale * z
    if isinstance(distribution, dist.MultivariateNormal | dist.LowRankMultivariateNormal):
        root = _cholesky(distribution, z.shape[:-1])
        return distribution.loc + (root @ z[..., None])[..., 0]
    tails = _tails(distribution)
    for family, quantile in _QUANTILES.items():
        if isinstance(distribution, family):
            return quantile(distribution, z)
    return _inverted(distribution, tails, z)


def standard_normal_shape(
    distribution: Distribution, shape: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """Return the shape of z for a value of the given shape (default: of one draw), or raise NoTransport."""
    shape = tuple(distribution.shape()) if shape is None else shape
    value = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    return tuple(jax.eval_shape(lambda v: to_standard_normal(distribution, v), value).shape)


def _floating(value: Any) -> Array:
    """Return an array of real numbers; integers take JAX's default precision."""
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _unwrapped(distribution: Distribution) -> Distribution:
    """Return the distribution under plates, masks and reinterpreted dimensions, all elementwise."""
    wrappers = dist.ExpandedDistribution | dist.Independent | dist.MaskedDistribution
    while isinstance(distribution, wrappers):
        distribution = distribution.base_dist
    return distribution


def _bijections(distribution: dist.TransformedDistribution) -> list[Any]:
    """Return the transforms of a transformed distribution, or raise NoTransport if one folds."""
    if any(isinstance(transform, AbsTransform) for transform in distribution.transforms):
        raise NoTransport(f"{type(distribution).__name__} folds values together: no map to a standard normal")
    return distribution.transforms


def _orientation(distribution: dist.TransformedDistribution) -> Any:
    """Return −1 where the transforms together fall, so that z always rises with the value; 1 for vectors."""
    sign = 1
    if distribution.event_dim == 0:
        for transform in distribution.transforms:
            sign = sign * transform.sign
    return sign


def _cholesky(distribution: Any, batch: tuple[int, ...]) -> Array:
    """Return the lower Cholesky factor of a normal's covariance, broadcast to a batch shape."""
    if isinstance(distribution, dist.MultivariateNormal):
        root = distribution.scale_tril
    else:
        root = jnp.linalg.cholesky(distribution.covariance_matrix)
    return jnp.broadcast_to(root, batch + root.shape[-2:])


def _tails(distribution: Distribution) -> Tails:
    """Return the function (distribution, value) → (log F, log(1 − F)), or raise NoTransport."""
    for family, tails in _TAILS.items():
        if isinstance(distribution, family):
            return tails
    name = type(distribution).__name__
    if distribution.support is not None and distribution.support.is_discrete:
        raise NoTransport(f"{name} is discrete: no map to a standard normal")
    if distribution.event_dim or type(distribution).cdf is Distribution.cdf:
        raise NoTransport(f"{name} has no known map to a standard normal")
    return _tails_by_cdf


def _tails_by_cdf(d: Any, value: Array) -> tuple[Array, Array]:
    """Return both logarithms from the distribution function alone."""
    cdf = d.cdf(value)
    return jnp.log(cdf), jnp.log1p(-cdf)


def _uniform_tails(d: Any, value: Array) -> tuple[Array, Array]:
    return jnp.log((value - d.low) / (d.high - d.low)), jnp.log((d.high - value) / (d.high - d.low))


def _half_normal_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = value / d.scale
    return jnp.log(erf(t / 2**0.5)), _LOG2 + log_ndtr(-t)


def _half_cauchy_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = value / d.scale
    return jnp.log(2 / jnp.pi * jnp.arctan2(t, 1.0)), jnp.log(2 / jnp.pi * jnp.arctan2(1.0, t))


def _cauchy_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    return jnp.log(jnp.arctan2(1.0, -t) / jnp.pi), jnp.log(jnp.arctan2(1.0, t) / jnp.pi)


def _exponential_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = d.rate * value
    return jnp.log(-jnp.expm1(-t)), -t


def _weibull_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value / d.scale) ** d.concentration
    return jnp.log(-jnp.expm1(-t)), -t


def _gumbel_tails(d: Any, value: Array) -> tuple[Array, Array]:
    log_cdf = -jnp.exp(-(value - d.loc) / d.scale)
    return log_cdf, jnp.log(-jnp.expm1(log_cdf))


def _laplace_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    small = jnp.where(t < 0, t, -t) - _LOG2
    large = jnp.log1p(-jnp.exp(small))
    return jnp.where(t < 0, small, large), jnp.where(t < 0, large, small)


def _logistic_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    return jax.nn.log_sigmoid(t), jax.nn.log_sigmoid(-t)


def _gamma_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = d.rate * value
    return jnp.log(gammainc(d.concentration, t)), jnp.log(gammaincc(d.concentration, t))


def _beta_tails(d: Any, value: Array) -> tuple[Array, Array]:
    a, b = d.concentration1, d.concentration0
    return jnp.log(betainc(a, b, value)), jnp.log(betainc(b, a, 1 - value))


def _student_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    inner = t**2 < d.df  # about the centre the complement keeps the digits of t
    outside = betainc(0.5 * d.df, 0.5, d.df / (d.df + t**2))
    within = betainc(0.5, 0.5 * d.df, jnp.where(inner, t**2 / (d.df + t**2), 0.5))
    smaller = 0.5 * jnp.where(inner, 1 - within, outside)
    small, large = jnp.log(smaller), jnp.log1p(-smaller)
    return jnp.where(t < 0, small, large), jnp.where(t < 0, large, small)


_TAILS: dict[type, Tails] = {
    dist.Uniform: _uniform_tails,
    dist.HalfNormal: _half_normal_tails,
    dist.HalfCauchy: _half_cauchy_tails,
    dist.Cauchy: _cauchy_tails,
    dist.Exponential: _exponential_tails,
    dist.Weibull: _weibull_tails,
    dist.Gumbel: _gumbel_tails,
    dist.Laplace: _laplace_tails,
    dist.Logistic: _logistic_tails,
    dist.Gamma: _gamma_tails,
    dist.Beta: _beta_tails,
    dist.StudentT: _student_tails,
}


def _lower(z: Array) -> Array:
    """Return −|z|, with a derivative at 0."""
    return jnp.where(z < 0, z, -z)


def _uniform_quantile(d: Any, z: Array) -> Array:
    width = d.high - d.low
    return jnp.where(z < 0, d.low + width * ndtr(z), d.high - width * ndtr(-z))


def _half_normal_quantile(d: Any, z: Array) -> Array:
    below = 2**0.5 * erfinv(ndtr(jnp.where(z < 0, z, 0)))
    above = -ndtri_exp(log_normal_cdf(jnp.where(z < 0, 0, -z)) - _LOG2)
    return d.scale * jnp.where(z < 0, below, above)


def _half_cauchy_quantile(d: Any, z: Array) -> Array:
    t = jnp.tan(0.5 * jnp.pi * ndtr(_lower(z)))
    return d.scale * jnp.where(z < 0, t, 1 / t)


def _cauchy_quantile(d: Any, z: Array) -> Array:
    t = 1 / jnp.tan(jnp.pi * ndtr(_lower(z)))
    return d.loc + d.scale * jnp.where(z < 0, -t, t)


def _exponential_quantile(d: Any, z: Array) -> Array:
    return -log_normal_cdf(-z) / d.rate


def _weibull_quantile(d: Any, z: Array) -> Array:
    return d.scale * (-log_normal_cdf(-z)) ** (1 / d.concentration)


def _gumbel_quantile(d: Any, z: Array) -> Array:
    return d.loc - d.scale * jnp.log(-log_normal_cdf(z))


def _laplace_quantile(d: Any, z: Array) -> Array:
    t = -(log_normal_cdf(_lower(z)) + _LOG2)
    return d.loc + d.scale * jnp.where(z < 0, -t, t)


def _logistic_quantile(d: Any, z: Array) -> Array:
    return d.loc + d.scale * (log_normal_cdf(z) - log_normal_cdf(-z))


_QUANTILES: dict[type, Quantile] = {
    dist.Uniform: _uniform_quantile,
    dist.HalfNormal: _half_normal_quantile,
    dist.HalfCauchy: _half_cauchy_quantile,
    dist.Cauchy: _cauchy_quantile,
    dist.Exponential: _exponential_quantile,
    dist.Weibull: _weibull_quantile,
    dist.Gumbel: _gumbel_quantile,
    dist.Laplace: _laplace_quantile,
    dist.Logistic: _logistic_quantile,
}


@partial(jax.jit, static_argnums=1)
def _inverted(distribution: Distribution, tails: Tails, z: Array) -> Array:
    """Invert an increasing map numerically: bisection and one Newton step; derivatives of any order.

    dθ/dz = φ(z)/p(θ), and dθ = −dθ/dz · ∂z/∂(parents) in the parents, both at the θ found, so that
    they may be differentiated again.
    """
    leaves, structure = jax.tree.flatten(distribution)

    @jax.custom_jvp
    def invert(target: Array, parents: list[Array]) -> Array:
        return _bisected(jax.tree.unflatten(structure, parents), tails, target)

    def rule(primals: tuple[Array, list[Array]], tangents: tuple[Any, list[Any]]) -> tuple[Array, Array]:
        (target, parents), (target_dot, parents_dot) = primals, tangents
        value = invert(target, parents)
        moving = [i for i, dot in enumerate(parents_dot) if not isinstance(dot, SymbolicZero)]
        fall = jnp.zeros_like(target) if isinstance(target_dot, SymbolicZero) else target_dot
        if moving:  # only these: not every distribution function has derivatives in all its parents

            def reached(moved: list[Array]) -> Array:
                at = dict(zip(moving, moved, strict=True))
                own = jax.tree.unflatten(structure, [at.get(i, leaf) for i, leaf in enumerate(parents)])
                return normal_score(*tails(own, value))

            fall -= jax.jvp(reached, ([parents[i] for i in moving],), ([parents_dot[i] for i in moving],))[1]
        own = jax.tree.unflatten(structure, parents)
        return value, jnp.exp(norm.logpdf(target) - own.log_prob(value)) * fall

    invert.defjvp(rule, symbolic_zeros=True)
    return invert(z, leaves)


def _bisected(distribution: Any, tails: Tails, z: Array) -> Array:
    """Return F⁻¹(Φ(z)) by bisection and one Newton step."""
    support = distribution.support
    unbounded = support is dist.constraints.real

    def value_at(u: Array) -> Array:
        return jnp.sinh(u) if unbounded else biject_to(support)(u)

    limit = 0.98 * jnp.log(jnp.finfo(z.dtype).max)
    falls = value_at(jnp.full_like(z, -1)) > value_at(jnp.full_like(z, 1))
    log_cdf, log_sf = log_normal_cdf(z), log_normal_cdf(-z)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        here_cdf, here_sf = tails(distribution, value_at(middle))
        below = jnp.where(z < 0, here_cdf < log_cdf, here_sf > log_sf)
        goes_up = below != falls
        return jnp.where(goes_up, middle, low), jnp.where(goes_up, high, middle)

    ends = (jnp.full_like(z, -limit), jnp.full_like(z, limit))
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, ends)
    start = value_at((low + high) / 2)
    slope = jnp.exp(norm.logpdf(z) - distribution.log_prob(start))
    step = slope * (normal_score(*tails(distribution, start)) - z)
    return jnp.where(jnp.isfinite(step), start - step, start)
