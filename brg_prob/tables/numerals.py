"""Numbers as people write them: which mark is the decimal one, and which only part thousands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_KINDS = re.compile(
    r"(?P<code>0\d+)"
    r"|(?P<small>[+-]?\d{1,3})|(?P<large>[+-]?\d{4,})"
    r"|(?P<point_group>[+-]?[1-9]\d{0,2}\.\d{3})|(?P<comma_group>[+-]?[1-9]\d{0,2},\d{3})"
    r"|(?P<point>[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?))"
    r"|(?P<comma>[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?|(?:\d+(?:,\d+)?|,\d+)(?:[eE][+-]?\d+)?))",
    re.ASCII,
)
_SHAPE = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
LONGEST = 60
"""Characters of the longest cell that is looked at for a unit or a date."""

_ENOUGH = 3
"""Different cells such as 1,120 that are taken for thousands where commas separate the columns."""

_BEFORE_GAPS = frozenset("+-\u2212123456789")
_GAPS = " '\u2019\u00a0\u2009\u202f"  # spaces and apostrophes between thousands
_GAPPED = re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:[{_GAPS}]\d{{3}})+(?:[.,]\d+)?", re.ASCII)
_WITHOUT_GAPS = str.maketrans("", "", _GAPS)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_SIGNED = re.compile(
    r"[+-]?\s*(?:[€$£¥₹]|EUR|USD|GBP|CHF|JPY)\s*(?P<after>.+)"
    r"|(?P<before>.+?)\s*(?:[%‰€$£¥₹]|EUR|USD|GBP|CHF|JPY)"
)
_WITH_UNIT = re.compile(r"[+-]?\d[\d.,]*\s*(?P<unit>[^\d\s.,].*)", re.ASCII)


class AmbiguousError(ValueError):
    """Numbers that can be read in two ways; the message says which, and what to do."""


@dataclass(frozen=True)
class Evidence:
    """What the cells of one column tell of its marks; a cell stands for all of its kind, None for none.

    Attributes
    ----------
    point
        A cell that is a number only with a decimal point, such as 0.5 or 1,120.5.
    comma
        A cell that is a number only with a decimal comma, such as 0,5 or 1.120,5.
    comma_group
        A cell such as 1,120, which can be either.
    point_group
        A cell such as 1.120, which can be either.
    small, large
        A whole number without marks of up to three digits, and one of more.
    code
        A cell with leading zeros, such as 00123.
    number
        A cell that is a number in any of these ways.
    other
        A cell that is no number.
    groups
        How many different cells are such as 1,120.
    """

    point: str | None = None
    comma: str | None = None
    comma_group: str | None = None
    point_group: str | None = None
    small: str | None = None
    large: str | None = None
    code: str | None = None
    number: str | None = None
    other: str | None = None
    groups: int = 0


def evidence(cells: Iterable[str]) -> Evidence:
    """Return what cells tell of the marks of their numbers.

    Examples
    --------
    >>> found = evidence(["801", "1,120"])
    >>> found.small, found.comma_group, found.comma
    ('801', '1,120', None)
    """
    found: dict[str, Any] = {}
    groups: set[str] = set()
    for cell in cells:
        kind = _kind(cell)
        if kind == "comma_group":
            groups.add(cell)
        if kind not in found:
            found[kind] = cell
    numbers = [cell for kind, cell in found.items() if kind not in ("code", "other")]
    return Evidence(**(found | {"number": numbers[0] if numbers else None, "groups": len(groups)}))


def _kind(cell: str) -> str:
    """Return the field of Evidence that a cell belongs to."""
    if not _SHAPE.fullmatch(cell):
        plain = plain_signs(cell) if cell[:1] in _BEFORE_GAPS else cell
        if not _SHAPE.fullmatch(plain):
            return "number" if _INFINITE.fullmatch(cell) else "other"
        cell = plain
    match = _KINDS.fullmatch(cell)
    return (match.lastgroup or "other") if match else "other"


def plain_signs(cell: str) -> str:
    """Return a cell with a plain minus sign and without gaps between thousands."""
    cell = cell.replace("\u2212", "-")  # the minus sign of typeset tables
    return cell.translate(_WITHOUT_GAPS) if _GAPPED.fullmatch(cell) else cell


def file_marks(columns: Iterable[Evidence]) -> frozenset[str]:
    """Return the decimal marks that the columns of numbers of a file establish."""
    numbers = [column for column in columns if column.other is None and column.code is None]
    pairs = ((".", "point"), (",", "comma"))
    return frozenset(mark for mark, name in pairs if any(getattr(column, name) for column in numbers))


def decimal_mark(found: Evidence, separator: str, established: frozenset[str]) -> str:
    """Return the decimal mark of a column of numbers.

    Parameters
    ----------
    found
        What its cells tell.
    separator
        What separates the cells of the file; semicolons do so where the comma is the decimal mark.
    established
        The marks that the columns of the file establish.

    Raises
    ------
    AmbiguousError
        Two readings, and nothing that decides.
    """
    if found.point and found.comma:
        raise AmbiguousError(
            f"writes {found.comma[:40]!r} with a decimal comma and {found.point[:40]!r} with a decimal "
            "point: write one"
        )
    if found.point or found.comma:
        return "." if found.point else ","
    if found.comma_group and found.point_group:
        raise AmbiguousError(_two_readings(found.comma_group))
    if found.comma_group:
        return _mark_beside_groups(found, separator, established)
    if found.point_group and established == {","}:
        if found.large:
            raise AmbiguousError(_two_readings(found.point_group))
        return ","
    if found.point_group and separator == ";" and not established and not found.large:
        # semicolons stand where the comma is the decimal mark: the point may be one of thousands
        raise AmbiguousError(_two_readings(found.point_group))
    return "."


def _mark_beside_groups(found: Evidence, separator: str, established: frozenset[str]) -> str:
    """Return the decimal mark of a column whose only marks are commas before three digits."""
    assert found.comma_group is not None
    if len(established) == 1:
        return next(iter(established))
    # with a decimal comma, some would have one or two digits behind it; with thousands, none below 1000 has
    thousands = found.small is not None and found.large is None
    if separator != ";" and not established and found.large is None and found.groups >= _ENOUGH:
        return "."  # decimal commas would hardly all have three digits behind them
    if established or thousands == (separator == ";"):
        raise AmbiguousError(_two_readings(found.comma_group))
    return "." if thousands else ","


def _two_readings(cell: str) -> str:
    """Return that a cell such as 1,120 or 1.120 can be two numbers."""
    digits = plain_signs(cell)
    whole, fraction = digits.replace(",", "").replace(".", ""), float(digits.replace(",", "."))
    return (
        f"has {cell!r}, which may be {whole} or {fraction:g}: write it without thousands separators and with "
        "a decimal point"
    )


def values(cells: Sequence[str], mark: str) -> tuple[list[float] | list[int], bool]:
    """Return cells as numbers, whole ones if all are written so, and whether thousands were parted.

    Examples
    --------
    >>> values(["801", "1,120"], ".")
    ([801, 1120], True)
    >>> values(["1,5"], ",")
    ([1.5], False)
    """
    plain, numbers, parted = list(cells), [], False
    if mark == ".":
        with contextlib.suppress(ValueError):  # marks that a computer does not know
            numbers = [*map(float, plain)]
    if not numbers:
        group = "," if mark == "." else "."
        signed = [cell.replace("\u2212", "-") for cell in cells]
        plain = [plain_signs(cell).replace(group, "") for cell in cells]
        parted = plain != signed
        plain = [cell.replace(mark, ".") for cell in plain]
        numbers = [*map(float, plain)]
    # a negative zero is a number of its own, and 2⁶³ has no place among int64
    whole = all(_WHOLE.fullmatch(cell) and cell != "-0" for cell in plain)
    if not whole or any(abs(number) >= 2**63 for number in numbers):
        return numbers, parted
    return [*map(int, plain)], parted


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with whichever decimal mark."""
    return _kind(cell.strip()) not in ("code", "other")


def with_sign(cells: Iterable[str]) -> str | None:
    """Return the first cell that is a number with a currency's or percent sign, if there is one.

    Examples
    --------
    >>> with_sign(["5", "$6", "7 %"])
    '$6'
    """
    for cell in cells:
        match = _SIGNED.fullmatch(cell) if len(cell) <= LONGEST else None
        if match and is_number(match["after"] or match["before"]):
            return cell
    return None


def common_unit(cells: Sequence[str]) -> str | None:
    """Return the unit that stands behind every number, if there is one: kg in ['5 kg', '6 kg']."""
    common = None
    for cell in cells:
        match = _WITH_UNIT.fullmatch(cell) if len(cell) <= LONGEST else None
        if match is None or common not in (None, match["unit"]):
            return None
        common = match["unit"]
    return common
