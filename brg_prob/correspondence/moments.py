"""Moments of mode coefficients at one scale, and the two tests made of them (T18)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import optimize

from brg_prob.correspondence.chains import Dependence, dependence, null_sums, plug_in_variance_z
from brg_prob.correspondence.statistics import (
    POWER,
    Floats,
    mean_z,
    smallest_detectable_mean,
    smallest_detectable_variance,
    sum_of_squares,
    variance_z,
)

_REPLICATES = 10_000
"""Resampled sums under dependence: no p-value is smaller than 1e-4."""


@dataclass(frozen=True)
class Moments:
    """Sample moments of K independent modes.

    Attributes
    ----------
    mean, variance
        Of the draws, (K,); the variance unbiased.
    largest
        Largest absolute coefficient of each mode, (K,).
    precision
        Machine epsilon of the draws.
    chains, draws
        C chains of D draws.
    chain
        The draws' dependence; None for independent draws.
    """

    mean: Floats
    variance: Floats
    largest: Floats
    precision: float
    chains: int
    draws: int
    chain: Dependence | None = None

    @property
    def size(self) -> int:
        """Number of draws S = C·D."""
        return self.chains * self.draws

    @property
    def ess_variance(self) -> Floats:
        """Effective number of squared deviations, (K,)."""
        return self.chain.ess_variance if self.chain else np.full(self.mean.shape, float(self.size))

    @property
    def ess_mean(self) -> Floats:
        """Effective number of draws for the mean, (K,)."""
        return self.chain.ess_mean if self.chain else np.full(self.mean.shape, float(self.size))

    @property
    def r_hat(self) -> float:
        """Largest R-hat; 1 for independent draws."""
        return self.chain.r_hat if self.chain else 1.0


def moments(coefficients: np.ndarray, *, chains: int = 1, independent: bool = True) -> Moments:
    """Return the moments of coefficients (S, K), chain after chain.

    Raises
    ------
    ValueError
        S is no multiple of the number of chains, or fewer than four draws in a chain.
    """
    size = coefficients.shape[0]
    if size % chains or size // chains < 4:
        raise ValueError(f"{size} draws do not make {chains} chains of four or more; give more draws")
    precision = float(np.finfo(coefficients.dtype).eps)
    values = np.asarray(coefficients, dtype=float)
    mean = values.mean(axis=0)
    variance = np.sum(np.square(values - mean), axis=0) / (size - 1)
    largest = np.max(np.abs(values), axis=0)
    chain = None
    if not independent:
        chain = dependence(np.moveaxis(values.reshape(chains, size // chains, -1), 2, 0))
    return Moments(mean, variance, largest, precision, chains, size // chains, chain)


@dataclass(frozen=True)
class ModeTest:
    """One test at one scale.

    Attributes
    ----------
    statistic, p_value
        Σ z² and its tail probability; (0, 1) where no mode could be tested.
    z
        The modes' z, (M,).
    sizes
        Degrees ν (variance) or effective draws (mean) of each mode, (M,).
    quantity
        ``variance`` or ``mean``.
    null
        Σ z² and Σ w z under the hypothesis where the law was simulated.
    """

    statistic: float
    p_value: float
    z: Floats
    sizes: Floats
    quantity: str
    null: tuple[Floats, Floats] | None = field(default=None, repr=False)

    @property
    def ess(self) -> Floats:
        """Effective sample size of each mode, (M,)."""
        return self.sizes + 1 if self.quantity == "variance" else self.sizes

    def smallest_detectable(self, level: float, *, power: float = POWER) -> float:
        """Return the smallest common deviation found with given power at ``level`` (T18).

        Relative for variances, in standard deviations of one draw for means; NaN where no
        mode was tested.
        """
        if self.null is None or self.z.size == 0:
            law = smallest_detectable_variance if self.quantity == "variance" else smallest_detectable_mean
            return law(self.sizes, level, power=power)
        squares, linear = self.null
        critical = np.quantile(squares, 1 - level)
        information = float(np.sum(np.square(shift_per_deviation(self.sizes, self.quantity))))

        def missing(deviation: float) -> float:
            shifted = squares + 2 * deviation * linear + deviation**2 * information
            return float(np.mean(shifted > critical)) - power

        return float(optimize.brentq(missing, 0.0, np.sqrt(4 * critical / information)))


def shift_per_deviation(sizes: Floats, quantity: str) -> Floats:
    """Return the shift of each z per unit deviation: √(ν/2) for a variance, √ESS for a mean."""
    return np.sqrt(sizes / 2 if quantity == "variance" else sizes)


def variance_test(sample: Moments, predicted: np.ndarray) -> ModeTest:
    """Test the variances of modes against predicted ones.

    Parameters
    ----------
    sample
        Moments of K modes.
    predicted
        G per mode, (K,). A mode predicted to be exactly zero must be zero to rounding, or
        the p-value is 0; it is not counted among the M tested.
    """
    alive = predicted > 0
    if sample.chain is None:
        sizes = sample.ess_variance[alive] - 1
        z = variance_z(sample.variance[alive], predicted[alive], sizes)
        result = ModeTest(*sum_of_squares(z), z, sizes, "variance")
    else:
        sizes = np.maximum(sample.ess_variance[alive] - 1, 1.0)
        z = plug_in_variance_z(sample.variance[alive], predicted[alive], sample.ess_variance[alive])
        result = _calibrated(sample, z, sizes, sample.chain.index_variance[alive], "variance")
    return _with_zeros(result, sample, predicted)


def mean_test(sample: Moments, predicted: np.ndarray, variance: np.ndarray) -> ModeTest:
    """Test the means of modes against predicted ones, with the predicted variance of a draw.

    Parameters
    ----------
    sample
        Moments of K modes.
    predicted, variance
        Mean and variance G of each mode, (K,); where G = 0 as in :func:`variance_test`.
    """
    alive = variance > 0
    sizes = sample.ess_mean[alive]
    z = mean_z(sample.mean[alive], predicted[alive], variance[alive], sizes)
    if sample.chain is None:
        result = ModeTest(*sum_of_squares(z), z, sizes, "mean")
    else:
        result = _calibrated(sample, z, sizes, sample.chain.index_mean[alive], "mean")
    return _with_zeros(result, sample, variance)


def _calibrated(sample: Moments, z: Floats, sizes: Floats, index: np.ndarray, quantity: str) -> ModeTest:
    """Return the test whose law is simulated from AR(1) chains of the observed autocorrelation."""
    statistic = float(np.sum(np.square(z)))
    if z.size == 0:
        return ModeTest(0.0, 1.0, z, sizes, quantity)
    null = null_sums(
        index,
        shift_per_deviation(sizes, quantity),
        sample.chains,
        sample.draws,
        which=0 if quantity == "variance" else 1,
        replicates=_REPLICATES,
    )
    p_value = float((1 + np.sum(null[0] >= statistic)) / (1 + null[0].size))
    return ModeTest(statistic, p_value, z, sizes, quantity, null)


def _with_zeros(result: ModeTest, sample: Moments, variance: np.ndarray) -> ModeTest:
    """Return the test, rejected outright if a mode predicted to vanish does not."""
    zero = variance <= 0
    if not np.any(zero):
        return result
    # a projection onto plane waves sums n terms of the size of the field
    allowed = (
        1e3
        * sample.precision
        * max(float(np.max(sample.largest)), np.sqrt(float(np.max(variance, initial=0))))
    )
    if float(np.max(sample.largest[zero])) <= allowed:
        return result
    return ModeTest(float("inf"), 0.0, result.z, result.sizes, result.quantity, result.null)
