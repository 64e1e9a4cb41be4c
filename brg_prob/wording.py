"""Numbers of a check in words, the same in terminal, report, notebook and summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def deviation(size: float | None, unit: str = "relative") -> str:
    """Return the size of a deviation with its unit; what is mere rounding as a bound, a dash without one.

    Parameters
    ----------
    size
        A fraction (``relative``) or a shift in standard deviations of a draw (``sd``).

    Examples
    --------
    >>> deviation(0.021), deviation(1e-9), deviation(0.1432, "sd"), deviation(None)
    ('2.1 %', '< 0.1 %', '0.14 sd', '–')
    """
    if size is None or not math.isfinite(size):
        return "–"
    if unit == "sd":
        return f"{size:.2g} sd"
    if size < 1e-3:
        return "< 0.1 %"
    return f"{100 * size:.1f} %" if size < 0.995 else f"{100 * size:.0f} %"


def detectable_deviation(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the largest deviation of each kind that some check would just have found.

    Parameters
    ----------
    rows
        Checks under the keys of summary.json. Rows without ``unit`` are relative.

    Returns
    -------
    str
        Empty where no check knows its power.

    Examples
    --------
    >>> detectable_deviation([{"smallest_detectable": 0.02}, {"smallest_detectable": 0.3, "unit": "sd"}])
    'a common deviation of 2.0 % and a shift of 0.3 sd'
    """
    words = {"relative": "a common deviation", "sd": "a shift"}
    sizes = {
        unit: [
            float(size)
            for row in rows
            if row.get("unit", "relative") == unit
            and (size := row["smallest_detectable"]) is not None
            and math.isfinite(size)
        ]
        for unit in words
    }
    return " and ".join(
        f"{words[unit]} of {deviation(max(found), unit)}" for unit, found in sizes.items() if found
    )
