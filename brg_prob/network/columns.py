"""Names for the entries of latent sites: which act through one column of x alone, which through one level.

Equal length proves nothing: a site of d numbers need not belong to d columns. Columns are set to zero and
entries moved in turn, in one compiled program; a name is given only where the likelihood says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.errors
import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.network.conditioned import Conditioned
from brg_prob.network.labels import AxisNames

_MOST = 64
"""Columns or levels up to which names are looked for."""
_CHANGE = 1e-9
_UNROLLED = 32
"""Runs that are compiled one by one where a model needs its inputs as numbers."""


@dataclass(frozen=True)
class Trial:
    """One run: inputs and one site's entries, and whether a term of some rows must change.

    Attributes
    ----------
    keep
        Columns that keep their values, the others being zero, (d,).
    place
        Place along the axis whose entries are moved.
    rows
        Rows whose terms must change, and no others; None: some must change.
    """

    keep: np.ndarray
    place: int
    rows: np.ndarray | None


def axis_names(
    conditioned: Conditioned, columns: Mapping[int, str], levels: Mapping[int, tuple[str, ...]]
) -> AxisNames:
    """Return names along axes of latent sites.

    Parameters
    ----------
    conditioned
        The model at its data.
    columns
        Position in x → name, of the columns that the model takes as its matrix of inputs.
    levels
        Position in x → labels, of the columns that hold codes 0, 1, ….

    Returns
    -------
    dict
        An axis is named by columns if place j acts where column j is all that is not zero, and not where it
        is zero; by levels if place j acts on the rows of code j, and on no others.
    """
    if conditioned.y is None or not conditioned.reading.by_row:
        return {}
    found: dict[str, dict[int, tuple[str, ...]]] = {}
    for site in conditioned.sites.latent:
        for axis, size in enumerate(site.shape):
            names = _named(conditioned, site.name, axis, size, columns, levels)
            if names:
                found.setdefault(site.name, {})[axis] = names
    return found


def _named(
    conditioned: Conditioned,
    site: str,
    axis: int,
    size: int,
    columns: Mapping[int, str],
    levels: Mapping[int, tuple[str, ...]],
) -> tuple[str, ...]:
    """Return the names along one axis; none where there are none."""
    if size > _MOST:
        return ()
    if size == len(columns) and _holds(conditioned, site, axis, _by_column(conditioned, tuple(columns))):
        return tuple(columns.values())
    for position, labels in levels.items():
        if size == len(labels) and not conditioned.reading.mixed:
            codes = np.asarray(conditioned.x[:, position]).round().astype(int)
            if _holds(conditioned, site, axis, _by_level(conditioned, codes, size)):
                return labels
    return ()


def _by_column(conditioned: Conditioned, positions: tuple[int, ...]) -> Iterator[Trial]:
    """Yield the trials of an axis that goes by columns."""
    others = np.ones(conditioned.x.shape[1], bool)
    others[list(positions)] = False
    nothing = np.zeros(len(conditioned.inputs), bool)
    for place, position in enumerate(positions):
        alone, without = others.copy(), np.ones(conditioned.x.shape[1], bool)
        alone[position], without[position] = True, False
        yield Trial(alone, place, None)
        yield Trial(without, place, nothing)


def _by_level(conditioned: Conditioned, codes: np.ndarray, size: int) -> Iterator[Trial]:
    """Yield the trials of an axis that goes by the levels of a column."""
    every = np.ones(conditioned.x.shape[1], bool)
    for place in range(size):
        yield Trial(every, place, ((codes == place) & conditioned.observed)[conditioned.first :])


def _holds(conditioned: Conditioned, site: str, axis: int, trials: Iterator[Trial]) -> bool:
    """Return whether all trials come out as they must."""
    listed = list(trials)
    try:
        changed = _changed(conditioned, site, axis, listed)
    except jax.errors.JAXTypeError:  # a model that needs its inputs as numbers, to count its groups by them
        if len(listed) > _UNROLLED:
            return False
        changed = _changed_by_numbers(conditioned, site, axis, listed)
    return all(
        bool(rows.any()) if trial.rows is None else bool(np.array_equal(rows, trial.rows))
        for trial, rows in zip(listed, changed, strict=True)
    )


def _changed(conditioned: Conditioned, site: str, axis: int, trials: list[Trial]) -> np.ndarray:
    """Return which rows' terms change when the entries at a trial's place are moved, (trials, n)."""

    def one(trial: tuple[Array, Array]) -> Array:
        keep, place = trial
        return _moved(conditioned, site, axis, jnp.where(keep[None, :], conditioned.x, 0), place)

    keeps = jnp.asarray(np.stack([trial.keep for trial in trials]))
    places = jnp.asarray([trial.place for trial in trials])
    return np.asarray(jax.jit(lambda *stacked: jax.lax.map(one, stacked))(keeps, places))


def _changed_by_numbers(conditioned: Conditioned, site: str, axis: int, trials: list[Trial]) -> np.ndarray:
    """Return the same with inputs that are numbers: every trial is compiled into one program."""
    inputs = [jnp.asarray(np.where(trial.keep[None, :], conditioned.x, 0)) for trial in trials]

    def all_trials(places: Array) -> Array:
        rows = [_moved(conditioned, site, axis, x, place) for x, place in zip(inputs, places, strict=True)]
        return jnp.stack(rows)

    try:
        return np.asarray(jax.jit(all_trials)(jnp.asarray([trial.place for trial in trials])))
    except Exception:  # the model's own code may raise anything at inputs of zero: then no names
        return np.zeros((len(trials), conditioned.x.shape[0]), bool)


def _moved(conditioned: Conditioned, site: str, axis: int, x: Array, place: Array) -> Array:
    """Return which rows' terms change at inputs x when the entries at a place are moved, (n,)."""
    point = {name: jnp.asarray(value) for name, value in conditioned.reading.point.items()}
    value, there = point[site], conditioned.with_inputs(x)
    at = jnp.expand_dims(jnp.arange(value.shape[axis]) == place, [k for k in range(value.ndim) if k != axis])
    before, after = (
        jnp.stack([terms[name] for name in conditioned.reading.term_rows])
        for terms in map(
            there.log_likelihood, (point, point | {site: jnp.where(at, value * 1.1 + 0.01, value)})
        )
    )
    return jnp.any(jnp.abs(after - before) > _CHANGE * (jnp.abs(after) + jnp.abs(before)), axis=0)
