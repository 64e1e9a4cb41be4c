"""Calendars: times as numbers that a network can use, and back to the text a reader expects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

RESOLUTIONS = ("quarter", "month", "day", "minute", "second", "millisecond", "microsecond")
"""Finest part of a date that a column of times states, coarsest first."""

_SECONDS = {"d": 86400, "h": 3600, "s": 1}
_STEPS = {
    "day": 86400 * 10**6,
    "minute": 60 * 10**6,
    "second": 10**6,
    "millisecond": 1000,
    "microsecond": 1,
}
_CODES: dict[str, Literal["M", "D", "m", "s", "ms", "us"]] = {
    "month": "M",
    "day": "D",
    "minute": "m",
    "second": "s",
    "millisecond": "ms",
    "microsecond": "us",
}
_PARTS = {"quarter": 4, "month": 12}


@dataclass(frozen=True)
class Calendar:
    """How the numbers of a time column count.

    Attributes
    ----------
    unit
        ``"yr"`` (decimal years: 2001.5 is the middle of 2001), ``"d"``, ``"h"`` or ``"s"`` since the origin.
    origin
        ISO text of the time that is 0; ``"0000-01-01"`` for decimal years.
    resolution
        Finest part that the times state, one of ``RESOLUTIONS``; quarters and months are equispaced.
    utc
        Whether the times were given with a zone; they then are in UTC, and labels end with Z.

    Examples
    --------
    >>> Calendar("yr", "0000-01-01", "month").labels([2001.0, 2001 + 1 / 12])
    ['2001-01', '2001-02']
    >>> Calendar("d", "2001-02-27", "day").labels([0, 1, 2])
    ['2001-02-27', '2001-02-28', '2001-03-01']
    """

    unit: str
    origin: str
    resolution: str
    utc: bool = False

    def labels(self, values: Iterable[float]) -> list[str]:
        """Return the ISO text of times, rounded to the resolution; a quarter is ``1995Q1``, NaN empty."""
        numbers = np.asarray(list(values), dtype=np.float64)
        texts = np.full(len(numbers), "", dtype=object)
        known = np.isfinite(numbers)
        texts[known] = [self._text(time) for time in self.times(numbers[known])]
        return texts.tolist()

    def times(self, values: np.ndarray) -> np.ndarray:
        """Return values (n,), none missing, as datetime64[us] rounded to the resolution."""
        if self.resolution in _PARTS:
            of_year = _PARTS[self.resolution]
            months = np.round(values * of_year).astype(np.int64) * (12 // of_year) - 1970 * 12
            return months.astype("M8[M]").astype("M8[us]")
        if self.unit != "yr":
            since = np.round(values * (_SECONDS[self.unit] * 1e6)).astype("m8[us]")
            exact = np.datetime64(self.origin, "us") + since
        else:
            years = np.floor(values)
            start, length = _year_lengths(years.astype(np.int64) - 1970)
            exact = start + np.round((values - years) * length).astype("m8[us]")
        step = _STEPS[self.resolution]
        return ((exact.astype(np.int64) + step // 2) // step * step).astype("M8[us]")

    def values(self, times: np.ndarray) -> np.ndarray:
        """Return datetime64[us] (n,) as numbers, float64; of months and quarters the one that holds them."""
        if self.resolution in _PARTS:
            step = 12 // _PARTS[self.resolution]
            since = times.astype("M8[M]").astype(np.int64) + 1970 * 12
            return since // step * step / 12
        if self.unit != "yr":
            return (times - np.datetime64(self.origin, "us")).astype(np.int64) / (_SECONDS[self.unit] * 1e6)
        years = times.astype("M8[Y]").astype(np.int64)
        start, length = _year_lengths(years)
        return years + 1970 + (times - start).astype(np.int64) / length

    def to_json(self) -> str:
        """Return the calendar as JSON, for the attributes of a dataset."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calendar:
        """Return the calendar that :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def _text(self, time: np.datetime64) -> str:
        """Return a time as text."""
        if self.resolution == "quarter":
            year, month = _iso(time, "month").split("-")
            return f"{year}Q{(int(month) + 2) // 3}"
        return _iso(time, self.resolution) + "Z" * (self.utc and self.resolution not in ("month", "day"))


_YEAR_ZERO = "0000-01-01"


def count(times: np.ndarray, style: str = "", utc: bool = False) -> tuple[np.ndarray, Calendar, str]:
    """Return times as numbers that a network can use, how they count, and a sentence on it.

    Months and quarters are equispaced parts of a year; other times are decimal years if they span more than
    three, else days, hours or seconds since the first.

    Parameters
    ----------
    times
        (n,) datetime64[us], none missing.
    style
        ``"month"`` or ``"quarter"`` where that is all the times say.
    utc
        Whether they are in UTC.

    Returns
    -------
    tuple of ndarray, Calendar and str
        Values (n,) float64; :meth:`Calendar.labels` of them are the times.
    """
    part, said = _part(times, style)
    if part:
        calendar = Calendar("yr", _YEAR_ZERO, part, utc)
        return calendar.values(times), calendar, said
    resolution = _resolution(times)
    first = times.min()
    span = float((times.max() - first) / np.timedelta64(1, "D"))
    if span > 3 * 365.25:
        calendar = Calendar("yr", _YEAR_ZERO, resolution, utc)
        # a year has 3e13 microseconds, and doubles near 2000 a step of 7 of them
        if np.array_equal(calendar.times(calendar.values(times)), times):
            return calendar.values(times), calendar, "calendar dates as decimal years"
    unit = "d" if resolution == "day" or span > 3 else "h" if span * 24 > 3 else "s"
    calendar = Calendar(unit, _iso(first, resolution), resolution, utc)
    words = {"d": "days", "h": "hours", "s": "seconds"}[unit]
    return calendar.values(times), calendar, f"{words} since {calendar.labels([0])[0]}"


def _part(times: np.ndarray, style: str) -> tuple[str, str]:
    """Return quarter or month and a sentence, if that is what the times are; else two empty texts."""
    if style == "quarter":
        return "quarter", "quarters as years, equispaced by a fourth"
    if style == "month":
        return "month", "months as years, equispaced by a twelfth"
    days, months = times.astype("M8[D]"), times.astype("M8[M]")
    of_month = np.unique((days - months.astype("M8[D]")).astype(np.int64)) + 1
    last = np.all((months + np.timedelta64(1, "M")).astype("M8[D]") - days == np.timedelta64(1, "D"))
    if np.any(days != times) or not (len(of_month) == 1 or last):
        return "", ""
    at = ", each at its last day" if last else f", each at day {of_month[0]}" if of_month[0] > 1 else ""
    return "month", f"calendar dates as years, months taken as equispaced twelfths{at}"


def _resolution(times: np.ndarray) -> str:
    """Return the coarsest resolution that states all times exactly."""
    ticks = times.astype(np.int64)
    return next(name for name, step in _STEPS.items() if not np.any(ticks % step))


def _iso(time: np.datetime64, resolution: str) -> str:
    """Return a time as ISO text."""
    return str(np.datetime_as_string(time, unit=_CODES[resolution]))


def _year_lengths(years: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the beginnings, datetime64[us], and lengths in microseconds of years since 1970."""
    start = years.astype("M8[Y]").astype("M8[us]")
    end = (years + 1).astype("M8[Y]").astype("M8[us]")
    return start, (end - start).astype(np.float64)
