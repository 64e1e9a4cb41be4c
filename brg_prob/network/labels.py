"""Names of the coordinates of latent sites."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

AxisNames = Mapping[str, Mapping[int, tuple[str, ...]]]
"""Site → axis of its shape → name of each place along it."""


def coordinate_labels(
    shapes: Mapping[str, tuple[int, ...]], names: AxisNames | None = None
) -> tuple[str, ...]:
    """Return names of the coordinates of sites of given shapes.

    Parameters
    ----------
    shapes
        Site → shape.
    names
        Names along axes, in place of their numbers. A site confined to a surface has fewer coordinates than
        entries; there numbers are left.

    Examples
    --------
    >>> coordinate_labels({"a": (), "w": (2,), "m": (1, 2)}, {"w": {0: ("dose", "age")}})
    ('a', 'w[dose]', 'w[age]', 'm[0,0]', 'm[0,1]')
    """
    labels: list[str] = []
    for name, shape in shapes.items():
        given = (names or {}).get(name, {})
        own = {axis: words for axis, words in given.items() if shape[axis : axis + 1] == (len(words),)}
        for index in np.ndindex(shape):
            words = [own[axis][k] if axis in own else str(k) for axis, k in enumerate(index)]
            labels.append(f"{name}[{','.join(words)}]" if words else name)
    return tuple(labels)
