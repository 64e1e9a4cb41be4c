"""The prior field theory of a network: draws of its field with everything redrawn each time (T1).

A ``numpyro.factor`` that needs no target belongs to the prior (T16): its law is then not that of the sites'
distributions, and NUTS draws from it.
"""

from __future__ import annotations

import functools
import json
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
from brg_prob.network.centre import bare
from brg_prob.network.handlers import WholePlates
from brg_prob.network.protocols import Hidden, LinearReadout
from brg_prob.network.trace import Model, field, is_factor, read_model, run_trace
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
        Number of draws S.
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

        Where the prior has a ``numpyro.factor``, as a tempered theory has (:meth:`brg_prob.Flow.theory_at`),
        its draws are those of NUTS: up to 4 chains of S/4 after 1000 steps of warm-up, independent = 0, with
        ``sample_stats`` and the attrs engine, warmup and factors (JSON).

    Raises
    ------
    ValueError
        draws or batch_size below 1, x not (n, d), a model without a field, or a prior with a factor and
        a discrete site.

    Notes
    -----
    P[f] = ∫ dθ p(θ) δ[f − f_θ] (T1). Cost: S runs of the model; with a factor, those of NUTS.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def narrowed(x, y=None):
    ...     a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    ...     numpyro.factor("weight", -10 * a**2)  # N(0, 1/21), not N(0, 1)
    ...     numpyro.sample("y", dist.Normal(numpyro.deterministic("f", a * x[:, 0]), 1.0), obs=y)
    >>> found = sample_prior(narrowed, jnp.ones((1, 1)), key=jax.random.key(0), draws=400)
    >>> found.attrs["engine"], found.attrs["independent"], round(float(found["prior"]["a"].std()), 1)
    ('nuts', 0, 0.2)
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
    numbers: Any = jax.random.split(key, draws)
    attrs: dict[str, Any] = {"independent": 1}
    stats: dict[str, Any] = {}
    if factors := () if by_readout else prior_factors(network, x, covariates):
        own = functools.partial(network, **covariates) if covariates else network
        latent, stats, attrs = weighed_draws(_without_targets(own, x, factors), key=key, draws=draws)
        random, numbers = lambda drawn: drawn, (numbers, _flat(latent))
        attrs |= {"factors": json.dumps(factors)}

    def batch(numbers: Any) -> dict[str, Array]:
        # random numbers one by one: under vmap they take twice as long to compile
        return jax.vmap(made)(jax.lax.map(random, numbers))

    found = jax.jit(lambda numbers: map_batches(batch, numbers, size))(numbers)
    chains = int(attrs.get("chains", 1))
    variables = {name: value.reshape(chains, -1, *value.shape[1:]) for name, value in found.items()}
    return build_tree(
        {"prior": variables, **({"sample_stats": stats} if stats else {}), "constant_data": {"inputs": x}},
        dims={
            "inputs": ["x", "dim"],
            **{
                name: ["chain", "draw", "x", "output"][: value.ndim]
                for name, value in (stats | variables).items()
            },
        },
        attrs={"key": key_to_json(key), "draws": draws, **attrs},
    )


def prior_factors(model: Model, x: Any, covariates: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the ``numpyro.factor`` statements that a model has without a target; nothing is computed.

    They belong to its prior. One whose value is a plain number weighs nothing, and is left out.
    """
    found: list[str] = []

    def run(key: Array) -> Array:
        trace = run_trace(WholePlates(model), x, key=key, covariates=covariates)
        sites = {name: bare(site["fn"]) for name, site in trace.items() if site["type"] == "sample"}
        found.extend(
            name
            for name, law in sites.items()
            if is_factor(law) and isinstance(law.log_factor, jax.core.Tracer)
        )
        return key

    jax.eval_shape(run, jax.random.key(0))
    return tuple(dict.fromkeys(found))


def weighed_draws(
    conditioned: Conditioned, *, key: Array, draws: int
) -> tuple[dict[str, Array], dict[str, Any], dict[str, Any]]:
    """Draw the latent sites from a prior with factors: NUTS at T = 0, where no observation counts.

    Returns
    -------
    values, statistics, attributes
        Site → (chain, draw, *shape); NUTS's statistics (chain, draw) in ArviZ's names; what was done.

    Raises
    ------
    ValueError
        No start with a finite density was found.
    """
    from brg_prob.posterior import NUTS
    from brg_prob.posterior.nuts import sample_stats

    engine = NUTS(chains=next(count for count in (4, 3, 2, 1) if draws % count == 0))
    finished = engine.sample(conditioned, key=key, draws=draws, observations=0.0)
    positions = finished.get_samples(group_by_chain=True)
    attrs = {"independent": 0, "engine": "nuts", "chains": engine.chains, "warmup": engine.warmup}
    stats = sample_stats(finished.get_extra_fields(group_by_chain=True))
    return {name: positions[name] for name in conditioned.names}, stats, attrs


def prior_point(model: Model, x: Array, *, key: Array) -> dict[str, Array]:
    """Return one draw of the latent sites of a prior with factors; {} without any, where a run draws them."""
    if isinstance(model, LinearReadout) or not (factors := prior_factors(model, x)):
        return {}
    latent = weighed_draws(_without_targets(model, x, factors), key=key, draws=1)[0]
    return {name: value[0, 0] for name, value in latent.items()}


def _without_targets(model: Model, x: Array, factors: Sequence[str]) -> Conditioned:
    """Return the model read at its inputs alone; raise ValueError where NUTS cannot draw from its prior."""
    discrete = [site.name for site in read_model(WholePlates(model), x).latent if site.discrete]
    if discrete:
        raise ValueError(
            f"the prior has the factor {factors[0]!r}, so it is drawn by NUTS, and site {discrete[0]!r} is "
            "discrete: sum it out, or give the prior by distributions alone"
        )
    return Conditioned.of(model, x)


def _flat(values: Mapping[str, Array]) -> dict[str, Array]:
    """Return draws (chain, draw, …) as (S, …)."""
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}


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
        The same key gives the same draws: independent ones, or those of NUTS where the prior has a factor.
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

    def shown(latent: Mapping[str, Array]) -> tuple[Array, ...]:
        return tuple((c.mean if mean else c.field)(latent) for c in (conditioned, *others))

    def one(key: Array) -> tuple[Array, ...]:
        trace = handlers.trace(handlers.seed(whole, key)).get_trace(x, y)
        return shown({name: trace[name]["value"] for name in conditioned.names})

    if conditioned.prior_factors:
        latent = _flat(weighed_draws(conditioned, key=key, draws=draws)[0])
        return jax.jit(lambda stacked: jax.lax.map(shown, stacked))(latent)
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
