"""Spectra of I = AᵀA from the whitened score Jacobian A: dense, diagonal, or the leading part alone (T5).

Dense: the smaller of AAᵀ and AᵀA, min(N, d)³. Leading: Lanczos with full reorthogonalisation (matfree) on
products with A and Aᵀ, again on the smaller side; nothing larger than d × leading is stored. At n = 1000
and a million parameters the n products that AAᵀ itself would take cost several times as much.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, PRNGKeyArray

from brg_prob.batching import even_batch
from brg_prob.geometry.jacobian import ScoreJacobian
from brg_prob.geometry.lanczos import Operator, lanczos


class Spectrum(NamedTuple):
    """Eigenvalues λ (r,) descending, directions (r, d) orthonormal, diagonal of I (d,), floor, errors.

    ``error`` (r,) is the Monte-Carlo standard error of λ, None in closed form; ``diagonal_error`` (d,)
    that of the diagonal; ``note`` says what was computed; ``null_bound`` bounds what lies beyond.
    """

    eigenvalues: Float[Array, " r"]
    directions: Float[Array, "r d"]
    diagonal: Float[Array, " d"]
    floor: float
    error: Float[Array, " r"] | None
    diagonal_error: Float[Array, " d"] | None
    note: str
    null_bound: float = 0.0


def dense_spectrum(jacobian: ScoreJacobian, points: Float[Array, "K D"]) -> Spectrum:
    """Return all eigenvalues; those below round-off are zero, and in the dual left out with directions."""
    size = points.shape[0] * jacobian.rows
    dual = size < jacobian.columns
    matrix, values, vectors, floor = jax.jit(lambda at: _decomposed(jacobian.matrix(at), dual))(points)
    if dual:
        kept = int(jnp.sum(values > floor))
        directions = (vectors[:, :kept].T @ matrix) / jnp.sqrt(values[:kept, None])
        values = values[:kept]
    else:
        directions, values = vectors.T, jnp.where(values > floor, values, 0)
    draws = matrix.reshape(points.shape[0], jacobian.rows, -1)
    note = f"all directions through the {'dual' if dual else 'primal'} matrix"
    return Spectrum(
        values,
        directions,
        jnp.sum(jnp.square(matrix), axis=0),
        float(floor),
        _simulation_error(jacobian, draws @ directions.T),
        _simulation_error(jacobian, draws),
        note,
    )


def _decomposed(
    matrix: Float[Array, "... d"], dual: bool
) -> tuple[Float[Array, "N d"], Float[Array, " s"], Float[Array, "s s"], Float[Array, ""]]:
    """Return A (N, d), eigenvalues and vectors of its smaller Gram matrix, descending, and round-off."""
    matrix = matrix.reshape(-1, matrix.shape[-1])
    values, vectors = jnp.linalg.eigh(matrix @ matrix.T if dual else matrix.T @ matrix)
    floor = jnp.finfo(values.dtype).eps * max(matrix.shape) * jnp.max(jnp.abs(values))
    return matrix, values[::-1], vectors[:, ::-1], floor


def _simulation_error(jacobian: ScoreJacobian, projected: Float[Array, "K N r"]) -> Float[Array, " r"] | None:
    """Return the standard error of Σ rows² over simulated observations; (K, N, r) rows → (r,)."""
    closed, (samples, entries) = jacobian.shapes.closed.size, jacobian.shapes.simulated.shape
    if entries == 0:
        return None
    squares = jnp.square(projected[:, closed:]).reshape(-1, samples, entries, projected.shape[-1])
    per_sample = samples * jnp.sum(
        squares, axis=(0, 2)
    )  # mean over samples is the estimate; draws share y's key
    return jnp.std(per_sample, axis=0, ddof=1) / samples**0.5


def diagonal_spectrum(jacobian: ScoreJacobian, points: Float[Array, "K D"], *, leading: int) -> Spectrum:
    """Return the diagonal of I as if it were all; directions are the ``leading`` largest coordinates."""
    diagonal = jax.jit(lambda at: exact_diagonal(jacobian, at))(points)
    order = jnp.argsort(-diagonal)[:leading]
    directions = (
        jnp.zeros((order.size, diagonal.size), diagonal.dtype).at[jnp.arange(order.size), order].set(1)
    )
    note = "diagonal only: correlations between coordinates are left out"
    bound = float(diagonal[order[-1]]) if order.size < diagonal.size else 0.0
    return Spectrum(diagonal[order], directions, diagonal, 0.0, None, None, note, bound)


def exact_diagonal(
    jacobian: ScoreJacobian, points: Float[Array, "K D"], *, batch: int = 8
) -> Float[Array, " d"]:
    """Return diag(AᵀA), (d,), a few rows or columns of A at a time."""

    def one(point: Float[Array, " D"]) -> Float[Array, " d"]:
        zero = jnp.zeros((jacobian.columns,), point.dtype)
        if jacobian.by_columns:
            push = jax.linearize(jacobian.function(point), zero)[1]

            def column(index: Int[Array, ""]) -> Float[Array, ""]:
                return jnp.sum(jnp.square(push(zero.at[index].set(1))))

            size = even_batch(jacobian.columns, batch)
            return jax.lax.map(column, jnp.arange(jacobian.columns), batch_size=size)
        pull = jax.vjp(jacobian.function(point), zero)[1]
        empty = jnp.zeros((jacobian.rows,), point.dtype)

        def add(total: Float[Array, " d"], index: Int[Array, ""]) -> tuple[Float[Array, " d"], None]:
            return total + jnp.square(pull(empty.at[index].set(1))[0]), None

        return jax.lax.scan(add, zero, jnp.arange(jacobian.rows))[0]

    return jnp.mean(jax.lax.map(one, points), axis=0)


def leading_spectrum(
    jacobian: ScoreJacobian,
    points: Float[Array, "K D"],
    *,
    leading: int,
    key: PRNGKeyArray,
    tolerance: float = 1e-8,
) -> Spectrum:
    """Return the leading eigenvalues without forming A, each to a relative ``tolerance`` by its residual."""
    operator = Operator(jacobian, points)
    wanted = min(leading, operator.size)
    values, vectors, bound = lanczos(operator, wanted, key, tolerance)
    largest = float(max(values[:1], default=0.0))
    floor = largest * float(jnp.finfo(points.dtype).eps) * max(operator.size, jacobian.columns)
    keep = int(np.sum(values > floor))
    values, vectors = values[:keep], vectors[:, :keep]
    if operator.dual:
        directions = operator.pull(jnp.asarray(vectors.T)) / np.sqrt(values)[:, None]
    else:
        directions = jnp.asarray(vectors.T)
    diagonal, how = _estimated_diagonal(operator, jnp.asarray(values), directions, key)
    error = _leading_error(operator, directions)
    note = f"leading {keep} by Lanczos, relative error below {max(bound, 1e-15):.0e}; {how}"
    beyond = float(values[-1]) if keep == wanted < operator.size else 0.0
    return Spectrum(jnp.asarray(values), directions, diagonal, floor, error, None, note, beyond)


def _estimated_diagonal(
    operator: Operator, values: Float[Array, " r"], directions: Float[Array, "r d"], key: PRNGKeyArray
) -> tuple[Float[Array, " d"], str]:
    """Return the diagonal of I: exact where that is cheap, else the leading part and probes of the rest."""
    jacobian, points = operator.jacobian, operator.points
    least = min(jacobian.rows, jacobian.columns)
    if least <= 256:
        return jax.jit(lambda at: exact_diagonal(jacobian, at))(points), "diagonal exact"
    probes = 8
    signs = jax.random.rademacher(jax.random.fold_in(key, 1000), (probes, operator.count), points.dtype)
    rest = operator.pull(signs)
    rest = rest - (rest @ directions.T) @ directions
    total = jnp.sum(jnp.square(rest), axis=0)
    exact = jnp.sum(values[:, None] * jnp.square(directions), axis=0)
    error = (2 / probes) ** 0.5
    return exact + total / probes, (
        f"diagonal exact in these, the remainder from {probes} random probes, relative error {error:.2f}"
    )


def _leading_error(operator: Operator, directions: Float[Array, "r d"]) -> Float[Array, " r"] | None:
    """Return Monte-Carlo standard errors of eigenvalues, where observations were simulated."""
    jacobian = operator.jacobian
    if jacobian.shapes.simulated.shape[1] == 0:
        return None
    rows = operator.push(directions).reshape(directions.shape[0], -1, jacobian.rows)
    return _simulation_error(jacobian, jnp.moveaxis(rows, 0, -1))


__all__ = ["Spectrum", "dense_spectrum", "diagonal_spectrum", "exact_diagonal", "leading_spectrum"]
