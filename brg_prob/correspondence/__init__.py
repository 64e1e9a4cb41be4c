"""Where flow and prediction meet: the test of BRG = ERG, which can fail (T9, T18)."""

from brg_prob.correspondence.correspondence import check_correspondence
from brg_prob.correspondence.predictions import erg_prediction
from brg_prob.correspondence.result import Check, Checks

__all__ = ["Check", "Checks", "check_correspondence", "erg_prediction"]
