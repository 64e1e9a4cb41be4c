"""Two sets of draws compared coordinate by coordinate: four scores of pooled ranks (T18c).

The energy distance sees the joint law, but in many dimensions not that one parameter's spread is off by a
factor of two. Here each coordinate has four scores of its pooled ranks u, orthonormal under equal laws:

    location Φ⁻¹(u),   scale Φ⁻¹(u)² − 1,   skew P₃(2u − 1),   bimodality P₄(2u − 1),

and z = (ā₁ − ā₂)/√(1/ESS₁ + 1/ESS₂), each ESS that of the score itself, is N(0, 1) for chains as for
independent draws: nothing is permuted, nothing thinned. Host code in float64.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike
from scipy import special, stats

from brg_prob.arrays import Floats
from brg_prob.correspondence.statistics import POWER

SCORES = ("location", "scale", "skew", "bimodality")


def rank_score_z(
    first: ArrayLike, second: ArrayLike, *, independent1: bool = False, independent2: bool = False
) -> Floats:
    """Return z of the four scores of every coordinate, (4, D), in the order of ``SCORES``.

    Parameters
    ----------
    first, second
        Draws (chain, draw, D), the same D; the numbers of chains and draws may differ.
    independent1, independent2
        Whether the draws are independent of each other; else ESS are estimated.

    Returns
    -------
    numpy.ndarray
        Standard normal under equal laws, positive where the first has the larger score; 0 where all draws of
        a coordinate are equal.

    Raises
    ------
    ValueError
        Draws that are not finite, not (chain, draw, D), or of different D.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> one, two = rng.normal(size=(2, 1, 1000, 2)) * np.array([[[[1.0, 1.5]]], [[[1.0, 1.0]]]])
    >>> z = rank_score_z(one, two, independent1=True, independent2=True)
    >>> np.abs(z).max(axis=0).round(0).tolist(), SCORES[int(np.abs(z[:, 1]).argmax())]
    ([1.0, 11.0], 'scale')
    """
    one, two = (np.asarray(draws, dtype=float) for draws in (first, second))
    if one.ndim != 3 or two.ndim != 3 or one.shape[2] != two.shape[2]:
        raise ValueError(f"draws {one.shape} and {two.shape} are not (chain, draw, D) with the same D")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError("draws that are not finite; compare where both converged")
    sizes = tuple(draws.shape[0] * draws.shape[1] for draws in (one, two))
    found = np.zeros((len(SCORES), one.shape[2]))
    for at in range(one.shape[2]):  # a coordinate at a time: four scores of all draws are in memory
        pooled = np.concatenate([one[..., at].ravel(), two[..., at].ravel()])
        if pooled.min() == pooled.max():
            continue
        scores = _scores(pooled)
        difference = scores[:, : sizes[0]].mean(axis=1) - scores[:, sizes[0] :].mean(axis=1)
        effective1 = _effective(scores[:, : sizes[0]].reshape(4, *one.shape[:2]), independent1)
        effective2 = _effective(scores[:, sizes[0] :].reshape(4, *two.shape[:2]), independent2)
        found[:, at] = difference / np.sqrt(1 / effective1 + 1 / effective2)
    return found


def smallest_detectable_ratio(size1: float, size2: float, level: float, *, power: float = POWER) -> float:
    """Return the ratio of standard deviations of one coordinate found with given power (T18c).

    Parameters
    ----------
    size1, size2
        Effective numbers of draws.
    level
        Of one score, two-sided: the level of all divided by their number.

    Examples
    --------
    Twenty coordinates on sites and modes, five scales, a thousand draws a side, half of .05:

    >>> round(smallest_detectable_ratio(1000, 1000, 0.025 / (8 * 20 * 5)), 2)
    1.17
    """
    share = size1 * size2 / (size1 + size2)
    return float(np.exp((stats.norm.isf(level / 2) + stats.norm.ppf(power)) / np.sqrt(2 * share)))


def smallest_detectable_place(size1: float, size2: float, level: float, *, power: float = POWER) -> float:
    """Return the shift of one coordinate, in standard deviations, found with given power (T18c)."""
    share = size1 * size2 / (size1 + size2)
    return float((stats.norm.isf(level / 2) + stats.norm.ppf(power)) / np.sqrt(share))


def _scores(pooled: Floats) -> Floats:
    """Return the four scores of pooled draws (S,), (4, S); ties share the mean of their ranks."""
    return np.stack([np.interp(stats.rankdata(pooled), *pair) for pair in _functions(pooled.size)])


@lru_cache(maxsize=16)
def _functions(size: int) -> tuple[tuple[Floats, Floats], ...]:
    """Return each score at the ranks 1 … S, as (ranks, values): mean 0, variance 1, uncorrelated."""
    ranks = np.arange(1, size + 1, dtype=float)
    share = (ranks - 0.5) / size
    normal = special.ndtri(share)
    raw = [normal, normal**2 - 1, *(special.eval_legendre(degree, 2 * share - 1) for degree in (3, 4))]
    columns = np.stack([np.ones(size), *raw], axis=1)
    basis, triangle = np.linalg.qr(columns)  # the constant first: the others have mean 0
    values = basis[:, 1:] * np.sign(np.diagonal(triangle)[1:]) * np.sqrt(size - 1)
    return tuple((ranks, column) for column in values.T)


def _effective(scores: Floats, independent: bool) -> Floats:
    """Return the effective number of draws of each score (4, chain, draw)."""
    size = scores.shape[1] * scores.shape[2]
    if independent:
        return np.full(len(scores), float(size))
    found = np.asarray(array_stats.ess(scores, chain_axis=1, draw_axis=2, method="mean"), dtype=float)
    return np.where(np.isfinite(found), found, float(size))
