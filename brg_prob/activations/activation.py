"""What an activation is to the rest of the library, and how a name finds one (T2)."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Dual = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Activation:
    """An activation φ with its dual kernels.

    Attributes
    ----------
    name
        As in a spec: ``relu``, ``leaky_relu(0.2)``.
    function
        φ(z, variance), elementwise; ``variance`` is the prior variance of z, broadcastable, and is
        ignored except where ``normalised``.
    dual
        E[φ(u)φ(v)] for (u, v) ~ N(0, [[a, c], [c, b]]): called as dual(a, b, c), broadcasting.
    dual_derivative
        E[φ′(u)φ′(v)], the same arguments; φ′ of sign and step is taken as 0.
    normalised
        Whether φ depends on the prior variance of its argument (the normalised exponential of T14).
    """

    name: str
    function: Callable[[Array, Any], Array]
    dual: Dual
    dual_derivative: Dual
    normalised: bool = False

    def __call__(self, z: Array, variance: Any = None) -> Array:
        """Return φ(z)."""
        return self.function(z, variance)


def _relu_dual(a: Array, b: Array, c: Array) -> Array:
    size = jnp.sqrt(a * b)
    cosine = jnp.clip(c / size, -1, 1)
    angle = jnp.arccos(cosine)
    return size * (jnp.sin(angle) + (jnp.pi - angle) * cosine) / (2 * jnp.pi)


def _relu_derivative(a: Array, b: Array, c: Array) -> Array:
    return (jnp.pi - jnp.arccos(jnp.clip(c / jnp.sqrt(a * b), -1, 1))) / (2 * jnp.pi)


_KNOWN = {
    "relu": Activation("relu", lambda z, _: jax.nn.relu(z), _relu_dual, _relu_derivative),
    "identity": Activation("identity", lambda z, _: z, lambda a, b, c: c, lambda a, b, c: jnp.ones_like(c)),
    "erf": Activation(
        "erf",
        lambda z, _: jax.scipy.special.erf(z),
        lambda a, b, c: 2 / jnp.pi * jnp.arcsin(2 * c / jnp.sqrt((1 + 2 * a) * (1 + 2 * b))),
        lambda a, b, c: 4 / jnp.pi / jnp.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c**2),
    ),
}


def names() -> tuple[str, ...]:
    """Return the names that :func:`activation` knows."""
    return tuple(sorted(_KNOWN))


def activation(spec: str | Activation | Callable[[Array], Array]) -> Activation:
    """Return the activation that a spec names."""
    if isinstance(spec, Activation):
        return spec
    if spec not in _KNOWN:
        close = difflib.get_close_matches(str(spec), names(), n=1)
        raise ValueError(f"activation {spec!r} is unknown" + (f"; did you mean {close[0]!r}?" if close else ""))
    return _KNOWN[spec]
