"""What scripts on real data share: sampling, flowing, the printed page, the command line.

Every sentence that is printed is made from the measured numbers.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import brg_prob
from brg_prob.correspondence import check_against_tempering
from brg_prob.flow import Tempering
from brg_prob.geometry.sloppiness import sloppiness
from brg_prob.results import with_groups
from inference import _page
from inference._models_figures import Figures, Floats, Row, Study

_LABEL, _WIDTH = 24, 80


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
    for label, text in [("data", study.source), *figures.rows(), *own]:
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


def sampled(study: Study, seed: int, draws: int, scales: int) -> xr.DataTree:
    """Return the draws of a study, what they determine, and their flow, diffused and sampled anew.

    Groups of :func:`brg_prob.fit`, ``directions``, ``parameters``, ``flow``, ``fisher``,
    ``tempering/flow`` and ``distance``.
    """
    kept, out = ~study.held_out, study.held_out
    first, second, third, fourth = jax.random.split(jax.random.key(seed), 4)
    x, y = study.x[kept], study.y[kept]
    posterior = brg_prob.fit(
        study.network,
        x,
        y,
        engine=study.engine,
        key=first,
        draws=draws,
        held_out=(study.x[out], study.y[out]),
    )
    metric: Any = brg_prob.fisher_metric(study.network, x, y=y, at=posterior)
    ladder = brg_prob.default_scales(float(len(y)), scales)

    def along(scheme: Any, key: Any) -> Any:
        return brg_prob.coarse_grain(study.network, posterior, metric, scheme=scheme, scales=ladder, key=key)

    flow, truth = along(brg_prob.Diffusion(), second), along(Tempering(study.engine), third)
    checks: Any = check_against_tempering(flow, truth, key=fourth)
    tree = with_groups(with_groups(posterior, flow.tree), sloppiness(metric, posterior))
    tree["distance"] = checks.tree["distance"]
    tree["tempering"] = xr.DataTree.from_dict({"flow": truth.tree["flow"].to_dataset()})
    return tree


def write(folder: Path, lines: Sequence[str], study: Study, figures: Figures, command: str) -> None:
    """Write summary.json and report.html."""
    rows = tuple(_page.Finding(label, text, "", "measured") for label, text in figures.rows())
    chapter = _page.Chapter("What the data determine", " ".join(figures.teaches()), rows)
    page = _page.render_page(
        title=study.title, lead=study.source, chapters=[chapter], pictures=[], command=command, note=_LEGEND
    )
    numbers = {
        name: [v if math.isfinite(v) else None for v in value.tolist()]
        for name, value in vars(figures.scales).items()
    }
    summary = {
        "command": command,
        "eigenvalues": figures.eigenvalues.tolist(),
        "effective_parameters": figures.effective,
        "contraction": figures.contraction,
        "directions": list(figures.phrases),
        "scales": numbers,
        "printed": list(lines),
    }
    _page.write_results(folder, summary, page)


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
        options.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}; name a folder that can be written")
    print(f"… {study.title}", file=sys.stderr)
    tree = sampled(study, options.seed, draws, scales=3 if options.small else 7)
    figures = Figures.of(tree, study)
    lines = page_lines(study, figures, *speak(study, tree, figures))
    size = " --small" if options.small else ""
    command = f"python inference/{name}.py{size} --draws {draws} --seed {options.seed}"
    write(options.out, lines, study, figures, command)
    print("\n".join([*lines, "", f"The report: {options.out / 'report.html'}"]))
    return 0
