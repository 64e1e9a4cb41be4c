"""What every Fisher metric is: a whitened spectrum per observation, and how it was found (T5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from jax import Array

from brg_prob.geometry.informations import effective_dimension
from brg_prob.network import network_label
from brg_prob.notebook import one_line, quantity, table_html


@runtime_checkable
class FieldModes(Protocol):
    """A metric whose directions are fields on the inputs."""

    @property
    def modes(self) -> Array:
        """Orthonormal, (n, r), stiffest first."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FisherMetric:
    """Whitened Fisher spectrum: what one observation tells about a network, in units of its prior.

    Attributes
    ----------
    eigenvalues
        λ_k, (r,), descending: signal-to-noise per observation along the k-th direction, free of units.
    diagonal
        Of I: in raw units of a readout's weights, (P,), or in z of latent sites, (D,).
    observations
        n, rows averaged over.
    rank, floor
        Number of eigenvalues above the floor; the level of round-off, below which λ is reported as zero.
    status
        A sentence: at which point, how expected and computed, how many null directions.
    network
        The network.
    null_bound
        Largest λ of what the directions do not span.
    """

    eigenvalues: Array
    diagonal: Array
    observations: int
    rank: int
    floor: float
    status: str
    network: Any
    null_bound: float = 0.0

    @property
    def directions_computed(self) -> int:
        """Number of directions whose eigenvalue is known."""
        return int(self.eigenvalues.size)

    @property
    def tree(self) -> dict[str, Any]:
        """The arrays of the group ``fisher``: eigenvalue (mode), diagonal (parameter), and the directions."""
        return {"eigenvalue": self.eigenvalues, "diagonal": self.diagonal}

    @property
    def tree_dims(self) -> dict[str, list[str]]:
        """Dimensions of the arrays of :attr:`tree`."""
        return {"eigenvalue": ["mode"], "diagonal": ["parameter"]}

    @property
    def tree_attrs(self) -> dict[str, Any]:
        """Attributes of the group ``fisher``."""
        return {"n": self.observations, "rank": self.rank, "floor": self.floor, "status": self.status}

    @property
    def counts_outputs(self) -> bool:
        """Whether every output has its own eigenvalues, and not one set for each of them."""
        return False

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what the diagonal is of; () where single weights have none."""
        return ()

    def determined(self, posterior: xr.DataTree) -> xr.DataTree:
        """Return groups on what the data determine, parameter by parameter; none of a readout's weights."""
        return xr.DataTree()

    def effective_dimension(self, observations: float | None = None) -> float:
        """Return Σ_k Tλ_k/(1 + Tλ_k) at T observations, default n (T6); NaN without a metric."""
        if not self.eigenvalues.size:
            return math.nan
        return float(
            effective_dimension(self.eigenvalues, self.observations if observations is None else observations)
        )

    def __repr__(self) -> str:
        """Return one line, no arrays."""
        return one_line(
            "FisherMetric",
            network_label(self.network),
            f"n = {self.observations}",
            f"{self.rank} of {self.directions_computed} eigenvalues above the floor",
            f"effective dimension {quantity(self.effective_dimension())}",
        )

    def _repr_html_(self) -> str:
        """Return a small table for notebooks."""
        signal = self.observations * np.asarray(self.eigenvalues)
        rows = [
            ("observations n", self.observations),
            *self._own_rows(),
            ("eigenvalues above the floor", f"{self.rank} of {self.directions_computed}"),
            ("largest eigenvalue λ₁", quantity(self.eigenvalues[0]) if signal.size else "none"),
            ("modes with nλ ≥ 1", int(np.sum(signal >= 1))),
            ("effective dimension at T = n", quantity(self.effective_dimension())),
        ]
        return table_html(f"Fisher metric of {network_label(self.network)}", rows, note=self.status)

    def _own_rows(self) -> list[tuple[str, Any]]:
        """Return what a kind of metric adds to its table."""
        return []
