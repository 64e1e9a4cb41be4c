"""Networks as NumPyro models: capabilities, readout priors, reading sites, binding columns."""

from brg_prob.network.protocols import (
    Covariance,
    FreeField,
    Hidden,
    InfiniteWidth,
    LinearReadout,
    Network,
    require,
)
from brg_prob.network.readout import LowRankUpdate, ReadoutPrior, isotropic_prior

__all__ = [
    "Covariance",
    "FreeField",
    "Hidden",
    "InfiniteWidth",
    "LinearReadout",
    "LowRankUpdate",
    "Network",
    "ReadoutPrior",
    "isotropic_prior",
    "require",
]
