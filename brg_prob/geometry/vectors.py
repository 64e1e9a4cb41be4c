"""Exact maps to independent N(0, 1) of distributions of vectors and matrices (T7).

Each draws its entries one after the other given the ones before (Rosenblatt): a simplex breaks a stick by
Beta variables, a correlation matrix has independent partial correlations, which are Beta variables after
scaling [Lewandowski, Kurowicka, Joe, doi:10.1016/j.jmva.2009.04.008], a multivariate Student variable is a
Student variable of more degrees of freedom and another scale at each step, a Wishart matrix has Bartlett's
factor. A matrix or simplex has as many coordinates as it has free numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jaxtyping import Float, Int
from numpyro.distributions import Distribution

from brg_prob.geometry.laws import BETA, GAMMA, STUDENT, law_quantile, law_score
from brg_prob.geometry.univariate import Maps

Vector = Float[Array, "*batch k"]
Matrix = Float[Array, "*batch k k"]
Places = Int[Array, " free"]


def vector_maps(distribution: Distribution) -> Maps | None:
    """Return both maps of a distribution without wrappers; None where the family is not one of these."""
    return next((maps for family, maps in _MAPS.items() if isinstance(distribution, family)), None)


def _solved(root: Any, value: Vector) -> Vector:
    """Return L⁻¹v, (..., d); L broadcasts."""
    root = jnp.broadcast_to(root, value.shape[:-1] + jnp.shape(root)[-2:])
    return jax.lax.linalg.triangular_solve(root, value[..., None], left_side=True, lower=True)[..., 0]


def _times(root: Any, value: Vector) -> Vector:
    return jnp.einsum("...ij,...j->...i", root, value)


def _gaussian(root: Callable[[Any], Any]) -> Maps:
    """Return the maps of a normal of a known lower Cholesky factor of its covariance."""
    return Maps(lambda d, value: _solved(root(d), value - d.loc), lambda d, z: d.loc + _times(root(d), z))


def _car_root(d: Any) -> Matrix:
    """Return the lower factor U⁻ᵀ of the covariance, where the precision is U Uᵀ with U upper triangular."""
    precision = jnp.asarray(d.precision_matrix)
    upper = jnp.linalg.cholesky(precision[..., ::-1, ::-1])[..., ::-1, ::-1]
    one = jnp.broadcast_to(jnp.eye(precision.shape[-1], dtype=precision.dtype), precision.shape)
    return jax.lax.linalg.triangular_solve(upper.mT, one, left_side=True, lower=True)


def _matrix_normal_score(d: Any, value: Float[Array, "*batch n p"]) -> Float[Array, "*batch n p"]:
    columns = _solved(jnp.asarray(d.scale_tril_row)[..., None, :, :], (value - d.loc).mT)
    return _solved(jnp.asarray(d.scale_tril_column)[..., None, :, :], columns.mT)


def _matrix_normal_quantile(d: Any, z: Float[Array, "*batch n p"]) -> Float[Array, "*batch n p"]:
    return d.loc + d.scale_tril_row @ z @ jnp.asarray(d.scale_tril_column).mT


def _walk_score(d: Any, value: Vector) -> Vector:
    return jnp.diff(value, prepend=0, axis=-1) / jnp.asarray(d.scale)[..., None]


def _walk_quantile(d: Any, z: Vector) -> Vector:
    return jnp.asarray(d.scale)[..., None] * jnp.cumsum(z, axis=-1)


def _later(values: Vector) -> Vector:
    """Return sums of the entries after each one, along the last axis."""
    total = jnp.flip(jnp.cumsum(jnp.flip(values, axis=-1), axis=-1), axis=-1)
    return jnp.concatenate([total[..., 1:], jnp.zeros_like(total[..., :1])], axis=-1)


def _sticks(d: Any) -> tuple[Vector, Vector]:
    """Return a, b of the Beta laws of the K − 1 pieces of a Dirichlet variable's stick."""
    concentration = jnp.asarray(d.concentration)
    return concentration[..., :-1], _later(concentration)[..., :-1]


def _dirichlet_score(d: Any, value: Vector) -> Float[Array, "*batch k-1"]:
    """The logit of a piece is the logarithm of its entry over the sum of those after it."""
    return law_score(BETA, jnp.log(value[..., :-1]) - jnp.log(_later(value)[..., :-1]), *_sticks(d))


def _dirichlet_quantile(d: Any, z: Vector) -> Float[Array, "*batch k+1"]:
    logits = law_quantile(BETA, z, *_sticks(d))
    left = jnp.cumsum(jax.nn.log_sigmoid(-logits), axis=-1)
    zero = jnp.zeros_like(left[..., :1])
    before = jnp.concatenate([zero, left], axis=-1)
    return jnp.exp(before + jnp.concatenate([jax.nn.log_sigmoid(logits), zero], axis=-1))


def _below(d: Any) -> tuple[Places, Places, Float[Array, "... free"]]:
    """Return rows and columns of the entries below the diagonal, and a = b of their Beta laws."""
    size = d.event_shape[-1]
    rows, columns = jnp.tril_indices(size, -1)
    return rows, columns, jnp.asarray(d.concentration)[..., None] + 0.5 * (size - 2 - columns)


def _lkj_score(d: Any, value: Matrix) -> Float[Array, "*batch free"]:
    """The partial correlation of an entry is the entry over the length of its row from there on."""
    rows, columns, a = _below(d)
    rest = jnp.sqrt(_later(jnp.square(value)))[..., rows, columns]
    return law_score(BETA, 2 * jnp.arcsinh(value[..., rows, columns] / rest), a, a)


def _lkj_quantile(d: Any, z: Float[Array, "*batch free"]) -> Matrix:
    rows, columns, a = _below(d)
    size = d.event_shape[-1]
    halves = 0.5 * law_quantile(BETA, z, a, a)
    partial = jnp.zeros((*halves.shape[:-1], size, size), halves.dtype).at[..., rows, columns].set(halves)
    left = jnp.cumprod(1 / jnp.cosh(partial), axis=-1)
    before = jnp.concatenate([jnp.ones_like(left[..., :1]), left[..., :-1]], axis=-1)
    return before * (jnp.tanh(partial) + jnp.eye(size, dtype=halves.dtype))


def _student_score(d: Any, value: Vector) -> Vector:
    scaled = _solved(d.scale_tril, value - d.loc)
    df = jnp.asarray(d.df)[..., None]
    before = jnp.cumsum(jnp.square(scaled), axis=-1) - jnp.square(scaled)
    more = df + jnp.arange(scaled.shape[-1])
    return law_score(STUDENT, scaled * jnp.sqrt(more / (df + before)), more)


def _student_quantile(d: Any, z: Vector) -> Vector:
    df = jnp.asarray(d.df)[..., None]
    more = df + jnp.arange(z.shape[-1])
    own = law_quantile(STUDENT, z, more)
    growth = jnp.cumprod(1 + jnp.square(own) / more, axis=-1)
    before = jnp.concatenate([jnp.ones_like(growth[..., :1]), growth[..., :-1]], axis=-1)
    return d.loc + _times(d.scale_tril, own * jnp.sqrt(df * before / more))


def _bartlett(d: Any) -> tuple[Places, Places, Float[Array, "... free"]]:
    """Return rows and columns of the lower triangle, and the halved degrees of freedom of its rows."""
    rows, columns = jnp.tril_indices(d.event_shape[-1])
    return rows, columns, 0.5 * (jnp.asarray(d.concentration)[..., None] - rows)


def _wishart_score(d: Any, value: Matrix) -> Float[Array, "*batch free"]:
    rows, columns, halves = _bartlett(d)
    root = jnp.broadcast_to(d.scale_tril, value.shape)
    factor = jax.lax.linalg.triangular_solve(root, value, left_side=True, lower=True)[..., rows, columns]
    diagonal = rows == columns
    half_square = 2 * jnp.log(jnp.where(diagonal, factor, 1)) - jnp.log(2)
    return jnp.where(diagonal, law_score(GAMMA, half_square, halves), factor)


def _wishart_quantile(d: Any, z: Float[Array, "*batch free"]) -> Matrix:
    rows, columns, halves = _bartlett(d)
    size = d.event_shape[-1]
    half_square = law_quantile(GAMMA, z, halves)
    entries = jnp.where(rows == columns, jnp.sqrt(2.0) * jnp.exp(0.5 * half_square), z)
    factor = jnp.zeros((*entries.shape[:-1], size, size), entries.dtype).at[..., rows, columns].set(entries)
    return jnp.asarray(d.scale_tril) @ factor


_MAPS: dict[type, Maps] = {
    dist.MultivariateNormal: _gaussian(lambda d: d.scale_tril),
    dist.LowRankMultivariateNormal: _gaussian(lambda d: jnp.linalg.cholesky(d.covariance_matrix)),
    dist.CAR: _gaussian(_car_root),
    dist.MatrixNormal: Maps(_matrix_normal_score, _matrix_normal_quantile),
    dist.GaussianRandomWalk: Maps(_walk_score, _walk_quantile),
    dist.MultivariateStudentT: Maps(_student_score, _student_quantile),
    dist.Dirichlet: Maps(_dirichlet_score, _dirichlet_quantile),
    dist.LKJCholesky: Maps(_lkj_score, _lkj_quantile),
    dist.WishartCholesky: Maps(_wishart_score, _wishart_quantile),
}

__all__ = ["vector_maps"]
