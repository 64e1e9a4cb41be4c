"""What every page shares: templates, filters, palette, figures with their downloads, and a policy.

A page is one file that asks nothing of a network: style, scripts, drawings and the files to
download are inside, and its content security policy names each script by its hash, so that no
other runs whatever text stands in the page. Text from users passes through jinja2's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from brg_prob.figures import Picture, svg
from brg_prob.files import PAGE_SEAL, UNSEALED, page_bytes, sealed
from brg_prob.report.download import csv_text, data_uri, standalone_svg
from brg_prob.wording import deviation, short

LIGHT = {
    "paper": "#fbfbfa",
    "card": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#56606e",
    "grid": "#e2e6ea",
    "line": "#d5dae0",
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "vermilion": "#d55e00",
    "sky": "#56b4e9",
    "purple": "#cc79a7",
    "good": "#00694d",
    "bad": "#a83f00",
    "unsure": "#6b5200",
}
"""CSS variable → colour in the light theme and in downloaded drawings."""

DARK = {
    "paper": "#14171b",
    "card": "#1b1f25",
    "ink": "#e8eaed",
    "muted": "#a3adba",
    "grid": "#2c323a",
    "line": "#363d47",
    "blue": "#5db4ea",
    "orange": "#f0b429",
    "green": "#2fc79a",
    "vermilion": "#ff8a4a",
    "sky": "#56b4e9",
    "purple": "#dd9cc0",
    "good": "#4fd6ae",
    "bad": "#ff9a62",
    "unsure": "#f0c75a",
}
"""CSS variable → colour in the dark theme."""

PRINT = LIGHT | {
    "paper": "#ffffff",
    "ink": "#000000",
    "muted": "#444444",
    "grid": "#dddddd",
    "line": "#bbbbbb",
}
"""CSS variable → colour on paper."""

MOST_DOWNLOADS = 3_000_000
"""Bytes of all files to download that one page carries; the largest are left out beyond it."""


_SAMPLE = 1000


@dataclass(frozen=True)
class Drawing:
    """A picture ready for a page.

    Attributes
    ----------
    name, title, caption, alt, section
        As in :class:`brg_prob.figures.Picture`.
    svg
        The drawing, in CSS variables.
    files
        What the reader can take away: (kind, file name, data: URI), kind ``SVG`` or ``CSV``.
    left_out
        Kinds that the page had no room for.
    """

    name: str
    title: str
    caption: str
    alt: str
    section: str
    svg: Markup
    files: tuple[tuple[str, str, Markup], ...] = ()
    left_out: tuple[str, ...] = ()


def drawings(pictures: Iterable[Picture], *, prefix: str = "", most: int = MOST_DOWNLOADS) -> list[Drawing]:
    """Return pictures as drawings with their downloads.

    Parameters
    ----------
    pictures
        In the order of the page; their names must differ.
    prefix
        What file names begin with, for example the run's name.
    most
        Bytes of all downloads together. The smallest files go first; what does not fit is
        named in ``left_out``.
    """
    drawn = [(picture, svg(picture)) for picture in pictures]
    packed = [(at, *file) for at, (picture, text) in enumerate(drawn) for file in _files(picture, text, most)]
    room, fits = most, set()
    for at, kind, uri in sorted(packed, key=lambda entry: len(entry[2])):
        if uri and len(uri) <= room:
            room -= len(uri)
            fits.add((at, kind))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{prefix}-") if prefix else ""
    return [
        Drawing(
            name=picture.name,
            title=picture.title,
            caption=picture.caption,
            alt=picture.alt,
            section=picture.section,
            svg=Markup(text),  # matplotlib's own escaping
            files=tuple(
                (kind, f"{stem}{picture.name}.{kind.lower()}", Markup(uri))
                for where, kind, uri in packed
                if where == at and (at, kind) in fits
            ),
            left_out=tuple(kind for where, kind, _ in packed if where == at and (at, kind) not in fits),
        )
        for at, (picture, text) in enumerate(drawn)
    ]


def _files(picture: Picture, text: str, most: int) -> list[tuple[str, str]]:
    """Return the downloads of a picture as (kind, data: URI); none where the table alone is too large."""
    alone = standalone_svg(text, picture.title, picture.alt, LIGHT)
    files = [("SVG", data_uri(alone, "image/svg+xml"))]
    numbers = picture.numbers
    if len(numbers):
        first = numbers.head(_SAMPLE)
        # what its first rows show not to fit is not written out
        fits = len(first) == len(numbers) or len(csv_text(first)) * len(numbers) <= 1.2 * most * len(first)
        files.append(("CSV", data_uri(csv_text(numbers), "text/csv") if fits else ""))
    return files


def render_page(
    template: str, *, scripts: Sequence[str] = (), data: dict[str, Any] | None = None, **context: Any
) -> str:
    """Return a page from a template that extends ``base.html.jinja``, sealed: a change of it shows.

    Parameters
    ----------
    template
        File name beside this module. Its blocks: ``title``, ``header``, ``main``, ``footer``.
    scripts
        JavaScript of this project, after the one that switches the theme. Each gets its hash
        in the policy.
    data
        Identifier → JSON content, readable for scripts as
        ``JSON.parse(document.getElementById(identifier).textContent)``.
    context
        The template's variables. ``contents``: a list of (anchor, title) makes the table of
        contents.
    """
    texts = [_file("theme.js"), *scripts]
    text = (
        environment()
        .get_template(template)
        .render(
            unsealed=UNSEALED,
            policy=_policy(texts),
            scripts=[Markup(text) for text in texts],
            data=[(name, script_json(content)) for name, content in (data or {}).items()],
            contents=context.pop("contents", ()),
            **context,
        )
    )
    return sealed(page_bytes(text), PAGE_SEAL).decode()


@cache
def environment() -> Environment:
    """Return the templates of this folder; escaping is on for every value, a missing one raises."""
    made = Environment(
        loader=PackageLoader("brg_prob.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, deviation=deviation, probability=probability, decimals=decimals)
    made.globals["style"] = Markup(style_sheet())  # our own file, trusted
    return made


def style_sheet() -> str:
    """Return the style of every page: the three palettes, then ``report.css``."""
    light, dark, paper = (_variables(palette) for palette in (LIGHT, DARK, PRINT))
    return "\n".join(
        [
            f":root {{ color-scheme: light dark; {light} }}",
            "@media (prefers-color-scheme: dark) "
            f'{{ :root:not([data-theme="light"]) {{ color-scheme: dark; {dark} }} }}',
            f':root[data-theme="dark"] {{ color-scheme: dark; {dark} }}',
            ':root[data-theme="light"] { color-scheme: light; }',
            _file("report.css"),
            # thrice the same: stronger than the theme chosen above
            f"@media print {{ :root:root:root {{ color-scheme: light; {paper} }} }}",
        ]
    )


def script_json(content: Any) -> Markup:
    r"""Return JSON that can stand in a script element: no character of it ends the element.

    Examples
    --------
    >>> print(script_json({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table: few digits, no trailing noise, a dash where there is none.

    Examples
    --------
    >>> number(0.123456), number(None), number(3.2e-9), number(12345.6, 4)
    ('0.123', '–', '3.2·10⁻⁹', '12350')
    """
    return "–" if value is None or not math.isfinite(value) else short(value, digits)


def probability(value: float | None) -> str:
    """Return a p-value with two digits; below 10⁻⁶ as a bound."""
    return "< 10⁻⁶" if value is not None and value < 1e-6 else number(value, 2)


def decimals(value: float) -> str:
    """Return a number with three decimals, or a dash."""
    return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else "–"


def _policy(scripts: Sequence[str]) -> str:
    """Return a content security policy: these scripts, inline style, nothing fetched."""
    hashes = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _variables(palette: dict[str, str]) -> str:
    """Return a palette as CSS variables."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


@cache
def _file(name: str) -> str:
    """Return a text file beside this module."""
    return (files("brg_prob.report") / name).read_text(encoding="utf-8")
