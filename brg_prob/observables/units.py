"""The way from a network's units to the record's, for the first output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from brg_prob.arrays import Floats
from brg_prob.transform import Standardisation


def field_factor(preparation: Standardisation | None) -> float:
    """Return the factor from a network's field to the record's, 1 without a preparation."""
    return 1.0 if preparation is None else float(np.ravel(preparation.inverse_scale(1.0))[0])


def restored(preparation: Standardisation | None, x: ArrayLike, values: ArrayLike) -> Floats:
    """Return fields (..., n, o) at inputs (n, d) of a network in record units, first output (..., n)."""
    first = np.asarray(values, dtype=float)[..., 0]
    return first if preparation is None else preparation.first.inverse(x, first)


def restored_inputs(preparation: Standardisation | None, x: ArrayLike) -> Floats:
    """Return inputs (n, d) in the record's units."""
    inputs = np.asarray(x, dtype=float)
    return inputs if preparation is None else preparation.inverse_inputs(inputs)


def first_output(values: ArrayLike, ndim: int) -> Floats:
    """Return values without their output axis, the first output where there are several."""
    array = np.asarray(values, dtype=float)
    return array if array.ndim == ndim else array[..., 0]


def with_output(values: ArrayLike, ndim: int) -> Floats:
    """Return values with an output axis; ``ndim`` is their rank without it."""
    array = np.asarray(values, dtype=float)
    return array[..., None] if array.ndim == ndim else array


def unit_attributes(units: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes ``field_unit`` and ``length_unit``, empty where nothing is known."""
    return {f"{name}_unit": units.get(name, "") for name in ("field", "length")}
