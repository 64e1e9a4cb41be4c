"""A NumPyro model with its data: what engines, the Fisher metric and the flow need to know of any model.

The one place where a model is run at given values of its latent sites. Subsampled plates are
run whole, rows without an observation count for nothing, ``numpyro.factor`` statements belong
to the prior unless they are named. What cannot be differentiated is refused here, by the name
of the site: discrete latent sites, and likelihoods that draw random numbers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.distributions import Distribution
from numpyro.primitives import Messenger
from numpyro.util import is_prng_key

from brg_prob.network.trace import Model, ModelSites, Tempered, Trace, field, read_model

Values = Mapping[str, Any]
"""Site → value of one draw."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A NumPyro model and the data it is conditioned on.

    Made by :meth:`of`. All methods that take ``values`` are pure functions of one draw, to be
    jitted, mapped and differentiated.

    Attributes
    ----------
    network
        ``network(x, y=None)``.
    x
        Inputs, (n, d).
    y
        Targets as the model takes them, (n,) or (n, o): integers where the observation is discrete;
        missing rows hold a target of another row, which counts for nothing. None: nothing is observed.
    observed
        Which rows have an observation, (n,), boolean.
    sites
        The model's sites.
    likelihood_factors
        Names of ``numpyro.factor`` statements that belong to the likelihood.
    """

    network: Model
    x: Array
    y: Array | None
    observed: np.ndarray
    sites: ModelSites
    likelihood_factors: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, network: Model, x: Any, y: Any = None, *, likelihood_factors: tuple[str, ...] = ()
    ) -> Conditioned:
        """Read a model at its data.

        Parameters
        ----------
        network
            Any NumPyro model ``network(x, y=None)``.
        x
            Inputs, (n, d).
        y
            Targets (n,) or (n, o); a row with a NaN is missing. None: only the prior is of interest.
        likelihood_factors
            Factor statements to be tempered with the likelihood.

        Raises
        ------
        ValueError
            One line naming the site: a discrete latent site, a likelihood that changes with the random
            key at fixed latent sites, an unknown factor, an observation without a row per input; or
            no row is observed.

        Examples
        --------
        >>> import numpyro, numpyro.distributions as dist
        >>> def coin(x, y=None):
        ...     logit = numpyro.sample("logit", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Bernoulli(logits=logit * jnp.ones(x.shape[0])), obs=y)
        >>> data = Conditioned.of(coin, jnp.zeros((3, 1)), [1.0, 0.0, float("nan")])
        >>> pointwise = data.log_likelihood({"logit": 0.0})["y"]
        >>> data.n, data.y.dtype.kind, [round(float(value), 3) for value in pointwise]
        (2, 'i', [-0.693, -0.693, 0.0])
        """
        x = jnp.asarray(x)
        model = WholePlates(network)
        targets, observed = (None, np.ones(x.shape[0], bool)) if y is None else _targets(y)
        sites = read_model(model, x, targets)
        _refuse_discrete(sites)
        unknown = sorted(set(likelihood_factors) - set(sites.factors))
        if unknown:
            known = ", ".join(sites.factors) or "none"
            raise ValueError(
                f"likelihood factor {unknown[0]!r} is no factor of the model; its factors: {known}"
            )
        if targets is not None and sites.observation is not None:
            targets = _as_observed(sites, targets, observed)
        _refuse_stochastic(model, x, targets, sites)
        return cls(network, x, targets, observed, sites, tuple(likelihood_factors))

    @property
    def n(self) -> int:
        """Number of rows with an observation."""
        return int(self.observed.sum())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latent sites, parents before children."""
        return self.sites.latent_names

    def at(self, x: Any, y: Any) -> Conditioned:
        """Return the same model at other inputs, whose latent sites must be the same.

        Raises
        ------
        ValueError
            A latent site has another shape there (one latent variable per row).
        """
        other = Conditioned.of(self.network, x, y, likelihood_factors=self.likelihood_factors)
        here, there = ({site.name: site.shape for site in c.sites.latent} for c in (self, other))
        for name, shape in here.items():
            if there.get(name) != shape:
                raise ValueError(
                    f"site {name!r} has shape {shape} at the training inputs but {there.get(name)} at the "
                    "held-out ones, so draws say nothing of these; hold no rows out (--held-out none)"
                )
        return other

    def model(self) -> Callable[[], Any]:
        """Return the model without arguments, at the full weight of its data."""
        return lambda: self._observing()(self.x, self.y)

    def tempered(self, observations: ArrayLike) -> Callable[[], Any]:
        """Return the model without arguments at T of n observations (T6); T may be traced."""
        made = Tempered(
            self._observing(),
            observations=observations,
            total=self.n,
            likelihood_factors=self.likelihood_factors,
        )
        return lambda: made(self.x, self.y)

    def trace(self, values: Values) -> Trace:
        """Return NumPyro's trace of one run at given values of all latent sites."""
        call = handlers.substitute(self._observing(), data={name: values[name] for name in self.names})
        return handlers.trace(handlers.seed(call, jax.random.key(0))).get_trace(self.x, self.y)

    def field(self, values: Values) -> Array:
        """Return the field: site "f", else the mean of the observation; (n,) or (n, o)."""
        return field(self.trace(values), self.sites.observation)

    def distributions(self, values: Values) -> dict[str, Distribution]:
        """Return the distribution of each observed site given its parents; missing rows are masked."""
        trace = self.trace(values)
        return {site.name: trace[site.name]["fn"] for site in self.sites.observed}

    def log_likelihood(self, values: Values) -> dict[str, Array]:
        """Return log p(y_i|θ) of each observed site (and factor of the likelihood).

        Returns
        -------
        dict
            (n,) where the site has a row per input, other axes summed over; else of the site's batch
            shape. Missing and masked entries are 0; scales (``handlers.scale``) are left out.
        """
        trace = self.trace(values)
        names = [site.name for site in self.sites.observed] + list(self.likelihood_factors)
        return {name: self._by_row(_log_prob(trace[name])) for name in names}

    def total_log_likelihood(self, values: Values) -> Array:
        """Return ℓ of all data, nℓ̄ of T6: summed over sites, with the scales that the model gives them."""
        trace = self.trace(values)
        names = [site.name for site in self.sites.observed] + list(self.likelihood_factors)
        return jnp.sum(jnp.stack([jnp.sum(_scaled(trace[name])) for name in names]))

    def log_prior(self, values: Values) -> dict[str, Array]:
        """Return the log density of each latent site and of each factor of the prior, summed to a scalar."""
        trace = self.trace(values)
        names = [*self.names, *(name for name in self.sites.factors if name not in self.likelihood_factors)]
        return {name: jnp.sum(_scaled(trace[name])) for name in names}

    def _observing(self) -> Model:
        """Return the model with whole plates and without its missing rows."""
        whole = WholePlates(self.network)
        missing = not self.observed.all() and self.sites.observation is not None
        return _Missing(whole, self.sites.observation, self.observed) if missing else whole

    def _by_row(self, values: Array) -> Array:
        """Return log probabilities with a row per input summed over their other axes."""
        if values.ndim > 1 and values.shape[0] == self.x.shape[0]:
            return values.sum(axis=tuple(range(1, values.ndim)))
        return values


class WholePlates(Messenger):
    """Run subsampled plates whole: every row once, in order, without a weight."""

    def process_message(self, msg: Any) -> None:
        """Give a plate all its indices before it draws some."""
        if msg["type"] == "plate" and msg["args"][1] is not None:
            size = msg["args"][0]
            msg["args"], msg["value"] = (size, size), jnp.arange(size)


class _Missing(Messenger):
    """Mask the rows of one observed site that have no observation."""

    def __init__(self, fn: Model, name: str | None, observed: np.ndarray) -> None:
        self.name, self.observed = name, observed
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Mask the site's distribution row by row."""
        if msg["type"] == "sample" and msg["name"] == self.name and msg["is_observed"]:
            batch = msg["fn"].batch_shape
            mask = jnp.asarray(self.observed).reshape(self.observed.shape + (1,) * (len(batch) - 1))
            msg["fn"] = msg["fn"].mask(jnp.broadcast_to(mask, batch))


def _log_prob(site: Mapping[str, Any]) -> Array:
    """Return the log density of a site's value, entry by entry."""
    return jnp.asarray(site["fn"].log_prob(site["value"]))


def _scaled(site: Mapping[str, Any]) -> Array:
    """Return the log density of a site with the scale that the model gives it."""
    return _log_prob(site) if site["scale"] is None else site["scale"] * _log_prob(site)


def _targets(y: Any) -> tuple[Array, np.ndarray]:
    """Return targets (n,) or (n, o) with missing rows filled, and which rows are there."""
    host = np.asarray(y)
    host = host[:, 0] if host.ndim == 2 and host.shape[1] == 1 else host
    observed = np.ones(host.shape[0], bool)
    if host.dtype.kind == "f":
        observed = ~np.isnan(host).reshape(host.shape[0], -1).any(axis=1)
    if not observed.any():
        raise ValueError(f"none of the {host.shape[0]} rows has an observation; at least one is needed")
    filled = host.copy()
    filled[~observed] = host[observed][0]  # inside the support, so that masked derivatives stay finite
    return jnp.asarray(filled), observed


def _as_observed(sites: ModelSites, targets: Array, observed: np.ndarray) -> Array:
    """Return targets in the type that the observation takes; refuse what it cannot be."""
    site = next(s for s in sites.observed if s.name == sites.observation)
    batch = site.distribution.batch_shape
    if not observed.all() and (not batch or batch[0] != observed.size):
        raise ValueError(
            f"site {site.name!r} has no row per input (batch shape {batch}), so missing rows cannot be left "
            "out; observe y in a plate, or drop those rows"
        )
    support = site.distribution.support
    if support is None or not support.is_discrete:
        return targets
    host = np.asarray(targets)
    off = host != np.round(host)
    if off.any():
        raise ValueError(
            f"site {site.name!r} takes whole numbers, but y has {host[off][0]:g}; "
            "check the target, or give it unstandardised (--no-standardise --detrend none)"
        )
    return jnp.asarray(host.astype(int))


def _refuse_discrete(sites: ModelSites) -> None:
    """Raise ValueError for the first discrete latent site."""
    for site in sites.latent:
        if site.discrete:
            raise ValueError(
                f"site {site.name!r} is discrete and latent, so it has no derivative; sum it out of the "
                "likelihood (for example with numpyro.distributions.MixtureSameFamily)"
            )


def _refuse_stochastic(model: Model, x: Array, y: Any, sites: ModelSites) -> None:
    """Raise ValueError for the first observed site that draws random numbers beside the latent sites."""

    def run(key: Array) -> Trace:
        return handlers.trace(handlers.seed(model, key)).get_trace(x, y)

    first = run(jax.random.key(0))
    given = {name: first[name]["value"] for name in sites.latent_names}
    second = handlers.trace(handlers.seed(handlers.substitute(model, data=given), jax.random.key(1)))
    again = second.get_trace(x, y)
    for site in sites.observed:
        leaves = (jax.tree.leaves(trace[site.name]["fn"]) for trace in (first, again))
        for one, other in zip(*leaves, strict=True):
            if is_prng_key(one):
                continue
            if not np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True):
                raise ValueError(
                    f"site {site.name!r} changes with the random key at fixed latent sites, so its "
                    "likelihood cannot be differentiated; make the noise a latent site (numpyro.sample)"
                )
