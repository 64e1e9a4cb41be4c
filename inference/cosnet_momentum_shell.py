"""The cos-net as a free scalar field: its Bayesian renormalization is the momentum-shell flow.

The second example of Howard, Klinger, Maiti, Stapleton, arXiv:2405.17538 (T4, T9), in one and two
dimensions, over widths and box sizes, where the correspondence is exact (a periodic lattice of
momenta), where it is a limit (random momenta), and outside that limit:

    python inference/cosnet_momentum_shell.py [--small] [--out DIR] [--seed N]

prints the measured figures beside the formulas' and writes DIR/summary.json and DIR/report.html.
"""

from __future__ import annotations

import argparse
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
from inference import _momentum_shell as shell
from inference import _momentum_shell_report as report
from inference import _page
from inference._momentum_shell import Box


@dataclass(frozen=True)
class Settings:
    """How much is computed; the defaults are the full run."""

    draws: int = 4000
    lattices: tuple[Box, ...] = (Box(1, 10.0, 20.0, 400), Box(2, 10.0, 6.0, 20))
    raw_width: int = 4096
    raw_boxes: tuple[Box, ...] = (
        *(Box(1, length, 20.0, round(15 * length)) for length in (10.0, 50.0, 200.0)),
        *(Box(2, length, 4.0, round(2 * length)) for length in (10.0, 20.0, 40.0)),
    )
    raw_fractions: tuple[float, ...] = (0.15, 0.3, 0.45, 0.6, 0.8)
    widths: tuple[int, ...] = (125, 500, 2000, 8000, 32000)
    boxes: tuple[Box, ...] = (
        *(Box(1, length, 5.0, side) for length, side in ((10.0, 24), (40.0, 80), (160.0, 320))),
        *(Box(2, length, 4.0, side) for length, side in ((10.0, 15), (20.0, 28))),
    )
    repeats: int = 3
    fixed_width: tuple[tuple[Box, int], ...] = (  # with the number of networks
        (Box(1, 80.0, 20.0, 600), 5),
        (Box(1, 320.0, 20.0, 2048), 2),
    )
    flows: tuple[tuple[Box, int], ...] = (
        (Box(1, 40.0, 5.0, 400), 8000),
        (Box(2, 10.0, 4.0, 20), 8000),
        (Box(1, 160.0, 5.0, 400), 500),
    )
    control: Box = Box(1, 10.0, 20.0, 128)
    control_draws: int = 512
    seeds: int = 50


SMALL = Settings(  # the same shapes wherever possible: most of the time goes into compiling
    draws=1280,
    lattices=(Box(1, 10.0, 14.0, 100), Box(2, 5.0, 5.0, 10)),
    raw_boxes=(Box(1, 200.0, 20.0, 2000), Box(2, 20.0, 4.0, 40)),
    widths=(125, 2000, 32000),
    boxes=(Box(1, 10.0, 5.0, 100), Box(1, 40.0, 5.0, 100)),
    fixed_width=(),
    flows=((Box(1, 20.0, 5.0, 100), 512), (Box(1, 60.0, 5.0, 100), 512)),
    control=Box(1, 10.0, 14.0, 100),
    control_draws=1280,
    seeds=5,
)


def measure(settings: Settings, seed: int, progress: Callable[[str], Any] = lambda _: None) -> dict[str, Any]:
    """Return every measured figure as plain numbers."""
    keys = iter(jax.random.split(jax.random.key(seed), 64))
    seconds: dict[str, float] = {}

    def section(name: str, function: Callable[..., dict[str, Any]], cases: Sequence[tuple[Any, ...]]) -> Any:
        progress(name)
        start = time.perf_counter()
        found = [function(*case, next(keys)) for case in cases]
        seconds[name] = round(time.perf_counter() - start, 2)
        return found

    s = settings
    raw = [(box, s.raw_width, s.raw_fractions) for box in s.raw_boxes]
    spectra = [(box, s.widths, s.repeats) for box in s.boxes]
    fixed = [(box, (2000,), repeats) for box, repeats in s.fixed_width]
    flows = [(box, width, s.draws) for box, width in s.flows]
    control = [(s.control, s.control_draws, s.seeds)]
    return {
        "mass": shell.MASS,
        "noise": shell.NOISE,
        "lattice": section("lattice", shell.measure_lattice, [(box, s.draws) for box in s.lattices]),
        "raw_units": section("raw readout units", shell.measure_raw, raw),
        "spectrum": section("Fisher spectrum of random momenta", shell.measure_spectrum, spectra),
        "fixed_width": section("Fisher spectrum at fixed width", shell.measure_spectrum, fixed),
        "propagators": section("flows of random momenta", shell.measure_propagators, flows),
        "control": section("ReLU control", shell.measure_control, control)[0],
        "seconds": seconds,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="toy sizes, a quarter of a minute")
    parser.add_argument("--out", type=Path, default=Path("runs/cosnet_momentum_shell"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error(f"--seed {options.seed} is negative; give 0 or more")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}; name a folder that can be written")
    brg_prob.enable_x64()
    start = time.perf_counter()
    settings = SMALL if options.small else Settings()
    found = measure(settings, options.seed, lambda name: print(f"… {name}", file=sys.stderr))
    found["seconds"]["all"] = round(time.perf_counter() - start, 1)
    chapters = report.chapters(found)
    size = " --small" if options.small else ""
    command = f"python inference/{Path(__file__).name}{size} --seed {options.seed}"
    print("\n".join([*_page.table_lines(chapters), "", *textwrap.wrap(report.NOTE, 80)]))
    page = _page.render_page(
        title=report.TITLE,
        lead=report.LEAD,
        chapters=chapters,
        pictures=report.pictures(found),
        command=command,
        note=f"{report.NOTE} Computed in {found['seconds']['all']:.0f} seconds.",
    )
    summary = {"command": command, "seed": options.seed, **found, "chapters": _page.as_rows(chapters)}
    _page.write_results(options.out, summary, page)
    print(f"\nThe report: {options.out / 'report.html'}")
    return 0


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
