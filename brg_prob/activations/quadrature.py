"""Expectations over one and two Gaussian variables that resolve kinks, differentiable and traceable.

One variable z ~ N(0, 1) is integrated over [−14, 14], with its density, piece by piece between the
kinks of the integrand. Without kinks the rule is trapezoidal, which on an analytic integrand
converges geometrically, and at equal cost far better than Gauss–Hermite where φ has nearby poles
(tanh of a large variance): Trefethen and Weideman, SIAM Review 56 (2014) 385; Trefethen, SIAM Review
64 (2022) 132. With kinks each piece has a Gauss–Legendre rule of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from brg_prob.activations.stable import Entry, Pairs, floating, gap, quotient, root

Elementwise = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]

REACH = 14.0  # standard deviations: exp(−14²/2) is 3e-43, and exp(−14²/4), a high Hermite function's, 5e-22
REACH_PAIRS = 10.0  # exp(−10²/2) is 2e-22
SMOOTH_ORDER = 256
KINKED_ORDER = 80
BOUNDARY_LAYER = 8.0  # a kink that the other variable blurs is blurred over so many of its deviations


def default_order(kinks: tuple[float, ...]) -> int:
    """Return the default number of nodes per piece."""
    return KINKED_ORDER if kinks else SMOOTH_ORDER


@cache
def unit_rule(order: int, smooth: bool) -> tuple[Float[np.ndarray, " order"], Float[np.ndarray, " order"]]:
    """Return nodes and weights on [−1, 1]: trapezoidal if smooth, else Gauss–Legendre."""
    if smooth:
        return np.linspace(-1, 1, order), np.full(order, 2 / (order - 1))
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return nodes, weights


@partial(jax.jit, static_argnames=("order", "reach"))
def normal_rule(
    breaks: list[Float[Array, "*#shape"]], like: Float[Array, "*shape"], order: int, reach: float
) -> tuple[Float[Array, " nodes *shape"], Float[Array, " nodes *shape"]]:
    """Return nodes and weights of N(0, 1) between breaks, each (nodes, …), … the shape of ``like``.

    ``breaks`` are cut to [−reach, reach] and need no order; the density is in the weights.
    """
    x, w = unit_rule(order, not breaks)
    ends = jnp.full((1, *like.shape), reach, like.dtype)
    inner = [jnp.broadcast_to(jnp.clip(point, -reach, reach), like.shape)[None] for point in breaks]
    edges = jnp.sort(jnp.concatenate([-ends, *inner, ends]), axis=0)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    column = (slice(None), *[None] * like.ndim)
    nodes = middle[:, None] + half[:, None] * jnp.asarray(x, like.dtype)[column]
    weights = half[:, None] * jnp.asarray(w, like.dtype)[column]
    weights = weights * jnp.exp(-nodes * nodes / 2) / math.sqrt(2 * math.pi)
    return nodes.reshape(-1, *like.shape), weights.reshape(-1, *like.shape)


def scaled_kinks(kinks: tuple[float, ...], scale: Float[Array, "*shape"]) -> list[Float[Array, "*shape"]]:
    """Return where scale·z meets each kink, out of reach where it never does."""
    far = 4 * REACH
    safe = jnp.where(scale > 0, scale, 1)
    return [
        jnp.zeros_like(scale) if k == 0 else jnp.where(scale > 0, k / safe, math.copysign(far, k))
        for k in kinks
    ]


def gaussian_expectation(
    g: Elementwise,
    variance: Real[ArrayLike, "*shape"],
    *,
    order: int | None = None,
    kinks: tuple[float, ...] = (),
) -> Float[Array, "*shape"]:
    """Return E[g(z)], z ~ N(0, variance).

    Parameters
    ----------
    g
        Elementwise; called with nodes (order·(1 + number of kinks), …).
    variance
        At least 0, any shape … .
    order
        Nodes per piece between kinks; by default 256, with kinks 80, enough for rounding error of the
        named activations at any variance up to about 9.
    kinks
        Points z where g or a low derivative of it jumps.

    Returns
    -------
    Array
        The shape of ``variance``.

    Examples
    --------
    >>> bool(abs(gaussian_expectation(lambda z: z**4, 2.0) - 12) < 1e-4)
    True
    """
    scale = root(floating(variance)[0])
    breaks = scaled_kinks(kinks, scale)
    nodes, weights = normal_rule(breaks, scale, order or default_order(kinks), REACH)
    return jnp.sum(weights * g(scale * nodes), axis=0)


def pair_expectation(
    f: Elementwise, g: Elementwise, a: Entry, b: Entry, c: Entry, *, order: int, kinks: tuple[float, ...]
) -> Pairs:
    """Return E[f(u)g(v)] for (u, v) ~ N(0, [[a, c], [c, b]]), (order × pieces)² nodes per pair.

    u = √a z and v | z ~ N(c z/√a, b − c²/a): pieces of v end at the kinks, pieces of z at those of f
    and at the boundary layers into which the spread of v turns those of g. Any correlation will do,
    ±1 included. Memory: as many numbers per pair as the inner rule has nodes.
    """
    a, b, c = jnp.broadcast_arrays(a, b, c)
    scale = root(a)
    tilt = quotient(c, scale)
    spread = jnp.where(a > 0, quotient(root(gap(a, b, c)), scale), root(b))
    breaks = scaled_kinks(kinks, scale)
    for kink in kinks:
        centre = jnp.where(tilt != 0, quotient(jnp.full_like(tilt, kink), tilt), 4 * REACH)
        width = BOUNDARY_LAYER * jnp.where(tilt != 0, quotient(spread, jnp.abs(tilt)), REACH)
        breaks += [centre - width, centre, centre + width]
    outer = normal_rule(breaks, a, order, REACH_PAIRS)

    def add(total: Pairs, node: tuple[Pairs, Pairs]) -> tuple[Pairs, None]:
        z, weight = node
        mean = tilt * z
        inner = [jnp.where(spread > 0, quotient(k - mean, spread), 4 * REACH) for k in kinks]
        w, density = normal_rule(inner, a, order, REACH_PAIRS)
        conditional = jnp.sum(density * g(mean + spread * w), axis=0)
        return total + weight * f(scale * z) * conditional, None

    return jax.lax.scan(add, jnp.zeros_like(a), outer)[0]
