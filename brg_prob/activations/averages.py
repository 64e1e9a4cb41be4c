"""Moments of an activation of one Gaussian input, and its susceptibilities (T3, T15)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from brg_prob.activations.base import Activation
from brg_prob.activations.quadrature import Elementwise, gaussian_expectation
from brg_prob.activations.stable import floating


class Moments(NamedTuple):
    """Moments at z ~ N(0, K), each of the shape of K.

    Attributes
    ----------
    square, fourth
        ⟨φ²⟩ and ⟨φ⁴⟩.
    slope_square
        ⟨φ′²⟩, φ′ of sign and step taken as 0: χ_⊥ = σ_w² ``slope_square``.
    stretch
        ⟨φ² (z² − K)⟩/2K² = d⟨φ²⟩/dK: χ_∥ = σ_w² ``stretch``. At K = 0 its limit from above, to √eps.
        Where ``normalised``, φ is held at the prior variance K.
    """

    square: Float[Array, "*shape"]
    fourth: Float[Array, "*shape"]
    slope_square: Float[Array, "*shape"]
    stretch: Float[Array, "*shape"]


def moments(
    activation: Activation, variance: Real[ArrayLike, "*shape"], *, order: int | None = None
) -> Moments:
    """Return moments of φ(z), z ~ N(0, variance), by quadrature that resolves kinks.

    Parameters
    ----------
    activation
        φ.
    variance
        K at least 0, any shape … .
    order
        Nodes per piece, as of :func:`gaussian_expectation`.

    Returns
    -------
    Moments

    References
    ----------
    T15; Roberts, Yaida and Hanin, arXiv:2106.10165, section 5.

    Examples
    --------
    >>> from brg_prob.activations import activation
    >>> relu = moments(activation("relu"), 2.0)  # critical at σ_w² = 2, at every K
    >>> bool(abs(2 * relu.stretch - 1) < 1e-5), bool(abs(2 * relu.slope_square - 1) < 1e-5)
    (True, True)
    """
    (k,) = floating(variance)

    def mean(g: Elementwise, at: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return gaussian_expectation(g, at, order=order, kinks=activation.kinks)

    # below √eps the difference has lost its digits, and the limit is as near
    positive = jnp.maximum(k, jnp.finfo(k.dtype).eps ** 0.5)
    # ⟨z² − K⟩ = 0 lets φ(0)² be taken off, so that nothing cancels as K → 0
    offset = activation(jnp.zeros_like(k), k) ** 2
    return Moments(
        square=mean(lambda z: activation(z, k) ** 2, k),
        fourth=mean(lambda z: activation(z, k) ** 4, k),
        slope_square=mean(lambda z: activation.derivative(z, k) ** 2, k),
        stretch=mean(
            lambda z: (activation(z, k) ** 2 - offset) * (z * z / positive - 1) / (2 * positive), positive
        ),
    )
