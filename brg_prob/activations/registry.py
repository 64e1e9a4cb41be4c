"""How a name, a parameter or a Python function finds its activation."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from brg_prob.activations import closed, user
from brg_prob.activations.base import Activation
from brg_prob.activations.numeric import numeric_activation
from brg_prob.activations.quadrature import Elementwise

_CLOSED: Mapping[str, Activation] = MappingProxyType(
    {
        "abs": closed.leaky_relu(-1.0, "abs"),
        "cos": closed.COSINE,
        "erf": closed.ERF,
        "exp": closed.NORMALISED_EXPONENTIAL,
        "gelu": closed.GELU,
        "identity": closed.IDENTITY,
        "leaky_relu": closed.leaky_relu(0.01),
        "relu": closed.leaky_relu(0.0, "relu"),
        "sign": closed.SIGN,
        "sin": closed.SINE,
        "step": closed.STEP,
    }
)

_NUMERIC: Mapping[str, Elementwise] = MappingProxyType(
    {"sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus, "swish": jax.nn.silu, "tanh": jnp.tanh}
)

_ALIASES: Mapping[str, str] = MappingProxyType({"heaviside": "step", "silu": "swish"})


def _leaky_relu(slope: float) -> Activation:
    if not math.isfinite(slope):
        raise ValueError(f"leaky_relu({slope}) has no finite slope; use one such as leaky_relu(0.01)")
    return closed.leaky_relu(slope)


def _monomial(power: float) -> Activation:
    if not 1 <= power <= closed.MAX_POWER or power != int(power):
        raise ValueError(
            f"monomial({power:g}) needs a whole power from 1 to {closed.MAX_POWER}, such as monomial(3)"
        )
    return closed.monomial(int(power))


_PARAMETRIC: Mapping[str, Callable[[float], Activation]] = MappingProxyType(
    {"leaky_relu": _leaky_relu, "monomial": _monomial}
)


def names() -> tuple[str, ...]:
    """Return the names that :func:`activation` knows; ``monomial`` needs its power, ``monomial(3)``.

    It also takes ``heaviside`` for step and ``silu`` for swish.
    """
    return tuple(sorted({*_CLOSED, *_NUMERIC, *_PARAMETRIC}))


def activation(spec: str | Activation | Elementwise, *, kinks: tuple[float, ...] | None = None) -> Activation:
    """Return the activation that a spec names; equal specs give the same object.

    Parameters
    ----------
    spec
        A name of :func:`names`, with its parameter in parentheses if it has one (``leaky_relu(0.2)``);
        a Python function of one array, elementwise and of jax.numpy; or an :class:`Activation`,
        returned as it is.
    kinks
        Of a Python function only: where it or one of its first two derivatives jumps. Not given, they
        are searched for between −10 and 10.

    Raises
    ------
    TypeError
        Neither a name nor a function.
    ValueError
        An unknown name, a parameter out of range, or a function that is not elementwise, real and finite.

    Examples
    --------
    >>> relu = activation("relu")
    >>> float(relu.dual(1.0, 1.0, 1.0))
    0.5
    >>> activation(lambda z: jnp.clip(z, -1, 1)).kinks
    (-1.0, 1.0)
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        return _named(spec)
    if not callable(spec):
        raise TypeError(f"activation = {spec!r} must be a name such as 'relu' or a Python function")
    return user.user_activation(spec, None if kinks is None else tuple(sorted(map(float, kinks))))


def _named(spec: str) -> Activation:
    """Return the activation of a name, with or without a parameter."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", spec)
    name = match[1].lower() if match else spec
    name = _ALIASES.get(name, name)
    if name not in names():
        close = difflib.get_close_matches(name, (*names(), *_ALIASES), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(names())}"
        raise ValueError(f"activation {spec!r} is unknown; {hint}")
    argument = match[2] if match else None
    if argument is None:
        if name in _NUMERIC:
            return numeric_activation(name, _NUMERIC[name])
        if name not in _CLOSED:
            raise ValueError(f"activation {spec!r} needs its parameter, such as '{name}(3)'")
        return _CLOSED[name]
    if name not in _PARAMETRIC:
        raise ValueError(f"activation {spec!r} takes no parameter; write {name!r}")
    try:
        parameter = float(argument)
    except ValueError:
        raise ValueError(f"activation {spec!r} needs a number as parameter, such as '{name}(1)'") from None
    return _PARAMETRIC[name](parameter)
