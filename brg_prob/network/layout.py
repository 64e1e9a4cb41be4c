"""Where the value of each row stands among the means of the observed sites, if not simply in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from brg_prob.network.centre import centre
from brg_prob.network.handlers import counted
from brg_prob.network.rows import SiteRows
from brg_prob.network.trace import ModelSites, NoField, Trace, observed_mean

_NO_ORDER = "no order of rows"


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the value of each row stands among the means of the observed sites.

    Attributes
    ----------
    order
        Observed sites as the columns of y that they observe stand in it; those of constants come last.
    first
        First row that is observed, whether or not it is missing.
    sites
        Those whose means are joined where they do not have the rows in order; empty if they lack one.
    places
        (m,) or (m, o): place of each row's and column's mean in those of the sites, raveled and joined.
        None: every site has the rows in order along its first axis, or none of its own.
    """

    order: tuple[str, ...]
    first: int = 0
    sites: tuple[str, ...] = ()
    places: NDArray[np.intp] | None = None

    def mean(self, trace: Trace, *, rows: int) -> Array:
        """Return the mean of what is observed by row, (m,) or (m, o); NoField if there is none."""
        if self.places is None:
            return observed_mean(trace, self.order or None, rows=rows)
        means = [centre(trace[name]["fn"]) for name in self.sites]
        found = [jnp.ravel(mean) for mean in means if mean is not None]
        if not found:
            raise NoField("not every row has one observation of its own, so none has a mean")
        return jnp.concatenate(found)[self.places]


def layout_of(
    rows: Mapping[str, SiteRows],
    means: Mapping[str, tuple[int, ...]],
    counts: Mapping[str, NDArray[np.bool_]],
    *,
    first: int,
    n: int,
) -> Layout:
    """Return where the mean of each row stands.

    Parameters
    ----------
    rows
        Observed site → whose row is whose.
    means
        Site → shape of its mean, without those that have none; that of a category has further axes.
    counts
        Site → which of its terms count, where the model masks some.
    first, n
        First row that is observed, and number of rows.

    Returns
    -------
    Layout
        Of the m rows from the first observed one on.

    Raises
    ------
    NoField
        The sites lack the mean of a row after the first that is observed, or have it twice.

    Examples
    --------
    >>> transposed = SiteRows(np.array([[0, 1, 2]] * 2), np.array([[0] * 3, [1] * 3]), *[np.empty(0)] * 4)
    >>> layout_of({"y": transposed}, {"y": (2, 3)}, {}, first=0, n=3).places.tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    order = tuple(sorted(rows, key=lambda name: _first_column(rows[name])))
    found = {name: rows[name] for name in order if name in means and np.any(rows[name].entries >= 0)}
    in_order = all(_in_order(site, range(first, n)) for site in found.values())
    if in_order and (len(found) < 2 or (first == 0 and _rising(list(found.values())))):
        return Layout(order, first)
    try:
        each = [_expanded(name, site, means[name], counts.get(name)) for name, site in found.items()]
        own_rows, own_columns, there = (np.concatenate(parts) for parts in zip(*each, strict=True))
        columns, own_columns = np.unique(own_columns, return_inverse=True)
        places = np.full((n - first, columns.size), -1)
        for some in (~there, there):  # what is masked at one site may count at another
            places[own_rows[some] - first, own_columns[some]] = np.flatnonzero(some)
        if np.any(places < 0) or columns[0] < 0 or np.any(own_rows < 0):
            raise NoField(_NO_ORDER)
        if np.sum(there) > np.sum(there[places.ravel()]):
            raise NoField(_NO_ORDER)
    except NoField:
        if in_order and first == 0:  # a column that is observed twice stands there twice
            return Layout(order, first)
        names = ", ".join(map(repr, found))
        raise NoField(
            f"not every row has one value of its own at {names}, so there is no field by row; add "
            'numpyro.deterministic("f", ...) with a value for each row'
        ) from None
    return Layout(order, first, tuple(found), places[:, 0] if columns.size == 1 else places)


def arrangement(site: SiteRows, n: int) -> NDArray[np.intp] | None:
    """Return where the entries of each row stand in a raveled value of a site, its columns in order.

    Returns
    -------
    numpy.ndarray or None
        (n,) or (n, k), -1 for a row without. None: the first axis counts all rows, or not every entry belongs
        to one row and column, or rows have different numbers of entries.
    """
    entries, columns = site.entries.ravel(), site.columns.ravel()
    if (
        not entries.size
        or not site.entries.ndim
        or np.any(entries < 0)
        or np.any(columns < 0)
        or _in_order(site, range(n))
    ):
        return None
    order = np.lexsort((columns, entries))
    present, size = np.unique(entries, return_counts=True)
    if np.any(size != size[:1]):
        return None
    found = np.full((n, int(size[0])), -1)
    found[present] = order.reshape(len(present), -1)
    return found[:, 0] if found.shape[1] == 1 and site.entries.ndim == 1 else found


def _first_column(site: SiteRows) -> float:
    """Return the first column of y that a site observes; infinity for none."""
    own = site.columns[site.columns >= 0]
    return float(own.min()) if own.size else np.inf


def _in_order(site: SiteRows, expected: range) -> bool:
    """Return whether the first axis counts these rows, and the others the columns; one law stands for all."""
    entries = site.entries
    if not entries.ndim:
        return True
    if len(entries) != len(expected):
        return False
    counted = np.asarray(expected).reshape(-1, *([1] * (entries.ndim - 1)))
    return bool(np.all((entries == counted) | (entries < 0)) and _rising([site]))


def _rising(sites: Sequence[SiteRows]) -> bool:
    """Return whether the columns of a row rise from each value to the next; those of a constant are none."""
    columns = [site.columns for site in sites if site.columns.ndim]
    across = np.concatenate([c.reshape(len(c), int(np.prod(c.shape[1:]))) for c in columns], axis=1)
    return bool(np.all((np.diff(across, axis=1) > 0) | (across[:, 1:] < 0) | (across[:, :-1] < 0)))


def _expanded(
    name: str, site: SiteRows, mean: tuple[int, ...], counts: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return row and column of each number of a site's mean, and whether it counts.

    Further axes of the mean make further columns.
    """
    shape = site.entries.shape
    if mean[: len(shape)] != shape:
        raise NoField(f"the mean of {name!r} has another layout than its value")
    extra = int(np.prod(mean[len(shape) :], dtype=int))
    columns = np.where(site.columns < 0, site.columns, site.columns * extra)[..., None]
    columns = columns + np.where(site.columns[..., None] < 0, 0, np.arange(extra))
    there = np.ones(shape, bool)
    if counts is not None:
        there = np.broadcast_to(counts.reshape(counts.shape + (1,) * (len(shape) - counts.ndim)), shape)
    return np.repeat(site.entries.ravel(), extra), columns.ravel(), np.repeat(there.ravel(), extra)


def field_by_row(
    trace: Trace,
    sites: ModelSites,
    rows: Mapping[str, SiteRows],
    batches: Mapping[str, tuple[int, ...]],
    owners: Sequence[NDArray[np.intp]],
    *,
    n: int,
) -> tuple[ModelSites, Layout]:
    """Return the sites with the shape of their field as it is by row, and its layout.

    Parameters
    ----------
    batches
        Observed site → batch shape with a law for each entry.
    owners
        Rows of the terms of all sites and factors.
    n
        Number of rows.

    Raises
    ------
    NoField
        The field has no value for each row from the first observed one on.
    """
    whole = dict(trace) | {
        name: dict(site) | {"fn": site["fn"].expand(batches[name])}
        for name, site in trace.items()
        if name in batches and site["fn"].batch_shape != batches[name]
    }
    centres = {name: centre(whole[name]["fn"]) for name in rows}
    means = {name: np.shape(mean) for name, mean in centres.items() if mean is not None}
    each = [*owners, *(site.entries for site in rows.values())]
    observed = np.concatenate([np.empty(0, int), *map(np.ravel, each)])
    first = int(observed[observed >= 0].min(initial=n)) % n  # none at all: from 0 on
    try:
        counts = {name: counted(whole[name]["fn"]) for name in rows}
        layout = layout_of(rows, means, counts, first=first, n=n)
    except NoField:
        if not sites.has_field:
            raise
        layout = Layout(tuple(rows), first, (), np.empty(0, int))
    if not sites.has_field:
        sites = dataclasses.replace(sites, field_shape=tuple(np.shape(layout.mean(whole, rows=n))))
    if sites.field_shape[:1] not in ((n,), (n - first,)):
        raise NoField(
            f"the field has shape {sites.field_shape} for {n} rows; add "
            'numpyro.deterministic("f", ...) with a value for each row'
        )
    return sites, layout
