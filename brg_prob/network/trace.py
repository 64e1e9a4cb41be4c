"""Reading a NumPyro model by running it once: its sites, its field and its observations.

What the rest of the library may rely on is :class:`ModelSites`, for any number of latent and observed
sites. What the *data* say of a model (whose row is whose, what is missing) is read in
:mod:`brg_prob.network.conditioned`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import Distribution, ImproperUniform, Unit
from numpyro.distributions.constraints import Constraint
from numpyro.primitives import Messenger

from brg_prob.network.centre import bare, centre

Model = Callable[..., Any]
Trace = Mapping[str, Mapping[str, Any]]

FIELD = "f"
OBSERVATION = "y"


class UnfitSite(ValueError):
    """A site's distribution lacks what every run needs; names the site."""


class ImproperPrior(UnfitSite):
    """A latent site has no prior to draw from; names it."""


class NoField(ValueError):
    """A model has neither a site "f" nor an observation with a mean; says what to add."""


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
        Names of ``numpyro.factor`` statements, of prior and likelihood.
    has_field
        Whether the model registers a field "f"; else its field is the mean of its observations.
    field_shape
        Shape of the field, (n,) or (n, o).
    parameters
        Number of latent scalars.
    deterministic
        Name of each ``numpyro.deterministic`` site but the field → shape of its value.
    params
        Value of each ``numpyro.param`` statement, by name.
    """

    latent: tuple[LatentSite, ...]
    observed: tuple[ObservedSite, ...]
    factors: tuple[str, ...]
    has_field: bool
    field_shape: tuple[int, ...]
    parameters: int
    deterministic: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)

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
        A latent site has an improper prior: it cannot be drawn, and no flow can end there. A distribution of
        the user's own has no density or cannot be drawn from.
    """
    call = handlers.trace(handlers.seed(_FitLaws(model), key))
    return call.get_trace(x, y, **dict(covariates or {}))


def is_factor(distribution: Any) -> bool:
    """Return whether a site's distribution is that of ``numpyro.factor``, plates and masks seen through."""
    return isinstance(bare(distribution), Unit)


class _FitLaws(Messenger):
    """Refuses latent sites that have no prior to draw from, and laws that lack a method."""

    def process_message(self, msg: Any) -> None:
        """Raise ValueError at an improper latent site without a value, and at an incomplete law."""
        if msg["type"] != "sample":
            return
        law = bare(msg["fn"])
        if isinstance(law, ImproperUniform):
            if msg["value"] is None:
                raise ImproperPrior(
                    f"site {msg['name']!r} has an improper prior, so no flow can end there; give it a proper "
                    "one, such as a wide Normal"
                )
            return
        for method in ("sample", "log_prob"):
            if getattr(type(law), method, None) is getattr(Distribution, method):
                raise UnfitSite(
                    f"site {msg['name']!r}: {type(law).__name__} has no method {method!r}; give it one"
                )


def field(trace: Trace, observation: str | Sequence[str] | None = None, *, rows: int | None = None) -> Array:
    """Return the field of one run of a model.

    Parameters
    ----------
    trace
        What NumPyro's ``trace`` handler recorded.
    observation
        The observing site, or several; needed only if the model has no "f" and observes nothing in this
        trace.
    rows
        Number of inputs n. Of several observed sites those with an entry per input count.

    Returns
    -------
    Array
        The value of a deterministic site "f" if there is one (or of a latent one with an entry per input),
        else the mean of the observation given its parents, of a categorical one the probabilities; (n,) or
        (n, o), the observed sites side by side. A law without a mean gives its median.

    Raises
    ------
    ValueError
        There is neither an "f" nor an observation with a mean or median.
    """
    if _is_field(trace, rows):
        return trace[FIELD]["value"]
    return observed_mean(trace, observation, rows=rows)


def observed_mean(
    trace: Trace, observation: str | Sequence[str] | None = None, *, rows: int | None = None
) -> Array:
    """Return the mean of what a model observes, whether or not it has a site "f"; see :func:`field`."""
    names = (observation,) if isinstance(observation, str) else observation
    if names is None:
        names = _observing(trace)
    names = [name for name in names if name in trace]
    if not names:
        raise NoField(
            f'the model has no site "f" with a value per row and {_unseen(trace)}; '
            'add numpyro.deterministic("f", ...)'
        )
    if rows is not None and len(names) > 1:  # a single value beside them stands for no row
        names = [name for name in names if np.shape(trace[name]["value"])[:1] == (rows,)] or names[:1]
    found = [one for one in (centre(trace[name]["fn"], rows) for name in names) if one is not None]
    if not found:
        raise NoField(
            f'the model has no site "f" with a value per row and its observation {names[0]!r} has no mean; '
            'add numpyro.deterministic("f", ...)'
        )
    if len(found) == 1:
        wide = np.ndim(trace[names[0]]["value"]) > 2  # a row of several axes is one of several columns
        return found[0].reshape(found[0].shape[0], -1) if wide else found[0]
    count = found[0].shape[0]
    return jnp.concatenate([one.reshape(count, -1) for one in found], axis=1)


def _is_field(trace: Trace, rows: int | None) -> bool:
    """Return whether site "f" is the field: with an entry per input, or per observed row if deterministic."""
    if FIELD not in trace:
        return False
    site, counted = trace[FIELD], [(rows,)]
    if site["type"] == "deterministic":
        counted += [np.shape(trace[name]["value"])[:1] for name in _observing(trace)]
    elif site["type"] != "sample" or site["is_observed"] or rows is None:
        return False
    return rows is None or np.shape(site["value"])[:1] in counted


def _unseen(trace: Trace) -> str:
    """Return why there is no observation whose mean could be the field."""
    factors = [name for name, site in trace.items() if site["type"] == "sample" and is_factor(site["fn"])]
    if factors:
        return f"its factor {factors[0]!r} has no mean that could stand for it"
    return "observes nothing"


def _observing(trace: Trace) -> list[str]:
    """Return the names of the observed sites of a trace, factors left out; without any the site "y"."""
    sampled = {name: site for name, site in trace.items() if site["type"] == "sample"}
    seen = [name for name, site in sampled.items() if site["is_observed"] and not is_factor(site["fn"])]
    return seen or [name for name in sampled if name == OBSERVATION]


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
    return sites_of(trace, rows=(np.shape(x) or (1,))[0])


def sites_of(trace: Trace, *, rows: int) -> ModelSites:
    """Return the sites of a trace at n inputs; raise ValueError where there is no field (:func:`field`)."""
    samples = [site for site in trace.values() if site["type"] == "sample"]
    observed = [site for site in samples if site["is_observed"]]
    latent = tuple(_latent_site(site) for site in samples if not site["is_observed"])
    seen = tuple(
        ObservedSite(site["name"], np.shape(site["value"]), site["fn"])
        for site in observed
        if not is_factor(site["fn"])
    )
    has_field = _is_field(trace, rows)
    return ModelSites(
        latent=latent,
        observed=seen,
        factors=tuple(site["name"] for site in observed if is_factor(site["fn"])),
        has_field=has_field,
        field_shape=tuple(np.shape(field(trace, [site.name for site in seen] or None, rows=rows))),
        parameters=sum(site.size for site in latent),
        deterministic={
            name: tuple(np.shape(site["value"]))
            for name, site in trace.items()
            if site["type"] == "deterministic" and not (name == FIELD and has_field)
        },
        params={name: site["value"] for name, site in trace.items() if site["type"] == "param"},
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
    seen = [name for name in free if not is_factor(trace[name]["fn"])]
    return field(trace, seen or None, rows=(np.shape(x) or (1,))[0])
