"""A comparison in the terminal: theories, differences, runs, notes; 80 columns for one to six runs."""

from __future__ import annotations

import math
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from brg_prob.cli.terminal.progress import WIDEST
from brg_prob.comparison import LEVEL, Comparison, headline, leads, value_error
from brg_prob.comparison.pairs import Theory
from brg_prob.wording import short

_SHORT = {
    "mean field": "mean",
    "two-point function": "2-point",
    "four-point function": "4-point",
    "power spectrum": "power",
    "excess kurtosis": "kurtosis",
}


def print_comparison(comparison: Comparison, page: Path | None, console: Console | None = None) -> None:
    """Print what differs most, a row per theory, a row per difference, the runs, and the notes.

    Parameters
    ----------
    comparison
        From :func:`brg_prob.comparison.compare`.
    page
        Where the HTML page lies; None if there is none.
    console
        Default: stdout, at most 100 columns wide.
    """
    console = console or Console(highlight=False, width=min(Console().width, WIDEST))
    console.print(Text(headline(comparison), style="bold"))
    if len(comparison.names) <= 2:  # of more, the tables say it
        for sentence in leads(comparison):
            console.print(Text(sentence))
    console.print()
    reference = f"“{comparison.names[0]}”"
    several = not comparison.single
    tables = {
        "theories; KL (nats) and W₂ are those to the prior": _theories(comparison),
        "largest differences, in standard errors" + f", from {reference}" * several: _differences(comparison),
        f"posteriors against that of {reference}": _distances(comparison) if several else None,
        "runs": _runs(comparison),
    }
    for title, table in tables.items():
        if table is not None:
            console.print(Text(title, style="bold"))  # a table's own title folds at the table's width
            console.print(table)
            console.print()
    for note in comparison.notes:
        console.print(Text(f"note: {note}"))
    if page is not None:
        console.print(Text(f"page: {os.fspath(page)}"), soft_wrap=True)


def _theories(comparison: Comparison) -> Table:
    """Return the numbers of each theory, a row per theory."""
    table = _table("theory", "mass²", "d_eff", "KL", "W₂", "kurtosis", "score")
    for theory, row in zip(comparison.pairs.theories, comparison.rows, strict=True):
        _heading(table, comparison, theory, theory.run == 0)
        table.add_row(
            _name(comparison, theory),
            value_error(row["mass_squared"], row["mass_squared_se"], 1),
            short(row["effective_dimension"]),
            short(row["kl_to_prior"]),
            short(row["wasserstein"]),
            value_error(row["excess_kurtosis"], row["excess_kurtosis_se"], 1),
            value_error(row["score"], row["score_se"], 1),
        )
    return table


def _differences(comparison: Comparison) -> Table:
    """Return the largest difference of each quantity in standard errors, a row per contrast."""
    largest = comparison.largest_z
    table = _table("theory", *(_SHORT.get(words, words) for words in largest), "p (Holm)")
    for number, (theory, row) in enumerate(zip(comparison.contrasted, comparison.contrasts, strict=True)):
        cells = [_signed(z[number]) for z in largest.values()]
        style = "bold" if row["p_value"] < LEVEL else "default"
        _heading(table, comparison, theory, theory.run == 1)
        table.add_row(_name(comparison, theory), *cells, Text(_p_value(row["p_value"]), style=style))
    return table


def _distances(comparison: Comparison) -> Table | None:
    """Return distances and scores of the posteriors against the first one's; None if there are none."""
    values = ("kl", "wasserstein", "score_difference", "elpd_difference")
    if not any(math.isfinite(row[name]) for row in comparison.contrasts for name in values):
        return None
    table = _table("run", "KL (nats)", "W₂ per input", "Δ score", "Δ elpd")
    for theory, row in zip(comparison.contrasted, comparison.contrasts, strict=True):
        if theory.state == "posterior":
            mark = "" if row["paired"] or not math.isfinite(row["score_difference"]) else " *"
            table.add_row(
                Text(comparison.names[theory.run]),
                value_error(row["kl"], row["kl_se"]),
                value_error(row["wasserstein"], row["wasserstein_se"]),
                value_error(row["score_difference"], row["score_difference_se"]) + mark,
                value_error(row["elpd_difference"], row["elpd_difference_se"]),
            )
    if any(not row["paired"] and math.isfinite(row["score_difference"]) for row in comparison.contrasts):
        table.caption = "* unpaired"
        table.caption_justify = "left"
    return table


def _runs(comparison: Comparison) -> Table:
    """Return what the runs were."""
    table = _table("run")
    for head in ("network", "engine", "scheme"):
        table.add_column(head, overflow="fold")
    for head in ("T", "seed"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("found", overflow="fold")
    for name, row in zip(comparison.names, comparison.rows, strict=False):
        seed = "–" if row["seed"] < 0 else str(row["seed"])
        verdict = Text(row["verdict"])
        words = (Text(row[key]) for key in ("network", "engine", "scheme"))
        table.add_row(Text(name), *words, short(row["observations"], 6), seed, verdict)
    return table


def _table(first: str, *numbers: str) -> Table:
    """Return an empty table: a column of names, folded where they are long, then columns of numbers."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold", min_width=10, max_width=24)
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _name(comparison: Comparison, theory: Theory) -> Text:
    """Return the name of a theory in a table: of several runs the run's, of one the state."""
    return Text(theory.state if comparison.single else comparison.names[theory.run])


def _heading(table: Table, comparison: Comparison, theory: Theory, first: bool) -> None:
    """Add a line with the state of the theories that follow, of several runs."""
    if first and not comparison.single:
        table.add_row(Text(f"{theory.state}s", style="dim"))


def _signed(z: float) -> str:
    """Return a difference in standard errors with its sign."""
    return ("+" if z > 0 else "") + short(z, 2 if abs(z) < 100 else 3)


def _p_value(value: float) -> str:
    """Return a p-value with two digits, small ones as a bound."""
    if not math.isfinite(value):
        return "–"
    return "<1e-6" if value < 1e-6 else short(value, 2)
