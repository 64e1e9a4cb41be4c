"""The schema of results: ArviZ ``xarray.DataTree`` with named dimensions, and its one builder.

Groups are ArviZ's (posterior, prior, log_likelihood, log_prior, observed_data,
constant_data, predictions, sample_stats) and, beside them, ``fisher``, ``flow``,
``theory``, ``checks``. Attributes are str, int or float; options are one JSON string;
random keys are stored by their key data, so that a tree survives netCDF.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

Attribute = str | int | float

FIELD_VARIABLE = "field_variable"
"""Attribute of a tree's root: the variable that holds the field, where that is not ``f``."""
SITES = "sites"
"""Attribute of a tree's root: JSON, the variables that hold latent sites and the names of these."""
_DIMENSIONS = frozenset({"chain", "draw", "x", "x_held_out", "output", "dim"})


def stored_name(site: str) -> str:
    """Return the name under which a site is stored: netCDF has no slash, and a dimension's name is taken.

    Examples
    --------
    >>> stored_name("line/b"), stored_name("w"), stored_name("draw")
    ('line.b', 'w', 'draw_')
    """
    name = site.replace("/", ".")
    return f"{name}_" if name in _DIMENSIONS else name


def field_variable(tree: xr.DataTree) -> str:
    """Return the name of the variable of a tree that holds the field."""
    return str(tree.attrs.get(FIELD_VARIABLE, "f"))


def stored_sites(tree: xr.DataTree) -> dict[str, str]:
    """Return the latent sites whose draws a tree holds, name of the variable → name of the site."""
    found: dict[str, str] = json.loads(str(tree.attrs.get(SITES, "{}")))
    return found


def build_tree(
    groups: Mapping[str, Mapping[str, Any]],
    *,
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Attribute] | None = None,
    group_attrs: Mapping[str, Mapping[str, Attribute]] | None = None,
) -> xr.DataTree:
    """Build a DataTree.

    Parameters
    ----------
    groups
        Group name → variable name → array.
    dims
        Dimension names of each variable, all of them (chain and draw too). Looked up
        first as ``group/variable``, then as ``variable``.
    coords
        Coordinate values by dimension name; ``chain`` and ``draw`` count from 0 if absent.
    attrs
        Attributes of the root: str, int or float only.
    group_attrs
        Attributes by group.

    Raises
    ------
    ValueError
        A variable without dimensions, with the wrong number of them, or an attribute of
        another type.

    Examples
    --------
    >>> tree = build_tree({"posterior": {"f": np.zeros((1, 5, 3))}}, dims={"f": ["chain", "draw", "x"]})
    >>> dict(tree["posterior"].sizes) == {"chain": 1, "draw": 5, "x": 3}
    True
    """
    coords = dict(coords or {})
    datasets = {}
    for group, variables in groups.items():
        datasets[group] = _dataset(group, variables, dims, coords)
        datasets[group].attrs.update(checked_attributes((group_attrs or {}).get(group, {})))
    tree = xr.DataTree.from_dict(datasets)
    tree.attrs.update(checked_attributes(attrs or {}))
    return tree


def _dataset(
    group: str, variables: Mapping[str, Any], dims: Mapping[str, Sequence[str]], coords: dict[str, Any]
) -> xr.Dataset:
    """Return one group as a Dataset with the coordinates that its dimensions use."""
    entries = {}
    for name, value in variables.items():
        names = dims.get(f"{group}/{name}", dims.get(name))
        array = np.asarray(value)
        if names is None or len(names) != array.ndim:
            raise ValueError(
                f"{group}/{name} has shape {array.shape} but dimensions {names}; name each dimension once"
            )
        entries[name] = (tuple(names), array)
    dataset = xr.Dataset(entries)
    used: dict[str, np.ndarray] = {}
    for dimension, size in dataset.sizes.items():
        name = str(dimension)
        if name in coords and len(coords[name]) == size:
            used[name] = np.asarray(coords[name])
        elif name in ("chain", "draw"):
            used[name] = np.arange(size)
    return dataset.assign_coords(used)


def checked_attributes(attrs: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return attributes as plain str, int or float, or raise ValueError naming the offender."""
    checked: dict[str, Attribute] = {}
    for name, given in attrs.items():
        value = given.item() if isinstance(given, np.generic) else given
        value = int(value) if isinstance(value, bool) else value
        if not isinstance(value, str | int | float):
            raise ValueError(
                f"attribute {name} = {value!r} is a {type(value).__name__}; store str, int or float"
            )
        checked[name] = value
    return checked


def key_to_json(key: Array) -> str:
    """Return a random key (or a batch of them) as JSON of its key data."""
    return json.dumps(np.asarray(jax.random.key_data(key)).tolist())


def key_from_json(text: str) -> Array:
    """Return the random key stored by :func:`key_to_json`.

    Examples
    --------
    >>> bool(key_from_json(key_to_json(jax.random.key(3))) == jax.random.key(3))
    True
    """
    return jax.random.wrap_key_data(jnp.asarray(json.loads(text), dtype=jnp.uint32))


def with_groups(tree: xr.DataTree, other: xr.DataTree) -> xr.DataTree:
    """Return a tree with the groups of both; groups of ``other`` win."""
    groups = {name: node.to_dataset() for name, node in tree.children.items()}
    groups |= {name: node.to_dataset() for name, node in other.children.items()}
    merged = xr.DataTree.from_dict(groups)
    merged.attrs.update({**tree.attrs, **other.attrs})
    return merged
