"""Draws of fields as 16-bit integers, by the conventions that netCDF readers know (CF, packed data)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brg_prob.derived import DERIVED

if TYPE_CHECKING:
    import xarray as xr

_LARGE = 1 << 17
"""Numbers in a variable from which on it is packed."""
_DRAWN = frozenset({"chain", "draw", "flow_draw"})
_LEVELS = 65_000
_PER_DEVIATION = 500
"""Steps in the smallest standard deviation over draws: half a step is a thousandth of it."""


def packing(tree: xr.DataTree) -> dict[str, dict[str, Any]]:
    """Return the encoding, group → variable → options, in which a run in closed form is stored.

    Only such draws are packed: they are made again in a second, networks that were trained and draws of
    latent sites are not. A variable is packed where that moves no number by more than a thousandth of the
    standard deviation over its draws, at any row and scale; else it is compressed as it is.
    """
    if DERIVED not in tree.attrs or "dual" not in tree["posterior"].data_vars:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for group in tree.subtree:
        for name, variable in group.data_vars.items():
            over = tuple(at for at, dim in enumerate(variable.dims) if dim in _DRAWN)
            if over and variable.size >= _LARGE and variable.dtype.kind == "f":
                found.setdefault(group.path, {})[str(name)] = _packed(np.asarray(variable.values), over)
    return found


def is_packed(tree: xr.DataTree) -> bool:
    """Return whether a tree that was read holds packed variables."""
    each = (variable for group in tree.subtree for variable in group.data_vars.values())
    return any("scale_factor" in variable.encoding for variable in each)


def _packed(values: np.ndarray, over: tuple[int, ...]) -> dict[str, Any]:
    """Return how to store one variable, whose draws stand along the axes ``over``."""
    squeezed = {"zlib": True, "complevel": 1, "shuffle": True}
    low, high = (float(end(values)) for end in (np.min, np.max))
    step, spread = (high - low) / _LEVELS, float(np.min(values.std(axis=over)))
    if not spread >= _PER_DEVIATION * step > 0:  # written so that what is not finite is not packed
        return squeezed
    return squeezed | {
        "scale_factor": step,
        "add_offset": (high + low) / 2,
        "dtype": "int16",
        "_FillValue": np.int16(-32768),
    }
