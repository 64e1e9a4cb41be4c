"""Charts: coordinates of draws in which the prior is N(0, 1), whatever the draws are of (T5–T8)."""

from brg_prob.charts.atlas import atlas_of
from brg_prob.charts.chart import Atlas, Basis, Chart, ModeChart, replace_modes

__all__ = ["Atlas", "Basis", "Chart", "ModeChart", "atlas_of", "replace_modes"]
