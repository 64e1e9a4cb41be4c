"""What scripts on real data share: one run of the library's pipeline, the printed page, the command line.

Every sentence that is printed is made from the measured numbers.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import brg_prob
from brg_prob import store
from brg_prob.cli.terminal.progress import Stages
from brg_prob.pipeline import Source
from inference._models_figures import Figures, Floats, Row, Study

_LABEL, _WIDTH = 24, 80
_SCALES, _FEW_SCALES = 7, 3
PAGE = "page.txt"
"""File of the run folder that holds what was printed."""


class Missing(ImportError):
    """A package that carries a data set is not installed."""


def package(name: str, distribution: str) -> Any:
    """Return a module that carries a data set.

    Raises
    ------
    Missing
        It is not installed; the line says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"the data come with {distribution}: pip install {distribution}") from error


def standardised(columns: Floats) -> Floats:
    """Return columns of mean 0 and standard deviation 1."""
    return np.asarray((columns - columns.mean(axis=0)) / columns.std(axis=0))


def posterior_draws(tree: xr.DataTree, site: str) -> Floats:
    """Return the draws of a site, (S, *shape)."""
    values = np.asarray(tree["posterior"][site].values, dtype=float)
    return values.reshape(-1, *values.shape[2:])


def page_lines(
    study: Study, figures: Figures, own: Sequence[Row] = (), teaches: Sequence[str] = ()
) -> list[str]:
    """Return the page, lines of at most 80 columns."""
    lines = [*textwrap.wrap(study.title, _WIDTH), "-" * _WIDTH]
    for label, text in [("data", study.record.source), *figures.rows(), *own]:
        wrapped = textwrap.wrap(text, _WIDTH - _LABEL) or [""]
        lines += [f"{label if not at else '':<{_LABEL}}{part}" for at, part in enumerate(wrapped)]
    lines += ["", *textwrap.wrap(_LEGEND, _WIDTH), "", *figures.scales.lines(), "", "What this teaches"]
    for sentence in [*figures.teaches(), *teaches]:
        lines += textwrap.wrap(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  ")
    return lines


_LEGEND = (
    "By scale T: effective parameters; leave-one-out elpd of the posterior sampled anew at T, less that at "
    "n; the draws at n diffused to T against those sampled anew: how far the field's mean is off, in its "
    "standard deviations, and the energy distance of the parameters, as a shift in standard deviations, with "
    "its p-value; how many Pareto k are bad."
)


def ran(study: Study, *, seed: int, draws: int, scales: int, command: str = "") -> brg_prob.Run:
    """Return the run of a study: sampled, diffused and sampled anew at every T, judged, its directions named.

    The groups are those of :mod:`brg_prob.summary`; nothing is written.
    """
    kept, out = ~study.held_out, study.held_out
    file = Path(inspect.getfile(type(study.network)))
    with Stages() as progress:
        return brg_prob.run(
            study.network,
            study.x[kept],
            study.y[kept],
            key=jax.random.key(seed),
            engine=study.engine,
            scales=scales,
            draws=draws,
            held_out=(study.x[out], study.y[out]),
            record=study.record,
            source=Source(file, command=command, seed=seed, content=file.read_bytes()),
            progress=progress,
        )


def write(folder: Path, run: brg_prob.Run, lines: Sequence[str]) -> None:
    """Write the run folder, and what was printed beside its files."""
    run.write(folder, pages={PAGE: "\n".join([*lines, ""])})


def main(
    file: str,
    description: str,
    build: Callable[[bool], Study],
    speak: Callable[[Study, xr.DataTree, Figures], tuple[list[Row], list[str]]],
    given: Sequence[str] | None = None,
) -> int:
    """Run a script; exit status 0, or 2 for bad usage.

    Parameters
    ----------
    file, description
        The script and its first docstring line.
    build
        Returns the study, at toy size where its argument is true.
    speak
        Returns the script's own rows and sentences.
    """
    name = Path(file).stem
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--small", action="store_true", help="toy sizes")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, metavar="DIR")
    parser.add_argument("--draws", type=int, metavar="N", help="posterior draws at each scale, default 2000")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    options = parser.parse_args(given)
    draws = options.draws if options.draws is not None else (200 if options.small else 2000)
    brg_prob.enable_x64()
    try:
        if not 0 <= options.seed < 2**63:
            raise ValueError(f"--seed {options.seed} is out of range; give a whole number from 0")
        study = build(options.small)
        if draws < 100 or draws % study.engine.chains:
            raise ValueError(
                f"--draws {draws} must be at least 100, and a multiple of the {study.engine.chains} chains"
            )
        store.check_target(options.out)
    except (ImportError, ValueError) as error:  # StoreError, too
        parser.error(str(error))
    print(f"… {study.title}", file=sys.stderr)
    size = " --small" if options.small else ""
    command = f"python inference/{name}.py{size} --draws {draws} --seed {options.seed}"
    scales = _FEW_SCALES if options.small else _SCALES
    run = ran(study, seed=options.seed, draws=draws, scales=scales, command=command)
    figures = Figures.of(run.tree, study)
    lines = page_lines(study, figures, *speak(study, run.tree, figures))
    try:
        write(options.out, run, lines)
    except store.StoreError as error:
        parser.error(str(error))
    print("\n".join([*lines, "", f"The run: {options.out}, its report: {options.out / 'report.html'}"]))
    return 0
