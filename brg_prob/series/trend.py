"""The straight line fitted to a record, and whether it stands out of what the record does anyway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import stdtr, stdtrit

_FEWEST = 12
"""Rows below which no line can stand out: a standard error takes half of them."""
_ERRORS = 3.0
_SHARE = 0.5
_WAVES = 6
"""Cosines that the long-run variance is measured on, few, so that it holds for slow records, too."""
_ROUNDING = 1e-10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A least-squares line.

    Attributes
    ----------
    slope
        Per unit of x.
    rise
        Over the record, from its first to its last x, in the unit of y.
    error
        Standard error of the rise for a record whose rows are not independent, widened so that three of
        them are passed by chance as often as by a normal variable (.0027); inf where it is not known.
    spread
        Standard deviation of the record about the line.
    """

    slope: float
    rise: float
    error: float
    spread: float

    @property
    def stands_out(self) -> bool:
        """Whether the rise is more than chance and matters: above 3 of its errors and half the spread."""
        return abs(self.rise) > _ERRORS * self.error and abs(self.rise) > _SHARE * self.spread


def straight_line(x: Floats, y: Floats) -> Line:
    """Return the least-squares line through a record, with an error that knows its memory.

    Parameters
    ----------
    x, y
        (n,) in any order; not all x equal.

    Notes
    -----
    The error is the larger of two. One takes the residual for a first-order autoregression, its lag-one
    correlation freed of bias: right for red noise, and safely large for a season, whose rows look alike too.
    The other is nonparametric, the long-run variance of the fit's score on six cosines, with Student's law
    in six degrees of freedom (Lazarus, Lewis, Stock and Watson 2018): right also where white noise hides a
    slow signal's memory. Neighbours are those in order of x, whatever the gaps between them.

    Examples
    --------
    >>> line = straight_line(np.arange(40.0), 2.0 * np.arange(40) + np.cos(np.arange(40.0)))
    >>> round(line.slope, 2), line.stands_out
    (2.0, True)
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    span = float(x[-1] - x[0])
    u = (x - x.mean()) / span
    u = u / (u @ u)
    rise = float(u @ (y - y.mean()))
    residual = y - y.mean() - rise * u / (u @ u)
    spread = float(residual.std())
    if abs(rise) <= _ROUNDING * float(np.max(np.abs(y))):  # of a constant
        return Line(0.0, 0.0, np.inf, spread)
    error = max(_autoregressive(u, residual), _long_run(u, residual)) if y.size >= _FEWEST else np.inf
    return Line(rise / span, rise, error, spread)


def _autoregressive(u: Floats, residual: Floats) -> float:
    """Return the error of Σ u r for a first-order autoregression r."""
    n, square = residual.size, float(residual @ residual)
    lag_one = float(residual[1:] @ residual[:-1]) / square if square > 0 else 0.0
    lag_one += (2 + 4 * lag_one) / n  # a line takes as much off
    independent = n * (1 - lag_one) / (1 + lag_one) if lag_one < 1 else 0.0
    independent = min(max(independent, 3.0), n) if lag_one > 0 else n
    return float(np.sqrt(square / (n - 2) * (u @ u) * n / independent))


def _long_run(u: Floats, residual: Floats) -> float:
    """Return the error of Σ u r whatever the memory of r, widened to the normal law's three errors."""
    waves = dct(u * residual, type=2, norm="ortho")[1 : _WAVES + 1]
    tail = stdtr(1e9, -_ERRORS)
    return float(np.sqrt(residual.size * np.mean(waves**2)) * -stdtrit(_WAVES, tail) / _ERRORS)
