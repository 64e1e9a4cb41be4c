"""Text files of separated cells: CSV and its relatives."""

from __future__ import annotations

import codecs
import csv
import io
import re
from itertools import zip_longest

from brg_prob.tables.cells import Marks, Text
from brg_prob.tables.contents import Contents, refuse_empty
from brg_prob.tables.dates import NotDatesError, times_of
from brg_prob.tables.names import TableError, names_and_units
from brg_prob.tables.numerals import file_marks, is_number

_SEPARATORS = ",;\t|"
# a spreadsheet's words for what it could not compute begin like comments
_CELL = re.compile(r'\s*"?#(?:N/?A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!)"?\s*(?:[,;\t|]|$)', re.IGNORECASE)
_STATED = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)


def read_separated(data: bytes, file: str) -> Contents:
    """Return the columns of a text file of separated cells.

    Raises
    ------
    TableError
        Bytes that are no text, no header, no rows, rows of more cells than the header.
    """
    lines, notes = _lines(_decoded(data, file), file)
    separator = _separator(lines)
    if _STATED.fullmatch(lines[0]):
        lines = lines[1:]
    if not lines:
        raise refuse_empty(file)
    try:
        cells = list(csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise TableError(f"{file} is not readable as CSV: {str(error).lower()}") from None
    header, rows = cells[0], cells[1:]
    _check_shape(lines[0], header, rows, file)
    columns = [Text.of(values) for values in _transposed(rows, len(header))]
    if header[0].strip() == "" and len(header) > 1 and _counts_rows(rows):
        header, columns = header[1:], columns[1:]
        notes = (*notes, "column 1 (unnamed) counts the rows and is left out")
    names, units = names_and_units(header, file)
    marks = Marks(separator, file_marks(column.evidence for column in columns))
    return Contents(dict(zip(names, columns, strict=True)), units, notes, marks)


def _transposed(rows: list[list[str]], width: int) -> list[tuple[str, ...]]:
    """Return the columns of rows; cells that a short row lacks are empty."""
    columns = list(zip_longest(*rows, fillvalue=""))
    return columns + [("",) * len(rows)] * (width - len(columns))


def _counts_rows(rows: list[list[str]]) -> bool:
    """Return whether the first cells count the rows, from 0 or from 1."""
    first = [row[0].strip() for row in rows]
    return first[0] in ("0", "1") and first == [str(int(first[0]) + at) for at in range(len(first))]


def _check_shape(line: str, header: list[str], rows: list[list[str]], file: str) -> None:
    """Raise TableError if there is no header, no row, or a row wider than the header."""
    if all(map(is_number, header)) or all(_is_number_or_time(cell) for cell in header):
        raise TableError(
            f"{file} has no header, its first line is {line.strip()[:60]!r}: add a line of column names"
        )
    if not rows:
        raise TableError(f"{file} has a header but no rows: at least two are needed")
    wide = next((row for row in rows if len(row) > len(header)), None)
    if wide is not None:
        raise TableError(
            f"{file} has a row of {len(wide)} values for {len(header)} columns: {','.join(wide)[:60]!r}"
        )


def _is_number_or_time(cell: str) -> bool:
    """Return whether a cell of a header can only be data."""
    if is_number(cell):
        return True
    try:
        return times_of([cell.strip()]) is not None
    except NotDatesError:
        return True


def _separator(lines: list[str]) -> str:
    """Return the separator: the one the first line states, else the commonest in the header."""
    stated = _STATED.fullmatch(lines[0])
    if stated:
        return stated[1]
    # separators inside quotes belong to a name
    header = re.sub(r'"[^"]*"', "", lines[0])
    if ";" in header and all(map(is_number, header.split(";"))):
        return ";"  # a row with decimal commas stands where the header should
    found = max(_SEPARATORS, key=header.count)
    # a bar can be part of a name, as in p(a|b): it separates only if the rows have it too
    return "," if found == "|" and not all("|" in line for line in lines[1:]) else found


def _decoded(data: bytes, file: str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark."""
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        raise TableError(f"{file} is not {name} text (byte {error.start}): save it as UTF-8") from None


def _lines(text: str, file: str) -> tuple[list[str], tuple[str, ...]]:
    """Return the lines that are neither blank nor comments, with their ends, and what is said of comments.

    Lines end where CSV says so; str.splitlines would also end them at form feeds and the like, inside a name.
    """
    lines: list[str] = []
    below = 0
    for line in io.StringIO(text, newline=""):
        # only whole lines are comments: '#' may be part of a name or a unit
        if line.lstrip().startswith("#") and not _CELL.match(line):
            below += bool(lines)
        elif line.strip():
            lines.append(line)
    if not lines:
        raise refuse_empty(file)
    said = (
        f"{below} line{'s' * (below != 1)} below the header begin{'s' * (below == 1)} with # and are comments"
    )
    return lines, (said.replace("are comments", "is a comment") if below == 1 else said,) * bool(below)
