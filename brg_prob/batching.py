"""Sizes of batches for ``jax.lax.map``."""

from __future__ import annotations


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
