"""Prior-predictive test of the data's own spectrum (T9, T18).

Under the prior and its noise, the plane-wave coefficients of the data are independent
Gaussians of variance G0(p) + σ²L^d/n. In octaves of |p| the sum of squared, scaled
coefficients is exactly χ²; Σ z² over the octaves is the statistic. One record tells little
about a mass: how little is computed, not guessed.

Where mass, amplitude or noise were fitted to the same data, the law of the statistic comes
from a parametric bootstrap that refits them to every replicate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import interpolate, optimize, stats

from brg_prob.arrays import Floats
from brg_prob.correspondence.plane_waves import MomentumModes
from brg_prob.correspondence.statistics import POWER, chi2_to_normal, sum_of_squares
from brg_prob.erg import FreeTheory
from brg_prob.spectra import evaluate_spectrum

TUNABLE = ("mass", "amplitude", "noise")
_REPLICATES = 199
_LARGEST_FACTOR = 100.0
_POWER_DRAWS = 2000
_POWER_NUMBERS = 1 << 20


@dataclass(frozen=True)
class DataSpectrum:
    """The power of the data by |p|, sorted into octaves.

    Attributes
    ----------
    squares
        Sum of the squared coefficients that share a |p|, outputs included, (Q,).
    counts
        How many they are, (Q,).
    momentum
        The distinct |p|, ascending, (Q,).
    cell
        L^d/n.
    centred
        The data's mean was taken out, so the zero mode is not tested.
    """

    squares: Floats
    counts: np.ndarray
    momentum: Floats
    cell: float
    centred: bool

    @cached_property
    def _members(self) -> Floats:
        """Which |p| belong to which octave, (Q, B); the zero mode belongs to the first."""
        positive = self.momentum[self.momentum > 0]
        lowest = positive.min() if positive.size else 1.0
        # a little slack, so that 2p₁ opens the second octave whatever its rounding
        number = np.floor(np.log2(np.maximum(self.momentum / lowest, 1.0)) + 1e-6).astype(int)
        used = np.unique(number, return_inverse=True)[1]
        return np.asarray(np.eye(used.max() + 1)[used])

    @property
    def degrees(self) -> Floats:
        """Degrees of freedom of each octave, (B,)."""
        return np.asarray(self.counts @ self._members)

    def octave_z(self, squares: Floats, variance: Floats) -> Floats:
        """Return z of each octave, (..., B), from squares (..., Q) and variances (..., Q)."""
        return chi2_to_normal((squares / variance) @ self._members, self.degrees)


@dataclass(frozen=True)
class SpectrumTest:
    """Outcome of the prior-predictive test.

    Attributes
    ----------
    statistic, p_value
        Σ z² over octaves.
    z
        Per octave.
    heavier, lighter
        Factors by which the data's mass would have to exceed, or fall below, the
        prediction's to be found with probability .8; infinite beyond 100, NaN where
        parameters were tuned.
    """

    statistic: float
    p_value: float
    z: Floats
    heavier: float
    lighter: float


def data_spectrum(modes: MomentumModes, y: np.ndarray) -> DataSpectrum:
    """Project data (n, o) onto all plane waves the grid resolves."""
    coefficients = modes.coefficients(np.asarray(y, dtype=float)[None]).reshape(y.shape[1], -1)
    # momenta of equal |p| differ by rounding
    unit = max(float(modes.momentum.max()), np.finfo(float).tiny)
    momentum, label = np.unique(np.round(modes.momentum / unit, 9), return_inverse=True)
    squares = np.bincount(label, weights=np.sum(np.square(coefficients), axis=0))
    counts = np.bincount(label) * y.shape[1]
    # a zero mode that vanishes to rounding is no draw: the mean was subtracted
    centred = bool(squares[0] < 1e-10 * np.sum(squares) / np.sum(counts))
    kept = slice(1 if centred else 0, None)
    momentum = momentum * unit
    return DataSpectrum(squares[kept], counts[kept], momentum[kept], modes.cell, centred)


def predicted_variance(prediction: FreeTheory, data: DataSpectrum) -> Floats:
    """Return G0(p) + σ²L^d/n of a coefficient at each |p|, (Q,)."""
    return np.asarray(prediction.g0(data.momentum), dtype=float) + prediction.noise**2 * data.cell


def spectrum_test(
    data: DataSpectrum, prediction: FreeTheory, *, level: float, tuned: Sequence[str] = (), seed: int = 0
) -> SpectrumTest:
    """Test the data's spectrum against the prior predictive law.

    Parameters
    ----------
    data
        The data's coefficients.
    prediction
        The field theory and its noise.
    level
        Level at which the power is computed.
    tuned
        Which of ``mass``, ``amplitude``, ``noise`` were fitted to these data.
    seed
        Of the bootstrap and of the power calculation.

    Raises
    ------
    ValueError
        A name in ``tuned`` is none of those.
    """
    unknown = [name for name in tuned if name not in TUNABLE]
    if unknown:
        raise ValueError(f"tuned = {unknown[0]!r} is no parameter of the spectrum; use {', '.join(TUNABLE)}")
    variance = predicted_variance(prediction, data)
    z = data.octave_z(data.squares, variance)
    statistic, p_value = sum_of_squares(z)
    if tuned:
        null = bootstrap(data, prediction, tuned, np.random.default_rng(seed))
        return SpectrumTest(
            statistic, float((1 + np.sum(null >= statistic)) / (1 + null.size)), z, np.nan, np.nan
        )
    factors = [detectable_mass_factor(data, prediction, level, towards=t, seed=seed) for t in (1, -1)]
    return SpectrumTest(statistic, p_value, z, *factors)


def detectable_mass_factor(
    data: DataSpectrum,
    prediction: FreeTheory,
    level: float,
    *,
    towards: int,
    power: float = POWER,
    seed: int = 0,
) -> float:
    """Return the factor by which the data's mass must differ to be found with given power.

    Parameters
    ----------
    towards
        1: the data heavier than predicted; −1: lighter.

    Returns
    -------
    float
        Above 1; infinite if 100 is not enough. Simulated with up to 2000 common draws: the
        power it stands for is right to ±.01 to ±.02.
    """
    rng = np.random.default_rng(seed)
    draws = int(np.clip(_POWER_NUMBERS // data.squares.size, 500, _POWER_DRAWS))
    squares = rng.chisquare(data.counts, (draws, data.squares.size))
    variance = predicted_variance(prediction, data)
    critical = stats.chi2.isf(level, data.degrees.size)

    def missing(log_factor: float) -> float:
        other = dataclasses.replace(prediction, mass=prediction.mass * float(np.exp(towards * log_factor)))
        z = data.octave_z(squares * predicted_variance(other, data), variance)
        return float(np.mean(np.sum(np.square(z), axis=1) > critical)) - power

    largest = np.log(_LARGEST_FACTOR)
    if missing(largest) < 0:
        return float("inf")
    return float(np.exp(optimize.brentq(missing, 0.0, largest, xtol=1e-3)))


def bootstrap(
    data: DataSpectrum,
    prediction: FreeTheory,
    tuned: Sequence[str],
    rng: np.random.Generator,
    *,
    replicates: int = _REPLICATES,
) -> Floats:
    """Return the statistic of replicates of the data, each with its parameters refitted, (B,)."""
    fitter = SpectrumFit(data, prediction, tuned)
    variance = predicted_variance(prediction, data)
    squares = variance * rng.chisquare(data.counts, (replicates, variance.size))
    fitted = np.stack([fitter.variance(fitter.fit(s))[0] for s in squares])
    return np.sum(np.square(data.octave_z(squares, fitted)), axis=1)


class SpectrumFit:
    """Maximum likelihood of mass, amplitude and noise from plane-wave coefficients.

    The likelihood of independent Gaussian coefficients, in logarithms of the parameters
    relative to the prediction's. The spectrum is tabulated over the mass once (cubic spline
    in log mass), so that a fit costs milliseconds whatever the spectrum.
    """

    def __init__(self, data: DataSpectrum, prediction: FreeTheory, tuned: Sequence[str]) -> None:
        self._counts = data.counts
        self._tuned = tuple(tuned)
        self._white = prediction.noise**2 * data.cell
        momentum = data.momentum
        self._alive = (np.asarray(prediction.g0(momentum), dtype=float) > 0).astype(float)
        if "mass" in tuned:
            grid = np.linspace(-np.log(_LARGEST_FACTOR), np.log(_LARGEST_FACTOR), 47)
            table = [self._log_density(prediction, momentum, np.exp(t)) for t in grid]
            self._spline = interpolate.CubicSpline(grid, np.stack(table))
            self._slope = self._spline.derivative()
        else:
            self._fixed = self._log_density(prediction, momentum, 1.0)

    def _log_density(self, prediction: FreeTheory, momentum: Floats, factor: float) -> Floats:
        """Return log G0 where it does not vanish, 0 elsewhere."""
        mass = prediction.mass * factor
        density = evaluate_spectrum(prediction.spectrum, momentum, mass, prediction.dim)
        return np.log(np.where(self._alive > 0, prediction.amplitude**2 * density, 1.0))

    def variance(self, parameters: dict[str, float]) -> tuple[Floats, dict[str, Floats]]:
        """Return the variance at each |p|, (Q,), and its derivatives by the log parameters."""
        log_mass = parameters.get("mass", 0.0)
        log_density = self._spline(log_mass) if "mass" in self._tuned else self._fixed
        field: Floats = self._alive * np.exp(log_density + 2 * parameters.get("amplitude", 0.0))
        white = self._white * np.exp(2 * parameters.get("noise", 0.0))
        slopes = {"amplitude": 2 * field, "noise": np.full_like(field, 2 * white)}
        if "mass" in self._tuned:
            slopes["mass"] = field * self._slope(log_mass)
        return field + white, slopes

    def fit(self, squares: Floats) -> dict[str, float]:
        """Return log ratios of the tuned parameters to the prediction's.

        Parameters
        ----------
        squares
            Summed squared coefficients, (Q,).
        """

        def objective(values: Floats) -> tuple[float, Floats]:
            variance, slopes = self.variance(dict(zip(self._tuned, values, strict=True)))
            pull = 0.5 * (self._counts - squares / variance) / variance
            value = 0.5 * float(np.sum(self._counts * np.log(variance) + squares / variance))
            return value, np.array([np.sum(pull * slopes[name]) for name in self._tuned])

        widest = float(np.log(_LARGEST_FACTOR))
        # SLSQP: as fast as the others on three parameters, and it wakes no threads
        found = optimize.minimize(
            objective,
            np.zeros(len(self._tuned)),
            jac=True,
            method="SLSQP",
            bounds=[(-widest, widest)] * len(self._tuned),
            options={"ftol": 1e-10},
        )
        return dict(zip(self._tuned, (float(v) for v in found.x), strict=True))
