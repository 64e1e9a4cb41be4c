"""The Fisher metric of a network: what one observation tells about its parameters (T5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from brg_prob.geometry.metric import FisherMetric
from brg_prob.geometry.readout_metric import readout_metric
from brg_prob.geometry.site_metric import site_metric
from brg_prob.network import Conditioned, LinearReadout
from brg_prob.network.identity import refuse_another
from brg_prob.results import stored_sites


def fisher_metric(
    network: Any,
    x: Any,
    *,
    at: Any = None,
    sites: tuple[str, ...] | None = None,
    noise: float | None = None,
    y: Any = None,
    **options: Any,
) -> FisherMetric:
    """Return the whitened Fisher metric of a network's readout, or of any NumPyro model (T5).

    Parameters
    ----------
    network
        A network with the capability LinearReadout; or any NumPyro model.
    x
        Inputs to average over, (n, d); those of a :class:`~brg_prob.network.Conditioned` are its own.
    at
        The point: a tree from :func:`brg_prob.fit` (its hidden layers, and its σ where σ
        was sampled), a mapping of hidden sites, or None for networks without any.
    sites
        Restrict to these sites; a linear readout has the one site ``readout``.
    noise
        σ, default the posterior's, else the network's. A linear readout's alone.
    y, options
        Of a metric over all latent sites alone, see :func:`~brg_prob.geometry.site_metric.site_metric`: the
        targets, ``at_draws``, ``method``, ``leading``, ``expectation``, ``samples``, ``key``.

    Returns
    -------
    FisherMetric
        Per observation. Of a readout (:class:`~brg_prob.geometry.ReadoutMetric`) eigenvalues in units of the
        prior-whitened weights. Where ``at`` is a tree of draws of all latent sites, where the network has no
        linear readout, or where ``y`` or an option is given and ``at`` is no tree, over all sites in
        coordinates where their prior is N(0, 1) (:class:`~brg_prob.geometry.SiteMetric`).

    Raises
    ------
    TypeError
        The network has no linear readout.
    ValueError
        The point is not given where it matters, or an unknown site is asked for.

    Notes
    -----
    Cost min(n, P)³ + n² P. "Empirical Fisher" with observed y is another thing and is
    never substituted.
    """
    if isinstance(at, xr.DataTree):
        refuse_another(
            network.network if isinstance(network, Conditioned) else network,
            str(at.attrs.get("network", "")),
            "the posterior",
        )
    if not _of_readout(network, at, y, options):
        if noise is not None:
            raise ValueError(f"noise={noise!r} is for linear readouts; this model states its own noise")
        return site_metric(network, x, y, at=at, sites=sites, **options)
    if options:
        raise ValueError(
            f"{', '.join(options)}: the posterior holds draws of a readout, not of all latent sites, which a "
            "metric over these needs; leave the option out, or fit with an engine of any model such as NUTS()"
        )
    if sites is not None and tuple(sites) != ("readout",):
        raise ValueError(f"sites={sites!r}: the metric of a linear readout covers the site 'readout' alone")
    return readout_metric(network, x, at=at, noise=noise)


def _of_readout(network: Any, at: Any, y: Any, options: Mapping[str, Any]) -> bool:
    """Return whether the metric is a readout's: at its own posterior, or where nothing asks for all sites."""
    if not isinstance(network, LinearReadout):
        return False
    if isinstance(at, xr.DataTree):
        return not stored_sites(at)
    return y is None and not options
