"""The Fisher metric of any NumPyro model, in coordinates where its prior is standard normal (T5, T7).

I(z) = E_x[Jᵀ F J], J = ∂η/∂z: per observation, expected over the model's own y, at a stated point. In
these coordinates the prior covariance is 1, so the eigenvalues λ are signal-to-noise per observation, free of
units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import thin
from brg_prob.geometry.coordinates import StandardNormalCoordinates
from brg_prob.geometry.eigen import Spectrum, dense_spectrum, diagonal_spectrum, leading_spectrum
from brg_prob.geometry.gaussian_coordinates import GaussianCoordinates
from brg_prob.geometry.jacobian import Expectation, ScoreJacobian
from brg_prob.geometry.metric import FisherMetric
from brg_prob.geometry.sloppiness import sloppiness
from brg_prob.geometry.transport import NoTransport
from brg_prob.network.conditioned import Conditioned
from brg_prob.network.labels import coordinate_labels
from brg_prob.results import stored_name

Method = Literal["auto", "dense", "leading", "diagonal"]
Coordinates = StandardNormalCoordinates | GaussianCoordinates

_LARGEST = 1 << 27  # entries of the largest array that the dense route makes, 1 GiB in float64
_LARGEST_SIDE = 4096  # min(N, d) up to which the dense route is the default


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SiteMetric(FisherMetric):
    """Fisher metric of a NumPyro model in coordinates z, N(0, 1) under its prior.

    Attributes
    ----------
    diagonal
        In z, (D,); 0 along coordinates held fixed.
    observations
        n, rows with an observation.
    directions
        Unit directions in z, orthonormal rows, (r, D); zero along coordinates held fixed. What they do not
        span has λ = 0, or, for a leading spectrum, λ up to ``null_bound``.
    conditioned, coordinates
        The model with its data, and z.
    point
        z where the metric was taken, (D,); the mean of the draws that it was averaged over.
    sites
        Sites that the metric is restricted to, the others held fixed: the information given those.
    error, diagonal_error
        Monte-Carlo standard errors of ``eigenvalues`` and ``diagonal``; None in closed form.
    """

    directions: Array
    conditioned: Conditioned
    coordinates: Coordinates
    point: Array
    sites: tuple[str, ...]
    error: Array | None = None
    diagonal_error: Array | None = None
    _compiled: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def counts_outputs(self) -> bool:
        """True: the weights of every output are among the coordinates."""
        return True

    @property
    def transport(self) -> bool:
        """Whether the prior is exactly N(0, 1) in z; else diffusion has no meaning and tempering is left."""
        exact = isinstance(self.coordinates, StandardNormalCoordinates)
        return exact and not self.conditioned.prior_factors

    @property
    def coordinate(self) -> str:
        """Name of the coordinates: "standard normal" or "gaussian approximation"."""
        return "standard normal" if self.transport else "gaussian approximation"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the D coordinates: the site, and its indices (or columns) unless it is a scalar."""
        return coordinate_labels(self.coordinates.shapes, self.conditioned.axis_names)

    @cached_property
    def covered(self) -> Array:
        """Which coordinates belong to the metric's sites, (D,); the others are held fixed."""
        own = _kept(self.coordinates.shapes, self.sites)
        return jnp.zeros(self.coordinates.dimension, bool).at[own].set(True)

    @property
    def tree(self) -> dict[str, Any]:
        """The arrays of the group ``fisher``, and the directions."""
        return super().tree | {"direction": self.directions}

    @property
    def tree_dims(self) -> dict[str, list[str]]:
        """Dimensions of the arrays of :attr:`tree`."""
        return super().tree_dims | {"direction": ["mode", "parameter"]}

    @property
    def tree_attrs(self) -> dict[str, Any]:
        """Attributes of the group ``fisher``, the kind of coordinates among them."""
        return super().tree_attrs | {"coordinates": self.coordinate}

    def determined(self, posterior: xr.DataTree) -> xr.DataTree:
        """Return the groups ``directions`` and ``parameters`` (:func:`brg_prob.geometry.sloppiness`)."""
        return sloppiness(self, posterior)

    def whiten(self, values: Mapping[str, Any]) -> Array:
        """Return z of many draws, (S, D); values: site → (S, *shape)."""
        call = self._cached("whiten", lambda one: self.coordinates.flatten(self.coordinates.forward(one)))
        return call({name: jnp.asarray(values[name]) for name in self.coordinates.names})

    def unwhiten(self, z: Array) -> dict[str, Array]:
        """Return site → (S, *shape) at many z, (S, D): the inverse of :meth:`whiten`."""
        call = self._cached("unwhiten", lambda one: self.coordinates.inverse(self.coordinates.unflatten(one)))
        return call(jnp.asarray(z))

    def _cached(self, name: str, function: Any) -> Any:
        """Return the compiled map over draws, made at its first use."""
        if name not in self._compiled:
            self._compiled[name] = jax.jit(jax.vmap(function))
        return self._compiled[name]

    def _own_rows(self) -> list[tuple[str, Any]]:
        return [("coordinates D", self.diagonal.size)]


def site_metric(
    network: Any,
    x: Any = None,
    y: Any = None,
    *,
    at: Any = None,
    at_draws: int = 0,
    sites: tuple[str, ...] | None = None,
    method: Method = "auto",
    leading: int = 20,
    expectation: Expectation = "auto",
    samples: int = 64,
    key: Array | None = None,
) -> SiteMetric:
    """Return the whitened Fisher metric of any NumPyro model (T5).

    Parameters
    ----------
    network
        A NumPyro model, or a :class:`~brg_prob.network.Conditioned` (then without x and y).
    x, y
        Inputs (n, d) to average over, and targets: rows whose target is missing do not count, and a model may
        need y for its structure. The values of y do not enter.
    at
        The point: a mapping site → value; a tree of posterior draws (their mean in z); None: the prior's
        median, z = 0.
    at_draws
        Average I over this many evenly spaced draws of the tree instead; 0: at their mean.
    sites
        Restrict to these latent sites; the others are held fixed at the point (a conditional metric).
    method
        "dense", "leading" (Lanczos, never a D × D or n × D array), "diagonal", or "auto": dense where the
        smaller side is at most 4096 and A has at most 2²⁷ entries.
    leading
        Number of eigenvalues of "leading".
    expectation
        "auto": closed form where it is known, simulated observations elsewhere; or force "closed" or
        "monte_carlo".
    samples
        Simulated observations per observation.
    key
        Random key of simulation, of Lanczos' start, and of prior draws where the prior is approximated.

    Raises
    ------
    ValueError
        An unknown site or method, a point that lacks a site, a likelihood made of ``numpyro.factor``, no
        observed site, or a dense metric that is too large.

    Notes
    -----
    Cost of "dense" min(N, D)² max(N, D), N rows of A: n times the number of parameters per observation. The
    "empirical Fisher" with observed y is another thing and is never substituted.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def line(x, y=None):
    ...     slope = numpyro.sample("slope", dist.Normal(1.0, 2.0))
    ...     numpyro.sample("y", dist.Normal(slope * x[:, 0], 0.5), obs=y)
    >>> site_metric(line, jnp.ones((10, 1))).eigenvalues.round(4).tolist()
    [16.0]
    """
    conditioned = network if isinstance(network, Conditioned) else Conditioned.of(network, x, y)
    key = jax.random.key(0) if key is None else key
    _check(conditioned, method, sites)
    coordinates, how = coordinates_of(conditioned, key=jax.random.fold_in(key, 1))
    points, where = _points(coordinates, at, at_draws)
    names = tuple(coordinates.names) if sites is None else tuple(sites)
    kept = _kept(coordinates.shapes, names)
    jacobian = ScoreJacobian(conditioned, coordinates, kept, expectation, samples, jax.random.fold_in(key, 2))
    spectrum = _spectrum(jacobian, points, method, leading, jax.random.fold_in(key, 3))
    rank = int(jnp.sum(spectrum.eigenvalues > spectrum.floor))
    entries = jacobian.shapes
    expected = "in closed form" if entries.simulated.shape[1] == 0 else f"over {samples} simulated y per row"
    restricted = "" if sites is None else f"; given all sites but {', '.join(names)}"
    derivatives = f"{jacobian.mode}; " if jacobian.mode else ""
    status = (
        f"{where}, in {how}{restricted}; expected {expected}; {spectrum.note}; "
        f"{derivatives}{rank} directions above the round-off floor {spectrum.floor:.1e}"
    )
    return SiteMetric(
        eigenvalues=spectrum.eigenvalues,
        directions=_widened(spectrum.directions, kept, coordinates.dimension),
        diagonal=_widened(spectrum.diagonal, kept, coordinates.dimension),
        observations=conditioned.n,
        rank=rank,
        floor=spectrum.floor,
        status=status,
        network=conditioned.network,
        null_bound=spectrum.null_bound,
        conditioned=conditioned,
        coordinates=coordinates,
        point=jnp.mean(points, axis=0),
        sites=names,
        error=spectrum.error,
        diagonal_error=None
        if spectrum.diagonal_error is None
        else _widened(spectrum.diagonal_error, kept, coordinates.dimension),
    )


def coordinates_of(conditioned: Conditioned, *, key: Array) -> tuple[Coordinates, str]:
    """Return coordinates of a model and their description: exact, or a named Gaussian approximation."""
    factors = conditioned.prior_factors
    reason = f"the prior has factor {factors[0]!r}" if factors else ""
    if not factors:
        try:
            exact = StandardNormalCoordinates(conditioned.whole, conditioned.x, conditioned.y)
        except NoTransport as refusal:
            reason = str(refusal).partition(";")[0]
        else:
            return exact, "coordinates with an N(0, 1) prior"
    approximate = GaussianCoordinates.of(conditioned, key=key)
    note = f", {approximate.note}" if approximate.note else ""
    return approximate, (
        f"a Gaussian approximation of the prior ({reason}; {approximate.effective_draws:.0f} effective prior "
        f"draws{note}), so diffusion is refused: flow by tempering"
    )


def no_metric(conditioned: Conditioned) -> str:
    """Return why a model has no Fisher metric; empty if it has one."""
    if conditioned.likelihood_factors:
        return (
            f"factor {conditioned.likelihood_factors[0]!r} belongs to the likelihood but does not say how "
            "y is drawn, so its information cannot be expected; observe y through a distribution"
        )
    if not conditioned.sites.observed:
        return "the model observes nothing, so it has no information; pass obs=y to a sample site"
    return ""


def coordinates_alone(conditioned: Conditioned, *, key: Array) -> SiteMetric:
    """Return the coordinates of a model that has no metric, as one without directions."""
    coordinates, how = coordinates_of(conditioned, key=jax.random.fold_in(key, 1))
    size = coordinates.dimension
    return SiteMetric(
        eigenvalues=jnp.zeros(0),
        directions=jnp.zeros((0, size)),
        diagonal=jnp.full(size, math.nan),
        observations=conditioned.n,
        rank=0,
        floor=0.0,
        status=f"in {how}; no metric: {no_metric(conditioned)}",
        network=conditioned.network,
        conditioned=conditioned,
        coordinates=coordinates,
        point=jnp.zeros(size),
        sites=tuple(coordinates.names),
    )


def _check(conditioned: Conditioned, method: str, sites: tuple[str, ...] | None) -> None:
    """Raise ValueError for what has no metric."""
    if method not in ("auto", "dense", "leading", "diagonal"):
        raise ValueError(f"method={method!r}: choose auto, dense, leading or diagonal")
    if reason := no_metric(conditioned):
        raise ValueError(reason)
    for name in sites or ():
        if name not in conditioned.names:
            raise ValueError(
                f"sites={sites!r}: {name!r} is no latent site; choose from {', '.join(conditioned.names)}"
            )


def _points(coordinates: Coordinates, at: Any, draws: int) -> tuple[Array, str]:
    """Return the points in z, (K, D), and a phrase for them."""
    if at is None:
        return jnp.zeros((1, coordinates.dimension)), "at the prior median"
    if isinstance(at, xr.DataTree):
        stored = at["posterior"]
        each = {name: np.asarray(stored[stored_name(name)].values) for name in coordinates.names}
        values = {name: jnp.asarray(np.concatenate(draws_of)) for name, draws_of in each.items()}  # chains
        total = next(iter(values.values())).shape[0]
        if draws:
            chosen = thin(total, draws)
            values = {name: value[chosen] for name, value in values.items()}
        z = jax.jit(jax.vmap(lambda one: coordinates.flatten(coordinates.forward(one))))(values)
        if draws:
            return z, f"averaged over {z.shape[0]} posterior draws"
        return jnp.mean(z, axis=0, keepdims=True), "at the posterior mean"
    if isinstance(at, Mapping):
        z = coordinates.flatten(coordinates.forward({name: jnp.asarray(value) for name, value in at.items()}))
        return z[None], "at the point given"
    raise ValueError(f"at={at!r} is not a point; pass a fitted tree, a mapping site → value, or None")


def _kept(shapes: Mapping[str, tuple[int, ...]], names: tuple[str, ...]) -> Array:
    """Return the indices of the coordinates of some sites."""
    start, kept = 0, []
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=int))
        if name in names:
            kept.append(np.arange(start, start + size))
        start += size
    return jnp.asarray(np.concatenate(kept))


def _widened(array: Array, kept: Array, dimension: int) -> Array:
    """Return an array over the kept coordinates as one over all, zero elsewhere."""
    if kept.size == dimension:
        return array
    return jnp.zeros((*array.shape[:-1], dimension), array.dtype).at[..., kept].set(array)


def is_small(rows: int, columns: int) -> bool:
    """Return whether a score Jacobian is made whole unless asked otherwise."""
    return min(rows, columns) <= _LARGEST_SIDE and rows * columns <= _LARGEST


def _spectrum(jacobian: ScoreJacobian, points: Array, method: Method, leading: int, key: Array) -> Spectrum:
    """Return the spectrum by the route asked for."""
    rows, columns = points.shape[0] * jacobian.rows, jacobian.columns
    if method == "auto":
        method = "dense" if is_small(rows, columns) else "leading"
    if method == "leading":
        return leading_spectrum(jacobian, points, leading=leading, key=key)
    if method == "diagonal":
        return diagonal_spectrum(jacobian, points, leading=columns if columns <= _LARGEST_SIDE else leading)
    if rows * columns > _LARGEST:
        raise ValueError(
            f"method='dense' would make an array of {rows} x {columns}; use method='leading' or 'diagonal'"
        )
    return dense_spectrum(jacobian, points)


__all__ = [
    "SiteMetric",
    "coordinates_alone",
    "coordinates_of",
    "is_small",
    "no_metric",
    "site_metric",
]
