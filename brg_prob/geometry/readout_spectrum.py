"""The whitened Fisher spectrum of a linear readout, dual or primal, whichever is smaller (T5).

With whitened features Φ̃ = Φ C0^(1/2) the Fisher matrix of the standardised readout is
Φ̃ᵀΦ̃/(nσ²), and its nonzero eigenvalues are those of the kernel matrix Φ̃Φ̃ᵀ/(nσ²): the
Fisher spectrum is the Mercer spectrum of the kernel. Nothing here is larger than
n × P; where the features are neuron-wise not even that is formed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array

from brg_prob.network import Hidden, LinearReadout

_BLOCK_ELEMENTS = 1 << 22
"""Elements of one block of features in the streamed Gram matrix (32 MiB in float64)."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReadoutModes:
    """Fisher modes of a linear readout at given hidden layers.

    Attributes
    ----------
    eigenvalues
        λ_k, (r,), descending, per observation, units of the whitened readout;
        zero where the direction is below the floor.
    inputs
        The modes as fields on the n training inputs, orthonormal columns, (n, r);
        zero columns for null directions found in the primal.
    noise
        σ, shape (), the noise standard deviation in λ.
    floor
        Level below which an eigenvalue is round-off and was clipped to zero, shape ().
    """

    eigenvalues: Array
    inputs: Array
    noise: Array
    floor: Array

    @property
    def observations(self) -> int:
        """Number n of inputs that the metric was averaged over."""
        return self.inputs.shape[0]

    @property
    def singular_values(self) -> Array:
        """Singular values √(nσ²λ) of the whitened features, (r,)."""
        return jnp.sqrt(self.observations * self.noise**2 * self.eigenvalues)

    @property
    def inverse_singular_values(self) -> Array:
        """1/√(nσ²λ), zero where λ was clipped, (r,)."""
        values = self.singular_values
        positive = values > 0
        return jnp.where(positive, 1 / jnp.where(positive, values, 1), 0)

    def coordinates(self, field: Array) -> Array:
        """Return whitened mode coordinates z of fields on the inputs.

        Parameters
        ----------
        field
            (..., n, o), relative to the prior mean of the field.

        Returns
        -------
        Array
            (..., r, o); zero along clipped directions.
        """
        return _coordinates(self, field)

    def fields(self, coordinates: Array) -> Array:
        """Return the fields (..., n, o) on the inputs of mode coordinates (..., r, o)."""
        return jnp.einsum("nr,...ro->...no", self.inputs, self.singular_values[:, None] * coordinates)


@jax.jit  # one program, not one for each operation
def _coordinates(modes: ReadoutModes, field: Array) -> Array:
    """Return whitened mode coordinates (..., r, o) of fields (..., n, o)."""
    return modes.inverse_singular_values[:, None] * jnp.einsum("nr,...no->...ro", modes.inputs, field)


def modes_of_gram(gram: Array, noise: Array | float, *, parameters: int) -> ReadoutModes:
    """Return the modes from the dual matrix.

    Parameters
    ----------
    gram
        Φ̃Φ̃ᵀ, (n, n), the prior covariance of the field on the inputs.
    noise
        σ.
    parameters
        P; at most min(n, P) eigenvalues are kept.
    """
    values, vectors = jnp.linalg.eigh(gram)
    rank = min(gram.shape[0], parameters)
    return _clipped(values[::-1][:rank], vectors[:, ::-1][:, :rank], noise, gram.shape[0], parameters)


def modes_of_features(features: Array, noise: Array | float) -> ReadoutModes:
    """Return the modes from whitened features (n, P) through the P × P side; use it for P < n."""
    n, parameters = features.shape
    values, vectors = jnp.linalg.eigh(features.T @ features)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = _floor(values, n, parameters)
    scale = jnp.where(values > floor, values, jnp.inf)
    inputs = (features @ vectors) / jnp.sqrt(scale)
    return _clipped(values, inputs, noise, n, parameters)


def _floor(values: Array, n: int, parameters: int) -> Array:
    """Return the level of round-off in the eigenvalues of an n × P problem."""
    return jnp.finfo(values.dtype).eps * max(n, parameters) * jnp.max(jnp.abs(values))


def _clipped(values: Array, inputs: Array, noise: Array | float, n: int, parameters: int) -> ReadoutModes:
    """Return modes per observation with round-off clipped to zero."""
    noise = jnp.asarray(noise, dtype=values.dtype)
    floor = _floor(values, n, min(n, parameters))
    eigenvalues = jnp.where(values > floor, values, 0) / (n * noise**2)
    return ReadoutModes(eigenvalues, inputs, noise, floor / (n * noise**2))


@lru_cache(maxsize=64)
def _compiled_features(network: Any) -> Callable[[Array, Hidden], Array]:
    """Return jitted features of a hashable network; one compilation per shape."""
    return jax.jit(network.features)


def features_of(network: LinearReadout, x: Array, hidden: Hidden) -> Array:
    """Return the network's (n, P) features, compiled where the network is hashable."""
    try:
        compiled = _compiled_features(cast(Hashable, network))
    except TypeError:  # a theory holds arrays; its features are a few matrix products
        return network.features(x, hidden)
    return compiled(x, dict(hidden))


def whitened_features(network: LinearReadout, x: Array, hidden: Hidden) -> Array:
    """Return Φ̃ = Φ C0^(1/2), (n, P): unit prior covariance in the readout."""
    features, covariance = features_of(network, x, hidden), network.readout_prior(hidden).covariance
    if covariance.isotropic:
        return jnp.sqrt(covariance.scale) * features
    return covariance.sqrt_matmul(features.T).T


def prior_mean(network: LinearReadout, x: Array, hidden: Hidden) -> Array:
    """Return the prior mean Φ·mean of the field at given hidden layers, (n, o)."""
    mean = network.readout_prior(hidden).mean
    return features_of(network, x, hidden) @ mean


def readout_kernel(network: LinearReadout, x: Array, hidden: Hidden) -> Array:
    """Return Φ̃Φ̃ᵀ, (n, n), streaming over neurons where the features allow it.

    A network with ``neuronwise = True`` has hidden leaves with a leading axis of neurons,
    and the features of a slice are the columns of that slice; then no (n, P) array exists.
    """
    covariance = network.readout_prior(hidden).covariance
    if getattr(network, "neuronwise", False) and hidden and covariance.isotropic:
        return covariance.scale * _streamed_gram(network, x, dict(hidden))
    features = whitened_features(network, x, hidden)
    return _symmetric_product(features)


def _symmetric_product(features: Array) -> Array:
    """Return features·featuresᵀ from its upper block triangle: five eighths of the products."""
    n = features.shape[0]
    if n < 512:
        return features @ features.T
    edges = [round(i * n / 4) for i in range(5)]
    rows = [features[a:b] for a, b in itertools.pairwise(edges)]
    upper = {(i, j): rows[i] @ rows[j].T for i in range(4) for j in range(i, 4)}
    return jnp.block([[upper[i, j] if j >= i else upper[j, i].T for j in range(4)] for i in range(4)])


def _streamed_gram(network: LinearReadout, x: Array, hidden: dict[str, Array]) -> Array:
    """Return ΦΦᵀ summed over blocks of neurons."""
    width = next(iter(hidden.values())).shape[0]
    block = max(1, min(width, _BLOCK_ELEMENTS // max(1, x.shape[0])))
    return _gram_function(cast(Hashable, network), block)(x, hidden)


@lru_cache(maxsize=64)
def _gram_function(network: Any, block: int) -> Callable[[Array, dict[str, Array]], Array]:
    """Return the compiled sum over blocks; the last, ragged block comes first."""

    def gram(x: Array, hidden: dict[str, Array]) -> Array:
        width = next(iter(hidden.values())).shape[0]
        count, rest = divmod(width, block)
        head = {name: leaf[:rest] for name, leaf in hidden.items()}
        body = {name: leaf[rest:].reshape(count, block, *leaf.shape[1:]) for name, leaf in hidden.items()}
        start = jnp.zeros((x.shape[0], x.shape[0]), dtype=x.dtype)
        if rest:
            start = start + _symmetric_product(network.features(x, head))

        def add(total: Array, leaf: dict[str, Array]) -> tuple[Array, None]:
            return total + _symmetric_product(network.features(x, leaf)), None

        return jax.lax.scan(add, start, body)[0]

    return jax.jit(gram)


def readout_modes(network: LinearReadout, x: Array, hidden: Hidden, *, noise: float | Array) -> ReadoutModes:
    """Return the whitened Fisher modes of a readout, dual or primal, whichever is smaller.

    Parameters
    ----------
    network
        A network with the capability LinearReadout.
    x
        Inputs, (n, d).
    hidden
        One draw of the hidden sites.
    noise
        σ in the units of y.
    """
    n, parameters = x.shape[0], network.readout_prior(hidden).mean.shape[0]
    if parameters < n:
        return _modes_of_features(whitened_features(network, x, hidden), jnp.asarray(noise))
    return _modes_of_gram(readout_kernel(network, x, hidden), jnp.asarray(noise), parameters=parameters)


_modes_of_features = jax.jit(modes_of_features)
_modes_of_gram = jax.jit(modes_of_gram, static_argnames="parameters")


def diagonal_information(network: LinearReadout, x: Array, hidden: Hidden, *, noise: float | Array) -> Array:
    """Return the diagonal E_x[Φ_i²]/σ² of the Fisher matrix in raw readout units, (P,) (T5, T9a)."""
    features = features_of(network, x, hidden)
    return _mean_squares(features, jnp.asarray(noise, dtype=features.dtype))


@jax.jit
def _mean_squares(features: Array, noise: Array) -> Array:
    """Return the mean square of each column of (n, P) over σ², (P,)."""
    return jnp.mean(jnp.square(features), axis=0) / noise**2


def cross_modes(network: LinearReadout, modes: ReadoutModes, x: Array, other: Array, hidden: Hidden) -> Array:
    """Return the field of each unit mode at other inputs, Φ̃(other)·u_k, (n_other, r)."""
    cross = whitened_features(network, other, hidden) @ (
        whitened_features(network, x, hidden).T @ modes.inputs
    )
    return cross * modes.inverse_singular_values
