"""A small page and a table for a script's findings: measured figures beside the formula's.

The page is one self-contained HTML file with inline SVG, in the style of the library's reports.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from brg_prob.figures import Picture, svg
from brg_prob.report.page import style_sheet

_COLUMNS = (35, 18, 18, 9)
"""Widths of the four columns of a printed table: 80 characters."""
_WIDE = 8.0
"""Figures wider than this many inches take a row of the page to themselves."""


@dataclass(frozen=True)
class Finding:
    """One measured figure beside what the formula, or the paper, says.

    Attributes
    ----------
    quantity
        What was measured, with its setting.
    measured, formula
        Both as text, units included.
    verdict
        ``agrees``, ``differs``, ``undecided``; ``limit`` where the formula is a limit that this setting
        is not in; ``measured`` where there is none, ``quoted`` where nothing was measured.
    """

    quantity: str
    measured: str
    formula: str
    verdict: str


@dataclass(frozen=True)
class Chapter:
    """Findings under one heading; ``message`` says in a sentence what they teach."""

    title: str
    message: str
    findings: tuple[Finding, ...]


def verdict(holds: bool) -> str:
    """Return ``agrees`` or ``differs``."""
    return "agrees" if holds else "differs"


def number(value: float, digits: int = 3) -> str:
    """Return a number for a table.

    Examples
    --------
    >>> number(0.123456), number(2.5e-14), number(160.0)
    ('0.123', '2.5e-14', '160')
    """
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e" in text and 1 <= abs(value) < 1e6 else text


def table_lines(chapters: Iterable[Chapter], beside: str = "formula") -> Iterator[str]:
    """Yield the findings as lines of at most 80 characters; ``beside`` heads what they are held against."""
    head = Finding("", "measured", beside, "")
    for chapter in chapters:
        yield ""
        yield from textwrap.wrap(chapter.title, 80)
        yield "-" * 80
        yield from _row(head)
        for finding in chapter.findings:
            yield from _row(finding)
        yield from textwrap.wrap(chapter.message, 80)


def _row(finding: Finding) -> Iterator[str]:
    """Yield one finding, its cells wrapped in their columns."""
    cells = (finding.quantity, finding.measured, finding.formula, finding.verdict)
    wrapped = [textwrap.wrap(cell, width - (width > 9)) for cell, width in zip(cells, _COLUMNS, strict=True)]
    for line in range(max(len(cell) for cell in wrapped)):
        parts = [cell[line] if line < len(cell) else "" for cell in wrapped]
        yield "".join(part.ljust(width) for part, width in zip(parts, _COLUMNS, strict=True)).rstrip()


def render_page(
    *,
    title: str,
    lead: str,
    chapters: Sequence[Chapter],
    pictures: Sequence[Picture],
    command: str,
    note: str,
) -> str:
    """Return the page; every text is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_TEMPLATE).render(
        style=Markup(style_sheet()),  # the library's own file
        title=title,
        lead=lead,
        chapters=chapters,
        drawings=[(p, Markup(svg(p)), p.figure.get_figwidth() > _WIDE) for p in pictures],
        command=command,
        note=note,
    )


def write_results(folder: Path, summary: dict[str, Any], page: str) -> None:
    """Write summary.json and report.html, each aside first and then renamed over an older one."""
    texts = {
        "report.html": page,
        "summary.json": json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    aside = {name: folder / f".{name}.{os.getpid()}" for name in texts}
    try:
        for name, text in texts.items():
            aside[name].write_text(text, encoding="utf-8")
        for name, path in aside.items():
            path.replace(folder / name)
    finally:
        for path in aside.values():
            path.unlink(missing_ok=True)


def as_rows(chapters: Iterable[Chapter]) -> list[dict[str, Any]]:
    """Return the chapters for summary.json."""
    return [asdict(chapter) for chapter in chapters]


_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<link rel="icon" href="data:,">
<style>
{{ style }}
td.agrees { color: var(--good); } td.differs { color: var(--bad); }
td.limit, td.undecided { color: var(--unsure); }
figure.wide { grid-column: 1 / -1; }
figure.wide > div { overflow-x: auto; }
figure.wide svg { min-width: 42rem; }
@media print { figure.wide svg { min-width: 0; } }
</style>
</head>
<body>
<header class="top">
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
</header>
<main>
<div class="gallery">
{% for picture, drawing, wide in drawings %}
<figure id="{{ picture.name }}"{% if wide %} class="wide"{% endif %}>
<h3>{{ picture.title }}</h3>
<div role="img" tabindex="0" aria-label="{{ picture.alt }}">{{ drawing }}</div>
<figcaption>{{ picture.caption }}</figcaption>
</figure>
{% endfor %}
</div>
{% for chapter in chapters %}
<h2>{{ chapter.title }}</h2>
<p>{{ chapter.message }}</p>
<div class="scroll"><table>
<thead><tr><th>quantity</th><th>measured</th><th>formula</th><th>verdict</th></tr></thead>
<tbody>
{% for row in chapter.findings %}
<tr><td>{{ row.quantity }}</td><td>{{ row.measured }}</td><td>{{ row.formula }}</td>
<td class="word {{ row.verdict }}">{{ row.verdict }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
<p class="note">{{ note }}</p>
<h2>To reproduce it</h2>
<pre>{{ command }}</pre>
</main>
<footer>Made by brg_prob. Colours after Okabe and Ito.</footer>
</body>
</html>
"""
