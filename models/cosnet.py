"""The cos-net: one hidden layer of cosines, whose prior is a free scalar field (T4).

f(x) = Σ_i a_i φ_i(x), in one of two geometries:

* random momenta (``width=N``): w_i uniform in the ball |w| < Λ, b_i ~ U(−π, π),
  φ_i = A √G0(|w_i|) cos(w_i·x + b_i), a_i ~ N(0, 1/N), A² = 2 Vol(B_Λ)/(2π)^d;
* periodic lattice (``box=L``): p ∈ (2π/L)Z^d, |p| ≤ Λ, one cosine and one sine of amplitude
  √(2 G0/L^d) per ±p pair, one constant of amplitude √(G0/L^d), a_i ~ N(0, 1).

Either way the covariance of the field is that of a field theory with the propagator G0 and a
momentum cutoff Λ, exactly and at every width: the integral over the ball for random momenta,
the sum over the lattice otherwise. Given the momenta the field is Gaussian; with random
momenta the prior itself is so only as N → ∞.

Source: Halverson, arXiv:2112.04527.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform, biject_to

from brg_prob.network import ReadoutPrior, isotropic_prior
from brg_prob.spectra import (
    FreeScalar,
    NetworkDensity,
    Spectrum,
    ball_volume,
    below_cutoff,
    equispaced_grid,
    evaluate_spectrum,
    lattice_momenta,
    own_spectrum,
    plane_waves,
    stationary_covariance,
    why_no_grid,
)


@dataclass(frozen=True)
class CosNet:
    """A cosine network as a NumPyro model: ``network(x, y=None)``.

    Sites: ``w`` (N, d) and ``b`` (N,) for random momenta only, ``readout`` (P,) or (P, outputs),
    ``noise`` if ``noise_spread`` > 0, the deterministic field ``f`` (n,) or (n, outputs), and the
    observation ``y`` ~ N(f, noise²). Exactly one of ``width`` and ``box`` is given.

    Attributes
    ----------
    dim
        Dimension d of the inputs: 1, 2 or 3.
    cutoff
        Λ, largest |momentum|, radians per unit of x.
    mass
        m, inverse correlation length, in the unit of ``cutoff``.
    noise
        σ, standard deviation of an observation, in the unit of y; its median where it is sampled.
    width
        Number N of neurons with random momenta.
    box
        Side L of the periodic box of a lattice, in the unit of x.
    amplitude
        G0 = amplitude² · spectrum(p, mass, d) for |p| ≤ Λ.
    spectrum
        Spectral density: ``FreeScalar()``, ``Matern(smoothness)`` or any function (p, mass, dim).
    noise_spread
        If > 0, σ ~ LogNormal(log noise, noise_spread).
    outputs
        Number of independent fields that share the hidden layer.

    Raises
    ------
    ValueError
        An option out of range, width and box together or neither, or a spectrum that is
        negative or not finite.

    Examples
    --------
    >>> network = CosNet(width=100, cutoff=20.0, mass=1.0)
    >>> round(float(network.covariance([[0.0]], [[0.0]])[0, 0]), 4), round(math.atan(20) / math.pi, 4)
    (0.4841, 0.4841)
    """

    dim: int = 1
    cutoff: float = 20.0
    mass: float = 1.0
    noise: float = 0.5
    width: int | None = None
    box: float | None = None
    amplitude: float = 1.0
    spectrum: Callable[[Any, float, int], Any] = FreeScalar()
    noise_spread: float = 0.0
    outputs: int = 1

    def __post_init__(self) -> None:
        if self.dim not in (1, 2, 3):
            raise ValueError(f"dim = {self.dim} is not supported; use 1, 2 or 3")
        if (self.width is None) == (self.box is None):
            raise ValueError(
                f"width = {self.width} and box = {self.box}: give exactly one, "
                "width=1000 for random momenta or box=10.0 for a periodic lattice"
            )
        for name in ("cutoff", "mass", "noise", "amplitude", "box"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} = {value} must be positive and finite")
        if not 0 <= self.noise_spread < math.inf:
            raise ValueError(
                f"noise_spread = {self.noise_spread} must be 0 (σ is given) or positive (σ is sampled)"
            )
        for name in ("width", "outputs"):
            value = getattr(self, name)
            if value is not None and (value < 1 or value != int(value)):
                raise ValueError(f"{name} = {value} must be a whole number, at least 1")
        if not callable(self.spectrum):
            raise ValueError(
                f"spectrum = {self.spectrum!r} must be a function (p, mass, dim), e.g. FreeScalar()"
            )
        probe = np.array([self.cutoff]) if self.box is None else np.linalg.norm(self._momenta(), axis=1)
        for density in (self.spectrum, NetworkDensity(self)):
            evaluate_spectrum(density, probe, self.mass, self.dim)

    @classmethod
    def for_inputs(cls, x: Any, **options: Any) -> Self:
        """Return the network that fits the inputs, options given being kept.

        On an equispaced grid: a periodic lattice whose box the grid fills once (side n·dx),
        unless ``width`` or ``box`` is given, and a cutoff half a mode above the largest mode
        index k with more than 2k points per side, where T9 is exact.

        Raises
        ------
        ValueError
            x is not (n, d), or is no equispaced cubic grid (one with repeated points is none) and
            neither width nor box is given.
        """
        if np.ndim(x) != 2:
            raise ValueError(
                f"x has shape {np.shape(x)}; inputs are (n, d), so use x[:, None] for one dimension"
            )
        grid = equispaced_grid(x)
        options = {"dim": np.shape(x)[1], **options}
        if options.get("width") is None and options.get("box") is None:
            if grid is None:
                remedy = "give width=1000 for random momenta, or box and cutoff"
                raise ValueError(f"x of shape {np.shape(x)} {why_no_grid(x)}; {remedy}")
            options["box"] = grid.box
        if grid is not None and grid.largest_index > 0:
            options.setdefault("cutoff", grid.cutoff)
        return cls(**options)

    # -- capability FreeField

    def spectral_density(self, p: Any) -> Array:
        """Return G0(|p|), zero above the cutoff; same shape as p.

        A subclass that overrides it, for momenta of any shape below the cutoff, overrides the theory:
        features, draws, covariance and prediction all follow.
        """
        p = jnp.asarray(p, dtype=float)
        density = self.amplitude**2 * self.spectrum(p, self.mass, self.dim)
        return jnp.where(below_cutoff(p, self.cutoff), density, 0)

    @cached_property
    def _theory(self) -> tuple[float, Spectrum]:
        """A and G of the density A² G that is drawn: the two fields, unless a subclass has its own."""
        return own_spectrum(self)

    def _density(self, p: Any) -> Any:
        """Return the density that is drawn, at momenta below the cutoff."""
        amplitude, spectrum = self._theory
        return amplitude**2 * spectrum(p, self.mass, self.dim)

    # -- capability LinearReadout

    @property
    def neuronwise(self) -> bool:
        """Whether a slice of the neurons in hidden gives that slice of the features."""
        return self.width is not None

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Draw momenta w (N, d) and phases b (N,); ``{}`` on a lattice, where all is fixed."""
        priors = self._hidden_priors()
        keys = jax.random.split(key, max(len(priors), 1))
        return {name: prior.sample(k) for (name, prior), k in zip(priors.items(), keys, strict=False)}

    def features(self, x: Any, hidden: Mapping[str, Array]) -> Array:
        """Return φ_i(x), (n, P), in raw readout units.

        Random momenta: any slice of the neurons in ``hidden`` gives the columns of that slice.
        Lattice: the constant, then cosine and sine of every pair, pairs sorted by |p|.
        """
        x = self._inputs(x)
        if self.box is not None:
            momenta = self._momenta()
            basis, index = plane_waves(x, momenta, self.box)
            density = self._density(np.linalg.norm(momenta, axis=1)[index])
            return basis * jnp.sqrt(jnp.asarray(density, dtype=x.dtype))
        w, b = hidden["w"], hidden["b"]
        # P(w) A² E[cos²]: the average over momenta and phases is ∫ d^dp/(2π)^d (T4)
        norm = math.sqrt(2 * ball_volume(self.dim, self.cutoff) / (2 * math.pi) ** self.dim)
        # |w| has no derivatives at w = 0, where a chain may start; with ε they are those of a density of |w|²
        momentum = jnp.sqrt(jnp.sum(jnp.square(w), axis=1) + math.sqrt(jnp.finfo(w.dtype).tiny))
        return norm * jnp.sqrt(self._density(momentum))[None, :] * jnp.cos(x @ w.T + b[None, :])

    def readout_prior(self, hidden: Mapping[str, Array]) -> ReadoutPrior:
        """Return independent weights: N(0, 1/N) for random momenta, N(0, 1) on a lattice."""
        variance = 1.0 if self.width is None else 1.0 / self.width
        return isotropic_prior(self._parameters(), self.outputs, variance=variance)

    # -- capability Covariance

    def covariance(self, x1: Any, x2: Any) -> Array:
        """Return the exact prior covariance of one output at this width, (n1, n2).

        Lattice: the finite sum over momenta. Random momenta: the integral over the ball, the
        same at every width (quadrature on the host, so x1 and x2 may not be traced).
        """
        if self.box is not None:
            return self.features(x1, {}) @ self.features(x2, {}).T
        amplitude, spectrum = self._theory
        integral = stationary_covariance(
            self._inputs(x1), self._inputs(x2), spectrum, mass=self.mass, dim=self.dim, cutoff=self.cutoff
        )
        return jnp.asarray(amplitude**2 * integral)

    # -- the generative model

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run the generative model once; ``y=None`` means not observed."""
        x = self._inputs(x)
        hidden = {name: numpyro.sample(name, prior) for name, prior in self._hidden_priors().items()}
        shape = (self._parameters(),) if self.outputs == 1 else (self._parameters(), self.outputs)
        deviation = 1.0 if self.width is None else 1.0 / math.sqrt(self.width)
        readout = numpyro.sample("readout", dist.Normal(0.0, deviation).expand(shape).to_event(len(shape)))
        f = numpyro.deterministic("f", self.features(x, hidden) @ readout)
        noise: Any = self.noise
        if self.noise_spread > 0:
            noise = numpyro.sample("noise", dist.LogNormal(math.log(self.noise), self.noise_spread))
        with numpyro.plate("observations", x.shape[0]):
            return numpyro.sample("y", dist.Normal(f, noise).to_event(f.ndim - 1), obs=y)

    def _hidden_priors(self) -> dict[str, dist.Distribution]:
        """Return the distributions of the hidden sites."""
        if self.width is None:
            return {}
        # in d = 1 the ball is an interval, which NumPyro knows
        interval = dist.Uniform(-self.cutoff, self.cutoff).expand([1]).to_event(1)
        ball = interval if self.dim == 1 else _UniformBall(self.dim, self.cutoff)
        return {
            "w": ball.expand([self.width]).to_event(1),
            "b": dist.Uniform(-math.pi, math.pi).expand([self.width]).to_event(1),
        }

    def _momenta(self) -> np.ndarray:
        """Return the lattice, one of each ±p pair, (M, d)."""
        assert self.box is not None
        return lattice_momenta(self.dim, self.box, self.cutoff)

    def _parameters(self) -> int:
        """Return the number P of readout weights."""
        return 2 * len(self._momenta()) - 1 if self.width is None else self.width

    def _inputs(self, x: Any) -> Array:
        """Return the inputs as a float array (n, d)."""
        x = jnp.asarray(x, dtype=float)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(
                f"x has shape {x.shape}; CosNet(dim={self.dim}) takes inputs of shape (n, {self.dim})"
            )
        return x


class _Ball(constraints.Constraint):
    """Vectors of norm at most ``radius``."""

    event_dim = 1

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def __call__(self, x: Any) -> Any:
        """Return whether vectors (..., d) lie in the ball, a few roundings from it counting as inside."""
        return jnp.sum(jnp.square(x), axis=-1) <= self.radius**2 * (
            1 + 16 * jnp.finfo(jnp.result_type(x)).eps
        )

    def feasible_like(self, prototype: Any) -> Any:
        """Return the centre of the ball."""
        return jnp.zeros_like(prototype)

    def eq(self, other: object, static: bool = False) -> bool:
        """Return whether the other constraint is a ball of the same radius."""
        return isinstance(other, _Ball) and bool(self.radius == other.radius)

    def tree_flatten(self) -> Any:
        """Return children and static data for jax."""
        return (), ((), {"radius": self.radius})


class _BallTransform(Transform):
    """R^d onto the ball: x ↦ R x √((1 − e^(−u))/2u), u = |x|²/2.

    A uniform distribution in the ball becomes light-tailed on R^d, exactly N(0, 1) in d = 2,
    which is what NUTS likes.
    """

    domain = constraints.real_vector

    def __init__(self, radius: float) -> None:
        self.radius = radius

    @property
    def codomain(self) -> constraints.Constraint:
        """The ball."""
        return _Ball(self.radius)

    @staticmethod
    def _log_shrinkage(u: Array) -> Array:
        """Return ½ log((1 − e^(−u))/2u), smooth at u = 0."""
        positive = jnp.where(u > 0, u, 1)
        return 0.5 * jnp.log(jnp.where(u > 0, -jnp.expm1(-positive) / positive, 1 - u / 2) / 2)

    def __call__(self, x: Any) -> Any:
        """Map (..., d) into the ball."""
        u = jnp.sum(jnp.square(x), axis=-1, keepdims=True) / 2
        return self.radius * x * jnp.exp(self._log_shrinkage(u))

    def _inverse(self, y: Any) -> Any:
        """Map the ball back to R^d."""
        u = -jnp.log1p(-jnp.sum(jnp.square(y / self.radius), axis=-1, keepdims=True))
        return y / (self.radius * jnp.exp(self._log_shrinkage(u)))

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        """Return d log R − u − log 2 + (d − 2) log shrinkage."""
        dim = x.shape[-1]
        u = jnp.sum(jnp.square(x), axis=-1) / 2
        return dim * math.log(self.radius) - u - math.log(2) + (dim - 2) * self._log_shrinkage(u)

    def tree_flatten(self) -> Any:
        """Return children and static data for jax."""
        return (), ((), {"radius": self.radius})

    def eq(self, other: object, static: bool = False) -> bool:
        """Return whether the other transform maps onto the same ball."""
        return isinstance(other, _BallTransform) and bool(self.radius == other.radius)


@biject_to.register(_Ball)
def _ball_transform(constraint: _Ball) -> _BallTransform:
    """Tell NumPyro how to leave the ball."""
    return _BallTransform(constraint.radius)


class _UniformBall(dist.Distribution):
    """The uniform distribution in a ball about zero.

    Parameters
    ----------
    dim
        d, the length of a vector.
    radius
        Largest norm.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_aux_fields = ("dim", "radius")

    def __init__(self, dim: int, radius: float, *, validate_args: bool | None = None) -> None:
        self.dim, self.radius = dim, radius
        super().__init__(batch_shape=(), event_shape=(dim,), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """The ball."""
        return _Ball(self.radius)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw vectors, (*sample_shape, d): a normal direction, and the radius by its distribution r^d."""
        direction_key, radius_key = jax.random.split(key)
        direction = jax.random.normal(direction_key, (*sample_shape, self.dim))
        direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
        return self.radius * direction * jax.random.uniform(radius_key, (*sample_shape, 1)) ** (1 / self.dim)

    def log_prob(self, value: Any) -> Any:
        """Return −log Vol(B), minus infinity outside."""
        level = -math.log(ball_volume(self.dim, self.radius))
        return jnp.where(self.support(value), level, -jnp.inf)
