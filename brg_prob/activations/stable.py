"""Angles and gaps of a covariance block, accurate and differentiable up to coincident points.

Of (u, v) ~ N(0, [[a, c], [c, b]]), with t = √(ab) and ρ = c/t, most closed forms (T2) need the
gap ab − c² = t² sin²θ and an angle. Written with arccos(ρ) both lose half the digits as ρ → ±1
and have infinite or undefined derivatives at ρ = ±1 and at a = 0. Here:

* the gap is (t − c)(t + c), which is exactly 0 for coincident points, with the derivative of ab − c²;
* an angle is one arctan of a ratio below 1 (on a CPU XLA computes arctan about 15 times faster than
  arccos or arctan2);
* |ρ| > 1, which can only be round-off, counts as ρ = ±1.

Conventions where there is no value or derivative: a zero variance counts as ρ = 0, and a derivative
that is infinite (an angle's, at ρ = ±1 or at a zero variance) is returned as 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

# a, b and c, of one block or of many: they broadcast; and what follows from them, a number for each block
Entry = Float[Array, "*#pairs"]
Pairs = Float[Array, "*pairs"]
Block = Callable[[Entry, Entry, Entry], Pairs]
AnyEntry = Real[ArrayLike, "*#pairs"]
Dual = Callable[[AnyEntry, AnyEntry, AnyEntry], Pairs]


def floating(*values: Real[ArrayLike, " ..."]) -> list[Float[Array, " ..."]]:
    """Return arrays of one floating dtype."""
    arrays = [jnp.asarray(value) for value in values]
    dtype = jnp.result_type(*arrays)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return [array.astype(dtype) for array in arrays]


def on_blocks(function: Block) -> Dual:
    """Return the function of (a, b, c), compiled, that takes anything array-like, at one floating dtype."""
    compiled = jax.jit(function)

    @wraps(function)
    def wrapped(a: AnyEntry, b: AnyEntry, c: AnyEntry) -> Pairs:
        return compiled(*floating(a, b, c))

    return wrapped


def quotient(x: Entry, y: Entry) -> Pairs:
    """Return x/y, and 0 where y is 0; its derivatives are 0 there too."""
    return jnp.where(y != 0, x / jnp.where(y != 0, y, 1), 0)


def root(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return √x, and 0 with derivative 0 where x ≤ 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def geometric_mean(a: Entry, b: Entry) -> Pairs:
    """Return √(ab): exactly a where a = b, and without the product, which may under- or overflow."""
    return jnp.where(a == b, jnp.maximum(a, 0), root(a) * root(b))


@jax.custom_jvp
def gap(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return ab − c², at least 0."""
    t = geometric_mean(a, b)
    return jnp.maximum((t - c) * (t + c), 0)


@gap.defjvp
def _gap_jvp(primals: Any, tangents: Any) -> tuple[Pairs, Pairs]:
    a, b, c = primals
    da, db, dc = tangents
    return gap(a, b, c), b * da + a * db - 2 * c * dc


def _angle(c: Entry, s: Entry, t: Entry) -> Pairs:
    """Return the angle in [0, π] of sine s/t and cosine −c/t, t² = s² + c²; π/2 where t = 0."""
    size = t + jnp.abs(c)
    half = jnp.arctan(jnp.where(size > 0, s / jnp.where(size > 0, size, 1), 1))
    return jnp.where(c < 0, 2 * half, jnp.pi - 2 * half)


@jax.custom_jvp
def angle(c: Entry, s: Entry) -> Pairs:
    """Return π/2 + arcsin(c/√(c² + s²)) for s > 0."""
    return _angle(c, s, jnp.sqrt(c * c + s * s))


@angle.defjvp
def _angle_jvp(primals: Any, tangents: Any) -> tuple[Pairs, Pairs]:
    c, s = primals
    dc, ds = tangents
    return angle(c, s), (s * dc - c * ds) / (c * c + s * s)


def arcsine(c: Entry, s: Entry) -> Pairs:
    """Return arcsin(c/√(c² + s²)) for s > 0, with all its digits as c → 0."""
    return 2 * jnp.arctan(c / (s + jnp.sqrt(c * c + s * s)))


def _angle_tangent(primals: Any, tangents: Any) -> Pairs:
    """Return d arcsin(c/√(ab)) = (dc − c (da/2a + db/2b))/√(ab − c²)."""
    a, b, c = primals
    da, db, dc = tangents
    s = root(gap(a, b, c))
    return quotient(jnp.ones_like(s), s) * dc - quotient(c, 2 * a * s) * da - quotient(c, 2 * b * s) * db


@jax.custom_jvp
def arc_sine(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return arcsin ρ, ρ = c/√(ab)."""
    t = geometric_mean(a, b)
    c = jnp.clip(c, -t, t)
    return 2 * jnp.arctan(quotient(c, t + root(gap(a, b, c))))


arc_sine.defjvp(lambda primals, tangents: (arc_sine(*primals), _angle_tangent(primals, tangents)))


@jax.custom_jvp
def arc_zero(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return π/2 + arcsin ρ, 2π times the arc-cosine kernel of degree 0, with all digits as ρ → −1."""
    t = geometric_mean(a, b)
    c = jnp.clip(c, -t, t)
    return _angle(c, root(gap(a, b, c)), t)


arc_zero.defjvp(lambda primals, tangents: (arc_zero(*primals), _angle_tangent(primals, tangents)))


@jax.custom_jvp
def arc_one(a: Entry, b: Entry, c: Entry) -> Pairs:
    """Return √(ab − c²) + c (π/2 + arcsin ρ), 2π times the arc-cosine kernel of degree 1.

    Cho and Saul, Advances in Neural Information Processing Systems 22 (2009).
    """
    t = geometric_mean(a, b)
    c = jnp.clip(c, -t, t)
    s = root(gap(a, b, c))
    omega = _angle(c, s, t)
    # as ρ → −1 it is t (sin ω − ω cos ω), whose two terms cancel: there its Taylor series
    x = omega * omega
    taylor = 1 - x / 10 * (1 - x / 28 * (1 - x / 54 * (1 - x / 88 * (1 - x / 130))))
    return jnp.where(omega < 0.25, t * omega * x / 3 * taylor, s + c * omega)


@arc_one.defjvp
def _arc_one_jvp(primals: Any, tangents: Any) -> tuple[Pairs, Pairs]:
    a, b, c = primals
    da, db, dc = tangents
    s = root(gap(a, b, c))
    slope = arc_zero(a, b, c) * dc
    return arc_one(a, b, c), slope + quotient(s, 2 * a) * da + quotient(s, 2 * b) * db
