"""The Bayesian renormalization group: scales, diffusion, information shells, scores (T6–T8)."""

from brg_prob.flow.diffusion import Diffusion, diffuse, transition
from brg_prob.flow.flow import Flow, coarse_grain
from brg_prob.flow.scales import default_scales, fisher_cutoffs
from brg_prob.flow.score import critical_scale
from brg_prob.flow.shell import Shell

__all__ = [
    "Diffusion",
    "Flow",
    "Shell",
    "coarse_grain",
    "critical_scale",
    "default_scales",
    "diffuse",
    "fisher_cutoffs",
    "transition",
]
