"""The command ``brg-prob``: parses, checks everything it can before jax is loaded, prints one-line errors.

Exit status: 0 done; 1 with ``--strict`` and a verdict that is not consistent; 2 bad input or usage,
one line on stderr with the offending value and the remedy, nothing written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from brg_prob.parser import EPILOG, Parser, run_parser
from brg_prob.store import check_target

DONE, NOT_CONSISTENT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
HELD_OUT = ("alternate", "random", "block", "none")

_DESCRIPTION = """\
Which degrees of freedom of a probabilistic network has the data made
distinguishable, at which scale, and what field theory is left when the rest
are integrated out?
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
    parser = Parser(
        prog="brg-prob", description=_DESCRIPTION, epilog=EPILOG, usage="brg-prob run|report … [--help]"
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
        from brg_prob.loading import execute

        run = execute(request, progress)
        with progress("report"):
            folder = run.save(request.out)
    if not request.arguments.quiet:
        print_result(run, folder)
    return NOT_CONSISTENT if request.arguments.strict and run.summary["verdict"] != "consistent" else DONE


def _report(words: list[str]) -> int:
    """``brg-prob report``."""
    parser = Parser(
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
                f"option {name!r} is "
                f"unknown{nearest(kind, ('model', 'engine', 'scheme')) or '; --help lists the options'}"
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


def _unknown(words: list[str], parser: Parser) -> UsageError:
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
            f"--held-out {arguments.held_out!r} is unknown; use "
            f"{', '.join(HELD_OUT)}{nearest(arguments.held_out, HELD_OUT)}"
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
            "no such file: --data "
            f"{arguments.data!r}{nearest(path.name, beside) or '; give the path of a table'}"
        )
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"--data {arguments.data!r} has the unknown format {path.suffix!r}: give one of "
            f"{', '.join(FORMATS)}"
        )


def _refuse(message: str) -> int:
    """Print one line on stderr and return the exit status of bad input."""
    sys.stderr.write("brg-prob: " + " ".join(message.split()) + "\n")
    return BAD_INPUT


def _is_deliberate(error: BaseException) -> bool:
    """Return whether an error was raised by this project's own code: a refusal, not a bug elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(__file__).resolve().parent in Path(frames[-1].filename).resolve().parents
