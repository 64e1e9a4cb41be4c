"""The values that go to a model: x (n, d), y, and how x is taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brg_prob.binding.roles import Call, Roles
from brg_prob.binding.signature import Signature
from brg_prob.binding.source import Columns
from brg_prob.options import UsageError

_FEW = 8
ROW = "row"
"""Name of the input of a model that takes none: the number of the row, for display."""
_EXACT = {True: 2**24, False: 2**53}
"""The largest whole number up to which all are exact, in single precision and in double."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A table's columns as one x and one y, and what they are.

    Attributes
    ----------
    x
        Inputs (n, d), float64: the stacked columns, then those that go to an argument of their own; the row
        numbers (n, 1) of a model that takes no inputs.
    y
        Observations, (n,) or (n, o), float64, NaN where missing; None where nothing is observed.
    inputs, target
        Names of the columns of x and of y.
    arguments
        Argument → column that it gets.
    call
        How the model is called with rows of x and y.
    levels
        Name of a used column of categories or booleans → its labels by code.
    notes
        A sentence for each thing that the names alone do not say.
    rows
        Numbers of the table's rows that were kept.
    dropped
        How many were not.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64] | None
    inputs: tuple[str, ...]
    target: tuple[str, ...]
    arguments: dict[str, str]
    call: Call
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rows: NDArray[np.intp] = field(default_factory=lambda: np.arange(0))
    dropped: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are stacked, in order."""
        return self.call.columns


def arrange(
    columns: Columns,
    signature: Signature,
    roles: Roles,
    *,
    drop_missing: bool = False,
    readout: bool = False,
    single: bool = False,
) -> Arrangement:
    """Return a table's columns as one x and one y.

    Parameters
    ----------
    columns, signature, roles
        The table, the model's arguments, and which column goes to which.
    drop_missing
        Leave out rows with a missing or infinite input; a missing target stays, as NaN, except for a readout.
    readout
        Whether the model is a linear readout: a field over x with an observation for each row.
    single
        Whether x will be in single precision.

    Raises
    ------
    UsageError
        One line: categories that would be stacked, missing values, fewer than two rows, whole numbers that a
        float cannot hold; for a readout also a target of categories or without variation.
    """
    own = list(dict.fromkeys(roles.named.values()))
    inputs = (*roles.stacked, *roles.named.values())
    _refuse_stacked_categories(columns, signature, roles)
    kept = _kept_rows(columns, list(dict.fromkeys(inputs)), roles.targets, drop_missing, readout)
    dtypes = {name: _dtype(columns, name, kept) for name in own}
    for name in own:
        _refuse_inexact(name, columns.values[name][kept], dtypes[name], single)
    x = _stacked(columns, inputs, kept) if inputs else np.flatnonzero(kept)[:, None].astype(np.float64)
    y = _stacked(columns, roles.targets, kept) if roles.targets else None
    if y is not None:
        y[~np.isfinite(y)] = np.nan
    if readout and y is not None:
        _refuse_no_field(columns, roles.targets, y)
    used = (*inputs, *roles.targets)
    return Arrangement(
        x=x,
        y=y[:, 0] if y is not None and len(roles.targets) == 1 else y,
        inputs=inputs or (ROW,),
        target=roles.targets,
        arguments=dict(roles.named),
        call=roles.call(signature, dtypes),
        levels={name: columns.levels[name] for name in used if name in columns.levels},
        notes=(*columns.notes, *roles.notes),
        rows=np.flatnonzero(kept),
        dropped=int((~kept).sum()),
    )


def _stacked(columns: Columns, names: Sequence[str], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return columns side by side, (n, d)."""
    return np.stack([columns.values[name][kept].astype(np.float64) for name in names], axis=1)


def _refuse_stacked_categories(columns: Columns, signature: Signature, roles: Roles) -> None:
    """Refuse codes of categories in a stack: their order and distance mean nothing."""
    for name in roles.stacked:
        if columns.kinds.get(name) == "category":
            levels = columns.levels.get(name, ())
            shown = ", ".join(levels[:3]) + ("…" if len(levels) > 3 else "")
            others = [other for other in roles.stacked if columns.kinds.get(other) != "category"]
            without = f"--inputs {','.join(others)}" if len(others) <= _FEW else "--inputs and the others"
            remedy = f", or leave it out with {without}" if others else ""
            raise UsageError(
                f"column {name!r} of {columns.source} holds categories ({shown}), whose codes are no numbers "
                f"to stack into {roles.stack!r}; give {signature.name!r} an argument {name}{remedy}"
            )


def _kept_rows(
    columns: Columns, inputs: Sequence[str], targets: Sequence[str], drop: bool, readout: bool
) -> NDArray[np.bool_]:
    """Return which rows are used, (n,)."""
    finite = {name: np.isfinite(columns.values[name]) for name in (*inputs, *targets)}
    everywhere = np.ones(len(columns), bool)
    bad = int(np.sum(~np.logical_and.reduce([*finite.values(), everywhere])))
    if bad and not drop:
        first = next(name for name in columns.values if name in finite and not finite[name].all())
        stay = not readout and all(finite[name].all() for name in inputs)
        what = "the targets that are missing out of the likelihood, their rows kept" if stay else "them out"
        raise UsageError(
            f"{columns.source} has {bad} of {len(everywhere)} rows with missing or infinite values (first in "
            f"{first!r}): pass --drop-missing (drop_missing=True) to leave {what}"
        )
    needed = (*inputs, *targets) if readout else tuple(inputs)
    kept: NDArray[np.bool_] = np.logical_and.reduce([*(finite[name] for name in needed), everywhere])
    observed = np.logical_or.reduce([finite[name] for name in targets]) if targets else everywhere
    usable = int(np.sum(kept & observed))
    if usable < 2:
        raise UsageError(
            f"{columns.source} has {usable} usable row{'s' * (usable != 1)}: at least two are needed"
        )
    return kept


def _dtype(columns: Columns, name: str, kept: NDArray[np.bool_]) -> str:
    """Return "int" for codes, booleans and whole numbers, "float" for measured ones.

    A gap made floats of whole numbers; without its row they are whole again.
    """
    values = columns.values[name]
    if values.dtype.kind in "iu" or columns.kinds.get(name) in ("category", "boolean"):
        return "int"
    had_gaps = bool(np.isnan(values).any())
    return "int" if had_gaps and np.array_equal(values[kept], np.round(values[kept])) else "float"


def _refuse_inexact(name: str, values: NDArray[Any], dtype: str, single: bool) -> None:
    """Refuse whole numbers that would not come back out of a float."""
    largest = int(np.abs(values).max())
    if dtype == "int" and largest > _EXACT[single]:
        precision = "single precision (--float32)" if single else "double precision"
        raise UsageError(
            f"column {name!r} goes to an argument as whole numbers, up to {largest}, which {precision} does "
            f"not hold above {_EXACT[single]}; number them from 0"
        )


def _refuse_no_field(columns: Columns, targets: Sequence[str], y: NDArray[np.float64]) -> None:
    """Refuse a target of a readout that is no field: categories, or one value throughout."""
    for name, values in zip(targets, y.T, strict=True):
        if columns.kinds.get(name) == "category":
            raise UsageError(
                f"target {name!r} of {columns.source} holds categories, whose codes are no values of a "
                "field; give a model with a categorical observation"
            )
        if values.min() == values.max():
            raise UsageError(
                f"target {name!r} of {columns.source} is constant ({values[0]:g}): there is nothing to learn"
            )
