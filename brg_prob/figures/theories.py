"""Prior against posterior field theory, side by side (T1, T3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.arrays import thin
from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    Picture,
    dimension,
    frame,
    group_units,
    head,
    label_axes,
    legend,
    log_axis,
    momentum_axis,
    momentum_unit,
    new_axes,
    power_unit,
    quantity,
    raised,
    safe_label,
    short,
    stacked,
    with_error,
)
from brg_prob.figures.thinning import peaks
from brg_prob.summary import floats, group

_MOST_MARKERS = 40
_STYLES: dict[str, dict[str, Any]] = {
    "prior": {"color": ORANGE, "fmt": "s--"},
    "posterior": {"color": BLUE, "fmt": "o-"},
}
_COLUMNS = (0.48, 0.75)  # where the list's columns begin
_SIGNIFICANT = 2.0  # standard errors
_FUNCTIONS = {
    "two_point": "connected two-point function of the field against the distance of its points",
    "four_point": "connected four-point function κ₄(f(x), f(x), f(x+r), f(x+r)), relative to the variance "
    "squared: zero for a Gaussian field",
    "power": "power spectrum",
}


def theories_picture(tree: xr.DataTree) -> Picture | None:
    """Draw two-point, four-point function and power spectrum of both theories, and list their numbers.

    Reads ``field_theory`` (lag, two_point, four_point, power, mass_squared, effective_dimension,
    kl_to_prior, wasserstein, excess_kurtosis and their errors ``…_se``). None without a two-point
    function; each other panel, and each row of the list, is left out without its variable.
    """
    data = group(tree, "field_theory")
    if "two_point" not in data:
        return None
    theories = _Theories(data, *group_units(tree, "field_theory"), dimension(tree))
    panels = [name for name in _FUNCTIONS if theories.has(name)]
    rows = theories.rows()
    heights = [2.15 * len(panels), 0.45 + 0.24 * len(rows)]
    fig, parts = stacked(*heights[: 1 + bool(rows)])
    axes = list(np.ravel(new_axes(parts[0], nrows=len(panels))))
    for name, ax in zip(panels, axes, strict=True):
        {"two_point": _two_point, "four_point": _four_point, "power": _power}[name](ax, theories)
    legend(axes[0], loc="best")
    if rows:
        _list(parts[1].subplots(), rows)
    return Picture(
        "theories",
        fig,
        theories.message(),
        _caption(panels, theories.data),
        _words(theories, rows),
        _numbers(theories),
        "theories",
    )


@dataclass(frozen=True)
class _Theories:
    """The group ``field_theory`` with its units and the dimension of space."""

    data: xr.Dataset
    field: str
    length: str
    dim: int

    def has(self, name: str) -> bool:
        """Return whether a variable is there and holds anything."""
        return name in self.data and bool(np.isfinite(self.data[name].values).any())

    def of(self, name: str, state: str) -> np.ndarray:
        """Return a variable of one state."""
        return floats(self.data.sel(state=state), name)

    def error(self, name: str, state: str) -> np.ndarray:
        """Return the standard error of a variable; nan where there is none."""
        known = f"{name}_se" in self.data
        return self.of(f"{name}_se", state) if known else np.full(self.of(name, state).shape, np.nan)

    def distances(self, ax: Axes) -> np.ndarray:
        """Return where distances stand on the horizontal axis; logarithmic unless they are evenly spaced."""
        lag = floats(self.data, "lag")
        label_axes(ax, x=quantity("distance r", self.length))
        if lag.size > 2 and not np.allclose(np.diff(lag), lag[1] - lag[0], rtol=0.02):
            return momentum_axis(ax, lag)
        return lag

    def variance(self, state: str) -> float:
        """Return G(0), the two-point function at the smallest distance there is."""
        return float(self.of("two_point", state)[np.argmin(np.abs(floats(self.data, "lag")))])

    def single_numbers(self) -> dict[str, tuple[str, str]]:
        """Return label and unit of the quantities that are one number per state."""
        known = {
            "mass_squared": ("mass²", raised(self.length, -2)),
            "excess_kurtosis": ("excess kurtosis", ""),
            "effective_dimension": ("effective dimension", ""),
            "kl_to_prior": ("KL to prior", "nats"),
            "wasserstein": ("W₂ to prior", self.field),
        }
        return {name: labels for name, labels in known.items() if self.has(name)}

    def rows(self) -> list[tuple[str, str, str]]:
        """Return those numbers in words: name with unit, prior, posterior."""
        return [
            (quantity(label, unit), self.cell(name, "prior"), self.cell(name, "posterior"))
            for name, (label, unit) in self.single_numbers().items()
        ]

    def cell(self, name: str, state: str) -> str:
        """Return one number with its error, or a dash."""
        value = float(self.of(name, state))
        return with_error(value, float(self.error(name, state))) if np.isfinite(value) else "–"

    def message(self) -> str:
        """Return what training does to the fluctuations and to the mass."""
        before, after = (np.sqrt(max(self.variance(state), 0.0)) for state in _STYLES)
        verb = "narrows" if after < before else "widens"
        text = f"Training {verb} the field’s fluctuations from {short(before)} to {short(after)} {self.field}"
        text = text.rstrip()
        if not (self.has("mass_squared") and np.isfinite(self.data["mass_squared"].values).all()):
            return text
        first, last = (float(self.of("mass_squared", state)) for state in _STYLES)
        errors = [float(np.nan_to_num(self.error("mass_squared", state))) for state in _STYLES]
        unit = raised(self.length, -2)
        if abs(last - first) <= _SIGNIFICANT * math.hypot(*errors):
            return f"{text} and leaves its mass² at {short(first)} {unit}".rstrip() + " within errors"
        change = "raises" if last > first else "lowers"
        return f"{text} and {change} its mass² from {short(first)} to {short(last)} {unit}".rstrip()


def _estimates(ax: Axes, theories: _Theories, name: str, at: np.ndarray, units: dict[str, float]) -> None:
    """Draw a function of both states in ``units``, one standard error; no more markers than can be parted."""
    chosen = thin(at.size, _MOST_MARKERS)
    style: dict[str, Any] = {"ms": 3.6, "mfc": "none", "mew": 1.0, "lw": 1.0, "elinewidth": 1.0}
    for state, unit in units.items():
        value, error = theories.of(name, state) / unit, theories.error(name, state) / unit
        bars = np.nan_to_num(error[chosen])
        ax.errorbar(at[chosen], value[chosen], bars, label=state, **style, **_STYLES[state])


def _two_point(ax: Axes, theories: _Theories) -> None:
    """Draw the connected two-point functions against the distance."""
    lag = theories.distances(ax)
    if "two_point_exact" in theories.data:
        exact = floats(theories.data, "two_point_exact")
        kept = peaks(exact)
        ax.plot(lag[kept], exact[kept], "-", color=INK, lw=1.0, label="prior, exact", zorder=3)
    _estimates(ax, theories, "two_point", lag, dict.fromkeys(_STYLES, 1.0))
    ax.axhline(0, color=MUTED, lw=0.8, zorder=1)
    head(ax, quantity("two-point function", raised(theories.field, 2)))


def _four_point(ax: Axes, theories: _Theories) -> None:
    """Draw the connected four-point functions against the distance, relative to the variance squared."""
    lag = theories.distances(ax)
    squares = {state: theories.variance(state) ** 2 for state in _STYLES}
    _estimates(ax, theories, "four_point", lag, {state: unit for state, unit in squares.items() if unit > 0})
    ax.axhline(0, color=INK, lw=1.0, zorder=1)
    head(ax, "four-point function / G(0)²")


def _power(ax: Axes, theories: _Theories) -> None:
    """Draw the power spectra against momentum."""
    values = floats(theories.data, "power")
    if (values > 0).any():
        log_axis(ax, "y", values[values > 0].min(), np.nanmax(values))
    positive = replace(theories, data=theories.data.assign(power=theories.data["power"].where(values > 0)))
    momentum = floats(theories.data, "momentum")
    _estimates(ax, positive, "power", momentum, dict.fromkeys(_STYLES, 1.0))
    head(ax, quantity("power spectrum", power_unit(theories.field, theories.length, theories.dim)))
    label_axes(ax, x=quantity("momentum |p|", momentum_unit(theories.length)))


def _list(ax: Axes, rows: list[tuple[str, str, str]]) -> None:
    """Write the numbers as a small table."""
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(len(rows) + 0.5, -0.5))
    style: dict[str, Any] = {"color": INK, "fontsize": 10, "va": "center", "parse_math": False}
    for at, word, colour in zip(_COLUMNS, _STYLES, (ORANGE, BLUE), strict=True):
        ax.text(at + 0.045, 0, word, **(style | {"weight": "bold"}))
        ax.plot([at + 0.015], [0], "s" if word == "prior" else "o", ms=5, mfc="none", mew=1.3, color=colour)
    for number, (label, *cells) in enumerate(rows, start=1):
        ax.axhline(number - 0.5, color=MUTED, lw=0.4)
        ax.text(0.0, number, label, **style)
        for at, cell in zip(_COLUMNS, cells, strict=True):
            ax.text(at, number, cell, **style)


def _caption(panels: list[str], data: xr.Dataset) -> str:
    """Return what is drawn."""
    drawn = "; ".join(_FUNCTIONS[name] for name in panels)
    distance = "wasserstein" in data and bool(np.isfinite(data["wasserstein"].values).any())
    note = safe_label(str(data.attrs.get("note", "")), 600) or "Fluctuations about each state’s own mean."
    return (
        f"From above: {drawn}. One standard error; neighbouring points share draws and scatter together. "
        f"{note.rstrip('.')}."
        + (" W₂: root-mean-square distance per input by which the prior must be moved." if distance else "")
    )


def _words(theories: _Theories, rows: list[tuple[str, str, str]]) -> str:
    """Return the theories in numbers."""
    before, after = (short(theories.variance(state)) for state in _STYLES)
    text = f"The variance goes from {before} (prior) to {after} {raised(theories.field, 2)}".rstrip() + "."
    if theories.has("four_point") and theories.has("four_point_se"):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(theories.data["four_point"].values / theories.data["four_point_se"].values)
        far = short(float(np.nanmax(ratio)), 2)
        text += f" No four-point value is farther from zero than {far} standard errors."
    listed = "; ".join(f"{label}: {prior} and {posterior}" for label, prior, posterior in rows)
    return f"{text} Prior and posterior: {listed}." if rows else text


def _numbers(theories: _Theories) -> pd.DataFrame:
    """Return all functions of both states, then their single numbers, one below the other."""
    field, length = theories.field, theories.length
    along = {
        "two_point": ("lag", length, "two-point", raised(field, 2)),
        "four_point": ("lag", length, "four-point", raised(field, 4)),
        "power": ("momentum", momentum_unit(length), "power", power_unit(field, length, theories.dim)),
    }
    known = {name: entry for name, entry in along.items() if theories.has(name)}
    functions = [
        _columns(theories, name, label, state, {(axis, axis_unit): floats(theories.data, axis)})
        for name, (axis, axis_unit, *label) in known.items()
        for state in _STYLES
    ]
    numbers = [
        _columns(theories, name, label, state, {})
        for name, label in theories.single_numbers().items()
        for state in _STYLES
    ]
    return pd.concat([*functions, *numbers], ignore_index=True)


def _columns(
    theories: _Theories,
    name: str,
    label_and_unit: Sequence[str],
    state: str,
    at: dict[tuple[str, str], np.ndarray],
) -> pd.DataFrame:
    """Return one quantity of one state with its error."""
    label, unit = label_and_unit
    columns = {**at, (label, unit): np.atleast_1d(theories.of(name, state))}
    if f"{name}_se" in theories.data:
        columns[f"{label} standard error", unit] = np.atleast_1d(theories.error(name, state))
    return frame(columns, series=label, state=state)
