"""Dates and labels along an axis whose numbers stand for them, and beside these numbers in a table."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, num2date

from brg_prob.figures.style import safe_label
from brg_prob.tables import Calendar

_MOST_LABELS = 12
"""Levels beyond which an axis keeps numbers: more labels run into each other."""


def record_calendar(record: xr.Dataset) -> Calendar | None:
    """Return how the inputs of a record count time, if they do; reads the attribute ``calendar``."""
    stated = record.attrs.get("calendar")
    return Calendar.from_json(str(stated)) if stated else None


def record_texts(record: xr.Dataset) -> dict[str, np.ndarray]:
    """Return what the numbers of a record stand for: dates and labels as the table had them.

    Parameters
    ----------
    record
        Group ``record``: ``input`` (row) or (row, dim) and ``value`` (row); attributes ``inputs`` (names),
        ``calendars`` and ``levels`` (by name), JSON, and ``calendar`` of the first input.

    Returns
    -------
    dict
        ``input: NAME``, or ``input 2: NAME`` where there are several, and ``value: NAME`` → texts (row,), of
        the columns that have any; empty where the number stands for none.
    """
    first = str(record.attrs["input_name"])
    levels, calendars = (json.loads(str(record.attrs.get(key, "{}"))) for key in ("levels", "calendars"))
    if record.attrs.get("calendar"):
        calendars[first] = str(record.attrs["calendar"])
    names = json.loads(str(record.attrs.get("inputs", json.dumps([first]))))
    values = np.asarray(record["input"].values, float).reshape(record.sizes["row"], -1)
    heads = ["input"] if len(names) == 1 else [f"input {k + 1}" for k in range(len(names))]
    columns = [(head, name, values[:, k]) for k, (head, name) in enumerate(zip(heads, names, strict=True))]
    columns.append(("value", str(record.attrs["value_name"]), np.asarray(record["value"].values, float)))
    found = {}
    for head, name, numbers in columns:
        if name in calendars:
            texts = Calendar.from_json(calendars[name]).labels(numbers)
        elif name in levels:
            texts = [_label(levels[name], number) for number in numbers]
        else:
            continue
        found[f"{head}: {name}"] = np.array(texts, dtype=object)
    return found


def _label(labels: list[str], code: float) -> str:
    """Return the label of a code; empty for a missing one."""
    return labels[round(code)] if np.isfinite(code) and 0 <= round(code) < len(labels) else ""


def level_ticks(ax: Axes, record: xr.Dataset) -> None:
    """Put the labels of the input's levels along the axis, if it has few enough to be read."""
    labels = json.loads(str(record.attrs.get("levels", "{}"))).get(record.attrs["input_name"], [])
    if labels and len(labels) <= _MOST_LABELS:
        ax.set_xticks(range(len(labels)), [safe_label(label, 16) for label in labels])


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
