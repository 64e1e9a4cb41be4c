"""Predictive scores along a flow and the critical scale (T6, T8).

The score is the mean log predictive density per held-out observation; errors come from the
spread over held-out observations, comparisons from paired differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jax import Array


def mean_and_error(values: Array | np.ndarray) -> tuple[float, float]:
    """Return the mean of per-observation values and its standard error.

    The error is nan for fewer than two values, or where one is infinite (an impossible observation).
    """
    array = np.asarray(values, dtype=float)
    if array.size < 2 or not np.isfinite(array).all():
        return float(array.mean()), math.nan
    return float(array.mean()), float(array.std(ddof=1) / math.sqrt(array.size))


def critical_scale(scales: Sequence[float], differences: Sequence[float], errors: Sequence[float]) -> float:
    """Return the last scale before the first failure, nan if the first one fails already.

    A scale fails if its score is worse than the unflowed posterior's by more than one
    standard error of the paired difference.

    Examples
    --------
    >>> critical_scale([8.0, 4.0, 2.0], [0.0, -0.1, -0.9], [0.1, 0.2, 0.2])
    4.0
    """
    last = math.nan
    for scale, difference, error in zip(scales, differences, errors, strict=True):
        if not difference >= -error:
            break
        last = float(scale)
    return last
