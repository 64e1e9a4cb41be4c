"""Field theories as networks again: a coarse-grained one (T6–T8), and that of infinite width (T10)."""

from brg_prob.theory.infinite_width import GaussianField, base_of, infinite_width
from brg_prob.theory.readout_theory import (
    ProjectedObservation,
    ReadoutTheory,
    directions,
    kept_mode_theory,
    kept_parameter_theory,
    mode_theory,
    whitened_mean,
)

__all__ = [
    "GaussianField",
    "ProjectedObservation",
    "ReadoutTheory",
    "base_of",
    "directions",
    "infinite_width",
    "kept_mode_theory",
    "kept_parameter_theory",
    "mode_theory",
    "whitened_mean",
]
