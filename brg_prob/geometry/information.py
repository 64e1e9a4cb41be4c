"""The Fisher metric of a network: what one observation tells about its parameters (T5).

Per observation, expected over the model's own y, at a stated point, divided by σ²:
I = E_x[JᵀJ]/σ². This module holds the readout metric of networks with the capability
LinearReadout, where J is the feature matrix and I does not depend on the readout.
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

from brg_prob.geometry.model_metric import ModelMetric, model_metric
from brg_prob.geometry.spectrum import ReadoutModes, diagonal_information, readout_modes
from brg_prob.network import Hidden, LinearReadout, require
from brg_prob.network.identity import refuse_another
from brg_prob.notebook import one_line, quantity, table_html
from brg_prob.results import key_from_json


@dataclass(frozen=True)
class FisherMetric:
    """Whitened Fisher spectrum of the readout, averaged over the members' hidden layers.

    Attributes
    ----------
    eigenvalues
        λ_k, (r,), descending, r = min(n, P): signal-to-noise per observation along the
        k-th direction of prior-whitened parameter space, free of units. With several
        members, the average over members of the sorted spectra.
    modes
        The directions as fields on the inputs (of the first member), orthonormal, (n, r).
    diagonal
        Diagonal of I in raw readout units (of the first member), (P,).
    noise
        σ that entered λ; where σ is sampled, the median of its posterior.
    observations
        n, the number of inputs averaged over.
    rank
        Number of eigenvalues above the floor (of the first member).
    floor
        Level under which an eigenvalue is round-off and reported as zero.
    status
        A sentence: at which point, how many members, how many null directions.
    hidden
        Hidden layers of each member.
    hidden_keys
        What they were drawn again from, as a posterior has it; empty where they were given.
    """

    eigenvalues: Array
    modes: Array
    diagonal: Array
    noise: float
    observations: int
    rank: int
    floor: float
    status: str
    network: LinearReadout
    x: Array
    hidden: tuple[Hidden, ...]
    first: ReadoutModes
    hidden_keys: str = ""

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
        """The arrays of the group ``fisher``."""
        return {"eigenvalue": self.eigenvalues, "mode_field": self.modes, "diagonal": self.diagonal}

    def effective_dimension(self, observations: float | None = None) -> float:
        """Return Σ_k Tλ_k/(1 + Tλ_k) at T observations, default n (T6)."""
        weight = (self.observations if observations is None else observations) * self.eigenvalues
        return float(jnp.sum(weight / (1 + weight)))

    def __repr__(self) -> str:
        """Return one line, no arrays."""
        return one_line(
            "FisherMetric",
            type(self.network).__name__,
            f"n = {self.observations}",
            f"{self.rank} of {self.first.eigenvalues.size} eigenvalues above the floor",
            f"effective dimension {quantity(self.effective_dimension())}",
        )

    def _repr_html_(self) -> str:
        """Return a small table for notebooks."""
        rows = [
            ("observations n", self.observations),
            ("noise σ", quantity(self.noise)),
            ("eigenvalues above the floor", f"{self.rank} of {self.first.eigenvalues.size}"),
            ("largest eigenvalue λ₁", quantity(self.eigenvalues[0])),
            ("modes with nλ ≥ 1", int(jnp.sum(self.observations * self.eigenvalues >= 1))),
            ("effective dimension at T = n", quantity(self.effective_dimension())),
        ]
        title = f"Fisher metric of {type(self.network).__name__}"
        return table_html(title, rows, note=self.status)


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


def fisher_metric(
    network: Any,
    x: Any,
    *,
    at: Any = None,
    sites: tuple[str, ...] | None = None,
    noise: float | None = None,
    y: Any = None,
    **options: Any,
) -> FisherMetric | ModelMetric:
    """Return the whitened Fisher metric of a network's readout, or of any NumPyro model (T5).

    Parameters
    ----------
    network
        A network with the capability LinearReadout; or any NumPyro model.
    x
        Inputs to average over, (n, d).
    at
        The point: a tree from :func:`brg_prob.fit` (its hidden layers, and its σ where σ
        was sampled), a mapping of hidden sites, or None for networks without any.
    sites
        Restrict to these sites; a linear readout has the one site ``readout``.
    noise
        σ, default the posterior's, else the network's. A linear readout's alone.
    y, options
        Of a metric over all latent sites alone, see :func:`~brg_prob.geometry.model_metric.model_metric`: the
        targets, ``at_draws``, ``method``, ``leading``, ``expectation``, ``samples``, ``key``.

    Returns
    -------
    FisherMetric or ModelMetric
        Per observation; eigenvalues in units of the prior-whitened readout. Where ``at`` is a tree
        of draws of all latent sites (``kind = "model"``), where the network has no linear readout, or where
        ``y`` or an option is given, a ModelMetric over all sites.

    Raises
    ------
    TypeError
        The network has no linear readout.
    ValueError
        The point is not given where it matters, or an unknown site is asked for.

    Notes
    -----
    Cost min(n, P)³ + n² P. "Empirical Fisher" with observed y is another thing and is
    never substituted.
    """
    if isinstance(at, xr.DataTree):
        refuse_another(network, str(at.attrs.get("network", "")), "the posterior")
    of_draws = isinstance(at, xr.DataTree) and at.attrs.get("kind") == "model"
    if of_draws or options or y is not None or not isinstance(network, LinearReadout):
        if noise is not None:
            raise ValueError(f"noise={noise!r} is for linear readouts; this model states its own noise")
        return model_metric(network, x, y, at=at, sites=sites, **options)
    if sites is not None and tuple(sites) != ("readout",):
        raise ValueError(f"sites={sites!r}: the metric of a linear readout covers the site 'readout' alone")
    x = jnp.atleast_2d(jnp.asarray(x, dtype=float))
    hidden, where = _hidden_at(network, at)
    if noise is None:
        noise = float(at.attrs["noise"]) if isinstance(at, xr.DataTree) else float(network.noise)
    first = readout_modes(network, x, hidden[0], noise=noise)
    total = first.eigenvalues
    for layers in hidden[1:]:
        total = total + readout_modes(network, x, layers, noise=noise).eigenvalues
    rank = int(np.count_nonzero(np.asarray(first.eigenvalues) > 0))
    null = first.eigenvalues.size - rank
    status = (
        f"{where}; {rank} of {rank + null} eigenvalues above the round-off floor {float(first.floor):.1e}"
    )
    return FisherMetric(
        eigenvalues=total / len(hidden),
        modes=first.inputs,
        diagonal=diagonal_information(network, x, hidden[0], noise=noise),
        noise=float(noise),
        observations=x.shape[0],
        rank=rank,
        floor=float(first.floor),
        status=status,
        network=network,
        x=x,
        hidden=hidden,
        first=first,
        hidden_keys=str(at.attrs.get("hidden_keys", "")) if isinstance(at, xr.DataTree) else "",
    )


def fisher_spectrum(
    network: Any, x: Any, *, hidden: Hidden | None = None, noise: float | None = None
) -> Array:
    """Return the eigenvalues alone, (min(n, P),): no modes, no (n, P) array for neuron-wise features.

    Same definition as :func:`fisher_metric`; the cheapest route at P = 100 000.
    """
    network = require(network, LinearReadout, "fisher_spectrum")
    x = jnp.atleast_2d(jnp.asarray(x, dtype=float))
    hidden = hidden if hidden is not None else _hidden_at(network, None)[0][0]
    noise = float(network.noise if noise is None else noise)
    return readout_modes(network, x, hidden, noise=noise).eigenvalues


__all__ = ["FisherMetric", "fisher_metric", "fisher_spectrum", "hidden_layers"]
