"""Prior and posterior as field theories, side by side (T1, T3, T6, T9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.arrays import Floats
from brg_prob.correlators.k_statistics import Estimate
from brg_prob.geometry import FisherMetric, ReadoutMetric
from brg_prob.geometry.informations import effective_dimension, kl_to_prior
from brg_prob.geometry.readout_spectrum import ReadoutModes, prior_mean
from brg_prob.network import Covariance
from brg_prob.observables.connected_functions import Connected, Pairs, connected_functions, pairs_of
from brg_prob.observables.fluctuation_power import ShellPower, present, propagator_mass, shell_power
from brg_prob.observables.units import (
    field_factor,
    first_output,
    unit_attributes,
    with_output,
)
from brg_prob.posterior.schema import no_posterior
from brg_prob.prior import affordable_draws, sample_prior
from brg_prob.summary import floats
from brg_prob.transform import Standardisation

STATES = ("prior", "posterior")
_PRIOR_DRAWS = 2000
_FEWEST = 5  # draws without which there is no fourth cumulant
_EXACT_POINTS = 2048  # the exact covariance is an array (n, n)

_NOTE = (
    "Fluctuations about each theory's own mean at the training inputs, first output. The four-point function "
    "is the connected one of (x, x, x+r, x+r); the excess kurtosis is κ4/κ2² at one point, averaged over "
    "points; errors are those of the averages."
)


def field_theory(
    network: Any,
    posterior: xr.DataTree,
    metric: FisherMetric,
    *,
    key: Array,
    draws: int | None = None,
    preparation: Standardisation | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset | None:
    """Compare prior and posterior as field theories at the training inputs.

    Parameters
    ----------
    network
        Any network that :func:`brg_prob.sample_prior` draws from.
    posterior
        From :func:`brg_prob.fit`.
    metric
        The Fisher metric at the posterior's inputs and hidden layers.
    key, draws
        Of the prior's draws. None: 2000, or fewer (at least 200) where inputs × features are so many that
        these would take minutes.
    preparation
        What was done to the record; fields are given in its units before that.
    units
        Units of ``field`` and ``length``, for the attributes.

    Returns
    -------
    xarray.Dataset
        Dimension ``state``: prior, posterior. ``two_point``, ``four_point`` (state, lag) and
        ``excess_kurtosis`` (state) with ``_se``; ``two_point_exact`` (lag) of the prior where the
        network knows its covariance; ``power`` and ``power_se`` (state, momentum) on an
        equispaced grid, G(p) in units of f² · length^d; ``mass_squared`` with ``_se`` (state), see
        :func:`brg_prob.observables.fluctuation_power.propagator_mass`, nan without a grid;
        ``effective_dimension``, ``kl_to_prior`` in nats, and ``wasserstein`` (state): the
        2-Wasserstein distance of the fields at the inputs, per input (root mean square): both nan where the
        draws are those of no posterior, such as trained networks. With fewer
        than five draws of either the estimates are left out. None of a metric over latent sites, along
        whose modes the field has no law in closed form.
    """
    if not isinstance(metric, ReadoutMetric):
        return None
    x = floats(posterior["constant_data"], "inputs")
    draws = affordable_draws(network, x, _PRIOR_DRAWS) if draws is None else draws
    after = first_output(floats(posterior["posterior"], "f"), 3)
    total, factor = after.shape[0] * after.shape[1], field_factor(preparation)
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {"state": list(STATES)}
    if min(draws, total) >= _FEWEST:
        prior = sample_prior(network, x, key=key, draws=draws)
        before = first_output(floats(prior["prior"], "f"), 3)
        states = tuple(
            (f, bool(of.attrs.get("independent", 0))) for f, of in ((before, prior), (after, posterior))
        )
        pairs = pairs_of(x)
        coords["lag"] = pairs.lag
        variables |= _correlators([connected_functions(f, pairs, independent=i) for f, i in states], factor)
        exact = _exact_two_point(network, x, pairs)
        if exact is not None:
            variables["two_point_exact"] = ("lag", factor**2 * exact)
        variables |= _spectra([(shell_power(f, x), i) for f, i in states], factor)
    variables |= _distances(posterior, metric, factor)
    attrs = unit_attributes(units or {}) | {
        "draws_prior": draws,
        "draws_posterior": total,
        "note": _NOTE + _member_note(metric, posterior),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _correlators(found: list[Connected], factor: float) -> dict[str, Any]:
    """Return the connected functions of both states with their errors."""
    variables: dict[str, Any] = {}
    for name, scale in (("two_point", factor**2), ("four_point", factor**4), ("excess_kurtosis", 1.0)):
        estimates: list[Estimate] = [getattr(each, name) for each in found]
        for label, part in ((name, "value"), (f"{name}_se", "standard_error")):
            rows = np.stack([scale * getattr(estimate, part) for estimate in estimates])
            single = name == "excess_kurtosis"
            variables[label] = ("state", rows[:, 0]) if single else (("state", "lag"), rows)
    return variables


def _exact_two_point(network: Any, x: Floats, pairs: Pairs) -> Floats | None:
    """Return the prior's covariance averaged over the same pairs, None where the network does not know it."""
    if not isinstance(network, Covariance) or len(x) > _EXACT_POINTS:
        return None
    at = jnp.asarray(x)
    covariance = np.asarray(network.covariance(at, at), dtype=float)
    return np.array([covariance[i, j].mean() for i, j in zip(pairs.left, pairs.right, strict=True)])


def _spectra(states: list[tuple[ShellPower | None, bool]], factor: float) -> dict[str, Any]:
    """Return binned power spectra and squared masses with errors; without a grid the mass is nan."""
    found = [(power, independent) for power, independent in states if power is not None]
    if len(found) < len(states):
        nothing = ("state", np.full(len(states), np.nan))
        return {"mass_squared": nothing, "mass_squared_se": nothing}
    mass, error = np.asarray([propagator_mass(power, independent) for power, independent in found]).T
    shells = present(*(power for power, _ in found))
    binned = [(power[shells].binned(), independent) for power, independent in found]
    dims, first = ("state", "momentum"), binned[0][0]
    return {
        "power": (dims, factor**2 * np.stack([power.value for power, _ in binned])),
        "power_se": (
            dims,
            factor**2 * np.stack([power.errors(independent) for power, independent in binned]),
        ),
        "modes": ("momentum", first.modes),
        "momentum": ("momentum", first.momentum),
        "mass_squared": ("state", mass),
        "mass_squared_se": ("state", error),
    }


def _distances(posterior: xr.DataTree, metric: ReadoutMetric, factor: float) -> dict[str, Any]:
    """Return effective dimension, KL and Wasserstein distance to the prior, averaged over members (T6).

    In the modes both covariances are diagonal: the field has variances nσ²λ_k before and
    nσ²λ_k v_k after, its mean moves by √(nσ²λ_k) m_k, and the distance of commuting Gaussians
    per input is W² = Σ σ²λ_k [m_k² + (1 − √v_k)²]. Draws of no posterior have no such law: nan.
    """
    observations = float(posterior.attrs["observations"])
    x = jnp.asarray(floats(posterior["constant_data"], "inputs"))
    y = jnp.asarray(with_output(floats(posterior["observed_data"], "y"), 1))
    means = (prior_mean(metric.network, x, hidden) for hidden in metric.hidden)
    rows = [
        _member_distances(metric.member(number), y - mean, observations) for number, mean in enumerate(means)
    ]
    dimension, divergence, square = np.mean(rows, axis=0)
    if no_posterior(posterior.attrs):
        divergence = square = np.nan
    distances = {
        "effective_dimension": dimension,
        "kl_to_prior": divergence,
        "wasserstein": factor * np.sqrt(square),
    }
    return {name: ("state", np.array([0.0, value])) for name, value in distances.items()}


def _member_distances(modes: ReadoutModes, residual: Array, observations: float) -> list[float]:
    """Return effective dimension, KL, and squared Wasserstein distance per input of one member, (3,)."""
    data_modes, values = np.asarray(modes.coordinates(residual)), np.asarray(modes.eigenvalues)
    signal = observations * values
    mean = (signal / (1 + signal)) * data_modes[:, 0]
    moved = mean**2 + (1 - 1 / np.sqrt(1 + signal)) ** 2
    return [
        effective_dimension(values, observations, residual.shape[1]),
        kl_to_prior(values, data_modes, observations),
        float(modes.noise) ** 2 * np.sum(values * moved),
    ]


def _member_note(metric: ReadoutMetric, posterior: xr.DataTree) -> str:
    """Return what hidden layers and a sampled noise mean for the numbers."""
    notes = {
        " The prior redraws the hidden layers with every draw; the posterior, its effective dimension, "
        f"KL and distance are those given {metric.members} draw(s) of them.": bool(metric.hidden[0]),
        " Effective dimension, KL and distance are taken at the median noise.": "noise"
        in posterior["posterior"].data_vars,
        f" No KL and no distance to the prior: {no_posterior(posterior.attrs)}.": bool(
            no_posterior(posterior.attrs)
        ),
    }
    return "".join(note for note, holds in notes.items() if holds)
