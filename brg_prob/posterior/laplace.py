"""The engine ``laplace``: a Gaussian at the most probable point, in coordinates where the prior is N(0, 1).

The mode z* minimises E(z) = ½|z|² − Tℓ̄(z) and draws are z ~ N(z*, H⁻¹), H the curvature of E
there, carried back to the sites (T6, T7). H is the identity plus what the data say, so a
direction they say nothing of keeps its prior width. In a model's own coordinates the
curvature of such a direction is zero where the prior is flat, and rounding decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.batching import even_batch
from brg_prob.geometry.site_metric import site_metric
from brg_prob.network import Conditioned
from brg_prob.options import nearest
from brg_prob.posterior.engine import Data
from brg_prob.posterior.mode import Mode, WhitenedModel, find_mode
from brg_prob.posterior.model_tree import held_out_data, model_tree, site_values
from brg_prob.results import Attribute, key_to_json

_START = 0.1
"""Prior standard deviations of the starting point: z = 0 itself is a saddle of networks."""

_NEAR = 1e-2
"""Posterior standard deviations from the optimum within which the optimiser is said to have arrived."""

_CURVATURES = ("hessian", "fisher")


@dataclass(frozen=True)
class Laplace:
    """Gaussian approximation at the mode of π_T, in prior-whitened coordinates.

    Attributes
    ----------
    curvature
        Precision of the Gaussian: ``hessian`` of the log density, or the expected information ``fisher``
        plus the prior's, positive definite wherever the mode is.
    iterations
        Most steps of the optimiser.
    likelihood_factors
        ``numpyro.factor`` statements that belong to the likelihood; by default those that change with y.

    Raises
    ------
    ValueError
        An option out of range.

    Notes
    -----
    Exact where the log-likelihood is quadratic in z; else as good as the posterior is Gaussian in z, which
    is neither checked nor corrected: compare with NUTS. The mode is that of the density in z. Starts at
    a small random z, or at the mean of ``start``, and finds one mode of several. Cost D³ for D
    coordinates, and D gradients for a Hessian.

    Attributes of the tree: ``gradient_norm``; ``iterations``; ``converged`` (0 or 1: within 0.01 posterior
    standard deviations of the optimum); ``status``, a sentence.

    Examples
    --------
    >>> Laplace(curvature="fischer")
    Traceback (most recent call last):
    ValueError: curvature = 'fischer' is unknown; use hessian or fisher; did you mean 'fisher'?
    """

    curvature: Literal["hessian", "fisher"] = "hessian"
    iterations: int = 500
    likelihood_factors: tuple[str, ...] | None = None

    any_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.curvature not in _CURVATURES:
            raise ValueError(
                f"curvature = {self.curvature!r} is unknown; use {' or '.join(_CURVATURES)}"
                f"{nearest(self.curvature, _CURVATURES)}"
            )
        if not (self.iterations >= 1 and self.iterations == int(self.iterations)):
            raise ValueError(f"iterations = {self.iterations} is too few; use a whole number, at least 1")

    def fit(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        observations: float,
        start: xr.DataTree | None = None,
    ) -> xr.DataTree:
        """Return independent draws of the Gaussian approximation of π_T; see :func:`brg_prob.fit`.

        Raises
        ------
        NoTransport
            A site has no map to the standard normal; names it.
        ValueError
            A Hessian that is not positive definite where the optimiser ends, or no finite density there.
        """
        along = self.along(network, data, key=key, draws=draws, scales=[observations], start=start)
        return next(along)

    def along(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        scales: Sequence[float],
        start: xr.DataTree | None = None,
    ) -> Iterator[xr.DataTree]:
        """Yield the tree of each T of ``scales``, each from the last one's mean; compiled once for all."""
        conditioned = data.conditioned(network, self.likelihood_factors)
        self._check(conditioned)
        model = WhitenedModel.of(conditioned, caller="Laplace()")
        held_out = held_out_data(conditioned, data)
        derivatives = jax.jit(model.derivatives)
        centre = jax.jit(partial(_centre, model))
        drawn = jax.jit(partial(draw_laplace, model, draws=draws))
        for number, observations in enumerate(scales):
            own = key if len(scales) == 1 else jax.random.fold_in(key, number)
            start_key, draw_key = jax.random.split(own)
            first = _starting_point(model, centre, start, start_key)
            weight = jnp.asarray(observations, first.dtype)
            found = find_mode(partial(_at_weight, derivatives, weight), first, iterations=self.iterations)
            attrs = self._judged(found, _how(model, found, weight)) | {
                "engine": "laplace",
                "observations": observations,
                "independent": 1,
                "key": key_to_json(own),
                "curvature": self.curvature,
            }
            z, precision = jnp.asarray(found.z), jnp.asarray(found.precision)
            if self.curvature == "fisher":
                precision = _expected_precision(model, z, observations)
            values = drawn(z, precision, draw_key)
            sites = {name: np.asarray(value)[None] for name, value in values.items()}
            start = model_tree(conditioned, sites, held_out=held_out, attrs=attrs)
            yield start

    def _check(self, conditioned: Conditioned) -> None:
        """Refuse expected information of what has none."""
        own = conditioned.prior_factors
        if self.curvature == "fisher" and own:
            raise ValueError(
                f"curvature = 'fisher': factor {own[0]!r} of the prior has no expected information; "
                "use Laplace(curvature='hessian')"
            )

    def _judged(self, found: Mode, how: str) -> dict[str, Attribute]:
        """Return attributes that say how far the optimiser came; refuse what is no mode."""
        steps, distance = found.iterations, found.distance
        if not math.isfinite(found.energy):
            raise ValueError(
                f"Laplace() finds no finite log density and derivatives after {steps} steps; check the "
                "model's likelihood at draws of its prior, or use NUTS()"
            )
        if self.curvature == "hessian" and not found.lowest > 0:
            raise ValueError(
                f"Laplace() ends where the Hessian has the eigenvalue {found.lowest:.3g}, which is no mode; "
                "use NUTS(), or Laplace(curvature='fisher')"
            )
        converged = distance <= _NEAR
        return {
            "gradient_norm": float(np.linalg.norm(found.gradient)),
            "iterations": steps,
            "converged": int(converged),
            "status": (
                f"{'converged' if converged else 'NOT converged'} after {steps} steps, {distance:.1e} "
                f"posterior standard deviations from the optimum; {found.z.size} coordinate(s){how}"
            ),
        }


def _how(model: WhitenedModel, found: Mode, weight: Array) -> str:
    """Return how the Hessian was made where that was not by forward derivatives, and its error."""
    if model.curvature == "forward":
        return ""
    if model.curvature == "reverse":
        return "; Hessian by reverse derivatives, for the model has no forward ones"
    coarser = jax.jit(partial(model.differenced, coarse=2.0))(jnp.asarray(found.z), weight)
    largest = float(np.max(np.abs(found.precision), initial=np.finfo(float).tiny))
    error = float(np.max(np.abs(np.asarray(coarser) - found.precision), initial=0.0)) / largest
    return (
        "; Hessian by central differences, for the gradient has no derivatives; "
        f"with twice the step it differs by {error:.0e} of its largest entry"
    )


def _expected_precision(model: WhitenedModel, z: Array, observations: float) -> Array:
    """Return 1 + T·I, I the Fisher metric in z, (D, D)."""
    metric = site_metric(model.conditioned, at=model.values(z), method="dense")
    weighted = observations * metric.eigenvalues[:, None] * metric.directions
    return jnp.eye(z.size, dtype=z.dtype) + metric.directions.T @ weighted


def draw_laplace(
    model: WhitenedModel, z: Array, precision: Array, key: Array, draws: int
) -> dict[str, Array]:
    """Return draws of the sites, site → (draws, *shape), z ~ N(z*, H⁻¹); pure."""
    root = jnp.linalg.cholesky(precision)
    noise = jax.random.normal(key, (draws, z.size), z.dtype)
    at = z + jax.scipy.linalg.solve_triangular(root, noise.T, lower=True, trans="T").T
    return jax.lax.map(model.values, at, batch_size=even_batch(draws, 1024))


def _at_weight(derivatives: Callable[..., Any], weight: Array, z: Array) -> tuple[Any, Any, Any]:
    """Return E, its gradient and its Hessian at z and T = ``weight``."""
    found: tuple[Any, Any, Any] = derivatives(z, weight)
    return found


def _starting_point(
    model: WhitenedModel, centre: Callable[..., Array], start: xr.DataTree | None, key: Array
) -> Array:
    """Return the mean of the draws of another fit, else a small random point, (D,)."""
    if start is None:
        return _START * jax.random.normal(key, (model.coordinates.dimension,))
    flat = {name: v.reshape(-1, *v.shape[2:]) for name, v in site_values(start).items()}
    return centre({name: jnp.asarray(value) for name, value in flat.items()})


def _centre(model: WhitenedModel, values: dict[str, Array]) -> Array:
    """Return the mean of draws in z, (D,), 0 where it is not finite; pure."""
    coordinates = model.coordinates
    z = jax.lax.map(lambda one: coordinates.flatten(coordinates.forward(one)), values)
    found = jnp.mean(z, axis=0)
    return jnp.where(jnp.isfinite(found), found, 0.0)
