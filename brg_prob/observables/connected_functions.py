"""Connected two- and four-point functions averaged over the pairs of points at each distance (T1, T3).

The average over base points of Fisher's k-statistics, with the error of the average: the
influence series of all pairs are averaged draw by draw before their spread is taken, so
that correlations between base points count. The four-point function is that of the
arguments (x, x, x+r, x+r), for which the k-statistic and its influence reduce to matrix
products; :func:`brg_prob.correlators.cumulant` gives the same pair by pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brg_prob.arrays import Floats
from brg_prob.correlators.k_statistics import Estimate, error_of_mean
from brg_prob.spectra import equispaced_grid

Index = NDArray[np.intp]

_LAGS = 48
_PAIRS = 512
_POINTS = 1024
_BLOCK = 2**17  # elements of one block of draws and pairs: a megabyte, which stays in the cache


@dataclass(frozen=True)
class Pairs:
    """Pairs of points at each of several distances.

    Attributes
    ----------
    lag
        Mean distance of the pairs, (R,), the first one 0: every point with itself.
    left, right
        Row numbers of the points, R arrays each.
    """

    lag: Floats
    left: tuple[Index, ...]
    right: tuple[Index, ...]


def pairs_of(x: Floats) -> Pairs:
    """Return pairs of inputs (n, d) up to half their extent: all at a lag on a line's grid, else binned.

    Between irregular inputs, or in more than one dimension, pairs are sorted into bins of
    equal width. At most 512 pairs per lag are taken, spread over the record.
    """
    grid = equispaced_grid(x) if x.shape[1] == 1 else None
    return _binned(x) if grid is None else _on_a_line(x, grid.spacing)


def _on_a_line(x: Floats, spacing: float) -> Pairs:
    """Return neighbours 0, 1, 2 … steps apart, then log-spaced steps up to half the record."""
    order, half = np.argsort(x[:, 0]), len(x) // 2
    near = np.arange(min(half + 1, _LAGS // 2))
    # on a short line these are near ones again
    far = np.geomspace(min(half, _LAGS // 2), half, _LAGS // 2).round().astype(int)
    steps = np.unique(np.concatenate([near, far]))
    starts = [_thinned(np.arange(len(x) - step)) for step in steps]
    right = (order[start + step] for start, step in zip(starts, steps, strict=True))
    return Pairs(steps * spacing, tuple(order[start] for start in starts), tuple(right))


def _thinned(index: Index, most: int = _PAIRS) -> Index:
    """Return at most ``most`` entries, evenly spread."""
    return index if len(index) <= most else index[np.linspace(0, len(index) - 1, most).astype(int)]


def _binned(x: Floats) -> Pairs:
    """Return pairs in bins of distance, a fixed random choice where there are too many."""
    rng, every = np.random.default_rng(0), np.arange(len(x))
    points = every if len(x) <= _POINTS else np.sort(rng.choice(len(x), _POINTS, replace=False))
    i, j = np.triu_indices(len(points), 1)
    distance = np.linalg.norm(x[points[i]] - x[points[j]], axis=1)
    lag, left, right = [0.0], [_thinned(every)], [_thinned(every)]
    edges = np.linspace(0, distance.max() / 2 if distance.size else 0.0, _LAGS // 2 + 1)
    label = np.digitize(distance, edges[1:], right=True)
    for number in range(_LAGS // 2):
        at = np.flatnonzero(label == number)
        if at.size > _PAIRS:
            at = rng.choice(at, _PAIRS, replace=False)
        if at.size:
            lag.append(float(distance[at].mean()))
            left.append(points[i[at]])
            right.append(points[j[at]])
    return Pairs(np.asarray(lag), tuple(left), tuple(right))


@dataclass(frozen=True)
class Connected:
    """Connected functions averaged over pairs, one entry per lag, and the excess kurtosis over points."""

    two_point: Estimate
    four_point: Estimate
    excess_kurtosis: Estimate


def connected_functions(f: Floats, pairs: Pairs, *, independent: bool) -> Connected:
    """Return connected functions of draws (chain, draw, x) averaged over pairs.

    Parameters
    ----------
    f
        Draws; chains are pooled about their common mean.
    pairs
        From :func:`pairs_of`.
    independent
        Whether the draws are independent.

    Returns
    -------
    Connected
        ``two_point`` and ``four_point``, (R,), in units of f² and f⁴; ``excess_kurtosis``, (1,):
        κ4/κ2² at one point averaged over points, where the field varies at all.

    Raises
    ------
    ValueError
        Fewer than five draws, which determine no fourth cumulant.
    """
    shape = f.shape[:2]
    draws, total = f.reshape(-1, f.shape[2]), shape[0] * shape[1]
    if total < 5:
        raise ValueError(f"{total} draws do not determine a four-point function; use more")
    centred = np.ascontiguousarray((draws - draws.mean(axis=0)).T)  # a pair's draws lie side by side
    values = np.zeros((2, len(pairs.lag)))
    series = np.zeros((2, total, len(pairs.lag)))
    kurtosis, kurtosis_series, alive = 0.0, np.zeros((total, 1)), 0
    for lag, (i, j) in enumerate(zip(pairs.left, pairs.right, strict=True)):
        weight = np.full(len(i), 1 / len(i))
        for part in _parts(len(i), total):
            moments = _PairMoments.of(centred[i[part]], centred[j[part]])
            each = weight[part]
            for order, found in enumerate((moments.second, moments.fourth)):
                values[order, lag] += found @ each
            series[0, :, lag] += moments.influence(two=each)
            series[1, :, lag] += moments.influence(four=each)
            if lag == 0:
                ratio, pull, moving = moments.kurtosis()
                kurtosis, alive = kurtosis + ratio, alive + moving
                kurtosis_series[:, 0] += pull
    alive = max(alive, 1)
    return Connected(
        _estimate(values[0], series[0].reshape(*shape, -1), independent),
        _estimate(values[1], series[1].reshape(*shape, -1), independent),
        _estimate(np.array([kurtosis / alive]), (kurtosis_series / alive).reshape(*shape, -1), independent),
    )


def _parts(pairs: int, draws: int) -> Iterator[slice]:
    """Yield slices of the pairs whose blocks stay small."""
    step = max(1, _BLOCK // draws)
    for start in range(0, pairs, step):
        yield slice(start, start + step)


def _estimate(value: Floats, series: Floats, independent: bool) -> Estimate:
    """Return values with the errors that their centred series (chain, draw, M) give."""
    return Estimate(value, *error_of_mean(series, independent))


@dataclass(frozen=True)
class _PairMoments:
    """k-statistics of (a, b) and (a, a, b, b) from centred draws (k, S), and what their influence needs."""

    left: Floats
    right: Floats
    product: Floats
    moments: dict[str, Floats]

    @staticmethod
    def of(left: Floats, right: Floats) -> _PairMoments:
        product, size = left * right, left.shape[1]
        names = {"ab": (left, right), "aa": (left, left), "bb": (right, right)}
        names |= {"abb": (product, right), "aab": (product, left), "aabb": (product, product)}
        moments = {name: np.einsum("ks,ks->k", one, two) / size for name, (one, two) in names.items()}
        return _PairMoments(left, right, product, moments)

    @property
    def second(self) -> Floats:
        """k_ab, (k,)."""
        total = self.left.shape[1]
        return self.moments["ab"] * total / (total - 1)

    @property
    def fourth(self) -> Floats:
        """k_aabb, (k,): Fisher's k-statistic, as :func:`brg_prob.correlators.k_statistics.fourth`."""
        total, m = self.left.shape[1], self.moments
        disconnected = m["aa"] * m["bb"] + 2 * m["ab"] ** 2
        scale = total**2 / ((total - 1) * (total - 2) * (total - 3))
        return scale * ((total + 1) * m["aabb"] - (total - 1) * disconnected)

    def influence(self, *, two: Floats | None = None, four: Floats | None = None) -> Floats:
        """Return Σ_k two_k IF(k_ab) + four_k IF(k_aabb) draw by draw, centred, (S,)."""
        m, series = self.moments, np.zeros(self.left.shape[1])
        if two is not None:
            series += two @ self.product
        if four is not None:
            series += four @ np.square(self.product) - (4 * m["ab"] * four) @ self.product
            series -= (m["bb"] * four) @ np.square(self.left) + (m["aa"] * four) @ np.square(self.right)
            series -= (2 * m["abb"] * four) @ self.left + (2 * m["aab"] * four) @ self.right
        return series - series.mean()

    def kurtosis(self) -> tuple[float, Floats, int]:
        """Return Σ κ4/κ2² over pairs of a point with itself, its influence (S,), and how many points move."""
        k2, k4 = self.second, self.fourth
        moving = k2 > 0
        square = np.where(moving, k2, 1.0) ** 2
        ratio = np.where(moving, k4 / square, 0.0)
        four = moving / square
        two = np.where(moving, -2 * ratio / np.where(moving, k2, 1.0), 0.0)
        return float(ratio.sum()), self.influence(two=two, four=four), int(moving.sum())
