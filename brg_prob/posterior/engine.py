"""The protocol of engines and :func:`fit`, the one entry.

An engine turns a network and data into draws of the posterior at T observations,
π_T ∝ p(θ) exp(T ℓ̄(θ)), ℓ̄ the mean log-likelihood per observation (T6). Every engine
returns the same DataTree; what it knows beyond that (independence of draws, hidden
layers) stands in attributes, so that flow, correspondence and report need no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.network import Conditioned, LinearReadout
from brg_prob.network.identity import identity


@dataclass(frozen=True)
class Data:
    """Observations of a network's field.

    Attributes
    ----------
    x
        Inputs, (n, d).
    y
        Targets, (n, o); an entry that is NaN is missing, for engines that take any model.
    held_out
        Inputs and targets (h, d), (h, o) that are not conditioned on, or None.
    flat
        Whether the targets were given as (n,).
    """

    x: Array
    y: Array
    held_out: tuple[Array, Array] | None = None
    flat: bool = False

    @property
    def targets(self) -> Array:
        """Targets in the shape that they were given, (n,) or (n, o)."""
        return self.y[:, 0] if self.flat else self.y

    def conditioned(self, network: Any, likelihood_factors: tuple[str, ...] | None = None) -> Conditioned:
        """Return a model read at these data; one that was read at them is returned as it is."""
        return Conditioned.of(network, self.x, self.targets, likelihood_factors=likelihood_factors)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.y.shape[0]

    @property
    def all_inputs(self) -> Array:
        """Training inputs followed by held-out ones, (n + h, d)."""
        return self.x if self.held_out is None else jnp.concatenate([self.x, self.held_out[0]])


@runtime_checkable
class Engine(Protocol):
    """A way to draw from π_T; a small frozen dataclass whose fields are its options."""

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Return draws of π_T in the common schema."""


@runtime_checkable
class ModelEngine(Engine, Protocol):
    """An engine of any NumPyro model: its trees hold draws of all latent sites."""

    @property
    def any_model(self) -> bool:
        """True."""


@runtime_checkable
class Tempers(ModelEngine, Protocol):
    """An engine of any model that can draw at every T, one after the other."""

    def along(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        scales: Sequence[float],
        start: xr.DataTree | None = None,
    ) -> Iterator[xr.DataTree]:
        """Yield the tree of each T of ``scales``, in falling order, each started from the last."""


@runtime_checkable
class Chains(Protocol):
    """An engine that runs several chains."""

    def per_chain(self, draws: int) -> int:
        """Return the draws of each chain, or refuse a number that does not divide among them."""


class OneByOne:
    """Gives an engine whose ``fit`` takes ``start`` a way along scales: one fit after the other."""

    any_model: ClassVar[bool] = True
    fit: Callable[..., xr.DataTree]

    def along(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        scales: Sequence[float],
        start: xr.DataTree | None = None,
    ) -> Iterator[xr.DataTree]:
        """Yield the tree of each T of ``scales``, each started from the last."""
        for number, observations in enumerate(scales):
            own = jax.random.fold_in(key, number)
            start = self.fit(network, data, key=own, draws=draws, observations=observations, start=start)
            yield start


def default_engine(network: Any) -> Engine:
    """Return ``Exact()`` for a linear readout, ``NUTS()`` for any other model."""
    from brg_prob.posterior.exact import Exact
    from brg_prob.posterior.nuts import NUTS

    return Exact() if isinstance(network, LinearReadout) else NUTS()


def prepared(
    engine: Engine,
    network: Any,
    data: Data,
    *,
    finished: Callable[[Conditioned], Conditioned] = lambda read: read,
) -> Any:
    """Return what an engine fits: a model read at its data (and finished), or the network itself."""
    if not isinstance(engine, ModelEngine):
        return network
    return finished(data.conditioned(network, getattr(engine, "likelihood_factors", None)))


def as_data(x: Any, y: Any, held_out: Any = None, *, missing: bool = False) -> Data:
    """Return checked arrays: x (n, d), y (n, o), in the default float type.

    Parameters
    ----------
    missing
        Whether a NaN in y stands for an observation that is missing, as engines for any model take it.

    Raises
    ------
    ValueError
        Rows of x and y differ, or a value is not finite; names the offending count.
    """
    pair = None if held_out is None else _checked_pair(held_out[0], held_out[1], "held-out ", missing)
    inputs, targets = _checked_pair(x, y, "", missing)
    return Data(inputs, targets, pair, flat=np.ndim(y) == 1)


def _checked_pair(x: Any, y: Any, label: str, missing: bool) -> tuple[Array, Array]:
    """Return inputs (n, d) and targets (n, o), finite (or missing) and of one length."""
    x, y = jnp.asarray(x, dtype=float), jnp.asarray(y, dtype=float)
    x = x[:, None] if x.ndim == 1 else x
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2:
        raise ValueError(
            f"{label}x has shape {x.shape} and y {y.shape}; give x (n, d) and y (n,) or (n, outputs)"
        )
    for name, array in (("x", x), ("y", y)):
        host = np.asarray(array)
        fine = np.isfinite(host) | (np.isnan(host) & (missing and name == "y"))
        bad = int(np.sum(~fine.all(axis=1)))
        if bad:
            raise ValueError(f"{label}{name} has {bad} rows that are not finite; remove them first")
    if x.shape[0] == 0 or y.shape[0] == 0:
        raise ValueError(f"{label}y has no rows; give at least one observation")
    return x, y


def fit(
    network: Any,
    x: Any,
    y: Any,
    *,
    engine: Engine | None = None,
    key: Array,
    draws: int = 1000,
    observations: float | None = None,
    held_out: tuple[Any, Any] | None = None,
) -> xr.DataTree:
    """Draw from the posterior of a network given T observations.

    Parameters
    ----------
    network
        A NumPyro model ``network(x, y=None)`` with what the engine needs.
    x, y
        Inputs (n, d) and targets (n,) or (n, o). Engines for any model take a NaN in y as missing.
    engine
        Default ``Exact()`` for a linear readout, ``NUTS()`` for any other model.
    key
        From ``jax.random.key``; the same key gives the same draws, bit for bit.
    draws
        Draws in all.
    observations
        T: the weight of the data in observations, default n (the rows that have one); 0 is the prior.
    held_out
        Inputs and targets for predictive scores; never conditioned on.

    Returns
    -------
    DataTree
        Groups posterior (f, dual, member, noise where sampled), log_likelihood,
        log_prior, observed_data, constant_data and, with held_out, predictions,
        predictions_constant_data, predictions_data. Attributes: engine, observations,
        n, noise, independent, hidden_keys, and network, the digest of the network
        (:func:`brg_prob.network.identity.identity`).

    Raises
    ------
    TypeError
        The network lacks a capability that the engine needs.
    ValueError
        Shapes do not fit, values are not finite, T < 0 or draws < 1.

    Notes
    -----
    [BK] Berman, Klinger, arXiv:2212.11379: T = 0 is the infrared, T = n the ultraviolet.
    """
    engine = engine or default_engine(network)
    any_model = isinstance(engine, ModelEngine)
    data = as_data(x, y, held_out, missing=any_model)
    if draws < 1:
        raise ValueError(f"draws = {draws} is too few; ask for at least 1")
    fitted = prepared(engine, network, data)  # a model is read once, for the engine and for n
    total = fitted.n if any_model else data.n
    weight = float(total if observations is None else observations)
    if not weight >= 0:
        raise ValueError(
            f"observations = {observations} is negative; T runs from 0 (the prior) to n = {total}"
        )
    tree = engine.fit(fitted, data, key=key, draws=draws, observations=weight)
    tree.attrs["network"] = identity(fitted.network if any_model else fitted)
    return tree
