"""Convergence of named quantities: ranks, R-hat, effective sample sizes [Vehtari et al., 1903.08008]."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy import stats

from brg_prob.arrays import Floats, thin
from brg_prob.geometry import FieldModes
from brg_prob.observables.units import field_factor, first_output, restored_inputs
from brg_prob.results import field_variable
from brg_prob.summary import floats
from brg_prob.transform import Standardisation

_POINTS, _MODES, _ENTRIES = 5, 3, 12
_PARTS = 4
_MEASURES = ("r_hat", "ess_bulk", "ess_tail", "mcse_mean")
_RANK_BINS, _PER_BIN = 20, 5
_TAIL = (0.05, 0.95)


def convergence_table(
    posterior: xr.DataTree,
    metric: Any,
    *,
    preparation: Standardisation | None = None,
    input_name: str = "x",
) -> xr.Dataset:
    """Return convergence measures and rank histograms of the field at some inputs, stiff modes and scalars.

    Parameters
    ----------
    posterior
        From :func:`brg_prob.fit`.
    metric
        Of a readout its stiffest modes are followed: the field's projections on them; else the entries of the
        latent sites are.
    preparation
        What was done to the record; names and errors are given in its units before that.
    input_name
        How the input is called.

    Returns
    -------
    xarray.Dataset
        Dimension ``quantity`` (names): ``r_hat``, ``ess_bulk``, ``ess_tail``, ``mcse_mean``; ``rank_count``
        (quantity, chain, rank_bin): how many draws of a chain fall into each of equal bins of their
        ranks among all. Attributes: ``expected`` count, its central 95 % band ``low`` to ``high`` for
        independent draws (hypergeometric), ``chains``, ``parts``, ``draws``, ``status``. A single chain is
        cut into 4 parts for ranks and R-hat. Quantities that never move are left out; nan where draws are
        too few.
    """
    factor = field_factor(preparation)
    series = _quantities(posterior, metric, preparation, input_name, factor)
    series = {name: values for name, values in series.items() if np.ptp(values) > 0}
    shape = posterior["posterior"][field_variable(posterior)].shape[:2]
    parts = shape[0] if shape[0] > 1 else (_PARTS if shape[1] >= 4 * _PARTS else 1)
    rows = np.array([_measures(values, parts) for values in series.values()]).reshape(-1, len(_MEASURES))
    bins = int(np.clip(shape[0] * shape[1] // parts // _PER_BIN, 2, _RANK_BINS))
    counts = [_rank_counts(_cut(values, parts), bins) for values in series.values()]
    counted = np.asarray(counts, dtype=int).reshape(len(series), parts, bins)
    dataset = xr.Dataset(
        {name: ("quantity", column) for name, column in zip(_MEASURES, rows.T, strict=True)}
        | {"rank_count": (("quantity", "chain", "rank_bin"), counted)},
        coords={"quantity": np.array(list(series), dtype=str)},
    )
    length = shape[0] * shape[1] // parts
    low, high = stats.hypergeom.ppf([0.025, 0.975], parts * length, parts * length // bins, length)
    independent = bool(posterior.attrs.get("independent", 0))
    return dataset.assign_attrs(
        expected=length / bins,
        low=float(low),
        high=float(high),
        chains=shape[0],
        parts=parts,
        draws=shape[0] * shape[1],
        status=_status(shape, parts, rows, independent),
    )


def _quantities(
    posterior: xr.DataTree,
    metric: Any,
    preparation: Standardisation | None,
    input_name: str,
    factor: float,
) -> dict[str, Floats]:
    """Return the series (chain, draw) of each quantity by name, in the record's units."""
    f = factor * first_output(floats(posterior["posterior"], field_variable(posterior)), 3)
    x = floats(posterior["constant_data"], "inputs")
    shown = restored_inputs(preparation, x)
    chosen = np.lexsort(x.T[::-1])[thin(len(x), _POINTS)]
    found = {f"f at {input_name} = {_place(shown[row])}": f[..., row] for row in chosen}
    if isinstance(metric, FieldModes):
        modes = np.asarray(metric.modes, dtype=float).T[:_MODES]
        # root mean square of the mode's part of the field: in the field's unit whatever n
        found |= {f"mode {number}": f @ mode / np.sqrt(len(x)) for number, mode in enumerate(modes, start=1)}
    else:
        found |= _entries(posterior)
    for name, variable in posterior["posterior"].data_vars.items():
        if variable.dims == ("chain", "draw") and variable.dtype.kind == "f":
            unit = factor if name == "noise" else 1.0
            found[str(name)] = unit * np.asarray(variable.values, dtype=float)
    if "log_likelihood" in posterior.children:
        each = np.asarray(next(iter(posterior["log_likelihood"].data_vars.values())).values, dtype=float)
        found["log likelihood"] = each.reshape(*each.shape[:2], -1).sum(axis=-1)
    return found


def _entries(posterior: xr.DataTree) -> dict[str, Floats]:
    """Return the entries of the latent sites that are no scalars, the first few of each site.

    Columns and levels name them where the tree has such coordinates.
    """
    found = {}
    for name, variable in posterior["posterior"].data_vars.items():
        if name in (field_variable(posterior), "dual") or variable.ndim == 2:
            continue
        entries = variable.stack(entry=variable.dims[2:]).transpose("chain", "draw", "entry")
        for at, label in enumerate(entries.indexes["entry"][:_ENTRIES]):
            found[f"{name}[{', '.join(map(str, label))}]"] = np.asarray(entries[..., at], dtype=float)
    return found


def _place(point: Floats) -> str:
    """Return an input as text."""
    text = ", ".join(f"{value:.6g}" for value in point)
    return text if len(point) == 1 else f"({text})"


def _cut(values: Floats, parts: int) -> Floats:
    """Return a single chain cut into parts (what is left over at the end is dropped), chains as they are."""
    if len(values) > 1 or parts == 1:
        return values
    length = values.shape[1] // parts
    return values[0, : parts * length].reshape(parts, length)


def _measures(values: Floats, parts: int) -> tuple[float, float, float, float]:
    """Return R-hat of the parts; bulk and tail effective sample sizes and error of the mean of the chains."""
    if values.shape[1] < 4:
        return (np.nan,) * 4
    axes = {"chain_axis": 0, "draw_axis": 1}
    r_hat = float(array_stats.rhat(_cut(values, parts), **axes)) if parts > 1 else np.nan
    bulk = float(array_stats.ess(values, method="bulk", **axes))
    tail = float(array_stats.ess(values, method="tail", prob=_TAIL, **axes))
    return r_hat, bulk, tail, float(array_stats.mcse(values, method="mean", **axes))


def _rank_counts(values: Floats, bins: int) -> np.ndarray:
    """Return the counts (chain, bin) of ranks among all draws."""
    rank = stats.rankdata(values, method="average").reshape(values.shape)
    label = np.minimum((rank - 0.5) * bins / values.size, bins - 1).astype(int)
    return np.stack([np.bincount(row, minlength=bins) for row in label])


def _status(shape: tuple[int, ...], parts: int, measures: np.ndarray, independent: bool) -> str:
    """Return a sentence on the draws."""
    kind = "independent draws" if independent else "draws"
    status = f"{shape[0] * shape[1]} {kind} in {shape[0]} chain{'s' if shape[0] > 1 else ''}"
    if parts != shape[0]:
        status += f", cut into {parts} parts for ranks and R-hat"
    if np.isfinite(measures[:, :1]).any():
        status += f"; worst R-hat {np.nanmax(measures[:, 0]):.3f}"
    if np.isfinite(measures[:, 1:3]).any():
        status += f"; smallest effective sample size {np.nanmin(measures[:, 1:3]):.0f}"
    return status + ("." if independent else "; the band is that of independent draws.")
