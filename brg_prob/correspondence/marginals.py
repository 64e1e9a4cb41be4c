"""Every parameter and every Fisher direction of two sets of draws, at every scale (T18c, T18d).

Two questions of the same draws: whether any marginal law differs (rank scores, a test), and whether all are
known to be close (intervals). The first can be answered yes by a difference too small to matter, the second
no for want of draws; a verdict needs both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from brg_prob.arrays import Floats, holm
from brg_prob.correspondence.agreement import PLACE, SPREAD, Intervals, intervals
from brg_prob.correspondence.rank_scores import SCORES, rank_score_z

_MOST = 100
"""Coordinates of a scale whose ranks are scored, those that differ most; the others count as not rejected."""
_SHAPES = (2, 3)
"""Scores that no ratio or shift within tolerance explains."""


@dataclass(frozen=True, eq=False)
class Marginals:
    """Two sets of draws at one scale, coordinate by coordinate.

    Attributes
    ----------
    z
        Scores of D parameters and r directions, (4, D + r); 0 where not scored.
    apart
        Intervals of the D parameters.
    """

    z: Floats
    apart: Intervals

    @classmethod
    def of(
        cls,
        first: Floats,
        second: Floats,
        directions: Floats,
        *,
        independent1: bool,
        independent2: bool,
        level: float,
    ) -> Marginals:
        """Compare draws (chain, draw, D) along coordinates and along directions (r, D)."""
        own = {"independent1": independent1, "independent2": independent2}
        one, two = (np.concatenate([draws, draws @ directions.T], axis=2) for draws in (first, second))
        z = np.zeros((len(SCORES), one.shape[2]))
        scored = _loudest(one, two)
        z[:, scored] = rank_score_z(one[..., scored], two[..., scored], **own)
        return cls(z, intervals(first, second, level=level, **own))


@dataclass(frozen=True, eq=False)
class Compared:
    """What the marginals of all scales say together.

    Attributes
    ----------
    labels
        Of D parameters, then of r directions.
    marginals
        By scale; None where both sides hold the very same draws.
    level
        Of the rank scores, over scores, coordinates and scales (Holm).
    spread, place
        Tolerances.
    """

    labels: tuple[str, ...]
    marginals: tuple[Marginals | None, ...]
    level: float
    spread: float = SPREAD
    place: float = PLACE

    @property
    def tested(self) -> list[int]:
        """The scales where the two sides are different draws."""
        return [at for at, one in enumerate(self.marginals) if one is not None]

    @property
    def adjusted(self) -> Floats:
        """Holm's p-values, (tested scales, 4, D + r)."""
        z = np.stack([one.z for one in self.marginals if one is not None])
        return holm(2 * stats.norm.sf(np.abs(z)).ravel()).reshape(z.shape)

    @property
    def count(self) -> int:
        """Number of scores over which the level is shared."""
        return len(self.tested) * len(SCORES) * len(self.labels)

    def rejected(self) -> list[tuple[int, int, int]]:
        """Return (scale, score, coordinate) of what is rejected, the smallest p-values first."""
        if not self.tested:
            return []
        adjusted = self.adjusted
        found = np.argwhere(adjusted <= self.level)
        loud = [-abs(self._one(self.tested[at]).z[score, k]) for at, score, k in found]
        return [
            (self.tested[int(found[i][0])], int(found[i][1]), int(found[i][2]))
            for i in np.argsort(loud, kind="stable")
        ]

    def differs(self) -> list[tuple[int, int, int]]:
        """Return what of the rejected matters: a shape, or what is not known to be within tolerance."""
        return [each for each in self.rejected() if each[1] in _SHAPES or not self._close(each[0], each[2])]

    def close(self) -> bool:
        """Return whether every parameter is known to be within both tolerances at every tested scale."""
        own = [self._one(at).apart.inside(spread=self.spread, place=self.place) for at in self.tested]
        return bool(own) and bool(np.all(own))

    def far(self) -> list[tuple[int, int]]:
        """Return (scale, parameter) of those known to be beyond a tolerance."""
        return [
            (at, int(k))
            for at in self.tested
            for k in np.flatnonzero(self._one(at).apart.outside(spread=self.spread, place=self.place))
        ]

    def largest(self) -> tuple[int, int]:
        """Return (scale, parameter) that is farthest from agreement, in units of the tolerances."""
        sizes = []
        for at in self.tested:
            apart = self._one(at).apart
            ratio = (np.abs(apart.log_ratio) + apart.log_ratio_width) / np.log(self.spread)
            sizes.append(np.maximum(ratio, (np.abs(apart.shift) + apart.shift_width) / self.place))
        row, column = np.unravel_index(int(np.argmax(sizes)), np.shape(sizes))
        return self.tested[int(row)], int(column)

    def table(self) -> dict[str, Floats]:
        """Return the variables of the group ``agreement``: (scale, parameter), ``score`` (scale, mark, …)."""
        whole, size = len(self.marginals), self._one(self.tested[0]).apart.shift.size if self.tested else 0
        found = {name: np.full((whole, size), np.nan) for name in _INTERVALS}
        scores = np.full((whole, len(SCORES), len(self.labels)), np.nan)
        for at in self.tested:
            one = self._one(at)
            scores[at] = one.z
            for name in _INTERVALS:
                found[name][at] = getattr(one.apart, name)
        return found | {"score_z": scores}

    def _one(self, at: int) -> Marginals:
        found = self.marginals[at]
        assert found is not None
        return found

    def _close(self, at: int, k: int) -> bool:
        """Return whether a coordinate is known to be within tolerance; a direction is not, by itself."""
        inside = self._one(at).apart.inside(spread=self.spread, place=self.place)
        return bool(inside[k]) if k < inside.size else bool(inside.all())


_INTERVALS = ("log_ratio", "log_ratio_width", "shift", "shift_width")


def _loudest(one: Floats, two: Floats) -> Sequence[int] | np.ndarray:
    """Return the coordinates to be scored: all, or those whose moments differ most.

    All count among the tests, so that choosing by the data cannot raise a false alarm.
    """
    if one.shape[2] <= _MOST:
        return np.arange(one.shape[2])
    moments = []
    for draws in (one, two):
        mean, spread = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1))
        unit = (draws - mean) / np.where(spread > 0, spread, 1.0)
        shape = [(unit**3).mean(axis=(0, 1)) / np.sqrt(15), (unit**4).mean(axis=(0, 1)) / np.sqrt(96)]
        moments.append((mean, spread, *shape))
    (mean1, sd1, *shape1), (mean2, sd2, *shape2) = moments
    unit = np.where(sd1 + sd2 > 0, (sd1 + sd2) / 2, 1.0)
    sizes = [np.abs(mean1 - mean2) / unit, np.sqrt(2) * np.abs(sd1 - sd2) / unit]
    sizes += [np.abs(a - b) for a, b in zip(shape1, shape2, strict=True)]
    return np.sort(np.argsort(-np.max(sizes, axis=0), kind="stable")[:_MOST])
