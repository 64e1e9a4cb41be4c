"""Draws of fields as 16-bit integers, by the conventions that netCDF readers know (CF, packed data)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brg_prob.derived import DERIVED

if TYPE_CHECKING:
    import xarray as xr

_LARGE = 1 << 17
"""Numbers in a variable from which on it is packed."""
_LEVELS = 65_000


def packing(tree: xr.DataTree) -> dict[str, dict[str, Any]]:
    """Return the encoding, group → variable → options, in which a run in closed form is stored.

    Its draws are normal, so that the range of a variable is some ten of its standard deviations: stored to a
    part in 65 000 of that they are off by 1e-4 of one, a hundredth of what 4000 draws err by. They are made
    again in a second. Networks that were trained are not, and draws of latent sites may have any tail:
    these are stored as they are.
    """
    if DERIVED not in tree.attrs or "dual" not in tree["posterior"].data_vars:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for group in tree.subtree:
        for name, variable in group.data_vars.items():
            drawn = {"draw", "flow_draw"} & set(variable.dims)
            if drawn and variable.size >= _LARGE and variable.dtype.kind == "f":
                found.setdefault(group.path, {})[str(name)] = _packed(np.asarray(variable.values))
    return found


def is_packed(tree: xr.DataTree) -> bool:
    """Return whether a tree that was read holds packed variables."""
    each = (variable for group in tree.subtree for variable in group.data_vars.values())
    return any("scale_factor" in variable.encoding for variable in each)


def _packed(values: np.ndarray) -> dict[str, Any]:
    """Return how to pack one variable; one that is nowhere finite, or constant, is compressed alone."""
    squeezed = {"zlib": True, "complevel": 1, "shuffle": True}
    low, high = (float(end(values)) for end in (np.min, np.max))
    if not np.isfinite([low, high]).all() or low == high:
        return squeezed
    scale = {"scale_factor": (high - low) / _LEVELS, "add_offset": (high + low) / 2}
    return squeezed | scale | {"dtype": "int16", "_FillValue": np.int16(-32768)}
