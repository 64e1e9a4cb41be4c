"""Predictive scores of two theories against each other, observation by observation where that is possible."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from brg_prob.arrays import Floats
from brg_prob.comparison.compared_run import HeldOut

_SAME = 1e-9  # of a column's range: the round-off of two standardisations


@dataclass(frozen=True)
class ScoreDifference:
    """Difference of the mean log predictive density per held-out observation, in nats.

    Attributes
    ----------
    value, error
        First minus second; its standard error.
    shared
        Observations that both hold out; the difference is paired over them if there are two
        or more, else it is that of the two means.
    """

    value: float = math.nan
    error: float = math.nan
    shared: int = 0

    @property
    def paired(self) -> bool:
        """Whether the difference was taken observation by observation."""
        return self.shared >= 2

    @property
    def elpd(self) -> tuple[float, float]:
        """Return ``elpd_diff`` as ArviZ has it, the sum over the shared observations, and its error."""
        return (self.shared * self.value, self.shared * self.error) if self.paired else (math.nan, math.nan)


def score_difference(one: HeldOut, other: HeldOut) -> ScoreDifference:
    """Return the difference of two scores: paired over the observations that both hold out.

    Observations are the same if inputs and values, in the record's own units, are.
    """
    rows, match = shared_rows(
        np.column_stack([one.inputs, one.values]), np.column_stack([other.inputs, other.values])
    )
    if rows.size >= 2:
        difference = one.log_density[rows] - other.log_density[match]
        error = difference.std(ddof=1) / math.sqrt(rows.size)
        return ScoreDifference(float(difference.mean()), float(error), int(rows.size))
    return ScoreDifference(one.mean - other.mean, math.hypot(one.error, other.error), int(rows.size))


def shared_rows(one: Floats, other: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return pairs of row numbers at which two tables (r, c), (r′, c) agree to rounding, each row once.

    Examples
    --------
    >>> shared_rows(np.array([[1.0], [2.0], [3.0]]), np.array([[3.0], [1.0]]))
    (array([0, 2]), array([1, 0]))
    """
    nothing = np.empty(0, dtype=np.intp)
    if not one.size or not other.size or one.shape[1] != other.shape[1]:
        return nothing, nothing
    both = np.concatenate([one, other])
    unit = np.ptp(both, axis=0)
    unit = np.where(unit > 0, unit, np.maximum(np.abs(both).max(axis=0), 1.0))
    distance, nearest = cKDTree(other / unit).query(one / unit)
    rows = np.flatnonzero(distance <= _SAME)
    _, first = np.unique(nearest[rows], return_index=True)
    rows = rows[np.sort(first)]
    return rows, np.asarray(nearest[rows], dtype=np.intp)
