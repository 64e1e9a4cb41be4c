"""Capabilities: what a network can tell about itself beyond being a NumPyro model.

Code asks for a capability, never for a class. Each capability is a small Protocol;
:func:`require` turns its absence into one sentence that says what is missing and
what would provide it.

Shapes used throughout: inputs ``x`` (n, d); features (n, P); ``o`` outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jax import Array

from brg_prob.network.readout_prior import ReadoutPrior

Hidden = Mapping[str, Array]
"""One draw of a network's hidden sites; empty where nothing is hidden."""


@runtime_checkable
class Network(Protocol):
    """A NumPyro model: ``network(x, y=None)``; ``y=None`` means not observed."""

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Run the generative model once, under NumPyro's handlers."""


@runtime_checkable
class LinearReadout(Protocol):
    """A network whose field is linear in its last layer: ``f = features @ readout``.

    The observation is Gaussian, ``y ~ N(f, noise²)``. With ``noise_spread > 0`` the
    noise is itself a site ``noise ~ LogNormal(log noise, noise_spread)``.
    """

    @property
    def outputs(self) -> int:
        """Number o of outputs."""

    @property
    def noise(self) -> float:
        """σ, in the unit of y; its median where it is sampled."""

    @property
    def noise_spread(self) -> float:
        """Standard deviation of log σ under its prior; 0 where σ is given."""

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Draw the hidden sites from their prior; ``{}`` if there are none."""

    def features(self, x: Array, hidden: Hidden) -> Array:
        """Return the (n, P) features in raw readout units."""

    def readout_prior(self, hidden: Hidden) -> ReadoutPrior:
        """Return mean (P, o) and covariance operator of the readout weights."""


@runtime_checkable
class Covariance(Protocol):
    """The prior covariance of the field is known exactly at this width."""

    def covariance(self, x1: Array, x2: Array) -> Array:
        """Return E[f(x1) f(x2)] of one output, shape (n1, n2), hidden layers averaged over."""


@runtime_checkable
class InfiniteWidth(Protocol):
    """The infinite-width limit of the prior covariance is known."""

    def kernel(self, x1: Array, x2: Array) -> Array:
        """Return the (n1, n2) limiting kernel."""


@runtime_checkable
class FreeField(Protocol):
    """The prior is a free (Gaussian, stationary) field theory.

    ``box`` is the side of the periodic box, or None for random momenta.
    """

    @property
    def dim(self) -> int:
        """Dimension d of the inputs."""

    @property
    def cutoff(self) -> float:
        """Λ, the largest momentum."""

    @property
    def mass(self) -> float:
        """m, in the unit of the cutoff."""

    @property
    def noise(self) -> float:
        """σ of an observation."""

    @property
    def box(self) -> float | None:
        """Side of the periodic box, or None."""

    def spectral_density(self, p: Array) -> Array:
        """Return G0(|p|), zero above the cutoff; same shape as ``p``."""


_REMEDY = {
    "LinearReadout": "sample_hidden(key), features(x, hidden) and readout_prior(hidden)",
    "Covariance": "covariance(x1, x2)",
    "InfiniteWidth": "kernel(x1, x2)",
    "FreeField": "spectral_density(p) with attributes dim, cutoff, mass, noise, box",
}


def require[C](network: Any, capability: type[C], purpose: str) -> C:
    """Return ``network`` if it has the capability.

    Parameters
    ----------
    network
        Any NumPyro model.
    capability
        One of the Protocols of this module.
    purpose
        What it is needed for; begins the error message.

    Raises
    ------
    TypeError
        One line: what is missing and what would provide it.
    """
    if isinstance(network, capability):
        return network
    name = capability.__name__
    raise TypeError(
        f"{purpose} needs a network with the capability {name}; {network_label(network)} would provide it by "
        f"{_REMEDY[name]}"
    )


def network_label(network: Any) -> str:
    """Return the name of a network, for messages."""
    return str(getattr(network, "__name__", type(network).__name__))
