"""The command ``brg-prob``: names the subcommand, and turns refusals into one line and an exit status.

Exit status: 0 done; 1 with ``--strict`` unless the flow agrees and no conflict was found; 2 bad input or
usage, one line on stderr with the offending value and the remedy, nothing written; 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from brg_prob.cli.parser import EPILOG, Parser
from brg_prob.options import UsageError, nearest

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
_LONGEST = 700

_DESCRIPTION = """\
Which degrees of freedom of a probabilistic network has the data made
distinguishable, at which scale, and what field theory is left when the rest
are integrated out?
"""

_COMMANDS = {
    "run": "train a network, flow it back, and judge the flow",
    "compare": "hold runs, or one run's prior and posterior, against each other",
    "rerun": "do a run again from its model.json and compare the numbers",
    "report": "render the report of a run again",
    "new": "copy a network to start from",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        _check_text(words)
        return _dispatch(words)
    except UsageError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as interrupted:
        what = f"; {interrupted}" if str(interrupted) else ""
        sys.stderr.write(f"brg-prob: interrupted{what}\n")
        return INTERRUPTED
    except SystemExit as finished:  # argparse after --help or --version
        return int(finished.code or 0)
    except OSError as error:  # no permission, a name too long, a disk that fails
        if error.filename is None:
            raise
        return _refuse(
            f"cannot use {str(error.filename)!r}: {error.strerror or error}; check path and permissions"
        )
    except (ValueError, TypeError) as error:
        if not _is_deliberate(error):
            raise
        return _refuse(str(error))


def _dispatch(words: list[str]) -> int:
    """Run the subcommand that the words name."""
    names = "|".join(_COMMANDS)
    width = max(map(len, _COMMANDS))
    parser = Parser(
        prog="brg-prob",
        description=_DESCRIPTION
        + "\ncommands:\n"
        + "\n".join(f"  {name:<{width}}  {text}" for name, text in _COMMANDS.items()),
        epilog=EPILOG,
        usage=f"brg-prob {names} … [--help]",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands above")
    first = parser.parse_args(words[:1])
    if first.version:
        from importlib.metadata import version

        sys.stdout.write(f"brg-prob {version('brg-prob')}\n")
        return DONE
    if first.command is None:
        parser.print_help()
        return DONE
    if first.command not in _COMMANDS:
        raise UsageError(
            f"command {first.command!r} is unknown; use {', '.join(_COMMANDS)}"
            f"{nearest(first.command, _COMMANDS)}"
        )
    from brg_prob.cli import commands

    subcommand: Callable[[list[str]], int] = getattr(commands, first.command)
    return subcommand(words[1:])


def _check_text(words: list[str]) -> None:
    """Refuse arguments that are no text: netCDF and JSON could not hold them at the end of a run."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{word!r} is not UTF-8; rename the file or folder") from None


def _refuse(message: str) -> int:
    """Print one line on stderr, nothing in it that a terminal would obey, and return the exit status."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(message.split()))
    if len(line) > _LONGEST:  # the remedy stands at the end
        line = f"{line[: _LONGEST - 200]} … {line[-200:]}"
    sys.stderr.write(f"brg-prob: {line}\n")
    return BAD_INPUT


def _is_deliberate(error: BaseException) -> bool:
    """Return whether an error was raised by this project's own code: a refusal, not a bug elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(__file__).resolve().parents[1] in Path(frames[-1].filename).resolve().parents
