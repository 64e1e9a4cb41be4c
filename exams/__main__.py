"""Run the exams; print a table of each, and write it with revision and seed to docs/exams/."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exams import commands, generated, posteriors

OUT = Path(__file__).parents[1] / "docs" / "exams"


@dataclass(frozen=True)
class Exam:
    """One exam: how it is run, and what it asks.

    Attributes
    ----------
    run
        (seed, small) → rows of a table, the last column "ok" or what is wrong.
    head
        Names of the columns.
    asks
        What must hold for every row.
    """

    run: Callable[[int, bool], list[tuple[str, ...]]]
    head: tuple[str, ...]
    asks: str


EXAMS = {
    "posteriors": Exam(posteriors.exam, posteriors.HEAD, posteriors.ASKS),
    "commands": Exam(commands.exam, commands.HEAD, commands.ASKS),
    "generated": Exam(generated.exam, generated.HEAD, generated.ASKS),
}


def main() -> int:
    """Run the exams asked for; exit 1 if one is failed."""
    parser = argparse.ArgumentParser(prog="python -m exams", description=__doc__)
    parser.add_argument("--only", choices=EXAMS, action="append", help="run this exam only (repeatable)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a few of each, nothing is written")
    options = parser.parse_args()
    failed = []
    for name in options.only or EXAMS:
        exam, begin = EXAMS[name], time.perf_counter()
        rows = exam.run(options.seed, options.small)
        bad = [row for row in rows if not row[-1].startswith(("ok", "refused"))]
        text = report(name, exam, rows, options.seed, time.perf_counter() - begin)
        sys.stdout.write(f"{text}\n")
        if not options.small:
            OUT.mkdir(parents=True, exist_ok=True)
            (OUT / f"{name}.md").write_text(text, encoding="utf-8")
        failed += [name] if bad else []
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "all exams passed\n")
    return 1 if failed else 0


def report(name: str, exam: Exam, rows: list[tuple[str, ...]], seed: int, seconds: float) -> str:
    """Return an exam's table as Markdown, with what it asks, revision and seed."""
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        f"# Exam: {name}",
        "",
        f"{exam.asks} Revision {revision or 'unknown'}, seed {seed}, {seconds:.0f} s: "
        f"`python -m exams --only {name}`.",
        "",
        "| " + " | ".join(exam.head) + " |",
        "|" + "---|" * len(exam.head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
