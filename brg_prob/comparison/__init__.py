"""Field theories against each other: numbers only, from what run folders hold; no network is executed."""

from brg_prob.comparison.compared_run import Reportable
from brg_prob.comparison.comparison import Comparison, compare
from brg_prob.comparison.differences import LEVEL, QUANTITIES
from brg_prob.comparison.sentences import curve_message, headline, leads, value_error

__all__ = [
    "LEVEL",
    "QUANTITIES",
    "Comparison",
    "Reportable",
    "compare",
    "curve_message",
    "headline",
    "leads",
    "value_error",
]
