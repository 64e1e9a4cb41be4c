"""Correlation functions of a field from draws of it, with errors (T1).

Draws are arrays (chain, draw, x). Independent draws (``independent=True``) get ordinary
standard errors. Chains get errors from the effective number of draws of the estimated
quantity itself: the series whose mean the estimate is (for a cumulant, its influence
function), never of the field. NUTS is antithetic, and for a variance the effective draws
of the field overstate those of the squared deviation severalfold [Vehtari et al.,
arXiv:1903.08008].

Estimates run on the host in float64, index tuple by index tuple in blocks, so that no
array larger than a block of series is ever formed.
"""

from brg_prob.correlators.functions import cumulant, excess_kurtosis, n_point, two_point
from brg_prob.correlators.k_statistics import Estimate
from brg_prob.correlators.power import PowerSpectrum, power_spectrum

__all__ = [
    "Estimate",
    "PowerSpectrum",
    "cumulant",
    "excess_kurtosis",
    "n_point",
    "power_spectrum",
    "two_point",
]
