"""Dates and times as people write them: which reading a whole column allows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brg_prob.tables.numerals import LONGEST

_NAMES = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_FIRST = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = (
    r"(?:(?:T|\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[ap])\.?m\.?)?(?:\s*(?P<zone>z|utc|gmt|[+-]\d{2}(?::?\d{2})?))?)?"
)
_STYLES = {
    style: [re.compile(pattern, re.IGNORECASE | re.ASCII) for pattern in patterns]
    for style, patterns in {
        "year first": [rf"(?P<year>\d{{4}})([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}}){_TIME}"],
        "year last": [rf"(?P<a>\d{{1,2}})([-/.])(?P<b>\d{{1,2}})\2(?P<year>\d{{4}}){_TIME}"],
        "named month": [
            rf"{_DAY}[-/. ]*(?P<name>{_NAMES})\.?[-/., ]*{_YEAR}{_TIME}",
            rf"(?P<name>{_NAMES})\.?[-/ ]*{_DAY}(?:,\s*|[-/ ]+){_YEAR}{_TIME}",
        ],
        "month": [
            r"(?P<year>\d{4})[-/](?P<month>\d{1,2})",
            r"(?P<year>\d{4})M(?P<month>\d{1,2})",
            r"(?P<month>\d{1,2})[-/](?P<year>\d{4})",
            r"(?P<month>0[1-9]|1[0-2])\.(?P<year>\d{4})",
            rf"(?P<name>{_NAMES})\.?[-/, ]*(?P<year>\d{{4}})",
            rf"(?P<year>\d{{4}})[-/ ]*(?P<name>{_NAMES})\.?",
        ],
        "quarter": [r"(?P<year>\d{4})[-: ]?Q(?P<quarter>[1-4])", r"Q(?P<quarter>[1-4])[-/ ]?(?P<year>\d{4})"],
        "two-digit year": [
            rf"\d{{1,2}}([-/.])\d{{1,2}}\1\d{{2}}{_TIME}",
            rf"(?:\d{{1,2}}[-/. ])?(?:{_NAMES})\.?[-/. ']\d{{2}}",
        ],
    }.items()
}
_MAYBE = re.compile(r"\d|q\d|(?:" + "|".join(_FIRST) + ")", re.IGNORECASE)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?", re.ASCII)
_MONTH_BY_POINT = re.compile(r"(?:0[1-9]|1[0-2])\.[12]\d{3}", re.ASCII)


class NotDatesError(ValueError):
    """Dates that cannot be read, or in two ways; the message says which, and what to do."""


@dataclass(frozen=True)
class Times:
    """Times as read.

    Attributes
    ----------
    values
        (n,) datetime64[us].
    style
        How they are written; ``"month"`` and ``"quarter"`` are all that such times say.
    utc
        Whether they had zones and are in UTC.
    said
        What is said of their reading.
    """

    values: np.ndarray
    style: str
    utc: bool = False
    said: tuple[str, ...] = ()


def months_by_point(cells: Sequence[str]) -> bool:
    """Return whether all cells are months such as 02.2001, which otherwise were numbers."""
    return (
        bool(cells)
        and any(cell.startswith("0") for cell in cells)
        and all(map(_MONTH_BY_POINT.fullmatch, cells))
    )


def times_of(cells: Sequence[str]) -> Times | None:
    """Return the times that cells write, or None if none of them is a time.

    Raises
    ------
    NotDatesError
        Some are times and others are not, days that do not exist, several readings, zones beside none.
    """
    if all(map(_ISO.fullmatch, cells)):
        with contextlib.suppress(ValueError):  # the bad day is found below
            return Times(np.array(cells, dtype="M8[us]"), "year first")
    matches = [_match(cell) for cell in cells]
    first = next((match for match in matches if match), None)
    if first is None:
        return None
    style = first[0]
    for cell, match in zip(cells, matches, strict=True):
        if match is None or match[0] != style:
            one = cells[matches.index(first)]
            raise NotDatesError(
                f"holds the time {one!r} and {cell[:40]!r}: write all in one way, such as 2001-02-28"
            )
    if style == "two-digit year":
        raise NotDatesError(f"has {cells[0]!r}, a year of two digits: write all four")
    parts = [match[1] for match in matches if match]
    order = ""
    if style == "year last":
        order, parts = _day_and_month(cells, parts)
    zones = [part.get("zone") is not None for part in parts]
    if any(zones) and not all(zones):
        raise NotDatesError(
            f"has {cells[zones.index(True)]!r} with a time zone and {cells[zones.index(False)]!r} without: "
            "give all of them one, or none"
        )
    values = _times(cells, parts)
    sentences = {
        f"dates read as {order}": bool(order),
        "times converted to UTC": any(map(_shift, parts)),
        "times are UTC": any(zones) and not any(map(_shift, parts)),
        "times kept to the microsecond": any((part.get("fraction") or "")[6:].strip("0") for part in parts),
    }
    said = tuple(sentence for sentence, holds in sentences.items() if holds)
    return Times(values, style, any(zones), said)


def _match(cell: str) -> tuple[str, dict[str, Any]] | None:
    """Return the style of a time and its parts as they are written, or None."""
    if len(cell) > LONGEST or not _MAYBE.match(cell):
        return None
    for style, patterns in _STYLES.items():
        for pattern in patterns:
            match = pattern.fullmatch(cell)
            if match:
                return style, match.groupdict()
    return None


def _day_and_month(cells: Sequence[str], parts: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Return the one order of day and month that the whole column allows, and the parts with both.

    The order is empty where both give the same dates.
    """
    orders = {"DD/MM/YYYY": ("a", "b"), "MM/DD/YYYY": ("b", "a")}
    readings, failures = {}, {}
    for order, (day, month) in orders.items():
        read = [part | {"day": part[day], "month": part[month]} for part in parts]
        try:
            readings[order] = _times(cells, read), read
        except NotDatesError as error:
            failures[order] = error
    if not readings:
        if all(int(part["b"]) <= 12 for part in parts):
            raise failures["DD/MM/YYYY"]
        raise (
            failures["MM/DD/YYYY"] if all(int(part["a"]) <= 12 for part in parts) else _neither(cells, parts)
        )
    if len(readings) == 2 and np.any(readings["DD/MM/YYYY"][0] != readings["MM/DD/YYYY"][0]):
        doubtful = next(c for c, part in zip(cells, parts, strict=True) if int(part["a"]) != int(part["b"]))
        raise NotDatesError(
            f"has {doubtful!r}, which may be DD/MM/YYYY or MM/DD/YYYY: write it as YYYY-MM-DD"
        )
    order, (_, read) = next(iter(readings.items()))
    return (order if len(readings) == 1 else ""), read


def _neither(cells: Sequence[str], parts: list[dict[str, Any]]) -> NotDatesError:
    """Return that a column is neither DD/MM/YYYY nor MM/DD/YYYY, with a value against each."""
    first = next(c for c, part in zip(cells, parts, strict=True) if int(part["a"]) > 12)
    second = next(c for c, part in zip(cells, parts, strict=True) if int(part["b"]) > 12)
    return NotDatesError(f"has {first!r}, no MM/DD/YYYY, and {second!r}, no DD/MM/YYYY: write YYYY-MM-DD")


def _times(cells: Sequence[str], parts: list[dict[str, Any]]) -> np.ndarray:
    """Return times (n,) datetime64[us] in UTC, or by their own clock where they have no zone."""
    texts = [_text(part) for part in parts]
    try:
        values = np.array(texts, dtype="M8[us]")
    except ValueError:
        cell = next(cell for cell, text in zip(cells, texts, strict=True) if not _exists(text))
        raise NotDatesError(f"has {cell!r}, which is no time of the calendar: correct it") from None
    return values - np.array([_shift(part) for part in parts], dtype="m8[m]")


def _exists(text: str) -> bool:
    """Return whether ISO text is a time of the calendar."""
    try:
        np.datetime64(text, "us")
    except ValueError:
        return False
    return True


def _text(part: dict[str, Any]) -> str:
    """Return a time, by its own clock, as ISO text."""
    month = part.get("month") or 1
    if part.get("name"):
        month = _FIRST.index(part["name"][:3].lower()) + 1
    if part.get("quarter"):
        month = 3 * int(part["quarter"]) - 2
    text = f"{part['year']}-{int(month):02d}-{int(part.get('day') or 1):02d}"
    if part.get("hour"):
        hour = int(part["hour"])
        if part["half"]:  # 12 am is midnight
            hour = hour % 12 + 12 * (part["half"] in "pP") if 1 <= hour <= 12 else 99
        fraction = (part["fraction"] or "0")[:6]
        text += f"T{hour:02d}:{part['minute']}:{part['second'] or '00'}.{fraction}"
    return text


def _shift(part: dict[str, Any]) -> int:
    """Return by how many minutes the zone of a time is ahead of UTC."""
    zone = part.get("zone") or ""
    if not zone.startswith(("+", "-")):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 60 + int(digits[2:])) * (-1 if zone[0] == "-" else 1)
