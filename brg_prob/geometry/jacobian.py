"""The whitened score Jacobian A of a model: I = AᵀA is its Fisher matrix in coordinates z (T5).

A has a row for each parameter of each observation, A = √(weight/n) · R · ∂η/∂z
(:mod:`brg_prob.geometry.observation`), or, where no closed form is known, for each simulated observation: its
score, divided by √(n·samples). Products with A and Aᵀ are forward and reverse differentiation; where the
model has no forward derivatives, A v is the derivative of u ↦ ⟨v, Aᵀu⟩, which is reverse twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from brg_prob.batching import even_batch
from brg_prob.geometry.derivatives import no_forward_mode, no_reverse_mode, refusal
from brg_prob.geometry.observation import embedded, unwrapped
from brg_prob.network.conditioned import Conditioned
from brg_prob.network.terms import is_compound, sample_of

Product = Callable[[Array], Array]
Expectation = Literal["auto", "closed", "monte_carlo"]


class Rows(NamedTuple):
    """Rows of A, or of a product with it: in closed form (N,), scores of simulated observations (S, M)."""

    closed: Array
    simulated: Array


@dataclass(frozen=True, eq=False)
class ScoreJacobian:
    """A at one or several points, as products.

    Attributes
    ----------
    conditioned
        The model with its data.
    coordinates
        z, see :class:`~brg_prob.geometry.coordinates.StandardNormalCoordinates`.
    kept
        Indices of the coordinates that are not held fixed, (d,).
    expectation
        "auto": closed form where it is known; "closed": refuse others; "monte_carlo": for every site.
    samples
        S, simulated observations per observation.
    key
        Random key of these.
    """

    conditioned: Conditioned
    coordinates: Any
    kept: Array
    expectation: Expectation
    samples: int
    key: Array

    def embed(self, reference: Array, z: Array) -> Rows:
        """Return functions of z whose Jacobian at ``reference`` is A times √n; one site after the other."""
        n = self.conditioned.n
        here, there = self._trace(reference), self._trace(z)
        closed, simulated = [], []
        for number, site in enumerate(self.conditioned.sites.observed):
            fixed, moving, scale = here[site.name]["fn"], there[site.name]["fn"], here[site.name]["scale"]
            # the parts of a compound law do not know that a scan has stacked them: no closed form reads them
            simulate = self.expectation == "monte_carlo" or (
                here[site.name].get("scanned") and is_compound(fixed)
            )
            rows = None if simulate else embedded(fixed, moving, scale)
            if rows is not None:
                closed.append(jnp.ravel(rows))
                continue
            if self.expectation == "closed":
                raise ValueError(
                    f"site {site.name!r}: {type(unwrapped(fixed)).__name__} has no expected information in "
                    "closed form here; use expectation='auto'"
                )
            key = jax.random.fold_in(self.key, number)
            if here[site.name].get("scanned"):
                keys = jax.random.split(key, self.samples)
                y = jax.vmap(lambda one, site=here[site.name]: sample_of(site, one))(keys)
                density = jax.vmap(moving.log_prob)
            else:
                y, density = fixed.sample(key, (self.samples,)), moving.log_prob
            root = 1.0 if scale is None else jnp.sqrt(jnp.asarray(scale))
            terms = root * density(jax.lax.stop_gradient(y))
            simulated.append(terms.reshape(self.samples, -1) / self.samples**0.5)
        empty = jnp.zeros((0,), z.dtype)
        return Rows(
            jnp.concatenate([empty, *closed]) / n**0.5,
            jnp.concatenate([jnp.zeros((self.samples, 0), z.dtype), *simulated], axis=1) / n**0.5,
        )

    def _trace(self, z: Array) -> Any:
        values = self.coordinates.inverse(self.coordinates.unflatten(z))
        return self.conditioned.trace(values)

    def function(self, point: Array) -> Any:
        """Return the embedding as a flat function of the kept coordinates about a point, (d,) → (N,)."""

        def rows(change: Array) -> Array:
            z = point.at[self.kept].add(change)
            closed, simulated = self.embed(jax.lax.stop_gradient(z), z)  # compiled, the model runs once
            return jnp.concatenate([closed, jnp.ravel(simulated)])

        return rows

    @cached_property
    def shapes(self) -> Rows:
        """Shapes of the rows, without computing them."""
        z = jnp.zeros((self.coordinates.dimension,))
        return jax.eval_shape(self.embed, z, z)

    @property
    def rows(self) -> int:
        """Number N of rows at one point."""
        return self.shapes.closed.size + self.shapes.simulated.size

    @property
    def columns(self) -> int:
        """Number d of coordinates that are not held fixed."""
        return self.kept.size

    @cached_property
    def lacking(self) -> dict[str, str]:
        """Why the model lacks "forward" or "reverse" derivatives; found without computing anything.

        Raises
        ------
        ValueError
            It lacks both.
        """
        change = jnp.zeros((self.columns,))
        at = self.function(jnp.zeros((self.coordinates.dimension,)))
        reasons = {"forward": no_forward_mode(at, change), "reverse": no_reverse_mode(at, change)}
        found = {name: reason for name, reason in reasons.items() if reason is not None}
        if len(found) == len(reasons):
            raise ValueError(f"the likelihood has no derivatives, so no Fisher metric: {found['reverse']}")
        return found

    @property
    def mode(self) -> str:
        """How A is differentiated, in words; empty where both kinds of derivatives exist."""
        if "forward" in self.lacking:
            return "reverse derivatives only, for the model has no forward ones"
        return "forward derivatives only, for the model has no reverse ones" if self.lacking else ""

    @property
    def by_columns(self) -> bool:
        """Whether A is made column by column, by forward derivatives: the fewer, or all there is."""
        return "reverse" in self.lacking or (not self.lacking and self.columns <= self.rows)

    def products(self, points: Array) -> tuple[Product, Product]:
        """Return v ↦ A v, (d,) → (K·N,), and u ↦ Aᵀu, over √K, to be used inside one compiled function.

        At one point the model is run once and linearised; at several it is run again for each product.

        Raises
        ------
        ValueError
            The model has no reverse derivatives, or no forward ones while its reverse ones cannot be
            differentiated in turn.
        """
        zero = jnp.zeros((self.columns,), points.dtype)
        if self.lacking:
            self._require_products(points[0])
        elif points.shape[0] == 1:
            push = jax.linearize(self.function(points[0]), zero)[1]
            transposed = jax.linear_transpose(push, zero)
            return push, lambda rows: transposed(rows)[0]
        scale = points.shape[0] ** 0.5

        def times(vector: Array) -> Array:
            def one(point: Array) -> Array:
                if not self.lacking:
                    return jax.jvp(self.function(point), (zero,), (vector,))[1]
                return self._reverse_twice(point, vector)

            return jnp.ravel(jax.lax.map(one, points)) / scale

        def transposed_times(rows: Array) -> Array:
            def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
                return total + jax.vjp(self.function(pair[0]), zero)[1](pair[1])[0], None

            return jax.lax.scan(add, zero, (points, rows.reshape(points.shape[0], -1)))[0] / scale

        return times, transposed_times

    def _reverse_twice(self, point: Array, vector: Array) -> Array:
        """Return A v at one point by reverse derivatives of u ↦ Aᵀu."""
        rows, pull = jax.vjp(self.function(point), jnp.zeros_like(vector))
        return jax.vjp(lambda u: pull(u)[0], jnp.zeros_like(rows))[1](vector)[0]

    def _require_products(self, point: Array) -> None:
        """Raise ValueError where A v or Aᵀu has no derivative to be made of."""
        vector = jnp.zeros((self.columns,), point.dtype)
        reason = self.lacking.get("reverse") or refusal(lambda v: self._reverse_twice(point, v), vector)
        if reason is not None:
            raise ValueError(
                f"{self.mode}, so there are no products with its score Jacobian ({reason}); "
                "use method='dense'"
            )

    def matrix(self, points: Array, *, batch: int = 32) -> Array:
        """Return A over √K, (K, N, d), column by column or row by row, see :attr:`by_columns`."""

        def one(point: Array) -> Array:
            zero = jnp.zeros((self.columns,), point.dtype)
            if self.by_columns:
                push = jax.linearize(self.function(point), zero)[1]
                units = jnp.eye(self.columns, dtype=point.dtype)
                return jax.lax.map(push, units, batch_size=even_batch(self.columns, batch)).T
            pull = jax.vjp(self.function(point), zero)[1]
            units = jnp.eye(self.rows, dtype=point.dtype)
            return jax.lax.map(lambda row: pull(row)[0], units, batch_size=even_batch(self.rows, batch))

        return jax.lax.map(one, points) / points.shape[0] ** 0.5


__all__ = ["Expectation", "Rows", "ScoreJacobian"]
