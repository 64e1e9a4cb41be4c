"""The data's own power spectrum against the prior predictive law (T9)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from brg_prob.correspondence.observed_power import data_spectrum as project
from brg_prob.correspondence.observed_power import predicted_variance
from brg_prob.correspondence.plane_waves import grid_misfit, momentum_modes
from brg_prob.erg import FreeTheory
from brg_prob.flow import Flow
from brg_prob.observables.fluctuation_power import bin_starts
from brg_prob.observables.units import field_factor, unit_attributes
from brg_prob.transform import Standardisation

_LEVEL = 0.95


def data_spectrum(
    flow: Flow,
    prediction: FreeTheory,
    *,
    preparation: Standardisation | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset | None:
    """Return the power of the data per plane wave and what prior and noise predict for it.

    Parameters
    ----------
    flow
        Holds the training data.
    prediction
        The free theory that the data are held against.
    preparation
        What was done to the record; power is given in its units before that.
    units
        Units of ``field`` and ``length``, for the attributes.

    Returns
    -------
    xarray.Dataset or None
        Dimension ``momentum``, at most 60 bins of |p|, log-spaced where they are wide: ``modes`` averaged
        in a bin, never fewer than in the one before, so that the band has no spikes; ``power`` of the data,
        ``predicted`` G0(p) + σ²L^d/n, and the central 95 % band ``low`` to ``high`` of the power under
        that law; f² · length^d. First output. Waves that stand for several momenta of the field are left out.
        None where the inputs do not fill the prediction's box.

    Notes
    -----
    A bin of N plane waves of variances v has Σ v χ²₁/N: the χ² law where they are equal, else
    that of the same mean and variance (Satterthwaite), which differs little in narrow bins.
    """
    if grid_misfit(flow.x, box=prediction.box):
        return None
    modes = momentum_modes(np.asarray(flow.x), box=prediction.box, cutoff=prediction.cutoff, beyond=True)
    data = project(modes, np.asarray(flow.targets, dtype=float)[:, :1])
    if not data.momentum.size:
        return None
    counts, variance = data.counts, predicted_variance(prediction, data)
    starts, factor = steady(bin_starts(len(counts)), counts), field_factor(preparation)
    size, total = np.add.reduceat(counts, starts), np.add.reduceat(counts * variance, starts)
    square = np.add.reduceat(counts * variance**2, starts)
    degrees, unit = total**2 / square, square / total / size
    ends = [unit * stats.chi2.ppf(q, degrees) for q in (0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2)]
    powers = {
        "power": np.add.reduceat(data.squares, starts) / size,
        "predicted": total / size,
        "low": ends[0],
        "high": ends[1],
    }
    note = "The data's mean was taken out, so the zero mode is not shown." if data.centred else ""
    return xr.Dataset(
        {
            "modes": ("momentum", size),
            **{name: ("momentum", factor**2 * value) for name, value in powers.items()},
        },
        coords={"momentum": np.add.reduceat(counts * data.momentum, starts) / size},
        attrs=unit_attributes(units or {}) | {"level": _LEVEL, "note": note},
    )


def steady(starts: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Merge bins until none holds fewer modes than the one before it.

    Parameters
    ----------
    starts
        Where the bins start.
    counts
        Modes of each shell, (Q,).
    """
    kept: list[int] = []
    least = held = 0
    for start, size in zip(starts.tolist(), np.add.reduceat(counts, starts).tolist(), strict=True):
        if held == 0:
            kept.append(start)
        held += size
        if held >= least:
            least, held = held, 0
    if held:  # too few are left at the end: they join the bin before
        kept.pop()
    return np.array(kept, dtype=np.intp)
