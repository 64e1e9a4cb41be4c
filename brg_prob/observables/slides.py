"""What the report's slider moves: the field and its law at one input, scale by scale (T6, T7, T8)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from brg_prob.arrays import Floats
from brg_prob.flow import Flow
from brg_prob.observables.units import field_factor, restored, restored_inputs, with_output
from brg_prob.transform import Standardisation

_BINS = 40


def slides(flow: Flow, *, preparation: Standardisation | None = None) -> xr.Dataset:
    """Return mean and spread of the field at every scale, and its law at the input that data moved most.

    Parameters
    ----------
    flow
        Its draws are replayed from its key, one scale in memory at a time.
    preparation
        What was done to the record; everything is given in its units before that.

    Returns
    -------
    xarray.Dataset
        ``observations`` (scale); ``input`` (row[, dim]) the training inputs; ``field_mean``, ``field_sd``
        (scale, row); ``histogram`` (scale, bin): counts of all draws of the field at one input, between
        ``bin_edge`` (edge); ``normal_mean``, ``normal_sd`` (scale): moments of those draws. Attributes:
        ``histogram_input``, ``histogram_row``, ``prior_normal_mean`` and ``prior_normal_sd``, the prior's
        exact moments there, given the hidden layers. First output.
    """
    table = flow.tree["flow"].to_dataset()
    inputs = np.asarray(flow.x, dtype=float)
    mean = restored(preparation, inputs, with_output(table["field_mean"].values, 2))
    deviation = field_factor(preparation) * with_output(table["field_sd"].values, 2)[..., 0]
    row = int(np.argmax(np.abs(mean[0] - mean[-1])))
    there = inputs[row : row + 1]
    values = restored(preparation, there, np.stack(_draws_at(flow, row))[:, :, None, :])[..., 0]
    edges = np.histogram_bin_edges(values, bins=_BINS)
    counts = np.stack([np.histogram(v, edges)[0] for v in values])
    before, spread = flow.atlas.prior_moments(row, flow.key)
    centre = restored(preparation, there, before[None, :])[0]
    shown = restored_inputs(preparation, inputs)
    return xr.Dataset(
        {
            "observations": ("scale", np.asarray(table["observations"].values, dtype=float)),
            "field_mean": (("scale", "row"), mean),
            "field_sd": (("scale", "row"), deviation),
            "input": ("row", shown[:, 0]) if shown.shape[1] == 1 else (("row", "dim"), shown),
            "histogram": (("scale", "bin"), counts),
            "bin_edge": ("edge", edges),
            "normal_mean": ("scale", values.mean(axis=1)),
            "normal_sd": (
                "scale",
                values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.full(len(values), np.nan),
            ),
        },
        coords={"scale": np.asarray(flow.scales)},
        attrs={
            "histogram_input": ", ".join(f"{v:.6g}" for v in shown[row])
            if shown.shape[1] > 1
            else float(shown[row, 0]),
            "histogram_row": row,
            "prior_normal_mean": float(centre),
            "prior_normal_sd": field_factor(preparation) * spread,
        },
    )


def _draws_at(flow: Flow, row: int) -> list[Floats]:
    """Return the draws (S, o) of the field at one training input, scale by scale."""
    return [np.asarray(field[:, 0], dtype=float) for field in flow.fields([row])]
