"""What the data determine: stiff and sloppy directions, written in terms of sites, and parameters (T5, T6).

A direction of the prior-whitened metric with eigenvalue λ is stiff at T where Tλ ≥ 1, sloppy
below. In the coordinates z of T7, in which the prior is N(0, 1), a parameter's posterior
variance v says by itself how much was learnt of it: its contraction is 1 − v.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qr

from brg_prob.arrays import Floats
from brg_prob.geometry.contraction import parameter_table
from brg_prob.results import build_tree

_TERMS, _PRECISE, _FEW = 4, 0.97, 6.0
_MOST_MODES, _MOST_PARTS = 12, 20
_STIFF_SHOWN = 8  # of the shown directions; the rest are the sloppiest


class Metric(Protocol):
    """What is read of a metric: :class:`brg_prob.geometry.SiteMetric` has it."""

    @property
    def eigenvalues(self) -> Any:
        """λ, (r,), descending, per observation."""

    @property
    def directions(self) -> Any:
        """Orthonormal rows in z, (r, D)."""

    @property
    def labels(self) -> Any:
        """Name of each coordinate such as "slope[2]", (D,)."""

    @property
    def observations(self) -> int:
        """Number of observations n."""


def sloppiness(
    metric: Metric, posterior: xr.DataTree | None = None, *, observations: float | None = None
) -> xr.DataTree:
    """Return the sloppiness report of a model as a tree.

    Parameters
    ----------
    metric
        Fisher metric of a model.
    posterior
        Draws of the model's latent sites; without them there is no group ``parameters``.
    observations
        T; default: that of the posterior, else n.

    Returns
    -------
    DataTree
        ``directions``: see :func:`direction_table`; attributes ``effective_parameters`` (Σ Tλ/(1+Tλ)) and
        what else is one number. ``parameters``: see :func:`brg_prob.geometry.contraction.parameter_table`.

    Raises
    ------
    ValueError
        A posterior without draws of a site of the metric.
    """
    if observations is None:
        own = None if posterior is None else posterior.attrs.get("observations")
        observations = float(metric.observations if own is None else own)
    directed = np.size(metric.eigenvalues) > 0
    tables = {"directions": direction_table(metric, observations=observations)} if directed else {}
    if posterior is not None:
        tables["parameters"] = parameter_table(
            metric,
            posterior,
            observations=observations,
            stiff_share=stiff_share(metric, observations=observations),
        )
    groups = {
        name: {str(key): table[key].values for key in table.data_vars} for name, table in tables.items()
    }
    dims = {
        f"{name}/{key}": [str(dim) for dim in value.dims]
        for name, table in tables.items()
        for key, value in table.data_vars.items()
    }
    return build_tree(
        groups,
        dims=dims,
        coords={str(dim): table[dim].values for table in tables.values() for dim in table.coords},
        group_attrs={name: dict(table.attrs) for name, table in tables.items()},
    )


def direction_table(metric: Metric, *, observations: float) -> xr.Dataset:
    """Return the eigendirections of the metric in words and numbers.

    Parameters
    ----------
    metric
        Fisher metric of a model.
    observations
        T.

    Returns
    -------
    xarray.Dataset
        By ``mode``, stiffest first: ``eigenvalue`` λ, ``signal`` Tλ, ``stiff`` (1 where Tλ ≥ 1),
        ``participation_ratio`` (:func:`participation_ratio`), ``phrase`` (:func:`phrase`). By ``shown`` (up
        to 12 modes, 8 stiffest and 4 sloppiest) and ``part`` (up to 20 parameters or sites): ``shown_mode``
        (its rank, from 1) and ``participation``, the squared components, which sum to 1 over parts.
        Attributes: ``observations`` T, ``parameters`` D, ``stiff``, ``undetermined`` (how many λ were
        clipped to zero; among them any basis will do, and one of few parameters each is written),
        ``effective_parameters`` (of the modes there are), ``decades`` that the positive λ
        span.
    """
    values = np.asarray(metric.eigenvalues, dtype=float)
    rows = _told_apart(np.asarray(metric.directions, dtype=float), values > 0)
    labels = [str(label) for label in metric.labels]
    shown = _shown(values.size)
    parts, shares = participation(rows[shown], labels)
    signal, positive = observations * values, values[values > 0]
    return xr.Dataset(
        {
            "eigenvalue": ("mode", values),
            "signal": ("mode", signal),
            "stiff": ("mode", (signal >= 1).astype(int)),
            "participation_ratio": ("mode", participation_ratio(rows)),
            "phrase": ("mode", np.array([phrase(row, labels) for row in rows], dtype=str)),
            "shown_mode": ("shown", shown + 1),
            "participation": (("shown", "part"), shares),
        },
        coords={"mode": np.arange(1, values.size + 1), "part": np.array(parts, dtype=str)},
        attrs={
            "observations": float(observations),
            "parameters": len(labels),
            "stiff": int(np.sum(signal >= 1)),
            "undetermined": int(np.sum(values <= 0)),
            "effective_parameters": effective_parameters(values, observations=observations),
            "decades": float(np.log10(positive.max() / positive.min())) if positive.size else math.nan,
        },
    )


def effective_parameters(eigenvalues: ArrayLike, *, observations: float) -> float:
    """Return the effective number of parameters at T, Σ Tλ/(1+Tλ) (T6).

    Examples
    --------
    >>> effective_parameters([3.0, 1.0, 0.0], observations=1.0)
    1.25
    """
    weight = observations * np.asarray(eigenvalues, dtype=float)
    return float(np.sum(weight / (1 + weight)))


def stiff_share(metric: Metric, *, observations: float) -> Floats:
    """Return how much of each parameter lies in stiff directions: Σ of squared components, (D,), 0 to 1."""
    stiff = observations * np.asarray(metric.eigenvalues, dtype=float) >= 1
    return np.asarray((np.asarray(metric.directions, dtype=float)[stiff] ** 2).sum(axis=0))


def participation_ratio(directions: ArrayLike) -> Floats:
    """Return how many parameters take part in each unit direction, 1/Σ c⁴ of its components; (r, D) → (r,).

    Examples
    --------
    >>> participation_ratio([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]).round(3).tolist()
    [1.0, 1.855]
    """
    squares = np.asarray(directions, dtype=float) ** 2
    return np.asarray(squares.sum(axis=-1) ** 2 / (squares**2).sum(axis=-1))


def phrase(direction: ArrayLike, labels: Sequence[str]) -> str:
    """Write a unit direction in terms of parameters; in terms of sites where more than six take part.

    The sign is chosen such that the largest component is positive; terms are written until they hold 97 %
    of the squared length, at most four.

    Examples
    --------
    >>> phrase([0.0, -0.7071, 0.7071], ["scale", "a", "b"])
    '0.71·a − 0.71·b'
    >>> phrase([0.1, -0.995, 0.0], ["scale", "a", "b"])
    'a'
    >>> phrase(np.full(100, 0.1), [f"w[{i}]" for i in range(75)] + [f"v[{i}]" for i in range(25)])
    '75 % w + 25 % v (≈ 100 parameters)'
    """
    row = np.asarray(direction, dtype=float)
    many = float(participation_ratio(row))
    if many > _FEW:
        sites, shares = _by_site(row**2, labels)
        order = np.argsort(-shares, kind="stable")[:_TERMS]
        terms = [f"{100 * shares[at]:.0f} % {sites[at]}" for at in order if shares[at] >= 0.05]
        return f"{' + '.join(terms)} (≈ {many:.0f} parameters)"
    order = np.argsort(-np.abs(row).round(9), kind="stable")[:_TERMS]
    held = np.cumsum(row[order] ** 2)
    last = int(np.searchsorted(held, _PRECISE)) + 1
    if last == 1:
        return labels[order[0]]
    row = row * np.sign(row[order[0]])
    text = ""
    for at in order[:last]:
        sign = ("−" if row[at] < 0 else "") if not text else (" − " if row[at] < 0 else " + ")
        text += f"{sign}{abs(row[at]):.2f}·{labels[at]}"
    return text if last <= _TERMS and held[-1] >= _PRECISE else f"{text} + …"


def participation(directions: ArrayLike, labels: Sequence[str]) -> tuple[list[str], Floats]:
    """Return squared components of directions by parameter, those beyond twenty columns summed by site.

    Parameters
    ----------
    directions
        (m, D), unit rows.
    labels
        Names, (D,).

    Returns
    -------
    tuple
        Names of up to 20 columns (parameters, "site (rest)", "other sites"), and the shares, (m, columns),
        whose rows sum to 1. Alone stand the parameters with the largest shares in any of the directions.
    """
    squares = np.asarray(directions, dtype=float) ** 2
    if len(labels) <= _MOST_PARTS:
        return list(labels), squares
    sites = list(dict.fromkeys(_site(label) for label in labels))
    owner = np.array([sites.index(site) for site in map(_site, labels)])
    if len(sites) > _MOST_PARTS // 2:
        _, shares = _by_site(squares, labels)
        first = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[: _MOST_PARTS - 1])
        rest = shares.sum(axis=1) - shares[:, first].sum(axis=1)
        names = [sites[at] for at in first] + ["other sites"]
        return names, np.column_stack([shares[:, first], np.clip(rest, 0, None)])
    alone = np.sort(np.argsort(-squares.max(axis=0), kind="stable")[: _MOST_PARTS - len(sites)])
    names, columns = [], []
    for number, site in enumerate(sites):
        own = [at for at in alone if owner[at] == number]
        rest = np.setdiff1d(np.flatnonzero(owner == number), own)
        names += [labels[at] for at in own]
        columns += [squares[:, at] for at in own]
        if rest.size:
            names.append(labels[rest[0]] if rest.size == 1 else f"{site} (rest)" if own else site)
            columns.append(squares[:, rest].sum(axis=1))
    return names, np.column_stack(columns)


def _told_apart(rows: Floats, determined: NDArray[np.bool_]) -> Floats:
    """Return directions, those of eigenvalue zero in a basis that begins with the most concentrated ones.

    Pivoted QR of the null rows: each new row is the null space's share of one parameter, made orthogonal.
    """
    null = rows[~determined]
    if len(null) < 2:
        return rows
    _, triangle, order = qr(null, mode="economic", pivoting=True)
    turned = np.empty_like(null)
    turned[:, order] = triangle
    return np.concatenate([rows[determined], turned])


def _by_site(squares: Floats, labels: Sequence[str]) -> tuple[list[str], Floats]:
    """Return the sites and the sums (..., sites) of squared components (..., D)."""
    sites = list(dict.fromkeys(_site(label) for label in labels))
    owner = np.array([sites.index(site) for site in map(_site, labels)])
    return sites, np.stack([squares[..., owner == at].sum(axis=-1) for at in range(len(sites))], axis=-1)


def _site(label: str) -> str:
    """Return the site of a label, "slope[2]" → "slope"."""
    return label.split("[", 1)[0]


def _shown(count: int) -> NDArray[np.int_]:
    """Return which modes are shown: all, or the stiffest eight and the sloppiest four."""
    if count <= _MOST_MODES:
        return np.arange(count)
    return np.r_[0:_STIFF_SHOWN, count - (_MOST_MODES - _STIFF_SHOWN) : count]
