"""Where flow and prediction meet: the test of BRG = ERG, which can fail (T9, T18)."""

from brg_prob.correspondence.correspondence import check_correspondence
from brg_prob.correspondence.predictions import erg_prediction
from brg_prob.correspondence.result import Check, Checks
from brg_prob.correspondence.tempering import CLOSED_FORM, Tempered, check_tempering

__all__ = [
    "CLOSED_FORM",
    "Check",
    "Checks",
    "Tempered",
    "check_correspondence",
    "check_tempering",
    "erg_prediction",
]
