"""A newcomer's path, each step of the README timed on a fresh clone: ``python -m benchmarks.newcomer``.

The commands are read off the README, so that what is timed is what is written. The clone is of this
checkout's last commit, in an empty folder, with its own environment and its own caches; the time to
read the report is the reader's own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BAR = 600.0  # seconds, in all


def steps(readme: str) -> list[str]:
    """Return the commands of the README's section "Ten minutes", in order."""
    section = readme.split("## Ten minutes", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "git clone"))]


def record(path: Path) -> None:
    """Write a small series of one's own: a noisy wave, with units."""
    rng = np.random.default_rng(0)
    days = np.arange(240.0)
    level = 2 + np.sin(days / 9) + 0.3 * rng.standard_normal(days.size)
    rows = [f"{day:g},{value:.3f}" for day, value in zip(days, level, strict=True)]
    path.write_text("\n".join(["day [d],level [m]", *rows]) + "\n", encoding="utf-8")


def main() -> int:
    """Clone, run every step, print the times; exit 1 beyond ten minutes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.newcomer", description=__doc__)
    parser.add_argument("--source", default=str(ROOT), help="what to clone (default: this checkout)")
    source = parser.parse_args().source
    total = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        home, clone = Path(scratch), Path(scratch) / "brg_prob"
        environment = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "COLUMNS": "80"}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        for command in [
            f"git clone --quiet {source} {clone}",
            *steps((ROOT / "README.md").read_text(encoding="utf-8")),
        ]:
            begin = time.perf_counter()
            done = subprocess.run(
                command,
                shell=True,
                check=False,
                cwd=clone if clone.exists() else home,
                env=environment,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - begin
            total += seconds
            print(f"{seconds:7.1f} s  {command}", flush=True)
            if done.returncode:
                print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
                return 1
            if command.startswith("git clone"):
                record(clone / "mine.csv")
    print(f"{total:7.1f} s  in all (the bar is {BAR:g} s)")
    return int(total > BAR)


if __name__ == "__main__":
    sys.exit(main())
