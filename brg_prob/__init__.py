"""Bayesian renormalization group of neural-network field theories.

Networks are NumPyro generative models; their priors define field theories, their posteriors
stand in for training, and Fisher-scaled diffusion of the posterior is a renormalization group
flow that is tested against the exact one. Names load on first use, so that the import is cheap
and makes no arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "Binding": "network",
    "Checks": "correspondence",
    "Diffusion": "flow",
    "Ensemble": "posterior",
    "Exact": "posterior",
    "FisherMetric": "geometry",
    "Flow": "flow",
    "Given": "posterior",
    "GradientFlow": "posterior",
    "Laplace": "posterior",
    "LinearReadout": "network",
    "NUTS": "posterior",
    "Run": "pipeline",
    "SVI": "posterior",
    "SgdExact": "posterior",
    "Shell": "flow",
    "Tempering": "flow",
    "bind": "network",
    "check_correspondence": "correspondence",
    "ClosedForm": "correspondence",
    "ExactRG": "correspondence",
    "SampledAnew": "correspondence",
    "compare": "comparison",
    "coarse_grain": "flow",
    "critical_scale": "flow",
    "default_scales": "flow",
    "erg_prediction": "correspondence",
    "fisher_cutoffs": "flow",
    "fisher_metric": "geometry",
    "fit": "posterior",
    "infinite_width": "theory",
    "isotropic_prior": "network",
    "load_run": "pipeline",
    "nngp_kernel": "kernels",
    "ntk_kernel": "kernels",
    "predictions_along": "flow",
    "run": "pipeline",
    "sample_prior": "prior",
    "tune": "posterior.tuning",
    "write_report": "report",
}

if TYPE_CHECKING:
    from brg_prob.comparison import compare
    from brg_prob.correspondence import (
        Checks,
        ClosedForm,
        ExactRG,
        SampledAnew,
        check_correspondence,
        erg_prediction,
    )
    from brg_prob.flow import (
        Diffusion,
        Flow,
        Shell,
        Tempering,
        coarse_grain,
        critical_scale,
        default_scales,
        fisher_cutoffs,
        predictions_along,
    )
    from brg_prob.geometry import FisherMetric, fisher_metric
    from brg_prob.kernels import nngp_kernel, ntk_kernel
    from brg_prob.network import Binding, LinearReadout, bind, isotropic_prior
    from brg_prob.pipeline import Run, load_run, run
    from brg_prob.posterior import NUTS, SVI, Ensemble, Exact, Given, GradientFlow, Laplace, SgdExact, fit
    from brg_prob.posterior.tuning import tune
    from brg_prob.prior import sample_prior
    from brg_prob.report import write_report
    from brg_prob.theory import infinite_width

__all__ = [
    "NUTS",
    "SVI",
    "Binding",
    "Checks",
    "ClosedForm",
    "Diffusion",
    "Ensemble",
    "Exact",
    "ExactRG",
    "FisherMetric",
    "Flow",
    "Given",
    "GradientFlow",
    "Laplace",
    "LinearReadout",
    "Run",
    "SampledAnew",
    "SgdExact",
    "Shell",
    "Tempering",
    "bind",
    "check_correspondence",
    "coarse_grain",
    "compare",
    "critical_scale",
    "default_scales",
    "enable_x64",
    "erg_prediction",
    "fisher_cutoffs",
    "fisher_metric",
    "fit",
    "infinite_width",
    "isotropic_prior",
    "load_run",
    "nngp_kernel",
    "ntk_kernel",
    "predictions_along",
    "run",
    "sample_prior",
    "tune",
    "write_report",
]


def enable_x64() -> None:
    """Switch jax to float64 for this process; the command line and the tests do so themselves.

    float32 works too: eigenvalues are then good to about 1e-6 of the largest one, so modes
    with Tλ below that are reported as null.
    """
    import jax

    jax.config.update("jax_enable_x64", True)


def __getattr__(name: str) -> Any:
    """Load a public name from its room."""
    if name not in _HOMES:
        raise AttributeError(f"module 'brg_prob' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"brg_prob.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
