"""Engines, one file each, and their protocol: draws of π_T in one schema."""

from brg_prob.posterior.engine import Data, Engine, as_data, fit
from brg_prob.posterior.exact import Exact, readout_weights
from brg_prob.posterior.gaussian import gaussian_posterior

__all__ = ["Data", "Engine", "Exact", "as_data", "fit", "gaussian_posterior", "readout_weights"]
