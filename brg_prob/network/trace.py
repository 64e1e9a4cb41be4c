"""Reading a NumPyro model: its sites, its field, its observation, and its tempered likelihood.

Any callable ``model(x, y=None, **covariates)`` that speaks NumPyro is read here by
running it once. What the rest of the library may rely on is :class:`ModelSites`, for
any number of latent and observed sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.distributions import (
    CategoricalLogits,
    CategoricalProbs,
    Distribution,
    ExpandedDistribution,
    ImproperUniform,
    Independent,
    MaskedDistribution,
    Unit,
)
from numpyro.distributions.constraints import Constraint
from numpyro.primitives import Messenger

Model = Callable[..., Any]
Trace = Mapping[str, Mapping[str, Any]]

FIELD = "f"
OBSERVATION = "y"


@dataclass(frozen=True, eq=False)
class LatentSite:
    """One latent random variable of a model.

    Attributes
    ----------
    name
        Name of the site.
    shape, size
        Shape of its value (batch and event dimensions) and the number of entries.
    distribution
        Its distribution given its parents, plates and masks applied.
    support
        The constraint that its values satisfy.
    discrete
        Whether its values are discrete.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    distribution: Distribution
    support: Constraint | None
    discrete: bool


@dataclass(frozen=True, eq=False)
class ObservedSite:
    """One observed random variable: name, shape of its value, distribution given its parents."""

    name: str
    shape: tuple[int, ...]
    distribution: Distribution


@dataclass(frozen=True, eq=False)
class ModelSites:
    """What a NumPyro model consists of, read at one draw of its prior.

    Attributes
    ----------
    latent
        Latent sites in order of execution, so parents come before children.
    observed
        Observed sites, in order of execution.
    factors
        Names of ``numpyro.factor`` statements: part of the prior here (an interaction),
        not of the likelihood.
    has_field
        Whether the model registers a site "f"; else its field is the mean of the observation.
    field_shape
        Shape of the field, (n,) or (n, o).
    parameters
        Number of latent scalars.
    """

    latent: tuple[LatentSite, ...]
    observed: tuple[ObservedSite, ...]
    factors: tuple[str, ...]
    has_field: bool
    field_shape: tuple[int, ...]
    parameters: int

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Names of the latent sites, in order of execution."""
        return tuple(site.name for site in self.latent)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the scalar latent sites."""
        return tuple(site.name for site in self.latent if site.shape == ())

    @property
    def observation(self) -> str | None:
        """Name of the site that observes y: the one called "y", else the only one, else None."""
        return _observation_name([site.name for site in self.observed])


def _observation_name(names: Collection[str]) -> str | None:
    """Return "y" if it is among the names, else the only name, else None."""
    if OBSERVATION in names:
        return OBSERVATION
    return next(iter(names)) if len(names) == 1 else None


def run_trace(
    model: Model, x: Any, y: Any = None, *, key: Array, covariates: Mapping[str, Any] | None = None
) -> Trace:
    """Run the model once under a key and return NumPyro's trace of it (pure: no state is kept).

    Raises
    ------
    ValueError
        A latent site has an improper prior: it cannot be drawn, and no flow can end there.
    """
    call = handlers.trace(handlers.seed(_ProperPriors(model), key))
    return call.get_trace(x, y, **dict(covariates or {}))


def is_factor(distribution: Any) -> bool:
    """Return whether a site's distribution is that of ``numpyro.factor``, plates and masks seen through."""
    return isinstance(_base(distribution), Unit)


def _base(distribution: Any) -> Any:
    """Return a distribution without plates and masks."""
    while isinstance(distribution, ExpandedDistribution | Independent | MaskedDistribution):
        distribution = distribution.base_dist
    return distribution


class _ProperPriors(Messenger):
    """Refuses latent sites that have no prior to draw from."""

    def process_message(self, msg: Any) -> None:
        """Raise ValueError at an improper latent site without a value."""
        if msg["type"] == "sample" and msg["value"] is None and isinstance(_base(msg["fn"]), ImproperUniform):
            raise ValueError(
                f"site {msg['name']!r} has an improper prior, so no flow can end there; give it a proper "
                "one, such as a wide Normal"
            )


def field(trace: Trace, observation: str | None = None) -> Array:
    """Return the field of one run of a model.

    Parameters
    ----------
    trace
        What NumPyro's ``trace`` handler recorded.
    observation
        The observing site; needed only if the model has no "f", observes nothing in this
        trace or observes several sites, none of them called "y".

    Returns
    -------
    Array
        The value of site "f" if there is one, else the mean of the observation given
        its parents, of a categorical one the probabilities; (n,) or (n, o).

    Raises
    ------
    ValueError
        There is neither an "f" nor one observation with a mean.
    """
    if FIELD in trace:
        return trace[FIELD]["value"]
    if observation is None:
        sampled = {name: site for name, site in trace.items() if site["type"] == "sample"}
        seen = [name for name, site in sampled.items() if site["is_observed"] and not is_factor(site["fn"])]
        observation = _observation_name(seen or [name for name in sampled if name == OBSERVATION])
    if observation is None or observation not in trace:
        raise ValueError(
            'the model has no site "f" and no single observation; add numpyro.deterministic("f", ...)'
        )
    try:
        return _mean(trace[observation]["fn"])
    except NotImplementedError:
        raise ValueError(
            f'the model has no site "f" and its observation "{observation}" has no mean; '
            'add numpyro.deterministic("f", ...)'
        ) from None


def _mean(distribution: Distribution) -> Array:
    """Return the mean of an observation; of a category, that of its indicators."""
    inner = distribution
    while isinstance(inner, ExpandedDistribution | Independent | MaskedDistribution):
        inner = inner.base_dist
    if isinstance(inner, CategoricalProbs | CategoricalLogits):
        return jnp.broadcast_to(inner.probs, distribution.batch_shape + inner.probs.shape[-1:])
    return distribution.mean


def read_model(
    model: Model,
    x: Any,
    y: Any = None,
    *,
    key: Array | None = None,
    covariates: Mapping[str, Any] | None = None,
) -> ModelSites:
    """Read the sites, the field and the observation of a NumPyro model by running it once.

    Parameters
    ----------
    model
        A NumPyro model ``model(x, y=None, **covariates)``.
    x
        Inputs, (n, d).
    y
        Observations, (n,) or (n, o). Without them the model is run a second time with its own
        simulated observation, to see which site observes it.
    key
        Random key of the run; the structure must not depend on it.
    covariates
        Further arguments by name.

    Raises
    ------
    ValueError
        The model registers no sample site, or has no field (see :func:`field`).

    Examples
    --------
    >>> import jax.numpy as jnp, numpyro, numpyro.distributions as dist
    >>> def line(x, y=None):
    ...     slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    ...     return numpyro.sample("y", dist.Normal(slope * x[:, 0], 0.1), obs=y)
    >>> sites = read_model(line, jnp.ones((5, 1)))
    >>> sites.latent_names, sites.observation, sites.has_field, sites.field_shape
    (('slope',), 'y', False, (5,))
    """
    key = jax.random.key(0) if key is None else key
    trace = run_trace(model, x, y, key=key, covariates=covariates)
    if not any(site["type"] == "sample" for site in trace.values()):
        raise ValueError("the model has no sample site; it is no generative model")
    if y is None:
        trace = _observe_own_draw(model, x, trace, key, covariates)
    samples = [site for site in trace.values() if site["type"] == "sample"]
    observed = [site for site in samples if site["is_observed"]]
    latent = tuple(_latent_site(site) for site in samples if not site["is_observed"])
    seen = tuple(
        ObservedSite(site["name"], np.shape(site["value"]), site["fn"])
        for site in observed
        if not is_factor(site["fn"])
    )
    return ModelSites(
        latent=latent,
        observed=seen,
        factors=tuple(site["name"] for site in observed if is_factor(site["fn"])),
        has_field=FIELD in trace,
        field_shape=tuple(np.shape(field(trace, _observation_name([site.name for site in seen])))),
        parameters=sum(site.size for site in latent),
    )


def _latent_site(site: Mapping[str, Any]) -> LatentSite:
    """Return the description of a latent site of a trace."""
    shape = tuple(np.shape(site["value"]))
    distribution = site["fn"]
    support = distribution.support
    discrete = bool(support.is_discrete) if support is not None else False
    return LatentSite(site["name"], shape, math.prod(shape), distribution, support, discrete)


def _observe_own_draw(
    model: Model, x: Any, trace: Trace, key: Array, covariates: Mapping[str, Any] | None
) -> Trace:
    """Return a trace in which y was observed, by handing the model a simulated observation.

    Without y the observing site is sampled and looks latent. Candidates are "y", then the
    last sites whose values have a row per input; the right one is observed when its own
    draw is handed in. A model that observes nothing returns its trace unchanged.
    """
    rows = np.shape(x)[:1]
    free = [site for site in trace.values() if site["type"] == "sample" and not site["is_observed"]]
    candidates = [site for site in reversed(free) if np.shape(site["value"])[:1] == rows]
    candidates.sort(key=lambda site: site["name"] != OBSERVATION)
    for site in candidates:
        try:
            rerun = run_trace(model, x, site["value"], key=key, covariates=covariates)
        except (TypeError, ValueError):
            continue  # this draw cannot stand for y (wrong shape or type); the next one may
        if site["name"] in rerun and rerun[site["name"]]["is_observed"]:
            return rerun
    return trace


def field_at(
    model: Model, values: Mapping[str, Any], x: Any, *, covariates: Mapping[str, Any] | None = None
) -> Array:
    """Return the field at given values of all latent sites, (n,) or (n, o).

    Cost: one run of the model. Pure, so it may be mapped, jitted and differentiated.
    """
    call = handlers.substitute(model, data=dict(values))
    trace = run_trace(call, x, key=jax.random.key(0), covariates=covariates)
    free = [name for name, site in trace.items() if site["type"] == "sample" and name not in values]
    return field(trace, _observation_name([name for name in free if not is_factor(trace[name]["fn"])]))


class Tempered(Messenger):
    """The model at T of n observations: observed log-likelihoods count T/n, nothing else changes (T6).

    π_T(θ) ∝ p(θ) p(y|θ)^(T/n). ``numpyro.handlers.scale`` will not do: it scales latent
    sites too, and refuses 0. At T = 0 the observed sites are masked, so that an infinite
    or undefined log-likelihood leaves the prior untouched as well. Scales that the model
    sets itself (subsampled plates, ``handlers.scale``) and masks are kept and multiplied.

    ``numpyro.factor`` statements are interactions of the prior theory (T16) and stay at
    full strength, unless named in ``likelihood_factors``. NumPyro's pointwise
    ``log_likelihood`` ignores every scale; use ``log_density`` or a potential.

    Parameters
    ----------
    fn
        A NumPyro model with its observations inside (a ``condition`` handler goes inside too).
    observations
        T ≥ 0; may be traced.
    total
        n, the number of observations the model holds.
    likelihood_factors
        Names of factor statements that belong to the likelihood and are scaled too.

    Raises
    ------
    ValueError
        T negative or not finite, or n not positive.
    """

    def __init__(
        self,
        fn: Model | None = None,
        *,
        observations: ArrayLike,
        total: ArrayLike,
        likelihood_factors: Collection[str] = (),
    ) -> None:
        for label, value, lowest in (("observations", observations, 0.0), ("total", total, 1e-300)):
            if not isinstance(value, jax.core.Tracer) and not (lowest <= float(np.asarray(value)) < math.inf):
                raise ValueError(f"{label} = {value} must be finite and {'>= 0' if lowest == 0 else '> 0'}")
        self.fraction: Any = observations / total
        self.likelihood_factors = frozenset(likelihood_factors)
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Scale an observed site by T/n."""
        if msg["type"] != "sample" or not msg["is_observed"]:
            return
        if is_factor(msg["fn"]) and msg["name"] not in self.likelihood_factors:
            return
        if isinstance(self.fraction, jax.core.Tracer):
            msg["fn"] = msg["fn"].mask(self.fraction > 0)  # 0 · (−inf) would be NaN
        elif float(self.fraction) == 1.0:
            return  # at T = n it is the model itself, and compiles to the same program
        elif float(self.fraction) == 0.0:
            msg["fn"] = msg["fn"].mask(False)
        msg["scale"] = self.fraction if msg["scale"] is None else self.fraction * msg["scale"]
