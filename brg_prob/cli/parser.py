"""The flags of ``brg-prob``: argparse with one-line errors, and help that fits 80 columns."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Callable
from typing import Any, NoReturn

from brg_prob.cli.arguments import ENGINES, SCHEMES
from brg_prob.options import Option, UsageError, nearest

WORDS = """\
words:
  posterior at T   prior × likelihood^(T/n): what T of the n observations say
                   (T = n: all of them; T = 0: the prior)
  flow, scale      draws carried from T = n back towards the prior, at some T
  λ, Fisher        signal to noise per observation along a direction of the
                   parameters, in units of the prior; it is seen at T if Tλ ≥ 1
  d_eff            effective number of parameters at T, the sum of Tλ/(1 + Tλ)
  diffusion        the flow that forgets first what the data say least about
  shell            the flow that redraws all directions with λ below a cutoff Λ
  tempering        the posterior sampled anew at every T
  Λ′               momentum below which a free field is still what it was
  KL               nats between the flowed posterior and the prior
  score            mean log predictive density of a row (elpd: their sum)
  critical scale   the coarsest one that predicts no worse, within one error
  detects          the deviation that a check would find with probability 0.8
"""

EPILOG = """\
examples:
  brg-prob run models/cosnet.py
  brg-prob run models/cosnet.py --data data/soi_monthly.csv --tune
  brg-prob run models/cosnet.py --model.mass 2 --scheme shell
  brg-prob run models/cosnet.py --help     the options of that network, too
  brg-prob compare runs/cosnet-0 runs/cosnet-1
  brg-prob new cosnet
"""


def run_parser(*, fields: dict[str, tuple[Option, ...] | None] | None = None) -> Parser:
    """Return the parser of ``brg-prob run``, with the fields of engine, scheme and network as flags."""
    parser = Parser(
        prog="brg-prob run",
        usage="brg-prob run MODEL.py[:Name] [options]",
        description="Train a network, flow it back with the Bayesian renormalization group, and hold\n"
        "the flow against the exact renormalization group.",
        epilog=f"{WORDS}\n{EPILOG}",
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
    group.add_argument(
        "--data",
        default="teacher",
        metavar="FILE",
        help="CSV, NPZ, NetCDF or Parquet table; 'teacher': a draw of the prior (default: teacher)",
    )
    group.add_argument(
        "--target",
        metavar="COL,…",
        help="columns to learn (default: the one named like the observed argument, else y, else the last)",
    )
    group.add_argument(
        "--inputs",
        metavar="COL,…",
        help="columns stacked into x (default: all that no argument is named after)",
    )
    group.add_argument(
        "--drop-missing",
        action="store_true",
        help="leave out rows with missing inputs; a missing target too, if the model is a linear readout",
    )
    group.add_argument(
        "--held-out",
        metavar="HOW",
        help="rows kept for scores: alternate, random, block (the last rows, of a series) or none (default: "
        "alternate for a linear readout, else none: leave-one-out scores any other model)",
    )
    group.add_argument(
        "--held-out-fraction",
        type=positive("fraction", below=1),
        default=0.5,
        metavar="X",
        help="part of the rows for random and block (default: 0.5)",
    )
    group.add_argument(
        "--held-out-seed",
        type=whole(0, 2**32 - 1),
        metavar="N",
        help="seed of that choice, for runs that hold out the same rows (default: --seed)",
    )
    group.add_argument(
        "--detrend",
        type=one_of("none", "line", "auto"),
        default="auto",
        metavar="HOW",
        help="take a fitted line off the target: none, line, or auto: in a periodic box, where the record's "
        "ends do not meet (default: auto)",
    )
    group.add_argument(
        "--no-detrend", dest="detrend", action="store_const", const="none", help="the same as --detrend none"
    )
    group.add_argument("--no-standardise", action="store_true", help="keep mean and variance of the target")
    group.add_argument(
        "--points",
        type=whole(2),
        default=400,
        metavar="N",
        help="training points of a teacher (default: 400)",
    )


def _add_computation(group: Any) -> None:
    """Flags that say what is computed."""
    group.add_argument(
        "--engine",
        metavar="NAME",
        help=f"{', '.join(ENGINES)} (default: exact for a linear readout, nuts for any other model)",
    )
    group.add_argument(
        "--scheme",
        metavar="NAME",
        help=f"{', '.join(SCHEMES)}; diffusion is followed by a shell (default: diffusion, or tempering "
        "where the prior has no map to the normal)",
    )
    group.add_argument(
        "--infinite-width",
        action="store_true",
        help="the network's limit of infinite width, a Gaussian field, in its place",
    )
    group.add_argument("--tune", action="store_true", help="mass, amplitude and noise of maximum evidence")
    group.add_argument(
        "--observations",
        type=positive("T"),
        metavar="T",
        help="train with the weight of T observations (default: all)",
    )
    group.add_argument(
        "--scales", type=whole(1), default=12, metavar="N", help="scales, from T to 1 (default: 12)"
    )
    group.add_argument(
        "--draws", type=whole(2), default=4000, metavar="N", help="posterior draws (default: 4000)"
    )
    group.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=0, metavar="N", help="random seed (default: 0)"
    )
    group.add_argument(
        "--float32",
        action="store_true",
        help="single precision: faster on accelerators, but eigenvalues are good to 1e-6 of the largest only",
    )


def _add_outcome(group: Any) -> None:
    """Flags that say what is judged and written."""
    group.add_argument(
        "--tolerance",
        type=positive("tolerance", below=1),
        default=0.05,
        metavar="X",
        help="deviation that must be detectable (default: 0.05)",
    )
    group.add_argument(
        "--shift-tolerance",
        type=positive("shift-tolerance", below=10),
        default=0.3,
        metavar="X",
        help="the same for draws against draws of any model, in their standard deviations (default: 0.3)",
    )
    group.add_argument("--controls", action="store_true", help="also run checks that must be rejected")
    group.add_argument("--out", metavar="DIR", help="run folder (default: runs/MODEL-SEED)")
    group.add_argument(
        "--fresh", action="store_true", help="compute every stage, also those an earlier run finished"
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="exit 1 unless the flow agrees with its theory and no conflict with the data was found",
    )
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _add_field(group: Any, kind: str, option: Option) -> None:
    """Add the flag of one field."""
    text = (option.help or option.annotation).replace("``", "")
    if text[:1].isascii() and text[1:2].islower():  # a word, not a symbol like Λ or G0
        text = text[0].lower() + text[1:]
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


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of several words."""

    def read(text: str) -> str:
        if text not in choices:
            hint = nearest(text, choices)
            raise argparse.ArgumentTypeError(f"{text!r} is unknown; use {', '.join(choices)}{hint}")
        return text

    return read


def positive(what: str, below: float = math.inf) -> Callable[[str], float]:
    """Return a reader of positive numbers below a bound."""
    meaning = f"{what} > 0" if math.isinf(below) else f"{what} between 0 and {below:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number; give {meaning}") from None
        if not 0 < value < below:
            raise argparse.ArgumentTypeError(f"{text!r} is out of range; give {meaning}")
        return value

    return read


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors and help of 80 columns at most."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in place of printing the usage."""
        remedy = "" if ";" in message else f"; {self.prog} --help shows what it takes"
        raise UsageError(message.removeprefix("argument ") + remedy)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help within the terminal's width, never more than 80 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=27, width=min(shutil.get_terminal_size().columns, 80))
