"""Splits of rows into training and held-out ones."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray


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
