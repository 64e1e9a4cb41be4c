"""Columns of a table to the arguments of a model, and splits into training and held-out rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

_RESERVED = ("x", "y")


@dataclass(frozen=True, eq=False)
class Binding:
    """The arguments of one call ``model(x, y, **covariates)``, taken from a table.

    Attributes
    ----------
    x
        Inputs, (n, d): the columns in ``inputs``, in that order.
    y
        Observations, (n,) or (n, o), or None if the table holds no target.
    covariates
        Columns bound to arguments of the model by name, (n,) each.
    inputs
        Names of the columns stacked into x.
    target
        Names of the columns of y.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    covariates: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    target: tuple[str, ...] = ()

    def rows(self, index: ArrayLike) -> Binding:
        """Return the binding restricted to some rows."""
        chosen = np.asarray(index)
        y = None if self.y is None else self.y[chosen]
        covariates = {name: column[chosen] for name, column in self.covariates.items()}
        return Binding(self.x[chosen], y, covariates, self.inputs, self.target)


def bind(
    table: Mapping[str, ArrayLike],
    model: Callable[..., Any],
    *,
    target: str | Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
) -> Binding:
    """Bind the columns of a table to the arguments of a model.

    A column named like an argument of the model goes to that argument; the target goes to
    ``y``; the remaining columns are stacked into ``x``, in the order of the table.

    Parameters
    ----------
    table
        Column name → 1-D array of numbers, all of one length.
    model
        ``model(x, y=None, **covariates)``.
    target
        Name of the column to be observed, or several for a network with several outputs.
        Default: the column "y"; without it nothing is observed.
    inputs
        Columns to stack into x; default: all that are left over.

    Raises
    ------
    ValueError
        One line: a missing, empty, ragged, non-numeric or non-finite column, an argument of
        the model that no column provides, or no column left for x.

    Examples
    --------
    >>> def model(x, y=None, weight=None): ...
    >>> bound = bind({"year": [1.0, 2.0], "weight": [1.0, 3.0], "co2": [310.0, 320.0]}, model, target="co2")
    >>> bound.x.shape, bound.inputs, sorted(bound.covariates), bound.y.tolist()
    ((2, 1), ('year',), ['weight'], [310.0, 320.0])
    """
    columns = _checked_columns(table)
    if target is None:
        targets: tuple[str, ...] = ("y",) if "y" in columns else ()
    else:
        targets = (target,) if isinstance(target, str) else tuple(target)
    _require_columns(targets, columns, "target")
    named, required = _arguments(model)
    free = {name: column for name, column in columns.items() if name not in targets}
    covariates = {name: free.pop(name) for name in named if name in free}
    if inputs is not None:
        _require_columns(inputs, free, "input")
    chosen = tuple(free) if inputs is None else tuple(inputs)
    missing = [name for name in required if name not in covariates]
    if missing:
        raise ValueError(f"the model needs {missing[0]!r}, which is no column; columns: {', '.join(columns)}")
    if not chosen:
        raise ValueError(f"no column is left for the inputs x; columns: {', '.join(columns)}")
    x = np.stack([free[name] for name in chosen], axis=1)
    y = np.stack([columns[name] for name in targets], axis=1) if targets else None
    return Binding(x, y[:, 0] if y is not None and len(targets) == 1 else y, covariates, chosen, targets)


def _arguments(model: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the model's named arguments beyond x and y, and those among them without a default."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for p in inspect.signature(model).parameters.values() if p.kind in kinds]
    named = [p for p in parameters if p.name not in _RESERVED]
    return tuple(p.name for p in named), tuple(p.name for p in named if p.default is p.empty)


def _require_columns(names: Sequence[str], columns: Mapping[str, Any], role: str) -> None:
    """Raise ValueError for the first name that is no column."""
    for name in names:
        if name not in columns:
            raise ValueError(f"{role} {name!r} is no column that is free; columns: {', '.join(columns)}")


def _checked_columns(table: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Return the columns as float arrays of one length, finite throughout."""
    if not table:
        raise ValueError("the table has no column")
    columns = {name: _checked_column(name, column) for name, column in table.items()}
    first, length = next((name, len(column)) for name, column in columns.items())
    if length == 0:
        raise ValueError("the table has no row")
    for name, column in columns.items():
        if len(column) != length:
            raise ValueError(f"column {name!r} has {len(column)} rows but {first!r} has {length}")
    return columns


def _checked_column(name: str, column: ArrayLike) -> NDArray[Any]:
    """Return one column as a 1-D array of finite numbers (booleans become 0 and 1)."""
    array = np.asarray(column)
    if array.ndim != 1:
        raise ValueError(f"column {name!r} has shape {array.shape}; a column is 1-D")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {name!r} holds {array.dtype}, not numbers; encode it or leave it out")
    if array.dtype.kind != "f":
        array = array.astype(float)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"column {name!r} holds {array[bad[0]]} in row {bad[0]}; drop or fill such rows")
    return array


@dataclass(frozen=True, eq=False)
class Split:
    """Training and held-out rows.

    Attributes
    ----------
    train, test
        Row numbers, ascending, disjoint; together all n.
    description
        A sentence that says how the rows were chosen.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    description: str


def _split(n: int, test: NDArray[np.intp], description: str) -> Split:
    """Return the split with these held-out rows; both parts must hold at least one row."""
    test = np.sort(test)
    train = np.setdiff1d(np.arange(n), test)
    if not len(train) or not len(test):
        raise ValueError(f"{n} rows leave {len(train)} to train and {len(test)} to hold out; both need one")
    return Split(train, test, description)


def alternate_split(n: int) -> Split:
    """Hold out every second row.

    An equispaced record (d = 1, rows in order) stays equispaced, at twice the spacing. Its
    periodic box keeps its length if n is even; drop a row first if n is odd and that matters.
    """
    return _split(n, np.arange(1, n, 2), "every second row held out, from the second on")


def random_split(n: int, *, key: Array, fraction: float = 0.5) -> Split:
    """Hold out a random subset of round(fraction · n) rows, without replacement."""
    size = _held_out_size(n, fraction)
    test = np.asarray(jax.random.permutation(key, n))[:size].astype(np.intp)
    return _split(n, test, f"{size} of {n} rows held out at random")


def block_split(n: int, *, key: Array | None = None, fraction: float = 0.5) -> Split:
    """Hold out round(fraction · n) consecutive rows: a gap to be bridged, or a future to be forecast.

    With a key the block begins at a random row; without, it is the end of the record.
    """
    size = _held_out_size(n, fraction)
    start = n - size if key is None else int(jax.random.randint(key, (), 0, n - size + 1))
    return _split(n, np.arange(start, start + size), f"rows {start} to {start + size - 1} of {n} held out")


def _held_out_size(n: int, fraction: float) -> int:
    """Return the number of rows to hold out."""
    if not 0 < fraction < 1:
        raise ValueError(f"fraction = {fraction} must lie between 0 and 1")
    return round(fraction * n)


def split_rows(n: int, kind: str, *, key: Array | None = None, fraction: float = 0.5) -> Split:
    """Split n rows by name of the method: "alternate", "random" or "block".

    Examples
    --------
    >>> split_rows(5, "alternate").test.tolist()
    [1, 3]
    """
    if kind == "alternate":
        return alternate_split(n)
    if kind == "block":
        return block_split(n, key=key, fraction=fraction)
    if kind == "random":
        if key is None:
            raise ValueError("a random split needs a key")
        return random_split(n, key=key, fraction=fraction)
    raise ValueError(f"split {kind!r} is unknown; choose alternate, random or block")
