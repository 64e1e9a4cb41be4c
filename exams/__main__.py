"""Run the exams; print a table of each, and write it with revision and seed to docs/exams/."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

OUT = Path(__file__).parents[1] / "docs" / "exams"

EXAMS = ("posteriors", "commands", "generated", "chains")
"""Modules of this package, each with ``exam(seed, small)`` → rows of a table, whose last column is "ok",
"refused: …" or what is wrong; ``HEAD``, the names of the columns; and ``ASKS``, what must hold for all rows.
"""


def main() -> int:
    """Run the exams asked for; exit 1 if one is failed."""
    parser = argparse.ArgumentParser(prog="python -m exams", description=__doc__)
    parser.add_argument("--only", choices=EXAMS, action="append", help="run this exam only (repeatable)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a few of each, nothing is written")
    options = parser.parse_args()
    failed = []
    for name in options.only or EXAMS:
        exam, begin = import_module(f"exams.{name}"), time.perf_counter()
        rows = exam.exam(options.seed, options.small)
        bad = [row for row in rows if not row[-1].startswith(("ok", "refused:"))]
        text = report(name, exam, rows, options.seed, time.perf_counter() - begin)
        sys.stdout.write(f"{text}\n")
        if not options.small:
            OUT.mkdir(parents=True, exist_ok=True)
            (OUT / f"{name}.md").write_text(text, encoding="utf-8")
        failed += [name] if bad else []
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "all exams passed\n")
    return 1 if failed else 0


def report(name: str, exam: ModuleType, rows: list[tuple[str, ...]], seed: int, seconds: float) -> str:
    """Return an exam's table as Markdown, with what it asks, revision and seed."""
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        f"# Exam: {name}",
        "",
        f"{exam.ASKS} Revision {revision or 'unknown'}, seed {seed}, {seconds:.0f} s: "
        f"`python -m exams --only {name}`.",
        "",
        "| " + " | ".join(exam.HEAD) + " |",
        "|" + "---|" * len(exam.HEAD),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
