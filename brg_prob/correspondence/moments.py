"""Moments of mode coefficients at one scale, and the two tests made of them (T18)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize
from scipy.stats import chi2, norm

from brg_prob.correspondence.chains import (
    Dependence,
    NullSums,
    dependence,
    null_sums,
    null_tails,
    plug_in_variance_z,
)
from brg_prob.correspondence.statistics import (
    POWER,
    Floats,
    mean_z,
    of_largest,
    smaller_of_two,
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
    """One test at one scale, of all modes together and of the one that deviates most (T18b).

    Σ z² sees what all modes have in common, max |z| what one has alone; each has half the level.

    Attributes
    ----------
    statistic
        Σ z².
    p_values
        Of Σ z² and of max |z|; (1, 1) where no mode could be tested, (0, 0) where one that must vanish
        did not.
    z
        The modes' z, (M,).
    deviations
        Measured minus predicted of each mode: relative for variances, in standard deviations of a draw for
        means, (M,).
    sizes
        Degrees ν (variance) or effective draws (mean) of each mode, (M,).
    quantity
        ``variance`` or ``mean``.
    null
        The law of both under the hypothesis where it was simulated.
    """

    statistic: float
    p_values: tuple[float, float]
    z: Floats
    deviations: Floats
    sizes: Floats
    quantity: str
    null: NullSums | None = field(default=None, repr=False)

    @property
    def p_value(self) -> float:
        """Of the smaller of the two."""
        if self.z.size < 2 or min(self.p_values) == 0:  # of one mode both are the same
            return min(self.p_values)
        if self.null is not None:
            return self.null.p_value(*self.p_values)
        return smaller_of_two(*self.p_values, self.z.size)

    @property
    def ess(self) -> Floats:
        """Effective sample size of each mode, (M,)."""
        return self.sizes + 1 if self.quantity == "variance" else self.sizes

    @property
    def common(self) -> float:
        """The deviation that all modes have in common: their mean, weighted by what each can tell; or nan."""
        return float(np.average(self.deviations, weights=self.sizes)) if self.z.size else math.nan

    @property
    def single(self) -> float:
        """The deviation of the mode whose |z| is largest; nan where none was tested."""
        return float(self.deviations[np.argmax(np.abs(self.z))]) if self.z.size else math.nan

    def smallest_single(self, level: float, *, power: float = POWER) -> float:
        """Return the smallest deviation of one mode alone found with given power at ``level`` (T18b).

        Of the mode that can tell least. A mean: (z_{1−α/4M} + z_power)/√ESS. A variance too large: the ratio
        of the quantiles of χ²_ν, for which T18b has (z_{1−α/4M} + z_power)√(2/ν), its limit of small ones.
        """
        if self.z.size == 0:
            return math.nan
        tail, least = level / (4 * self.z.size), float(np.min(self.sizes))
        if self.quantity == "variance":
            return float(chi2.isf(tail, least) / chi2.isf(power, least)) - 1
        return float((norm.isf(tail) + norm.ppf(power)) / np.sqrt(least))

    def smallest_detectable(self, level: float, *, power: float = POWER) -> float:
        """Return the smallest common deviation found with given power at ``level`` (T18), by Σ z² alone.

        Relative for variances, in standard deviations of one draw for means; NaN where no mode was tested.
        """
        level = level / 2
        if self.null is None or self.z.size == 0:
            law = smallest_detectable_variance if self.quantity == "variance" else smallest_detectable_mean
            return law(self.sizes, level, power=power)
        squares, linear = self.null.squares, self.null.linear
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
    off = sample.variance[alive] / predicted[alive] - 1
    sizes = np.maximum(sample.ess_variance[alive] - 1, 1.0)
    if sample.chain is None:
        z = variance_z(sample.variance[alive], predicted[alive], sizes)
    else:
        z = plug_in_variance_z(sample.variance[alive], predicted[alive], sample.ess_variance[alive])
    return _with_zeros(_tested(sample, z, off, sizes, alive, "variance"), sample, predicted)


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
    off = (sample.mean[alive] - predicted[alive]) / np.sqrt(variance[alive])
    z = mean_z(sample.mean[alive], predicted[alive], variance[alive], sizes)
    return _with_zeros(_tested(sample, z, off, sizes, alive, "mean"), sample, variance)


def _tested(
    sample: Moments, z: Floats, off: Floats, sizes: Floats, alive: np.ndarray, quantity: str
) -> ModeTest:
    """Return the test; of chains its law is simulated from AR(1) chains of the observed autocorrelation."""
    if z.size == 0:
        return ModeTest(0.0, (1.0, 1.0), z, off, sizes, quantity)
    if sample.chain is None:
        statistic, p_value = sum_of_squares(z)
        largest = float(of_largest(2 * norm.sf(np.max(np.abs(z))), z.size))
        return ModeTest(statistic, (p_value, largest), z, off, sizes, quantity)
    which = 0 if quantity == "variance" else 1
    index = (sample.chain.index_mean if which else sample.chain.index_variance)[alive]
    weights, statistic = shift_per_deviation(sizes, quantity), float(np.sum(np.square(z)))
    shape = (sample.chains, sample.draws)
    null = null_sums(index, weights, *shape, which=which, replicates=_REPLICATES)
    p_value = float((1 + np.sum(null.squares >= statistic)) / (1 + null.squares.size))
    largest = float(of_largest(np.min(null_tails(z, index, *shape, which=which)), z.size))
    return ModeTest(statistic, (p_value, largest), z, off, sizes, quantity, null)


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
    return dataclasses.replace(result, statistic=math.inf, p_values=(0.0, 0.0))
