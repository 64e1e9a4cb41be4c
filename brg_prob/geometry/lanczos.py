"""Leading eigenpairs of AAᵀ or AᵀA by Lanczos (matfree), A known by its products (T5).

One Krylov sequence sees one direction of a degenerate eigenvalue. So converged directions are projected
out and the rest is searched again, until it holds nothing that belongs among the leading ones.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray
from matfree import decomp

from brg_prob.geometry.jacobian import ScoreJacobian

_COSTLY = 1 << 27  # entries of A from which a shorter last search is worth its compilation


class Operator:
    """The smaller of AAᵀ and AᵀA, as compiled products.

    Attributes
    ----------
    count
        K·N, rows of A at all points.
    dual
        Whether AAᵀ is the smaller.
    size
        Its side.
    """

    def __init__(self, jacobian: ScoreJacobian, points: Float[Array, "K D"]) -> None:
        self.jacobian, self.points = jacobian, points
        self.count = points.shape[0] * jacobian.rows
        self.dual = self.count < jacobian.columns
        self.size = min(self.count, jacobian.columns)
        self._push = jax.jit(lambda at, many: jax.lax.map(jacobian.products(at)[0], many))
        self._pull = jax.jit(lambda at, many: jax.lax.map(jacobian.products(at)[1], many))
        self._search = jax.jit(self._krylov, static_argnums=3)

    def push(self, vectors: Float[Array, "r d"]) -> Float[Array, "r KN"]:
        """Return A v of many v, (r, d) → (r, K·N)."""
        return self._push(self.points, vectors)

    def pull(self, rows: Float[Array, "r KN"]) -> Float[Array, "r d"]:
        """Return Aᵀu of many u, (r, K·N) → (r, d)."""
        return self._pull(self.points, rows)

    def _krylov(
        self,
        at: Float[Array, "K D"],
        locked: Float[Array, "size wide"],
        start: Float[Array, " size"],
        steps: int,
    ) -> tuple[Float[Array, "steps size"], Float[Array, "steps steps"], Float[Array, ""]]:
        """Return Krylov vectors (steps, size) outside the locked ones, T (steps, steps), last residual."""
        push, pull = self.jacobian.products(at)

        def outside(v: Float[Array, " size"]) -> Float[Array, " size"]:
            return v - locked @ (locked.T @ v)

        def apply(v: Float[Array, " size"]) -> Float[Array, " size"]:
            return outside(push(pull(outside(v))) if self.dual else pull(push(outside(v))))

        tridiagonal = decomp.tridiag_sym(steps, reortho="full", custom_vjp=False)
        found = tridiagonal(apply, outside(start))
        return found.Q_tall, found.J_small, jnp.linalg.norm(found.residual)

    def ritz(
        self, locked: Float[np.ndarray, "size wide"], key: PRNGKeyArray, steps: int
    ) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "size s"], Float[np.ndarray, " s"]]:
        """Return Ritz values descending, vectors (size, steps′), residual norms; fewer at an exhausted space.

        Once the residual is round-off, matfree goes on with a normalised error that is not orthogonal to the
        others: what follows is cut off.
        """
        start = jax.random.normal(key, (self.size,))
        found = self._search(self.points, jnp.asarray(locked), start, steps)
        basis, tridiagonal, residual = (np.asarray(part) for part in found)
        links = np.append(np.diagonal(tridiagonal, 1), residual)
        finite = np.isfinite(links) & np.isfinite(np.diagonal(tridiagonal))
        level = 1e3 * np.finfo(links.dtype).eps * np.max(np.abs(np.diagonal(tridiagonal)[finite]), initial=0)
        ends = np.flatnonzero(~finite | (np.abs(links) <= level))
        count = int(ends[0]) + 1 if ends.size else steps
        last = np.abs(np.nan_to_num(links[count - 1]))
        values, vectors = np.linalg.eigh(np.nan_to_num(tridiagonal[:count, :count]))
        return values[::-1], (basis[:count].T @ vectors)[:, ::-1], last * np.abs(vectors[-1, ::-1])


def lanczos(
    operator: Operator, wanted: int, key: PRNGKeyArray, tolerance: float
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "size r"], float]:
    """Return the leading eigenvalues, vectors (size, r ≤ wanted), and the worst relative error bound."""
    size, full, thorough = operator.size, 4 * wanted + 16, False
    locked = _Locked(np.zeros((size, 6 * wanted)), np.zeros(0), np.zeros(0))
    for number in itertools.count():
        room = min(size, locked.vectors.shape[1]) - locked.values.size
        enough = locked.values.size >= wanted
        short = enough and not thorough and size * operator.jacobian.columns > _COSTLY
        steps = min(wanted + 8 if short else full, size)
        if room <= 0:
            break
        ritz, vectors, residuals = operator.ritz(locked.vectors, jax.random.fold_in(key, number), steps)
        errors = _bounds(ritz, residuals)
        scale = max((ritz[0], *locked.values[:1]))
        null = np.finfo(ritz.dtype).eps * size * scale
        if ritz[0] <= null or (enough and ritz[0] <= locked.values[wanted - 1] * (1 + 1e-9)):
            break
        good = (errors <= tolerance * np.abs(ritz)) | (np.abs(ritz) <= null) | (steps == size)
        if not good[0]:
            full = full if short else 2 * full
            thorough = enough
            continue
        count = good.size if good.all() else int(np.argmin(good))
        count = min(count, room)
        locked = locked.with_more(ritz[:count], vectors[:, :count], errors[:count])
    values = locked.values[:wanted]
    bounds = locked.errors[:wanted] / np.maximum(np.abs(values), np.finfo(float).tiny)
    return values, locked.vectors[:, : values.size], float(bounds[values > 0].max(initial=0.0))


class _Locked(NamedTuple):
    """Converged directions, in the first columns of an array whose width does not change."""

    vectors: Float[np.ndarray, "size wide"]
    values: Float[np.ndarray, " r"]
    errors: Float[np.ndarray, " r"]

    def with_more(
        self,
        values: Float[np.ndarray, " s"],
        vectors: Float[np.ndarray, "size s"],
        errors: Float[np.ndarray, " s"],
    ) -> _Locked:
        """Return these and some more, values descending."""
        values = np.concatenate([self.values, values])
        order = np.argsort(-values)
        columns = np.concatenate([self.vectors[:, : self.values.size], vectors], axis=1)[:, order]
        wide = np.zeros_like(self.vectors)
        wide[:, : values.size] = columns
        return _Locked(wide, values[order], np.concatenate([self.errors, errors])[order])


def _bounds(ritz: Float[np.ndarray, " s"], residuals: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
    """Return bounds on the errors of Ritz values: the residual, or its square over the gap, the smaller."""
    gaps = np.abs(np.diff(ritz, append=0.0))
    gaps = np.minimum(gaps, np.concatenate([[np.inf], gaps[:-1]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(gaps > residuals, residuals**2 / gaps, residuals)
    return np.minimum(residuals, squared)


__all__ = ["Operator", "lanczos"]
