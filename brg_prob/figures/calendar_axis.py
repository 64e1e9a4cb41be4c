"""Dates along an axis whose numbers count on a calendar."""

from __future__ import annotations

import datetime as dt

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, num2date

from brg_prob.tables import Calendar


def record_calendar(record: xr.Dataset) -> Calendar | None:
    """Return how the inputs of a record count time, if they do; reads the attribute ``calendar``."""
    stated = record.attrs.get("calendar")
    return Calendar.from_json(str(stated)) if stated else None


def calendar_ticks(ax: Axes, calendar: Calendar) -> None:
    """Put ticks at round dates, labelled by as much of the date as tells them apart.

    The numbers of the axis stay as they are. Dates outside the years 1 to 9999 keep numbers.
    """
    low, high = (moment.item() for moment in calendar.times(np.array(ax.get_xlim())))
    if not (isinstance(low, dt.datetime) and isinstance(high, dt.datetime) and low < high):
        return
    places = num2date(AutoDateLocator(minticks=3, maxticks=7).tick_values(low, high))
    times = np.array([place.replace(tzinfo=None) for place in places], dtype="M8[us]")
    if calendar.resolution in ("month", "quarter"):  # days between them are no places of this axis
        times = np.unique(calendar.times(calendar.values(times)))
    at = calendar.values(times)
    inside = (at >= min(ax.get_xlim())) & (at <= max(ax.get_xlim()))
    ax.set_xticks(at[inside], _labels(times[inside], calendar))


def _labels(times: np.ndarray, calendar: Calendar) -> list[str]:
    """Return years, months, days or times of day: the coarsest that states every tick."""
    for code in ("Y", "M", "D"):
        if np.array_equal(times.astype(f"M8[{code}]").astype("M8[us]"), times):
            if code == "M" and calendar.resolution == "quarter":
                break
            return [str(text) for text in np.datetime_as_string(times.astype(f"M8[{code}]"))]
    return [text.removesuffix("Z").replace("T", "\n") for text in calendar.labels(calendar.values(times))]
