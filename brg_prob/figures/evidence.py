"""The evidence curve: log marginal likelihood against the mass, other hyperparameters at their maximum."""

from __future__ import annotations

import numpy as np
import xarray as xr

from brg_prob.figures.style import (
    BLUE,
    VERMILION,
    Picture,
    input_unit,
    label_axes,
    log_axis,
    new_figure,
    quantity,
)


def evidence_picture(tree: xr.DataTree) -> Picture:
    """Draw the evidence against the mass, relative to its maximum.

    Reads ``tuning`` (log_evidence over one dimension with mass values as coordinate).
    """
    tuning = tree["tuning"].to_dataset()
    curve = tuning["log_evidence"]
    mass = np.asarray(curve[curve.dims[0]].values, dtype=float)
    height = np.asarray(curve.values, dtype=float)
    best = float(tuning.attrs["mass"])
    fig, ax = new_figure(height=3.2)
    log_axis(ax, "x", mass.min(), mass.max())
    ax.plot(mass, height - height.max(), "o-", ms=3.5, mfc="none", color=BLUE, lw=1.3)
    ax.axvline(best, color=VERMILION, ls=":", lw=1.3)
    unit = input_unit(tree)
    label_axes(ax, x=quantity("mass m", f"1/{unit}" if unit else "1/length"), y="log evidence − maximum")
    return Picture(
        "evidence",
        fig,
        f"The data’s evidence is greatest at mass {best:.3g}" + (f" per {unit}" if unit else ""),
        "Log marginal likelihood of the training data against the mass; dotted: the value used.",
        f"The curve rises to its maximum near mass {best:.3g} and falls by "
        f"{height.max() - height.min():.3g} within {mass.min():.3g} to {mass.max():.3g}.",
    )
