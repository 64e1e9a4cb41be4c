"""The exact engine: a linear readout with Gaussian noise, conditioned in closed form (T6, T10).

Draws come by Matheron's rule. A prior draw w0 of the whitened readout is corrected in the
dual, w = w0 + Φ̃ᵀc with c = (K + ρ)⁻¹(y − f0 − Φ̃w0 − ε), ρ = σ²n/T, so that a draw is a key
and n dual coefficients; its P weights regenerate (:func:`readout_weights`).

Hidden layers are drawn from the prior: once, or for several members. "Exact" then means
exact given each hidden draw (a random-feature ensemble), not reweighted by evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array

from brg_prob.batching import even_batch
from brg_prob.geometry.spectrum import prior_mean, readout_modes, whitened_features
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.posterior.engine import Data
from brg_prob.posterior.evidence import noise_posterior
from brg_prob.posterior.gaussian import SpectralSolver, ridge_solver
from brg_prob.posterior.schema import posterior_tree
from brg_prob.results import key_to_json

_BATCH = 64
"""Draws whose prior weights are alive at once."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MemberDraws:
    """Draws of one member: everything per draw, nothing of size P.

    Attributes
    ----------
    field
        (S, n + h, o): the field at training, then held-out inputs.
    dual
        c, (S, n, o).
    noise
        σ of each draw, (S,).
    log_prior
        Log density of the whitened readout (and of σ where sampled), (S,).
    """

    field: Array
    dual: Array
    noise: Array
    log_prior: Array


@dataclass(frozen=True)
class Exact:
    """Closed-form posterior of a linear readout at any T.

    Attributes
    ----------
    members
        Number of draws of the hidden layers; readout draws are shared out evenly. 1 keeps
        the hidden layers fixed; ``members = draws`` redraws them for every draw.

    Notes
    -----
    Noise: given, or (``noise_spread > 0``) drawn from its own marginal posterior with the
    readout integrated out, by inverse distribution function on a grid; the readout then
    given each σ. λ of the metric uses the median of σ (attribute ``noise``); the flow of
    each draw uses its own σ.
    """

    members: int = 1

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"members = {self.members} is too few; use at least 1")

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Return independent draws of π_T; see :func:`brg_prob.fit`."""
        network = require(network, LinearReadout, "Exact()")
        if draws % self.members:
            raise ValueError(
                f"draws = {draws} cannot be shared among members = {self.members}; use a multiple"
            )
        hidden_keys, draw_keys = member_keys(key, self.members)
        each = draws // self.members
        found = [
            draw_member(network, data, network.sample_hidden(h), k, each, observations)
            for h, k in zip(hidden_keys, draw_keys, strict=True)
        ]
        joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
        return posterior_tree(
            data,
            field=joined.field[None],
            dual=joined.dual[None],
            noise=joined.noise[None],
            member=jnp.repeat(jnp.arange(self.members), each)[None],
            log_prior=joined.log_prior[None],
            sampled_noise=network.noise_spread > 0,
            attrs={
                "engine": "exact",
                "observations": observations,
                "n": data.n,
                "noise": float(jnp.median(joined.noise)),
                "independent": 1,
                "hidden_keys": key_to_json(hidden_keys),
                "draw_keys": key_to_json(draw_keys),
                "draws_per_member": each,
            },
        )


def member_keys(key: Array, members: int) -> tuple[Array, Array]:
    """Return keys (members,) for the hidden layers and for the readout draws."""
    hidden, draw = jax.random.split(key)
    return jax.random.split(hidden, members), jax.random.split(draw, members)


def prior_weights(key: Array, index: Array | int, shape: tuple[int, ...]) -> Array:
    """Return the whitened prior readout (P, o) of draw ``index`` of a member."""
    return jax.random.normal(jax.random.fold_in(key, 2 * index), shape)


def readout_weights(
    network: LinearReadout, x: Array, hidden: Hidden, key: Array, index: int, dual: Array
) -> Array:
    """Return the raw readout weights (P, o) of one draw, regenerated from key and dual coefficients.

    Parameters
    ----------
    x
        Training inputs, (n, d).
    hidden, key, index, dual
        The member's hidden layers and key, the draw's number in the member, its c (n, o).
    """
    prior = network.readout_prior(hidden)
    features = whitened_features(network, x, hidden)
    whitened = prior_weights(key, index, prior.mean.shape) + features.T @ dual
    return prior.mean + prior.covariance.sqrt_matmul(whitened)


def draw_member(
    network: LinearReadout, data: Data, hidden: Hidden, key: Array, draws: int, observations: float
) -> MemberDraws:
    """Return draws of the readout given one draw of the hidden layers."""
    features = whitened_features(network, data.all_inputs, hidden)
    mean = prior_mean(network, data.all_inputs, hidden)
    held = 0 if data.held_out is None else data.held_out[1].shape[0]
    if features.shape[0] != data.n + held:
        raise ValueError(f"x has {features.shape[0] - held} rows and y {data.n}; give one target per input")
    # the largest index of a draw is far below: no draw shares this key
    noise_key = jax.random.fold_in(key, 0xFFFFFFFF)
    noise, log_noise = jnp.full((draws,), float(network.noise)), jnp.zeros(draws)
    solver: Any = None
    if network.noise_spread > 0:
        noise, log_noise, solver = _sampled_noise(network, data, hidden, noise_key, draws, observations)
    elif observations > 0:
        solver = ridge_solver(features[: data.n], jnp.square(noise[0]) * data.n / observations)
    if observations == 0:
        solver = None
    ridges = jnp.square(noise) * data.n / max(observations, float(jnp.finfo(noise.dtype).tiny))
    found = _matheron(features, mean, data.y, key, jnp.arange(draws), ridges, solver)
    return MemberDraws(found[0], found[1], noise, found[2] + log_noise)


def _prior_draw(features: Array, key: Array, index: Array, outputs: int) -> tuple[Array, Array]:
    """Return the field (m, o) of a prior draw and the squared norm of its weights."""
    weights = prior_weights(key, index, (features.shape[1], outputs))
    return features @ weights, jnp.sum(jnp.square(weights))


def _assemble(
    features: Array, mean: Array, prior: Array, norm: Array, dual: Array
) -> tuple[Array, Array, Array]:
    """Return field, dual and log prior density of w0 + Φ̃ᵀc without holding w."""
    n, size = dual.shape[0], features.shape[1] * dual.shape[1]
    shift = features @ (features[:n].T @ dual)
    norm = norm + 2 * jnp.sum(dual * prior[:n]) + jnp.sum(dual * shift[:n])
    return mean + prior + shift, dual, -0.5 * norm - 0.5 * size * math.log(2 * math.pi)


@jax.jit
def _matheron(
    features: Array, mean: Array, y: Array, key: Array, indices: Array, ridges: Array, solver: Any
) -> tuple[Array, Array, Array]:
    """Return fields (S, n + h, o), dual coefficients (S, n, o) and log priors (S,).

    ``ridges`` is ρ of each draw, (S,). Without a solver nothing is observed: draws of the prior.
    T enters through ρ alone, so that every T > 0 runs the same compiled program.
    """
    n, outputs = y.shape

    def one(at: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        index, ridge = at
        prior, norm = _prior_draw(features, key, index, outputs)
        if solver is None:
            return _assemble(features, mean, prior, norm, jnp.zeros_like(y))
        error = jnp.sqrt(ridge) * jax.random.normal(jax.random.fold_in(key, 2 * index + 1), y.shape)
        return _assemble(features, mean, prior, norm, solver.solve(y - mean[:n] - prior[:n] - error, ridge))

    return jax.lax.map(one, (indices, ridges), batch_size=even_batch(indices.size, _BATCH))


def _sampled_noise(
    network: LinearReadout, data: Data, hidden: Hidden, key: Array, draws: int, observations: float
) -> tuple[Array, Array, SpectralSolver]:
    """Return σ per draw, its log prior, and the solver at any σ: the eigensystem of the kernel."""
    modes = readout_modes(network, data.x, hidden, noise=1.0)
    values = data.n * modes.eigenvalues
    residual = data.y - prior_mean(network, data.x, hidden)
    coefficients = modes.inputs.T @ residual
    outside = jnp.sum(jnp.square(residual)) - jnp.sum(jnp.square(coefficients))
    centre, spread = math.log(network.noise), network.noise_spread

    def log_prior(log_sigma: Array) -> Array:
        return (
            -0.5 * jnp.square((log_sigma - centre) / spread)
            - log_sigma
            - math.log(spread * math.sqrt(2 * math.pi))
        )

    found = noise_posterior(
        values,
        coefficients,
        data.n,
        residual_sum_squares=jnp.maximum(outside, 0),
        log_prior=log_prior,
        observations=observations,
        centre=network.noise,
        spread=spread,
    )
    sigma = found.sample(key, draws)
    return sigma, log_prior(jnp.log(sigma)), SpectralSolver(values, modes.inputs)
