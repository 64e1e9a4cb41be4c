"""Default scales, towards the prior."""

from __future__ import annotations

import numpy as np


def default_scales(observations: float, count: int = 12, *, smallest: float = 1.0) -> tuple[float, ...]:
    """Return ``count`` numbers of observations, log-spaced from T down to ``smallest``.

    Examples
    --------
    >>> default_scales(100.0, 3)
    (100.0, 10.0, 1.0)
    """
    if count < 1:
        raise ValueError(f"count = {count} scales is too few; ask for at least 1")
    values = np.geomspace(observations, min(smallest, observations), count)
    values[0] = observations
    return tuple(float(v) for v in values)


def fisher_cutoffs(scales: tuple[float, ...]) -> tuple[float, ...]:
    """Return the information cutoffs Λ_I = 1/T of whitened units that match observations T (T8)."""
    return tuple(1.0 / s for s in scales)
