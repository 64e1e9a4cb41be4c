"""``brg-prob rerun``: a run again from its ``model.json`` alone, and its numbers beside the stored ones."""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brg_prob import store
from brg_prob.cli.request import Elsewhere, Request, parse_run
from brg_prob.options import UsageError

PASSED_OVER = ("seconds", "versions")
"""Keys of ``summary.json`` that another machine or day may change."""


@contextlib.contextmanager
def restored(
    folder: Path, out: Path, *, quiet: bool = False
) -> Iterator[tuple[Request, dict[str, Any] | None]]:
    """Yield the request that made a run, on files restored from its ``model.json``, and its stored summary.

    The network's file, the modules it imports of the user's, and the table are written to a
    temporary folder that lives as long as the context. A table too large for ``model.json`` is
    looked for where it was, and refused if it has changed.

    Parameters
    ----------
    folder
        Holds ``model.json``; the summary is None if there is none.
    out
        Where the new run goes.
    quiet
        Whether the new run prints nothing.

    Raises
    ------
    UsageError, brg_prob.store.StoreError
        Not a run of the command line, or its table is gone.
    """
    kept = store.read_recipe(folder)
    if store.real_path(out) == store.real_path(folder):
        raise UsageError(f"--out {str(out)!r} is the run itself; choose another folder")
    stored = store.read_summary(folder)
    with tempfile.TemporaryDirectory(prefix="brg-prob-rerun-") as scratch:
        path = Path(scratch) / kept.file
        path.write_bytes(kept.source)
        data = None if kept.data is None else store.restored_table(kept.data, Path(scratch))
        with _neighbours(kept.modules, Path(scratch)):
            made = parse_run(kept.words, Elsewhere(path, data, out, kept.folder))
            made.arguments.fresh, made.arguments.quiet = True, quiet
            yield made, stored


@contextlib.contextmanager
def _neighbours(modules: dict[str, str], scratch: Path) -> Iterator[None]:
    """Write the modules that a network's file imports to a folder, and let them be found there first."""
    names = {Path(name).with_suffix("").as_posix().split("/")[0] for name in modules}
    for name, text in modules.items():
        path = (scratch / name).resolve()
        if not path.is_relative_to(scratch.resolve()):
            raise UsageError(f"model.json names the module {name!r}, which is no place beside the network")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    loaded = {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}
    for name in loaded:
        del sys.modules[name]
    sys.path.insert(0, str(scratch))
    try:
        yield
    finally:
        sys.path.remove(str(scratch))
        for name in [name for name in sys.modules if name.split(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(loaded)


@dataclass(frozen=True)
class Reproduction:
    """How the numbers of two summaries agree.

    Attributes
    ----------
    numbers
        How many were compared.
    worst
        Largest relative difference; infinite where something else than a number differs.
    where
        Where that is, e.g. ``flow.kl_to_prior[3]``; empty if nothing differs.
    """

    numbers: int
    worst: float
    where: str

    @property
    def same(self) -> bool:
        """Whether every number is the same, digit for digit."""
        return self.worst == 0

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if self.numbers == 0:
            return "no summary.json to compare with"
        if self.same:
            return f"reproduced: {self.numbers} numbers, digit for digit"
        size = "not a number" if math.isinf(self.worst) else f"{self.worst:.1e} relative"
        return f"not the same: of {self.numbers} numbers the worst differs by {size}, at {self.where}"


def compared(stored: dict[str, Any] | None, found: dict[str, Any]) -> Reproduction:
    """Compare the numbers of two summaries.

    Examples
    --------
    >>> compared({"flow": {"kl": [2.0]}}, {"flow": {"kl": [1.0]}}).sentence
    'not the same: of 1 numbers the worst differs by 5.0e-01 relative, at flow.kl[0]'
    """
    if stored is None:
        return Reproduction(0, 0.0, "")
    pairs = [
        pair
        for name in dict.fromkeys([*stored, *found])
        if name not in PASSED_OVER
        for pair in _pairs(name, stored.get(name), found.get(name))
    ]
    worst, where = 0.0, ""
    for name, one, other in pairs:
        size = _difference(one, other)
        if size > worst:
            worst, where = size, name
    return Reproduction(sum(_is_number(one) or _is_number(other) for _, one, other in pairs), worst, where)


def _pairs(name: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of two JSON values, side by side, with their names."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from _pairs(f"{name}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(f"{name}[{at}]", a, b)
    else:
        yield name, one, other


def _is_number(value: Any) -> bool:
    """Return whether a leaf is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _difference(one: Any, other: Any) -> float:
    """Return the relative difference of two leaves."""
    if one == other:
        return 0.0
    if _is_number(one) and _is_number(other):
        return abs(one - other) / max(abs(one), abs(other))
    return math.inf
