"""The engine ``ensemble``: networks actually trained, by stochastic gradient descent or Adam (T11).

Every draw is one network: hidden layers and readout start from draws of the prior, then take the
steps of :mod:`brg_prob.posterior.descent_steps` on the raw weights, as practitioners do. With its hidden
layers frozen that is the random-feature ensemble whose limit is gradient flow; with all of them
trained it is the deep ensemble of [Lee], and its readout metric moves with training.

Sources: Lee et al., arXiv:1902.06720; Howard et al., arXiv:2405.17538.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpyro import distributions as dist

from brg_prob.network import LinearReadout, Network, require
from brg_prob.network.trace import run_trace
from brg_prob.posterior.descent_steps import OPTIMISERS, Batches, recorded_epochs
from brg_prob.posterior.engine import Data
from brg_prob.posterior.network_training import Trained, Training, stable_rate, train_members
from brg_prob.posterior.readout_members import check_trainable, member_keys
from brg_prob.posterior.schema import PREDICTIVE, TRAINED, posterior_tree, trained_tree
from brg_prob.results import Attribute, key_to_json, with_groups

_NAME = "Ensemble()"

_SAFETY = 0.1
"""Default learning rate of gradient descent over the largest at which no step expands the error."""

_ADAM = 1e-3
"""Default learning rate of Adam: its authors' (arXiv:1412.6980)."""

_DIVERGED = 1e3
"""A network whose loss grew by this factor was not trained."""


@dataclass(frozen=True)
class Ensemble:
    """Networks trained step by step, one per draw.

    Attributes
    ----------
    members
        Number of draws of the hidden layers, shared out evenly; by default every network has its own,
        and with ``layers="all"`` it can be nothing else.
    optimiser
        ``sgd``, plain gradient descent, or ``adam``.
    learning_rate
        η, for a batch loss that is the mean of (f − y)² over samples; by default a tenth of the largest
        stable one for ``sgd``, 0.001 for ``adam``.
    epochs
        Passes E through the data.
    batch_size
        Samples B per step; by default all of them.
    layers
        ``readout`` freezes the hidden layers, ``all`` trains them too.
    shuffle
        Deal the samples in a new random order at every epoch; else as the data stand.

    Raises
    ------
    ValueError
        An option out of range.

    Notes
    -----
    T11. The loss is summed over outputs. ``batch_size=1, shuffle=False`` is the published setting
    w ← w − 2η(f − y)φ, step by step (:class:`brg_prob.posterior.SgdExact` without steps). Small steps are
    gradient flow on ½Σ(f − y)² for the time t = 2ηE/B (:class:`brg_prob.posterior.GradientFlow`). The
    starting points are those that these engines have under the same key, hidden layers included.
    The largest stable η is n/‖Θ‖ for full batches and 1/max_i ‖Θ_ii‖ for smaller ones, Θ the kernel ΦΦᵀ of
    the readout, or the tangent kernel of all layers, of the first network before training.

    The draws are trained networks, not draws of π_T; T (default n) is nominal: the number of
    observations at which a flow of them is said to start. Flow and Fisher metric refer to the readout at
    each network's trained hidden layers. T6 is not their law: no KL to the prior, no theory at a scale.

    The group ``trained`` of the tree holds raw readouts (chain, draw, parameter[, output]) and, with
    ``layers="all"``, the hidden sites (member, ...); ``training`` the loss (chain, draw, epoch) at up to
    65 epochs.

    Examples
    --------
    >>> Ensemble(optimiser="adam", learning_rate=0.0)
    Traceback (most recent call last):
    ValueError: learning_rate = 0.0 must be positive and finite, for example 0.001
    """

    members: int | None = None
    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: float | None = None
    epochs: int = 1000
    batch_size: int | None = None
    layers: Literal["readout", "all"] = "readout"
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, known in (("optimiser", tuple(OPTIMISERS)), ("layers", ("readout", "all"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is unknown; use {' or '.join(known)}")
        for name in ("members", "epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and not (value >= 1 and value == int(value)):
                raise ValueError(f"{name} = {value} is too few; use a whole number, at least 1")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate = {self.learning_rate} must be positive and finite, for example 0.001"
            )

    def fit(self, network: Any, data: Data, *, key: Array, draws: int, observations: float) -> xr.DataTree:
        """Train ``draws`` networks on all n observations; see :func:`brg_prob.fit`.

        Raises
        ------
        ValueError
            A batch larger than the data, hidden sites confined to a range, or training that diverges.
        """
        network = require(network, LinearReadout, _NAME)
        check_trainable(network, _NAME, observations, fixed=True)
        _check_rows(network, data)
        if self.layers == "all":
            _check_real(network, data.x)
        members = self._shared(network, draws)
        how = Training(self.optimiser, self.layers == "all", self._batches(data.n), draws // members)
        keys = member_keys(key, members)

        def limit(draw: int) -> float:
            member, number = divmod(draw, how.each)
            return stable_rate(network, how, data.x, (keys[0][member], keys[1][member]), number)

        rate, recorded = self._rate(limit), recorded_epochs(self.epochs)
        typed = jnp.asarray(rate, data.y.dtype)
        found = train_members(network, how, data.all_inputs, data.y, keys, typed, jnp.asarray(recorded))
        self._check_trained(np.asarray(found.loss).reshape(draws, -1), recorded, rate, limit)
        attrs: dict[str, Attribute] = {
            "observations": observations,
            "learning_rate": rate,
            "hidden_keys": key_to_json(keys[0]),
            "draw_keys": key_to_json(keys[1]),
            "draws_per_member": how.each,
        }
        return self._tree(network, data, found, recorded, attrs, jax.random.fold_in(key, PREDICTIVE))

    def _tree(
        self,
        network: LinearReadout,
        data: Data,
        found: Trained,
        recorded: np.ndarray,
        attrs: dict[str, Attribute],
        predictive: Array,
    ) -> xr.DataTree:
        """Return the common tree with the groups ``trained`` and ``training``."""
        members, each = found.log_prior.shape

        def drawn(leaf: Array | np.ndarray) -> Any:
            return np.asarray(leaf).reshape(1, members * each, *leaf.shape[2:])

        member = np.repeat(np.arange(members, dtype=jnp.result_type(int)), each).reshape(members, each)

        tree = posterior_tree(
            data,
            field=drawn(found.field),
            noise=np.full((1, members * each), float(network.noise), found.field.dtype),
            member=drawn(member),
            log_prior=drawn(found.log_prior),
            sampled_noise=False,
            predictive=predictive,
            attrs={
                "engine": "ensemble",
                "no_leave_one_out": TRAINED,
                "no_posterior": TRAINED,
                "n": data.n,
                "noise": float(network.noise),
                "independent": 1,
                "optimiser": self.optimiser,
                "epochs": self.epochs,
                "batch_size": data.n if self.batch_size is None else self.batch_size,
                "layers": self.layers,
                **attrs,
            },
        )
        trained = trained_tree(
            readout=drawn(found.readout), hidden=found.hidden, loss=drawn(found.loss), epochs=recorded
        )
        return with_groups(tree, trained)

    def _shared(self, network: LinearReadout, draws: int) -> int:
        """Return the number of draws of the hidden layers."""
        if self.layers == "all" and self.members not in (None, draws):
            raise ValueError(
                f"members = {self.members}: with layers='all' each of the draws = {draws} networks trains "
                "hidden layers of its own; leave members out"
            )
        if self.members is None:
            return draws if self.layers == "all" or _hidden_shapes(network) else 1
        if draws % self.members:
            raise ValueError(
                f"draws = {draws} cannot be shared among members = {self.members}; use a multiple"
            )
        return self.members

    def _batches(self, n: int) -> Batches:
        """Return how n samples are dealt out."""
        size = n if self.batch_size is None else self.batch_size
        if size > n:
            raise ValueError(f"batch_size = {size} exceeds the {n} training samples; use at most {n}")
        return Batches(n, size, self.shuffle and size < n)

    def _rate(self, limit: Callable[[int], float]) -> float:
        """Return the learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _SAFETY * limit(0) if self.optimiser == "sgd" else _ADAM

    def _check_trained(
        self, loss: np.ndarray, recorded: np.ndarray, rate: float, limit: Callable[[int], float]
    ) -> None:
        """Raise ValueError if a network's loss, (draws, R), is not finite or grew beyond bounds."""
        bad = ~np.isfinite(loss)
        bad[:, -1] |= ~(loss[:, -1] <= _DIVERGED * loss[:, 0])
        if not bad.any():
            return
        draw = int(np.flatnonzero(bad.any(axis=1))[0])
        at = int(np.flatnonzero(bad[draw])[0])
        remedy = f"lower it, for example to {rate / 10:.2g}"
        if self.optimiser == "sgd":
            remedy = f"at its start no step expands the error up to {limit(draw):.2g}"
        raise ValueError(
            f"learning_rate = {rate:g} is too large: network {draw} of {len(loss)} diverged by epoch "
            f"{recorded[at]} (loss {loss[draw, 0]:.3g}, then {loss[draw, at]:.3g}); {remedy}"
        )


def _hidden_shapes(network: LinearReadout) -> Any:
    """Return names and shapes of the hidden sites."""
    return jax.eval_shape(network.sample_hidden, jax.random.key(0))


def _check_rows(network: LinearReadout, data: Data) -> None:
    """Raise ValueError unless the network has one value of its field per target."""
    hidden = _hidden_shapes(network)
    rows = jax.eval_shape(network.features, data.x, hidden).shape[0]
    if rows != data.n or data.x.shape[0] != data.n:
        raise ValueError(f"x has {rows} rows and y {data.n}; give one target per input")
    outputs = jax.eval_shape(network.readout_prior, hidden).mean.shape[1]
    if data.y.shape[1] != outputs:
        raise ValueError(
            f"y has {data.y.shape[1]} column(s) and the network {outputs} output(s); give as many of each"
        )


def _check_real(network: LinearReadout, x: Array) -> None:
    """Raise ValueError if a hidden site cannot take every real value."""
    hidden = _hidden_shapes(network)
    if not (hidden and isinstance(network, Network)):
        return
    trace = run_trace(network, x[:2], key=jax.random.key(0))
    bounded = [name for name in hidden if name in trace and not _real(trace[name]["fn"].support)]
    if bounded:
        raise ValueError(
            f"layers='all' takes steps on real numbers, but {', '.join(bounded)} of "
            f"{type(network).__name__} is confined to a range; use layers='readout'"
        )


def _real(support: Any) -> bool:
    """Return whether a constraint admits all real numbers."""
    while hasattr(support, "base_constraint"):  # arrays of independent entries
        support = support.base_constraint
    return support is dist.constraints.real


__all__ = ["Ensemble"]
