"""Draws of infinite networks against the exact flow, for the depth script (T7, T10, T18).

The library's own path, network → infinite width → posterior draws → diffusion, is held against
K − K(K + ρ)⁻¹K and K(K + ρ)⁻¹y at ρ = σ²n/T, with K from the recursion of this script: in the eigenvectors of
K the exact posterior is diagonal at every T, so that modes are tested independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from brg_prob.arrays import holm
from brg_prob.correspondence.moments import mean_test, moments, variance_test
from brg_prob.flow import Diffusion, Flow, coarse_grain, default_scales
from brg_prob.geometry import fisher_metric
from brg_prob.posterior import fit
from brg_prob.theory import infinite_width
from inference._depth_field import NOISE, Record, kernels_by_depth, spectrum
from inference._depth_phases import Setting
from models.mlp import Mlp

SCALES = 6
FLOOR = 1e-8
"""Modes below this times the largest are left to rounding."""

Found = dict[str, Any]


def check_depths(depths: Sequence[int]) -> tuple[int, int]:
    """Return the two depths whose draws are tested, each with the other's kernel as the negative control."""
    low = min(depths)
    return low, max((d for d in depths if low < d <= 4), default=low + 1)


def measure_draws(setting: Setting, record: Record, depth: int, wrong: int, draws: int, key: Array) -> Found:
    """Return the p-values of the exact flow, at this depth and at a wrong one, for draws at this depth."""
    n = len(record.y)
    network = Mlp(
        widths=(1,) * depth,  # the limit does not know them
        activation=setting.activation,
        weight_variance=setting.weight_variance,
        bias_variance=setting.bias_variance,
        noise=NOISE,
        dim=record.x.shape[1],
    )
    fit_key, flow_key = jax.random.split(key)
    field = infinite_width(network, record.x)
    posterior = fit(field, record.x, record.y, key=fit_key, draws=draws)
    metric = fisher_metric(field, record.x)
    scales = default_scales(float(n), SCALES)
    flow = coarse_grain(field, posterior, metric, scheme=Diffusion(), scales=scales, key=flow_key)
    every = kernels_by_depth(setting, record.x, max(depth, wrong))
    fields = [np.asarray(f)[:, :, 0] for f in flow.fields()]
    own, other = (exact_flow_test(flow, fields, every[d - 1]) for d in (depth, wrong))
    values = spectrum(every[depth - 1])
    return {
        "setting": str(setting),
        "activation": setting.activation,
        "depth": depth,
        "wrong_depth": wrong,
        "draws": draws,
        "observations": list(scales),
        **own,
        "control_p_value": other["p_value"],
        "fisher_error": float(np.max(np.abs(np.asarray(metric.eigenvalues) - values)) / values[0]),
    }


def exact_flow_test(flow: Flow, fields: Sequence[np.ndarray], kernel: np.ndarray) -> Found:
    """Return the p-value of means and variances of flowed draws (S, n) under a kernel, Holm over scales."""
    values, modes = np.linalg.eigh(kernel)
    kept = values > FLOOR * values[-1]
    values, modes = values[kept], modes[:, kept]
    data = modes.T @ flow.targets[:, 0]
    n = len(kernel)
    p_values, deviations, detectable = [], [], []
    for observations, field in zip(flow.scales, fields, strict=True):
        ridge = NOISE**2 * n / observations
        variance, mean = values * ridge / (values + ridge), values / (values + ridge) * data
        sample = moments(field @ modes)
        spread = variance_test(sample, variance)
        p_values += [spread.p_value, mean_test(sample, mean, variance).p_value]
        deviations.append(float(np.median(np.abs(sample.variance / variance - 1))))
        detectable.append(spread.smallest_detectable(0.05 / len(fields)))
    return {
        "p_value": float(min(holm(p_values))),
        "modes": int(values.size),
        "deviation": deviations,
        "smallest_detectable": float(max(detectable)),
    }
