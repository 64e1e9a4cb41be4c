"""Where the value of each row stands among the means of the observed sites, if not simply in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import Distribution

from brg_prob.network.centre import centre
from brg_prob.network.rows import SiteRows
from brg_prob.network.trace import ModelSites, NoField, Trace


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the value of each row stands.

    Attributes
    ----------
    sites
        Observed sites that have these values; empty where not every row has one.
    places
        (m,) or (m, o): place of each row's and column's value in those of the sites, raveled and joined.
    """

    sites: tuple[str, ...]
    places: NDArray[np.intp]

    def field(self, laws: Mapping[str, Distribution]) -> Array:
        """Return the means by row, (m,) or (m, o), from each site's law; NoField if there are none."""
        means = [centre(laws[name]) for name in self.sites]
        found = [jnp.ravel(mean) for mean in means if mean is not None]
        if not found:
            raise NoField("not every row has one observation of its own, so none has a mean")
        return jnp.concatenate(found)[self.places]


def layout_of(
    rows: Mapping[str, SiteRows], order: Sequence[str], means: Mapping[str, tuple[int, ...]], *, n: int
) -> Layout | None:
    """Return where the mean of each row stands among the means of the observed sites.

    Parameters
    ----------
    rows
        Observed site → whose row is whose.
    order
        The sites in the order in which their means are joined.
    means
        Site → shape of its mean, without those that have none; that of a category has further axes.
    n
        Number of rows.

    Returns
    -------
    Layout or None
        Of the m rows from the first observed one on. None: every site has these in order along its first
        axis, or none of its own.

    Raises
    ------
    NoField
        The sites lack the mean of a row after the first that is observed, or have it twice.

    Examples
    --------
    >>> transposed = SiteRows(np.array([[0, 1, 2]] * 2), np.array([[0] * 3, [1] * 3]), *[np.empty(0)] * 4)
    >>> layout_of({"y": transposed}, ["y"], {"y": (2, 3)}, n=3).places.tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    found = {name: rows[name] for name in order if name in means and np.any(rows[name].entries >= 0)}
    entries = [site.entries for site in found.values()]
    first = min((int(own[own >= 0].min()) for own in entries), default=0)
    in_order = all(_in_order(own, range(first, n)) for own in entries)
    if in_order and all(_columns_in_order(site.columns) for site in found.values()):
        return None
    try:
        each = [_expanded(site, means[name]) for name, site in found.items()]
        own_rows, own_columns = (np.concatenate(parts) for parts in zip(*each, strict=True))
        if np.any(own_rows < 0) or np.any(own_columns < 0):
            raise ValueError  # caught below: of several rows, or of none
        columns, own_columns = np.unique(own_columns, return_inverse=True)
        places = np.full((n - first, columns.size), -1)
        places[own_rows - first, own_columns] = np.arange(own_rows.size)
        if np.any(places < 0) or places.size != own_rows.size:
            raise ValueError  # caught below: a row without a value, or with two
    except ValueError:
        names = ", ".join(map(repr, found))
        raise NoField(
            f"not every row has one value of its own at {names}, so there is no field by row; add "
            'numpyro.deterministic("f", ...) with a value for each row'
        ) from None
    return Layout(tuple(found), places[:, 0] if columns.size == 1 else places)


def _in_order(entries: NDArray[np.intp], expected: range) -> bool:
    """Return whether the first axis counts these rows; a single law stands for all."""
    if not entries.ndim:
        return True
    if len(entries) != len(expected):
        return False
    counted = np.asarray(expected).reshape(-1, *([1] * (entries.ndim - 1)))
    return bool(np.all((entries == counted) | (entries < 0)))


def _columns_in_order(columns: NDArray[np.intp]) -> bool:
    """Return whether the entries of a row stand as the columns do that they are made of."""
    by_row = columns.reshape(len(columns), -1) if columns.ndim > 1 else columns.reshape(-1, 1)
    return bool(np.all((np.diff(by_row, axis=1) >= 0) | (by_row[:, 1:] < 0) | (by_row[:, :-1] < 0)))


def _expanded(site: SiteRows, mean: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return row and column of each number of a site's mean; further axes make further columns."""
    extra = int(np.prod(mean[site.entries.ndim :], dtype=int))
    if mean[: site.entries.ndim] != site.entries.shape:
        raise ValueError  # a mean of another layout than the value
    further = np.where(site.columns < 0, site.columns, site.columns * extra)[..., None] + np.where(
        site.columns[..., None] < 0, 0, np.arange(extra)
    )
    return np.repeat(site.entries.ravel(), extra), further.ravel()


def field_by_row(
    trace: Trace,
    sites: ModelSites,
    rows: Mapping[str, SiteRows],
    order: Sequence[str],
    batches: Mapping[str, tuple[int, ...]],
    span: range,
) -> tuple[ModelSites, Layout | None]:
    """Return the sites with the shape of their field as it is by row, and its layout.

    Parameters
    ----------
    batches
        Observed site → batch shape with a law for each entry.
    span
        Rows from the first observed one on.

    Raises
    ------
    NoField
        The field has no value for each of these rows.
    """
    means = {}
    for name in order:
        law = trace[name]["fn"]
        if (mean := centre(law)) is not None:
            means[name] = batches[name] + mean.shape[len(law.batch_shape) :]
    try:
        layout = layout_of(rows, order, means, n=span.stop)
    except NoField:
        if not sites.has_field:
            raise
        layout = Layout((), np.empty(0, int))
    if layout is not None and not sites.has_field:
        sites = dataclasses.replace(sites, field_shape=layout.places.shape)
    if sites.field_shape[:1] not in ((span.stop,), (len(span),)):
        raise NoField(
            f"the field has shape {sites.field_shape} for {span.stop} rows; add "
            'numpyro.deterministic("f", ...) with a value for each row'
        )
    return sites, layout
