"""The Bayesian renormalization group: one flow, its schemes, and predictive scores along it (T6–T8)."""

from brg_prob.flow.diffusion import Diffusion, diffuse, left_alone, transition
from brg_prob.flow.flow import Flow, coarse_grain
from brg_prob.flow.leave_one_out import LooScore, loo_at
from brg_prob.flow.prediction import Predictions, compare_scales, loo_of, predictions_along
from brg_prob.flow.scales import default_scales, fisher_cutoffs
from brg_prob.flow.scheme import Cut, Scheme
from brg_prob.flow.score import critical_scale
from brg_prob.flow.shell import Shell
from brg_prob.flow.tempering import Tempering

__all__ = [
    "Cut",
    "Diffusion",
    "Flow",
    "LooScore",
    "Predictions",
    "Scheme",
    "Shell",
    "Tempering",
    "coarse_grain",
    "compare_scales",
    "critical_scale",
    "default_scales",
    "diffuse",
    "fisher_cutoffs",
    "left_alone",
    "loo_at",
    "loo_of",
    "predictions_along",
    "transition",
]
