"""What may be given in place of an array at the edge of a room, ``x: Real[ArrayLike, "n d"] | Rows``."""

from collections.abc import Sequence

Rows = Sequence[Sequence[float]]
"""Rows of numbers, of which numpy makes a matrix."""
