"""The exact engine: a linear readout with Gaussian noise, conditioned in closed form (T6, T10).

Draws come by Matheron's rule. A prior draw w0 of the whitened readout is corrected in the
dual, w = w0 + Φ̃ᵀc with c = (K + ρ)⁻¹(y − f0 − Φ̃w0 − ε), ρ = σ²n/T, so that a draw is a key
and n dual coefficients (:mod:`brg_prob.posterior.readout_members`).

Hidden layers are drawn from the prior: once, or for several members. "Exact" then means
exact given each hidden draw (a random-feature ensemble), not reweighted by evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array

from brg_prob.geometry.readout_spectrum import prior_mean, readout_modes
from brg_prob.kernels import explain_singular
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.posterior.engine import Data
from brg_prob.posterior.evidence import noise_posterior
from brg_prob.posterior.gaussian import SpectralSolver, ridge_solver
from brg_prob.posterior.readout_members import (
    MemberDraws,
    assembled,
    check_members,
    columns,
    fit_members,
    prior_draws,
    readout_at,
)


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
        check_members(self.members)

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Return independent draws of π_T; see :func:`brg_prob.fit`."""
        network = require(network, LinearReadout, "Exact()")
        return fit_members(
            network,
            data,
            key=key,
            draws=draws,
            members=self.members,
            draw=lambda hidden, own, each: draw_member(network, data, hidden, own, each, observations),
            attrs={"engine": "exact", "observations": observations},
        )


def draw_member(
    network: LinearReadout, data: Data, hidden: Hidden, key: Array, draws: int, observations: float
) -> MemberDraws:
    """Return draws of the readout given one draw of the hidden layers."""
    features, mean = readout_at(network, data, hidden)
    # the largest index of a draw is far below: no draw shares this key
    noise_key = jax.random.fold_in(key, 0xFFFFFFFF)
    noise, log_noise = jnp.full((draws,), float(network.noise)), jnp.zeros(draws)
    solver: Any = None
    if network.noise_spread > 0:
        noise, log_noise, solver = _sampled_noise(network, data, hidden, noise_key, draws, observations)
    elif observations > 0:
        if math.isinf(observations) and (why := explain_singular(features[: data.n] @ features[: data.n].T)):
            raise ValueError(f"observations = inf leaves no ridge: {why}")
        solver = ridge_solver(features[: data.n], jnp.square(noise[0]) * data.n / observations)
    if observations == 0:
        solver = None
    ridges = jnp.square(noise) * data.n / max(observations, float(jnp.finfo(noise.dtype).tiny))
    found = _matheron(features, mean, data.y, key, jnp.arange(draws), ridges, solver)
    return MemberDraws(found[0], found[1], noise, found[2] + log_noise)


@jax.jit
def _matheron(
    features: Array, mean: Array, y: Array, key: Array, indices: Array, ridges: Array, solver: Any
) -> tuple[Array, Array, Array]:
    """Return fields (S, n + h, o), dual coefficients (S, n, o) and log priors (S,).

    ``ridges`` is ρ of each draw, (S,). Without a solver nothing is observed: draws of the prior.
    T enters through ρ alone, so that every T > 0 runs the same compiled program.
    """
    n, outputs = y.shape
    prior, norm = prior_draws(features, key, indices, outputs)
    if solver is None:
        return assembled(features, mean, prior, norm, jnp.zeros((n, indices.size * outputs), y.dtype))
    # one by one: under vmap random numbers take twice as long to compile
    error = jax.lax.map(lambda i: jax.random.normal(jax.random.fold_in(key, 2 * i + 1), y.shape), indices)
    residual = y - mean[:n] - prior[:, :n] - jnp.sqrt(ridges)[:, None, None] * error
    if isinstance(solver, SpectralSolver):  # a ridge per draw
        dual = columns(jax.vmap(solver.solve)(residual, ridges))
    else:
        dual = solver.solve(columns(residual), ridges[0])
    return assembled(features, mean, prior, norm, dual)


def _sampled_noise(
    network: LinearReadout, data: Data, hidden: Hidden, key: Array, draws: int, observations: float
) -> tuple[Array, Array, SpectralSolver]:
    """Return σ per draw, its log prior, and the solver at any σ: the eigensystem of the kernel."""
    modes = readout_modes(network, data.x, hidden, noise=1.0)
    values = data.n * modes.eigenvalues
    residual = data.y - prior_mean(network, data.x, hidden)
    prior = float(network.noise), float(network.noise_spread)
    sigma, log_noise = _noise_draws(values, modes.inputs, residual, key, observations, *prior, draws=draws)
    return sigma, log_noise, SpectralSolver(values, modes.inputs)


@partial(jax.jit, static_argnames="draws")
def _noise_draws(
    values: Array,
    vectors: Array,
    residual: Array,
    key: Array,
    observations: Array | float,
    centre: Array | float,
    spread: Array | float,
    *,
    draws: int,
) -> tuple[Array, Array]:
    """Return σ per draw and its log prior, (S,) each, from the kernel's eigensystem; a program per shape."""
    n = residual.shape[0]
    coefficients = vectors.T @ residual
    outside = jnp.sum(jnp.square(residual)) - jnp.sum(jnp.square(coefficients))

    def log_prior(log_sigma: Array) -> Array:
        z = (log_sigma - jnp.log(centre)) / spread
        return -0.5 * jnp.square(z) - log_sigma - jnp.log(spread * math.sqrt(2 * math.pi))

    found = noise_posterior(
        values,
        coefficients,
        n,
        residual_sum_squares=jnp.maximum(outside, 0),
        log_prior=log_prior,
        observations=observations,
        centre=centre,
        spread=spread,
    )
    sigma = found.sample(key, draws)
    return sigma, log_prior(jnp.log(sigma))
