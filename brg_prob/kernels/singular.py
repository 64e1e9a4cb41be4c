"""Why a kernel matrix cannot be factorised without noise, in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Real

from brg_prob.shapes import Rows


def explain_singular(
    kernel: Real[Any, "n n"] | Rows,
    x: Real[Any, "n d"] | Rows | None = None,
    *,
    ridge: float = 0.0,
) -> str | None:
    """Say why K + ρ is singular to rounding, or return None if it is not.

    Parameters
    ----------
    kernel
        K(X, X), (n, n), symmetric and not negative.
    x
        The inputs, (n, d), if they are known: equal rows are then found exactly. Otherwise
        inputs i and j coincide where K_ii + K_jj − 2K_ij vanishes to rounding.
    ridge
        ρ = σ²n/T (T10), not negative.

    Returns
    -------
    str or None
        Which inputs coincide, or else the rank, and what a ridge would do; rows count from 0.

    Notes
    -----
    Singular means: the smallest eigenvalue of K + ρ is below n ε times the largest, ε of the
    kernel's type. Cost of the check: a Cholesky factorisation, and the eigenvalues where that fails
    or is in doubt.

    Examples
    --------
    >>> explain_singular([[1.0, 1.0], [1.0, 1.0]])
    'inputs 0 and 1 coincide: the kernel is singular without noise; add a ridge, ρ = σ²n/T > 0'
    >>> explain_singular([[1.0, 1.0], [1.0, 1.0]], ridge=0.1) is None
    True
    """
    given = np.asarray(kernel)
    epsilon = float(np.finfo(given.dtype).eps if given.dtype.kind == "f" else np.finfo(float).eps)
    matrix = given.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"kernel has shape {matrix.shape}; (n, n) is needed")
    if not np.isfinite(matrix).all():
        row = int(np.argwhere(~np.isfinite(matrix))[0, 0])
        return f"the kernel is not finite in row {row}: look at input {row} and the variances"
    n = len(matrix)
    regular = matrix + ridge * np.eye(n)
    floor = n * epsilon * max(float(np.trace(regular)) / max(n, 1), float(np.abs(regular).max(initial=0.0)))
    if floor > 0 and _exceeds(regular, floor):
        return None
    values = np.linalg.eigvalsh(regular)
    floor = n * epsilon * max(float(values[-1]), np.finfo(float).tiny)
    if values[0] > floor:
        return None
    reason = _reason(matrix, None if x is None else np.asarray(x), epsilon, values - ridge, floor)
    if ridge > 0:
        return f"{reason}: singular to rounding also with ridge {ridge:.3g}; give more than {floor:.1e}"
    return f"{reason}: the kernel is singular without noise; add a ridge, ρ = σ²n/T > 0"


def _exceeds(matrix: Float[np.ndarray, "n n"], floor: float) -> bool:
    """Whether all eigenvalues exceed a floor: a Cholesky factorisation of what lies above it."""
    try:
        np.linalg.cholesky(matrix - floor * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return False
    return True


def _reason(
    matrix: Float[np.ndarray, "n n"],
    x: Real[np.ndarray, "n d"] | None,
    epsilon: float,
    values: Float[np.ndarray, " n"],
    floor: float,
) -> str:
    """Return which inputs coincide, else which have no variance, else the rank."""
    pair, more = _coincident(matrix, epsilon) if x is None else _equal_rows(x)
    if pair is not None:
        rest = "" if more == 0 else f" (and {more} more pair{'s' if more > 1 else ''})"
        return f"inputs {pair[0]} and {pair[1]} coincide{rest}"
    empty = np.flatnonzero(np.diag(matrix) <= 0)
    if empty.size:
        return f"input {empty[0]} has no variance (x = 0 without biases)"
    return f"no inputs coincide, but the rank is {int(np.sum(values > floor))} of {len(matrix)}"


def _equal_rows(x: Real[np.ndarray, "n d"]) -> tuple[tuple[int, int] | None, int]:
    """Return the first pair of equal inputs, each held against the first of its kind, and how many more."""
    _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
    original = first[inverse.ravel()]
    later = np.flatnonzero(original != np.arange(len(x)))
    if not later.size:
        return None, 0
    return (int(original[later[0]]), int(later[0])), len(later) - 1


def _coincident(matrix: Float[np.ndarray, "n n"], epsilon: float) -> tuple[tuple[int, int] | None, int]:
    """Return the same from the kernel alone, row by row."""
    variance = np.diag(matrix)
    pairs = []
    for j in range(1, len(matrix)):
        distance = variance[:j] + variance[j] - 2 * matrix[j, :j]
        size = variance[:j] + variance[j]
        near = np.flatnonzero((size > 0) & (distance <= 8 * epsilon * size))
        if near.size:
            pairs.append((int(near[0]), j))
    return (pairs[0], len(pairs) - 1) if pairs else (None, 0)
