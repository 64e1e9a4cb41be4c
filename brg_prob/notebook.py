"""How results look in a notebook and at a prompt: a small HTML table, and one line of text.

Neither shows an array. The tables take colour and font from the page around them, so that they read in a dark
notebook as in a light one, and every text in them is escaped: names of columns, networks and checks are a
user's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from brg_prob.headlines import answers_in_order, in_short, row_state
from brg_prob.wording import deviation

MARKS = {"agrees": "✓", "differs": "✗", "conflict": "✗", "not resolved": "?"}
"""What was found is told by sign and word, never by colour alone."""

_WRAP = "max-width:48em;font-variant-numeric:tabular-nums;margin:.3em 0"
_TABLE = "border-collapse:collapse;background:transparent;color:inherit;font-size:.92em"
_EDGE = "border:0;border-bottom:1px solid rgba(128,128,128,.4);padding:.25em .9em .25em 0"
_CELL = f"{_EDGE};text-align:left;vertical-align:top;white-space:normal;background:transparent;color:inherit"


def table_html(
    title: str, rows: Iterable[Sequence[Any]], *, columns: Sequence[str] = (), note: str = ""
) -> str:
    """Return a table that carries its own style.

    Parameters
    ----------
    title, note
        Caption, and a sentence below.
    rows
        Cells; the first of each row is its heading.
    columns
        Headings of the columns; none for a list of names and values.
    """
    head = ""
    if columns:
        cells = "".join(f'<th scope="col" style="{_CELL}">{_text(name)}</th>' for name in columns)
        head = f"<thead><tr>{cells}</tr></thead>"
    body = "".join(_row(row) for row in rows)
    below = f'<div style="padding:.4em 0;opacity:.8">{_text(note)}</div>' if note else ""
    caption = f'<caption style="text-align:left;color:inherit;padding:.2em 0"><b>{_text(title)}</b></caption>'
    table = f'<table style="{_TABLE}">{caption}{head}<tbody>{body}</tbody></table>'
    return f'<div style="{_WRAP}">{table}{below}</div>'


def one_line(kind: str, *parts: str) -> str:
    """Return ``<kind: part, part>``; line breaks and what a terminal would obey become blanks."""
    joined = ", ".join(part for part in parts if part)
    return f"<{kind}: {' '.join(''.join(c if c.isprintable() else ' ' for c in joined).split())}>"


def quantity(value: Any, unit: str = "") -> str:
    """Return a number with four digits and its unit, a dash where there is none.

    Examples
    --------
    >>> quantity(0.123456), quantity(None), quantity(444.0), quantity(2.0, "nats")
    ('0.1235', '–', '444', '2 nats')
    """
    if value is None or not math.isfinite(float(value)):
        return "–"
    return f"{float(value):.4g} {unit}".rstrip().replace("-", "−")


def state_text(state: str) -> str:
    """Return what was found with its sign."""
    return f"{MARKS.get(state, '·')} {state}"


def run_html(summary: Mapping[str, Any], attrs: Mapping[str, Any]) -> str:
    """Return a run as a table: both answers, what was run, how far its data reach.

    Parameters
    ----------
    summary
        The content of ``summary.json``.
    attrs
        Root attributes of the run's tree.
    """
    flow, fisher = summary["flow"], summary["fisher"]
    kl = next(iter(flow["kl_to_prior"]), None)
    rows = [
        *((title, f"{state_text(state)}. {said}") for title, state, said in answers_in_order(summary)),
        ("observations", f"{quantity(attrs.get('n'))}, trained at T = {quantity(summary['observations'])}"),
        (
            "effective dimension",
            f"{quantity(fisher['effective_dimension'])} of {len(fisher['eigenvalues'])} modes",
        ),
        ("KL from the prior", quantity(kl, "nats")),
        ("flows", f"{' and '.join(summary['flows'])} at {len(flow['scales'])} scales"),
        ("critical scale", quantity(summary["critical_scale"])),
        ("engine", f"{summary['engine']}, {attrs.get('draws', '–')} draws"),
        ("seed", "a key was passed" if summary["seed"] is None else summary["seed"]),
    ]
    model = summary["model"]
    note = f"brg_prob.Run · {model['file']}" if model["file"] else "brg_prob.Run"
    return table_html(f"Run of {model['name']}", rows, note=f"{note} · .tree holds the arrays")


def run_text(summary: Mapping[str, Any], attrs: Mapping[str, Any]) -> str:
    """Return a run as one line."""
    return one_line(
        "Run",
        str(summary["model"]["name"]),
        f"n = {quantity(attrs.get('n'))}",
        f"effective dimension {quantity(summary['fisher']['effective_dimension'])}",
        in_short(summary),
    )


def checks_html(rows: Sequence[Mapping[str, Any]], status: str) -> str:
    """Return checks, as :meth:`brg_prob.Checks.rows` gives them, as a table."""
    cells = [
        (
            row["name"],
            state_text(row_state(row)),
            quantity(row["p_value"]),
            deviation(row["smallest_detectable"], row.get("unit", "relative")),
            row["role"],
        )
        for row in rows
    ]
    columns = ("check", "found", "p-value", "smallest detectable", "role")
    return table_html("Checks", cells, columns=columns, note=status)


def _row(cells: Sequence[Any]) -> str:
    """Return one row; its first cell is a heading."""
    first, *rest = cells
    heading = f'<th scope="row" style="{_CELL};font-weight:600">{_text(first)}</th>'
    values = "".join(f'<td style="{_CELL}">{_text(cell)}</td>' for cell in rest)
    return f"<tr>{heading}{values}</tr>"


def _text(value: Any) -> str:
    """Return a value as escaped text."""
    return escape(str(value), quote=True)
