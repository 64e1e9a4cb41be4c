"""The scale of a flow as a horizontal axis, the flow always to the right."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import columns_of, frame, label_axes, log_axis
from brg_prob.summary import floats, group


@dataclass(frozen=True)
class FlowAxis:
    """A flow at those of its scales that can stand on a logarithmic axis.

    Attributes
    ----------
    flow
        The flow, all scales.
    values
        Observations T, or the flow's own cutoff where no T belongs to it (raw units, T8).
    shown
        Which scales can stand on a logarithmic axis: finite and positive.
    by_observations
        Whether ``values`` are observations T.
    """

    flow: xr.Dataset
    values: np.ndarray
    shown: np.ndarray
    by_observations: bool

    @property
    def scheme(self) -> str:
        """Return the name of the flow."""
        return str(self.flow.attrs.get("scheme", "flow")).lower()

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

    def has(self, name: str) -> bool:
        """Return whether the flow has a variable, finite somewhere."""
        return name in self.flow and bool(np.isfinite(floats(self.flow, name)).any())

    def along(self, name: str) -> np.ndarray:
        """Return a variable of the flow at the scales shown."""
        return floats(self.flow, name)[self.shown]

    def numbers(self, labels: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
        """Return those variables that the flow has as a table; ``labels``: variable → (name, unit)."""
        columns = columns_of(self.flow, labels, self.shown)
        return frame({self.column: self.values} | columns, series=self.scheme)

    def draw(self, ax: Axes) -> None:
        """Make the horizontal axis that of the flow."""
        log_axis(ax, "x", self.values.min(), self.values.max())
        name = "observations T" if self.by_observations else "information cutoff Λ_I"
        label_axes(ax, x=f"{name} (flow →)")
        if self.by_observations and not ax.xaxis_inverted():
            ax.invert_xaxis()


def flow_axis(flow: xr.Dataset) -> FlowAxis:
    """Return the axis of a flow; reads ``observations``, or ``scale`` where those are not all known."""
    known = not np.isnan(floats(flow, "observations")).any()
    values = floats(flow, "observations" if known else "scale")
    shown = np.isfinite(values) & (values > 0)
    return FlowAxis(flow, values[shown], shown, known)


def flow_axes(tree: xr.DataTree, paths: Collection[str], needed: Collection[str]) -> list[FlowAxis]:
    """Return flows of a run up to the first that lacks a variable, all on the coordinate of the first.

    Parameters
    ----------
    tree
        A run's tree.
    paths
        Groups of the flows.
    needed
        Variables that must be there, each with something finite.
    """

    def complete(flow: xr.Dataset) -> bool:
        return all(name in flow and np.isfinite(flow[name].values).any() for name in needed)

    axes = [flow_axis(flow) for flow in takewhile(complete, (group(tree, path) for path in paths))]
    return [axis for axis in axes if axis.by_observations == axes[0].by_observations]
