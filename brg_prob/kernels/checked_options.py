"""What a caller of the kernels gives, checked on the host and made into arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from brg_prob.activations import Activation, activation


class Options(NamedTuple):
    """Activations (L of them) and variances (L + 1,) of a network of L hidden layers."""

    weights: Float[Array, " layers"]
    biases: Float[Array, " layers"]
    activations: tuple[Activation, ...]


def checked_options(
    depth: int, activations: Any, weight_variance: Any, bias_variance: Any, dtype: Any
) -> Options:
    """Return the options as the recursion takes them.

    Raises
    ------
    TypeError, ValueError
        One line: the offending value and the remedy.
    """
    depth = checked_depth(depth)
    single = isinstance(activations, str | Activation) or callable(activations)
    specs = [activations] * depth if single else list(activations)
    if len(specs) != depth:
        raise ValueError(f"activation has {len(specs)} entries but depth = {depth}: one per hidden layer")
    resolved = {id(spec): activation(spec) for spec in specs}  # one function, one activation
    return Options(
        checked_variance("weight_variance", weight_variance, depth, dtype),
        checked_variance("bias_variance", bias_variance, depth, dtype),
        tuple(resolved[id(spec)] for spec in specs),
    )


def checked_depth(depth: Any) -> int:
    """Return the number of hidden layers, at least one."""
    try:
        value = operator.index(depth)
    except TypeError:
        raise TypeError(f"depth = {depth!r} must be a whole number of hidden layers") from None
    if value < 1:
        raise ValueError(f"depth = {value} must be at least 1 hidden layer")
    return value


def checked_variance(name: str, value: Any, depth: int, dtype: Any) -> Float[Array, " {depth}+1"]:
    """Return a variance per layer, (L + 1,): a number for all, or one each and the readout's last."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    try:
        given = jnp.asarray(value, dtype=dtype)
    except (TypeError, ValueError):
        raise TypeError(f"{name} = {value!r} must be a number, or one per layer and readout") from None
    if given.ndim > 1 or (given.ndim == 1 and given.shape != (depth + 1,)):
        entries = f"has {given.shape[0]} entries" if given.ndim == 1 else f"has shape {given.shape}"
        raise ValueError(
            f"{name} {entries} but depth = {depth}: give one number, or depth + 1 = {depth + 1}, "
            "the last for the readout"
        )
    if not traced(given):
        wrong = np.ravel(given)[~(np.isfinite(np.ravel(given)) & (np.ravel(given) >= 0))]
        if wrong.size:
            raise ValueError(f"{name} = {wrong[0]} must be finite and not negative")
    return jnp.broadcast_to(given, (depth + 1,))


def checked_inputs(x1: Any, x2: Any = None) -> tuple[Float[Array, "n1 d"], Float[Array, "n2 d"] | None]:
    """Return inputs (n, d) of one floating type.

    Raises
    ------
    ValueError
        Not (n, d), no rows or columns, different d, or an entry that is not finite.
    """
    given = {"x1": x1} if x2 is None else {"x1": x1, "x2": x2}
    for name, value in given.items():
        kind = getattr(value, "dtype", None) or np.asarray(value).dtype
        if jnp.issubdtype(kind, jnp.complexfloating) or not jnp.issubdtype(kind, jnp.number):
            raise TypeError(f"{name} holds {kind}; inputs are real numbers (n, d)")
    plain = {name: jnp.asarray(value) for name, value in given.items()}
    floats = [v.dtype for v in plain.values() if jnp.issubdtype(v.dtype, jnp.floating)]
    dtype = jnp.promote_types(floats[0], floats[-1]) if floats else jnp.result_type(float)
    arrays = [_checked_input(name, value.astype(dtype)) for name, value in plain.items()]
    if x2 is None:
        return arrays[0], None
    if arrays[0].shape[1] != arrays[1].shape[1]:
        raise ValueError(
            f"x1 has d = {arrays[0].shape[1]} and x2 has d = {arrays[1].shape[1]}: inputs need the same d"
        )
    return arrays[0], arrays[1]


def _checked_input(name: str, x: Float[Array, " ..."]) -> Float[Array, "n d"]:
    if x.ndim != 2 or 0 in x.shape:
        hint = f", so use {name}[:, None] for one dimension" if x.ndim == 1 else ""
        raise ValueError(f"{name} has shape {x.shape}; inputs are (n, d){hint}")
    if not traced(x) and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(np.asarray(x)))[0, 0])
        raise ValueError(f"{name} is not finite in row {row}: drop it or fill it in")
    return x


def any_traced(*values: Any) -> bool:
    """Whether any array has no values yet."""
    return any(traced(value) for value in values)


def traced(value: Any) -> bool:
    """Whether an array has no values yet: inside ``jit``, ``grad`` or ``vmap``."""
    return isinstance(value, jax.core.Tracer)
