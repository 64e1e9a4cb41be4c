"""The demo's main job, warm: ``brg-prob run`` on the real record, as a whole process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Case

ROOT = Path(__file__).resolve().parent.parent


def arguments(small: bool, out: str) -> list[str]:
    """Return the command line of ``make demo`` with another output folder."""
    options = ["run", str(ROOT / "models/cosnet.py"), "--data", str(ROOT / "data/soi_monthly.csv"), "--tune"]
    return [*options, "--out", out, "--quiet", *(["--draws", "200"] if small else [])]


def prepare(small: bool) -> Case:
    """Return the job; it has no peer, only seconds and memory."""

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "brg_prob", *arguments(small, f"{folder}/run")]
            subprocess.run(command, check=True, capture_output=True)

    def inside() -> None:
        from brg_prob.cli import main

        with tempfile.TemporaryDirectory() as folder:
            assert main(arguments(small, f"{folder}/run")) == 0

    return Case(
        ours,
        None,
        lambda ours, peer: {},
        "",
        seconds_bar=25.0,
        memory_bar=2048,
        in_process=inside,
        note="tuning, exact posterior, both flows, checks, report",
    )
