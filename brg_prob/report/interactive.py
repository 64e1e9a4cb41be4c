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
from brg_prob.summary import group, scale_rows

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
    scales = tree["flow"].sizes["scale"]
    if scales < 2:
        return None
    drawn = (field_panel(tree), propagator_panel(tree), fisher_panel(tree), histogram_panel(tree))
    panels = [panel for panel in drawn if panel is not None and len(panel.captions) == scales]
    return Slider(_texts(tree), panels, _note(panels))


@cache
def slider_scripts() -> tuple[str, str]:
    """Return the plotting library and the script that moves the panels."""
    return vega_script(), (files("brg_prob.report") / "slider.js").read_text(encoding="utf-8")


def _note(panels: list[Panel]) -> str:
    """Return which axes move, and what is left out by thinning or because the run does not hold it."""
    names = {panel.name for panel in panels}
    moves = ", but for the density of the histogram" if "moving-histogram" in names else ""
    words = [f"The axes stay the same at all scales{moves}."]
    words += [f"{thinned}." for thinned in dict.fromkeys(panel.thinned for panel in panels) if thinned]
    missing = [what for name, what in _WHAT.items() if name not in names]
    words += [f"This run does not hold {' and '.join(missing)} for each scale."] if missing else []
    return " ".join([*words, "Numbers in these panels carry six digits; the full ones are in draws.nc."])


def _texts(tree: xr.DataTree) -> list[str]:
    """Return T (or the flow's own coordinate), Λ′ and d_eff at each scale."""
    rows, unit = scale_rows(tree), momentum_unit(input_unit(tree))
    lines = []
    for place, row in enumerate(rows, start=1):
        seen = f"T = {number(row['observations'])} observations"
        words = [seen if np.isfinite(row["observations"]) else f"cutoff Λ_I = {number(row['scale'])}"]
        if "momentum_cutoff" in group(tree, "theory"):
            words.append(f"momentum cutoff Λ′ = {number(row['momentum_cutoff'])} {unit}")
        if np.isfinite(row["effective_dimension"]):
            words.append(f"effective dimension {number(row['effective_dimension'])}")
        lines.append(f"{', '.join(words)} (scale {place} of {len(rows)})")
    return lines
