"""A coarse-grained theory is again a network (T6–T8).

A theory is the network's readout, in prior-whitened coordinates, with finitely many
directions tightened: z ~ N(mean, 1 − U diag(gain) Uᵀ). Being a network with the capability
LinearReadout and a NumPyro model, it is sampled, conditioned and flowed again like any other,
by this library or by plain NumPyro that knows nothing of it. These are the only sample
sites of the library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from brg_prob.geometry.readout_spectrum import ReadoutModes, features_of, readout_kernel, whitened_features
from brg_prob.network import Hidden, LinearReadout, LowRankUpdate, ReadoutPrior


@dataclass(frozen=True, eq=False)
class ReadoutTheory:
    """The field theory left at a scale, as a network.

    Attributes
    ----------
    base
        The network that was flowed.
    hidden
        Hidden layers at which the readout is considered; no longer random.
    prior
        Mean (P', o) and covariance of the readout in the base's whitened coordinates.
    noise
        σ of an observation.
    selection
        None: all P whitened directions remain. An index array (P',): these raw readout
        weights remain (a shell that dropped others). A matrix (P, P') with orthonormal
        columns: these directions remain.
    """

    base: LinearReadout
    hidden: Hidden
    prior: ReadoutPrior
    noise: float
    selection: Array | None = None
    noise_spread: float = 0.0

    @property
    def outputs(self) -> int:
        """Number of outputs of the field."""
        return self.base.outputs

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Return ``{}``: the hidden layers are fixed."""
        return {}

    def features(self, x: Array, hidden: Hidden) -> Array:
        """Return the base's whitened features restricted to what remains, (n, P')."""
        features = whitened_features(self.base, x, self.hidden)
        if self.selection is None:
            return features
        if jnp.issubdtype(self.selection.dtype, jnp.integer):
            return features[:, self.selection]
        return features @ self.selection

    def readout_prior(self, hidden: Hidden) -> ReadoutPrior:
        """Return mean and covariance of the remaining readout."""
        return self.prior

    def covariance(self, x1: Array, x2: Array) -> Array:
        """Return the exact covariance (n1, n2) of the theory's field."""
        left, right = self.features(x1, {}), self.features(x2, {})
        return left @ self.prior.covariance.matmul(right.T)

    def mean(self, x: Array) -> Array:
        """Return the mean (n, o) of the theory's field."""
        return self.features(x, {}) @ self.prior.mean

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run as a NumPyro model: sites ``readout`` (standard normal), ``f`` and ``y``."""
        x = jnp.asarray(x, dtype=float)
        shape = self.prior.mean.shape
        z = numpyro.sample("readout", dist.Normal(jnp.zeros(shape), 1.0).to_event(2))
        field = self.features(x, {}) @ (self.prior.mean + self.prior.covariance.sqrt_matmul(z))
        field = numpyro.deterministic("f", field[:, 0] if self.outputs == 1 else field)
        return numpyro.sample("y", dist.Normal(field, self.noise).to_event(field.ndim), obs=y)


@dataclass(frozen=True, eq=False)
class ProjectedObservation:
    """A network of which only linear combinations of the field at given inputs are observed.

    ``ProjectedObservation(network, V.T)`` called on the n training inputs has the k rows
    Vᵀf: conditioning a shell's theory on the sloppy projection of the data, Vᵀy, returns
    the posterior (T8).

    Attributes
    ----------
    base
        A network with a linear readout.
    projection
        (k, n), orthonormal rows, so that the noise of the k observations stays σ.
    """

    base: LinearReadout
    projection: Array

    @property
    def outputs(self) -> int:
        """Number of outputs of the field."""
        return self.base.outputs

    @property
    def noise(self) -> float:
        """σ of each projected observation."""
        return self.base.noise

    @property
    def noise_spread(self) -> float:
        """Spread of σ, as in the base."""
        return self.base.noise_spread

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Draw the base's hidden sites."""
        return self.base.sample_hidden(key)

    def features(self, x: Array, hidden: Hidden) -> Array:
        """Return the projected features, (k, P)."""
        return self.projection @ features_of(self.base, x, hidden)

    def readout_prior(self, hidden: Hidden) -> ReadoutPrior:
        """Return the base's readout prior."""
        return self.base.readout_prior(hidden)


def whitened_mean(prior: ReadoutPrior) -> Array:
    """Return C0^(-1/2)·mean, (P, o): the base's prior mean in whitened coordinates.

    Raises
    ------
    ValueError
        The mean has a part along directions of variance zero, which no whitened draw reaches.
    """
    whitened = prior.covariance.inverse_sqrt_matmul(prior.mean)
    lost = jnp.max(jnp.abs(prior.covariance.sqrt_matmul(whitened) - prior.mean), initial=0)
    if float(lost) > 1e-6 * float(jnp.max(jnp.abs(prior.mean), initial=0)):
        raise ValueError(
            "the readout's prior mean lies outside the range of its covariance; "
            "flow a theory with action='reset'"
        )
    return whitened


def directions(base: LinearReadout, x: Array, hidden: Hidden, modes: ReadoutModes) -> Array:
    """Return the modes as unit vectors U of whitened readout space, (P, r)."""
    return (whitened_features(base, x, hidden).T @ modes.inputs) * modes.inverse_singular_values


def mode_theory(
    base: LinearReadout, x: Array, hidden: Hidden, modes: ReadoutModes, *, mean: Array, gain: Array
) -> ReadoutTheory:
    """Return the theory with given mean (r, o) and removed variance (r,) along Fisher modes.

    Diffusion and tempering at T: mean Tλ/(1+Tλ)·ẑ, gain Tλ/(1+Tλ) (T6). A shell: the same
    at T = n on kept modes, zero on the others (kept ⊗ prior, T8).
    """
    basis = directions(base, x, hidden, modes)
    readout = ReadoutPrior(
        whitened_mean(base.readout_prior(hidden)) + basis @ mean, LowRankUpdate(jnp.ones(()), basis, gain)
    )
    return ReadoutTheory(base, hidden, readout, float(modes.noise))


def kept_mode_theory(
    base: LinearReadout,
    x: Array,
    hidden: Hidden,
    modes: ReadoutModes,
    *,
    mean: Array,
    gain: Array,
    kept: Array,
) -> ReadoutTheory:
    """Return the theory of the kept modes alone; the others sit at the prior mean (``drop``)."""
    index = jnp.flatnonzero(kept)
    basis = directions(base, x, hidden, modes)[:, index]
    offset = whitened_mean(base.readout_prior(hidden))
    # The prior mean has parts outside the kept directions; one fixed direction carries them.
    outside = offset - basis @ (basis.T @ offset)
    norms = jnp.linalg.norm(outside, axis=0)
    carried = outside[:, norms > 0] / norms[norms > 0]
    carried = jnp.linalg.qr(carried)[0] if carried.shape[1] else carried
    selection = jnp.concatenate([basis, carried], axis=1)
    fixed = carried.shape[1]
    tightened = jnp.concatenate([gain[index], jnp.ones(fixed)])
    values = jnp.concatenate([basis.T @ offset + mean[index], carried.T @ offset])
    covariance = LowRankUpdate(jnp.ones(()), jnp.eye(selection.shape[1]), tightened)
    return ReadoutTheory(base, hidden, ReadoutPrior(values, covariance), float(modes.noise), selection)


def kept_parameter_theory(
    base: LinearReadout,
    x: Array,
    hidden: Hidden,
    y: Array,
    *,
    kept: Array,
    observations: float,
    noise: float,
    drop: bool,
) -> ReadoutTheory:
    """Return kept ⊗ prior for a set of raw readout weights: their marginal posterior at T (T8).

    Parameters
    ----------
    kept
        Boolean (P,).
    drop
        Leave the other weights out, at their prior mean (which must be zero then), instead
        of at their prior.
    """
    features = whitened_features(base, x, hidden)
    prior = base.readout_prior(hidden)
    n = features.shape[0]
    ridge = noise**2 * n / observations
    kernel = readout_kernel(base, x, hidden) + ridge * jnp.eye(n)
    masked = features * kept
    residual = y - features_of(base, x, hidden) @ prior.mean
    mean = masked.T @ jnp.linalg.solve(kernel, residual)
    values, vectors = jnp.linalg.eigh(masked @ masked.T)
    floor = jnp.finfo(values.dtype).eps * max(masked.shape) * values[-1]
    vectors, root = vectors[:, values > floor], jnp.sqrt(values[values > floor])
    inner = root[:, None] * (vectors.T @ jnp.linalg.solve(kernel, vectors)) * root
    gain, rotation = jnp.linalg.eigh(inner)
    basis = (masked.T @ (vectors / root)) @ rotation
    offset = whitened_mean(prior)
    if not drop:
        return ReadoutTheory(
            base,
            hidden,
            ReadoutPrior(offset + mean, LowRankUpdate(jnp.ones(()), basis, jnp.clip(gain, 0, 1))),
            noise,
        )
    if bool(jnp.any(offset != 0)):
        raise ValueError(
            "action='drop' in basis='parameter' needs a readout with prior mean zero; use action='reset'"
        )
    index = jnp.flatnonzero(kept)
    covariance = LowRankUpdate(jnp.ones(()), basis[index], jnp.clip(gain, 0, 1))
    return ReadoutTheory(base, hidden, ReadoutPrior(mean[index], covariance), noise, index)
