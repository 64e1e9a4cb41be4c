"""What a reader takes away from a page: a drawing that stands alone, and the numbers behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

import pandas as pd

_FONT = "'DejaVu Sans', Verdana, Helvetica, sans-serif"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SAFE = "!$()*,-./:;=?@_~[]|^`{}'"  # what a double-quoted href holds unescaped


def standalone_svg(text: str, title: str, description: str, colours: Mapping[str, str]) -> str:
    """Return a page's inline drawing as an SVG document that opens alone, on white.

    Parameters
    ----------
    text
        From :func:`brg_prob.figures.svg`: colours are CSS variables, no namespace.
    title, description
        The drawing's message and what is seen, for readers who cannot see it.
    colours
        CSS variable → colour.
    """
    box = re.search(r'viewBox="([\d.eE+-]+) ([\d.eE+-]+) ([\d.eE+-]+) ([\d.eE+-]+)"', text)
    if box is None:
        raise ValueError("the drawing has no viewBox")
    width, height = box.group(3), box.group(4)
    body = text[text.index(">", box.end()) + 1 :]
    body = re.sub(r"var\(--([a-z]+)\)", lambda found: colours.get(found.group(1), _FONT), body)
    body = re.sub(r'(?<=\s)href="#', 'xlink:href="#', body)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}pt" height="{height}pt" {box.group(0)} role="img" font-family="{_FONT}" '
        'stroke-linejoin="round">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{body}'
    )


def csv_text(numbers: pd.DataFrame) -> str:
    """Return a table as CSV: UTF-8, a header, floats so that they read back bit by bit.

    Text that a spreadsheet would run as a formula is given a leading apostrophe.
    """
    table = numbers.rename(columns=lambda name: _inert(str(name)))
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = [_inert(value) if isinstance(value, str) else value for value in table[name]]
    return str(table.to_csv(index=False, lineterminator="\n"))


def data_uri(text: str, media: str) -> str:
    """Return a text file as a data: URI fit for a double-quoted attribute.

    Only what the URI or the attribute needs escaped is escaped, so the file stays readable.
    """
    return f"data:{media};charset=utf-8,{quote(text, safe=_SAFE)}"


def _inert(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
