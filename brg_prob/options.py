"""What one flag is, and how its text is read: nothing heavy is imported, nothing evaluated."""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LITERAL = "object"
"""Annotation of an option that says nothing of its type: its text is read as a literal of Python."""


class UsageError(ValueError):
    """Bad input; the message is one line with the offending value and the remedy."""


@dataclass(frozen=True)
class Option:
    """One field of a dataclass as a flag.

    Attributes
    ----------
    name
        Name of the field.
    annotation
        Its type as written.
    default
        Its default as written, or None where it is required.
    help
        First sentence of its entry in the class's docstring.
    """

    name: str
    annotation: str
    default: str | None
    help: str = ""

    @property
    def metavar(self) -> str:
        """The kind of value, as shown in help."""
        choices = self.choices
        if choices:
            return "|".join(choices)
        kind = self._series or self.annotation.replace(" ", "").removesuffix("|None")
        known = {"int": "N", "float": "X", "bool": "true|false", "str": "TEXT", LITERAL: "VALUE"}
        known |= {"tuple[int,...]": "N,…", "tuple[float,...]": "X,…", "tuple[str,...]": "NAME,…"}
        return known.get(kind, "NAME")

    @property
    def _series(self) -> str | None:
        """``tuple[S,...]`` of a field that takes one S or several, such as ``float | tuple[float, ...]``."""
        tree, kinds = ast.parse(self.annotation, mode="eval").body, []
        while isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
            kinds.append(ast.unparse(tree.right).replace(" ", ""))
            tree = tree.left
        kinds.append(ast.unparse(tree).replace(" ", ""))
        return next((s for s in _SERIES if s in kinds and _one_of(s) in kinds), None)

    @property
    def choices(self) -> tuple[str, ...]:
        """The admitted words of a ``Literal``."""
        tree = ast.parse(self.annotation, mode="eval").body
        if isinstance(tree, ast.Subscript) and ast.unparse(tree.value).endswith("Literal"):
            return tuple(str(ast.literal_eval(item)) for item in _elements(tree.slice))
        return ()

    def parse(self, text: str, flag: str) -> Any:
        """Return the value of a flag, or raise UsageError with the flag, the text and what would do."""
        kind = self.annotation.replace(" ", "")
        if kind.endswith("|None"):
            if text.lower() == "none":
                return None
            kind = kind.removesuffix("|None")
        if self._series is not None:
            several = text.strip().startswith("(") or len(_COMMA.split(text)) > 1
            kind = self._series if several else _one_of(self._series)
        if self.choices:
            if text not in self.choices:
                raise UsageError(
                    f"{flag} {text!r} is unknown; use "
                    f"{' or '.join(self.choices)}{nearest(text, self.choices)}"
                )
            return text
        if kind == "str":
            return text
        if kind in _SERIES:
            return _series(text, flag, *_SERIES[kind])
        readers: dict[str, tuple[Callable[[str], Any], str]] = {
            "int": (int, "a whole number"),
            "float": (float, "a number"),
            "bool": (_boolean, "true or false"),
            LITERAL: (_literal, "a finite number, a boolean, text or a tuple of these"),
        }
        if kind not in readers:
            return Named.parse(text, flag)
        reader, meaning = readers[kind]
        try:
            return reader(text)
        except ValueError:
            example = f", for example {self.default}" if self.default not in (None, "None") else ""
            raise UsageError(f"{flag} {text!r} is not {meaning}; give one{example}") from None


@dataclass(frozen=True)
class Named:
    """An object given by name, ``FreeScalar`` or ``Matern(0.5)``, to be looked up in the model's file."""

    name: str
    values: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    called: bool = True

    @classmethod
    def parse(cls, text: str, flag: str) -> Named:
        """Return the name and its literal arguments; nothing is evaluated."""
        try:
            node = ast.parse(text.strip(), mode="eval").body
            if isinstance(node, ast.Name):
                return cls(node.id, called=False)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                options = tuple((str(k.arg), ast.literal_eval(k.value)) for k in node.keywords if k.arg)
                if len(options) == len(node.keywords):
                    return cls(node.func.id, tuple(ast.literal_eval(value) for value in node.args), options)
        except (SyntaxError, ValueError, MemoryError, RecursionError):  # the last two: nested too deeply
            pass
        raise UsageError(f"{flag} {text!r} is not a name; give NAME or NAME(option=value)")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" for a close word, else nothing.

    Examples
    --------
    >>> nearest("difusion", ["diffusion", "shell"])
    "; did you mean 'diffusion'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _elements(node: ast.expr) -> Sequence[ast.expr]:
    """Return the items of a subscript."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _name(text: str) -> str:
    """Return a name without blanks around it; there must be one."""
    if not text.strip():
        raise ValueError(text)
    return text.strip()


_SERIES: dict[str, tuple[Callable[[str], Any], str]] = {
    "tuple[int,...]": (int, "whole numbers"),
    "tuple[float,...]": (float, "numbers"),
    "tuple[str,...]": (_name, "names"),
}
_COMMA = re.compile(r",(?![^()]*\))")
"""A comma outside the arguments of a name: ``leaky_relu(0.2),tanh`` has one, ``(8, 4)`` none."""


def _one_of(series: str) -> str:
    """Return the type of one entry of a series."""
    return series.removeprefix("tuple[").removesuffix(",...]")


def _series(text: str, flag: str, reader: Callable[[str], Any], meaning: str) -> tuple[Any, ...]:
    """Return the numbers in ``64,32`` or ``(64, 32)``; ``()`` is none."""
    inner = text.strip()
    if inner == "()":
        return ()
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    try:
        return tuple(reader(word) for word in _COMMA.split(inner.strip().removesuffix(",")))
    except ValueError:
        raise UsageError(f"{flag} {text!r} is not a list of {meaning}; separate them by commas") from None


def _boolean(text: str) -> bool:
    """Return a boolean from true/false, yes/no, 1/0."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _literal(text: str) -> Any:
    """Return a number, boolean, None or tuple as Python writes it; any other text is text.

    Examples
    --------
    >>> [_literal(text) for text in ("8", "0.5", "true", "None", "8, 4", "relu", "'8'")]
    [8, 0.5, True, None, (8, 4), 'relu', '8']
    """
    words = {"true": True, "false": False, "none": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: nested too deeply
        value = text
    if not _is_literal(value) or text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise ValueError(text)
    return value


def _is_literal(value: Any) -> bool:
    """Return whether a value is one that an option may have."""
    if isinstance(value, tuple):
        return all(map(_is_literal, value))
    return isinstance(value, bool | int | str | None) or (isinstance(value, float) and math.isfinite(value))
