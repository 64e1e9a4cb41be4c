"""Where flow and prediction meet: the test of BRG = ERG, which can fail (T9, T18)."""

from brg_prob.correspondence.convergence import convergence_check, leave_one_out_check, with_convergence
from brg_prob.correspondence.correspondence import check_correspondence
from brg_prob.correspondence.predictions import erg_prediction
from brg_prob.correspondence.result import Check, Checks
from brg_prob.correspondence.sampled_anew import SHIFT_TOLERANCE, check_against_tempering
from brg_prob.correspondence.tempering import CLOSED_FORM, Tempered, check_tempering
from brg_prob.correspondence.two_sample import TwoSample, energy_distance

__all__ = [
    "CLOSED_FORM",
    "SHIFT_TOLERANCE",
    "Check",
    "Checks",
    "Tempered",
    "TwoSample",
    "check_against_tempering",
    "check_correspondence",
    "check_tempering",
    "convergence_check",
    "energy_distance",
    "erg_prediction",
    "leave_one_out_check",
    "with_convergence",
]
