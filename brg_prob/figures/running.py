"""Running mass along the flow (T9b)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from brg_prob.figures.axes import flow_axis
from brg_prob.figures.style import (
    BLUE,
    INK,
    MUTED,
    Picture,
    frame,
    input_unit,
    label_axes,
    legend,
    log_axis,
    new_figure,
    quantity,
    raised,
)
from brg_prob.summary import floats, group


def running_picture(tree: xr.DataTree) -> Picture | None:
    """Draw the running mass squared against T, flow to the right.

    Reads ``theory`` (running_mass_squared, …_measured, …_se, attribute mass_squared) and ``flow``
    (observations); None without them. Without ``mass_squared`` the prior's line is left out.
    """
    theory = group(tree, "theory")
    if "running_mass_squared_measured" not in theory:
        return None
    axis = flow_axis(tree["flow"].to_dataset())
    predicted, measured, error = (
        floats(theory, f"running_mass_squared{part}")[axis.shown] for part in ("", "_measured", "_se")
    )
    bare = float(theory.attrs.get("mass_squared", np.nan))
    fig, ax = new_figure()
    axis.draw(ax)
    log_axis(ax, "y", min(predicted.min(), bare if bare > 0 else np.inf), predicted.max())
    if bare > 0:
        ax.axhline(bare, color=MUTED, ls="--", lw=1, label="prior, m²")
    ax.plot(axis.values, predicted, "-", color=INK, lw=1.4, label="predicted, m² + M²(T)")
    ax.errorbar(
        axis.values, measured, error, fmt="o", ms=4.5, mfc="none", mew=1.2, color=BLUE, label="measured"
    )
    unit = raised(input_unit(tree), -2) or "1/length²"
    label_axes(ax, y=quantity("running mass²", unit))
    legend(ax, loc="upper right")
    deviation = np.abs(measured - predicted) / error
    change, back = ("raises", "lowers") if measured[0] > measured[-1] else ("lowers", "raises")
    return Picture(
        "running",
        fig,
        f"Training {change} the field’s mass² to {measured[0]:.3g}; the flow {back} it again, to "
        f"{measured[-1]:.3g} {unit}",
        "Mass² of the flowed field, measured from its propagator (circles, one standard error) and "
        "predicted, m² + M²(T) (line)"
        + ("; dashed: the prior’s m²" if bare > 0 else "")
        + ". "
        + axis.direction,
        f"Running mass squared goes from {measured[0]:.3g} at {axis.at(0)} to {measured[-1]:.3g} at "
        f"{axis.at(-1)}; predicted {predicted[0]:.3g} and {predicted[-1]:.3g}. {np.sum(deviation <= 2)} of "
        f"{deviation.size} points lie within two standard errors of the line.",
        frame(
            {
                axis.column: axis.values,
                ("predicted", unit): predicted,
                ("measured", unit): measured,
                ("standard error", unit): error,
            }
        ),
        "correspondence",
    )
