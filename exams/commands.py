"""Kinds of models through the command line: the right posterior and metric, or a refusal of one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import xarray as xr

from exams.kinds import FOLDER, KINDS, Case, cases_of
from exams.kinds.case import wrong, wrong_information

ROOT = Path(__file__).parents[1]
HEAD = ("kind", "model", "options", "seconds", "outcome")
ASKS = (
    "Models and tables of many kinds, each through `brg-prob run`: means and standard deviations within "
    "five Monte-Carlo errors of closed forms or quadrature, the Fisher information and held-out scores "
    "right, what was held fixed said; a refusal only where no answer is right, in one line, exit status 2, "
    "nothing written."
)
_SCORE = 0.05


def exam(seed: int, small: bool) -> list[tuple[str, ...]]:
    """Return a row for each case; a small exam has the first of every sixth kind."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for kind in KINDS[:: 6 if small else 1]:
            for number, case in enumerate(cases_of(kind, seed=seed)[: 1 if small else None]):
                begin = time.perf_counter()
                outcome = by_command(kind, case, Path(place) / f"{kind}-{number}")
                words = " ".join(_words(case))
                rows.append((kind, case.model, words, f"{time.perf_counter() - begin:.1f}", outcome))
    return rows


def by_command(kind: str, case: Case, folder: Path, *, draws: int = 2000) -> str:
    """Return "ok", "refused: …", or what is wrong with a case through the command line."""
    folder.mkdir()
    table, out = case.write(folder / "table.csv"), folder / "run"
    words = ["run", f"{FOLDER / kind}.py:{case.model}", "--data", str(table), "--out", str(out)]
    words += ["--scales", "2", "--draws", str(draws), "--seed", "1", *_words(case)]
    done = subprocess.run(
        [sys.executable, "-m", "brg_prob", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if case.refused or done.returncode:
        return _refusal(case, done, out)
    return judged(case, out, done.stdout)


def judged(case: Case, out: Path, printed: str) -> str:
    """Return "ok", or what is wrong with a run folder and with what was printed."""
    with xr.open_datatree(out / "draws.nc", engine="h5netcdf") as tree:
        found = [wrong(case, tree)]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    found += [_metric(case, summary), _held_out(case, summary)]
    said = " ".join(printed.split())
    found += [f"does not say {sentence!r}" for sentence in case.says if sentence not in said]
    return "; ".join(filter(None, found)) or "ok"


def _words(case: Case) -> list[str]:
    """Return the words that belong to a case."""
    target = ["--target", case.target] if case.target else []
    return [*target, "--engine", case.engine, *case.words]


def _refusal(case: Case, done: subprocess.CompletedProcess[str], out: Path) -> str:
    """Return what is wrong with a refusal, or that there is one."""
    said = done.stderr.strip().splitlines()
    if done.returncode != 2 or len(said) != 1 or out.exists():
        last = said[-1][:150] if said else "nothing"
        return f"exit {done.returncode}, {len(said)} lines, {last}"
    if not case.refused:
        return f"not to be refused: {said[0]}"
    if not re.search(case.refused, said[0]):
        return f"another refusal: {said[0]}"
    return f"refused: {said[0].removeprefix('brg-prob: ')}"


def _metric(case: Case, summary: dict[str, Any]) -> str:
    """Return what is wrong with the Fisher information."""
    if not case.information:
        return ""
    return wrong_information(case, [summary["observations"] * e for e in summary["fisher"]["eigenvalues"]])


def _held_out(case: Case, summary: dict[str, Any]) -> str:
    """Return what is wrong with the score of held-out rows."""
    if case.score is None:
        return ""
    got = summary["flow"]["test_score"][0]
    if got is None or abs(got - case.score) > _SCORE:
        return f"score {got}, right {case.score:.4f}"
    return ""
