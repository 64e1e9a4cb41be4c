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


def scale_index(scales: tuple[float, ...], scale: float) -> int:
    """Return the position of a scale, or raise ValueError naming the nearest.

    Examples
    --------
    >>> scale_index((0.0, 0.5, float("inf")), float("inf"))
    2
    """
    if scale in scales:  # infinite ones too
        return scales.index(scale)
    distances = [abs(own - scale) for own in scales]
    index = int(np.argmin(distances))
    if not distances[index] <= 1e-9 * max(1.0, abs(scale)):
        raise ValueError(f"scale = {scale:g} is not in this flow; the nearest is {scales[index]!r}")
    return index
