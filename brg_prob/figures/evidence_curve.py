"""The evidence curve: log marginal likelihood against the mass, other hyperparameters at their maximum."""

from __future__ import annotations

import numpy as np
import xarray as xr

from brg_prob.figures.style import (
    BLUE,
    VERMILION,
    Picture,
    frame,
    input_unit,
    label_axes,
    log_axis,
    new_figure,
    quantity,
    short,
)
from brg_prob.summary import floats, group


def evidence_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the evidence against the mass, relative to its maximum.

    Reads ``tuning`` (log_evidence over one dimension with mass values as coordinate); None without it.
    """
    tuning = group(tree, "tuning")
    if "log_evidence" not in tuning:
        return None
    mass = floats(tuning, str(tuning["log_evidence"].dims[0]))
    height, best = floats(tuning, "log_evidence"), float(tuning.attrs["mass"])
    fig, ax = new_figure(height=3.2)
    log_axis(ax, "x", mass.min(), mass.max())
    ax.plot(mass, height - height.max(), "o-", ms=3.5, mfc="none", color=BLUE, lw=1.3)
    ax.axvline(best, color=VERMILION, ls=":", lw=1.3)
    unit = input_unit(tree)
    mass_unit = f"1/{unit}" if unit else "1/length"
    label_axes(ax, x=quantity("mass m", mass_unit), y="log evidence − maximum (nats)")
    return Picture(
        "evidence",
        fig,
        _message(mass, height, best, unit),
        "Log marginal likelihood of the training data against the mass; dotted: the value used.",
        f"The curve is highest near mass {short(mass[np.argmax(height)])}; within {short(mass.min())} to "
        f"{short(mass.max())} it falls by up to {short(height.max() - height.min())} nats. Used: "
        f"{short(best)}.",
        frame({("mass", mass_unit): mass, ("log evidence", "nats"): height}),
        "data",
    )


def _message(mass: np.ndarray, height: np.ndarray, best: float, unit: str) -> str:
    """Return where the evidence is greatest, or that it still rises at an end of what was tried."""
    per = f" per {unit}" if unit else ""
    top = int(np.argmax(height))
    if top in (0, mass.size - 1) and (best - mass[top]) * (1 if top else -1) >= 0:
        return (
            f"The data’s evidence still rises towards mass {short(mass[top])}{per}, the last that was tried"
        )
    return f"The data’s evidence is greatest at mass {short(best)}{per}"
