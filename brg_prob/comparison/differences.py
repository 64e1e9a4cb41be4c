"""Differences in standard errors, and what the largest of many means.

Neighbouring lags share their draws, so the differences are strongly correlated and no χ² is
formed of them: each is held against its own standard error, and Holm's correction, valid under
any dependence, keeps the chance of a false alarm among all of them below the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from brg_prob.arrays import Floats, holm

LEVEL = 0.05
ROUNDING = 1e-9  # an error below this part of its number is rounding: the number did not vary

QUANTITIES = (
    "mean field",
    "two-point function",
    "four-point function",
    "power spectrum",
    "mass²",
    "excess kurtosis",
)
"""What is held against its error."""


@dataclass(frozen=True)
class Differences:
    """Differences of one quantity between two theories.

    Attributes
    ----------
    quantity
        One of ``QUANTITIES``.
    contrast
        Number of the pair of theories.
    at
        (g,) lag, momentum or number of the input; NaN for a single number.
    value, error
        (g,) theory minus reference; of mass² the logarithms.
    relative
        (g,) the difference relative to the reference.
    """

    quantity: str
    contrast: int
    at: Floats
    value: Floats
    error: Floats
    relative: Floats

    @staticmethod
    def of(
        quantity: str,
        contrast: int,
        at: Floats,
        pair: tuple[Floats, Floats],
        errors: tuple[Floats, Floats],
    ) -> Differences:
        """Return first minus second with the error of independent draws; NaN where that is rounding."""
        one, other = (np.asarray(v, dtype=float) for v in pair)
        error, size = np.hypot(*errors), np.maximum(np.abs(one), np.abs(other))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(other != 0, (one - other) / np.abs(other), np.nan)
        return Differences(
            quantity,
            contrast,
            np.asarray(at, dtype=float),
            one - other,
            np.where(error > ROUNDING * size, error, np.nan),
            relative,
        )

    @property
    def z(self) -> Floats:
        """Return the differences in standard errors; NaN where a difference has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.error > 0, self.value / self.error, np.nan)

    def rows(self) -> pd.DataFrame:
        """Return the differences as a table, a row each."""
        return pd.DataFrame(
            {
                "quantity": self.quantity,
                "contrast": self.contrast,
                "at": self.at,
                "difference": self.value,
                "se": self.error,
                "relative": self.relative,
                "z": self.z,
            }
        )


def difference_table(parts: Sequence[Differences]) -> xr.Dataset:
    """Return all differences with their standard errors as one table, Holm's p-values included.

    Returns
    -------
    xarray.Dataset
        Dimension ``test``: ``quantity``, ``contrast``, ``at``, ``difference``, ``se``,
        ``relative``, ``z`` and ``p_value`` (two-sided, adjusted for all rows); attribute
        ``level``. Differences without an error are not in it.
    """
    rows = pd.concat([part.rows() for part in parts], ignore_index=True)
    table = rows[np.isfinite(rows["z"])].assign(p_value=lambda tests: holm(2 * norm.sf(np.abs(tests["z"]))))
    columns = {str(name): ("test", values.to_numpy()) for name, values in table.items()}
    quantity = ("test", table["quantity"].to_numpy(dtype=str))
    return xr.Dataset(columns | {"quantity": quantity}, attrs={"level": LEVEL})
