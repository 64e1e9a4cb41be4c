"""The command line of ``brg-prob run``, parsed and checked before jax is imported."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brg_prob.cli.arguments import (
    AUTOMATIC,
    ENGINES,
    SCHEMES,
    ModelSource,
    known_choice,
    read_model_source,
    registered_options,
    split_model,
)
from brg_prob.cli.parser import Parser, run_parser
from brg_prob.options import Option, UsageError, nearest
from brg_prob.store import check_target

HELD_OUT = ("alternate", "random", "block", "none")


@dataclass(frozen=True)
class Choice:
    """An engine, scheme or network with the options given for it."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A checked command line of ``brg-prob run``.

    ``words`` is the command line itself; ``data_name`` and ``folder`` are the table's name and
    the folder of the network's file as they were given, which is not where these are read when an
    earlier run is repeated.
    """

    source: ModelSource
    model: Choice
    engine: Choice
    scheme: Choice
    arguments: argparse.Namespace
    out: Path
    command: str
    words: tuple[str, ...] = ()
    data_name: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Elsewhere:
    """Where an earlier run's files are read when it is repeated, and where the result goes."""

    model: Path
    data: Path | None
    out: Path
    folder: str


def parse_run(words: Sequence[str], elsewhere: Elsewhere | None = None) -> Request:
    """Return the checked arguments of ``brg-prob run``; jax is not imported.

    Flags with a dot belong to the fields of network, engine and scheme: they are set aside,
    the plain ones say which network, engine and scheme, and then the fields are known.

    Parameters
    ----------
    words
        What follows ``brg-prob run``.
    elsewhere
        Files that stand in for those that the words name.

    Raises
    ------
    UsageError, StoreError
        One line with the offending value and the remedy.
    SystemExit
        After ``--help``.
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
    data_name = arguments.data
    if elsewhere is not None:
        _, name = split_model(arguments.model)
        arguments.model = f"{elsewhere.model}:{name}" if name else str(elsewhere.model)
        arguments.data = str(elsewhere.data or arguments.data)
        arguments.out = str(elsewhere.out)
    source = None if arguments.model is None else read_model_source(arguments.model)
    engine = _engine(arguments.engine, dotted)
    scheme = known_choice("scheme", arguments.scheme or "diffusion", SCHEMES)
    fields = {
        "model": None if source is None else source.options,
        "engine": registered_options("engine", "exact" if engine == AUTOMATIC else engine),
        "scheme": registered_options("scheme", scheme),
    }
    if source is None or wants_help:
        run_parser(fields=fields).print_help()
        raise SystemExit(0)
    chosen = {kind: _chosen(dotted, kind, options) for kind, options in fields.items()}
    _check(arguments)
    if arguments.held_out_seed is None:
        arguments.held_out_seed = arguments.seed
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
        words=tuple(words),
        data_name=data_name,
        folder=str(source.path.parent) if elsewhere is None else elsewhere.folder,
    )


def _engine(named: str | None, dotted: list[tuple[str, str, str]]) -> str:
    """Return the engine; without a name the network decides, unless options of ``exact`` are given."""
    if named is not None:
        return known_choice("engine", named, ENGINES)
    return "exact" if any(kind == "engine" for kind, _, _ in dotted) else AUTOMATIC


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
    if arguments.held_out is not None and arguments.held_out not in HELD_OUT:
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
