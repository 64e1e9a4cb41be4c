"""The Fisher metric of a linear readout at given hidden layers (T5).

Per observation, expected over the model's own y, at a stated point, divided by σ²: I = E_x[JᵀJ]/σ², J the
feature matrix, so that I does not depend on the readout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.geometry.metric import FisherMetric
from brg_prob.geometry.readout_spectrum import ReadoutModes, diagonal_information, readout_modes
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.notebook import quantity
from brg_prob.results import key_from_json


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ReadoutMetric(FisherMetric):
    """Whitened Fisher spectrum of the readout, averaged over the members' hidden layers.

    Attributes
    ----------
    eigenvalues
        r = min(n, P) of them, of the prior-whitened readout. With several members, the average over members
        of the sorted spectra.
    diagonal
        In raw readout units (of the first member), (P,).
    rank
        Of the first member.
    noise
        σ that entered λ; where σ is sampled, the median of its posterior.
    x
        Inputs, (n, d).
    hidden
        Hidden layers of each member.
    first
        Modes of the first member.
    hidden_keys
        What the hidden layers were drawn again from, as a posterior has it; empty where they were given.
    """

    noise: float
    x: Array
    hidden: tuple[Hidden, ...]
    first: ReadoutModes
    hidden_keys: str = ""

    @property
    def modes(self) -> Array:
        """The directions as fields on the inputs (of the first member), orthonormal, (n, r)."""
        return self.first.inputs

    @property
    def members(self) -> int:
        """Number of hidden draws that the metric refers to."""
        return len(self.hidden)

    def member(self, index: int = 0) -> ReadoutModes:
        """Return the modes at the hidden layers of one member (recomputed for all but the first)."""
        if index == 0:
            return self.first
        return readout_modes(self.network, self.x, self.hidden[index], noise=self.noise)

    @property
    def tree(self) -> dict[str, Any]:
        """The arrays of the group ``fisher``, and the modes as fields."""
        return super().tree | {"mode_field": self.modes}

    @property
    def tree_dims(self) -> dict[str, list[str]]:
        """Dimensions of the arrays of :attr:`tree`."""
        return super().tree_dims | {"mode_field": ["x", "mode"]}

    @property
    def tree_attrs(self) -> dict[str, Any]:
        """Attributes of the group ``fisher``, σ among them."""
        return super().tree_attrs | {"noise": self.noise}

    def _own_rows(self) -> list[tuple[str, Any]]:
        return [("noise σ", quantity(self.noise))]


def readout_metric(
    network: LinearReadout, x: Any, *, at: Any = None, noise: float | None = None
) -> ReadoutMetric:
    """Return the metric of a readout; :func:`brg_prob.fisher_metric` calls it.

    Parameters
    ----------
    network
        A network with the capability LinearReadout.
    x
        Inputs, (n, d).
    at
        A posterior tree, a mapping of hidden sites, or None for networks without any.
    noise
        σ, default the posterior's, else the network's.

    Raises
    ------
    ValueError
        The point is not given where it matters.
    """
    x = jnp.atleast_2d(jnp.asarray(x, dtype=float))
    hidden, where = _hidden_at(network, at)
    attrs = at.attrs if isinstance(at, xr.DataTree) else {}
    noise = float(attrs.get("noise", network.noise) if noise is None else noise)
    first = readout_modes(network, x, hidden[0], noise=noise)
    total = first.eigenvalues
    for layers in hidden[1:]:
        total = total + readout_modes(network, x, layers, noise=noise).eigenvalues
    rank = int(np.count_nonzero(np.asarray(first.eigenvalues) > 0))
    of, floor = first.eigenvalues.size, float(first.floor)
    return ReadoutMetric(
        eigenvalues=total / len(hidden),
        diagonal=diagonal_information(network, x, hidden[0], noise=noise),
        observations=x.shape[0],
        rank=rank,
        floor=floor,
        status=f"{where}; {rank} of {of} eigenvalues above the round-off floor {floor:.1e}",
        network=network,
        noise=noise,
        x=x,
        hidden=hidden,
        first=first,
        hidden_keys=str(attrs.get("hidden_keys", "")),
    )


def fisher_spectrum(
    network: Any, x: Any, *, hidden: Hidden | None = None, noise: float | None = None
) -> Array:
    """Return the eigenvalues alone, (min(n, P),): no modes, no (n, P) array for neuron-wise features.

    Same definition as :func:`brg_prob.fisher_metric`; the cheapest route at P = 100 000.
    """
    network = require(network, LinearReadout, "fisher_spectrum")
    x = jnp.atleast_2d(jnp.asarray(x, dtype=float))
    hidden = hidden if hidden is not None else _hidden_at(network, None)[0][0]
    noise = float(network.noise if noise is None else noise)
    return readout_modes(network, x, hidden, noise=noise).eigenvalues


def hidden_layers(network: LinearReadout, posterior: xr.DataTree) -> tuple[dict[str, Array], ...]:
    """Return the hidden layers of each member of a posterior: as trained, or drawn again from their keys."""
    if sites := _trained_sites(posterior):
        members = next(iter(sites.values())).shape[0]
        return tuple({name: leaf[number] for name, leaf in sites.items()} for number in range(members))
    keys = key_from_json(posterior.attrs["hidden_keys"])
    return tuple(network.sample_hidden(key) for key in keys)


def _trained_sites(posterior: xr.DataTree) -> dict[str, Array]:
    """Return the hidden sites (member, ...) that training moved; none where they regenerate from keys."""
    stored = posterior["trained"].data_vars.items() if "trained" in posterior.children else ()
    return {str(name): jnp.asarray(leaf.values) for name, leaf in stored if "member" in leaf.dims}


def _hidden_at(network: LinearReadout, at: Any) -> tuple[tuple[Hidden, ...], str]:
    """Return the hidden layers that ``at`` names and a phrase for the status."""
    if isinstance(at, xr.DataTree):
        hidden = hidden_layers(network, at)
        if not hidden[0]:
            return hidden[:1], "the readout has no hidden layers, so the metric is the same at every point"
        trained = "trained " if _trained_sites(at) else ""
        return hidden, f"at the {trained}hidden layers of the posterior's {len(hidden)} member(s)"
    if isinstance(at, Mapping):
        return (at,), "at the hidden layers given"
    if at is None:
        layers = network.sample_hidden(jax.random.key(0))
        if layers:
            raise ValueError(
                "at=None: this network's metric depends on its hidden layers; "
                "pass at=posterior (a fitted tree) or at=hidden"
            )
        return (layers,), "the readout has no hidden layers, so the metric is the same at every point"
    raise ValueError(f"at={at!r} is not a point; pass a fitted tree or a mapping of hidden sites")
