"""Batches for ``jax.lax.map``: their sizes, and maps whose body sees a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def even_batch(count: int, most: int) -> int:
    """Return a batch size of at most ``most`` that divides ``count``, if one is near.

    ``jax.lax.map`` compiles its body a second time for a ragged last batch; equal batches
    halve the compile time.

    Examples
    --------
    >>> even_batch(4000, 64), even_batch(30, 64), even_batch(4001, 64)
    (50, 30, 64)
    """
    most = min(count, most)
    return next((size for size in range(most, most // 4, -1) if count % size == 0), most)


def map_batches(batch: Callable[[Any], Any], items: Any, size: int) -> Any:
    """Return ``batch`` of every ``size`` items after another, joined; a ragged last batch by itself.

    Unlike ``jax.lax.map(..., batch_size=size)`` it hands over the batch itself, so that random numbers may be
    drawn one by one in it: under ``jax.vmap`` they take two to three times as long to compile, and no
    less to run.

    Parameters
    ----------
    batch
        From a batch of items (b, ...), a pytree, to arrays with the same leading axis.
    items
        Pytree of arrays, (S, ...).
    size
        b ≥ 1; see :func:`even_batch`.

    Examples
    --------
    >>> map_batches(lambda x: x - x[0], jnp.arange(5), 2).tolist()
    [0, 1, 0, 1, 0]
    """
    count = jax.tree.leaves(items)[0].shape[0]
    if size >= count:
        return batch(items)
    even = count - count % size
    blocks = jax.tree.map(lambda leaf: leaf[:even].reshape(-1, size, *leaf.shape[1:]), items)
    found = jax.tree.map(lambda leaf: leaf.reshape(even, *leaf.shape[2:]), jax.lax.map(batch, blocks))
    if even < count:
        rest = batch(jax.tree.map(lambda leaf: leaf[even:], items))
        found = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), found, rest)
    return found
