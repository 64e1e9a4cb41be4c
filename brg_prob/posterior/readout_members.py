"""Draws of a linear readout, member by member: what the closed-form engines share.

A draw is w = w_0 + Φ̃ᵀc: a prior draw w_0 of the whitened readout and n dual coefficients c, which
conditioning (:mod:`brg_prob.posterior.exact`) and training (:mod:`brg_prob.posterior.gradient_flow`,
:mod:`brg_prob.posterior.sgd_exact`) choose differently. Kept are a key and c; the P weights
regenerate. A member is one draw of the hidden layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.batching import even_batch, map_batches
from brg_prob.geometry.readout_spectrum import prior_mean, whitened_features
from brg_prob.network import Hidden, LinearReadout
from brg_prob.posterior.engine import Data
from brg_prob.posterior.schema import PREDICTIVE, posterior_tree
from brg_prob.results import Attribute, key_to_json

BATCH = 64
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


def check_members(members: int) -> None:
    """Raise ValueError unless there is at least one member."""
    if members < 1:
        raise ValueError(f"members = {members} is too few; use at least 1")


def member_keys(key: Array, members: int) -> tuple[Array, Array]:
    """Return keys (members,) for the hidden layers and for the readout draws."""
    hidden, draw = jax.random.split(key)
    return jax.random.split(hidden, members), jax.random.split(draw, members)


def fit_members(
    network: LinearReadout,
    data: Data,
    *,
    key: Array,
    draws: int,
    members: int,
    draw: Callable[[Hidden, Array, int], MemberDraws],
    attrs: Mapping[str, Attribute],
) -> xr.DataTree:
    """Return the common tree of draws shared out evenly among members.

    Parameters
    ----------
    draw
        ``draw(hidden, key, draws)`` gives one member's draws.
    attrs
        Of the engine: its name and T at least.

    Raises
    ------
    ValueError
        The draws cannot be shared evenly.
    """
    if draws % members:
        raise ValueError(f"draws = {draws} cannot be shared among members = {members}; use a multiple")
    hidden_keys, draw_keys = member_keys(key, members)
    each = draws // members
    found = [
        draw(network.sample_hidden(hidden), own, each)
        for hidden, own in zip(hidden_keys, draw_keys, strict=True)
    ]
    # on the host, where they are stored: other numbers of members and draws compile nothing
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    return posterior_tree(
        data,
        field=joined.field[None],
        dual=joined.dual[None],
        noise=joined.noise[None],
        member=np.repeat(np.arange(members, dtype=jnp.result_type(int)), each)[None],
        log_prior=joined.log_prior[None],
        sampled_noise=network.noise_spread > 0,
        predictive=jax.random.fold_in(key, PREDICTIVE),
        attrs={
            "n": data.n,
            "noise": float(np.median(joined.noise)),
            "independent": 1,
            "hidden_keys": key_to_json(hidden_keys),
            "draw_keys": key_to_json(draw_keys),
            "draws_per_member": each,
            **attrs,
        },
    )


def readout_at(network: LinearReadout, data: Data, hidden: Hidden) -> tuple[Array, Array]:
    """Return whitened features (n + h, P) and prior mean (n + h, o) at training, then held-out inputs.

    Raises
    ------
    ValueError
        The network's field does not have one value per target.
    """
    features = whitened_features(network, data.all_inputs, hidden)
    held = 0 if data.held_out is None else data.held_out[1].shape[0]
    if features.shape[0] != data.n + held:
        raise ValueError(f"x has {features.shape[0] - held} rows and y {data.n}; give one target per input")
    return features, prior_mean(network, data.all_inputs, hidden)


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


def prior_draws(features: Array, key: Array, indices: Array, outputs: int) -> tuple[Array, Array]:
    """Return prior fields less their mean, (S, m, o), and squared norms of their whitened weights, (S,)."""

    def batch(some: Array) -> tuple[Array, Array]:
        # random numbers one by one: see map_batches
        weights = jax.lax.map(lambda index: prior_weights(key, index, (features.shape[1], outputs)), some)
        return jax.vmap(lambda own: features @ own)(weights), jnp.sum(jnp.square(weights), axis=(1, 2))

    found: tuple[Array, Array] = map_batches(batch, indices, even_batch(indices.size, BATCH))
    return found


def columns(draws: Array) -> Array:
    """Return draws (S, n, o) as the columns of one matrix, (n, S·o): one product or solve for all of them."""
    return jnp.moveaxis(draws, 0, 1).reshape(draws.shape[1], -1)


def assembled(
    features: Array, mean: Array, prior: Array, norm: Array, dual: Array
) -> tuple[Array, Array, Array]:
    """Return fields (S, m, o), dual coefficients (S, n, o) and log priors (S,) of the draws w_0 + Φ̃ᵀc.

    Parameters
    ----------
    features, mean
        At training, then held-out inputs, (m, P) and (m, o).
    prior, norm
        From :func:`prior_draws`.
    dual
        c of all draws as columns, (n, S·o).
    """
    (draws, _, outputs), n = prior.shape, dual.shape[0]
    train = features[:n].T
    # the cheaper order of the product; neither holds more than P × n
    shift = (features @ train) @ dual if dual.shape[1] > n else features @ (train @ dual)
    shift, dual = (jnp.moveaxis(c.reshape(-1, draws, outputs), 1, 0) for c in (shift, dual))
    norm = norm + jnp.sum(dual * (2 * prior[:, :n] + shift[:, :n]), axis=(1, 2))
    size = features.shape[1] * outputs
    return mean + prior + shift, dual, -0.5 * norm - 0.5 * size * math.log(2 * math.pi)


class DualMap(Protocol):
    """Training as a linear map of residuals to dual coefficients; a pytree."""

    def solve(self, residual: Array) -> Array:
        """Return c of residuals y − f_0(X), one per column, (n, S·o)."""


@jax.jit
def trained_draws(
    features: Array, mean: Array, y: Array, key: Array, indices: Array, trained: DualMap
) -> tuple[Array, Array, Array]:
    """Return fields (S, n + h, o), dual coefficients (S, n, o) and log priors (S,) after training.

    Each draw starts from its own prior weights. As many programs as shapes and kinds of map.
    """
    n, outputs = y.shape
    prior, norm = prior_draws(features, key, indices, outputs)
    return assembled(features, mean, prior, norm, trained.solve(columns(y - mean[:n] - prior[:, :n])))


def trained_member(
    network: LinearReadout, data: Data, hidden: Hidden, key: Array, draws: int, trained: DualMap
) -> MemberDraws:
    """Return draws of the readout at given hidden layers, each trained from its own prior weights."""
    features, mean = readout_at(network, data, hidden)
    found = trained_draws(features, mean, data.y, key, jnp.arange(draws), trained)
    return MemberDraws(found[0], found[1], jnp.full((draws,), float(network.noise)), found[2])


def check_trainable(network: LinearReadout, engine: str, observations: float, *, fixed: bool) -> None:
    """Raise ValueError where training in closed form has no meaning.

    Parameters
    ----------
    engine
        Begins the message.
    fixed
        Whether the amount of training is given, so that T = 0 would not be the prior.
    """
    if network.noise_spread > 0:
        raise ValueError(
            f"{engine} trains the readout and infers no noise, but noise_spread = {network.noise_spread:g}; "
            "set it to 0, or use Exact()"
        )
    if fixed and observations == 0:
        raise ValueError(
            f"observations = 0 is the prior and {engine} trains all the same; give T > 0, or use Exact()"
        )


def readout_variance(network: LinearReadout, hidden: Hidden, engine: str) -> float:
    """Return s, the prior variance of each readout weight: raw features are whitened ones over √s.

    Raises
    ------
    ValueError
        The weights are correlated, so that raw training leaves the span of the whitened features.
    """
    covariance = network.readout_prior(hidden).covariance
    if not covariance.isotropic:
        raise ValueError(
            f"{engine} trains raw readout weights and needs them independent, "
            "this network's are correlated; use Exact()"
        )
    return float(covariance.scale)
