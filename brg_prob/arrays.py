"""Small functions of arrays that several rooms share; numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def thin(size: int, most: int) -> Int[np.ndarray, " kept"]:
    """Return at most ``most`` indices of ``range(size)``, evenly spread, both ends included.

    Examples
    --------
    >>> thin(7, 4).tolist(), thin(2, 4).tolist()
    ([0, 2, 4, 6], [0, 1])
    """
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.intp))


def first_place(shape: tuple[int, ...]) -> Int[np.ndarray, " ..."]:
    """Return the place along the first axis of each entry of an array of this shape.

    Examples
    --------
    >>> first_place((2, 3)).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    return np.broadcast_to(np.arange(shape[0]).reshape(-1, *([1] * (len(shape) - 1))), shape)


def holm(p_values: Real[Any, " tests"] | Sequence[float]) -> Float[np.ndarray, " tests"]:
    """Return Holm's adjusted p-values; the family is rejected at ``level`` if their minimum is ≤ it.

    Valid under any dependence of the tests (scales of one flow share draws). NaN marks a test
    that was not made: it stays NaN and is not counted.

    Examples
    --------
    >>> holm([0.01, 0.5, 0.04]).tolist()
    [0.03, 0.5, 0.08]
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted
