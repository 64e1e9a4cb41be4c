"""Calendars: times as numbers that a network can use, and back to the text a reader expects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

RESOLUTIONS = ("quarter", "month", "day", "minute", "second", "millisecond", "microsecond")
"""Finest part of a date that a column of times states, coarsest first."""

_SECONDS = {"d": 86400, "h": 3600, "s": 1}
_DECIMALS = {"second": "s", "millisecond": "ms", "microsecond": "us"}
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
            texts[known] = self._texts(self._times(numbers[known]))
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

    def _times(self, values: np.ndarray) -> np.ndarray:
        """Return values (n,) as datetime64[us]."""
        if self.unit != "yr":
            since = np.round(values * (_SECONDS[self.unit] * 1e6)).astype("timedelta64[us]")
            return np.datetime64(self.origin, "us") + since
        years = np.floor(values)
        start, length = year_lengths(years.astype(np.int64) - 1970)
        return start + np.round((values - years) * length).astype("timedelta64[us]")

    def _texts(self, times: np.ndarray) -> list[str]:
        """Return times rounded to the resolution as ISO text."""
        step = {"day": 86400 * 10**6, "minute": 60 * 10**6, "second": 10**6, "millisecond": 1000}
        ticks = times.astype(np.int64)
        coarse = step.get(self.resolution, 1)
        rounded = ((ticks + coarse // 2) // coarse * coarse).astype("datetime64[us]")
        unit = {"day": "D", "minute": "m"} | _DECIMALS
        zone = "Z" if self.utc and self.resolution != "day" else ""
        return [text + zone for text in np.datetime_as_string(rounded, unit=unit[self.resolution]).tolist()]


def year_lengths(years: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the beginnings, datetime64[us], and lengths in microseconds of years since 1970."""
    start = years.astype("datetime64[Y]").astype("datetime64[us]")
    end = (years + 1).astype("datetime64[Y]").astype("datetime64[us]")
    return start, (end - start).astype(np.float64)
