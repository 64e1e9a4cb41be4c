"""How much of a long series is drawn: what the eye can part, with every peak; tables hold all of it."""

from __future__ import annotations

import numpy as np

from brg_prob.arrays import thin

MOST_MARKERS = 1500
"""Markers of one series that a picture draws."""

MOST_POINTS = 2000
"""Points of one line, or of each edge of a band, that a picture draws."""


def spread(values: np.ndarray, most: int = MOST_MARKERS) -> np.ndarray:
    """Return at most ``most`` indices of a series, evenly spread, with its smallest and largest value.

    Examples
    --------
    >>> spread(np.array([0.0, 0.1, 9.0, 0.2, 0.3, -5.0, 0.4]), most=4).tolist()
    [0, 2, 5, 6]
    """
    if values.size <= most:
        return np.arange(values.size)
    return np.union1d(thin(values.size, max(most - 2, 2)), _extremes(values))


def peaks(*curves: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Return at most ``most`` indices of a line (of several over one axis) that lose no peak of it.

    The points are cut into equal stretches; of each, the smallest and the largest value of each curve stay,
    so the line through them fills the same pixels. nan stays only where a whole stretch holds nothing else.

    Examples
    --------
    >>> curve = np.sin(np.arange(10_000.0))
    >>> curve[1234] = 50.0
    >>> kept = peaks(curve, most=100)
    >>> kept.size <= 100, 1234 in kept, 0 in kept, 9999 in kept
    (True, True, True, True)
    """
    size = curves[0].size
    if size <= most:
        return np.arange(size)
    width = -(-size // max((most - 2) // (2 * len(curves)), 1))
    starts = np.arange(0, size, width)
    kept = [np.array([0, size - 1])]
    for curve in curves:
        padded = np.full(starts.size * width, np.nan)
        padded[:size] = curve
        kept += [starts + place for place in _extremes(padded.reshape(-1, width))]
    return np.unique(np.concatenate(kept))


def _extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where along the last axis the smallest and the largest finite value stand."""
    known = np.isfinite(values)
    return (
        np.where(known, values, np.inf).argmin(axis=-1),
        np.where(known, values, -np.inf).argmax(axis=-1),
    )


def drawn_note(drawn: int, there: int, what: str) -> str:
    """Return in a sentence, with a blank before it, how many of a series are drawn; empty if all are.

    Examples
    --------
    >>> drawn_note(60, 443, "modes")
    ' 60 of 443 modes are drawn, evenly spread.'
    >>> drawn_note(60, 60, "modes")
    ''
    """
    return "" if drawn == there else f" {drawn} of {there} {what} are drawn, evenly spread."
