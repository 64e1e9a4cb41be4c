"""Information geometry: standard-normal coordinates, the Fisher metric, its whitened spectrum."""

from brg_prob.geometry.coordinates import StandardNormalCoordinates
from brg_prob.geometry.information import FisherMetric, fisher_metric, fisher_spectrum, hidden_layers
from brg_prob.geometry.model_metric import ModelMetric, model_metric
from brg_prob.geometry.observation import ObservationInformation, observation_information
from brg_prob.geometry.sloppiness import sloppiness
from brg_prob.geometry.spectrum import ReadoutModes, cross_modes, readout_modes, whitened_features
from brg_prob.geometry.transport import NoTransport

__all__ = [
    "FisherMetric",
    "ModelMetric",
    "NoTransport",
    "ObservationInformation",
    "ReadoutModes",
    "StandardNormalCoordinates",
    "cross_modes",
    "fisher_metric",
    "fisher_spectrum",
    "hidden_layers",
    "model_metric",
    "observation_information",
    "readout_modes",
    "sloppiness",
    "whitened_features",
]
