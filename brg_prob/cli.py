"""The command ``brg-prob``: parses, checks everything it can before jax is loaded, prints one-line errors.

Exit status: 0 done; 1 with ``--strict`` and a verdict that is not consistent; 2 bad input or usage,
one line on stderr with the offending value and the remedy, nothing written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from brg_prob.arguments import (
    ENGINES,
    SCHEMES,
    ModelSource,
    Option,
    UsageError,
    known_choice,
    nearest,
    read_model_source,
    registered_options,
)
from brg_prob.store import check_target

DONE, NOT_CONSISTENT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
HELD_OUT = ("alternate", "random", "block", "none")

_DESCRIPTION = """\
Which degrees of freedom of a probabilistic network has the data made
distinguishable, at which scale, and what field theory is left when the rest
are integrated out?
"""
_EPILOG = """\
examples:
  brg-prob run models/cosnet.py
  brg-prob run models/cosnet.py --data data/soi_monthly.csv --tune
  brg-prob run models/cosnet.py --model.mass 2 --scheme shell
  brg-prob run models/cosnet.py --help     the options of that network, too
"""


@dataclass(frozen=True)
class Choice:
    """An engine, scheme or network with the options given for it."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A checked command line of ``brg-prob run``."""

    source: ModelSource
    model: Choice
    engine: Choice
    scheme: Choice
    arguments: argparse.Namespace
    out: Path
    command: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except UsageError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("brg-prob: interrupted; nothing was written\n")
        return INTERRUPTED
    except SystemExit as finished:  # argparse after --help or --version
        return int(finished.code or 0)
    except (ValueError, TypeError) as error:
        if not _is_deliberate(error):
            raise
        return _refuse(str(error))


def _dispatch(words: list[str]) -> int:
    """Run the subcommand that the words name."""
    commands: dict[str, Callable[[list[str]], int]] = {"run": _run, "report": _report}
    parser = _Parser(
        prog="brg-prob", description=_DESCRIPTION, epilog=_EPILOG, usage="brg-prob run|report … [--help]"
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "command", nargs="?", metavar="run|report", help="run a network, or render a run's report again"
    )
    first = parser.parse_args(words[:1])
    if first.version:
        from importlib.metadata import version

        sys.stdout.write(f"brg-prob {version('brg-prob')}\n")
        return DONE
    if first.command is None:
        parser.print_help()
        return DONE
    if first.command not in commands:
        known = " or ".join(commands)
        raise UsageError(
            f"command {first.command!r} is unknown; use {known}{nearest(first.command, commands)}"
        )
    return commands[first.command](words[1:])


def _run(words: list[str]) -> int:
    """``brg-prob run``."""
    request = parse_run(words)
    from brg_prob.terminal import Stages, print_result

    with Stages(quiet=request.arguments.quiet) as progress:
        with progress("loading"):
            from brg_prob.loading import execute
        run = execute(request, progress)
        folder = run.save(request.out)
    if not request.arguments.quiet:
        print_result(run, folder)
    return NOT_CONSISTENT if request.arguments.strict and run.summary["verdict"] != "consistent" else DONE


def _report(words: list[str]) -> int:
    """``brg-prob report``."""
    parser = _Parser(
        prog="brg-prob report", description="Render the report of a run again from what the run stored."
    )
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    arguments = parser.parse_args(words)
    from brg_prob import store
    from brg_prob.report import render_report

    stored = store.read_run(Path(arguments.folder))
    page = store.replace_page(Path(arguments.folder), store.REPORT, render_report(stored))
    sys.stdout.write(f"{page}\n")
    return DONE


def parse_run(words: list[str]) -> Request:
    """Return the checked arguments of ``brg-prob run``; jax is not imported.

    Flags with a dot belong to the fields of network, engine and scheme: they are set aside,
    the plain ones say which network, engine and scheme, and then the fields are known.
    """
    wants_help = any(word in ("-h", "--help") for word in words)
    dotted, plain = _take_dotted([word for word in words if word not in ("-h", "--help")])
    parser = run_parser()
    arguments, unknown = parser.parse_known_args(plain)
    if unknown:
        raise _unknown(unknown, parser)
    if arguments.model is None and not wants_help:
        raise UsageError(
            "MODEL.py is missing; give a file with a NumPyro model, for example models/cosnet.py"
        )
    source = None if arguments.model is None else read_model_source(arguments.model)
    engine = known_choice("engine", arguments.engine, ENGINES)
    scheme = known_choice("scheme", arguments.scheme, SCHEMES)
    fields = {
        "model": None if source is None else source.options,
        "engine": registered_options("engine", engine),
        "scheme": registered_options("scheme", scheme),
    }
    if source is None or wants_help:
        run_parser(fields=fields).print_help()
        raise SystemExit(DONE)
    chosen = {kind: _chosen(dotted, kind, options) for kind, options in fields.items()}
    _check(arguments)
    out = Path(arguments.out) if arguments.out else Path("runs") / f"{source.path.stem}-{arguments.seed}"
    check_target(out)
    return Request(
        source=source,
        model=Choice(source.name, chosen["model"]),
        engine=Choice(engine, chosen["engine"]),
        scheme=Choice(scheme, chosen["scheme"]),
        arguments=arguments,
        out=out,
        command=shlex.join(["brg-prob", "run", *words]),
    )


def run_parser(*, fields: dict[str, tuple[Option, ...] | None] | None = None) -> _Parser:
    """Return the parser of ``brg-prob run``, with the fields of engine, scheme and network as flags."""
    parser = _Parser(
        prog="brg-prob run",
        usage="brg-prob run MODEL.py[:Name] [options]",
        description="Train a network, flow it back with the Bayesian renormalization group, and hold\n"
        "the flow against the exact renormalization group.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL.py[:Name]",
        help="a file with a NumPyro model; of several, :Name says which",
    )
    _add_data(parser.add_argument_group("data"))
    _add_computation(parser.add_argument_group("computation"))
    _add_outcome(parser.add_argument_group("outcome"))
    for kind, options in (fields or {}).items():
        if options:
            group = parser.add_argument_group(f"options of this {'network' if kind == 'model' else kind}")
            for option in options:
                _add_field(group, kind, option)
    return parser


def _add_data(group: Any) -> None:
    """Flags that say what is learned."""
    group.add_argument("--data", default="teacher", metavar="FILE", help="CSV, NPZ, NetCDF or Parquet table; 'teacher': a draw of the prior (default: teacher)")  # fmt: skip
    group.add_argument("--target", metavar="COL", help="column to learn (default: y, else the last)")
    group.add_argument("--inputs", metavar="COL,…", help="input columns (default: all others)")
    group.add_argument("--drop-missing", action="store_true", help="leave out rows with missing values")
    group.add_argument("--held-out", default="alternate", metavar="HOW", help="rows kept for scores: alternate, random, block or none (default: alternate)")  # fmt: skip
    group.add_argument(
        "--no-detrend", action="store_true", help="keep the line through the first and last point"
    )
    group.add_argument("--no-standardise", action="store_true", help="keep mean and variance of the target")
    group.add_argument("--points", type=whole(2), default=400, metavar="N", help="training points of a teacher (default: 400)")  # fmt: skip


def _add_computation(group: Any) -> None:
    """Flags that say what is computed."""
    group.add_argument(
        "--engine", default="exact", metavar="NAME", help=f"{', '.join(ENGINES)} (default: exact)"
    )
    group.add_argument("--scheme", default="diffusion", metavar="NAME", help=f"{', '.join(SCHEMES)}; diffusion is followed by a shell (default: diffusion)")  # fmt: skip
    group.add_argument("--tune", action="store_true", help="mass, amplitude and noise of maximum evidence")
    group.add_argument("--observations", type=positive("T"), metavar="T", help="train with the weight of T observations (default: all)")  # fmt: skip
    group.add_argument(
        "--scales", type=whole(1), default=12, metavar="N", help="scales, from T to 1 (default: 12)"
    )
    group.add_argument(
        "--draws", type=whole(2), default=4000, metavar="N", help="posterior draws (default: 4000)"
    )
    group.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=0, metavar="N", help="random seed (default: 0)"
    )
    group.add_argument("--float32", action="store_true", help="single precision: faster on accelerators, but eigenvalues are good to 1e-6 of the largest only")  # fmt: skip


def _add_outcome(group: Any) -> None:
    """Flags that say what is judged and written."""
    group.add_argument("--tolerance", type=positive("tolerance"), default=0.05, metavar="X", help="deviation that must be detectable (default: 0.05)")  # fmt: skip
    group.add_argument("--controls", action="store_true", help="also run checks that must be rejected")
    group.add_argument("--out", metavar="DIR", help="run folder (default: runs/MODEL-SEED)")
    group.add_argument("--strict", action="store_true", help="exit 1 unless the verdict is consistent")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _add_field(group: Any, kind: str, option: Option) -> None:
    """Add the flag of one field."""
    text = option.help[:1].lower() + option.help[1:] if option.help else option.annotation
    default = "required" if option.default is None else f"default: {option.default}"
    group.add_argument(
        f"--{kind}.{option.name}",
        dest=f"{kind}.{option.name}",
        metavar=option.metavar,
        default=None,
        help=f"{text} ({default})".replace("%", "%%"),
    )


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number; give one from {low} on"
            ) from None
        if value < low or (high is not None and value > high):
            reach = f"from {low} on" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a whole number {reach}")
        return value

    return read


def positive(what: str) -> Callable[[str], float]:
    """Return a reader of positive finite numbers."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number; give {what} > 0") from None
        if not (math.isfinite(value) and value > 0):
            raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a finite {what} > 0")
        return value

    return read


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors and help of 80 columns at most."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in place of printing the usage."""
        raise UsageError(message.removeprefix("argument "))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help within the terminal's width, never more than 80 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=27, width=min(shutil.get_terminal_size().columns, 80))


def _take_dotted(words: list[str]) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Split words into flags with a dot, as (kind, field, value), and the rest."""
    taken, rest, at = [], [], 0
    while at < len(words):
        word = words[at]
        at += 1
        name, equals, value = word.partition("=")
        kind, dot, field = name.removeprefix("--").partition(".")
        if not (name.startswith("--") and dot):
            rest.append(word)
            continue
        if kind not in ("model", "engine", "scheme"):
            raise UsageError(
                f"option {name!r} is unknown{nearest(kind, ('model', 'engine', 'scheme')) or '; --help lists the options'}"
            )
        if not equals:
            if at == len(words):
                raise UsageError(f"{name} needs a value; give {name} VALUE")
            value = words[at]
            at += 1
        taken.append((kind, field, value))
    return taken, rest


def _chosen(
    dotted: list[tuple[str, str, str]], kind: str, options: tuple[Option, ...] | None
) -> dict[str, Any]:
    """Return the fields given for the network, engine or scheme, parsed by their types.

    Where the fields are not known yet (a network that the file imports), values stay text.
    """
    given = {field: value for what, field, value in dotted if what == kind}
    if options is None:
        return dict(given)
    known = {option.name: option for option in options}
    for field in given:
        if field not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise UsageError(f"option '--{kind}.{field}' is unknown; {has}{nearest(field, known)}")
    return {field: known[field].parse(value, f"--{kind}.{field}") for field, value in given.items()}


def _unknown(words: list[str], parser: _Parser) -> UsageError:
    """Return the error for words that no flag knows, with the nearest flag."""
    flag = next((word for word in words if word.startswith("-")), None)
    if flag is None:
        return UsageError(f"{words[0]!r} is one argument too many; flags begin with --")
    known = [text for action in parser._actions for text in action.option_strings]
    name = flag.split("=")[0]
    return UsageError(f"option {name!r} is unknown{nearest(name, known) or '; --help lists the options'}")


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what can be refused without reading a table."""
    if arguments.held_out not in HELD_OUT:
        raise UsageError(
            f"--held-out {arguments.held_out!r} is unknown; use {', '.join(HELD_OUT)}{nearest(arguments.held_out, HELD_OUT)}"
        )
    if arguments.data == "teacher":
        for flag in ("target", "inputs"):
            if getattr(arguments, flag):
                raise UsageError(f"--{flag} {getattr(arguments, flag)!r} needs a table; add --data FILE")
        return
    from brg_prob.tables import FORMATS

    path = Path(arguments.data)
    if not path.is_file():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UsageError(
            f"no such file: --data {arguments.data!r}{nearest(path.name, beside) or '; give the path of a table'}"
        )
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"--data {arguments.data!r} has the unknown format {path.suffix!r}: give one of {', '.join(FORMATS)}"
        )


def _refuse(message: str) -> int:
    """Print one line on stderr and return the exit status of bad input."""
    sys.stderr.write("brg-prob: " + " ".join(message.split()) + "\n")
    return BAD_INPUT


def _is_deliberate(error: BaseException) -> bool:
    """Return whether an error was raised by this project's own code: a refusal, not a bug elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(__file__).resolve().parent in Path(frames[-1].filename).resolve().parents
