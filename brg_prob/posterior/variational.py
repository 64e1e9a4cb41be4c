"""The engine ``svi``: a guide of NumPyro's fitted to π_T by stochastic gradients, and how far to trust it.

A fit that has not converged, or whose family is too narrow, looks like any other in its draws. Two
numbers tell: how far the evidence bound rose over the last quarter of the steps, by the same random
numbers at both ends, and the Pareto k of the importance ratios p/q, above 0.7 where draws of the
guide cannot stand for the posterior.

Sources: Yao et al., arXiv:1802.02538; Vehtari et al., arXiv:1507.02646.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from arviz_stats.base import array_stats
from jax import Array
from numpyro import handlers
from numpyro.infer import SVI as NumpyroSVI
from numpyro.infer import Trace_ELBO, autoguide, init_to_uniform, init_to_value
from numpyro.infer.util import log_density
from numpyro.optim import optax_to_numpyro
from scipy import stats

from brg_prob.network import Conditioned
from brg_prob.options import nearest
from brg_prob.posterior.engine import Data, OneByOne
from brg_prob.posterior.model_tree import held_out_data, model_tree, site_values
from brg_prob.results import Attribute, build_tree, key_to_json, with_groups

Guide = Literal["normal", "multivariate", "low_rank", "iaf"]
Optimiser = Literal["adam", "adamw", "sgd", "rmsprop", "adabelief"]

PARETO_K = 0.7
"""Pareto k above which importance ratios have no usable mean, so that the guide is not to be trusted."""

_GUIDES: dict[str, Any] = {
    "normal": autoguide.AutoNormal,
    "multivariate": autoguide.AutoMultivariateNormal,
    "low_rank": autoguide.AutoLowRankMultivariateNormal,
    "iaf": autoguide.AutoIAFNormal,
}
_RATIOS = 1000  # at least so many importance ratios, however few draws are asked for
_RECORDED = 1000  # at most so many losses are stored
_GAIN = 0.1
"""Nats over the last quarter of the steps: a smaller change of the bound is no matter."""


@dataclass(frozen=True)
class SVI(OneByOne):
    """Stochastic variational inference with a guide of NumPyro's.

    Attributes
    ----------
    guide
        Family: ``normal`` (independent entries), ``multivariate`` (all covariances, D² parameters),
        ``low_rank`` (a diagonal and ``rank`` directions), or ``iaf`` (inverse autoregressive flows).
    optimiser
        One of optax.
    learning_rate
        Constant step size.
    steps
        Gradient steps, rounded up to a multiple of four.
    particles
        Draws of the guide per step.
    rank
        Directions of ``low_rank``, by default √D.
    flows
        Number of flows of ``iaf``, by default 3.
    clip
        Largest norm of a gradient; none by default.
    stable_update
        Skip steps whose loss is not finite.
    likelihood_factors
        ``numpyro.factor`` statements that belong to the likelihood; by default those that change with y.

    Raises
    ------
    ValueError
        An option out of range.

    Notes
    -----
    Attributes of the tree: ``elbo``, the evidence bound (at T of n observations), by at least 1000 draws of
    the guide; ``elbo_gain`` and ``elbo_gain_error``, its rise in nats over the last quarter of the steps and
    the standard error of that; ``converged``, 0 where it moved by more than 0.1 nats, at the 99 % level;
    ``pareto_k`` of the ratios p/q of the same draws; ``trusted``, 1 where it converged and k ≤ 0.7;
    ``status``, a sentence. Group ``training``: ``loss`` (step), at most 1000 of them, one draw each.

    Examples
    --------
    >>> SVI(guide="multivariat")
    Traceback (most recent call last):
    ValueError: guide = 'multivariat' is unknown; use normal, multivariate, low_rank or iaf; did you
    mean 'multivariate'?
    """

    guide: Literal["normal", "multivariate", "low_rank", "iaf"] = "normal"
    optimiser: Literal["adam", "adamw", "sgd", "rmsprop", "adabelief"] = "adam"
    learning_rate: float = 0.01
    steps: int = 5000
    particles: int = 1
    rank: int | None = None
    flows: int | None = None
    clip: float | None = None
    stable_update: bool = False
    likelihood_factors: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, known in (("guide", get_args(Guide)), ("optimiser", get_args(Optimiser))):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} = {value!r} is unknown; use {', '.join(known[:-1])} or {known[-1]}"
                    f"{nearest(str(value), known)}"
                )
        for name in ("steps", "particles", "rank", "flows"):
            value = getattr(self, name)
            if value is not None and not (value >= 1 and value == int(value)):
                raise ValueError(f"{name} = {value} is too few; use a whole number, at least 1")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} = {value} must be positive and finite, for example 0.01")
        for name, guides in (("rank", ("low_rank",)), ("flows", ("iaf",))):
            if getattr(self, name) is not None and self.guide not in guides:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is for guide {' or '.join(guides)}, not {self.guide}"
                )

    def fit(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        observations: float,
        start: xr.DataTree | None = None,
    ) -> xr.DataTree:
        """Return independent draws of the guide fitted to π_T; see :func:`brg_prob.fit`.

        Raises
        ------
        ValueError
            No finite loss, a flow over a single number, or no valid starting point.
        """
        conditioned = data.conditioned(network, self.likelihood_factors)
        model = conditioned.tempered(observations)
        guide = self._guide(conditioned, model, start)
        train_key, draw_key = jax.random.split(key)
        svi = NumpyroSVI(model, guide, self._optimiser(), Trace_ELBO(num_particles=self.particles))
        before, after, losses = self._train(svi, train_key)
        keys = jax.random.split(draw_key, max(draws, _RATIOS))
        at = _importance(model, guide)
        (_, old), (values, ratios) = at(before, keys), at(after, keys)
        attrs = judged(np.asarray(old, float), np.asarray(ratios, float))
        attrs |= {
            "engine": "svi",
            "observations": observations,
            "independent": 1,
            "key": key_to_json(key),
            "guide": self.guide,
            "optimiser": self.optimiser,
            "learning_rate": self.learning_rate,
            "steps": self.steps,
        }
        own = {name: np.asarray(values[name])[None, :draws] for name in conditioned.names}
        tree = model_tree(conditioned, own, held_out=held_out_data(conditioned, data), attrs=attrs)
        return with_groups(tree, _training(losses))

    def _guide(
        self, conditioned: Conditioned, model: Callable[[], Any], start: xr.DataTree | None
    ) -> autoguide.AutoGuide:
        """Return NumPyro's guide, around a draw of another fit where there is one."""
        if self.guide == "iaf" and conditioned.sites.parameters == 1:
            raise ValueError(
                "guide = 'iaf' needs two numbers or more, the model has one; use guide = 'normal'"
            )
        options: dict[str, Any] = {"init_loc_fn": init_to_uniform}
        if start is not None:
            options["init_loc_fn"] = init_to_value(values=_medoid(site_values(start)))
        if self.rank is not None:
            options["rank"] = self.rank
        if self.flows is not None:
            options["num_flows"] = self.flows
        return _GUIDES[self.guide](model, **options)

    def _optimiser(self) -> Any:
        """Return the optimiser as NumPyro takes it."""
        made = getattr(optax, self.optimiser)(self.learning_rate)
        return optax_to_numpyro(
            made if self.clip is None else optax.chain(optax.clip_by_global_norm(self.clip), made)
        )

    def _train(self, svi: NumpyroSVI, key: Array) -> tuple[Any, Any, np.ndarray]:
        """Return the guide's parameters after three quarters of the steps and after all, and the losses."""
        try:
            state = svi.init(key)
        except RuntimeError as reason:
            raise ValueError(f"SVI() cannot start: {str(reason).splitlines()[0]}") from None
        update = svi.stable_update if self.stable_update else svi.update

        def quarter(state: Any, _: None) -> Any:
            state, losses = jax.lax.scan(lambda s, _: update(s), state, length=-(-self.steps // 4))
            return state, (svi.get_params(state), losses)

        path, losses = jax.jit(lambda s: jax.lax.scan(quarter, s, length=4)[1])(state)
        curve = np.asarray(losses, float).ravel()
        bad = ~np.isfinite(curve)
        if bad.all() or (bad.any() and not self.stable_update):
            raise ValueError(
                f"SVI() has no finite loss at step {int(np.argmax(bad))} of {self.steps}; lower "
                f"learning_rate = {self.learning_rate}, or set clip or stable_update"
            )
        return jax.tree.map(lambda leaf: leaf[2], path), jax.tree.map(lambda leaf: leaf[3], path), curve


def judged(before: np.ndarray, after: np.ndarray) -> dict[str, Attribute]:
    """Return what importance ratios say of a fit.

    Parameters
    ----------
    before, after
        log p − log q at draws of the guide from the same random numbers, (S,): after three quarters of
        the steps, and at the end. Their means are the evidence bound.
    """
    change = after - before
    gain, error = float(np.mean(change)), float(np.std(change, ddof=1) / math.sqrt(change.size))
    converged = abs(gain) - stats.norm.ppf(0.99) * error <= _GAIN  # False where not finite
    k = math.inf
    if np.isfinite(after).all():
        # psislw takes log-likelihoods, whose negatives are the log ratios of leave-one-out
        k = float(array_stats.psislw(-after)[1]) if np.ptp(after) > 1e-9 else -math.inf  # q = p
    good = k <= PARETO_K
    said = (
        f"{'converged' if converged else 'NOT converged'}: the bound rose by {gain:.2g} ± {error:.2g} nats "
        f"over the last quarter of the steps; Pareto k {k:.2f}"
        f"{'' if good else f' is above {PARETO_K}: the guide does not cover the posterior, use NUTS()'}"
    )
    return {
        "elbo": float(np.mean(after)),
        "elbo_gain": gain,
        "elbo_gain_error": error,
        "converged": int(converged),
        "pareto_k": k,
        "trusted": int(converged and good),
        "status": said,
    }


def _importance(model: Callable[[], Any], guide: Callable[..., Any]) -> Callable[..., Any]:
    """Return the compiled (parameters of the guide, keys (S,)) → its draws, log p − log q of each, (S,)."""

    def one(params: Mapping[str, Any], key: Array) -> tuple[dict[str, Array], Array]:
        log_q, trace = log_density(handlers.seed(guide, key), (), {}, params)
        values = {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}
        log_p, _ = log_density(model, (), {}, values)
        return values, log_p - log_q

    # one by one, as in training: under vmap random numbers take twice as long to compile
    return jax.jit(lambda params, keys: jax.lax.map(lambda key: one(params, key), keys))


def _training(losses: np.ndarray) -> xr.DataTree:
    """Return the group ``training``: losses at evenly spaced steps."""
    every = -(-losses.size // _RECORDED)
    steps = np.arange(losses.size)[::-1][::every][::-1]  # the last one is among them
    return build_tree({"training": {"loss": losses[steps]}}, dims={"loss": ["step"]}, coords={"step": steps})


def _medoid(values: Mapping[str, np.ndarray]) -> dict[str, Array]:
    """Return the draw nearest to the mean in units of standard deviations: a mean may leave the support."""
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
    table = np.concatenate([value.reshape(value.shape[0], -1) for value in flat.values()], axis=1)
    spread = np.where(table.std(axis=0) > 0, table.std(axis=0), 1.0)
    nearest_draw = int(np.argmin(np.sum(((table - table.mean(axis=0)) / spread) ** 2, axis=1)))
    return {name: jnp.asarray(value[nearest_draw]) for name, value in flat.items()}
