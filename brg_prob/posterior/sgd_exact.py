"""Stochastic gradient descent of a linear readout, exact and without a step (T11).

Batch-1 steps on (f(x_i) − y_i)² in a fixed order, w ← w − 2η (f(x_i) − y_i) ϕ(x_i), never leave
w_0 + Φᵀc, and one epoch is a Gauss-Seidel (Kaczmarz) sweep of c:

    (1 + 2ηL_−) c⁺ = (1 − 2η(D + L_+)) c + 2η r,   r = y − Φw_0,   ΦΦᵀ = L_− + D + L_+.

E epochs are the E-th power of that affine map, by repeated squaring: O(n³ log E), exact at any η.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular


def epoch_map(kernel: Array, learning_rate: Array | float) -> tuple[Array, Array]:
    """Return (A, B) of one epoch, c⁺ = A c + B r: A = 1 − B K, B = 2η (1 + 2ηL_−)⁻¹, both (n, n).

    ``kernel`` is ΦΦᵀ in the order of the steps, (n, n).

    Examples
    --------
    >>> a, b = epoch_map(jnp.eye(1), 0.25)
    >>> float(a[0, 0]), float(b[0, 0])
    (0.5, 0.5)
    """
    step = jnp.asarray(2.0, kernel.dtype) * learning_rate
    one = jnp.eye(kernel.shape[-1], dtype=kernel.dtype)
    after = step * solve_triangular(one + step * jnp.tril(kernel, -1), one, lower=True, unit_diagonal=True)
    return one - after @ kernel, after


def sgd_dual(
    kernel: Array,
    residual: Array,
    *,
    learning_rate: Array | float,
    epochs: Array | int,
    order: Array | None = None,
) -> Array:
    """Return c after E epochs of batch-1 SGD: the trained readout is w_0 + Φᵀc.

    Parameters
    ----------
    kernel
        K = ΦΦᵀ, symmetric, of any rank, (n, n).
    residual
        r = y − f_0(X), targets minus the untrained outputs, (n, o).
    learning_rate
        η of w ← w − 2η (f(x_i) − y_i) ϕ(x_i), the step on (f − y)². Steps do not expand the error if
        η ≤ 1/max_i K_ii; the result is right beyond too, infinite or NaN where it overflows.
    epochs
        E ≥ 0. May be traced: one compilation serves every E.
    order
        A permutation of 0 … n−1, the same in every epoch; default as the rows stand.

    Returns
    -------
    Array
        c, (n, o), dtype of the kernel; rows belong to those of ``residual`` whatever the order.

    Notes
    -----
    T11. ⌊log₂ E⌋ products of n × n matrices. Pure: it may be jitted, vmapped and mapped.

    Examples
    --------
    >>> one = jnp.ones((1, 1))  # w = 1 − (1 − 2η)^E
    >>> float(sgd_dual(one, one, learning_rate=0.25, epochs=3)[0, 0])
    0.875
    """
    if order is not None:
        kernel, residual = kernel[order][:, order], residual[order]
    power, after = epoch_map(kernel, learning_rate)
    found = _repeat(power, after @ residual, jnp.asarray(epochs))
    return found if order is None else jnp.zeros_like(found).at[order].set(found)


def _repeat(power: Array, shift: Array, times: Array) -> Array:
    """Return the ``times``-fold iterate of c ↦ power c + shift from c = 0, bit by bit of ``times``."""

    def bit(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        found, power, shift, left = state
        found = jnp.where(left % 2 == 1, power @ found + shift, found)
        return found, power @ power, power @ shift + shift, left // 2

    start = (jnp.zeros_like(shift), power, shift, times)
    found, power, shift, left = jax.lax.while_loop(lambda state: state[3] > 1, bit, start)
    return jnp.where(left == 1, power @ found + shift, found)  # the top bit: no further square is needed


def sgd_transfer(kernel: Array, *, learning_rate: Array | float, epochs: Array | int) -> Array:
    """Return the matrix S (n, n) with c = S r for every residual r: one for all draws of a member.

    Arguments as for :func:`sgd_dual`, at three times its cost; it pays from a few residuals on.

    Examples
    --------
    >>> float(sgd_transfer(jnp.ones((1, 1)), learning_rate=0.25, epochs=3)[0, 0])
    0.875
    """
    one = jnp.eye(kernel.shape[-1], dtype=kernel.dtype)
    return sgd_dual(kernel, one, learning_rate=learning_rate, epochs=epochs)
