"""Depth as a flow: kernels, posteriors and Bayesian renormalization of infinitely wide networks of any depth.

The first example of Howard, Klinger, Maiti, Stapleton, arXiv:2405.17538, at any depth and with any
activation (T2, T10), in its ordered, critical and chaotic phases (T15, kernel recursion only), on a record
shipped with the repository:

    python inference/depth_flow.py [--depths 1,2,4,8,16,32] [--activations relu,erf,tanh] [--small]
        [--out DIR] [--seed N]

prints the measured figures beside the formulas' and writes DIR/summary.json and DIR/report.html.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

import brg_prob
from brg_prob.activations import activation
from brg_prob.compiled import keep_compiled
from inference import _depth_draws as draws_of
from inference import _depth_field as field
from inference import _depth_finite as finite
from inference import _depth_phases as phases
from inference import _depth_report as report
from inference import _page
from inference._lazy import LazySetting

_DEEPEST = 256


@dataclass(frozen=True)
class Settings:
    """How much is computed; the defaults are the full run."""

    depths: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    activations: tuple[str, ...] = ("relu", "erf", "tanh")
    layers: int = phases.LAYERS
    scales: int = 13
    every: int = 1
    draws: int = 2000
    checked: int = 2
    widths: tuple[int, ...] = (50, 150, 500, 1500, 5000)
    members: tuple[int, ...] = (3000, 3000, 2000, 1000, 600)
    cumulant_draws: int = 100_000
    lazy_widths: tuple[int, ...] = (64,)
    lazy_depths: tuple[int, ...] = (1, 3)


SMALL = Settings(
    depths=(1, 2, 16),
    activations=("erf", "relu"),
    layers=300,
    scales=7,
    every=2,
    draws=500,
    checked=1,
    widths=(50, 150, 500),
    members=(600, 600, 400),
    cumulant_draws=40_000,
    lazy_widths=(),  # half a minute of compilation
)


def measure(settings: Settings, seed: int, progress: Callable[[str], Any] = lambda _: None) -> dict[str, Any]:
    """Return every measured figure as plain numbers."""
    s, seconds = settings, {}
    record = field.read_record(s.every)

    def timed(name: str, function: Callable[[], Any]) -> Any:
        progress(name)
        start = time.perf_counter()
        found = function()
        seconds[name] = round(time.perf_counter() - start, 2)
        return found

    found = timed("phases", lambda: [phases.measure_phases(name, s.layers) for name in s.activations])
    every = [setting for name in s.activations for setting in phases.settings_of(name)]
    return {
        "data": field.describe(record),
        "depths": list(s.depths),
        "phases": found,
        "fields": timed(
            "spectra and posteriors",
            lambda: [field.measure_setting(each, record, s.depths, s.scales) for each in every],
        ),
        "draws": timed("draws", lambda: measure_draws(every, record, s, seed)),
        "widths": timed(
            "finite width", lambda: finite.measure_widths(finite.NEURON, s.widths, s.members, seed)
        ),
        "cumulant": timed("cumulant", lambda: finite.measure_cumulant(finite.NEURON, s.cumulant_draws, seed)),
        "lazy": timed("all layers trained", lambda: measure_lazy(s, seed)),
        "seconds": seconds,
    }


def measure_draws(
    every: Sequence[phases.Setting], record: field.Record, settings: Settings, seed: int
) -> list[dict[str, Any]]:
    """Return the tests of draws at two depths, for the critical networks of the first activations."""
    tested = {s.activation: s for s in every if s.phase == "critical"} or {every[0].activation: every[0]}
    low, high = draws_of.check_depths(settings.depths)
    cases = [
        (s, *pair) for s in list(tested.values())[: settings.checked] for pair in ((low, high), (high, low))
    ]
    keys = jax.random.split(jax.random.key(seed), len(cases))
    return [
        draws_of.measure_draws(setting, record, depth, wrong, settings.draws, key)
        for (setting, depth, wrong), key in zip(cases, keys, strict=True)
    ]


def measure_lazy(settings: Settings, seed: int) -> list[dict[str, Any]]:
    """Return where ensembles trained in all layers stand; nothing at toy size."""
    if not settings.lazy_widths:
        return []
    return finite.measure_lazy(settings.lazy_widths, settings.lazy_depths, LazySetting(seed=seed))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return depths from ``1,2,4``, ascending, each once."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= _DEEPEST for word in words):
        raise ValueError(f"--depths {text} must list hidden layers, 1 to {_DEEPEST}, such as 1,2,4")
    return tuple(sorted({int(word) for word in words}))


def known(text: str) -> tuple[str, ...]:
    """Return names of activations from ``relu,erf``, each once."""
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for name in names:
        activation(name)
    return names


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; a wrong one is refused in one line with exit status 2."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--depths", metavar="L,…", help="hidden layers, default 1,2,4,8,16,32")
    parser.add_argument("--activations", metavar="NAME,…", help="default relu,erf,tanh")
    parser.add_argument("--small", action="store_true", help="toy sizes, a quarter of a minute")
    parser.add_argument("--out", type=Path, default=Path("runs/depth_flow"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    options = parser.parse_args(given)
    standard = SMALL if options.small else Settings()
    try:
        options.depths = standard.depths if options.depths is None else whole_numbers(options.depths)
        options.activations = (
            standard.activations if options.activations is None else known(options.activations)
        )
        if not 0 <= options.seed < 2**63:
            raise ValueError(f"--seed {options.seed} is out of range; give a whole number from 0")
        options.out.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}; name a folder that can be written")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    brg_prob.enable_x64()
    options = arguments(given)
    start = time.perf_counter()
    standard = SMALL if options.small else Settings()
    settings = replace(standard, depths=options.depths, activations=options.activations)
    found = measure(settings, options.seed, lambda name: print(f"… {name}", file=sys.stderr))
    told = report.chapters(found)
    command = command_line(options)
    print("\n".join([*_page.table_lines(told), "", *textwrap.wrap(report.NOTE, 80)]))
    pictures = report.pictures(found)
    found["seconds"]["all"] = round(time.perf_counter() - start, 1)
    page = _page.render_page(
        title=report.TITLE,
        lead=report.LEAD,
        chapters=told,
        pictures=pictures,
        command=command,
        note=f"{report.NOTE} Computed in {found['seconds']['all']:.0f} seconds.",
    )
    summary = {"command": command, "seed": options.seed, **found, "chapters": _page.as_rows(told)}
    _page.write_results(options.out, summary, page)
    print(f"\nThe report: {options.out / 'report.html'}")
    return 0


def command_line(options: argparse.Namespace) -> str:
    """Return the command that gives the same figures again."""
    words = [
        f"python inference/{Path(__file__).name}",
        f"--depths {','.join(map(str, options.depths))}",
        "--activations " + ",".join(f"'{a}'" if "(" in a else a for a in options.activations),
        *["--small"] * options.small,
        f"--seed {options.seed}",
    ]
    return " ".join(words)


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
