"""Kernels of networks of infinite width (T2), and their flow with depth (T15).

The recursion itself is a pure function of arrays (:mod:`brg_prob.kernels.recursion`); what is
exported checks its arguments on the host first, and works inside ``jit`` and ``grad``.
"""

from brg_prob.kernels.depth import (
    FixedPoint,
    Susceptibilities,
    correlation_map,
    critical_weight_variance,
    fixed_correlation,
    fixed_point,
    phase,
    susceptibilities,
)
from brg_prob.kernels.nngp_ntk import kernel_layers, nngp_kernel, ntk_kernel
from brg_prob.kernels.singular import explain_singular

__all__ = [
    "FixedPoint",
    "Susceptibilities",
    "correlation_map",
    "critical_weight_variance",
    "explain_singular",
    "fixed_correlation",
    "fixed_point",
    "kernel_layers",
    "nngp_kernel",
    "ntk_kernel",
    "phase",
    "susceptibilities",
]
