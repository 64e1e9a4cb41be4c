"""Which charts a posterior has: those of the metric at hand."""

from __future__ import annotations

from typing import Any

import xarray as xr

from brg_prob.charts.chart import Atlas
from brg_prob.charts.readout_atlas import ReadoutAtlas
from brg_prob.charts.site_atlas import SiteAtlas
from brg_prob.geometry import FisherMetric, ReadoutMetric


def atlas_of(metric: FisherMetric, posterior: xr.DataTree, *, held_out: Any = None) -> Atlas:
    """Return the charts of a posterior along a metric.

    Parameters
    ----------
    metric, posterior
        From :func:`brg_prob.fisher_metric` and :func:`brg_prob.fit`, of the same network at the same data.
    held_out
        Replaces the posterior's own held-out rows.

    Raises
    ------
    ValueError
        Metric and posterior do not belong together.
    """
    kind: Any = ReadoutAtlas if isinstance(metric, ReadoutMetric) else SiteAtlas
    found: Atlas = kind.of(metric, posterior, held_out)
    return found
