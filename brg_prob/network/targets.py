"""Targets as a model takes them: their shape, their type, and what stands in the place of missing entries.

A value that is broadcast by its distribution counts one observation many times, silently: (n, 1) against
(n,) becomes (n, n). Here a column is tried as (n,) and as (n, 1), and what fits neither is refused.
"""

from __future__ import annotations

import math
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.errors
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

from brg_prob.network.handlers import AsObserved
from brg_prob.network.trace import Model, Trace, UnfitSite, is_factor, run_trace

_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
_OURS = Path(__file__).resolve().parents[1]
_FAR = 8  # beyond what a truncation to whole numbers hides, as log(y) of equal targets


def targets_and_missing(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return targets (n, o) with missing entries filled, and which are missing, (n, o) boolean.

    A missing entry is given the first value of its column that is there: inside the support, so that what
    is masked has finite derivatives.

    Raises
    ------
    ValueError
        No entry at all is there, or a column has none.
    """
    host = _numbers(y)
    host = host.reshape(host.shape[0], -1) if host.ndim != 2 else host
    missing = np.isnan(host) if host.dtype.kind == "f" else np.zeros(host.shape, bool)
    if missing.all():
        raise ValueError(f"none of the {host.shape[0]} rows has an observation; at least one is needed")
    if missing.all(axis=0).any():
        column = int(np.argmax(missing.all(axis=0)))
        raise ValueError(f"target {column} has no observation in {host.shape[0]} rows; leave it out")
    first = np.take_along_axis(host, np.argmin(missing, axis=0)[None], axis=0)
    return np.where(missing, first, host), missing


def _numbers(y: Any) -> np.ndarray:
    """Return targets as numbers: what is masked, or None, is missing; yes and no are 1 and 0."""
    if np.ma.isMaskedArray(y):
        return np.ma.filled(np.ma.asarray(y, dtype=float), np.nan)
    host = np.asarray(y)
    if host.dtype.kind in "iuf":
        return host
    try:
        return host.astype(float)
    except (TypeError, ValueError):
        kind = "text" if host.dtype.kind in "US" else str(host.dtype)
        raise ValueError(f"y is {kind}, not numbers; give numbers, NaN where missing") from None


def observed_trace(
    model: Model, x: Array, filled: np.ndarray, *, column: bool, key: Array
) -> tuple[Array, Trace]:
    """Return the targets in the shape and type that the model takes, and its trace with them.

    Parameters
    ----------
    filled
        (n, o), nothing missing.
    column
        Whether one target was given as (n, 1); that shape is tried first.

    Raises
    ------
    ValueError
        The model fails on every admissible shape, or broadcasts its targets on every one; names the site,
        both shapes, and the line of the model.
    """
    refusals: list[ValueError] = []
    found: list[tuple[int, Array, Trace]] = []
    for targets in _candidates(filled, column=column):
        try:
            trace = run_trace(model, x, targets, key=key)
        except UnfitSite:
            raise
        except Exception as error:  # the model's own code may raise anything
            refusals.append(failed(error, x, targets))
            continue
        complaint = _broadcast(trace, targets)
        if complaint is None:
            most = max((_terms(site) for site in _likely(trace)), default=0)
            if most <= filled.size:
                return targets, trace
            found.append((most, targets, trace))  # a target of another shape may not be blown up by the model
            continue
        refusals.append(complaint)
    if not found:
        raise refusals[0]
    _, targets, trace = min(found, key=lambda one: one[0])
    return targets, trace


def _observed(trace: Trace) -> list[Any]:
    """Return the observed sites of a trace, factors left out."""
    return [
        s for s in trace.values() if s["type"] == "sample" and s["is_observed"] and not is_factor(s["fn"])
    ]


def _likely(trace: Trace) -> list[Any]:
    """Return what can belong to the likelihood: the observed sites and the factors of a trace."""
    return [site for site in trace.values() if site["type"] == "sample" and site["is_observed"]]


def _terms(site: Any) -> int:
    """Return how many numbers a site observes or adds to the likelihood, whichever are more."""
    return int(max(np.size(site["value"]), np.prod(site["fn"].batch_shape, dtype=int)))


def _candidates(filled: np.ndarray, *, column: bool) -> Iterator[Array]:
    """Yield the shapes and types targets may be meant in: as given before others, real before whole."""
    shapes = [filled[:, 0], filled] if filled.shape[1] == 1 else [filled]
    shapes = shapes[::-1] if column else shapes
    yield from (jnp.asarray(shaped) for shaped in shapes)
    if filled.dtype.kind == "f" and np.all(filled == np.round(filled)):
        yield from (jnp.asarray(shaped.astype(int)) for shaped in shapes)


def failed(error: Exception, x: Array, y: Array | None) -> ValueError:
    """Return the refusal of a model that raises an error on its data, with the line where it does."""
    where = line_of(error)
    said = " ".join(str(error).partition("\n")[0].split()).rstrip(".")
    silent = " (an assertion of its own)" if isinstance(error, AssertionError) else ""
    compiled = isinstance(error, jax.errors.JAXTypeError)
    remedy = "compiled, it has no numbers there: use jax.numpy" if compiled else "make it take such data"
    shape = "no y" if y is None else f"y of shape {y.shape}"
    return ValueError(
        f"the model fails{where} on x of shape {x.shape} and {shape}: {type(error).__name__}"
        f"{f': {said[:300]}' if said else silent}; {remedy}"
    )


def line_of(error: Exception) -> str:
    """Return " in line 3 of FILE", the user's last line that an error went through; empty if none."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(Path(f.filename))]
    return f" in line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else ""


def _is_users(path: Path) -> bool:
    """Return whether a file is neither Python's, nor a package's, nor ours."""
    if not path.is_file():
        return False
    place = path.resolve()
    return not any(place.is_relative_to(folder) for folder in (*_INSTALLED, _OURS))


def _broadcast(trace: Trace, targets: Array) -> ValueError | None:
    """Return the refusal of a value that its distribution would blow up; None if there is none."""
    for site in trace.values():
        if site["type"] != "sample" or not site["is_observed"] or is_factor(site["fn"]):
            continue
        value, law = np.shape(site["value"]), tuple(site["fn"].shape())
        if value == ():  # one number for all, such as obs=0.0
            continue
        try:
            full = np.broadcast_shapes(value, law)
        except ValueError:
            full = ()
        if full != value:
            became = f" would be broadcast to {full}" if full else " do not fit"
            return ValueError(
                f"site {site['name']!r}: a value of shape {value} and a distribution of shape {law}{became} "
                f"(y was given as {targets.shape}); give both one shape, for example by x[:, 0] in place of x"
            )
    return None


def whole_numbers(trace: Trace) -> dict[str, bool]:
    """Return which sites' values must be made integers, because their distribution takes no others.

    Counts stay what they were given as: a model may compute with y, and what it makes of integers is cut off.

    Raises
    ------
    ValueError
        A site takes whole numbers and has others.
    """
    seen = [
        s for s in trace.values() if s["type"] == "sample" and s["is_observed"] and not is_factor(s["fn"])
    ]
    whole = {}
    for site in seen:
        support = site["fn"].support
        discrete = bool(support is not None and support.is_discrete)
        value = np.asarray(site["value"])
        whole[site["name"]] = discrete and not _takes_real(site["fn"], value)
        off = value != np.round(value)
        if discrete and off.any():
            raise ValueError(
                f"site {site['name']!r} takes whole numbers, but y has {value[off][0]:g}; "
                "check the target, or give it unstandardised (--no-standardise --detrend none)"
            )
    return whole


def _takes_real(law: Distribution, value: np.ndarray) -> bool:
    """Return whether a distribution has a density at whole numbers that are of real type."""
    try:
        jax.eval_shape(law.log_prob, jnp.asarray(value, float))
    except TypeError:  # a category is an index
        return False
    return True


def refuse_outside_support(first: Trace, second: Trace, taken: Mapping[str, AsObserved]) -> None:
    """Raise ValueError for an observed value outside a support that is the same at two draws of the sites.

    A value of which an entry is missing is not looked at: what stands there need not fit its other entries.
    """
    for name, site in first.items():
        if site["type"] != "sample" or not site["is_observed"] or is_factor(site["fn"]):
            continue
        supports = [trace[name]["fn"].support for trace in (first, second)]
        if supports[0] is None or not _equal_leaves(*supports):
            continue
        value = jnp.asarray(site["value"])
        inside = np.asarray(supports[0](value))
        present = taken[name].present
        if present is not None:
            inside = inside | ~present.reshape(*inside.shape, -1).all(axis=-1)
        if not inside.all():
            at = tuple(int(k) for k in np.argwhere(~inside)[0])
            bad = np.asarray(value)[at]
            shown = f"{bad:g}" if np.ndim(bad) == 0 else str(np.round(bad, 4).tolist())
            raise ValueError(
                f"site {name!r} observes {shown} in row {at[0] if at else 0}, outside the support of "
                f"{type(site['fn']).__name__} ({type(supports[0]).__name__.strip('_').lower()}); "
                "check the target or the distribution"
            )


def _equal_leaves(one: Any, other: Any) -> bool:
    """Return whether two supports have the same numbers in them."""
    leaves = [jax.tree.leaves(support) for support in (one, other)]
    return len(leaves[0]) == len(leaves[1]) and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(*leaves, strict=True)
    )


def moves(filled: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return targets of the same shape and type, moved in four ways.

    To the largest value of their column, to its smallest, and far beyond both: an entry that is coarsened
    (clipped, rounded, counted as above or below) changes in one of them, and so does a sum or an extreme of
    rows.
    """
    low, high = filled.min(axis=0, keepdims=True), filled.max(axis=0, keepdims=True)
    whole = np.all(filled == np.round(filled), axis=0, keepdims=True)
    spread = np.where(high > low, high - low, np.abs(high) + 1)
    far = _FAR * np.where(whole, np.maximum(np.round(spread), 1), spread)
    full = np.ones_like(filled)
    return tuple((full * end).astype(filled.dtype) for end in (high, low, high + far, low - far))


def bits(count: int) -> int:
    """Return the number of binary digits that tell ``count`` rows apart, at least 1."""
    return max(1, math.ceil(math.log2(count)))
