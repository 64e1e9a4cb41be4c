"""Scores z = Φ⁻¹(F(θ)) of distributions of one number, and quantiles F⁻¹(Φ(z)) (T7).

The smaller of distribution and survival function is used, in logarithms, so that both tails keep their
digits. Without a closed inverse it is bisection, differentiated implicitly to any order. A truncated or
folded distribution is carried through the scores of its base, whatever that is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import erf, erfinv, log_ndtr, ndtr
from jax.scipy.stats import norm
from numpyro.distributions import Distribution, biject_to

from brg_prob.geometry.laws import BETA, GAMMA, STUDENT, law_quantile, law_score
from brg_prob.geometry.normal import log_normal_cdf, log_normal_mass, ndtri_exp, normal_score

Tails = Callable[[Any, Array], tuple[Array, Array]]
Map = Callable[[Any, Array], Array]

_LOG2 = 0.6931471805599453
_BISECTIONS = 64  # halve an interval of width 1400 to below rounding


class NoTransport(ValueError):
    """A distribution has no known map to the standard normal; the message says which and why."""


class Maps(NamedTuple):
    """(distribution, value) → z and (distribution, z) → value."""

    score: Map
    quantile: Map


def univariate_maps(distribution: Distribution) -> Maps:
    """Return both maps of a distribution without wrappers, or raise NoTransport naming its family."""
    for family, maps in _MAPS.items():
        if isinstance(distribution, family):
            return maps
    name = type(distribution).__name__
    if distribution.support is not None and distribution.support.is_discrete:
        raise NoTransport(f"{name} is discrete: no map to a standard normal")
    if isinstance(distribution, dist.Delta):
        raise NoTransport("Delta is degenerate: no map to a standard normal; use numpyro.deterministic")
    if distribution.event_dim or type(distribution).cdf is Distribution.cdf:
        raise NoTransport(f"{name} has no known map to a standard normal")
    if distribution.support is None:
        raise NoTransport(f"{name} does not say where its support is: no map to a standard normal")
    return _by_inversion(_tails_by_cdf)


def _by_inversion(tails: Tails) -> Maps:
    """Return the maps of a distribution known by its tails."""
    return Maps(lambda d, value: normal_score(*tails(d, value)), lambda d, z: _inverted(d, tails, z))


def _closed(tails: Tails, quantile: Map) -> Maps:
    return Maps(lambda d, value: normal_score(*tails(d, value)), quantile)


def _tails_by_cdf(d: Any, value: Array) -> tuple[Array, Array]:
    """Return both logarithms from the distribution function alone."""
    cdf = d.cdf(value)
    return jnp.log(cdf), jnp.log1p(-cdf)


def _normal_score(d: Any, value: Array) -> Array:
    return (value - d.loc) / d.scale


def _normal_quantile(d: Any, z: Array) -> Array:
    return d.loc + d.scale * z


def _beta_score(d: Any, value: Array) -> Array:
    return law_score(BETA, jnp.log(value) - jnp.log1p(-value), d.concentration1, d.concentration0)


def _beta_quantile(d: Any, z: Array) -> Array:
    return jax.nn.sigmoid(law_quantile(BETA, z, d.concentration1, d.concentration0))


def _gamma_score(d: Any, value: Array) -> Array:
    return law_score(GAMMA, jnp.log(d.rate) + jnp.log(value), d.concentration)


def _gamma_quantile(d: Any, z: Array) -> Array:
    return jnp.exp(law_quantile(GAMMA, z, d.concentration)) / d.rate


def _student_score(d: Any, value: Array) -> Array:
    return law_score(STUDENT, (value - d.loc) / d.scale, d.df)


def _student_quantile(d: Any, z: Array) -> Array:
    return d.loc + d.scale * law_quantile(STUDENT, z, d.df)


def _uniform_tails(d: Any, value: Array) -> tuple[Array, Array]:
    return jnp.log((value - d.low) / (d.high - d.low)), jnp.log((d.high - value) / (d.high - d.low))


def _uniform_quantile(d: Any, z: Array) -> Array:
    width = d.high - d.low
    return jnp.where(z < 0, d.low + width * ndtr(z), d.high - width * ndtr(-z))


def _half_normal_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = value / d.scale
    return jnp.log(erf(t / 2**0.5)), _LOG2 + log_ndtr(-t)


def _half_normal_quantile(d: Any, z: Array) -> Array:
    below = 2**0.5 * erfinv(ndtr(jnp.where(z < 0, z, 0)))
    above = -ndtri_exp(log_normal_cdf(jnp.where(z < 0, 0, -z)) - _LOG2)
    return d.scale * jnp.where(z < 0, below, above)


def _half_cauchy_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = value / d.scale
    return jnp.log(2 / jnp.pi * jnp.arctan2(t, 1.0)), jnp.log(2 / jnp.pi * jnp.arctan2(1.0, t))


def _half_cauchy_quantile(d: Any, z: Array) -> Array:
    t = jnp.tan(0.5 * jnp.pi * ndtr(_lower(z)))
    return d.scale * jnp.where(z < 0, t, 1 / t)


def _cauchy_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    return jnp.log(jnp.arctan2(1.0, -t) / jnp.pi), jnp.log(jnp.arctan2(1.0, t) / jnp.pi)


def _cauchy_quantile(d: Any, z: Array) -> Array:
    t = 1 / jnp.tan(jnp.pi * ndtr(_lower(z)))
    return d.loc + d.scale * jnp.where(z < 0, -t, t)


def _exponential_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = d.rate * value
    return jnp.log(-jnp.expm1(-t)), -t


def _exponential_quantile(d: Any, z: Array) -> Array:
    return -log_normal_cdf(-z) / d.rate


def _weibull_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value / d.scale) ** d.concentration
    return jnp.log(-jnp.expm1(-t)), -t


def _weibull_quantile(d: Any, z: Array) -> Array:
    return d.scale * (-log_normal_cdf(-z)) ** (1 / d.concentration)


def _kumaraswamy_tails(d: Any, value: Array) -> tuple[Array, Array]:
    log_sf = d.concentration0 * jnp.log1p(-(value**d.concentration1))
    return jnp.log(-jnp.expm1(log_sf)), log_sf


def _kumaraswamy_quantile(d: Any, z: Array) -> Array:
    return (-jnp.expm1(log_normal_cdf(-z) / d.concentration0)) ** (1 / d.concentration1)


def _gumbel_tails(d: Any, value: Array) -> tuple[Array, Array]:
    log_cdf = -jnp.exp(-(value - d.loc) / d.scale)
    return log_cdf, jnp.log(-jnp.expm1(log_cdf))


def _gumbel_quantile(d: Any, z: Array) -> Array:
    return d.loc - d.scale * jnp.log(-log_normal_cdf(z))


def _laplace_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    small = jnp.where(t < 0, t, -t) - _LOG2
    large = jnp.log1p(-jnp.exp(small))
    return jnp.where(t < 0, small, large), jnp.where(t < 0, large, small)


def _laplace_quantile(d: Any, z: Array) -> Array:
    t = -(log_normal_cdf(_lower(z)) + _LOG2)
    return d.loc + d.scale * jnp.where(z < 0, -t, t)


def _logistic_tails(d: Any, value: Array) -> tuple[Array, Array]:
    t = (value - d.loc) / d.scale
    return jax.nn.log_sigmoid(t), jax.nn.log_sigmoid(-t)


def _logistic_quantile(d: Any, z: Array) -> Array:
    return d.loc + d.scale * (log_normal_cdf(z) - log_normal_cdf(-z))


def _lower(z: Array) -> Array:
    """Return −|z|, with a derivative at 0."""
    return jnp.where(z < 0, z, -z)


def _scores(d: Any, *values: Any) -> list[Array | None]:
    """Return the scores of several values under one distribution by one program; None stays None."""
    given = [jnp.asarray(value) for value in values if value is not None]
    found = iter(univariate_maps(d).score(d, jnp.stack(jnp.broadcast_arrays(*given))) if given else ())
    return [None if value is None else next(found) for value in values]


def _ends(d: Any) -> tuple[Any, Any]:
    """Return the ends of a truncated distribution; None where there is none."""
    return getattr(d, "low", None), getattr(d, "high", None)


def _truncated_score(d: Any, value: Array) -> Array:
    """Return the score within the normal mass between the ends."""
    u, low, high = _scores(d.base_dist, value, *_ends(d))
    whole = log_normal_mass(low, high)
    return normal_score(log_normal_mass(low, u) - whole, log_normal_mass(u, high) - whole)


def _truncated_quantile(d: Any, z: Array) -> Array:
    low, high = _scores(d.base_dist, *_ends(d))
    whole = log_normal_mass(low, high)
    log_cdf, log_sf = log_normal_cdf(z) + whole, log_normal_cdf(-z) + whole
    if low is not None:
        log_cdf = jnp.logaddexp(log_normal_cdf(low), log_cdf)
    if high is not None:
        log_sf = jnp.logaddexp(log_normal_cdf(-high), log_sf)
    return univariate_maps(d.base_dist).quantile(d.base_dist, normal_score(log_cdf, log_sf))


def _folded_tails(d: Any, value: Array) -> tuple[Array, Array]:
    base = d.base_dist
    above, below = univariate_maps(base).score(base, jnp.stack([value, -value]))
    return log_normal_mass(below, above), jnp.logaddexp(log_normal_cdf(below), log_normal_cdf(-above))


_TRUNCATED = (
    dist.LeftTruncatedDistribution,
    dist.RightTruncatedDistribution,
    dist.TwoSidedTruncatedDistribution,
    *(
        getattr(dist, name)  # of later versions of NumPyro
        for name in ("LeftTruncatedGamma", "RightTruncatedGamma", "TwoSidedTruncatedGamma")
        if hasattr(dist, name)
    ),
)

_MAPS: dict[type | tuple[type, ...], Maps] = {
    dist.Normal: Maps(_normal_score, _normal_quantile),
    dist.Beta: Maps(_beta_score, _beta_quantile),
    dist.Gamma: Maps(_gamma_score, _gamma_quantile),
    dist.StudentT: Maps(_student_score, _student_quantile),
    dist.Uniform: _closed(_uniform_tails, _uniform_quantile),
    dist.HalfNormal: _closed(_half_normal_tails, _half_normal_quantile),
    dist.HalfCauchy: _closed(_half_cauchy_tails, _half_cauchy_quantile),
    dist.Cauchy: _closed(_cauchy_tails, _cauchy_quantile),
    dist.Exponential: _closed(_exponential_tails, _exponential_quantile),
    dist.Weibull: _closed(_weibull_tails, _weibull_quantile),
    dist.Kumaraswamy: _closed(_kumaraswamy_tails, _kumaraswamy_quantile),
    dist.Gumbel: _closed(_gumbel_tails, _gumbel_quantile),
    dist.Laplace: _closed(_laplace_tails, _laplace_quantile),
    dist.Logistic: _closed(_logistic_tails, _logistic_quantile),
    dist.FoldedDistribution: _by_inversion(_folded_tails),
    _TRUNCATED: Maps(_truncated_score, _truncated_quantile),
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


__all__ = ["Maps", "NoTransport", "univariate_maps"]
