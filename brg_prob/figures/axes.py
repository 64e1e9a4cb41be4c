"""The scale of a flow as a horizontal axis, the flow always to the right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import label_axes, log_axis


@dataclass(frozen=True)
class FlowAxis:
    """Positions of a flow's scales on a logarithmic axis.

    Attributes
    ----------
    values
        Observations T, or the flow's own cutoff where no T belongs to it (raw units, T8).
    shown
        Which scales can stand on a logarithmic axis: finite and positive.
    by_observations
        Whether ``values`` are observations T.
    """

    values: np.ndarray
    shown: np.ndarray
    by_observations: bool

    @property
    def symbol(self) -> str:
        """Return the coordinate's symbol."""
        return "T" if self.by_observations else "Λ_I"

    @property
    def column(self) -> tuple[str, str]:
        """Return the coordinate's name and (empty) unit, for a table."""
        return ("observations T" if self.by_observations else "information cutoff", "")

    @property
    def direction(self) -> str:
        """Return in a sentence which way the flow runs."""
        verb = "falls" if self.by_observations else "rises"
        return f"{self.symbol} {verb} to the right, towards the prior."

    def at(self, index: int) -> str:
        """Return a scale in words."""
        return f"{self.symbol} = {self.values[index]:.3g}"

    def draw(self, ax: Axes) -> None:
        """Make the horizontal axis that of the flow."""
        log_axis(ax, "x", self.values.min(), self.values.max())
        name = "observations T" if self.by_observations else "information cutoff Λ_I"
        label_axes(ax, x=f"{name} (flow →)")
        if self.by_observations and not ax.xaxis_inverted():
            ax.invert_xaxis()


def flow_axis(flow: xr.Dataset) -> FlowAxis:
    """Return the axis of a flow; reads ``observations``, or ``scale`` where those are not all known."""
    observations = np.asarray(flow["observations"].values, dtype=float)
    known = not np.isnan(observations).any()
    values = observations if known else np.asarray(flow["scale"].values, dtype=float)
    shown = np.isfinite(values) & (values > 0)
    return FlowAxis(values[shown], shown, known)
