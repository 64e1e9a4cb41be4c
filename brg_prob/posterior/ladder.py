"""Posteriors along a ladder of T, each started from the one before (T6)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import xarray as xr
from jax import Array

from brg_prob.posterior.engine import Data, Engine


def fit_ladder(
    network: Any, data: Data, engine: Engine, *, scales: Sequence[float], key: Array, draws: int
) -> Iterator[xr.DataTree]:
    """Yield the tree of π_T for each T, each started from the last where the engine can.

    Parameters
    ----------
    network, data
        The model and its data (:func:`brg_prob.posterior.as_data`).
    engine
        Any engine. NUTS compiles two programs in all, one for the first T and one for all others.
    scales
        T, in falling order: towards the prior, so that each posterior lies within the next.
    key
        Split into one key per T.
    draws
        Draws at each T.

    Raises
    ------
    ValueError
        No T, a negative one, or T that rises.
    """
    found = [float(scale) for scale in scales]
    if not found:
        raise ValueError("the ladder has no T; give at least one, for example scales=[n, n / 10, 0]")
    if not all(scale >= 0 for scale in found):
        worst = next(scale for scale in found if not scale >= 0)
        raise ValueError(f"T = {worst:g} is negative; T runs from 0 (the prior) to n = {data.n}")
    if sorted(found, reverse=True) != found:
        at = next(i for i in range(1, len(found)) if found[i] > found[i - 1])
        raise ValueError(f"T rises from {found[at - 1]:g} to {found[at]:g}; give scales in falling order")
    along = getattr(engine, "along", None)
    if along is not None:
        return along(network, data, key=key, draws=draws, scales=found)
    return _one_by_one(network, data, engine, found, key, draws)


def _one_by_one(
    network: Any, data: Data, engine: Any, scales: Sequence[float], key: Array, draws: int
) -> Iterator[xr.DataTree]:
    """Yield the fits of an engine that has no ladder of its own, warm if it takes ``start``."""
    warm = "start" in inspect.signature(engine.fit).parameters
    last: xr.DataTree | None = None
    for number, observations in enumerate(scales):
        options = {"start": last} if warm else {}
        own = jax.random.fold_in(key, number)
        last = engine.fit(network, data, key=own, draws=draws, observations=observations, **options)
        assert last is not None
        yield last
