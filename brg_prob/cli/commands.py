"""The subcommands of ``brg-prob``, one function each: words in, exit status out.

jax is imported by those that compute, once their arguments are checked.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from brg_prob.cli.parser import Parser
from brg_prob.cli.request import Request, parse_run
from brg_prob.headlines import found_nothing_wrong
from brg_prob.options import UsageError

if TYPE_CHECKING:
    from brg_prob.cli.loading import Executed

DONE, NOT_CONSISTENT = 0, 1
PAGE = "comparison.html"


def run(words: list[str]) -> int:
    """``brg-prob run``."""
    request = parse_run(words)
    finished = _executed(request).run
    strict = request.arguments.strict and not found_nothing_wrong(finished.summary)
    return NOT_CONSISTENT if strict else DONE


def rerun(words: list[str]) -> int:
    """``brg-prob rerun``."""
    parser = Parser(
        prog="brg-prob rerun",
        description="Do a run again from its model.json alone, every stage computed anew, and compare\n"
        "the numbers with the stored ones. The model's code in model.json is executed.",
    )
    parser.add_argument("folder", metavar="RUN", help="a run folder, or a folder with its model.json")
    parser.add_argument("--out", metavar="DIR", help="run folder (default: RUN-rerun)")
    parser.add_argument("--strict", action="store_true", help="exit 1 unless all numbers are the same")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    arguments = parser.parse_args(words)
    folder = Path(arguments.folder)
    place = Path(os.path.abspath(folder))  # "." has a name, too
    out = Path(arguments.out) if arguments.out else place.with_name(f"{place.name}-rerun")
    from brg_prob.cli.rerun import compared, restored

    with restored(folder, out, quiet=arguments.quiet) as (request, stored):
        finished = _executed(request).run
    found = compared(stored, finished.summary)
    if not arguments.quiet:
        sys.stdout.write(f"{found.sentence}\n")
    return NOT_CONSISTENT if arguments.strict and not found.same else DONE


def report(words: list[str]) -> int:
    """``brg-prob report``."""
    from brg_prob import store

    parser = Parser(
        prog="brg-prob report", description="Render the report of a run again from what the run stored."
    )
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("--out", metavar="FILE", help=f"the page (default: {store.REPORT} in the run folder)")
    arguments = parser.parse_args(words)
    folder = Path(arguments.folder)
    page = Path(arguments.out) if arguments.out else folder / store.REPORT
    from brg_prob.cli.terminal.progress import Stages

    store.read_model(folder)  # no lock is left beside what is no run
    with store.only_writer(folder), Stages() as progress, progress("report"):
        run = store.read_run(folder)
        store.check_page(page)
        from brg_prob.report import render_report

        page = store.replace_page(page.parent, page.name, render_report(run))
    sys.stdout.write(f"{page}\n")
    return DONE


def compare(words: list[str]) -> int:
    """``brg-prob compare``."""
    parser = Parser(
        prog="brg-prob compare",
        description="Hold the field theories of runs against each other; of a single run, its prior\n"
        "against its posterior. The first run is the reference.",
    )
    parser.add_argument("folders", metavar="RUN", nargs="+", help="run folders")
    parser.add_argument(
        "--out", metavar="FILE", help=f"the page (default: {PAGE} beside the first run folder)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    arguments = parser.parse_args(words)
    folders = [Path(folder) for folder in arguments.folders]
    page = Path(arguments.out) if arguments.out else folders[0].absolute().parent / PAGE
    from brg_prob import store

    store.check_page(page)
    for folder in folders:
        store.read_model(folder)
    from brg_prob.cli.terminal.comparison_tables import print_comparison
    from brg_prob.cli.terminal.progress import Stages

    with Stages(quiet=arguments.quiet) as progress:
        progress.expect(3)
        with progress("loading"):
            from brg_prob.comparison import compare as comparison_of
            from brg_prob.report import render_comparison

            runs = {name: store.read_run(folder) for name, folder in labelled(folders).items()}
        with progress("comparing"):
            found = comparison_of(runs)
        with progress("page"):
            store.replace_page(page.parent, page.name, render_comparison(found))
    if not arguments.quiet:
        print_comparison(found, page)
    return DONE


def new(words: list[str]) -> int:
    """``brg-prob new``."""
    from brg_prob.cli.scaffold import copy_network, network_files

    parser = Parser(
        prog="brg-prob new", description="Copy one of the networks of brg_prob to a file of your own."
    )
    parser.add_argument("network", metavar="NETWORK", help=", ".join(network_files()))
    parser.add_argument("file", metavar="FILE", nargs="?", help="the copy (default: NETWORK.py here)")
    arguments = parser.parse_args(words)
    copy = copy_network(arguments.network, Path(arguments.file or f"{arguments.network}.py"))
    sys.stdout.write(f"{copy}\nrun it: brg-prob run {shlex.quote(str(copy))}\n")
    return DONE


def labelled(folders: list[Path]) -> dict[str, Path]:
    """Return run folders by their names, made unique by as much of their paths as that takes.

    Raises
    ------
    UsageError
        The same folder twice.

    Examples
    --------
    >>> list(labelled([Path("a/run"), Path("b/run")]))
    ['a/run', 'b/run']
    """
    paths = [folder.absolute() for folder in folders]
    places = [folder.resolve() for folder in folders]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise UsageError(f"{str(folders[at])!r} is named twice; give each run once")
    depth = 1
    names = [path.name for path in paths]
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    return dict(zip(names, folders, strict=True))


def _executed(request: Request) -> Executed:
    """Compute and write a run, show its progress and its result."""
    quiet = request.arguments.quiet
    from brg_prob.cli.terminal.progress import Stages

    with Stages(quiet=quiet) as progress:
        from brg_prob.cli.loading import execute

        try:
            done = execute(request, progress)
        except KeyboardInterrupt as interrupted:
            raise KeyboardInterrupt(str(interrupted) or "nothing was written") from None
    if not quiet:
        from brg_prob.cli.terminal.run import print_result

        print_result(done.run, done.written.folder)
        if done.written.note:
            sys.stdout.write(f"{done.written.note}\n")
        if done.reused:
            sys.stdout.write(f"unchanged, not computed again: {', '.join(done.reused)}\n")
    return done
