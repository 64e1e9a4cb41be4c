"""Which network it is: a digest by content, so that results of different networks are not mixed.

A network made of fields is its class and its fields; a function is its name, code and defaults, and what it
closes over. Results carry the digest of their network, and what combines results refuses another.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Mapping
from typing import Any

from brg_prob.digest import content_digest
from brg_prob.network.protocols import network_label

_TAG = f"{sys.implementation.cache_tag}-"
"""Another Python compiles a function otherwise, so that its digests say nothing of ours."""


def identity(network: Any) -> str:
    """Return the digest of a network: which Python made it, and 16 hex digits.

    Examples
    --------
    >>> def model(x, y=None): ...
    >>> def other(x, y=None):
    ...     return x
    >>> identity(model) == identity(model), identity(model) == identity(other)
    (True, False)
    """
    return _TAG + content_digest(_described(network))[:16]


def refuse_another(network: Any, digest: str, what: str) -> None:
    """Raise ValueError where a result, ``what`` in words, carries the digest of another network.

    Without a digest, or with one of another Python, nothing is known and nothing refused.
    """
    if digest.startswith(_TAG) and digest != identity(network):
        raise ValueError(
            f"{what} belongs to another network (digest {digest}) than {network_label(network)} "
            f"({identity(network)}); pass the network that it was made with"
        )


def _described(value: Any) -> Any:
    """Return a value with functions, and what is known by its type alone, put into words."""
    if isinstance(value, functools.partial):
        return ["partial", *map(_described, (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return ["method", _described(value.__func__), _described(value.__self__)]
    if isinstance(value, types.FunctionType):
        closed = [_closed(cell) for cell in value.__closure__ or ()]
        defaults = _described([value.__defaults__, value.__kwdefaults__])
        return ["function", value.__qualname__, _code(value.__code__, value.__doc__), defaults, closed]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _described(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return [type(value).__module__.rpartition(".")[2], type(value).__qualname__, fields]
    if isinstance(value, Mapping):
        return {str(name): _described(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [*map(_described, value)]
    plain = value is None or isinstance(value, bool | int | float | str | bytes)
    return value if plain or hasattr(value, "dtype") else type(value).__qualname__


def _code(code: types.CodeType, doc: str | None = None) -> list[Any]:
    """Return what a function does: instructions, names and constants, without what it says of itself."""
    constants = [_constant(one) for one in code.co_consts if one is not None and one != doc]
    return [code.co_code, code.co_names, constants]


def _constant(value: Any) -> Any:
    """Return a constant as text or, of a function inside the function, its code; sets in one order."""
    if isinstance(value, types.CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _closed(cell: Any) -> Any:
    """Return what a function closes over: values by content, other functions by name."""
    try:
        value = cell.cell_contents
    except ValueError:  # not yet assigned
        return None
    # a function may close over this one
    return value.__qualname__ if isinstance(value, types.FunctionType) else _described(value)
