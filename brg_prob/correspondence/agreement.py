"""How far two sets of draws are apart at most: simultaneous intervals for place and spread (T18d).

A test that does not reject says nothing of its power. Agreement is an interval instead: for each coordinate
the ratio of standard deviations and the difference of means, with

    log r ± z·½√((κ₁ − 1)/ESS₁ + (κ₂ − 1)/ESS₂),   z = z_{1 − α/4D},

κ the kurtosis, ESS that of squared deviations; all inside (1/1.25, 1.25) and ±.3 sd is what *agrees* means.
The claim "all are inside" needs no correction for the number of scales: it is made only where each is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike
from scipy import stats

from brg_prob.arrays import Floats
from brg_prob.correspondence.chains import effective_sizes

SPREAD = 1.25
"""Largest ratio of standard deviations that still agrees."""
PLACE = 0.3
"""Largest difference of means, in standard deviations, that still agrees: 95 % intervals then cover 94 %."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """Simultaneous intervals of D coordinates at one scale.

    Attributes
    ----------
    log_ratio, log_ratio_width
        Logarithm of the first's standard deviation over the second's, and half the width, (D,).
    shift, shift_width
        Difference of means in standard deviations of both together, and half the width, (D,).
    ess1, ess2
        Effective numbers of draws of the slowest coordinate, of draws and squared deviations.
    r_hat
        Largest R-hat of either; 1 for independent draws.
    """

    log_ratio: Floats
    log_ratio_width: Floats
    shift: Floats
    shift_width: Floats
    ess1: float
    ess2: float
    r_hat: float

    def inside(self, *, spread: float = SPREAD, place: float = PLACE) -> np.ndarray:
        """Return of which coordinates both intervals lie within the tolerances, (D,)."""
        ratio = np.abs(self.log_ratio) + self.log_ratio_width < np.log(spread)
        return np.asarray(ratio & (np.abs(self.shift) + self.shift_width < place))

    def outside(self, *, spread: float = SPREAD, place: float = PLACE) -> np.ndarray:
        """Return of which coordinates one interval lies wholly beyond a tolerance, (D,)."""
        ratio = np.abs(self.log_ratio) - self.log_ratio_width > np.log(spread)
        return np.asarray(ratio | (np.abs(self.shift) - self.shift_width > place))


def intervals(
    first: ArrayLike,
    second: ArrayLike,
    *,
    independent1: bool = False,
    independent2: bool = False,
    level: float = 0.05,
) -> Intervals:
    """Return simultaneous intervals for place and spread of every coordinate.

    Parameters
    ----------
    first, second
        Draws (chain, draw, D).
    independent1, independent2
        Whether the draws are independent of each other.
    level
        Probability that any of the 2D intervals misses its value.

    Examples
    --------
    >>> one, two = np.random.default_rng(1).normal(size=(2, 1, 4000, 5))
    >>> bool(intervals(one, 1.1 * two, independent1=True, independent2=True).inside().all())
    True
    """
    one, two = (_Moments.of(*pair) for pair in ((first, independent1), (second, independent2)))
    reach = float(stats.norm.isf(level / (4 * one.mean.size)))
    moving = (one.variance > 0) & (two.variance > 0)
    safe1, safe2 = (np.where(moving, each.variance, 1.0) for each in (one, two))
    unit = np.sqrt((safe1 + safe2) / 2)
    still = np.where(one.mean == two.mean, 0.0, np.inf)  # a coordinate that neither moves
    ratio_width = reach * 0.5 * np.sqrt(one.spread_error**2 + two.spread_error**2)
    shift_width = reach * np.sqrt(safe1 / one.ess_mean + safe2 / two.ess_mean) / unit
    lone = (one.variance > 0) != (two.variance > 0)  # moves in one of the two alone
    return Intervals(
        log_ratio=np.where(lone, np.inf, np.where(moving, 0.5 * np.log(safe1 / safe2), 0.0)),
        log_ratio_width=np.where(moving, ratio_width, 0.0),
        shift=np.where(moving, (one.mean - two.mean) / unit, still),
        shift_width=np.where(moving, shift_width, 0.0),
        ess1=one.smallest,
        ess2=two.smallest,
        r_hat=max(one.r_hat, two.r_hat),
    )


@dataclass(frozen=True, eq=False)
class _Moments:
    """Moments of one set of draws, and their effective sample sizes, (D,) each."""

    mean: Floats
    variance: Floats
    spread_error: Floats
    ess_mean: Floats
    smallest: float
    r_hat: float

    @classmethod
    def of(cls, draws: ArrayLike, independent: bool) -> _Moments:
        values = np.moveaxis(np.asarray(draws, dtype=float), 2, 0)  # (D, chain, draw)
        size = values.shape[1] * values.shape[2]
        mean, variance = values.mean(axis=(1, 2)), values.var(axis=(1, 2), ddof=1)
        moving = variance > 0
        ess_variance, ess_mean = np.full((2, mean.size), float(size))
        r_hat = 1.0
        if not independent and moving.any():
            ess_variance[moving], ess_mean[moving] = effective_sizes(values[moving])
            r_hat = float(np.max(array_stats.rhat(values[moving], chain_axis=1, draw_axis=2)))
        centred = values - mean[:, None, None]
        kurtosis = (centred**4).mean(axis=(1, 2)) / np.where(moving, variance, 1.0) ** 2
        error = np.sqrt(np.maximum(kurtosis - 1, 0.0) / ess_variance)
        smallest = float(min(ess_variance.min(), ess_mean.min(), size)) if mean.size else float(size)
        return cls(mean, variance, error, ess_mean, smallest, r_hat)
