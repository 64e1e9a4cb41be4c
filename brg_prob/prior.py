"""The prior field theory of a network: draws of its field with everything redrawn each time (T1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array
from numpyro import handlers

from brg_prob.batching import even_batch, map_batches
from brg_prob.network import Conditioned
from brg_prob.network.handlers import WholePlates
from brg_prob.network.protocols import Hidden, LinearReadout
from brg_prob.network.trace import Model, field, read_model
from brg_prob.results import build_tree, key_to_json

# Number of array elements that one batch of draws may hold at once (256 MB in float64).
_BATCH_ELEMENTS = 2**25
_AFFORDABLE_ELEMENTS = 2**29
_FEWEST_DRAWS = 200

Parts = tuple[Callable[[Array], Any], Callable[[Any], dict[str, Array]]]
"""The random numbers of a key, and what one draw is made of them."""


def sample_prior(
    network: Model,
    x: Any,
    *,
    key: Array,
    draws: int = 1000,
    batch_size: int | None = None,
    covariates: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Draw fields from the prior of a network, all its latent sites redrawn for every draw.

    Parameters
    ----------
    network
        Any NumPyro model ``network(x, y=None)``. A network with the capability LinearReadout is
        drawn through it: hidden layers, then weights from the readout's prior.
    x
        Inputs, (n, d).
    key
        Random key; the same key gives bitwise the same draws.
    draws
        Number of independent draws S.
    batch_size
        Draws computed at once; default: as many as keep a batch near 2**25 array elements. It
        bounds the memory; draw s depends on (key, s) alone, up to rounding between batch sizes.
    covariates
        Further arguments of the model by name.

    Returns
    -------
    xarray.DataTree
        Group ``prior``: f (chain = 1, draw = S, x[, output]) and the scalar hyperparameters
        (chain, draw); larger sites are not stored. Group ``constant_data``: inputs (x, dim).
        Root attrs: key, draws, independent = 1.

    Raises
    ------
    ValueError
        draws or batch_size below 1, x not (n, d), or a model without a field.

    Notes
    -----
    P[f] = ∫ dθ p(θ) δ[f − f_θ] (T1). Cost: S runs of the model.
    """
    x = jnp.asarray(x)
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}; inputs are (n, d), so use x[:, None] for one dimension")
    if draws < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(f"draws = {draws} and batch_size = {batch_size} must be at least 1")
    by_readout = _drawn_by_readout(network, covariates)
    parts = _readout_parts(network, x) if by_readout else _model_parts(network, x, covariates)
    size = even_batch(draws, _batch_size(parts, key, draws) if batch_size is None else batch_size)
    random, made = parts

    def batch(keys: Array) -> dict[str, Array]:
        # random numbers one by one: under vmap they take twice as long to compile
        return jax.vmap(made)(jax.lax.map(random, keys))

    values = jax.jit(lambda keys: map_batches(batch, keys, size))(jax.random.split(key, draws))
    variables = {name: value[None] for name, value in values.items()}
    return build_tree(
        {"prior": variables, "constant_data": {"inputs": x}},
        dims={
            "inputs": ["x", "dim"],
            **{name: ["chain", "draw", "x", "output"][: value.ndim] for name, value in variables.items()},
        },
        attrs={"key": key_to_json(key), "draws": draws, "independent": 1},
    )


def affordable_draws(network: Any, x: Any, most: int) -> int:
    """Return a number of draws of the prior's field that takes seconds, at least 200 and at most so many.

    Every draw of a network with hidden layers makes its features anew, n · P numbers.
    """
    if not isinstance(network, LinearReadout):
        return most
    x = jnp.asarray(x)
    features = jax.eval_shape(lambda key: network.features(x, network.sample_hidden(key)), jax.random.key(0))
    return min(most, max(_FEWEST_DRAWS, _AFFORDABLE_ELEMENTS // max(1, math.prod(features.shape))))


def prior_fields(
    conditioned: Conditioned,
    others: Sequence[Conditioned] = (),
    *,
    key: Array,
    draws: int,
    mean: bool = False,
) -> tuple[Array, ...]:
    """Draw the field of a model at its data from its prior, and at other rows at the same latent sites.

    Parameters
    ----------
    conditioned
        The model with its data; where a row's law depends on other rows of y it is that given the data.
    others
        The same model at other rows (:meth:`brg_prob.network.Conditioned.at`).
    key
        The same key gives the same draws.
    draws
        S.
    mean
        Whether to return E[y|θ] in place of a field "f".

    Returns
    -------
    tuple of Array
        (S, n[, o]) for each.
    """
    whole, x, y = conditioned.whole, conditioned.x, conditioned.y

    def one(key: Array) -> tuple[Array, ...]:
        trace = handlers.trace(handlers.seed(whole, key)).get_trace(x, y)
        latent = {name: trace[name]["value"] for name in conditioned.names}
        return tuple((c.mean if mean else c.field)(latent) for c in (conditioned, *others))

    return jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(key, draws))


def _drawn_by_readout(network: Any, covariates: Mapping[str, Any] | None) -> bool:
    """Return whether the readout's prior may be drawn without running the model."""
    return isinstance(network, LinearReadout) and not covariates


def _readout_parts(network: Any, x: Array) -> Parts:
    """Return the random numbers of a key, and what a draw is made of them."""

    def random(key: Array) -> tuple[Hidden, Array, Array]:
        hidden_key, weight_key, noise_key = jax.random.split(key, 3)
        hidden = dict(network.sample_hidden(hidden_key))
        dtype = jax.eval_shape(network.features, x, hidden).dtype
        weights = jax.random.normal(weight_key, network.readout_prior(hidden).mean.shape, dtype)
        # only where it is used: a random number takes long to compile
        spread = network.noise_spread > 0
        return hidden, weights, jax.random.normal(noise_key, (), dtype) if spread else jnp.zeros((), dtype)

    def values(numbers: tuple[Hidden, Array, Array]) -> dict[str, Array]:
        hidden, xi, log_noise = numbers
        features = network.features(x, hidden)
        prior = network.readout_prior(hidden)
        f = features @ (prior.mean + prior.covariance.sqrt_matmul(xi)).astype(features.dtype)
        found = {name: value for name, value in hidden.items() if jnp.shape(value) == ()}
        if network.noise_spread > 0:
            found["noise"] = jnp.exp(jnp.log(network.noise) + network.noise_spread * log_noise)
        return {"f": f[:, 0] if network.outputs == 1 else f, **found}

    return random, values


def _model_parts(model: Model, x: Array, covariates: Mapping[str, Any] | None) -> Parts:
    """Return the latent sites of a key, and field and scalar sites of the model's run at these."""
    model = WholePlates(model)
    sites = read_model(model, x, covariates=covariates)
    options = dict(covariates or {})
    observing = [site.name for site in sites.observed] or None

    def random(key: Array) -> tuple[Array, dict[str, Array]]:
        trace = handlers.trace(handlers.seed(model, key)).get_trace(x, None, **options)
        return key, {name: trace[name]["value"] for name in sites.latent_names}

    def values(numbers: tuple[Array, dict[str, Array]]) -> dict[str, Array]:
        key, latent = numbers
        run = handlers.substitute(handlers.seed(model, key), data=latent)
        trace = handlers.trace(run).get_trace(x, None, **options)
        scalars = {name: trace[name]["value"] for name in sites.hyperparameters if name != "f"}
        return {"f": field(trace, observing, rows=x.shape[0]), **scalars}

    return random, values


def _batch_size(parts: Parts, key: Array, draws: int) -> int:
    """Return how many draws fit a batch, from the sizes of all intermediate arrays of one draw.

    Their sum bounds what the compiler may keep alive, so the estimate errs on the small side.
    """
    random, made = parts
    equations = jax.make_jaxpr(lambda one: made(random(one)))(key).jaxpr.eqns
    elements = sum(math.prod(getattr(out.aval, "shape", ())) for eqn in equations for out in eqn.outvars)
    return max(1, min(draws, _BATCH_ELEMENTS // max(elements, 1)))
