"""Whether a record in time has an annual cycle, and how much of its variance that carries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

LEVEL = 0.001
_HARMONICS = (1, 2)
_YEARS, _POINTS = 3.0, 2.0
"""Shortest record, in years, and fewest points a year (more than) for which a cycle is asked for."""
_NEIGHBOURS = 6
_DAYS = 365.2425
_YEAR = {
    1.0: ("yr", "yrs", "year", "years", "a"),
    12.0: ("month", "months", "mon"),
    _DAYS / 7: ("week", "weeks", "wk"),
    _DAYS: ("d", "day", "days"),
    _DAYS * 24: ("h", "hr", "hour", "hours"),
    _DAYS * 86400: ("s", "sec", "second", "seconds"),
}
"""Length of a year in units of time, by their names."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AnnualCycle:
    """What a record shows of an annual cycle.

    Attributes
    ----------
    p_value
        Probability of so strong a cycle in a record whose spectrum is smooth there.
    share
        Part of the variance about a straight line that one or two harmonics of the year carry.
    """

    p_value: float
    share: float

    @property
    def found(self) -> bool:
        """Whether there is one, at level .001."""
        return self.p_value < LEVEL

    @property
    def sentence(self) -> str:
        """What was found, and that nothing was done about it."""
        if self.found:
            carried = f"{100 * self.share:.0f} % of the variance about a straight line"
            return f"an annual cycle carries {carried}; nothing was done about it"
        return f"no annual cycle was found (p = {self.p_value:.2g})"


def annual_cycle(x: Floats, y: Floats, unit: str) -> AnnualCycle | None:
    """Look for an annual cycle in a record; the record is left as it is.

    Parameters
    ----------
    x, y
        (n,) times and values, in any order.
    unit
        Of x: years, months, weeks, days, hours or seconds, ``days since …`` included.

    Returns
    -------
    AnnualCycle or None
        None where it cannot be judged: another unit, less than three years, or no more than two points a
        year.

    Notes
    -----
    Regression on a line and the year's first two harmonics (the second where there are more than four points
    a year). The power of each is held against that of the frequencies beside it (F with 2 and 2m degrees of
    freedom for m of them, both harmonics counted by Bonferroni): memory of the record, which raises both, is
    then no cycle.

    Examples
    --------
    >>> months = np.arange(120.0)
    >>> annual_cycle(months, np.cos(2 * np.pi * months / 12) + 0.1 * np.sin(7 * months**2), "months").found
    True
    """
    length = _year(unit)
    times = np.unique(x)
    if length is None or times.size < 3:
        return None
    reach = float(times[-1] - times[0]) * times.size / (times.size - 1) / length  # in years
    rate = times.size / reach
    if reach < _YEARS or rate <= _POINTS:
        return None
    years = (x - times[0]) / length
    harmonics = [h for h in _HARMONICS if rate > 2 * h * (1 + 1e-6)]
    line = np.stack([np.ones_like(years), years - years.mean()], axis=1)
    waves = [_wave(years, h) for h in harmonics]
    residual = _residual([line, *waves], y)
    left, whole = float(residual @ residual), float(np.sum(_residual([line], y) ** 2))
    if not whole > 1e-20 * float(y @ y):  # nothing but a line
        return None
    if not left > 1e-20 * whole:  # nothing but a cycle beside it
        return AnnualCycle(0.0, 1.0)
    tails = []
    for harmonic in harmonics:
        others = [wave for h, wave in zip(harmonics, waves, strict=True) if h != harmonic]
        power = float(np.sum(_residual([line, *others], y) ** 2)) - left
        beside = _beside(years, residual, harmonic, reach, rate)
        tails.append(float(fdtrc(2, 2 * beside.size, power / beside.mean())) if beside.size > 1 else 1.0)
    return AnnualCycle(min(1.0, len(tails) * min(tails)), 1 - left / whole)


def _year(unit: str) -> float | None:
    """Return the length of a year in a unit, or None if that is no unit of time."""
    name = (unit.split() or [""])[0].lower()
    return next((length for length, names in _YEAR.items() if name in names), None)


def _wave(years: Floats, frequency: float) -> Floats:
    """Return cosine and sine of a frequency per year, (n, 2)."""
    phase = 2 * np.pi * frequency * years
    return np.stack([np.cos(phase), np.sin(phase)], axis=1)


def _residual(columns: list[Floats], y: Floats) -> Floats:
    """Return what is left of y after a regression."""
    design = np.concatenate(columns, axis=1)
    left: Floats = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return left


def _beside(years: Floats, residual: Floats, harmonic: int, reach: float, rate: float) -> Floats:
    """Return the power at frequencies beside a harmonic, the year's own and the ends of the axis left out."""
    widest = max(0.5, 2 / reach)
    offsets = np.arange(1, _NEIGHBOURS + 1) / reach
    offsets = offsets[offsets <= widest * (1 + 1e-9)]
    frequencies = harmonic + np.concatenate([-offsets, offsets])
    own = np.abs(frequencies[:, None] - np.arange(0, 4)[None, :]).min(axis=1) < 0.7 / reach
    kept = frequencies[~own & (frequencies > 0) & (frequencies < rate / 2 - 0.5 / reach)]
    before = float(residual @ residual)
    return np.array([before - float(np.sum(_residual([_wave(years, f)], residual) ** 2)) for f in kept])
