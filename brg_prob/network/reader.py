"""The one reader of models at their data: it runs a model, moves its targets, and says what it found.

Everything that depends on rows follows from here: n, hold-out, missing entries, leave-one-out, the weight
T/n of the likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import Distribution
from numpyro.primitives import Messenger

from brg_prob.arrays import first_place
from brg_prob.network.handlers import (
    AsObserved,
    HeldParams,
    Observing,
    WholePlates,
    counted,
    is_separable,
    terms_present,
)
from brg_prob.network.layout import Layout, arrangement, field_by_row
from brg_prob.network.reading import Reading
from brg_prob.network.refusals import (
    refuse_discrete,
    refuse_masks,
    refuse_names,
    refuse_sight_of_gaps,
    refuse_unknown,
    refuse_unused,
)
from brg_prob.network.rows import NONE, PRIOR, SEVERAL, Rows, SiteRows, rows_of
from brg_prob.network.targets import (
    failed,
    observed_trace,
    refuse_outside_support,
    targets_and_missing,
    whole_numbers,
)
from brg_prob.network.trace import (
    Model,
    ModelSites,
    ObservedSite,
    Trace,
    UnfitSite,
    read_model,
    run_trace,
    sites_of,
)


def unobserved(network: Model, x: Array, likelihood_factors: tuple[str, ...] | None) -> Reading:
    """Return the reading of a model without data."""
    sites = read_model(WholePlates(network), x)
    refuse_names(sites)
    refuse_discrete(sites)
    refuse_unknown(likelihood_factors, sites)
    n = x.shape[0]
    trace = run_trace(HeldParams(WholePlates(network), sites.params), x, key=jax.random.key(0))
    return Reading(
        sites=sites,
        observed=np.ones(n, bool),
        missing=np.zeros((n, 1), bool),
        taken={},
        term_rows={
            site.name: _by_position(site.distribution, n)
            for site in sites.observed
            if site.distribution.batch_shape[:1] == (n,)
        },
        joint="",
        mixed=(),
        masked=0,
        weighted=(),
        incomplete=0,
        subsampled=(),
        likelihood_factors=tuple(likelihood_factors or ()),
        values={},
        layout=Layout(tuple(site.name for site in sites.observed)),
        point={name: trace[name]["value"] for name in sites.latent_names},
    )


def read_at(
    network: Model, x: Array, y: Any, likelihood_factors: tuple[str, ...] | None
) -> tuple[Array, Reading]:
    """Return the targets as the model takes them, and what was read of it; see :meth:`Conditioned.of`."""
    filled, missing = targets_and_missing(y)
    plates = _Subsampled(network)
    column = np.ndim(y) == 2 and np.shape(y)[1] == 1
    targets, trace = observed_trace(WholePlates(plates), x, filled, column=column, key=jax.random.key(0))
    whole = whole_numbers(trace)
    sites = sites_of(trace, rows=x.shape[0])
    refuse_names(sites)
    refuse_discrete(sites)
    refuse_unknown(likelihood_factors, sites)
    held = HeldParams(WholePlates(network), sites.params)
    batches = {site.name: _batch(site.distribution, site.shape) for site in sites.observed}
    taken = {name: AsObserved(batch, whole[name]) for name, batch in batches.items()}
    other = _other_draw(held, x, targets, trace)
    point = {name: trace[name]["value"] for name in sites.latent_names}
    points = (point, {name: other[name]["value"] for name in sites.latent_names})
    try:
        rows = _rows(Observing(held, taken), x, (targets, filled, missing), sites, points)
    except Exception as error:  # a model that takes numbers off y cannot be compiled
        raise failed(error, x, targets) from error
    if rows.random:
        raise ValueError(
            f"site {rows.random[0]!r} changes with the random key at fixed latent sites, so its "
            "likelihood cannot be differentiated; make the noise a latent site (numpyro.sample)"
        )
    refuse_sight_of_gaps(rows, missing)
    factors = likelihood_factors
    if factors is None:
        gone = _without_target(held, x)
        factors = tuple(n for n in sites.factors if n in rows.factors or (gone is not None and n not in gone))
    refuse_unused(sites, rows, factors)
    by_row = {name: _owned(name, found, x.shape[0]) for name, found in rows.sites.items()}
    by_row |= _factor_rows(rows, factors, missing)
    reading = _assembled(trace, sites, rows, by_row, taken, missing, factors, plates.names, point)
    refuse_masks(trace, other, reading.observed)
    refuse_outside_support(trace, other, reading.taken)
    return targets, reading


def _assembled(
    trace: Trace,
    sites: ModelSites,
    rows: Rows,
    by_row: Mapping[str, np.ndarray],
    taken: Mapping[str, AsObserved],
    missing: np.ndarray,
    factors: tuple[str, ...],
    subsampled: tuple[str, ...],
    point: Mapping[str, Any],
) -> Reading:
    """Return the reading from its parts; missing entries are masked here, or refused."""
    mixed = tuple(name for name, found in rows.sites.items() if found.mixed)
    present = {s.name: _present(s, rows.sites[s.name], missing, mixed) for s in sites.observed}
    taken = {
        name: AsObserved(one.batch, one.whole, present[name]) if not present[name].all() else one
        for name, one in taken.items()
    }
    n = missing.shape[0]
    active, unmasked, incomplete = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
    joint = [name for name, owners in by_row.items() if np.any(owners == SEVERAL)]
    for site in sites.observed:
        counts = np.broadcast_to(counted(site.distribution), taken[site.name].batch)
        there = terms_present(site.distribution, present[site.name])
        owners = by_row[site.name]
        some = _any_entry(present[site.name], there.ndim) & ~there
        _mark(incomplete, owners, some)
        _mark(active, owners, counts & there)
        _mark(unmasked, owners, there)
    for name in by_row.keys() - present.keys():
        there = _factor_present(rows.factors[name], missing)
        taken[name] = AsObserved(there.shape, False, there[..., None])  # the value of a factor is empty
        _mark(active, by_row[name], there)
        _mark(unmasked, by_row[name], there)
    batches = {name: taken[name].batch for name in rows.sites}
    sites, layout = field_by_row(trace, sites, rows.sites, batches, [*by_row.values()], n=n)
    arranged = {name: arrangement(found, n) for name, found in rows.sites.items()}
    alone = [name for name in factors if name not in by_row]
    if joint or alone or not by_row:  # rows are not told apart: those with a target count
        active = unmasked = ~missing.all(axis=1)
    return Reading(
        sites=sites,
        observed=active,
        missing=missing,
        taken=taken,
        term_rows={name: owners for name, owners in by_row.items() if _is_by_row(owners)},
        joint=_why_joint(joint, alone),
        mixed=mixed,
        masked=int((unmasked & ~active).sum()),
        weighted=tuple(site.name for site in sites.observed if _carries_weights(trace[site.name])),
        incomplete=int(incomplete.sum()),
        subsampled=subsampled,
        likelihood_factors=factors,
        values={name: _as_given(trace[name]["value"], there) for name, there in present.items()},
        layout=layout,
        point=point,
        arranged={name: places for name, places in arranged.items() if places is not None},
        constant=tuple(name for name, found in rows.sites.items() if found.unmoved),
    )


def _any_entry(present: np.ndarray, batch: int) -> np.ndarray:
    """Return which events have an entry that is there, of the batch shape."""
    return np.asarray(present.any(axis=tuple(range(batch, present.ndim))))


def _as_given(value: Any, present: np.ndarray) -> np.ndarray:
    """Return an observed value with NaN where it is missing."""
    host = np.asarray(value)
    return host if present.all() else np.where(present, host, np.nan)


def _is_by_row(owners: np.ndarray) -> bool:
    """Return whether terms belong to one row each; terms of constants alone belong to none."""
    return bool(np.any(owners >= 0) and not np.any(owners == SEVERAL))


def _mark(rows: np.ndarray, owners: np.ndarray, terms: np.ndarray) -> None:
    """Mark the rows that own one of these terms."""
    owned = owners[terms & (owners >= 0)]
    rows[owned] = True


def _why_joint(joint: list[str], factors: list[str]) -> str:
    """Return why the likelihood is no sum over rows; empty if it is."""
    if joint:
        return f"site {joint[0]!r} observes several rows jointly"
    if factors:
        return f"the likelihood is the factor {factors[0]!r}, which has no term for each row"
    return ""


def _carries_weights(site: Mapping[str, Any]) -> bool:
    """Return whether a site's likelihood has a scale other than 1."""
    return site["scale"] is not None and not np.all(np.asarray(site["scale"]) == 1)


def _factor_rows(rows: Rows, factors: tuple[str, ...], missing: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of the likelihood's factors that have a term for each; others need what they use."""
    found = {name: rows.factors[name].terms for name in factors if name in rows.factors}
    found = {name: owners for name, owners in found.items() if _is_by_row(owners)}
    joint = [name for name in factors if name in rows.factors and name not in found]
    if joint and missing.any():
        raise ValueError(
            f"{int(missing.sum())} target values are missing (NaN), and factor {joint[0]!r} has no term for "
            "each row, so they cannot be left out; fill them, drop those rows, or make them latent sites"
        )
    return found


def _factor_present(found: SiteRows, missing: np.ndarray) -> np.ndarray:
    """Return which terms of a factor are there: none of the targets that they depend on is missing."""
    rows, columns = found.terms, found.columns
    own = missing[rows, np.where(columns >= 0, columns, 0)]
    return ~np.where(columns >= 0, own, missing[rows].any(axis=-1))


def _present(site: ObservedSite, found: SiteRows, missing: np.ndarray, mixed: tuple[str, ...]) -> np.ndarray:
    """Return which entries of a site's value are there, or refuse a missing one that another row needs."""
    name, joint = site.name, not is_separable(site.distribution)
    if not missing.any():
        return np.ones(found.entries.shape, bool)
    if np.any((found.entries == SEVERAL) | (found.columns == SEVERAL)):
        raise ValueError(
            f"{int(missing.sum())} target values are missing (NaN), and site {name!r} observes mixtures of "
            "rows or columns of y, so they cannot be left out; fill them, drop those rows, or make them "
            "latent sites"
        )
    if name in mixed:
        rows = np.flatnonzero(missing.any(axis=1))
        raise ValueError(
            f"y is missing (NaN) in row {rows[0]}, on which other rows' likelihood of {name!r} depends; "
            f"make the {rows.size} missing values latent sites (numpyro.sample), or start after the gap"
        )
    if joint and np.any(found.terms == SEVERAL):
        raise ValueError(
            f"{int(missing.sum())} target values are missing (NaN), and site {name!r} observes several rows "
            "jointly, so they cannot be left out; drop those rows, or make the values latent sites"
        )
    own = (found.entries != NONE) & (found.columns != NONE)
    gone = own & missing[np.where(own, found.entries, 0), np.where(own, found.columns, 0)]
    # a term that depends on another column of its row is left out where that is missing
    lacks = np.any(found.needs & np.moveaxis(missing[np.maximum(found.terms, 0)], -1, 0), axis=0)
    lacks &= found.terms >= 0
    present = ~(gone | lacks.reshape(lacks.shape + (1,) * (gone.ndim - lacks.ndim)))
    counts = _any_entry(present, found.terms.ndim) & ~_any_entry(gone, found.terms.ndim)
    if np.any(found.nan & counts):
        raise ValueError(
            f"{int(missing.sum())} target values are missing (NaN), and the likelihood of {name!r} at other "
            "entries changes where they are NaN; fill them, or give the model what it needs as an argument"
        )
    return present


def _rows(
    model: Model,
    x: Array,
    data: tuple[Array, np.ndarray, np.ndarray],
    sites: ModelSites,
    points: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Rows:
    """Return whose row is whose, at two draws of the latent sites: at one a branch may be dead."""
    targets, filled, missing = data
    names = [*(site.name for site in sites.observed), *sites.factors]
    events = {site.name: site.distribution.event_dim for site in sites.observed}

    def outcome(y: Array, key: Array, which: Array) -> dict[str, tuple[Array, Array]]:
        point = {name: jnp.where(which, points[1][name], points[0][name]) for name in sites.latent_names}
        call = handlers.seed(handlers.substitute(model, data=point), key)
        trace = handlers.trace(call).get_trace(x, y)

        def terms(name: str) -> Array:
            return jnp.asarray(trace[name]["fn"].log_prob(trace[name]["value"]))

        prior = sum((jnp.sum(terms(name)) for name in sites.latent_names), jnp.zeros(()))
        found = {
            name: (jnp.asarray(trace[name]["value"] if name in events else 0.0), terms(name))
            for name in names
            if name in trace
        }
        return found | {PRIOR: (jnp.zeros(()), prior)}

    return rows_of(outcome, targets, filled, missing, events)


def _owned(name: str, found: SiteRows, n: int) -> np.ndarray:
    """Return the row of each term; a constant that is observed with an entry per input goes by position."""
    terms = found.terms
    if terms.shape[:1] == (n,) and np.all(terms == NONE):
        return first_place(terms.shape)
    return terms


def _batch(distribution: Distribution, value: tuple[int, ...]) -> tuple[int, ...]:
    """Return the batch shape of a site: a law for each entry of its value."""
    own = value[: len(value) - distribution.event_dim] if len(value) >= distribution.event_dim else ()
    return tuple(np.broadcast_shapes(own, distribution.batch_shape))


def _by_position(distribution: Distribution, n: int) -> np.ndarray:
    """Return the rows of the terms of a site that has one per input along its first axis."""
    shape = distribution.batch_shape
    return np.broadcast_to(np.arange(n).reshape(-1, *([1] * (len(shape) - 1))), shape)


class _Subsampled(Messenger):
    """Note the plates that would be subsampled."""

    def __init__(self, fn: Model) -> None:
        self.seen: dict[str, None] = {}
        super().__init__(fn)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of these plates."""
        return tuple(self.seen)

    def process_message(self, msg: Any) -> None:
        """Note a plate that is smaller than its size."""
        if msg["type"] == "plate" and msg["args"][1] not in (None, msg["args"][0]):
            self.seen[msg["name"]] = None


def _without_target(model: Model, x: Array) -> set[str] | None:
    """Return the names of the sites that the model has without a target; None if it needs one."""
    names: set[str] = set()

    def run(key: Array) -> Array:
        names.update(run_trace(model, x, key=key))
        return key

    try:
        jax.eval_shape(run, jax.random.key(0))
    except Exception:  # a model may need y for its very structure, and raise anything without it
        return None
    return names


def _other_draw(model: Callable[..., Any], x: Array, targets: Array, trace: Trace) -> Trace:
    """Return the trace at another draw of the prior; raise ValueError where it fails or has other sites."""
    try:
        other = run_trace(model, x, targets, key=jax.random.key(1))
    except UnfitSite:
        raise
    except Exception as error:  # the model's own code may raise anything
        raise failed(error, x, targets) from error
    odd = sorted(set(other) ^ {name for name, site in trace.items() if site["type"] != "param"})
    if odd:
        raise ValueError(
            f"site {odd[0]!r} is there at one draw of the prior and not at another; a model needs the same "
            "sites always"
        )
    return other
