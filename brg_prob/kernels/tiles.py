"""A kernel matrix tile by tile, within a limit of memory that the caller sets."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from brg_prob.kernels.checked_options import Options
from brg_prob.kernels.recursion import Activations, all_diagonals, all_pairs

DEFAULT_LIMIT = 2**28  # 256 MiB, where only `out` is given
CACHED = 2**23  # tiles of this size stay in a processor's cache
SMALLEST = 16  # rows of a tile
LARGEST = 2048  # a larger tile is no faster, and pads more
COEFFICIENTS = 6  # arrays of coefficients of a series alive at once, those of rows and columns
BUFFERS = 4  # first guess of the tiles alive at once; the compiler knows better, and is asked


def tiled_kernel(
    x1: Float[Array, "n1 d"],
    x2: Float[Array, "n2 d"] | None,
    options: Options,
    *,
    ntk: bool,
    limit: Any = None,
    out: Any = None,
) -> Float[np.ndarray, "n1 n2"]:
    """Return the output's kernel as a numpy array, or ``out`` filled.

    Parameters
    ----------
    x1, x2
        Inputs, (n1, d), (n2, d); None: of x1 with itself, of which half the tiles are computed.
    options
        Activations and variances.
    ntk
        The NTK instead of the NNGP.
    limit
        Bytes that the tiles may take beyond the result and the inputs.
    out
        A writable array (n1, n2) of the inputs' type, a ``numpy.memmap`` for instance.

    Raises
    ------
    ValueError, TypeError
        A limit that holds no tile; an ``out`` of another shape or type.
    """
    one, other = np.asarray(x1), np.asarray(x1 if x2 is None else x2)
    shape = (len(one), len(other))
    result = np.empty(shape, one.dtype) if out is None else checked_out(out, shape, one.dtype)
    limit = DEFAULT_LIMIT if limit is None else checked_limit(limit)
    (down, across), tile = _fitting_tile(shape, x2 is None, one.shape[1], one.dtype, options, ntk, limit)
    for a in range(0, shape[0], down):
        rows = _padded(one, a, down)
        for b in range(0, a + 1 if x2 is None else shape[1], across):
            block = np.asarray(tile(rows, _padded(other, b, across), options.weights, options.biases))
            block = block[: shape[0] - a, : shape[1] - b]
            place = result[a : a + down, b : b + across]
            place[...] = block
            if x2 is None and a == b:
                place += block.T
                place /= 2
                own = np.asarray(all_diagonals(rows, *options, ntk))
                np.fill_diagonal(place, own[: len(place)])
            elif x2 is None:
                result[b : b + across, a : a + down] = block.T
    return result


def cached_limit(activations: Activations, dtype: Any) -> int:
    """Return the bytes of tiles whose pairs stay in cache, and of their longest series' coefficients."""
    terms = max(len(act.numeric.degrees) for act in activations if act.numeric is not None)
    return CACHED + COEFFICIENTS * terms * math.isqrt(CACHED // BUFFERS // dtype.itemsize) * dtype.itemsize


def checked_limit(limit: Any) -> int:
    """Return the limit in bytes."""
    if isinstance(limit, bool) or not isinstance(limit, int | float | np.integer) or not limit > 0:
        raise ValueError(f"memory_limit = {limit!r} must be a positive number of bytes")
    return int(min(limit, 2**62))


def checked_out(out: Any, shape: tuple[int, int], dtype: Any) -> Float[np.ndarray, "n1 n2"]:
    """Return the array to write to."""
    if not isinstance(out, np.ndarray) or not out.flags.writeable:
        raise TypeError(f"out is {type(out).__name__}: a writable numpy array or memmap is needed")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out has shape {out.shape} and type {out.dtype}; {shape} and {dtype} are needed")
    return out


def _fitting_tile(
    shape: tuple[int, int], square: bool, dim: int, dtype: Any, options: Options, ntk: bool, limit: int
) -> tuple[tuple[int, int], Any]:
    """Return the sides of a tile and the compiled function whose memory the compiler says fits."""
    side = min(LARGEST, max(SMALLEST, math.isqrt(limit // (BUFFERS * dtype.itemsize))))
    while True:
        # equal tiles: as few as `side` allows, none mostly padding
        down, across = (math.ceil(n / math.ceil(n / side)) for n in shape)
        sides = (down, down if square else across)
        tile, needed = _compiled(sides, dim, dtype.name, options.activations, ntk)
        if needed <= limit:
            return sides, tile
        if side <= SMALLEST:
            held = f"{sides[0]} × {sides[1]}"
            raise ValueError(f"memory_limit = {limit} bytes holds no tile of {held}: give at least {needed}")
        side = max(SMALLEST, min(int(0.9 * side * math.sqrt(limit / needed)), max(sides) - 1))


@lru_cache(maxsize=64)
def _compiled(
    sides: tuple[int, int], dim: int, dtype: str, activations: Activations, ntk: bool
) -> tuple[Any, int]:
    """Return the function of one tile and the bytes that it takes: inputs, result and temporaries."""
    inputs = [jax.ShapeDtypeStruct((side, dim), dtype) for side in sides]
    variances = [jax.ShapeDtypeStruct((len(activations) + 1,), dtype)] * 2
    tile = all_pairs.lower(*inputs, *variances, activations, ntk).compile()
    memory = tile.memory_analysis()
    if memory is None:  # a device whose compiler does not say
        return tile, BUFFERS * sides[0] * sides[1] * np.dtype(dtype).itemsize
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    return tile, int(needed)


def _padded(x: Float[np.ndarray, "n d"], start: int, count: int) -> Float[np.ndarray, "{count} d"]:
    """Return ``count`` rows from ``start``, the last one repeated beyond the end: one shape, one program."""
    rows = x[start : start + count]
    return np.pad(rows, ((0, count - len(rows)), (0, 0)), mode="edge")
