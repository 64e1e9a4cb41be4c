"""Which network it is: a digest by content, so that results of different networks are not mixed.

A network made of fields is its class and its fields; a function is its name and its code. Results carry the
digest of the network they came from, and what combines results refuses another one.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def identity(network: Any) -> str:
    """Return the digest of a network, 16 hex digits.

    Examples
    --------
    >>> def model(x, y=None): ...
    >>> def other(x, y=None):
    ...     return x
    >>> identity(model) == identity(model), identity(model) == identity(other)
    (True, False)
    """
    found = hashlib.sha256()
    for part in _parts(network):
        found.update(part.encode() + b"\0")
    return found.hexdigest()[:16]


def refuse_another(network: Any, digest: str, what: str) -> None:
    """Raise ValueError where a result, ``what`` in words, carries another network's digest; empty: any's."""
    if digest and digest != identity(network):
        label = getattr(network, "__name__", type(network).__name__)
        raise ValueError(
            f"{what} belongs to another network (digest {digest}) than {label} ({identity(network)}); pass "
            "the network that it was made with"
        )


def _parts(value: Any) -> Iterator[str]:
    """Yield a value by content as text, part by part."""
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
        yield from _function(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield f"{type(value).__module__.rpartition('.')[2]}.{type(value).__qualname__}"
        yield from _parts({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield str(name)
            yield from _parts(value[name])
    elif isinstance(value, tuple | list):
        yield f"{len(value)}"
        for item in value:
            yield from _parts(item)
    elif isinstance(value, np.ndarray | jax.Array) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        array = np.ascontiguousarray(value)
        yield f"{array.dtype.str} {array.shape} {array.tobytes().hex()}"
    elif isinstance(value, bool | int | float | complex | str | bytes | None):
        yield repr(value)
    else:
        yield type(value).__qualname__


def _function(value: Any) -> Iterator[str]:
    """Yield what a function is, bound or partial ones with what they were given."""
    if isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords))
    elif isinstance(value, types.MethodType):
        yield from _parts((value.__func__, value.__self__))
    else:
        yield f"function {value.__qualname__}"
        yield from _code(value.__code__)
        for cell in value.__closure__ or ():
            yield from _closed(cell)


def _code(code: types.CodeType) -> Iterator[str]:
    """Yield what a function does: its instructions, names and constants, functions inside it included."""
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:
            yield repr(constant)


def _closed(cell: Any) -> Iterator[str]:
    """Yield what a function closes over: numbers and arrays by content, other functions by name."""
    try:
        value = cell.cell_contents
    except ValueError:  # not yet assigned
        return
    if isinstance(value, types.FunctionType):  # it may close over this one
        yield value.__qualname__
    else:
        yield from _parts(value)
