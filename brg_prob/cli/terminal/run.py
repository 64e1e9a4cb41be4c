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
from brg_prob.headlines import answers_in_order, row_state
from brg_prob.summary import branches, deciding_columns, scale_rows
from brg_prob.wording import deviation

COLOURS = {
    **dict.fromkeys(("agrees", "converged", "weights usable"), "green"),
    **dict.fromkeys(("differs", "conflict"), "red"),
    **dict.fromkeys(("not resolved", "not converged", "weights not usable", "not rejected"), "yellow"),
}
"""Of what was found. That no conflict was found is no colour: it says little."""


def print_result(run: Any, folder: Path, console: Console | None = None) -> None:
    """Print the scales, the checks, both answers, and where the report lies.

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
    summary = run.summary
    flows = [_scale_table(branch) for branch in branches(run.tree)]
    checks = [_check_table(summary["checks"], summary)] if summary["checks"] else []
    determined = sloppiness_blocks(run.tree)
    own = summary.get("kind") == "model"  # its author came for what the data determine
    for block in (*determined, *flows, *checks) if own else (*flows, *determined, *checks):
        console.print(block)
        console.print()
    if whys := reasons(summary["checks"]):
        for why in whys:
            console.print(Text(f"· {why}"))
        console.print()
    for title, state, sentence in answers_in_order(summary):
        heading = Text(f"{title}: {state}. ", style=f"bold {COLOURS.get(state, 'default')}")
        console.print(heading + Text(sentence, style="default"))
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


def _check_table(rows: list[dict[str, Any]], summary: dict[str, Any]) -> Table:
    """Return the checks as a table."""
    level, seed = summary["flow_against_theory"]["level"], summary["seed"]
    drawn = "" if seed is None else f"; p-values are those of seed {seed}"
    table = table_of_numbers(f"checks (false alarms {level:g} for each question{drawn})")
    table.add_column("check", overflow="fold")
    table.add_column("flow", no_wrap=True)
    for head in ("p", "detects"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("found")
    for row in rows:
        found = row_state(row)
        table.add_row(
            Text(row["name"]),
            Text(row["flow"]),
            _p_value(row["p_value"]),
            deviation(row["smallest_detectable"], row["unit"]),
            Text(found, style=COLOURS.get(found, "default")),
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
        unseen = row["role"] == "data" and row["verdict"] == "undetermined"  # no conflict was found
        if row["verdict"] == expected or unseen or not row["detail"]:
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
