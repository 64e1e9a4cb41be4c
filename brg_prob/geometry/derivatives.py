"""Which derivatives JAX has of a function, found from shapes alone: nothing is compiled or computed.

Code behind ``jax.custom_vjp``, such as ``jax.experimental.ode.odeint``, has reverse derivatives only; a loop
of unknown length has forward ones only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from brg_prob.geometry.univariate import NoTransport

_PLACEHOLDERS = frozenset({"unreachable", "custom_lin"})
"""Stand in for the forward derivative of a ``custom_vjp`` function."""


def refusal(function: Callable[..., Any], *arguments: Any) -> str | None:
    """Return None if a derivative can be traced at arguments of these shapes, else JAX's reason, one line.

    Parameters
    ----------
    function
        A function whose undifferentiated part is known to run, so that an error is one of differentiation.
    arguments
        Arrays, or shapes and types.

    Examples
    --------
    >>> refusal(jax.grad(jnp.sin), 1.0)
    >>> loop = lambda x: jax.lax.while_loop(lambda c: c < 3, lambda c: c + 1, x)
    >>> refusal(jax.grad(loop), 1.0)[:45]
    'Reverse-mode differentiation does not work fo'
    """
    try:
        traced = jax.make_jaxpr(function)(*arguments)
        if _has_placeholder(traced.jaxpr):
            jax.jit(function).lower(*arguments)  # raises where the placeholder is not dead code
    except NoTransport:
        raise
    except (NotImplementedError, TypeError, ValueError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    return None


def _has_placeholder(jaxpr: Any) -> bool:
    """Return whether a program holds a step that JAX traces but refuses to lower: a missing derivative."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in _PLACEHOLDERS:
            return True
        for parameter in equation.params.values():
            for part in parameter if isinstance(parameter, tuple | list) else (parameter,):
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns") and _has_placeholder(inner):
                    return True
    return False


def no_forward_mode(function: Callable[[Array], Any], point: Any) -> str | None:
    """Return why a function has no forward derivatives at a point, or None if it has."""
    return refusal(lambda at: jax.jvp(function, (at,), (jnp.ones_like(at),)), point)


def no_reverse_mode(function: Callable[[Array], Any], point: Any) -> str | None:
    """Return why a function has no reverse derivatives at a point, or None if it has."""

    def pulled(at: Array) -> Any:
        values, pull = jax.vjp(function, at)
        return pull(jax.tree.map(jnp.ones_like, values))

    return refusal(pulled, point)


__all__ = ["no_forward_mode", "no_reverse_mode", "refusal"]
