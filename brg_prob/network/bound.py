"""A network whose further arguments are columns of a table, as a network of its inputs alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from jax import Array

from brg_prob.network.protocols import Hidden, LinearReadout
from brg_prob.network.readout import ReadoutPrior

_RESERVED = ("x", "y")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def column_arguments(
    model: Callable[..., Any], columns: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arguments of a model beyond x and y that are columns, and the required ones that are not.

    Parameters
    ----------
    model
        ``model(x, y=None, **columns)``, or a class whose instances are called so.
    columns
        Names at hand.
    """
    call = model.__call__ if isinstance(model, type) else model
    named = [p for p in inspect.signature(call).parameters.values() if p.kind in _NAMED]
    named = [p for p in named if p.name not in (*_RESERVED, "self")]
    missing = [p.name for p in named if p.default is p.empty and p.name not in columns]
    return tuple(p.name for p in named if p.name in columns), tuple(missing)


def bound(network: Any, names: Sequence[str]) -> Any:
    """Return a network that reads its arguments ``names`` off the last columns of x.

    Parameters
    ----------
    network
        A model ``network(x, y=None, **columns)``; a LinearReadout's ``features(x, hidden)`` takes the
        same arguments. Capabilities that depend on the inputs alone (Covariance, FreeField) are
        lost: nothing says what they are at given columns.
    names
        The arguments, in the order of the columns; none leaves the network as it is.

    Examples
    --------
    >>> def model(x, y=None, weight=None):
    ...     return x[:, 0] * weight
    >>> import numpy as np
    >>> bound(model, ["weight"])(np.array([[1.0, 10.0], [2.0, 20.0]])).tolist()
    [10.0, 40.0]
    """
    if not names:
        return network
    kind = BoundReadout if isinstance(network, LinearReadout) else Bound
    return kind(network, tuple(names))


@dataclass(frozen=True)
class Bound:
    """A model of x alone, whose last columns are the arguments ``names`` of ``network``."""

    network: Any
    names: tuple[str, ...]

    @property
    def __name__(self) -> str:
        """Name of the network, for messages."""
        name = getattr(self.network, "__name__", type(self.network).__name__)
        return f"{name} with {', '.join(self.names)} from the table"

    def _split(self, x: Any) -> tuple[Any, dict[str, Any]]:
        """Return the network's own inputs and its further arguments."""
        own = x.shape[1] - len(self.names)
        return x[:, :own], {name: x[:, own + at] for at, name in enumerate(self.names)}

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Run the model."""
        own, columns = self._split(x)
        return self.network(own, y, **columns)


@dataclass(frozen=True)
class BoundReadout(Bound):
    """The same with a linear readout."""

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.network.outputs)

    @property
    def noise(self) -> float:
        """σ of an observation."""
        return float(self.network.noise)

    @property
    def noise_spread(self) -> float:
        """Standard deviation of log σ."""
        return float(self.network.noise_spread)

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Draw the hidden sites."""
        hidden: dict[str, Array] = self.network.sample_hidden(key)
        return hidden

    def features(self, x: Array, hidden: Hidden) -> Array:
        """Return the (n, P) features."""
        own, columns = self._split(x)
        found: Array = self.network.features(own, hidden, **columns)
        return found

    def readout_prior(self, hidden: Hidden) -> ReadoutPrior:
        """Return the readout's prior."""
        prior: ReadoutPrior = self.network.readout_prior(hidden)
        return prior
