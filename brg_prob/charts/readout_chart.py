"""What the charts of a linear readout share: one member's network, data and draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import xarray as xr
from jax import Array

from brg_prob.charts.field_draws import FieldDraws
from brg_prob.charts.readout_draws import ReadoutDraws, field_of
from brg_prob.geometry import ReadoutModes
from brg_prob.network import Hidden, LinearReadout


@dataclass(frozen=True, eq=False)
class ReadoutChart:
    """Fields (S, n + h, o) of one member, at training and then at held-out inputs.

    Attributes
    ----------
    network, hidden
        The readout at its hidden layers.
    spectrum
        Its Fisher modes.
    draws
        This member's draws, with the data.
    key
        This member's key.
    """

    network: LinearReadout
    hidden: Hidden
    spectrum: ReadoutModes
    draws: ReadoutDraws
    key: Array

    null_bound: ClassVar[float] = 0.0

    @cached_property
    def start(self) -> FieldDraws:
        """The posterior's draws of the field."""
        return FieldDraws(self.draws.field)

    def read(self, tree: xr.DataTree) -> FieldDraws:
        """Return the field of another posterior at the same inputs."""
        return FieldDraws(field_of(tree, held_out=self.draws.data.held_out is not None))
