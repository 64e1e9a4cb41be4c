"""Running mass and effective dimension along the flow (T6, T9b)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from brg_prob.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    Picture,
    input_unit,
    label_axes,
    legend,
    log_axis,
    new_figure,
    quantity,
)


def running_picture(tree: xr.DataTree) -> Picture:
    """Draw the running mass squared and the effective dimension against T, flow to the right.

    Reads ``theory`` (running_mass_squared, …_measured, …_se; the mass panel is left out
    without them), ``flow`` and ``shell/flow`` (observations, effective_dimension).
    """
    theory = tree["theory"].to_dataset() if "theory" in tree.children else xr.Dataset()
    flow = tree["flow"].to_dataset()
    observations = np.asarray(flow["observations"].values, dtype=float)
    with_mass = "running_mass_squared" in theory
    fig, axes = new_figure(height=3.9, ncols=2 if with_mass else 1, squeeze=False)
    sentence = _mass_panel(axes[0, 0], theory, observations, tree) if with_mass else ""
    dimensions = _dimension_panel(axes[0, -1], tree, flow, observations)
    for ax in axes[0]:
        log_axis(ax, "x", observations[observations > 0].min(), observations.max())
        label_axes(ax, x="observations T (flow →)")
        ax.invert_xaxis()
    return Picture(
        "running",
        fig,
        "Training raises the field’s mass and fixes some of its modes; the flow undoes both step by step",
        (
            "Left: mass² of the flowed field, measured from its propagator (circles, one standard error) "
            "and predicted, m² + M²(T) (line); dashed: the prior’s m². Right: effective"
            if with_mass
            else "Effective"
        )
        + " dimension, the number of modes the data determine. T falls to the right, towards the prior.",
        sentence + dimensions,
    )


def _mass_panel(ax: Axes, theory: xr.Dataset, observations: np.ndarray, tree: xr.DataTree) -> str:
    """Draw measured and predicted running mass squared and return it in words."""
    predicted, measured, error = (
        np.asarray(theory[f"running_mass_squared{part}"].values, dtype=float)
        for part in ("", "_measured", "_se")
    )
    bare = float(theory.attrs.get("mass_squared", np.nan))
    log_axis(ax, "y", min(predicted.min(), bare if bare > 0 else np.inf), predicted.max())
    if bare > 0:
        ax.axhline(bare, color=MUTED, ls="--", lw=1, label="prior, m²")
    ax.plot(observations, predicted, "-", color=INK, lw=1.4, label="predicted, m² + M²(T)")
    ax.errorbar(
        observations, measured, error, fmt="o", ms=4.5, mfc="none", mew=1.2, color=BLUE, label="measured"
    )
    unit = input_unit(tree)
    label_axes(ax, y=quantity("running mass²", f"{unit}⁻²" if unit else "1/length²"))
    legend(ax, loc="upper right")
    return (
        f"Running mass squared falls from {measured[0]:.3g} at T = {observations[0]:.3g} to "
        f"{measured[-1]:.3g} at T = {observations[-1]:.3g}; predicted {predicted[0]:.3g} and "
        f"{predicted[-1]:.3g}. "
    )


def _dimension_panel(ax: Axes, tree: xr.DataTree, flow: xr.Dataset, observations: np.ndarray) -> str:
    """Draw the effective dimension of each flow and return it in words."""
    dimension = np.asarray(flow["effective_dimension"].values, dtype=float)
    series = [(str(flow.attrs["scheme"]).lower(), observations, dimension, ORANGE, "o-")]
    if "shell" in tree.children:
        shell = tree["shell/flow"].to_dataset()
        at = np.asarray(shell["observations"].values, dtype=float)
        series.append(
            (
                "shell (modes it keeps)",
                at,
                np.asarray(shell["effective_dimension"].values, dtype=float),
                GREEN,
                "s--",
            )
        )
    positive = np.concatenate([values[values > 0] for _, _, values, _, _ in series])
    log_axis(ax, "y", positive.min(), positive.max())
    for label, at, values, colour, style in series:
        ax.plot(
            at,
            np.where(values > 0, values, np.nan),
            style,
            ms=4.5,
            mfc="none",
            mew=1.2,
            lw=1.3,
            color=colour,
            label=label,
        )
    label_axes(ax, y="effective dimension")
    legend(ax, loc="upper right")
    return (
        f"Effective dimension falls from {dimension[0]:.3g} at T = {observations[0]:.3g} to "
        f"{dimension[-1]:.3g} at T = {observations[-1]:.3g}."
    )
