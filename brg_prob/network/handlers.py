"""Handlers through which every model is run: plates whole, parameters held, observations as they were read.

NumPyro's messengers see a site from the inside out; these stand directly around the model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.distributions import Distribution, ExpandedDistribution, Independent, MaskedDistribution
from numpyro.primitives import Messenger

from brg_prob.network.trace import Model, is_factor


class WholePlates(Messenger):
    """Run subsampled plates whole: every row once, in order, without a weight."""

    def process_message(self, msg: Any) -> None:
        """Give a plate all its indices before it draws some."""
        if msg["type"] == "plate" and msg["args"][1] is not None:
            size = msg["args"][0]
            with jax.ensure_compile_time_eval():  # numbers, so that they are an index of numpy arrays, too
                msg["args"], msg["value"] = (size, size), jnp.arange(size)


def latent_alone(fn: Model, latent: Collection[str]) -> Model:
    """Return a model that is run without targets, its latent sites alone: what it would observe is hidden.

    No latent site's law depends on what is not observed, so a fixed draw of it will do.
    """

    def unseen(site: Any) -> bool:
        return site["type"] == "sample" and not site["is_observed"] and site["name"] not in latent

    def drawn(site: Any) -> Any:
        return site["fn"].sample(jax.random.key(0)) if unseen(site) else None

    return handlers.block(handlers.substitute(fn, substitute_fn=drawn), hide_fn=unseen)


class HeldParams(Messenger):
    """Hold ``numpyro.param`` statements at given values, for every engine alike.

    A parameter to be optimised is no part of a posterior. The statement is not shown to what stands
    outside, so that NumPyro's SVI does not optimise it either.
    """

    def __init__(self, fn: Model | None, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Set the value of a parameter."""
        if msg["type"] == "param" and msg["name"] in self.values:
            msg["value"], msg["stop"] = self.values[msg["name"]], True


@dataclass(frozen=True, eq=False)
class AsObserved:
    """How the value of an observed site is taken.

    Attributes
    ----------
    batch
        Batch shape that its distribution is expanded to: one entry per entry of the value.
    whole
        Whether its value is made an integer.
    present
        Which entries of the value are there, of its shape; None: all.
    """

    batch: tuple[int, ...]
    whole: bool
    present: np.ndarray | None = None


class Observing(Messenger):
    """Take observed sites as they were read: a law for each entry of the value, missing entries masked."""

    def __init__(self, fn: Model | None, taken: Mapping[str, AsObserved]) -> None:
        self.taken = dict(taken)
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Expand and mask an observed site's distribution."""
        if msg["type"] != "sample" or not msg["is_observed"] or msg["name"] not in self.taken:
            return
        taken = self.taken[msg["name"]]
        msg["as_written"] = msg["fn"]
        if taken.whole:
            msg["value"] = jnp.asarray(msg["value"]).astype(int)
        if msg["fn"].batch_shape != taken.batch:
            msg["fn"] = msg["fn"].expand(taken.batch)
        if taken.present is not None:
            msg["fn"] = masked(msg["fn"], taken.present)

    def postprocess_message(self, msg: Any) -> None:
        """Mark the sites of a scan, which come by once more, stacked."""
        if msg["type"] == "control_flow" and isinstance(msg["value"][1], tuple):
            for site in getattr(msg["value"][1][0], "trace", {}).values():
                site["scanned"] = True


def masked(distribution: Distribution, present: np.ndarray) -> Distribution:
    """Return a distribution of which only the entries that are present count.

    Parameters
    ----------
    distribution
        Any; dimensions that are declared independent are masked entry by entry.
    present
        Boolean, batch and event shape. An event of dependent entries counts if all of them are there.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> pair = dist.Normal(jnp.zeros((1, 2)), 1.0).to_event(1)
    >>> half = masked(pair, np.array([[True, False]]))
    >>> round(float(half.log_prob(jnp.zeros((1, 2)))[0]), 3)
    -0.919
    """
    if isinstance(distribution, MaskedDistribution):
        inner = masked(distribution.base_dist, present)
        return inner.mask(distribution._mask)
    if isinstance(distribution, ExpandedDistribution) and isinstance(distribution.base_dist, Independent):
        inner, declared = distribution.base_dist.base_dist, distribution.base_dist.reinterpreted_batch_ndims
        within = inner.batch_shape[len(inner.batch_shape) - declared :]
        distribution = inner.expand(distribution.batch_shape + within).to_event(declared)
    if isinstance(distribution, Independent):
        declared = distribution.reinterpreted_batch_ndims
        return masked(distribution.base_dist, present).to_event(declared)
    axes = tuple(range(present.ndim - distribution.event_dim, present.ndim))
    return distribution.mask(jnp.asarray(present.all(axis=axes)))


def terms_present(distribution: Distribution, present: np.ndarray) -> np.ndarray:
    """Return which terms count when these entries of the value are there: see :func:`masked`."""
    event, declared = distribution.event_dim, _declared(distribution)
    joint = tuple(range(present.ndim - (event - declared), present.ndim))
    separate = tuple(range(present.ndim - event, present.ndim - (event - declared)))
    return present.all(axis=joint).any(axis=separate)


def is_separable(distribution: Distribution) -> bool:
    """Return whether an event is declared independent throughout, so that entries count one by one."""
    return _declared(distribution) == distribution.event_dim


def _declared(distribution: Distribution) -> int:
    """Return how many dimensions of an event are declared: independent entries of the base."""
    declared = 0
    while isinstance(distribution, ExpandedDistribution | Independent | MaskedDistribution):
        if isinstance(distribution, Independent):
            declared += int(distribution.reinterpreted_batch_ndims)
        distribution = distribution.base_dist
    return declared


def counted(distribution: Distribution) -> np.ndarray:
    """Return which terms of a distribution its masks let count, of its batch shape."""
    if isinstance(distribution, MaskedDistribution):
        own = np.broadcast_to(np.asarray(distribution._mask), distribution.batch_shape)
        return own & counted(distribution.base_dist)
    if isinstance(distribution, ExpandedDistribution):
        return np.broadcast_to(counted(distribution.base_dist), distribution.batch_shape)
    if isinstance(distribution, Independent):
        inner = counted(distribution.base_dist)
        return inner.any(axis=tuple(range(len(distribution.batch_shape), inner.ndim)))
    return np.ones(distribution.batch_shape, bool)


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
