"""Where flow and prediction meet: hypotheses, each of which can fail (T6, T9, T10, T18)."""

from brg_prob.correspondence.agreement import SPREAD
from brg_prob.correspondence.closed_form import CLOSED_FORM, ClosedPosterior
from brg_prob.correspondence.convergence import convergence_check, leave_one_out_check, with_convergence
from brg_prob.correspondence.hypotheses import (
    ClosedForm,
    ExactRG,
    Hypothesis,
    SampledAnew,
    check_correspondence,
    first_that_applies,
)
from brg_prob.correspondence.predictions import erg_prediction
from brg_prob.correspondence.sampled_anew import SHIFT_TOLERANCE, check_against_tempering
from brg_prob.correspondence.two_sample import TwoSample, energy_distance
from brg_prob.correspondence.verdicts import Check, Checks

__all__ = [
    "CLOSED_FORM",
    "SHIFT_TOLERANCE",
    "SPREAD",
    "Check",
    "Checks",
    "ClosedForm",
    "ClosedPosterior",
    "ExactRG",
    "Hypothesis",
    "SampledAnew",
    "TwoSample",
    "check_against_tempering",
    "check_correspondence",
    "convergence_check",
    "energy_distance",
    "erg_prediction",
    "first_that_applies",
    "leave_one_out_check",
    "with_convergence",
]
