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
_CODES: dict[str, Literal["D", "m", "s", "ms", "us"]] = {
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
        if self.resolution in _PARTS:
            texts[known] = [self._part(value) for value in numbers[known].tolist()]
        else:
            texts[known] = self._texts(self.times(numbers[known]))
        return texts.tolist()

    def to_json(self) -> str:
        """Return the calendar as JSON, for the attributes of a dataset."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calendar:
        """Return the calendar that :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def _part(self, value: float) -> str:
        """Return year and quarter or month of a decimal year."""
        count = _PARTS[self.resolution]
        year, part = divmod(round(value * count), count)
        return f"{year:04d}Q{part + 1}" if self.resolution == "quarter" else f"{year:04d}-{part + 1:02d}"

    def times(self, values: np.ndarray) -> np.ndarray:
        """Return values (n,), none missing, as datetime64[us] rounded to the resolution."""
        if self.unit != "yr":
            since = np.round(values * (_SECONDS[self.unit] * 1e6)).astype("m8[us]")
            exact = np.datetime64(self.origin, "us") + since
        else:
            years = np.floor(values)
            start, length = _year_lengths(years.astype(np.int64) - 1970)
            exact = start + np.round((values - years) * length).astype("m8[us]")
        step = _STEPS[self.resolution]
        return ((exact.astype(np.int64) + step // 2) // step * step).astype("M8[us]")

    def _texts(self, times: np.ndarray) -> list[str]:
        """Return times as ISO text."""
        zone = "Z" if self.utc and self.resolution != "day" else ""
        return [_iso(time, self.resolution) + zone for time in times]


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
    parts = _parts(times, style)
    if parts is not None:
        values, resolution, said = parts
        return values, Calendar("yr", _YEAR_ZERO, resolution), said
    resolution = _resolution(times)
    first = times.min()
    span = float((times.max() - first) / np.timedelta64(1, "D"))
    if span > 3 * 365.25:
        calendar = Calendar("yr", _YEAR_ZERO, resolution, utc)
        values = _decimal_years(times)
        # a year has 3e13 microseconds, and doubles near 2000 a step of 7 of them
        if np.array_equal(calendar.times(values), times):
            return values, calendar, "calendar dates as decimal years"
    unit = "d" if resolution == "day" or span > 3 else "h" if span * 24 > 3 else "s"
    calendar = Calendar(unit, _iso(first, resolution), resolution, utc)
    values = (times - first).astype(np.int64) / (_SECONDS[unit] * 1e6)
    words = {"d": "days", "h": "hours", "s": "seconds"}[unit]
    return values, calendar, f"{words} since {calendar.labels([0])[0]}"


def _parts(times: np.ndarray, style: str) -> tuple[np.ndarray, str, str] | None:
    """Return decimal years, resolution and a sentence, if the times are whole months or quarters."""
    months = times.astype("M8[M]")
    since = months.astype(np.int64) + 1970 * 12
    if style == "quarter":
        return since / 12, "quarter", "quarters as years, equispaced by a fourth"
    if style != "month":
        days = times.astype("M8[D]")
        of_month = np.unique((days - months.astype("M8[D]")).astype(np.int64)) + 1
        last = np.all((months + np.timedelta64(1, "M")).astype("M8[D]") - days == np.timedelta64(1, "D"))
        if np.any(days != times) or not (len(of_month) == 1 or last):
            return None
        at = (
            ""
            if of_month.tolist() == [1]
            else ", each at its last day"
            if last
            else f", each at day {of_month[0]}"
        )
        return since / 12, "month", f"calendar dates as years, months taken as equispaced twelfths{at}"
    return since / 12, "month", "months as years, equispaced by a twelfth"


def _resolution(times: np.ndarray) -> str:
    """Return the coarsest resolution that states all times exactly."""
    ticks = times.astype(np.int64)
    return next(name for name, step in _STEPS.items() if not np.any(ticks % step))


def _iso(time: np.datetime64, resolution: str) -> str:
    """Return a time as ISO text."""
    return str(np.datetime_as_string(time, unit=_CODES[resolution]))


def _decimal_years(times: np.ndarray) -> np.ndarray:
    """Return the calendar year and the elapsed fraction of it."""
    years = times.astype("M8[Y]").astype(np.int64)
    start, length = _year_lengths(years)
    return years + 1970 + (times - start).astype(np.int64) / length


def _year_lengths(years: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the beginnings, datetime64[us], and lengths in microseconds of years since 1970."""
    start = years.astype("M8[Y]").astype("M8[us]")
    end = (years + 1).astype("M8[Y]").astype("M8[us]")
    return start, (end - start).astype(np.float64)
