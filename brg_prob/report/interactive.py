"""The slider over scales: what it says and what it moves at each scale of the first flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr

from brg_prob.figures.style import input_unit, momentum_unit
from brg_prob.report.bundle import vega_script
from brg_prob.report.page import number
from brg_prob.report.panels import Panel, field_panel, fisher_panel, histogram_panel, propagator_panel

_WHAT = {
    "moving-field": "the field along a line",
    "moving-propagator": "propagators",
    "moving-histogram": "a histogram of the field",
}


@dataclass(frozen=True)
class Slider:
    """A slider over scales and its panels.

    Attributes
    ----------
    texts
        What the slider stands at, in words, for each scale.
    panels
        Up to four; those whose groups the tree lacks are left out.
    note
        Which axes move and what the panels leave out, in sentences.
    """

    texts: list[str]
    panels: list[Panel]
    note: str

    def content(self) -> dict[str, Any]:
        """Return what ``slider.js`` reads, as JSON types."""
        return {"texts": self.texts, "panels": [panel.content() for panel in self.panels]}


def slider(tree: xr.DataTree) -> Slider | None:
    """Return the slider of a run's tree, or None for a flow of a single scale.

    Reads ``flow`` and, as far as they are there, ``slides``, ``theory``, ``fisher`` and ``record``.
    """
    flow = tree["flow"].to_dataset()
    scales = flow.sizes["scale"]
    if scales < 2:
        return None
    observations = np.asarray(flow["observations"].values, dtype=float)
    found = (
        field_panel(tree),
        propagator_panel(tree),
        fisher_panel(tree, observations),
        histogram_panel(tree),
    )
    panels = [panel for panel in found if panel is not None and len(panel.captions) == scales]
    return Slider(_texts(tree, flow, observations), panels, _note(panels))


@cache
def slider_scripts() -> tuple[str, str]:
    """Return the plotting library and the script that moves the panels."""
    own = (files("brg_prob.report") / "slider.js").read_text(encoding="utf-8")
    return vega_script(), own


def _note(panels: list[Panel]) -> str:
    """Return which axes move, and what is left out by thinning or because the run does not hold it."""
    shown = {panel.name for panel in panels}
    moves = ", but for the density of the histogram" if "moving-histogram" in shown else ""
    words = [f"The axes stay the same at all scales{moves}."]
    words += [f"{thinned}." for thinned in dict.fromkeys(panel.thinned for panel in panels) if thinned]
    missing = [what for name, what in _WHAT.items() if name not in shown]
    words += [f"This run does not hold {' and '.join(missing)} for each scale."] if missing else []
    return " ".join([*words, "Numbers in these panels carry six digits; the full ones are in draws.nc."])


def _texts(tree: xr.DataTree, flow: xr.Dataset, observations: np.ndarray) -> list[str]:
    """Return T (or the flow's own coordinate), Λ′ and d_eff at each scale."""
    theory = tree["theory"].to_dataset() if "theory" in tree.children else xr.Dataset()
    scale = np.asarray(flow["scale"].values, dtype=float)
    dimension = np.asarray(flow["effective_dimension"].values, dtype=float)
    unit = momentum_unit(input_unit(tree))
    lines = []
    for index in range(scale.size):
        t = float(observations[index])
        words = [
            f"T = {number(t)} observations"
            if np.isfinite(t)
            else f"cutoff Λ_I = {number(float(scale[index]))}"
        ]
        if "momentum_cutoff" in theory:
            cutoff = float(theory["momentum_cutoff"].values[index])
            words.append(f"momentum cutoff Λ′ = {number(cutoff)} {unit}")
        if np.isfinite(dimension[index]):
            words.append(f"effective dimension {number(float(dimension[index]))}")
        lines.append(", ".join(words) + f" (scale {index + 1} of {scale.size})")
    return lines
