"""The published experiment: ReLU networks learn a quadratic function, and sloppy weights are reset.

Numerical experiment of Howard, Klinger, Maiti, Stapleton, arXiv:2405.17538 (T11), with its published
settings, for any number of members, by exact SGD, gradient flow or every single step:

    python inference/quadratic_relu_ensemble.py [--members 1000] [--fisher-inputs 10] [--method NAME]
        [--compare-loop] [--small] [--out DIR] [--seed N]

prints the measured figures beside the paper's and writes DIR/summary.json and DIR/report.html.
"""

from __future__ import annotations

import argparse
import resource
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import brg_prob
from brg_prob.compiled import keep_compiled
from inference import _page
from inference import _quadratic_ensemble as members_of
from inference import _quadratic_report as report
from inference._quadratic_ensemble import Ensemble
from inference._quadratic_member import Case
from inference._quadratic_page import page as render
from inference._quadratic_setting import METHODS, PUBLISHED_CUTOFFS, SMALL, Setting, rule_error
from inference._quadratic_statistics import experiment, finite, summarise

_MOST_INPUTS = 10_000


def case_of(setting: Setting, fisher_inputs: int | None) -> Case:
    """Return what all members share; ``None`` inputs stand for the exact expectation."""
    counts = tuple(sorted({*setting.compared, *(() if fisher_inputs is None else (fisher_inputs,))}))
    main = len(counts) if fisher_inputs is None else counts.index(fisher_inputs)
    return Case(setting, counts, main, (0.0, *PUBLISHED_CUTOFFS))


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; a wrong one is refused in one line with exit status 2."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, metavar="M", help="networks, default 1000 (40 with --small)")
    parser.add_argument("--method", choices=METHODS, default="sgd_exact", help="default sgd_exact")
    parser.add_argument(
        "--fisher-inputs",
        default="10",
        metavar="N",
        help="fresh inputs of the Fisher matrix, or exact; default 10",
    )
    parser.add_argument(
        "--compare-loop", action="store_true", help="also run a plain numpy loop over one member's steps"
    )
    parser.add_argument("--small", action="store_true", help="toy sizes, a quarter of a minute")
    parser.add_argument("--out", type=Path, default=Path("runs/quadratic_relu_ensemble"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    options = parser.parse_args(given)
    if options.members is None:
        options.members = 40 if options.small else 1000
    if options.members < 2:
        parser.error(f"--members {options.members} gives no standard error; give 2 or more")
    if not 0 <= options.seed < 2**63:
        parser.error(f"--seed {options.seed} is out of range; give a whole number from 0")
    text = options.fisher_inputs
    exact = text == "exact"
    if not exact and not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_INPUTS):
        parser.error(f"--fisher-inputs {text} is no number of inputs; give 1 to {_MOST_INPUTS}, or exact")
    options.fisher_inputs = None if exact else int(text)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}; name a folder that can be written")
    return options


@dataclass(frozen=True, eq=False)
class Run:
    """What was computed, and what it took, in seconds by phase."""

    ensemble: Ensemble
    found: dict[str, Any]
    cost: report.Cost
    seconds: dict[str, float]


def compute(options: argparse.Namespace) -> Run:
    """Return every figure of the experiment; raise ValueError where too few members were trained."""
    start, seconds = time.perf_counter(), {}
    busy = time.process_time()
    case = case_of(SMALL if options.small else Setting(), options.fisher_inputs)
    seed, count = options.seed, options.members

    def timed(name: str, function: Callable[..., Any], *inputs: Any) -> Any:
        begin = time.perf_counter()
        found = function(*inputs)
        seconds[name] = round(time.perf_counter() - begin, 2)
        return found

    def progress(said: str) -> None:
        print(f"… {said}", file=sys.stderr)

    ensemble = timed("members", members_of.run_ensemble, case, options.method, count, seed, progress)
    trained = int(ensemble.converged.sum())
    if trained < 2:
        raise ValueError(
            f"{trained} of {count} members were trained, the others diverged; give more --members"
        )
    other = timed("other method", members_of.run_counterparts, case, ensemble.data, count, seed)
    found = timed("statistics", summarise, ensemble, other, seed)
    found["exact_rule_error"] = rule_error(case.setting, jax.random.key(seed))
    seconds["computation"] = round(time.perf_counter() - start, 1)
    seconds["processor"] = round(time.process_time() - busy, 1)
    loop = None
    if options.compare_loop:
        number = int(ensemble.converged.argmax())
        loop = timed("numpy loop", members_of.compare_loop, case, ensemble.data, seed, number)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    cost = report.Cost(seconds["computation"], seconds["processor"], memory, loop)
    return Run(ensemble, found, cost, seconds)


def main(given: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    options = arguments(given)
    brg_prob.enable_x64()
    try:
        run = compute(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    told = report.chapters(run.ensemble, run.found, run.cost)
    command = command_line(options)
    print("\n".join([*_page.table_lines(told, "paper, T11"), "", *textwrap.wrap(report.NOTE, 80)]))
    summary = {
        "command": command,
        "seed": options.seed,
        "experiment": experiment(run.ensemble, run.found),
        **run.found,
        "untrained_loss": finite(run.ensemble.untrained),
        "loop": run.cost.loop,
        "seconds": run.seconds,
        "peak_memory_gb": run.cost.memory,
        "chapters": _page.as_rows(told),
    }
    _page.write_results(options.out, summary, render(run.ensemble, run.found, told, command))
    print(f"\nThe report: {options.out / 'report.html'}")
    return 0


def command_line(options: argparse.Namespace) -> str:
    """Return the command that gives the same figures again."""
    inputs = "exact" if options.fisher_inputs is None else options.fisher_inputs
    words = [
        f"python inference/{Path(__file__).name}",
        f"--members {options.members}",
        f"--method {options.method}",
    ]
    words += [
        f"--fisher-inputs {inputs}",
        *["--compare-loop"] * options.compare_loop,
        *["--small"] * options.small,
    ]
    return " ".join([*words, f"--seed {options.seed}"])


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
