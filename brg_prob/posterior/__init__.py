"""Engines, one file each, and their protocol: draws of π_T in one schema."""

from brg_prob.posterior.engine import (
    Chains,
    Data,
    Engine,
    ModelEngine,
    OneByOne,
    Tempers,
    as_data,
    default_engine,
    fit,
    prepared,
)
from brg_prob.posterior.ensemble import Ensemble
from brg_prob.posterior.exact import Exact
from brg_prob.posterior.gaussian import gaussian_posterior, infinite_width_flow
from brg_prob.posterior.given import Given
from brg_prob.posterior.gradient_flow import GradientFlow
from brg_prob.posterior.laplace import Laplace
from brg_prob.posterior.nuts import NUTS
from brg_prob.posterior.readout_members import readout_weights
from brg_prob.posterior.rehearsal import Rehearsed, rehearse
from brg_prob.posterior.sgd_exact import SgdExact
from brg_prob.posterior.variational import SVI

__all__ = [
    "NUTS",
    "SVI",
    "Chains",
    "Data",
    "Engine",
    "Ensemble",
    "Exact",
    "Given",
    "GradientFlow",
    "Laplace",
    "ModelEngine",
    "OneByOne",
    "Rehearsed",
    "SgdExact",
    "Tempers",
    "as_data",
    "default_engine",
    "fit",
    "gaussian_posterior",
    "infinite_width_flow",
    "prepared",
    "readout_weights",
    "rehearse",
]
