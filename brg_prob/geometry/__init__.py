"""Information geometry: standard-normal coordinates, the Fisher metric, its whitened spectrum."""

from brg_prob.geometry.coordinates import StandardNormalCoordinates
from brg_prob.geometry.fisher import fisher_metric
from brg_prob.geometry.metric import FieldModes, FisherMetric
from brg_prob.geometry.observation import ObservationInformation, observation_information
from brg_prob.geometry.readout_metric import ReadoutMetric, fisher_spectrum, hidden_layers
from brg_prob.geometry.readout_spectrum import ReadoutModes, cross_modes, readout_modes, whitened_features
from brg_prob.geometry.site_metric import SiteMetric, coordinates_alone, site_metric
from brg_prob.geometry.sloppiness import sloppiness
from brg_prob.geometry.transport import NoTransport

__all__ = [
    "FieldModes",
    "FisherMetric",
    "NoTransport",
    "ObservationInformation",
    "ReadoutMetric",
    "ReadoutModes",
    "SiteMetric",
    "StandardNormalCoordinates",
    "coordinates_alone",
    "cross_modes",
    "fisher_metric",
    "fisher_spectrum",
    "hidden_layers",
    "observation_information",
    "readout_modes",
    "site_metric",
    "sloppiness",
    "whitened_features",
]
