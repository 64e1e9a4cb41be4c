"""What a run predicts beside T9: T10 at this width, the momentum cutoff and the running mass (T9, T10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.correspondence import Tempered
from brg_prob.erg import FreeTheory
from brg_prob.flow import Diffusion, Flow
from brg_prob.geometry import whitened_features
from brg_prob.geometry.spectrum import prior_mean, readout_kernel
from brg_prob.network import Covariance
from brg_prob.posterior import gaussian_posterior


def finite_size(network: Any, flow: Flow) -> Callable[[float], tuple[Array, Array]] | None:
    """Return T10's prediction for this very network, its momenta drawn: K = ΦC0Φᵀ, not the limit.

    None where nothing is hidden (T9 is exact), where several members or σ's are mixed, and for
    shells, which T10 does not describe.
    """
    hidden = flow.metric.hidden
    mixed = flow.start.members > 1 or flow.start.sampled_noise
    if mixed or not hidden[0] or not isinstance(flow.scheme, Diffusion):
        return None
    features = whitened_features(network, flow.x, hidden[0])
    kernel, mean = features @ features.T, prior_mean(network, flow.x, hidden[0])

    def at(observations: float) -> tuple[Array, Array]:
        if observations == 0:
            return kernel, mean
        ridge = flow.noise**2 * len(flow.x) / observations
        shift, covariance = gaussian_posterior(kernel, kernel, kernel, flow.y - mean, ridge)
        return covariance, mean + shift

    return at


def tempered(network: Any, flow: Flow) -> Tempered | None:
    """Return the closed-form posterior at every T that a network's flow is held against (T10).

    K is the network's own covariance where nothing is hidden and it states one, else ΦC0Φᵀ of the
    hidden layers drawn. None where several members or σ's are mixed, and for shells.
    """
    hidden = flow.metric.hidden[0]
    mixed = flow.start.members > 1 or flow.start.sampled_noise
    if mixed or not isinstance(flow.scheme, Diffusion):
        return None
    if isinstance(network, Covariance) and not hidden:
        kernel = network.covariance(flow.x, flow.x)
    else:
        kernel = readout_kernel(network, flow.x, hidden)
    precision = float(jnp.finfo(flow.start.field.dtype).eps)
    return Tempered.of(kernel, prior_mean(network, flow.x, hidden), flow.y, float(flow.noise), precision)


def with_running(theory: xr.Dataset, flow: Flow, prediction: FreeTheory) -> xr.Dataset:
    """Add the momentum cutoff of each scale and, for a diffusion, the running mass (T9).

    Every mode measures the mass of the data, 1/G_T(p) − 1/G0(p) = M_T²; their mean, weighted by
    the null hypothesis' errors, is shown as m_T² = m² G0(0)/G_T(0).
    """
    observations = np.asarray(flow.tree["flow"]["observations"].values, dtype=float)
    cutoff = [prediction.shell_cutoff(float(t)) if np.isfinite(t) else np.nan for t in observations]
    theory = theory.assign(momentum_cutoff=("scale", np.asarray(cutoff)))
    if not isinstance(flow.scheme, Diffusion):
        return theory
    bare = prediction.mass**2
    predicted, measured, error = (
        np.asarray(theory[name].values, float) for name in ("predicted", "measured", "se")
    )
    g0 = np.asarray(prediction.g0(theory["momentum"].values), dtype=float)
    use = (g0 > 0) & np.all(predicted > 0, axis=0) & np.all(measured > 0, axis=0)
    relative = error[:, use] / measured[:, use]
    # 1/s of a sample variance s is biased upwards by its relative variance
    data_mass = (1 - relative**2) / measured[:, use] - 1 / g0[use]
    weight = (predicted[:, use] / relative) ** 2
    total = weight.sum(axis=1)
    unit = bare * float(
        prediction.amplitude**2 * prediction.spectrum(np.zeros(()), prediction.mass, prediction.dim)
    )
    running = {
        "": np.asarray([float(prediction.running_mass(t)) ** 2 for t in observations]),
        "_measured": bare + unit * (weight * data_mass).sum(axis=1) / total,
        "_se": unit / np.sqrt(total),
    }
    theory = theory.assign(
        {f"running_mass_squared{part}": ("scale", value) for part, value in running.items()}
    )
    return theory.assign_attrs(mass_squared=bare)
