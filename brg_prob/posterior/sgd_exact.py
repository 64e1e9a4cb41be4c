"""Stochastic gradient descent of a linear readout, exact and without a step (T11).

Batch-1 steps on (f(x_i) − y_i)² in a fixed order, w ← w − 2η (f(x_i) − y_i) ϕ(x_i), never leave
w_0 + Φᵀc, and one epoch is a Gauss-Seidel (Kaczmarz) sweep of c:

    (1 + 2ηL_−) c⁺ = (1 − 2η(D + L_+)) c + 2η r,   r = y − Φw_0,   ΦΦᵀ = L_− + D + L_+.

E epochs are the E-th power of that affine map, by repeated squaring: O(n³ log E), exact at any η.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array
from jax.scipy.linalg import solve_triangular

from brg_prob.geometry.readout_spectrum import readout_kernel
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.posterior.engine import Data
from brg_prob.posterior.readout_members import (
    DualMap,
    MemberDraws,
    check_members,
    check_trainable,
    fit_members,
    readout_variance,
    trained_member,
)
from brg_prob.posterior.schema import TRAINED

_SAFETY = 0.1
"""Default learning rate over the largest at which no step expands the error."""


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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SweepMap:
    """All epochs as one matrix, for more residuals than inputs.

    Attributes
    ----------
    transfer
        S, (n, n): c = S r.
    """

    transfer: Array

    def solve(self, residual: Array) -> Array:
        """Return c of residuals, one per column, (n, S·o)."""
        return self.transfer @ residual


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SweepOnce:
    """All epochs of a few residuals, which need no matrix S: down to a third of the cost.

    Attributes
    ----------
    kernel, learning_rate, epochs
        K (n, n), η and E.
    """

    kernel: Array
    learning_rate: Array
    epochs: Array

    def solve(self, residual: Array) -> Array:
        """Return c of residuals, one per column, (n, S·o)."""
        return sgd_dual(self.kernel, residual, learning_rate=self.learning_rate, epochs=self.epochs)


_sgd_transfer = jax.jit(sgd_transfer)


def sweep_map(kernel: Array, learning_rate: float, epochs: int, residuals: int) -> DualMap:
    """Return the map r → c of E epochs for a kernel (n, n), in the form cheaper for so many residuals."""
    if residuals > kernel.shape[0]:
        return SweepMap(_sgd_transfer(kernel, learning_rate=learning_rate, epochs=epochs))
    return SweepOnce(kernel, jnp.asarray(learning_rate, kernel.dtype), jnp.asarray(epochs))


@dataclass(frozen=True)
class SgdExact:
    """Readout trained by batch-1 SGD from prior draws, steps in the order of the data: exact, without steps.

    Attributes
    ----------
    learning_rate
        η of the raw weights, steps on (f − y)²; by default a tenth of the largest stable one.
    epochs
        Passes E through the data.
    members
        Number of draws of the hidden layers; readout draws are shared out evenly.

    Notes
    -----
    T11. The draws are networks trained from their own prior weights, not draws of π_T; T (default n) is
    nominal: the number of observations at which a flow of them is said to start. T6 is not their law: the
    flow has no KL to the prior and no theory at a scale.

    A step multiplies the error of the weights by 1 − 2ηϕϕᵀ, ϕ = ϕ(x_i) the raw features, which expands
    nothing as long as η ≤ 1/max_i |ϕ(x_i)|². Beyond, training is followed exactly too, until its weights
    overflow; then it is refused. The default is a tenth of that limit at the first member's hidden layers.
    The raw weights must be independent under the prior.

    Examples
    --------
    >>> SgdExact(learning_rate=0.0)
    Traceback (most recent call last):
    ValueError: learning_rate = 0.0 must be positive and finite, for example 0.001
    """

    learning_rate: float | None = None
    epochs: int = 1000
    members: int = 1

    def __post_init__(self) -> None:
        check_members(self.members)
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"learning_rate = {self.learning_rate} must be positive and finite, for example 0.001"
            )
        if not 1 <= self.epochs < 2**31:
            raise ValueError(f"epochs = {self.epochs} must lie between 1 and {2**31 - 1}")

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Return draws of the trained ensemble in the schema of :func:`brg_prob.fit`.

        Attributes ``learning_rate`` and ``epochs`` say how they were trained.

        Raises
        ------
        ValueError
            The weights overflow.
        """
        name = "SgdExact()"
        network = require(network, LinearReadout, name)
        check_trainable(network, name, observations, fixed=True)
        limits: list[float] = []
        used = [] if self.learning_rate is None else [self.learning_rate]

        def draw(hidden: Hidden, own: Array, each: int) -> MemberDraws:
            variance = readout_variance(network, hidden, name)
            kernel = readout_kernel(network, data.x, hidden)  # of the whitened readout: s ΦΦᵀ
            largest = jnp.maximum(jnp.max(jnp.diagonal(kernel)), jnp.sqrt(jnp.finfo(kernel.dtype).tiny))
            limits.append(variance / float(largest))
            used.append(_SAFETY * limits[-1])
            sweeps = sweep_map(kernel, used[0] / variance, self.epochs, each * data.y.shape[1])
            return trained_member(network, data, hidden, own, each, sweeps)

        tree = fit_members(
            network,
            data,
            key=key,
            draws=draws,
            members=self.members,
            draw=draw,
            attrs={
                "engine": "sgd_exact",
                "observations": observations,
                "epochs": self.epochs,
                "no_leave_one_out": TRAINED,
                "no_posterior": TRAINED,
            },
        )
        if not bool(jnp.isfinite(jnp.asarray(tree["log_prior"]["readout"].values)).all()):
            raise ValueError(
                f"learning_rate = {used[0]:g} diverges: the weights overflow within {self.epochs} epochs; "
                f"no step expands the error up to 1/max_i |ϕ(x_i)|² = {min(limits):.3g}"
            )
        tree.attrs["learning_rate"] = used[0]
        return tree
