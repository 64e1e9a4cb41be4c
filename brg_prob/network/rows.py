"""Whose row is whose: which rows of the targets a model's terms belong to, found by moving them.

The model is run with some rows of y moved to other admissible values. Rows are numbered in binary, and
for each digit those with a 0 and those with a 1 are moved in turn: a term that belongs to one row alone
changes in exactly one run of each pair, and the digits spell the row. 2 log₂ n runs tell all rows apart, in
one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from brg_prob.arrays import first_place
from brg_prob.network.targets import bits, moves

PRIOR = ""
"""Name of the prior's density among the sites, which have none."""
NONE, SEVERAL = -1, -2
"""In place of a row: what depends on no row of y, and what depends on several."""

Outcome = Mapping[str, tuple[Array, Array]]
"""Site → its value and the terms of its log-likelihood, entry by entry."""

_ROUND_OFF = 256


@dataclass(frozen=True, eq=False)
class SiteRows:
    """Which rows of y one observed site belongs to.

    Attributes
    ----------
    entries, columns
        Row and column of y that each entry of the value is made of, of the value's shape; NONE or SEVERAL.
    terms
        Row of each term of the log-likelihood, (batch shape): that of all entries of its event.
    mixed
        Whether a term changes with rows of y that are not its own.
    needs
        Columns of y on which each term depends beside those that it observes, (o, batch shape).
    nan
        Which terms change where missing targets are NaN, of the batch shape.
    """

    entries: NDArray[np.intp]
    columns: NDArray[np.intp]
    terms: NDArray[np.intp]
    mixed: bool
    needs: NDArray[np.bool_]
    nan: NDArray[np.bool_]

    @property
    def unmoved(self) -> bool:
        """Whether neither value nor terms change with y: a constant is observed, and no residual."""
        return bool(np.all(self.entries == NONE) and np.all(self.terms == NONE))

    @property
    def by_row(self) -> bool:
        """Whether every term belongs to one row, or to none."""
        return not np.any(self.terms == SEVERAL)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of all observed sites, and what changes with y beside them.

    Attributes
    ----------
    sites
        Observed site → its rows.
    factors
        ``numpyro.factor`` statement that changes with y → rows of its terms.
    random
        Sites whose terms change with the random key alone, nothing else moved.
    prior
        Whether the prior's density changes with y, or where missing targets are NaN.
    nan
        Factors that change where missing targets are NaN.
    """

    sites: Mapping[str, SiteRows]
    factors: Mapping[str, SiteRows]
    random: tuple[str, ...]
    prior: bool
    nan: tuple[str, ...]


def rows_of(
    outcome: Callable[[Array, Array, Array], Outcome],
    targets: Array,
    filled: np.ndarray,
    missing: np.ndarray,
    events: Mapping[str, int],
) -> Rows:
    """Return whose row is whose.

    Parameters
    ----------
    outcome
        (y, key, which of two draws of the latent sites) → :data:`Outcome`; pure. The prior is called PRIOR.
    targets
        y as the model takes it, (n,) or (n, o).
    filled, missing
        The same as (n, o) on the host, and which entries are missing.
    events
        Observed site → number of event dimensions of its value; a factor is none of them.
    """
    n, columns = filled.shape
    codes, ends = bits(n), moves(filled)
    digits = (np.arange(n)[None, :] >> np.arange(codes)[:, None]) & 1  # (codes, n)
    by_row = [each[:, :, None] & np.ones(columns, bool) for each in (digits == 1, digits == 0)]
    by_column = np.eye(columns, dtype=bool)[:, None, :] & np.ones((1, n, 1), bool)
    chosen = np.concatenate([*by_row, by_column])
    y = [np.broadcast_to(filled, (2, n, columns)), *(np.where(chosen, end, filled) for end in ends)]
    if gaps := bool(missing.any() and jnp.issubdtype(targets.dtype, jnp.floating)):
        y.append(np.where(missing, np.nan, filled)[None])
    runs = np.concatenate(y).astype(targets.dtype).reshape(-1, *targets.shape)
    keys = jnp.stack([jax.random.key(1), *([jax.random.key(0)] * (len(runs) - 1))])
    program = jax.jit(
        lambda which, *stacked: jax.lax.map(lambda one: outcome(one[0], one[1], which), stacked)
    )
    draws = [program(jnp.asarray(which), jnp.asarray(runs), keys) for which in (False, True)]
    seen = {name: _Seen.of([draw[name] for draw in draws], len(ends), gaps=gaps) for name in draws[0]}
    prior = seen.pop(PRIOR)
    factors = {name: found for name, found in seen.items() if name not in events}
    return Rows(
        {name: _site(seen[name], codes, event) for name, event in events.items()},
        {name: _factor(found, codes) for name, found in factors.items() if found.terms.any()},
        tuple(name for name, found in seen.items() if found.random),
        bool(prior.terms.any() or prior.nan.any()),
        tuple(name for name, found in factors.items() if found.nan.any()),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What changed of one site: value and terms by run, (2 codes + columns, …), and under a key or NaN."""

    value: NDArray[np.bool_]
    terms: NDArray[np.bool_]
    random: bool
    nan: NDArray[np.bool_]

    @classmethod
    def of(cls, draws: list[tuple[Array, Array]], ends: int, *, gaps: bool) -> _Seen:
        """Return what changed at either draw, the targets moved to any of their ends."""
        found = [(_changes(np.asarray(v), exact=True), _changes(np.asarray(t))) for v, t in draws]
        value, terms = (np.logical_or.reduce([pair[at] for pair in found]) for at in (0, 1))
        last = len(terms) - gaps
        shape = (ends, (last - 1) // ends)
        moved = [part[1:last].reshape(*shape, *part.shape[1:]).any(axis=0) for part in (value, terms)]
        nan = terms[last] if gaps else np.zeros(terms.shape[1:], bool)
        return cls(moved[0], moved[1], bool(terms[0].any()), nan)


def _changes(values: np.ndarray, *, exact: bool = False) -> np.ndarray:
    """Return what differs from run 1, which moved nothing, in all other runs: (runs − 1, …) boolean."""
    base = np.asarray(values[1], float)[None]
    other = np.asarray(np.delete(values, 1, axis=0), float)
    rounds = values.dtype.kind == "f" and not exact
    precision = _ROUND_OFF * float(np.finfo(values.dtype).eps) if rounds else 0.0
    with np.errstate(invalid="ignore"):
        near = np.abs(other - base) <= precision * (np.abs(other) + np.abs(base))
        same = near & np.isfinite(other) & np.isfinite(base)  # the sum of infinities is as large as any
    return ~(same | (other == base) | (np.isnan(other) & np.isnan(base)))


def _site(seen: _Seen, codes: int, event: int) -> SiteRows:
    """Return the rows of one site from what changed."""
    value, terms = seen.value, seen.terms
    entries = _spelled(value[:codes], value[codes : 2 * codes])
    columns = _columns(value[2 * codes :])
    shape = entries.shape[: entries.ndim - event]
    event_size = int(np.prod(entries.shape[len(shape) :], dtype=int))
    flat = entries.reshape(*shape, event_size)
    first = flat[..., 0] if flat.shape[-1] else np.full(shape, NONE)
    own = np.where((flat == first[..., None]).all(axis=-1), first, SEVERAL)
    own = np.broadcast_to(own, terms.shape[1:])
    # a constant is observed, such as a residual that is nought: its term tells whose it is
    own = np.where(own == NONE, _spelled(terms[:codes], terms[codes : 2 * codes]), own)
    observed = value[2 * codes :].reshape(len(value) - 2 * codes, *shape, event_size).any(axis=-1)
    needs = terms[2 * codes :] & ~np.broadcast_to(observed, terms[2 * codes :].shape)
    return SiteRows(entries, columns, own, _is_mixed(terms, own, codes), needs, seen.nan)


def _factor(seen: _Seen, codes: int) -> SiteRows:
    """Return the rows of a factor's terms, which stand for a value as well.

    By position where no term says otherwise: one may be the same for both values of its row.
    """
    terms = seen.terms
    rows = _spelled(terms[:codes], terms[codes : 2 * codes])
    if rows.ndim:
        place = first_place(rows.shape)
        rows = place if np.all((rows == NONE) | (rows == place)) else rows
    rows = np.where(rows == NONE, SEVERAL, rows)
    return SiteRows(
        rows, _columns(terms[2 * codes :]), rows, False, np.zeros_like(terms[2 * codes :]), seen.nan
    )


def _columns(changed: np.ndarray) -> np.ndarray:
    """Return the column that alone changes an entry, SEVERAL where more do, NONE where none does."""
    columns = np.where(changed.sum(axis=0) == 1, changed.argmax(axis=0), SEVERAL)
    return np.where(changed.any(axis=0), columns, NONE)


def _spelled(ones: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Return the row that the digits spell, NONE where nothing changed, SEVERAL where both of a pair did."""
    weights = (1 << np.arange(len(ones))).reshape(-1, *([1] * (ones.ndim - 1)))
    row = np.sum(ones * weights, axis=0)
    row = np.where((ones & zeros).any(axis=0), SEVERAL, row)
    return np.where((ones | zeros).any(axis=0), row, NONE)


def _is_mixed(terms: np.ndarray, own: np.ndarray, codes: int) -> bool:
    """Return whether a term changed in a run that left its own row as it was.

    A term of no row (a constant was observed) must not change at all; one of several rows says nothing.
    """
    digit = (own[None] >> np.arange(codes).reshape(-1, *([1] * own.ndim))) & 1
    ones, zeros = terms[:codes], terms[codes : 2 * codes]
    foreign = np.where(own == NONE, ones | zeros, np.where(digit == 1, zeros, ones))
    return bool(np.any(foreign & (own != SEVERAL)))
