"""A user's Python function as an activation: checked once, its kinks found, on the host."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from brg_prob.activations.base import Activation
from brg_prob.activations.numeric import DEFAULT_VARIANCE, derivatives, nth_derivative, numeric_activation
from brg_prob.activations.quadrature import REACH, Elementwise

WINDOW = 10.0  # kinks are searched for between −10 and 10
CELLS = 4000
CANDIDATES = 32


@lru_cache(maxsize=128)
def user_activation(function: Elementwise, kinks: tuple[float, ...] | None) -> Activation:
    """Return the activation of a Python function.

    Raises
    ------
    ValueError
        The function is not elementwise, real and finite, with a finite derivative but at kinks.
    """
    name = getattr(function, "__name__", type(function).__name__)
    with jax.ensure_compile_time_eval():
        _refuse(name, function)
        if kinks is None:
            kinks = find_kinks(function)
    if not np.isfinite(kinks).all():
        raise ValueError(f"kinks = {kinks} of activation {name} must be finite numbers")
    return numeric_activation(name, function, kinks)


def _refuse(name: str, function: Elementwise) -> None:
    """Raise ValueError for a function that cannot be an activation."""
    z = jnp.linspace(-1, 1, 41).at[20].set(0) * REACH * DEFAULT_VARIANCE**0.5
    try:
        values = function(z)
        part, block = function(z[:7]), function(z[:40].reshape(5, 8))
        slope = nth_derivative(function, 1)(z[z != 0])
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        raise ValueError(
            f"activation {name} fails on a jax array ({reason.rstrip(': .')});"
            " write it elementwise with jax.numpy, jnp.where in place of if"
        ) from error
    if np.shape(values) != z.shape or np.shape(block) != (5, 8):
        raise ValueError(
            f"activation {name} turns shape {z.shape} into {np.shape(values)} and (5, 8) into"
            f" {np.shape(block)}; it must act on each number alone"
        )
    if not jnp.issubdtype(jnp.result_type(values), jnp.floating):
        raise ValueError(
            f"activation {name} returns {jnp.result_type(values)}; it must return real floating-point numbers"
        )
    for what, numbers in (("", values), ("'s derivative", slope)):
        if not np.isfinite(numbers).all():
            where = float(np.asarray(z if what == "" else z[z != 0])[~np.isfinite(np.asarray(numbers))][0])
            raise ValueError(
                f"activation {name}{what} is not finite at z = {where:g}; use a function that is"
            )
    tolerance = 1e3 * float(jnp.finfo(values.dtype).eps) * float(jnp.abs(values).max())
    if not np.allclose(part, values[:7], rtol=0, atol=tolerance):
        raise ValueError(f"activation {name} mixes the numbers of an array; it must act on each number alone")


def find_kinks(function: Elementwise) -> tuple[float, ...]:
    """Return where a function or one of its first two derivatives jumps, between −10 and 10.

    On a fine grid a jump stands out from its neighbours' differences; the places that stand out most are
    bisected to rounding error, and what has not shrunk by then is a jump (by more than half it may: at a
    tie jax takes the mean of both sides).
    """
    dtype = jnp.result_type(float)
    digits, noise = (9, 1e-7) if dtype == np.float64 else (5, 1e-3)
    compiled = derivatives(function, 3)

    def f(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, " 3 *shape"]:
        return np.asarray(compiled(jnp.asarray(z, dtype)), float)

    # off the round numbers, where kinks tend to lie
    grid = (np.linspace(-WINDOW, WINDOW, CELLS + 1) + 1e-3 * np.sqrt(2)).astype(dtype)
    values, rows = f(grid), np.arange(3)
    difference = np.diff(values)
    bend = np.abs(difference[:, 1:-1] - (difference[:, 2:] + difference[:, :-2]) / 2)
    cells = np.argsort(-bend, axis=1)[:, :CANDIDATES] + 1
    low, high = grid[cells], grid[cells + 1]
    size = np.abs(np.take_along_axis(difference, cells, axis=1))
    jump = size
    for _ in range(50):
        middle = (low + high) / 2
        left, centre, right = f(np.stack([low, middle, high]))[rows, :, rows].transpose(1, 0, 2)
        jump = np.abs(right - left)
        below = np.abs(centre - left) > np.abs(right - centre)
        low, high = np.where(below, low, middle), np.where(below, middle, high)
    jumps = high[(jump > 0.3 * size) & (jump > noise * np.abs(values).max(axis=1, keepdims=True))]
    return tuple(sorted({round(float(point), digits) + 0.0 for point in jumps}))
