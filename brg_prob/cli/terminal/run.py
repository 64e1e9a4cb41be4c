"""A run in the terminal: a table and the checks at its end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brg_prob.cli.terminal.progress import WIDEST
from brg_prob.cli.terminal.sloppiness_tables import sloppiness_blocks
from brg_prob.summary import branches, data_sentence, deciding_columns, verdict_sentence
from brg_prob.wording import deviation

COLOURS = {"consistent": "green", "inconsistent": "red", "undetermined": "yellow"}
NOTHING = "–"
"""In place of a number that is not there."""


def print_result(run: Any, folder: Path, console: Console | None = None) -> None:
    """Print the scales, the checks, the verdict, and where the report lies.

    Parameters
    ----------
    run
        Anything with ``tree`` and ``summary``.
    folder
        The run folder.
    console
        Default: stdout, at most 100 columns wide.
    """
    console = console or Console(highlight=False, width=min(Console().width, WIDEST))
    for branch in branches(run.tree):
        console.print(_scale_table(branch))
        console.print()
    for block in sloppiness_blocks(run.tree):
        console.print(block)
        console.print()
    if run.summary["checks"]:
        console.print(_check_table(run.summary["checks"]))
        console.print()
    verdict = run.summary["verdict"]
    console.print(
        Text(f"{verdict}: ", style=f"bold {COLOURS[verdict]}")
        + Text(verdict_sentence(run.summary), style="default")
    )
    if data_sentence(run.summary):
        console.print(Text(data_sentence(run.summary)))
    console.print(Text(f"report: {folder / 'report.html'}"), soft_wrap=True)


def _scale_table(branch: xr.DataTree) -> Table:
    """Return one flow as a table, a row per scale; what no scale has is left out."""
    flow = branch["flow"].to_dataset()
    theory = branch["theory"].to_dataset() if "theory" in branch.children else xr.Dataset()
    deciding = deciding_columns(branch)
    table = Table(
        title=f"{flow.attrs['scheme']}", box=None, title_justify="left", title_style="bold", pad_edge=False
    )
    scales = range(flow.sizes["scale"])
    columns = {
        "T": [_number(_at(flow, "observations", at)) for at in scales],
        "Λ′": [_number(_at(theory, "momentum_cutoff", at)) for at in scales],
        "d_eff": [_number(_at(flow, "effective_dimension", at)) for at in scales],
        "KL": [_number(_at(flow, "kl_to_prior", at)) for at in scales],
        "score ± s.e.": [_score(flow, at) for at in scales],
    }
    shown = {head: cells for head, cells in columns.items() if head == "T" or set(cells) != {NOTHING}}
    for head in shown:
        table.add_column(head, justify="right", no_wrap=True)
    for name, _ in deciding:
        table.add_column(Text(f"p {name}"), justify="right", max_width=14)
    for at in scales:
        cells = [column[at] for column in shown.values()]
        table.add_row(*cells, *(_p_value(float(p_values[at])) for _, p_values in deciding))
    return table


def _score(flow: xr.Dataset, at: int) -> str:
    """Return the predictive score at a scale with its error, or a dash."""
    score, error = _at(flow, "test_score", at), _at(flow, "test_score_se", at)
    return f"{score:.3f} ± {error:.3f}" if math.isfinite(score) else NOTHING


def _check_table(rows: list[dict[str, Any]]) -> Table:
    """Return the checks as a table."""
    table = Table(title="checks", box=None, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("check", overflow="fold")
    table.add_column("flow", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("detects", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        colour = COLOURS[row["verdict"]] if row["role"] != "control" else "default"
        verdict = row["verdict"]
        if row["role"] == "control":
            verdict = "rejected, as it must be" if verdict == "inconsistent" else "control not rejected"
        table.add_row(
            Text(row["name"]),
            Text(row["flow"]),
            _p_value(row["p_value"]),
            deviation(row["smallest_detectable"], row["unit"]),
            Text(verdict, style=colour),
        )
    return table


def _at(dataset: xr.Dataset, name: str, index: int) -> float:
    """Return an entry of a variable, or NaN where it is missing."""
    return float(np.asarray(dataset[name].values, dtype=float)[index]) if name in dataset else math.nan


def _number(value: float) -> str:
    """Return three significant digits, or a dash."""
    return f"{value:.3g}" if math.isfinite(value) else NOTHING


def _p_value(value: float | None) -> str:
    """Return a p-value with two digits, small ones as a bound."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return "<1e-6" if value < 1e-6 else f"{value:.2g}"
