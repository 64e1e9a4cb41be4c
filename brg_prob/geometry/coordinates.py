"""Coordinates in which a prior is standard normal: the transport z = Φ⁻¹(F(θ | parents)) of T7.

The Bayesian renormalization group's diffusion has N(0, 1) as its fixed point. A prior of
another shape is carried there exactly, site by site in the order of the model, each given
its parents (Rosenblatt, doi:10.1214/aoms/1177729394); a hierarchical model becomes its own
non-centred form. Whitening by moments is no substitute: it moves the fixed point. The maps
of single distributions are in :mod:`brg_prob.geometry.transport`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import handlers

from brg_prob.geometry.derivatives import no_reverse_mode
from brg_prob.geometry.substitution import FromCoordinates, without_derivative
from brg_prob.geometry.transport import (
    NoTransport,
    from_standard_normal,
    standard_normal_shape,
    to_standard_normal,
)
from brg_prob.network.trace import LatentSite, Model, read_model, run_trace

__all__ = [
    "NoTransport",
    "SiteVectors",
    "StandardNormalCoordinates",
    "from_standard_normal",
    "to_standard_normal",
]


class SiteVectors:
    """Coordinates of latent sites as one vector, sites in order.

    Attributes
    ----------
    shapes
        Site → shape of its coordinate.
    """

    shapes: dict[str, tuple[int, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latent sites."""
        return tuple(self.shapes)

    @property
    def dimension(self) -> int:
        """Number of coordinates; fewer than parameters where a site is confined to a surface."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def flatten(self, z: Mapping[str, Any]) -> Array:
        """Return z as one vector, (dimension,), sites in order."""
        return jnp.concatenate([jnp.ravel(z[name]) for name in self.names])

    def unflatten(self, vector: Array) -> dict[str, Array]:
        """Return the vector of :meth:`flatten` as a dict again."""
        z, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            z[name] = vector[start : start + size].reshape(shape)
            start += size
        return z


@dataclass(frozen=True, eq=False)
class StandardNormalCoordinates(SiteVectors):
    """Coordinates z of all latent sites of a model, independent N(0, 1) under its prior.

    Parameters
    ----------
    model
        A NumPyro model ``model(x, y=None, **covariates)``.
    x
        Inputs, (n, d).
    y
        Observations, if the shapes or the structure of the model depend on them.
    covariates
        Further arguments by name.

    Attributes
    ----------
    sites
        The latent sites, parents before children.

    Raises
    ------
    NoTransport
        At construction, naming the site that has no map: discrete, improper, without distribution
        function, or with one that JAX cannot differentiate by latent parents. Such a model is flowed by
        tempering.

    Notes
    -----
    A ``numpyro.factor`` is no part of the map: with one, z is N(0, 1) under the sampled prior
    only, and the theory is not Gaussian in z.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def funnel(x, y=None):
    ...     scale = numpyro.sample("scale", dist.LogNormal(0.0, 3.0))
    ...     numpyro.sample("w", dist.Normal(0.0, scale))
    ...     numpyro.deterministic("f", x[:, 0])
    >>> coordinates = StandardNormalCoordinates(funnel, jnp.ones((2, 1)))
    >>> z = coordinates.forward({"scale": jnp.exp(3.0), "w": 2 * jnp.exp(3.0)})
    >>> round(float(z["scale"]), 5), round(float(z["w"]), 5)
    (1.0, 2.0)
    """

    model: Model
    x: Any
    y: Any = None
    covariates: Mapping[str, Any] = field(default_factory=dict)
    sites: tuple[LatentSite, ...] = field(init=False)
    shapes: dict[str, tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Read the sites and refuse a model that has one without a map."""
        sites = read_model(self.model, self.x, self.y, covariates=self.covariates).latent
        shapes = {}
        for site in sites:
            try:
                shapes[site.name] = standard_normal_shape(site.distribution, site.shape)
            except NoTransport as reason:
                raise _refusal(f"site {site.name!r}: {reason}") from None
        object.__setattr__(self, "sites", sites)
        object.__setattr__(self, "shapes", shapes)
        try:
            self._require_derivatives()
        except NoTransport as reason:
            raise _refusal(str(reason)) from None

    def forward(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Return z of every site, given the values of all sites of one draw; ``jax.vmap`` maps it over draws.

        Raises
        ------
        ValueError
            A latent site without a value.
        """
        self._require_all(values, "value")
        given = {name: values[name] for name in self.names}
        trace = self._run(handlers.substitute(self.model, data=given))
        return {name: to_standard_normal(trace[name]["fn"], trace[name]["value"]) for name in self.names}

    def inverse(self, z: Mapping[str, Any]) -> dict[str, Array]:
        """Return the values of every site at z of one draw; the model runs once, parents before children."""
        self._require_all(z, "coordinate")
        return self._values(z, differentiated=False)

    def _values(self, z: Mapping[str, Any], *, differentiated: bool) -> dict[str, Array]:
        """Return the values of every site at z."""
        call = FromCoordinates(self.model, z, from_standard_normal, differentiated=differentiated)
        trace = self._run(call)
        return {name: trace[name]["value"] for name in self.names}

    def _require_derivatives(self) -> None:
        """Raise NoTransport for the first site whose map has no derivative by latent parents."""

        def values(vector: Array) -> dict[str, Array]:
            return self._values(self.unflatten(vector), differentiated=True)

        if not self.dimension or no_reverse_mode(values, jnp.zeros((self.dimension,))) is None:
            return
        for site in self.sites:  # inside a scan the rule runs after the site; else the model itself has none
            leaves, structure = jax.tree.flatten(site.distribution)
            floating = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]
            z = jnp.zeros(self.shapes[site.name])

            def moved(scale: Array, own: Any = (leaves, structure, floating, z)) -> Array:
                leaves, structure, floating, z = own
                scaled = [scale * v if moves else v for v, moves in zip(leaves, floating, strict=True)]
                return from_standard_normal(jax.tree.unflatten(structure, scaled), z)

            reason = no_reverse_mode(moved, jnp.ones(()))
            if reason is not None:
                raise without_derivative(site.name, site.distribution, ValueError(reason))

    def _run(self, model: Model) -> Any:
        """Return the trace of one run; the key only serves sites that are not latent sites of ours (y)."""
        return run_trace(model, self.x, self.y, key=jax.random.key(0), covariates=self.covariates)

    def _require_all(self, values: Mapping[str, Any], what: str) -> None:
        """Raise ValueError for the first site without an entry."""
        for name in self.names:
            if name not in values:
                raise ValueError(f"site {name!r} has no {what}; all of {', '.join(self.names)} are needed")


def _refusal(reason: str) -> NoTransport:
    """Return the error for one site: what is wrong and what helps."""
    return NoTransport(f"{reason}; diffusion needs one, so flow this model by tempering")
