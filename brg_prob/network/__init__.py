"""Networks as NumPyro models: capabilities, readout priors, reading sites, binding columns."""

from brg_prob.network.bind import Binding, bind
from brg_prob.network.conditioned import Conditioned
from brg_prob.network.handlers import Tempered
from brg_prob.network.protocols import (
    Covariance,
    FreeField,
    Hidden,
    InfiniteWidth,
    LinearReadout,
    Network,
    network_label,
    require,
)
from brg_prob.network.readout_prior import LowRankUpdate, ReadoutPrior, isotropic_prior
from brg_prob.network.trace import ModelSites, NoField, read_model

__all__ = [
    "Binding",
    "Conditioned",
    "Covariance",
    "FreeField",
    "Hidden",
    "InfiniteWidth",
    "LinearReadout",
    "LowRankUpdate",
    "ModelSites",
    "Network",
    "NoField",
    "ReadoutPrior",
    "Tempered",
    "bind",
    "isotropic_prior",
    "network_label",
    "read_model",
    "require",
]
