"""Numbers and names in words, the same in terminal, report, notebook and summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short(value: float, digits: int = 3) -> str:
    """Return a number in words: few digits, a true minus, powers of ten written out.

    Examples
    --------
    >>> short(-0.123456), short(1.2e-9), short(12345.0), short(float("inf"))
    ('−0.123', '1.2·10⁻⁹', '12300', '∞')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e6:
        return f"{rounded:.10g}".replace("-", "−")
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")


def listed(names: Sequence[str]) -> str:
    """Return names in a sentence.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    '“a”, “b” and “c”'
    """
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def named(names: Sequence[str]) -> str:
    """Return names in a sentence, without quotation marks.

    Examples
    --------
    >>> named(["diffusion", "shell"]), named(["diffusion"])
    ('diffusion and shell', 'diffusion')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
