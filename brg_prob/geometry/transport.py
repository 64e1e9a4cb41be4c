"""Exact transport of one distribution to N(0, 1), and back: z = Φ⁻¹(F(θ)) (T7).

Plates, masks and bijections are seen through here. What is left is a distribution of one number
(:mod:`brg_prob.geometry.univariate`), of a vector or a matrix (:mod:`brg_prob.geometry.vectors`), or a
user's own.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard, runtime_checkable

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real
from numpyro.distributions import Distribution
from numpyro.distributions.transforms import AbsTransform

from brg_prob.geometry.univariate import Maps, NoTransport, univariate_maps
from brg_prob.geometry.vectors import vector_maps
from brg_prob.network.centre import bare

Value = Float[Array, " ..."]


@runtime_checkable
class OwnTransport(Protocol):
    """A distribution that brings its own map to the standard normal, such as the uniform one in a ball.

    Both methods broadcast over batch dimensions and invert each other.
    """

    def to_standard_normal(self, value: Value) -> Value:
        """Return z, N(0, 1) entry by entry under the distribution."""

    def from_standard_normal(self, z: Value) -> Value:
        """Return the value at z."""


def to_standard_normal(distribution: Distribution, value: Real[ArrayLike, " ..."]) -> Value:
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
    Cauchy, Exponential, Weibull, Kumaraswamy, Gumbel, Laplace, Logistic, Gamma, Beta, StudentT, what
    truncates or folds these, normals, walks and Student variables of several dimensions, Dirichlet, LKJ,
    Wishart, Gaussian copulas, and their images under NumPyro transforms; a distribution may also bring its
    own map (:class:`OwnTransport`). A distribution known by its ``cdf`` alone, such as a mixture, loses
    digits in its upper tail, 1e-16/φ(z), and has the derivatives of its ``cdf``.

    Examples
    --------
    >>> float(to_standard_normal(dist.LogNormal(1.0, 2.0), jnp.exp(5.0)))
    2.0
    """
    value = _floating(value)
    distribution = _unwrapped(distribution)
    if isinstance(distribution, OwnTransport):
        return distribution.to_standard_normal(value)
    if _transformed(distribution):
        for transform in reversed(_bijections(distribution)):
            value = transform.inv(value)
        return _orientation(distribution) * to_standard_normal(distribution.base_dist, value)
    return _maps(distribution).score(distribution, value)


def from_standard_normal(distribution: Distribution, z: Real[ArrayLike, " ..."]) -> Value:
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
    if _transformed(distribution):
        value = from_standard_normal(distribution.base_dist, _orientation(distribution) * z)
        for transform in _bijections(distribution):
            value = transform(value)
        return value
    return _maps(distribution).quantile(distribution, z)


def standard_normal_shape(
    distribution: Distribution, shape: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """Return the shape of z for a value of the given shape (default: of one draw), or raise NoTransport."""
    shape = tuple(distribution.shape()) if shape is None else shape
    value = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    return tuple(jax.eval_shape(lambda v: to_standard_normal(distribution, v), value).shape)


def _maps(distribution: Distribution) -> Maps:
    """Return both maps of a distribution without wrappers or bijections, or raise NoTransport."""
    if isinstance(distribution, dist.GaussianCopula):
        return Maps(_copula_score, _copula_quantile)
    return vector_maps(distribution) or univariate_maps(distribution)


def _copula_score(d: Any, value: Value) -> Value:
    return to_standard_normal(d.base_dist, to_standard_normal(d.marginal_dist, value))


def _copula_quantile(d: Any, z: Value) -> Value:
    return from_standard_normal(d.marginal_dist, from_standard_normal(d.base_dist, z))


def _floating(value: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Return an array of real numbers; integers take JAX's default precision."""
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _unwrapped(distribution: Distribution) -> Distribution:
    """Return the distribution under plates, masks and reinterpreted dimensions, all elementwise."""
    distribution = bare(distribution)
    if type(distribution) is dist.TransformedDistribution and _folds(distribution.transforms[0]):
        folded: Distribution = dist.FoldedDistribution(distribution.base_dist)
        rest = distribution.transforms[1:]
        return dist.TransformedDistribution(folded, rest) if rest else folded
    return distribution


def _transformed(distribution: Distribution) -> TypeGuard[dist.TransformedDistribution]:
    """Return whether a distribution is its base's image under bijections."""
    folded = isinstance(distribution, dist.FoldedDistribution)
    return isinstance(distribution, dist.TransformedDistribution) and not folded


def _folds(transform: Any) -> bool:
    return isinstance(transform, AbsTransform)


def _bijections(distribution: dist.TransformedDistribution) -> list[Any]:
    """Return the transforms of a transformed distribution, or raise NoTransport if one folds."""
    if any(map(_folds, distribution.transforms)):
        raise NoTransport(f"{type(distribution).__name__} folds values together: no map to a standard normal")
    return distribution.transforms


def _orientation(distribution: dist.TransformedDistribution) -> Any:
    """Return −1 where the transforms together fall, so that z always rises with the value; 1 for vectors."""
    sign = 1
    if distribution.event_dim == 0:
        for transform in distribution.transforms:
            sign = sign * transform.sign
    return sign


__all__ = [
    "NoTransport",
    "OwnTransport",
    "from_standard_normal",
    "standard_normal_shape",
    "to_standard_normal",
]
