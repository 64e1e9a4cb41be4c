"""Spectra of I = AᵀA from the whitened score Jacobian A: dense, diagonal, or the leading part alone (T5).

Dense: the smaller of AAᵀ and AᵀA, min(N, d)³. Leading: Lanczos with full reorthogonalisation (matfree) on
products with A and Aᵀ, again on the smaller side; nothing larger than (N + d) × leading is stored. One
Krylov sequence sees one direction of a degenerate eigenvalue; so converged directions are projected out and
the rest is searched again, until it holds nothing that belongs among the leading ones.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matfree import decomp
from numpy.typing import NDArray

from brg_prob.geometry.jacobian import ScoreJacobian

Real = NDArray[np.floating]


class Spectrum(NamedTuple):
    """Eigenvalues λ (r,) descending, directions (r, d) orthonormal, diagonal of I (d,), floor, errors.

    ``error`` (r,) is the Monte-Carlo standard error of λ, None in closed form; ``diagonal_error`` (d,)
    that of the diagonal; ``note`` says what was computed.
    """

    eigenvalues: Array
    directions: Array
    diagonal: Array
    floor: float
    error: Array | None
    diagonal_error: Array | None
    note: str


def dense_spectrum(jacobian: ScoreJacobian, points: Array) -> Spectrum:
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


def _decomposed(matrix: Array, dual: bool) -> tuple[Array, Array, Array, Array]:
    """Return A (N, d), eigenvalues and vectors of its smaller Gram matrix, descending, and round-off."""
    matrix = matrix.reshape(-1, matrix.shape[-1])
    values, vectors = jnp.linalg.eigh(matrix @ matrix.T if dual else matrix.T @ matrix)
    floor = jnp.finfo(values.dtype).eps * max(matrix.shape) * jnp.max(jnp.abs(values))
    return matrix, values[::-1], vectors[:, ::-1], floor


def _simulation_error(jacobian: ScoreJacobian, projected: Array) -> Array | None:
    """Return the standard error of Σ rows² over simulated observations; (K, N, r) rows → (r,)."""
    closed, (samples, entries) = jacobian.shapes.closed.size, jacobian.shapes.simulated.shape
    if entries == 0:
        return None
    squares = jnp.square(projected[:, closed:]).reshape(-1, samples, entries, projected.shape[-1])
    per_sample = samples * jnp.sum(
        squares, axis=(0, 2)
    )  # mean over samples is the estimate; draws share y's key
    return jnp.std(per_sample, axis=0, ddof=1) / samples**0.5


def diagonal_spectrum(jacobian: ScoreJacobian, points: Array, *, leading: int) -> Spectrum:
    """Return the diagonal of I as if it were all; directions are the ``leading`` largest coordinates."""
    diagonal = jax.jit(lambda at: exact_diagonal(jacobian, at))(points)
    order = jnp.argsort(-diagonal)[:leading]
    directions = (
        jnp.zeros((order.size, diagonal.size), diagonal.dtype).at[jnp.arange(order.size), order].set(1)
    )
    note = "diagonal only: correlations between coordinates are left out"
    return Spectrum(diagonal[order], directions, diagonal, 0.0, None, None, note)


def exact_diagonal(jacobian: ScoreJacobian, points: Array, *, batch: int = 8) -> Array:
    """Return diag(AᵀA), (d,), a few rows or columns of A at a time."""

    def one(point: Array) -> Array:
        zero = jnp.zeros((jacobian.columns,), point.dtype)
        if jacobian.columns <= jacobian.rows:
            push = jax.linearize(jacobian.function(point), zero)[1]

            def column(index: Array) -> Array:
                return jnp.sum(jnp.square(push(zero.at[index].set(1))))

            return jax.lax.map(column, jnp.arange(jacobian.columns), batch_size=batch)
        pull = jax.vjp(jacobian.function(point), zero)[1]
        empty = jnp.zeros((jacobian.rows,), point.dtype)

        def add(total: Array, index: Array) -> tuple[Array, None]:
            return total + jnp.square(pull(empty.at[index].set(1))[0]), None

        return jax.lax.scan(add, zero, jnp.arange(jacobian.rows))[0]

    return jnp.mean(jax.lax.map(one, points), axis=0)


def leading_spectrum(
    jacobian: ScoreJacobian, points: Array, *, leading: int, key: Array, tolerance: float = 1e-8
) -> Spectrum:
    """Return the leading eigenvalues without forming A, each to a relative ``tolerance`` by its residual."""
    operator = _Operator(jacobian, points)
    wanted = min(leading, operator.size)
    values, vectors, bound = _lanczos(operator, wanted, key, tolerance)
    largest = float(max(values[:1], default=0.0))
    floor = largest * float(jnp.finfo(points.dtype).eps) * max(operator.size, jacobian.columns)
    keep = int(np.sum(values > floor))
    values, vectors = values[:keep], vectors[:, :keep]
    if operator.dual:
        rows = [operator.pull(points, jnp.asarray(u)) for u in vectors.T]
        empty = jnp.zeros((0, jacobian.columns), points.dtype)
        directions = jnp.stack(rows) / np.sqrt(values)[:, None] if rows else empty
    else:
        directions = jnp.asarray(vectors.T)
    diagonal, how = _estimated_diagonal(operator, jnp.asarray(values), directions, key)
    error = _leading_error(jacobian, points, directions)
    note = f"leading {keep} by Lanczos, relative error below {max(bound, 1e-15):.0e}; {how}"
    return Spectrum(jnp.asarray(values), directions, diagonal, floor, error, None, note)


class _Operator:
    """AAᵀ or AᵀA, the smaller, as compiled products; (N_all,) or (d,) vectors."""

    def __init__(self, jacobian: ScoreJacobian, points: Array) -> None:
        self.jacobian, self.points = jacobian, points
        self.count = points.shape[0] * jacobian.rows
        self.dual = self.count < jacobian.columns
        self.size = min(self.count, jacobian.columns)
        self.push = jax.jit(lambda at, v: jnp.ravel(jacobian.times(at, v)))
        self.pull = jax.jit(self._pull)
        self.search = jax.jit(self._search, static_argnums=3)

    def _pull(self, at: Array, rows: Array) -> Array:
        return self.jacobian.transposed_times(at, rows.reshape(at.shape[0], -1))

    def apply(self, at: Array, vector: Array) -> Array:
        """Return the product with the smaller Gram matrix."""
        if self.dual:
            return jnp.ravel(self.jacobian.times(at, self._pull(at, vector)))
        return self._pull(at, self.jacobian.times(at, vector))

    def _search(self, at: Array, locked: Array, start: Array, steps: int) -> tuple[Array, Array, Array]:
        """Return Ritz values, vectors (size, steps) and residual norms outside the locked directions."""

        def outside(v: Array) -> Array:
            return v - locked @ (locked.T @ v)

        tridiagonal = decomp.tridiag_sym(steps, reortho="full", custom_vjp=False)
        found = tridiagonal(lambda v: outside(self.apply(at, outside(v))), outside(start))
        values, vectors = jnp.linalg.eigh(found.J_small)
        residuals = jnp.linalg.norm(found.residual) * jnp.abs(vectors[-1])
        return values[::-1], (found.Q_tall.T @ vectors)[:, ::-1], residuals[::-1]


def _lanczos(operator: _Operator, wanted: int, key: Array, tolerance: float) -> tuple[Real, Real, float]:
    """Return the leading eigenvalues, vectors (size, r ≤ wanted), and the worst relative error bound."""
    size, full, thorough = operator.size, 4 * wanted + 16, False
    locked = _Locked(np.zeros((size, 6 * wanted)), np.zeros(0), np.zeros(0))
    for number in itertools.count():
        room = min(size, locked.vectors.shape[1]) - locked.values.size
        enough = locked.values.size >= wanted
        steps = min(wanted + 8 if enough and not thorough else full, size - locked.values.size)
        if room <= 0 or steps <= 0:
            break
        start = jax.random.normal(jax.random.fold_in(key, number), (size,))
        found = operator.search(operator.points, jnp.asarray(locked.vectors), start, steps)
        ritz, vectors, residuals = (np.asarray(part) for part in found)
        if not np.isfinite(ritz).all():  # the Krylov space was exhausted sooner
            full = steps // 2
            continue
        errors = _bounds(ritz, residuals)
        scale = max((ritz[0], *locked.values[:1]))
        null = np.finfo(ritz.dtype).eps * size * scale
        if ritz[0] <= null or (enough and ritz[0] <= locked.values[wanted - 1] * (1 + 1e-9)):
            break
        good = (errors <= tolerance * np.abs(ritz)) | (np.abs(ritz) <= null) | (steps == size)
        if not good[0]:
            full, thorough = (full, True) if enough and not thorough else (2 * full, True)
            continue
        count = good.size if good.all() else int(np.argmin(good))
        count = min(count, room)
        locked = locked.with_more(ritz[:count], vectors[:, :count], errors[:count])
    values = locked.values[:wanted]
    bounds = locked.errors[:wanted] / np.maximum(np.abs(values), np.finfo(float).tiny)
    return values, locked.vectors[:, : values.size], float(bounds[values > 0].max(initial=0.0))


class _Locked(NamedTuple):
    """Converged directions, in the first columns of an array whose width does not change."""

    vectors: Real
    values: Real
    errors: Real

    def with_more(self, values: Real, vectors: Real, errors: Real) -> _Locked:
        """Return these and some more, values descending."""
        values = np.concatenate([self.values, values])
        order = np.argsort(-values)
        columns = np.concatenate([self.vectors[:, : self.values.size], vectors], axis=1)[:, order]
        wide = np.zeros_like(self.vectors)
        wide[:, : values.size] = columns
        return _Locked(wide, values[order], np.concatenate([self.errors, errors])[order])


def _bounds(ritz: Real, residuals: Real) -> Real:
    """Return bounds on the errors of Ritz values: the residual, or its square over the gap, the smaller."""
    gaps = np.abs(np.diff(ritz, append=0.0))
    gaps = np.minimum(gaps, np.concatenate([[np.inf], gaps[:-1]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(gaps > residuals, residuals**2 / gaps, residuals)
    return np.minimum(residuals, squared)


def _estimated_diagonal(
    operator: _Operator, values: Array, directions: Array, key: Array
) -> tuple[Array, str]:
    """Return the diagonal of I: exact where that is cheap, else the leading part and probes of the rest."""
    jacobian, points = operator.jacobian, operator.points
    least = min(jacobian.rows, jacobian.columns)
    if least <= 256:
        return jax.jit(lambda at: exact_diagonal(jacobian, at))(points), "diagonal exact"
    probes = 16
    total = jnp.zeros((jacobian.columns,), points.dtype)
    for number in range(probes):
        signs = jax.random.rademacher(jax.random.fold_in(key, 1000 + number), (operator.count,), points.dtype)
        rest = operator.pull(points, signs)
        rest = rest - directions.T @ (directions @ rest)
        total = total + jnp.square(rest)
    exact = jnp.sum(values[:, None] * jnp.square(directions), axis=0)
    error = (2 / probes) ** 0.5
    return exact + total / probes, (
        f"diagonal exact in these, the remainder from {probes} random probes, relative error {error:.2f}"
    )


def _leading_error(jacobian: ScoreJacobian, points: Array, directions: Array) -> Array | None:
    """Return Monte-Carlo standard errors of eigenvalues, where observations were simulated."""
    if jacobian.shapes.simulated.shape[1] == 0:
        return None
    rows = jax.jit(lambda at, u: jax.lax.map(lambda v: jacobian.times(at, v), u))(points, directions)
    return _simulation_error(jacobian, jnp.moveaxis(rows, 0, -1))


__all__ = ["Spectrum", "dense_spectrum", "diagonal_spectrum", "exact_diagonal", "leading_spectrum"]
