"""The most probable point in coordinates where the prior is N(0, 1), and the curvature there.

In z (T7) minus the log density of π_T is E(z) = ½|z|² − Tℓ̄(z) − factors of the prior, so its
Hessian is the identity plus what the data say: nothing is singular.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.distributions import MaskedDistribution
from scipy.optimize import minimize

from brg_prob.geometry.coordinates import NoTransport, StandardNormalCoordinates
from brg_prob.geometry.derivatives import no_forward_mode, no_reverse_mode, refusal
from brg_prob.network import Conditioned

Derivatives = Callable[[Array], tuple[Any, Any, Any]]
"""z → (E, ∇E, Hessian of E)."""

Curvature = Literal["forward", "reverse", "differences"]
"""The gradient's derivatives in forward mode, in reverse mode, or its central differences."""

_LARGE = 100
_ROUGH = 1e-4
_POLISH = 5


class Mode(NamedTuple):
    """Where E is least.

    Attributes
    ----------
    z
        The point, (D,).
    energy, gradient
        E there, and its gradient (D,).
    precision
        Hessian of E there, (D, D).
    distance
        Length of the next Newton step in posterior standard deviations.
    lowest
        Smallest eigenvalue of the Hessian; 0 where it is rounding.
    iterations
        Steps taken.
    """

    z: np.ndarray
    energy: float
    gradient: np.ndarray
    precision: np.ndarray
    distance: float
    lowest: float
    iterations: int


@dataclass(frozen=True, eq=False)
class WhitenedModel:
    """A conditioned model in coordinates where its prior is N(0, 1).

    Raises
    ------
    NoTransport
        A site has no map to the standard normal; names the site.
    """

    conditioned: Conditioned
    coordinates: StandardNormalCoordinates

    @classmethod
    def of(cls, conditioned: Conditioned, *, caller: str) -> WhitenedModel:
        """Read the coordinates of a model; ``caller`` is named where there are none."""
        try:
            made = StandardNormalCoordinates(conditioned.whole, conditioned.x, conditioned.y)
        except NoTransport as reason:
            said = str(reason).removesuffix("; diffusion needs one, so flow this model by tempering")
            raise NoTransport(
                f"{said}; {caller} works in coordinates where the prior is standard normal, so use NUTS()"
            ) from None
        return cls(conditioned, made)

    def values(self, z: Array) -> dict[str, Array]:
        """Return the values of the latent sites at z, (D,)."""
        return self.coordinates.inverse(self.coordinates.unflatten(z))

    def energy(self, z: Array, observations: ArrayLike) -> Array:
        """Return E(z) at T observations, up to a constant; pure, T may be traced."""
        model = handlers.substitute(self.conditioned.tempered(observations), data=self.values(z))
        trace = handlers.trace(handlers.seed(model, jax.random.key(0))).get_trace()
        total = 0.5 * jnp.sum(jnp.square(z))
        for site in trace.values():
            if site["type"] == "sample":
                total = total - (_weighted(site) if site["is_observed"] else _beyond_the_prior(site))
        return total

    @cached_property
    def curvature(self) -> Curvature:
        """How the Hessian is made; found without computing anything.

        Raises
        ------
        ValueError
            The log density has no gradient.
        """
        z = jnp.zeros((self.coordinates.dimension,))
        reason = refusal(jax.grad(self.energy), z, 1.0)
        if reason is not None:
            raise ValueError(f"the log density has no gradient, so no mode is looked for: {reason}")

        def slope(at: Array) -> Array:
            return jax.grad(self.energy)(at, 1.0)

        if no_forward_mode(slope, z) is None:
            return "forward"
        return "reverse" if no_reverse_mode(slope, z) is None else "differences"

    def derivatives(self, z: Array, observations: ArrayLike) -> tuple[Array, Array, Array]:
        """Return E, its gradient (D,) and its Hessian (D, D) from one program; pure."""

        def slope(at: Array) -> tuple[Array, tuple[Array, Array]]:
            energy, gradient = jax.value_and_grad(self.energy)(at, observations)
            return gradient, (energy, gradient)

        if self.curvature == "differences":
            _, (energy, gradient) = slope(z)
            return energy, gradient, self.differenced(z, observations)
        differentiate = jax.jacfwd if self.curvature == "forward" else jax.jacrev
        hessian, (energy, gradient) = differentiate(slope, has_aux=True)(z)
        return energy, gradient, hessian

    def differenced(self, z: Array, observations: ArrayLike, *, coarse: float = 1.0) -> Array:
        """Return the Hessian by central differences of the gradient, (D, D), symmetric; pure.

        The step is the cube root of the rounding of a number, about 6e-6, times ``coarse``. The error is its
        square, 4e-11, times fourth derivatives, beside that of the gradient over the step.
        """
        step = coarse * jnp.finfo(z.dtype).eps ** (1 / 3)

        def row(unit: Array) -> Array:
            ahead, behind = (jax.grad(self.energy)(z + s * step * unit, observations) for s in (1, -1))
            return (ahead - behind) / (2 * step)

        rows = jax.lax.map(row, jnp.eye(z.size, dtype=z.dtype))
        return (rows + rows.T) / 2


def find_mode(derivatives: Derivatives, start: Any, *, iterations: int) -> Mode:
    """Return the minimum of E from a starting point, by SciPy's trust region and Newton's method.

    Parameters
    ----------
    derivatives
        z → (E, ∇E, Hessian), best compiled.
    start
        (D,).
    iterations
        Most steps of each optimiser.

    Notes
    -----
    Above 100 coordinates L-BFGS, which needs no Hessians, goes first. Cost D³ per step of the trust
    region, whose Hessians take D gradients. Where E is not finite the step is refused.
    """
    known = _Remembered(derivatives)
    z, steps = np.asarray(start, float), 0
    if z.size > _LARGE:
        reached = minimize(
            known.value, z, jac=known.gradient, method="L-BFGS-B", options={"maxiter": iterations}
        )
        z, steps = reached.x, int(reached.nit)
    options = {"gtol": _ROUGH, "maxiter": iterations}
    reached = minimize(
        known.value, z, jac=known.gradient, hess=known.hessian, method="trust-exact", options=options
    )
    found = _judged(known, reached.x, steps + int(reached.nit))
    for _ in range(min(_POLISH, iterations)):
        if not found.lowest > 0:
            break
        other = _judged(
            known, found.z - np.linalg.solve(found.precision, found.gradient), found.iterations + 1
        )
        if not other.distance < found.distance:
            break
        found = other
    return found


class _Remembered:
    """E and its derivatives at the last point asked for, which optimisers ask for one by one."""

    def __init__(self, derivatives: Derivatives) -> None:
        self.derivatives, self.z, self.last = derivatives, np.zeros(0), (math.inf, np.zeros(0), np.zeros(0))

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return E, infinite where it is undefined, the gradient and the Hessian."""
        if not np.array_equal(z, self.z):
            energy, gradient, hessian = (np.asarray(part, float) for part in self.derivatives(jnp.asarray(z)))
            fine = all(np.isfinite(part).all() for part in (energy, gradient, hessian))
            self.z, self.last = z.copy(), (float(energy) if fine else math.inf, gradient, hessian)
        return self.last

    def value(self, z: np.ndarray) -> float:
        return self(z)[0]

    def gradient(self, z: np.ndarray) -> np.ndarray:
        return self(z)[1]

    def hessian(self, z: np.ndarray) -> np.ndarray:
        return self(z)[2]


def _judged(known: _Remembered, z: np.ndarray, iterations: int) -> Mode:
    """Return the mode at a point, with its distance from the optimum."""
    energy, gradient, precision = known(z)
    if not math.isfinite(energy):
        return Mode(z, energy, gradient, precision, math.inf, -math.inf, iterations)
    values, vectors = np.linalg.eigh(precision)
    floor = max(np.finfo(float).eps * np.abs(values).max(), np.finfo(float).tiny)
    distance = math.sqrt(np.sum((vectors.T @ gradient) ** 2 / np.maximum(np.abs(values), floor)))
    lowest = 0.0 if abs(values[0]) < 10 * floor else float(values[0])
    return Mode(z, energy, gradient, precision, distance, lowest, iterations)


def _weighted(site: Any) -> Array:
    """Return the log density of a site, summed with its scale: one number, or an array of weights."""
    value = site["fn"].log_prob(site["value"])
    return jnp.sum(value if site["scale"] is None else site["scale"] * value)


def _beyond_the_prior(site: Any) -> Array | float:
    """Return what scales and masks add to the log density of a latent site, whose own is ½|z|²."""
    inner = site["fn"]
    while isinstance(inner, MaskedDistribution):
        inner = inner.base_dist
    if inner is site["fn"] and site["scale"] is None:
        return 0.0
    return _weighted(site) - jnp.sum(inner.log_prob(site["value"]))
