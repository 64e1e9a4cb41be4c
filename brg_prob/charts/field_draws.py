"""Draws of a field that are made when, where and as they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclass(frozen=True, eq=False)
class FieldDraws:
    """Fields rest + Σ_k u_k z_k of S draws at m inputs, never made whole unless they are wanted whole.

    Attributes
    ----------
    rest
        (S, m, o).
    modes
        u, (m, r); None: the rest is all.
    z
        (S, r, o).
    """

    rest: Array
    modes: Array | None = None
    z: Array | None = None

    def at(self, rows: Any = slice(None)) -> Array:
        """Return the fields (S, m', o) at some rows."""
        at = rows if isinstance(rows, slice) else np.asarray(rows)
        rest = self.rest[:, at]
        return rest if self.modes is None or self.z is None else _summed(rest, self.modes[at], self.z)

    def projected(self, matrix: Array, known: dict[int, Any]) -> Array:
        """Return combinations of the fields at the first n inputs, (S, k, o), of the rows of a matrix (k, n).

        Parameters
        ----------
        known
            What was found of a rest that several scales share; filled here.
        """
        n, at = matrix.shape[1], id(self.rest)
        if self.modes is None or self.z is None:  # no other scale has this rest
            return _combined(matrix, self.rest[:, :n])
        if at not in known:  # the rest itself is kept, so that no other takes its place
            known[at] = self.rest, _combined(matrix, self.rest[:, :n])
        return _summed(known[at][1], matrix @ self.modes[:n], self.z)

    def settled(self) -> FieldDraws:
        """Return the same as an array on the host, which needs neither rest nor modes."""
        return FieldDraws(jnp.asarray(np.asarray(self.at())))


@jax.jit
def _combined(matrix: Array, fields: Array) -> Array:
    """Return combinations (S, k, o) of fields (S, n, o)."""
    return jnp.einsum("kn,sno->sko", matrix, fields)


@jax.jit
def _summed(rest: Array, modes: Array, z: Array) -> Array:
    """Return rest + Σ_k u_k z_k."""
    return rest + jnp.einsum("mr,sro->smo", modes, z)
