"""What follows from a readout's field, targets and noise alone, and is made again when a run is read.

On the host and without jax, so that a run can be read and compared without it. The log-likelihood of the
training rows is stored all the same: who reads a file with ArviZ alone leaves rows out by it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

DERIVED = "derived"
"""Attribute of a tree's root: which groups follow from the others, comma-separated."""
PREDICTIVE_KEY = "predictive_key"
"""Attribute of a tree's root: JSON of the numbers that seed draws of y at the training inputs."""
_STORED = "log_likelihood"
_SOURCES = {
    "log_likelihood": ("posterior", "observed_data"),
    "predictions_log_likelihood": ("predictions", "predictions_data"),
    "posterior_predictive": ("posterior", "observed_data"),
}


def gaussian_log_density(field: NDArray[Any], y: NDArray[Any], noise: NDArray[Any]) -> NDArray[Any]:
    """Return log N(y | field, noise²) summed over outputs, (…, n).

    Parameters
    ----------
    field
        (…, n, o).
    y
        (n, o).
    noise
        σ, (…).

    Examples
    --------
    >>> float(gaussian_log_density(np.zeros((1, 1)), np.zeros((1, 1)), np.array(1.0))[0].round(4))
    -0.9189
    """
    standard = (y - field) / noise[..., None, None]
    constant = y.shape[1] * (np.log(noise) + 0.5 * math.log(2 * math.pi))
    found: NDArray[Any] = -0.5 * np.sum(np.square(standard), axis=-1) - constant[..., None]
    return found


def with_derived(tree: xr.DataTree) -> xr.DataTree:
    """Return a tree with the groups that its attribute ``derived`` names.

    ``log_likelihood`` and ``predictions_log_likelihood``: log N(y_i | f_i, σ²), summed over outputs, (chain,
    draw, row); ``posterior_predictive``: y drawn anew. σ is each draw's ``noise`` where it was sampled, else
    the attribute.
    """
    made = tree.copy()
    for name in _named(tree):
        if name not in tree.children:
            source, targets = (tree[group].to_dataset() for group in _SOURCES[name])
            made[name] = _derived(name, tree, source["f"], targets["y"])
    return made


def without_derived(tree: xr.DataTree) -> xr.DataTree:
    """Return a tree without the groups that its attribute ``derived`` names, save the log-likelihood."""
    left = tree.copy()
    for name in _named(tree):
        if name in left.children and name != _STORED:
            del left[name]
    return left


def _named(tree: xr.DataTree) -> list[str]:
    return [name for name in str(tree.attrs.get(DERIVED, "")).split(",") if name]


def _derived(name: str, tree: xr.DataTree, f: xr.DataArray, y: xr.DataArray) -> xr.DataTree:
    """Return one group."""
    import xarray as xr

    posterior = tree["posterior"].to_dataset()
    field = f.values if "output" in f.dims else f.values[..., None]
    known = posterior["noise"].values if "noise" in posterior.data_vars else float(tree.attrs["noise"])
    noise = np.broadcast_to(np.asarray(known, field.dtype), field.shape[:2])
    if name == "posterior_predictive":
        rng = np.random.default_rng(json.loads(str(tree.attrs[PREDICTIVE_KEY])))
        error = rng.standard_normal(field.shape).astype(field.dtype)
        values = (field + noise[..., None, None] * error).reshape(f.shape)
        return xr.DataTree(f.copy(data=values).rename("y").to_dataset())
    target = y.values if "output" in y.dims else y.values[:, None]
    logs = gaussian_log_density(field, target, noise)
    rows = [dim for dim in f.dims if dim != "output"]
    coords = {dim: f.coords[dim] for dim in ("chain", "draw") if dim in f.coords}
    return xr.DataTree(xr.Dataset({"y": (rows, logs)}, coords=coords))
