"""Which modes to trust: distinguishable, longer than the grid's spacing, shorter than its trend (T5, T9)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from brg_prob.arrays import Floats
from brg_prob.spectra import equispaced_grid
from brg_prob.summary import floats, group
from brg_prob.transform import Standardisation

_LARGEST_EDGE = 0.1  # relative boundary effect above which no mode of a record is trusted
_SLACK = 1e-6


def trust(tree: xr.DataTree, *, preparation: Standardisation | None = None) -> xr.Dataset | None:
    """Return, mode by mode, whether the data determine it and what may spoil it.

    Parameters
    ----------
    tree
        A run's tree: ``constant_data``, ``fisher``, and ``theory`` and ``record`` where there are any.
    preparation
        What was done to the record before training.

    Returns
    -------
    xarray.Dataset
        Dimension ``mode``: plane waves by |p| where there is a prediction, else Fisher modes by rank.
        ``momentum`` (nan by rank), ``signal`` Tλ, flags ``distinguishable`` (Tλ ≥ 1), ``trend`` (as long
        as the record, of which a line or a mean was taken off), ``aliased`` (at or above the training grid's
        Nyquist momentum; waves that stand for several momenta are none of these modes), ``edge`` (relative
        size of the boundary effect of a record that is not periodic, d/(mL); nan where that is not known),
        and ``trusted``: distinguishable, neither trend nor aliased, and an edge effect below .1.
        Attributes: a sentence each, ``trend_note``, ``aliased_note`` and ``edge_note``. None where the modes
        are directions of latent sites, which have no wave length.
    """
    if "direction" in tree["fisher"].data_vars:
        return None
    modes = _Modes.of(tree)
    trend, trend_note = _trend(modes, preparation)
    aliased, aliased_note = _aliased(modes)
    edge, edge_note = _edge(modes, tree, preparation)
    distinguishable = modes.signal >= 1
    trusted = distinguishable & ~trend & ~aliased & (not edge > _LARGEST_EDGE)
    variables = {
        "momentum": modes.momentum,
        "signal": modes.signal,
        "distinguishable": distinguishable.astype(int),
        "trend": trend.astype(int),
        "aliased": aliased.astype(int),
        "edge": np.full(modes.signal.size, edge),
        "trusted": trusted.astype(int),
    }
    return xr.Dataset(
        {name: ("mode", value) for name, value in variables.items()},
        coords={"mode": np.arange(1, trusted.size + 1)},
        attrs={
            "trend_note": trend_note,
            "aliased_note": aliased_note,
            "edge_note": edge_note,
            "length_unit": modes.length_unit,
        },
    )


@dataclass(frozen=True)
class _Modes:
    """The modes of a run: |p|, Tλ, and the training inputs."""

    momentum: Floats
    signal: Floats
    inputs: Floats
    mass: float
    length_unit: str
    aliased_note: str = ""

    @staticmethod
    def of(tree: xr.DataTree) -> _Modes:
        """Read a run's tree."""
        observations = float(tree.attrs["observations"])
        inputs, theory = floats(tree["constant_data"], "inputs"), group(tree, "theory")
        unit = str(group(tree, "record").attrs.get("input_unit", ""))
        if "fisher_measured" in theory:
            momentum, eigenvalue = floats(theory, "momentum"), floats(theory, "fisher_measured")
            mass = float(theory.attrs.get("mass_squared", np.nan)) ** 0.5
        else:
            eigenvalue = floats(tree["fisher"], "eigenvalue")
            momentum, mass = np.full(eigenvalue.size, np.nan), np.nan
        note = str(theory.attrs.get("aliased_note", ""))
        return _Modes(momentum, observations * eigenvalue, inputs, mass, unit, note)

    @property
    def named(self) -> bool:
        """Whether the modes have momenta."""
        return bool(np.isfinite(self.momentum).all())

    @property
    def unit(self) -> str:
        """The unit of a momentum."""
        return f"rad/{self.length_unit}" if self.length_unit else "rad per unit of length"

    @property
    def lowest(self) -> float:
        """2π/L, the momentum of the longest wave of the box; nan if there is none."""
        positive = self.momentum[self.momentum > 0]
        return float(positive.min()) if positive.size else np.nan


def _trend(modes: _Modes, preparation: Standardisation | None) -> tuple[np.ndarray, str]:
    """Return which modes went, in part, with the line and the mean taken off, and a sentence."""
    none = np.zeros(modes.signal.size, dtype=bool)
    detrended = preparation is not None and preparation.slope[0] != 0
    centred = preparation is not None and preparation.intercept[0] != 0
    if not (detrended or centred):
        return none, "Nothing was taken off the data, so no mode is lost with a trend."
    taken = "A straight line was" if detrended else "The mean was"
    if not modes.named:
        return none, f"{taken} taken off; which modes went with it is not known without a prediction."
    reach = 1.5 * modes.lowest if detrended and np.isfinite(modes.lowest) else 0.0
    flags = modes.momentum <= reach
    waves = "waves as long as the record" if detrended else "the constant"
    note = f"{taken} taken off, so {flags.sum()} of {flags.size} modes, {waves}, cannot be told from a trend."
    return flags, note


def _aliased(modes: _Modes) -> tuple[np.ndarray, str]:
    """Return which modes reach the Nyquist momentum of the training grid, and a sentence."""
    grid, none = equispaced_grid(modes.inputs), np.zeros(modes.signal.size, dtype=bool)
    if grid is None:
        return none, "The inputs are no equispaced grid, so aliasing is not judged."
    if not modes.named:
        return none, "Without a prediction modes have no momenta, so aliasing is not judged."
    nyquist = np.pi / grid.spacing
    flags = modes.momentum >= nyquist * (1 - _SLACK)
    where = f"the training grid's Nyquist momentum {nyquist:.4g} {modes.unit}"
    if flags.any():
        return flags, f"{flags.sum()} of {flags.size} modes lie at or above {where} and look like lower ones."
    if modes.aliased_note:
        return flags, f"{modes.aliased_note}. All modes shown here lie below it, and nothing looks like them."
    return (
        flags,
        f"All modes lie below {where}; what the data hold above it folds back onto the highest of them.",
    )


def _edge(modes: _Modes, tree: xr.DataTree, preparation: Standardisation | None) -> tuple[float, str]:
    """Return the relative boundary effect, d/(mL), and a sentence."""
    options = json.loads(str(tree.attrs.get("model_options", "{}")))
    own = str(group(tree, "record").attrs.get("source", "")).startswith("teacher")
    if own and options.get("box") is not None:
        return np.nan, "The data are a draw of the periodic prior itself, which has no edge."
    if preparation is None and not own:
        return np.nan, "It is not known whether the data are periodic, so the effect of edges is not judged."
    if not (np.isfinite(modes.mass) and np.isfinite(modes.lowest)) or modes.mass <= 0:
        return np.nan, "Without a prediction there is no correlation length to measure the effect of edges."
    edge = modes.inputs.shape[1] * modes.lowest / (2 * np.pi * modes.mass)
    verdict = "too much to trust any mode" if edge > _LARGEST_EDGE else "which is small"
    length = f"{1 / modes.mass:.3g} {modes.length_unit}".strip()
    return edge, (
        f"The prior is periodic and the record is not: within a correlation length {length} of its ends, "
        f"{100 * edge:.2g} % of it, the field is disturbed, {verdict}."
    )
