"""A NumPyro model with its data: what engines, the Fisher metric and the flow need to know of any model.

The one place where a model is read at its data and run at given values of its latent sites. Subsampled
plates are run whole; every entry of an observed value has a law of its own, however few the distribution
was given; missing entries count for nothing; ``numpyro.param`` statements are held; a ``numpyro.factor``
that changes with the target belongs to the likelihood, any other to the prior. What cannot be done is refused
here, by the name of the site.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro import handlers
from numpyro.distributions import Distribution

from brg_prob.network.handlers import HeldParams, Observing, Tempered, WholePlates, latent_alone
from brg_prob.network.labels import AxisNames
from brg_prob.network.reader import read_at, unobserved
from brg_prob.network.reading import Reading
from brg_prob.network.terms import log_prob, sample_of, scaled, summed_by_row
from brg_prob.network.trace import FIELD, Model, ModelSites, Trace

Values = Mapping[str, Any]
"""Site → value of one draw."""

__all__ = ["Conditioned", "Values", "WholePlates"]

_AGREE = 1e-6


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
        Targets as the model takes them, (n,) or (n, o); a missing entry holds another value of its
        column, which counts for nothing. None: nothing is observed.
    reading
        What was read of the model at these data.
    first
        Rows before this one are conditioned on and not shown (:meth:`at`).
    axis_names
        Names along axes of latent sites, where columns or levels name them (:mod:`brg_prob.network.columns`).
    """

    network: Model
    x: Array
    y: Array | None
    reading: Reading
    first: int = 0
    axis_names: AxisNames = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls, network: Any, x: Any, y: Any = None, *, likelihood_factors: tuple[str, ...] | None = None
    ) -> Conditioned:
        """Read a model at its data.

        Parameters
        ----------
        network
            Any NumPyro model ``network(x, y=None)``; one that was read at these data is returned as it is.
        x
            Inputs, (n, d).
        y
            Targets (n,) or (n, o); an entry that is NaN is missing. None: only the prior is of interest.
        likelihood_factors
            Factor statements to be tempered with the likelihood; None: those that change with y, or vanish
            without it.

        Raises
        ------
        ValueError
            One line naming the site: a discrete latent site, a likelihood that changes with the random
            key at fixed latent sites, a value that its distribution would broadcast or that lies outside
            its support, a missing entry on which another row depends, an unknown factor; a model that fails
            on its data or does not use y; or no row is observed.

        Examples
        --------
        >>> import numpyro, numpyro.distributions as dist
        >>> def coin(x, y=None):
        ...     logit = numpyro.sample("logit", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Bernoulli(logits=logit), obs=y)
        >>> data = Conditioned.of(coin, jnp.zeros((3, 1)), [1.0, 0.0, float("nan")])
        >>> pointwise = data.log_likelihood({"logit": 0.0})["y"]
        >>> data.n, [round(float(value), 3) for value in pointwise]
        (2, [-0.693, -0.693, 0.0])
        """
        x = jnp.asarray(x)
        if isinstance(network, Conditioned):
            if network.reads(x, y) and likelihood_factors in (None, network.likelihood_factors):
                return network
            network = network.network
        if y is None:
            return cls(network, x, None, unobserved(network, x, likelihood_factors))
        targets, reading = read_at(network, x, y, likelihood_factors)
        return cls(network, x, targets, reading, first=reading.leading)

    def reads(self, x: Any, y: Any) -> bool:
        """Return whether these are the data that the model was read at."""
        if (y is None) != (self.y is None) or np.shape(x) != self.x.shape or not np.array_equal(x, self.x):
            return False
        given = self._all_given
        other = np.asarray(y, float).reshape(given.shape) if np.size(y) == given.size else np.empty(0)
        return y is None or np.array_equal(other, given, equal_nan=True)

    @property
    def sites(self) -> ModelSites:
        """The model's sites."""
        return self.reading.sites

    @property
    def likelihood_factors(self) -> tuple[str, ...]:
        """Names of ``numpyro.factor`` statements that belong to the likelihood."""
        return self.reading.likelihood_factors

    @property
    def prior_factors(self) -> tuple[str, ...]:
        """Names of ``numpyro.factor`` statements that belong to the prior."""
        return tuple(name for name in self.sites.factors if name not in self.likelihood_factors)

    @property
    def observed(self) -> np.ndarray:
        """Which rows have an observation that counts, (n,), boolean."""
        return self.reading.observed

    @property
    def n(self) -> int:
        """Number of rows with an observation that counts."""
        return int(self.observed[self.first :].sum())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latent sites, parents before children."""
        return self.sites.latent_names

    @property
    def inputs(self) -> np.ndarray:
        """Inputs of the rows that are shown, (m, d)."""
        return np.asarray(self.x)[self.first :]

    @property
    def given(self) -> np.ndarray:
        """Targets of the rows that are shown as they were given, (m,) or (m, o): NaN where missing."""
        return self._all_given[self.first :]

    @property
    def _all_given(self) -> np.ndarray:
        """Targets of all rows as they were given."""
        y, missing = np.asarray(self.y), self.reading.missing
        return np.where(missing.reshape(y.shape), np.nan, y) if missing.any() else y

    @property
    def observed_values(self) -> dict[str, np.ndarray]:
        """Value of each observed site at the rows that are shown, NaN where missing."""
        values = self.reading.values.items()
        return {name: self._arranged(name, value) for name, value in values}

    def with_inputs(self, x: Array) -> Conditioned:
        """Return the same model at other values of the same rows' inputs, (n, d); they may be traced."""
        return dataclasses.replace(self, x=x)

    @property
    def whole(self) -> Model:
        """The model ``(x, y=None)`` as everything runs it: whole, parameters held, missing entries masked."""
        held = HeldParams(WholePlates(self.network), self.sites.params)
        return Observing(held, self.reading.taken)

    def at(self, x: Any, y: Any) -> Conditioned:
        """Return the same model at other rows, for predictions at draws of its latent sites.

        Where rows depend on earlier ones (a series), they are taken to follow the training rows.

        Raises
        ------
        ValueError
            A latent site has an entry per row; all rows are observed jointly; or a training row's term
            changes when the others are added (inputs standardised inside the model, rows between the others).
        """
        self._refuse_rows_of_their_own()
        x, y = np.asarray(x, dtype=self.x.dtype), np.asarray(y, float)
        ours = np.asarray(self._all_given, float).reshape(len(self.x), -1)
        both = Conditioned.of(
            self.network,
            np.concatenate([self.x, x.reshape(len(x), *self.x.shape[1:])]),
            self._shaped(np.concatenate([ours, y.reshape(len(y), -1)])),
            likelihood_factors=self.likelihood_factors,
        )
        both = dataclasses.replace(both, first=len(self.x))
        self._refuse_changed(both)
        if self.reading.mixed:
            return both
        alone = Conditioned.of(
            self.network, x, self._shaped(y.reshape(len(y), -1)), likelihood_factors=self.likelihood_factors
        )
        point = self.reading.point
        return alone if _agree(alone.terms_at(point), both.terms_at(point)) else both

    def _shaped(self, y: np.ndarray) -> np.ndarray:
        """Return targets (m, o) in the shape in which the model takes its own."""
        return y[:, 0] if self.y is not None and self.y.ndim == 1 else y

    def _refuse_rows_of_their_own(self) -> None:
        """Raise ValueError where draws say nothing of other rows."""
        for name in self.latent_by_row:
            shape = next(site.shape for site in self.sites.latent if site.name == name)
            raise ValueError(
                f"site {name!r} has shape {shape}, an entry per row, so draws say nothing of rows held out; "
                "hold no rows out (--held-out none)"
            )
        if not self.reading.by_row:
            raise ValueError(
                f"{self.reading.joint}, so no row can be held out; hold none out (--held-out none)"
            )

    def _refuse_changed(self, both: Conditioned) -> None:
        """Raise ValueError if the training rows' terms are not what they were without the others."""
        shapes = [{site.name: site.shape for site in c.sites.latent} for c in (self, both)]
        changed = [name for name, shape in shapes[0].items() if shapes[1].get(name) != shape]
        if changed:
            raise ValueError(
                f"site {changed[0]!r} has shape {shapes[0][changed[0]]} at the training rows but "
                f"{shapes[1].get(changed[0])} with those held out, so draws say nothing of these; hold no "
                "rows out (--held-out none)"
            )
        point, rows = self.reading.point, len(self.x)
        alone, with_others = (dataclasses.replace(c, first=0).terms_at(point) for c in (self, both))
        if not _agree(alone, {name: terms[:rows] for name, terms in with_others.items()}):
            raise ValueError(
                "the likelihood of the training rows changes when the held-out rows are added (inputs "
                "standardised inside the model, or rows that depend on later ones), so none can be held out; "
                "hold the last rows of a series out (--held-out block), or none (--held-out none)"
            )

    def terms_at(self, values: Values) -> dict[str, np.ndarray]:
        """Return the log-likelihood by row at one draw, as numbers."""
        found = jax.jit(self.log_likelihood)(dict(values))
        return {name: np.asarray(value) for name, value in found.items()}

    @cached_property
    def latent_by_row(self) -> tuple[str, ...]:
        """Latent sites whose size follows the number of rows: one entry per row, or several."""
        if self.y is None or self.x.shape[0] < 2:
            return ()
        shapes = {site.name: site.shape for site in self.sites.latent}
        fewer = _shapes(self.whole_at_any_rows, self.x[:-1], self.y[:-1])
        if fewer is None:  # it runs at these rows only, so an axis as long as they are is theirs
            n = self.x.shape[0]
            return tuple(name for name, shape in shapes.items() if n in shape)
        return tuple(name for name, shape in shapes.items() if fewer.get(name) != shape)

    @property
    def whole_at_any_rows(self) -> Model:
        """The model with whole plates and held parameters, nothing said of its rows."""
        return HeldParams(WholePlates(self.network), self.sites.params)

    def model(self) -> Callable[[], Any]:
        """Return the model without arguments, at the full weight of its data."""
        made = self.whole
        return lambda: made(self.x, self.y)

    def tempered(self, observations: ArrayLike) -> Callable[[], Any]:
        """Return the model without arguments at T of n observations (T6); T may be traced."""
        made = Tempered(
            self.whole,
            observations=observations,
            total=self.n,
            likelihood_factors=self.likelihood_factors,
        )
        run = made if self.y is not None else latent_alone(made, self.names)
        return lambda: run(self.x, self.y)

    def trace(self, values: Values) -> Trace:
        """Return NumPyro's trace of one run at given values of all latent sites."""
        call = handlers.substitute(self.whole, data={name: values[name] for name in self.names})
        return handlers.trace(handlers.seed(call, jax.random.key(0))).get_trace(self.x, self.y)

    def field(self, values: Values) -> Array:
        """Return the field: site "f", else the mean of what is observed by row; (m,) or (m, o)."""
        return self.field_of(self.trace(values))

    def mean(self, values: Values) -> Array:
        """Return the mean of what is observed by row, E[y|θ], whether or not there is a site "f"."""
        return self._shown(self.reading.layout.mean(self.trace(values), rows=self.x.shape[0]))

    def field_of(self, trace: Trace) -> Array:
        """Return the field of a trace; see :meth:`field`."""
        if self.sites.has_field:
            return self._shown(trace[FIELD]["value"])
        return self._shown(self.reading.layout.mean(trace, rows=self.x.shape[0]))

    def _shown(self, found: Array) -> Array:
        """Return the rows that are shown; where a series is conditioned on there are none."""
        return found[max(0, self.first - (self.x.shape[0] - found.shape[0])) :]

    def deterministic(self, values: Values) -> dict[str, Array]:
        """Return the values of the ``numpyro.deterministic`` sites beside the field."""
        trace = self.trace(values)
        return {name: trace[name]["value"] for name in self.sites.deterministic}

    def distributions(self, values: Values) -> dict[str, Distribution]:
        """Return the distribution of each observed site given its parents; missing entries are masked."""
        trace = self.trace(values)
        return {site.name: trace[site.name]["fn"] for site in self.sites.observed}

    def predictive(self, values: Values, key: Array) -> dict[str, Array]:
        """Return a draw of each observed site given its parents."""
        trace = self.trace(values)
        names = [site.name for site in self.sites.observed]
        draws = [sample_of(trace[name], jax.random.fold_in(key, at)) for at, name in enumerate(names)]
        return {name: self._arranged(name, draw) for name, draw in zip(names, draws, strict=True)}

    def _arranged[Values: (Array, np.ndarray)](self, name: str, value: Values) -> Values:
        """Return a value of a site by the rows that are shown, where each entry belongs to one."""
        places = self.reading.arranged.get(name)
        if places is None:
            return value[self.first :] if value.shape[:1] == self.x.shape[:1] else value
        shown = places[self.first :]
        taken = value.ravel()[np.maximum(shown, 0)]
        where = np.where if isinstance(value, np.ndarray) else jnp.where  # the host's stay there
        return taken if np.all(shown >= 0) else where(shown >= 0, taken, np.nan)

    def log_likelihood(self, values: Values) -> dict[str, Array]:
        """Return log p(y_i|θ) of each observed site (and factor of the likelihood).

        Returns
        -------
        dict
            (m,) where each term belongs to one row, the terms of a row summed (given the rows it depends
            on); else of the site's batch shape. Missing and masked entries are 0; scales
            (``handlers.scale``) are left out.
        """
        trace = self.trace(values)
        names = [site.name for site in self.sites.observed] + list(self.likelihood_factors)
        return {name: self._by_row(name, log_prob(trace[name])) for name in names}

    def total_log_likelihood(self, values: Values) -> Array:
        """Return ℓ of all data, nℓ̄ of T6: summed over sites, with the scales that the model gives them."""
        trace = self.trace(values)
        names = [site.name for site in self.sites.observed] + list(self.likelihood_factors)
        return jnp.sum(jnp.stack([jnp.sum(scaled(trace[name])) for name in names]))

    def log_prior(self, values: Values) -> dict[str, Array]:
        """Return the log density of each latent site and of each factor of the prior, summed to a scalar."""
        trace = self.trace(values)
        return {name: jnp.sum(scaled(trace[name])) for name in (*self.names, *self.prior_factors)}

    def _by_row(self, name: str, values: Array) -> Array:
        """Return the terms of a site summed by row, where each belongs to one; else as they are."""
        rows = self.reading.term_rows.get(name)
        return values if rows is None else summed_by_row(values, rows, n=self.x.shape[0])[self.first :]


def _agree(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Return whether log-likelihoods by row are the same to round-off (and the tolerance of a solver)."""
    return all(
        one[name].shape == other[name].shape
        and np.allclose(one[name], other[name], rtol=_AGREE, atol=_AGREE, equal_nan=True)
        for name in one
    )


def _shapes(model: Model, x: Array, y: Array) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of the latent sites at other rows, nothing computed; None if the model fails."""

    def values(key: Array) -> dict[str, Array]:
        trace = handlers.trace(handlers.seed(model, key)).get_trace(x, y)
        return {
            name: site["value"]
            for name, site in trace.items()
            if site["type"] == "sample" and not site["is_observed"]
        }

    try:
        found = jax.eval_shape(values, jax.random.key(0))
    except Exception:  # the model's own code may raise anything at rows it was not written for
        return None
    return {name: tuple(leaf.shape) for name, leaf in found.items()}
