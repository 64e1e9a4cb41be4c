"""A run in the terminal: a table and the checks at its end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brg_prob.cli.terminal.progress import WIDEST
from brg_prob.cli.terminal.sloppiness_tables import NOTHING, number, sloppiness_blocks, table_of_numbers
from brg_prob.summary import branches, data_sentence, deciding_columns, scale_rows, verdict_sentence
from brg_prob.wording import deviation

COLOURS = {"consistent": "green", "inconsistent": "red", "undetermined": "yellow"}


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
    checks = [_check_table(run.summary["checks"])] if run.summary["checks"] else []
    for block in (*map(_scale_table, branches(run.tree)), *sloppiness_blocks(run.tree), *checks):
        console.print(block)
        console.print()
    if whys := reasons(run.summary["checks"]):
        for why in whys:
            console.print(Text(f"· {why}"))
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
    rows, deciding = scale_rows(branch), deciding_columns(branch)
    columns = {
        "T": [number(row["observations"]) for row in rows],
        "Λ′": [number(row["momentum_cutoff"]) for row in rows],
        "d_eff": [number(row["effective_dimension"]) for row in rows],
        "KL": [number(row["kl_to_prior"]) for row in rows],
        "score ± s.e.": [_score(row) for row in rows],
    }
    columns = {head: cells for head, cells in columns.items() if head == "T" or set(cells) != {NOTHING}}
    table = table_of_numbers(str(branch["flow"].attrs["scheme"]), *columns)
    for name, _ in deciding:
        table.add_column(Text(f"p {name}"), justify="right", max_width=14)
    for at in range(len(rows)):
        cells = [column[at] for column in columns.values()]
        table.add_row(*cells, *(_p_value(float(p_values[at])) for _, p_values in deciding))
    return table


def _score(row: dict[str, float]) -> str:
    """Return the predictive score at a scale with its error, or a dash."""
    score = row["test_score"]
    return f"{score:.3f} ± {row['test_score_se']:.3f}" if math.isfinite(score) else NOTHING


def _check_table(rows: list[dict[str, Any]]) -> Table:
    """Return the checks as a table."""
    table = table_of_numbers("checks")
    table.add_column("check", overflow="fold")
    table.add_column("flow", no_wrap=True)
    for head in ("p", "detects"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    controls = {"inconsistent": "rejected, as it must be"}
    for row in rows:
        verdict = Text(row["verdict"], style=COLOURS[row["verdict"]])
        if row["role"] == "control":
            verdict = Text(controls.get(row["verdict"], "control not rejected"), style="default")
        table.add_row(
            Text(row["name"]),
            Text(row["flow"]),
            _p_value(row["p_value"]),
            deviation(row["smallest_detectable"], row["unit"]),
            verdict,
        )
    return table


def reasons(rows: list[dict[str, Any]]) -> list[str]:
    """Return what is to be known of each check that is not as it should be, and what helps, a sentence each.

    Examples
    --------
    >>> row = {"name": "convergence", "flow": "diffusion", "role": "correspondence", "p_value": None}
    >>> reasons([row | {"verdict": "undetermined", "detail": "R-hat is 1.2"}])
    ['convergence (diffusion): R-hat is 1.2']
    """
    found = []
    for row in rows:
        expected = "inconsistent" if row["role"] == "control" else "consistent"
        if row["verdict"] == expected or not row["detail"]:
            continue
        tested = row["role"] == "correspondence" and row["p_value"] is not None
        more = "; more draws (--draws) would tell" if tested and row["verdict"] == "undetermined" else ""
        found.append(f"{row['name']} ({row['flow']}): {row['detail']}{more}")
    return found


def _p_value(value: float | None) -> str:
    """Return a p-value with two digits, small ones as a bound."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return "<1e-6" if value < 1e-6 else f"{value:.2g}"
