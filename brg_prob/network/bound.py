"""A model whose arguments are columns of a table, as a network of x and y alone."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brg_prob.binding import Call
from brg_prob.network.protocols import Hidden, LinearReadout, network_label
from brg_prob.network.readout_prior import ReadoutPrior

_DTYPES: dict[str, type] = {"int": int, "float": float}


def bound(network: Any, call: Call) -> Any:
    """Return a network that takes its arguments from the columns of x, from y, and from options.

    Parameters
    ----------
    network
        A model; a LinearReadout's ``features(x, hidden)`` takes the same columns by the same names.
        Capabilities that depend on the inputs alone (Covariance, FreeField) are lost: nothing says what
        they are at given columns.
    call
        Which argument gets what; where it is called as ``network(x, y)``, it is returned as it is.

    Examples
    --------
    >>> def model(weight, x, y=None):
    ...     return x[:, 0] * weight
    >>> import numpy as np
    >>> call = Call("x", ("year",), (("weight", "weight", "float"),))
    >>> bound(model, call)(np.array([[1.0, 10.0], [2.0, 20.0]])).tolist()
    [10.0, 40.0]
    """
    if call.direct:
        return network
    return (BoundReadout if isinstance(network, LinearReadout) else Bound)(network, call)


@runtime_checkable
class Optioned(Protocol):
    """A network around another one, some arguments of which are set."""

    @property
    def network(self) -> Any:
        """The other one."""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments."""


@dataclass(frozen=True)
class Bound:
    """A network of x alone: the first columns of x are stacked, the last go to arguments of ``network``."""

    network: Any
    call: Call

    @property
    def __name__(self) -> str:
        """Name of the network, for messages."""
        name = network_label(self.network)
        columns = ", ".join(argument for argument, _, _ in self.call.bound)
        return f"{name} with {columns} from the table" if columns else str(name)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of x that are stacked, in order."""
        return self.call.columns

    @property
    def options(self) -> dict[str, Any]:
        """Arguments that were set by options."""
        return dict(self.call.options)

    def _split(self, x: Any) -> tuple[Any, dict[str, Any]]:
        """Return the stacked inputs and the arguments that get a column, in its dtype.

        Whole numbers are numpy's where x is no tracer: a model may count its groups by them (``code.max()``)
        also inside a compiled function.
        """
        own = x.shape[1] - len(self.call.bound)
        host = None if isinstance(x, jax.core.Tracer) else np.asarray(x)
        named: dict[str, Any] = {}
        for at, (argument, _, dtype) in enumerate(self.call.bound):
            whole = _DTYPES[dtype] is int
            column = host[:, own + at] if whole and host is not None else x[:, own + at]
            named[argument] = column.round().astype(jnp.result_type(int)) if whole else column.astype(float)
        return x[:, :own], named

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Run the model."""
        own, values = self._split(x)
        values |= self.options
        if self.call.stack is not None:
            values[self.call.stack] = own
        several = len(self.call.observed) > 1 and y is not None
        for at, argument in enumerate(self.call.observed):
            values[argument] = y[:, at] if several else y
        return self.network(*self._by_place(values), **values)

    def _by_place(self, values: dict[str, Any]) -> list[Any]:
        """Take the arguments that only a place can pass out of the values; defaults fill the gaps."""
        places = self.call.positional
        if not any(name in values for name in places):
            return []
        last = max(at for at, name in enumerate(places) if name in values)
        defaults = inspect.signature(self.network).parameters
        return [values.pop(name) if name in values else defaults[name].default for name in places[: last + 1]]


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
