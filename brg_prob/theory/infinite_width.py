"""The limit of infinite width as a network: a Gaussian field at finitely many inputs (T2, T10).

At m given points Z the limit is an m-dimensional Gaussian, and a linear readout holds it without
approximation: with K(Z, Z) = U diag(μ) Uᵀ, features Φ(x) = K(x, Z) U μ^(−1/2) and weights N(0, 1) have
the covariance K at the points. Being a network with that readout, it is fitted, flowed and checked like
any other: conditioned at T it is T10's posterior, with the ridge ρ = σ²n/T as the scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from brg_prob.network import Hidden, InfiniteWidth, LinearReadout, ReadoutPrior, isotropic_prior, require

_ROUNDING = 64
"""Residual variance beyond the floor, in floors, that still counts as rounding."""

_BLOCK = 256
"""Inputs whose variances are looked at together."""


@dataclass(frozen=True, eq=False, repr=False)
class GaussianField:
    """A network's limit of infinite width at given points; from :func:`infinite_width`.

    Capabilities: LinearReadout at inputs among the points, Covariance and InfiniteWidth at any.

    Attributes
    ----------
    base
        The network whose limit this is; gives kernel, noise and outputs.
    points
        Z, (m, d).
    root
        U μ^(1/2), (m, P): the features at the points.
    dual
        U μ^(−1/2), (m, P): the features elsewhere are K(x, Z) times this.
    floor
        Eigenvalues of K(Z, Z) up to m ε times the largest, ε that of the kernel's type, are rounding
        and are left out; P of m are above.
    rows
        Where each point stands, by its bytes.
    """

    base: Any
    points: NDArray[Any]
    root: NDArray[Any]
    dual: NDArray[Any]
    floor: float
    rows: Mapping[bytes, int] = field(repr=False)

    # inputs are looked up on the host, so nobody may compile ``features`` for inputs to come
    __hash__ = None  # type: ignore[assignment]

    @property
    def __name__(self) -> str:
        """Name of the network, for messages."""
        return f"{getattr(self.base, '__name__', type(self.base).__name__)} at infinite width"

    @property
    def outputs(self) -> int:
        """Number of outputs, independent fields."""
        return int(self.base.outputs)

    @property
    def noise(self) -> float:
        """σ of an observation."""
        return float(self.base.noise)

    @property
    def noise_spread(self) -> float:
        """Standard deviation of log σ under its prior."""
        return float(self.base.noise_spread)

    def kernel(self, x1: ArrayLike, x2: ArrayLike) -> Array:
        """Return K, (n1, n2), at any inputs."""
        kernel: Array = self.base.kernel(x1, x2)
        return kernel

    def covariance(self, x1: ArrayLike, x2: ArrayLike) -> Array:
        """Return K, (n1, n2): at infinite width the kernel is the covariance."""
        return self.kernel(x1, x2)

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Return ``{}``: at infinite width the hidden layers do not fluctuate."""
        return {}

    def features(self, x: ArrayLike, hidden: Hidden) -> Array:
        """Return Φ(x), (n, P), with Φ(x)Φ(x′)ᵀ = K(x, x′).

        Raises
        ------
        ValueError
            An input where the field has variance left that these features do not carry. Traced inputs
            cannot be looked at and are taken on trust.
        """
        if isinstance(x, jax.core.Tracer):
            return self.kernel(x, self.points) @ self.dual
        inputs = _on_host(x, self.points.dtype)
        index = [self.rows.get(row.tobytes(), -1) for row in inputs]
        if -1 not in index:
            return jnp.asarray(self.root[index])
        with jax.ensure_compile_time_eval():
            features = np.asarray(self.kernel(inputs, self.points)) @ self.dual
            blocks = [inputs[at : at + _BLOCK] for at in range(0, len(inputs), _BLOCK)]
            variance = np.concatenate([np.diagonal(np.asarray(self.kernel(b, b))) for b in blocks])
        left = variance - np.sum(np.square(features), axis=1)
        worst = int(np.argmax(left))
        if not left[worst] <= _ROUNDING * self.floor:
            raise ValueError(
                f"x = {inputs[worst].tolist()} is none of the {len(self.points)} points of this field, where "
                f"{left[worst] / variance[worst]:.2g} of its variance lies beyond them; name it in "
                "infinite_width(network, points)"
            )
        return jnp.asarray(features)

    def readout_prior(self, hidden: Hidden) -> ReadoutPrior:
        """Return independent weights N(0, 1)."""
        return isotropic_prior(self.root.shape[1], self.outputs)

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run as a NumPyro model: sites ``readout``, ``noise`` where it is sampled, ``f`` and ``y``."""
        features = self.features(x, {})
        shape = features.shape[1:] if self.outputs == 1 else (features.shape[1], self.outputs)
        weights = numpyro.sample("readout", dist.Normal(0.0, 1.0).expand(shape).to_event(len(shape)))
        f = numpyro.deterministic("f", features @ weights)
        noise: Any = self.noise
        if self.noise_spread > 0:
            noise = numpyro.sample("noise", dist.LogNormal(math.log(self.noise), self.noise_spread))
        with numpyro.plate("observations", f.shape[0]):
            return numpyro.sample("y", dist.Normal(f, noise).to_event(f.ndim - 1), obs=y)

    def __repr__(self) -> str:
        """Return one line: whose limit, at how many points, of which rank."""
        count, rank = self.root.shape
        return f"GaussianField({self.base!r}, {count} points, rank {rank} above {self.floor:.1e})"


def infinite_width(network: Any, points: ArrayLike) -> GaussianField:
    """Return a network's limit of infinite width as a network on given inputs (T2, T10).

    Parameters
    ----------
    network
        Capabilities InfiniteWidth and LinearReadout (for noise and outputs).
    points
        All inputs at which the field is wanted, training and held-out ones, (m, d), in any order.

    Returns
    -------
    GaussianField
        Exact at the points, to rounding; other inputs are refused unless the points determine the
        field there.

    Raises
    ------
    TypeError
        A capability is missing.
    ValueError
        Points that are not (m, d), a kernel that is not finite or vanishes, or a readout whose prior
        mean is not zero, which has no limit.

    Notes
    -----
    Cost m³ once. The Fisher metric, the flow and every scheme then work unchanged: the whitened
    spectrum is that of K(X, X)/(nσ²), its Mercer spectrum (T5).

    Examples
    --------
    >>> class Line:
    ...     outputs, noise, noise_spread = 1, 0.5, 0.0
    ...     sample_hidden = lambda self, key: {}
    ...     features = lambda self, x, hidden: x
    ...     readout_prior = lambda self, hidden: isotropic_prior(1)
    ...     kernel = lambda self, x1, x2: jnp.asarray(x1) @ jnp.asarray(x2).T
    >>> limit = infinite_width(Line(), [[1.0], [2.0]])
    >>> phi = limit.features([[1.0], [2.0]], {})
    >>> (phi @ phi.T).round(4).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    require(network, InfiniteWidth, "infinite_width")
    readout = require(network, LinearReadout, "infinite_width")
    if np.ndim(points) != 2 or 0 in np.shape(points):
        raise ValueError(f"points has shape {np.shape(points)}; inputs are (m, d), at least one")
    # in one program, in which hidden layers that the mean does not ask for are not drawn
    mean = jax.jit(lambda key: jnp.asarray(readout.readout_prior(readout.sample_hidden(key)).mean))
    if np.any(np.asarray(mean(jax.random.key(0)))):
        raise ValueError("a prior mean of the readout has no limit of infinite width; make it zero")
    at = jnp.asarray(points, dtype=float)
    given = np.asarray(network.kernel(at, at))
    matrix = (given.astype(float) + given.T) / 2
    if not np.isfinite(matrix).all() or not np.any(matrix):
        wrong = "vanishes" if np.isfinite(matrix).all() else "is not finite"
        raise ValueError(f"the kernel {wrong} at the {len(matrix)} points; change inputs or variances")
    values, vectors = np.linalg.eigh(matrix)
    floor = len(values) * float(np.finfo(given.dtype).eps) * float(values[-1])
    kept = values > floor
    roots, vectors = np.sqrt(values[kept][::-1]), vectors[:, kept][:, ::-1]
    inputs = _on_host(at, given.dtype)
    rows = {row.tobytes(): number for number, row in enumerate(inputs)}
    root, dual = (vectors * roots).astype(given.dtype), (vectors / roots).astype(given.dtype)
    return GaussianField(network, inputs, root, dual, floor, rows)


def base_of(network: Any) -> tuple[Any, bool]:
    """Return the network whose limit of infinite width this is, and whether it is one."""
    return (network.base, True) if isinstance(network, GaussianField) else (network, False)


def _on_host(x: ArrayLike, dtype: Any) -> NDArray[Any]:
    """Return inputs (n, d) as numpy holds them, with one zero only."""
    inputs = np.atleast_2d(np.asarray(x, dtype=dtype)) + 0.0
    return np.ascontiguousarray(inputs)
