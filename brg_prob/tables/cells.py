"""One column of a file, as it stands there, to numbers: what its cells are, decided by the whole column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brg_prob.tables import numerals
from brg_prob.tables.calendar import Calendar, count
from brg_prob.tables.dates import NotDatesError, months_by_point, times_of
from brg_prob.tables.names import has_controls

MISSING = frozenset({"", "na", "n/a", "#n/a", "#na", "nan", "null", "none", "-", "--", ".", "?", "missing"})
"""Words for a missing cell, in lower case."""

_LONGEST = max(map(len, MISSING))
_USUAL = frozenset({"", "na", "n/a", "#n/a", "#na", "nan"})
_PAIRS = ({"no": 0, "yes": 1}, {"n": 0, "y": 1}, {"false": 0, "true": 1}, {"f": 0, "t": 1})
_STATED = ("false", "true")
_SHOWN = 12


class CellsError(ValueError):
    """A column that cannot be used; the message continues "column NAME of FILE …"."""


@dataclass(frozen=True)
class Marks:
    """What a text file says of the numbers in all its columns: its separator and its decimal marks."""

    separator: str = ""
    established: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Column:
    """One column as numbers.

    Attributes
    ----------
    values
        (n,) float64, NaN where a cell is missing; int64 for whole numbers, booleans and codes without one.
    kind
        ``"number"``, ``"boolean"``, ``"category"`` or ``"time"``.
    levels
        Labels of a boolean or category by code.
    calendar
        How the numbers of a time count.
    said
        What was recognised or converted, to stand behind the name of the column.
    whole
        Whether all cells but the missing ones are whole numbers or codes.
    """

    values: np.ndarray
    kind: str = "number"
    levels: tuple[str, ...] = ()
    calendar: Calendar | None = None
    said: tuple[str, ...] = ()
    whole: bool = False

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return the values in rows (n,) bool; whole ones are int64 again if none is missing there."""
        values = self.values[rows]
        return values.astype(np.int64) if self.whole and np.isfinite(values).all() else values

    def counts_rows(self) -> bool:
        """Return whether the values count the rows, from 0 or from 1."""
        return bool(np.array_equal(self.values - self.values[:1].clip(0, 1), np.arange(len(self.values))))


def read_column(cells: Any, marks: Marks) -> Column:
    """Return cells, text or any array, as a column.

    Raises
    ------
    CellsError
        Cells that are no numbers, times, booleans or categories, or can be read in two ways.
    """
    import pandas as pd

    if isinstance(cells, Text):
        return cells.column(marks)
    series = pd.Series(cells)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if pd.api.types.is_datetime64_any_dtype(series):
        return _moments(series)
    if pd.api.types.is_bool_dtype(series):
        return Column(series.to_numpy(dtype=bool).astype(np.int64), "boolean", _STATED)
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_complex_dtype(series):
        return Column(_as_numbers(series.to_numpy()))
    found = series[series.notna()]
    if all(isinstance(cell, str) for cell in found):
        return Text.of(series.to_numpy(dtype=object)).column(marks)
    if all(isinstance(cell, bool | np.bool_) for cell in found):
        codes = series.astype("boolean").to_numpy(dtype=np.float64, na_value=np.nan)
        return Column(codes, "boolean", _STATED, whole=True)
    first = str(series.iloc[0])[:40] if len(series) else str(series.dtype)
    if series.dtype == object:
        numbers = pd.to_numeric(series, errors="coerce")
        bad = series.notna() & numbers.isna()
        if not bad.any() and not pd.api.types.is_complex_dtype(numbers):
            return Column(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
        first = str(series[bad].iloc[0])[:40] if bad.any() else first
    raise CellsError(f"is not numeric (first such value {first!r}): convert it")


def _as_numbers(values: np.ndarray) -> np.ndarray:
    """Return numbers of any type as int64 where they are whole and fit, else as float64."""
    if values.dtype.kind in "iu" and not (values.dtype == np.uint64 and np.any(values >= 2**63)):
        return values.astype(np.int64)
    return values.astype(np.float64)


@dataclass(frozen=True)
class Text:
    """A column of text: its distinct cells in the order of the file, and which cell is which.

    Attributes
    ----------
    words
        The distinct cells, stripped, none missing.
    codes
        (n,) position in ``words``, −1 where a cell is missing.
    said
        What was said of missing cells.
    evidence
        What the cells tell of decimal marks.
    """

    words: list[str]
    codes: np.ndarray
    said: tuple[str, ...]
    evidence: numerals.Evidence

    @classmethod
    def of(cls, cells: Sequence[str | None] | np.ndarray) -> Text:
        """Return cells, None where missing, as a column of text."""
        import pandas as pd

        codes, raw = pd.factorize(np.asarray(cells, dtype=object))
        words = [word.strip() for word in raw]
        lost = [len(word) <= _LONGEST and word.lower() in MISSING for word in words]
        odd = {
            word: None for word, gone in zip(words, lost, strict=True) if gone and word.lower() not in _USUAL
        }
        if any(lost) or words != list(raw):
            present = [None if gone else word for word, gone in zip(words, lost, strict=True)]
            again, words = pd.factorize(np.array(present, dtype=object))
            codes = np.append(again, -1)[codes]
        said = (f"{' and '.join(map(repr, odd))} read as missing",) if odd else ()
        return cls(list(words), codes, said, numerals.evidence(words))

    def column(self, marks: Marks) -> Column:
        """Return the column that the text writes."""
        if not self.words:
            return self._spread([], said=())
        try:
            return self._column(marks)
        except (NotDatesError, numerals.AmbiguousError) as error:
            raise CellsError(str(error)) from None

    def _column(self, marks: Marks) -> Column:
        found, words = self.evidence, self.words
        if found.other is None and found.code is None and not months_by_point(words):
            return self._numbers(marks)
        for pair in _PAIRS:
            # a word of three letters has eight spellings
            if len(words) <= 64 and {word.lower() for word in words} <= pair.keys():
                return self._booleans(pair)
        times = times_of(words)
        if times is not None:
            values, calendar, said = count(times.values, times.style, times.utc)
            return self._spread(values.tolist(), "time", calendar=calendar, said=(said, *times.said))
        self._refuse_signs()
        if found.number is not None:
            self._refuse_mixture()
        return self._category()

    def _numbers(self, marks: Marks) -> Column:
        """Return the column of numbers, with the decimal mark that its cells, or else the file's, decide."""
        found = self.evidence
        mark = numerals.decimal_mark(found, marks.separator, marks.established)
        numbers, parted = numerals.values(self.words, mark)
        reason = " because semicolons separate" if marks.separator == ";" else ""
        sentences = {
            f"comma read as the decimal point{reason}": mark == "," and (found.comma or found.comma_group),
            "thousands separators removed": parted,
        }
        return self._spread(numbers, said=tuple(words for words, holds in sentences.items() if holds))

    def _booleans(self, pair: dict[str, int]) -> Column:
        """Return the column of the words of one pair, such as no and yes, as 0 and 1."""
        codes = [pair[word.lower()] for word in self.words]
        written = {code: word for word, code in reversed(list(zip(self.words, codes, strict=True)))}
        levels = tuple(written.get(code, word) for word, code in pair.items())
        return self._spread(codes, "boolean", levels, said=(f"{levels[1]} is 1 and {levels[0]} is 0",))

    def _category(self) -> Column:
        """Return the column of labels, coded in alphabetical order; labels that never recur are none."""
        words = self.words
        present = int(np.sum(self.codes >= 0))
        if len(words) == present:
            raise CellsError(
                f"is not numeric (first such value {words[0][:40]!r}) and no label recurs in "
                f"its {present} rows, as in names and free text: convert it"
            )
        bad = next((word for word in words if has_controls(word)), None)
        if bad is not None:
            raise CellsError(f"has control characters in {bad[:40]!r}: remove them")
        levels = tuple(sorted(words, key=lambda word: (word.casefold(), word)))
        code = {word: at for at, word in enumerate(levels)}
        shown = [f"{word[:40]} = {at}" for word, at in code.items()]
        if len(shown) > _SHOWN:
            shown = [*shown[: _SHOWN - 2], "…", shown[-1]]
        said: tuple[str, ...] = (f"{len(levels)} level{'s' * (len(levels) != 1)} ({', '.join(shown)})",)
        if self.evidence.code is not None:
            said = (f"numbers with leading zeros, such as {self.evidence.code[:40]}, are labels", *said)
        return self._spread([code[word] for word in words], "category", levels, said=said)

    def _refuse_signs(self) -> None:
        """Raise CellsError for numbers with a currency, a percent sign or a unit."""
        signed = numerals.with_sign(self.words)
        if signed is not None:
            raise CellsError(
                f"has {signed[:40]!r}, with a sign: write the number alone and 'name [unit]' in the header"
            )
        unit = numerals.common_unit(self.words)
        if unit is not None:
            raise CellsError(
                f"has {self.words[0][:40]!r}, with its unit: write the number alone and 'name [{unit[:20]}]' "
                "in the header"
            )

    def _refuse_mixture(self) -> None:
        """Raise CellsError for numbers among text; whole ones are labels where some have leading zeros."""
        found = self.evidence
        if found.code is not None:
            number = next((w for w in self.words if numerals.is_number(w) and not w.isdecimal()), None)
            if number is None:
                return
            raise CellsError(
                f"has {found.code[:40]!r}, with leading zeros, and {number[:40]!r}: write both in one way"
            )
        raise CellsError(f"is not numeric (first such value {(found.other or '')[:40]!r}): convert it")

    def _spread(
        self,
        numbers: Sequence[float],
        kind: str = "number",
        levels: tuple[str, ...] = (),
        calendar: Calendar | None = None,
        said: tuple[str, ...] = (),
    ) -> Column:
        """Return the column whose distinct cells are ``numbers``."""
        whole = all(isinstance(number, int) for number in numbers)
        if whole and np.all(self.codes >= 0):
            values = np.array(numbers, dtype=np.int64)[self.codes]
        else:
            values = np.append(np.array(numbers, dtype=np.float64), np.nan)[self.codes]
        return Column(values, kind, levels, calendar, said + self.said, whole)


def _moments(series: Any) -> Column:
    """Return times that the file states as such."""
    zoned = series.dt.tz is not None
    if zoned:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    present = series.notna().to_numpy()
    exact = series.to_numpy()[present]
    times = exact.astype("M8[us]")
    values = np.full(len(series), np.nan)
    if not present.any():
        return Column(values)
    values[present], calendar, said = count(times, utc=zoned)
    known = {"times converted to UTC": zoned, "times kept to the microsecond": bool(np.any(times != exact))}
    return Column(
        values, "time", calendar=calendar, said=(said, *(word for word, is_so in known.items() if is_so))
    )
