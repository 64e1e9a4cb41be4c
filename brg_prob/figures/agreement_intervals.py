"""How far each parameter's place and spread are from the posterior sampled anew (T18d)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.arrays import Floats
from brg_prob.figures.style import (
    BLUE,
    GRID,
    MUTED,
    VERMILION,
    Picture,
    frame,
    label_axes,
    legend_above,
    new_figure,
    safe_label,
    short,
)
from brg_prob.summary import floats, group

_MOST = 20
"""Parameters drawn; the others are nearer to agreement than all of these."""


@dataclass(frozen=True, eq=False)
class _Farthest:
    """Each parameter at the scale where it is farthest from agreement, the farthest first.

    Attributes
    ----------
    names
        (k,).
    observations
        T of that scale, (k,).
    ratio, ratio_low, ratio_high
        Spread over that of the posterior sampled anew, and its interval, (k,).
    shift, shift_width
        Difference of means in standard deviations, and half its interval, (k,).
    spread, place
        Tolerances.
    hidden
        Number of parameters not drawn.
    """

    names: list[str]
    observations: Floats
    ratio: Floats
    ratio_low: Floats
    ratio_high: Floats
    shift: Floats
    shift_width: Floats
    spread: float
    place: float
    hidden: int

    @classmethod
    def of(cls, agreement: xr.Dataset) -> _Farthest:
        spread, place = float(agreement.attrs["spread"]), float(agreement.attrs["place"])
        log, log_width = floats(agreement, "log_ratio"), floats(agreement, "log_ratio_width")
        shift, width = floats(agreement, "shift"), floats(agreement, "shift_width")
        far = np.maximum((np.abs(log) + log_width) / np.log(spread), (np.abs(shift) + width) / place)
        far = np.where(np.isnan(far), -1.0, far)
        scale = far.argmax(axis=0)
        order = np.argsort(-far.max(axis=0), kind="stable")[:_MOST]
        at = (scale[order], order)
        centre, half = np.clip(log[at], -30, 30), np.minimum(log_width[at], 30)
        return cls(
            names=[str(name) for name in agreement["parameter"].values[order]],
            observations=floats(agreement, "scale")[scale[order]],
            ratio=np.exp(centre),
            ratio_low=np.exp(centre - half),
            ratio_high=np.exp(centre + half),
            shift=shift[at],
            shift_width=width[at],
            spread=spread,
            place=place,
            hidden=far.shape[1] - order.size,
        )

    @property
    def inside(self) -> np.ndarray:
        """Whether both intervals lie within tolerance, (k,)."""
        close = (self.ratio_high < self.spread) & (self.ratio_low > 1 / self.spread)
        return np.asarray(close & (np.abs(self.shift) + self.shift_width < self.place))


def agreement_picture(tree: xr.DataTree) -> Picture | None:
    """Draw place and spread of each parameter against tempering, where they are farthest; None without any.

    Reads ``log_ratio``, ``shift`` and their half widths of ``agreement``, and its tolerances.
    """
    agreement = group(tree, "agreement")
    if not agreement or not np.isfinite(agreement["shift"].values).any():
        return None
    found = _Farthest.of(agreement)
    fig, axes = new_figure(height=1.3 + 0.24 * len(found.names), ncols=2, sharey=True)
    _draw(axes, found)
    return Picture(
        "agreement",
        fig,
        _message(found),
        "Left: the spread of each parameter’s draws under diffusion over that of the posterior sampled anew. "
        "Right: the difference of their means in standard deviations. Each at the T where that parameter is "
        "farthest from agreement, written beside its name; bars are intervals that hold for all parameters "
        "of a scale together with probability 0.95. Grey: what is said to agree, a factor "
        f"{short(found.spread)} and {short(found.place)} standard deviations."
        + (f" {found.hidden} more parameters are nearer to agreement than these." if found.hidden else ""),
        _words(found),
        frame(
            {
                ("parameter", ""): np.array(found.names, dtype=object),
                ("observations T", ""): found.observations,
                ("ratio of standard deviations", ""): found.ratio,
                ("its lower end", ""): found.ratio_low,
                ("its upper end", ""): found.ratio_high,
                ("difference of means", "sd"): found.shift,
                ("half its interval", "sd"): found.shift_width,
            }
        ),
        "correspondence",
    )


def _draw(axes: list[Axes], found: _Farthest) -> None:
    """Draw ratios on the left, shifts on the right, a row for each parameter."""
    rows = np.arange(len(found.names))[::-1]
    left, right = axes
    left.axvspan(1 / found.spread, found.spread, color=GRID, zorder=0, lw=0)
    right.axvspan(-found.place, found.place, color=GRID, zorder=0, lw=0)
    for inside, colour, label in ((True, BLUE, "within"), (False, VERMILION, "not known to be within")):
        own = found.inside == inside
        if not own.any():
            continue
        bars = np.stack([found.ratio - found.ratio_low, found.ratio_high - found.ratio])[:, own]
        style: dict[str, Any] = {
            "fmt": "o" if inside else "s",
            "ms": 4,
            "color": colour,
            "lw": 1.2,
            "label": label,
        }
        left.errorbar(found.ratio[own], rows[own], xerr=bars, **style)
        right.errorbar(found.shift[own], rows[own], xerr=found.shift_width[own], **style)
    left.set_xscale("log")
    ticks = [value for value in (0.25, 0.5, 0.8, 1, 1.25, 2, 4) if _shown(value, left.get_xlim())]
    left.set_xticks(ticks, [short(value) for value in ticks])
    left.minorticks_off()
    named = zip(found.names, found.observations, strict=True)
    left.set_yticks(
        rows, [f"{safe_label(name, 18)}, T = {short(at, 3)}" for name, at in named], parse_math=False
    )
    for ax, middle, name in ((left, 1.0, "ratio of spreads"), (right, 0.0, "shift (standard deviations)")):
        ax.axvline(middle, color=MUTED, lw=0.8, zorder=1)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        label_axes(ax, x=name)
    legend_above(left, 2)


def _shown(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _message(found: _Farthest) -> str:
    """Return which parameter is farthest from agreement."""
    outside = int(np.sum(~found.inside))
    first = f"{found.names[0]} at T = {short(found.observations[0], 3)}"
    how = f"spread {short(found.ratio[0], 3)} times, shift {short(found.shift[0], 2)} sd"
    if not outside:
        return f"Place and spread of every parameter lie within tolerance; farthest is {first} ({how})"
    return f"Of {outside} parameter{'s' * (outside > 1)} it is not known; farthest is {first} ({how})"


def _words(found: _Farthest) -> str:
    """Return the rows in words."""
    rows = zip(found.names, found.observations, found.ratio, found.shift, strict=True)
    said = [f"{n} at T = {short(t, 3)}: {short(r, 3)} times, {short(s, 2)} sd" for n, t, r, s in rows]
    return f"Ratio of spreads and difference of means – {'; '.join(said)}."
