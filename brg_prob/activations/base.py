"""What an activation is to the rest of the library (T2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from brg_prob.activations import mehler
from brg_prob.activations.stable import AnyEntry, Dual, Pairs, floating, geometric_mean

Function = Callable[[Float[Array, "*shape"], Any], Float[Array, "*shape"]]


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
        Points z where φ, φ′ or φ″ jumps; integrals are split there.
    numeric
        How the kernels are computed where there is no closed form, else None; see :meth:`tuned`.

    Notes
    -----
    Without a closed form ``dual`` is good to 1e-10 of E[φ²] for variances up to 2. Whoever knows the
    variances, on the host, calls :meth:`tuned` once, outside of compiled code, and uses the result.
    Call dual(a[:, None], b[None, :], c): what belongs to a point, the coefficients of Mehler's series,
    is then computed once per point, not per pair. To keep them over several tiles:

    >>> from brg_prob.activations import activation
    >>> tanh = activation("tanh")
    >>> if tanh.has_series:
    ...     points = tanh.coefficients(jnp.array([0.5, 1.0]))  # (n, K); derivative=1 for dual_derivative
    ...     kernel = tanh.series(points[:, None], points[None, :], jnp.ones((2, 2)))  # of ρ = c/√(ab)
    """

    name: str
    function: Function = field(repr=False)
    dual: Dual = field(repr=False)
    dual_derivative: Dual = field(repr=False)
    slope: Function = field(repr=False)
    normalised: bool = False
    kinks: tuple[float, ...] = ()
    numeric: Any = field(default=None, repr=False)

    def __call__(
        self, z: Real[ArrayLike, "*shape"], variance: Real[ArrayLike, "*#shape"] | None = None
    ) -> Float[Array, "*shape"]:
        """Return φ(z)."""
        return self.function(floating(z)[0], variance)

    def derivative(
        self, z: Real[ArrayLike, "*shape"], variance: Real[ArrayLike, "*#shape"] | None = None
    ) -> Float[Array, "*shape"]:
        """Return φ′(z); at a kink the mean of both sides, of sign and step 0 everywhere.

        Of a Python function it is what jax differentiates it to, at a kink too.
        """
        return self.slope(floating(z)[0], variance)

    # -- activations without a closed form

    @property
    def has_series(self) -> bool:
        """Whether the kernels are Mehler series."""
        return self.numeric is not None and bool(self.numeric.degrees)

    def coefficients(
        self, variance: Real[ArrayLike, "*points"], derivative: int = 0
    ) -> Float[Array, "*points K"]:
        """Return the Hermite coefficients of φ, or of φ′ for derivative 1, (…, K); only if ``has_series``."""
        return self.numeric.coefficients(floating(variance)[0], derivative)

    def series(
        self,
        left: Float[Array, "*#pairs K"],
        right: Float[Array, "*#pairs K"],
        rho: Float[Array, "*#pairs"],
        derivative: int = 0,
    ) -> Pairs:
        """Return the dual kernel from coefficients (…, K), broadcast against correlations ``rho`` (…)."""
        return mehler.series(left, right, rho, self.numeric.degrees_of(derivative))

    def tuned(
        self, max_variance: float, tolerance: float = 1e-10, max_correlation: float = 1.0
    ) -> Activation:
        """Return the same φ with kernels as cheap as they may be; φ itself where there is a closed form.

        Parameters
        ----------
        max_variance
            Largest variance of any argument.
        tolerance
            Largest error of ``dual`` and ``dual_derivative``, relative to E[φ²] and E[φ′²] at that variance.
        max_correlation
            Largest |ρ| that will be asked for; 1 if the diagonal is.

        Raises
        ------
        ValueError
            A number out of range, or φ or φ′ not finite where its Gaussian has weight.
        """
        if not 0 <= max_variance < math.inf:
            raise ValueError(f"max_variance = {max_variance} must be finite and not negative")
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance = {tolerance} must lie between 0 and 1, such as 1e-10")
        if not 0 <= max_correlation <= 1:
            raise ValueError(f"max_correlation = {max_correlation} must lie between 0 and 1")
        if self.numeric is None:
            return self
        return self.numeric.tuned(float(max_variance), float(tolerance), float(max_correlation))

    def error_estimate(self, a: AnyEntry, b: AnyEntry, c: AnyEntry) -> Pairs:
        """Return an estimate of the absolute error of dual(a, b, c): rounding error if in closed form."""
        a, b, c = floating(a, b, c)
        if self.numeric is not None:
            return self.numeric.error_estimate(a, b, c)
        size = geometric_mean(self.dual(a, a, a), self.dual(b, b, b))
        return jnp.finfo(c.dtype).eps * size * jnp.ones_like(c)
