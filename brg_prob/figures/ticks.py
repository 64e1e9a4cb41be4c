"""Minor ticks of logarithmic axes, one artist per axis.

matplotlib's own are several objects per tick: making, laying out and drawing them takes a third of the time
of a figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

_LENGTH, _WIDTH = 2.0, 0.8
_PLACES = LogLocator(base=10, subs=tuple(range(2, 10)), numticks=12)


def minor_ticks(ax: Axes, which: str, colour: str) -> None:
    """Give a logarithmic axis, and those that share it, short ticks at 2, 3, … 9 times each power of ten.

    Parameters
    ----------
    ax
        Axes whose ``which`` axis is logarithmic already.
    which
        ``x`` or ``y``.
    colour
        Colour of the ticks.
    """
    remove_minor_ticks(ax, which)
    for one in _sharing(ax, which):
        getattr(one, f"{which}axis").set_minor_locator(NullLocator())
        one.add_artist(_MinorTicks(which, colour))


def remove_minor_ticks(ax: Axes, which: str) -> None:
    """Take the minor ticks of :func:`minor_ticks` off an axis and those that share it."""
    for one in _sharing(ax, which):
        for artist in [a for a in one.artists if isinstance(a, _MinorTicks) and a.which == which]:
            artist.remove()


def _sharing(ax: Axes, which: str) -> list[Axes]:
    """Return the axes that share an axis, themselves included."""
    return list(getattr(ax, f"get_shared_{which}_axes")().get_siblings(ax))


class _MinorTicks(Artist):
    """The ticks inside the limits that the axis has when it is drawn; no part of the layout."""

    def __init__(self, which: str, colour: str) -> None:
        super().__init__()
        self.which, self.colour = which, colour
        self.set_in_layout(False)
        self.set_zorder(0.5)  # as ticks below what is drawn

    def draw(self, renderer: Any) -> None:
        """Draw all ticks as markers of one line."""
        ax = self.axes
        if not isinstance(ax, Axes) or not ax.axison or not self.get_visible():
            return
        axis = getattr(ax, f"{self.which}axis")
        low, high = sorted(axis.get_view_interval())
        if axis.get_scale() != "log" or not 0 < low < high:
            return
        at = np.asarray(_PLACES.tick_values(low, high))
        at = at[(at >= low) & (at <= high)]
        edge = np.zeros(at.size)
        line = Line2D(
            *((at, edge) if self.which == "x" else (edge, at)),
            ls="none",
            marker=3 if self.which == "x" else 0,  # matplotlib's TICKDOWN and TICKLEFT
            ms=_LENGTH,
            mew=_WIDTH,
            color=self.colour,
            transform=getattr(ax, f"get_{self.which}axis_transform")(which="tick1"),
        )
        line.set_figure(ax.figure)
        line.draw(renderer)
        self.stale = False
