"""What a hypothesis asks of a flow, of whatever its draws are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from jax import Array
from numpy.typing import NDArray

from brg_prob.network import Hidden


class Flowed(Protocol):
    """Draws of a field at every scale, and where they came from.

    Shapes: n inputs, o outputs, S draws, ordered chain by chain.
    """

    @property
    def network(self) -> Any:
        """The network that was flowed."""
        ...

    @property
    def scheme(self) -> Any:
        """How it was flowed."""
        ...

    @property
    def scales(self) -> tuple[float, ...]:
        """Towards the prior."""
        ...

    @property
    def initial_observations(self) -> float:
        """T of the posterior that was flowed."""
        ...

    @property
    def x(self) -> Array:
        """Training inputs, (n, d)."""
        ...

    @property
    def targets(self) -> NDArray[np.float64]:
        """Training targets, (n, o)."""
        ...

    @property
    def chains(self) -> int:
        """Number of chains."""
        ...

    @property
    def independent(self) -> bool:
        """Whether the draws are independent of each other."""
        ...

    @property
    def noise(self) -> float:
        """σ in λ; nan where the model has none."""
        ...

    @property
    def draw_noise(self) -> NDArray[np.float64] | None:
        """σ that each draw is flowed with, (S,), where it is sampled; None where one is given for all."""
        ...

    @property
    def metric(self) -> Any:
        """The Fisher metric: ``eigenvalues`` (r,), descending, and the ``floor`` of round-off in them."""
        ...

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        """Hidden layers of a readout, a set for each member; () if each draw has its own or none."""
        ...

    @property
    def equivalent_observations(self) -> NDArray[np.float64]:
        """T that each scale stands for; nan where it stands for none."""
        ...

    def fields(self) -> Iterator[Array]:
        """Yield the draws (S, n, o) at the training inputs, scale by scale."""
        ...
