"""What was learnt of each parameter: contraction against the prior, and conflict with it.

In standard-normal coordinates z the prior is N(0, 1) whatever the model, so that posterior
variance v and mean m can be read at once. On average over data drawn from the prior
predictive Var m = 1 − v (law of total variance): a mean far outside contradicts the prior
[Evans, Moshonov, doi:10.1214/06-BA129]. Exact for a linear-Gaussian model at T = n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Real, Shaped
from scipy.special import ndtr

from brg_prob.results import stored_name

_LEVEL = 0.05
_FEWEST = 25  # draws without which a Pareto tail has none
_PROBED = 200  # parameters whose effective number of draws is found one by one
_MOST_SENSITIVE = 60  # parameters up to which the sensitivities are computed

Sites = dict[str, Real[Any, "chain draw ..."]]  # draws of each site


def parameter_table(
    metric: Any,
    posterior: xr.DataTree,
    *,
    observations: float | None = None,
    stiff_share: Real[Any, " D"] | Sequence[float] | None = None,
) -> xr.Dataset:
    """Return what was learnt of each parameter.

    Parameters
    ----------
    metric
        :class:`~brg_prob.geometry.SiteMetric`, or what has its ``labels`` (D,), ``coordinates``, ``whiten``
        and ``unwhiten``. Sites without a label are left out.
    posterior
        Draws of the latent sites, with attributes ``observations``, ``n`` and ``independent``.
    observations
        T; default: the posterior's.
    stiff_share
        How much of each parameter lies in stiff directions, (D,).

    Returns
    -------
    xarray.Dataset
        By ``parameter`` (labels). In units of the prior, which is 0 ± 1: ``z_mean``, ``z_sd``,
        ``contraction`` 1 − z_sd² and its Monte-Carlo error ``contraction_se``. Conflict: ``conflict_p``, the
        two-sided tail of ``z_mean`` under the prior predictive, and ``conflict``, 1 where it is below .05
        after Bonferroni; nan and 0 at T ≠ n. In the parameter's own unit: ``prior_median``, ``prior_width``,
        ``posterior_median``, ``posterior_width``, the width being half of the central 68.3 % interval, a
        standard deviation where the law is normal (nan for a site with fewer coordinates than entries).
        ``given``: the sites on which the parameter's own prior depends, comma-separated; z, and with it its
        contraction, is then its place in the prior given these (of an effect a ~ N(mu, tau): (a − mu)/tau).
        ``stiff_share``. With ``log_prior`` in the tree, T = n and at most 60 parameters also
        ``prior_sensitivity``, ``likelihood_sensitivity`` [Kallioinen et al., doi:10.1007/s11222-023-10366-5].
        Attributes: ``effective_parameters`` (Σ contraction), ``conflicts``, ``at_full_weight``, ``status``.

    Raises
    ------
    ValueError
        A site without draws.
    """
    labels = [str(label) for label in metric.labels]
    values = _site_draws(metric.coordinates, posterior)
    kept = _Kept(metric.coordinates, labels)
    z = standard_normal_draws(metric, values)[..., kept.entries]
    seen = posterior.attrs.get("observations") if observations is None else observations
    full = seen is None or "n" not in posterior.attrs or float(seen) == float(posterior.attrs["n"])
    columns = contraction(z, independent=bool(posterior.attrs.get("independent", 0)), conflicts=full)
    columns |= _own_units(metric, values, kept.names)
    columns["given"] = _parents(metric, values, kept.names)
    if stiff_share is not None:
        columns["stiff_share"] = np.asarray(stiff_share, dtype=float)
    if full and len(labels) <= _MOST_SENSITIVE:
        columns |= _sensitivities(metric.coordinates, posterior, kept.names)
    total, conflicts = float(columns["contraction"].sum()), int(columns["conflict"].sum())
    return xr.Dataset(
        {name: ("parameter", value) for name, value in columns.items()},
        coords={"parameter": np.array(labels, dtype=str)},
        attrs={
            "effective_parameters": total,
            "conflicts": conflicts,
            "at_full_weight": int(full),
            "status": _status(total, conflicts, len(labels), full=full),
        },
    )


def standard_normal_draws(metric: Any, values: Sites) -> Float[np.ndarray, "chain draw D"]:
    """Return draws in standard-normal coordinates, (chain, draw, D), of site → ``(chain, draw, *shape)``."""
    chains, length = next(iter(values.values())).shape[:2]
    flat = {name: value.reshape(chains * length, *value.shape[2:]) for name, value in values.items()}
    return np.asarray(metric.whiten(flat), dtype=float).reshape(chains, length, -1)


def contraction(
    z: Real[Any, "chain draw D"], *, independent: bool = False, conflicts: bool = True
) -> dict[str, Real[np.ndarray, " D"]]:
    """Return moments, contraction and conflict with the prior of draws in standard-normal coordinates.

    Parameters
    ----------
    z
        (chain, draw, D).
    independent
        Whether the draws are independent; else the Monte-Carlo errors use effective numbers of draws.
    conflicts
        Whether the draws are those of the full posterior, so that their mean has a law under the prior.

    Returns
    -------
    dict
        ``z_mean``, ``z_sd``, ``contraction``, ``contraction_se``, ``conflict_p``, ``conflict``, each (D,).
        The variance 1 − v that the mean should have is taken two standard errors larger than estimated, so
        that Monte-Carlo noise of a parameter of which nothing was learnt raises no alarm.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws = np.array([0.0, 4.0]) + np.sqrt([1.0, 0.1]) * rng.standard_normal((1, 4000, 2))
    >>> found = contraction(draws, independent=True)
    >>> np.abs(found["contraction"]).round(1).tolist(), found["conflict"].tolist()
    ([0.0, 0.9], [0, 1])
    """
    draws = np.asarray(z, dtype=float)
    if draws.ndim != 3 or draws.shape[0] * draws.shape[1] < 2:
        raise ValueError(f"draws have shape {draws.shape}; (chain, draw, D) with at least 2 draws is needed")
    mean, variance = draws.mean(axis=(0, 1)), draws.var(axis=(0, 1), ddof=1)
    squares = (draws - mean) ** 2
    effective = _effective(draws, independent=independent)
    error = np.sqrt(squares.var(axis=(0, 1)) / _effective(squares, independent=independent))
    law = np.clip(1 - variance + 2 * error, 0, 1) + variance / effective
    p_value = 2 * ndtr(-np.abs(mean) / np.sqrt(law)) if conflicts else np.full(mean.size, math.nan)
    return {
        "z_mean": mean,
        "z_sd": np.sqrt(variance),
        "contraction": 1 - variance,
        "contraction_se": error,
        "conflict_p": p_value,
        "conflict": (p_value * mean.size < _LEVEL).astype(int),
    }


def _effective(draws: Float[np.ndarray, "chain draw D"], *, independent: bool) -> Float[np.ndarray, " D"]:
    """Return effective numbers of draws for means, (D,); beyond 200 parameters the median of 200 for all."""
    chains, length, size = draws.shape
    if independent or length < 4:
        return np.full(size, float(chains * length))
    from arviz_stats.base import array_stats  # a second to import, and not always needed

    probed = np.unique(np.linspace(0, size - 1, min(size, _PROBED)).astype(int))
    found = np.asarray(
        array_stats.ess(draws[..., probed], chain_axis=0, draw_axis=1, method="mean"), dtype=float
    )
    found = np.where(np.isfinite(found), found, chains * length)
    return found if probed.size == size else np.full(size, float(np.median(found)))


def _site_draws(coordinates: Any, posterior: xr.DataTree) -> Sites:
    """Return the draws of the latent sites, ``(chain, draw, *shape)``."""
    group = posterior["posterior"]
    for name in coordinates.names:
        if stored_name(name) not in group.data_vars:
            known = ", ".join(map(str, group.data_vars))
            raise ValueError(f"there are no draws of site {name!r}; the posterior holds {known}")
    return {name: np.asarray(group[stored_name(name)].values) for name in coordinates.names}


class _Kept:
    """The sites that labels name, and where their entries stand among all coordinates."""

    def __init__(self, coordinates: Any, labels: list[str]) -> None:
        labelled = {label.split("[", 1)[0] for label in labels}
        self.names = [name for name in coordinates.names if name in labelled]
        kept = [np.full(math.prod(coordinates.shapes[name]), name in labelled) for name in coordinates.names]
        self.entries = np.flatnonzero(np.concatenate(kept))


def _own_units(metric: Any, values: Sites, names: list[str]) -> dict[str, Float[np.ndarray, " D"]]:
    """Return medians and widths of prior and posterior in the parameters' own units, (D,) each."""
    coordinates = metric.coordinates
    size = sum(math.prod(shape) for shape in coordinates.shapes.values())
    chains, length = next(iter(values.values())).shape[:2]
    count = chains * length  # as many as there are posterior draws: one compiled program for both
    normal = np.random.default_rng(0).standard_normal((-(-count // 2), size))
    prior = metric.unwhiten(np.concatenate([normal, -normal])[:count])  # antithetic: medians are sharp
    found: dict[str, list[np.ndarray]] = {}
    for name in names:
        entries, width = math.prod(values[name].shape[2:]), math.prod(coordinates.shapes[name])
        for word, draws in (("prior", prior[name]), ("posterior", values[name])):
            flat = np.asarray(draws, dtype=float).reshape(-1, entries)
            low, middle, high = np.quantile(flat, ndtr([-1, 0, 1]), axis=0)
            unknown = np.full(width, math.nan)
            found.setdefault(f"{word}_median", []).append(middle if entries == width else unknown)
            found.setdefault(f"{word}_width", []).append((high - low) / 2 if entries == width else unknown)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _parents(metric: Any, values: Sites, names: list[str]) -> Shaped[np.ndarray, " D"]:
    """Return the sites on which the prior of each parameter depends, (D,): those whose z moves its value."""
    shapes = metric.coordinates.shapes
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    chains, length = next(iter(values.values())).shape[:2]
    probes = np.full((chains * length, sum(sizes.values())), 0.3)  # as many rows as elsewhere: one program
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1], strict=True))
    moved = list(sizes)[: len(probes) - 1]
    for row, name in enumerate(moved, start=1):
        probes[row, starts[name] : starts[name] + sizes[name]] = -0.4
    probed = metric.unwhiten(probes)
    found: list[str] = []
    for name in names:
        value = np.asarray(probed[name])[: len(moved) + 1]
        parents = [
            other
            for row, other in enumerate(moved, start=1)
            if other != name and not np.allclose(value[row], value[0], rtol=1e-6, atol=0, equal_nan=True)
        ]
        found += [", ".join(parents)] * sizes[name]
    return np.array(found, dtype=str)


def _sensitivities(
    coordinates: Any, posterior: xr.DataTree, names: list[str]
) -> dict[str, Float[np.ndarray, " D"]]:
    """Return the power-scaling sensitivities of each parameter to prior and likelihood, where they exist."""
    if not {"log_prior", "log_likelihood"} <= set(posterior.children):
        return {}
    sizes = posterior["posterior"].sizes
    if sizes["chain"] * sizes["draw"] < _FEWEST:
        return {}
    from arviz_stats import psense

    found = {}
    for word in ("prior", "likelihood"):
        widths = [math.prod(coordinates.shapes[name]) for name in names]
        if _constant(posterior[f"log_{word}"].to_dataset()):  # to raise it to a power changes nothing
            found[f"{word}_sensitivity"] = np.zeros(sum(widths))
            continue
        stored = [stored_name(name) for name in names]
        table = psense(posterior, var_names=stored, group=word)
        parts = [np.ravel(np.asarray(table[name].values, dtype=float)) for name in stored]
        unknown = [np.full(width, math.nan) for width in widths]
        parts = [p if p.size == u.size else u for p, u in zip(parts, unknown, strict=True)]
        found[f"{word}_sensitivity"] = np.concatenate(parts)
    return found


def _constant(logs: xr.Dataset) -> bool:
    """Return whether a density is the same at all draws, such as that of uniform priors."""
    each = (np.asarray(variable.values, dtype=float) for variable in logs.data_vars.values())
    total = np.sum([values.reshape(*values.shape[:2], -1).sum(axis=-1) for values in each], axis=0)
    return bool(np.ptp(total) <= 1e-12 * (1 + np.abs(total).max()))


def _status(total: float, conflicts: int, size: int, *, full: bool) -> str:
    """Return a sentence on the parameters."""
    text = f"{total:.1f} of {size} parameters determined, by contraction"
    if not full:
        return f"{text}; conflict with the prior is judged at T = n only"
    return f"{text}; {conflicts or 'none'} in conflict with the prior"
