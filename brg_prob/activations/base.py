"""What an activation is to the rest of the library (T2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

Dual = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Activation:
    """An activation φ with its dual kernels; made by :func:`brg_prob.activations.activation`.

    Equal specs give the same object, so that functions compiled for it are found again.

    Attributes
    ----------
    name
        As in a spec: ``relu``, ``leaky_relu(0.2)``.
    function
        φ(z, variance), elementwise; ``variance`` is the prior variance of z, broadcastable, and is
        ignored except where ``normalised``.
    dual
        E[φ(u)φ(v)] for (u, v) ~ N(0, [[a, c], [c, b]]): called as dual(a, b, c), broadcasting.
        Differentiable in all three, forward and reverse, also at coincident points and at zero
        variance; what has no derivative there has the conventions of :mod:`~brg_prob.activations.stable`.
    dual_derivative
        E[φ′(u)φ′(v)], the same arguments; φ′ of sign and step is taken as 0. Where φ is continuous
        it is ∂/∂c of ``dual`` (Price's theorem).
    slope
        φ′(z, variance), elementwise; call :meth:`derivative`.
    normalised
        Whether φ depends on the prior variance of its argument (the normalised exponential of T14).
    kinks
        Points z where φ or φ′ jumps; integrals are split there.
    """

    name: str
    function: Callable[[Array, Any], Array]
    dual: Dual
    dual_derivative: Dual
    slope: Callable[[Array, Any], Array]
    normalised: bool = False
    kinks: tuple[float, ...] = ()

    def __call__(self, z: Any, variance: Any = None) -> Array:
        """Return φ(z)."""
        return self.function(jnp.asarray(z), variance)

    def derivative(self, z: Any, variance: Any = None) -> Array:
        """Return φ′(z); at a kink the mean of both sides, of sign and step 0 everywhere."""
        return self.slope(jnp.asarray(z), variance)
