"""Power spectrum of fluctuations on a grid, draw by draw, and the mass that it shows (T4, T9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brg_prob.arrays import Floats
from brg_prob.correlators.k_statistics import error_of_mean
from brg_prob.spectra import Grid, equispaced_grid

_BINS = 60
_SINGLE = 24  # the lowest values of |p| are not binned
_BLOCK = 2**20
_NOTHING = 1e-12  # power below this fraction of the largest is rounding


@dataclass(frozen=True)
class ShellPower:
    """Power per shell of equal |p|, draw by draw.

    Attributes
    ----------
    momentum
        |p|, ascending, (Q,).
    modes
        Number of real plane waves of each shell, (Q,).
    series
        Power of each draw's fluctuation averaged over the shell, (chain, draw, Q); its
        expectation is G(p) in units of f² · length^d, up to ``unbias``.
    """

    momentum: Floats
    modes: NDArray[np.intp]
    series: Floats

    @property
    def unbias(self) -> float:
        """S/(S − 1): the mean field was estimated from the same draws."""
        total = self.series.shape[0] * self.series.shape[1]
        return total / (total - 1)

    @property
    def value(self) -> Floats:
        """The unbiased power, (Q,)."""
        return self.series.mean(axis=(0, 1)) * self.unbias

    def __getitem__(self, shells: NDArray[np.bool_]) -> ShellPower:
        """Return some of the shells."""
        return ShellPower(self.momentum[shells], self.modes[shells], self.series[..., shells])

    def binned(self) -> ShellPower:
        """Return at most 60 bins of |p|: the lowest shells singly, higher ones log-spaced."""
        starts = bin_starts(len(self.momentum))
        modes = np.add.reduceat(self.modes, starts)
        series = np.add.reduceat(self.series * self.modes, starts, axis=2) / modes
        return ShellPower(np.add.reduceat(self.momentum * self.modes, starts) / modes, modes, series)

    def errors(self, independent: bool) -> Floats:
        """Return the standard error of each shell's power, (Q,)."""
        centred = self.series - self.series.mean(axis=(0, 1))
        return error_of_mean(centred, independent)[0] * self.unbias


def bin_starts(count: int) -> NDArray[np.intp]:
    """Return where at most 60 bins of ``count`` shells start: the lowest 24 single, the others log-spaced.

    No bin holds fewer shells than the one before it.
    """
    if count <= _BINS:
        return np.arange(count)
    wide = np.geomspace(_SINGLE, count, _BINS - _SINGLE + 1)
    ends = np.unique(np.concatenate([np.arange(1, _SINGLE), wide.astype(int)]))
    widths = np.sort(np.diff(ends, prepend=0))  # rounded ends alone would let them alternate
    return np.cumsum(widths) - widths


def shell_power(f: Floats, x: Floats) -> ShellPower | None:
    """Return the power of fluctuations of draws (chain, draw, x) about their mean, None without a grid.

    The same as :func:`brg_prob.correlators.power_spectrum` with ``bins="shell", connected=True``,
    by fast Fourier transform, and draw by draw.
    """
    grid = equispaced_grid(x)
    if grid is None or grid.points_per_side < 3:
        return None
    dim, side = x.shape[1], grid.points_per_side
    index = np.rint((x - x.min(axis=0)) / grid.spacing).astype(int)
    order = np.argsort(np.ravel_multi_index(tuple(index.T), (side,) * dim))
    columns, starts, squares = _shells(grid, dim)
    modes = np.diff(np.append(starts, len(columns)))
    draws, mean = f.reshape(-1, f.shape[2]), f.mean(axis=(0, 1))[order]
    series = np.empty((len(draws), len(starts)))
    step = max(1, _BLOCK // f.shape[2])
    for start in range(0, len(draws), step):
        part = (draws[start : start + step, order] - mean).reshape(-1, *(side,) * dim)
        waves = np.fft.fftn(part, axes=tuple(range(1, dim + 1))).reshape(len(part), -1)[:, columns]
        power = waves.real**2 + waves.imag**2
        series[start : start + step] = np.add.reduceat(power, starts, axis=1) / modes
    norm = (grid.spacing**2 / grid.box) ** dim
    momentum = 2 * np.pi / grid.box * np.sqrt(squares)
    return ShellPower(momentum, modes, norm * series.reshape(*f.shape[:2], -1))


def _shells(grid: Grid, dim: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the modes below Nyquist sorted by |p|, where each shell starts, and its squared index."""
    line = np.rint(np.fft.fftfreq(grid.points_per_side) * grid.points_per_side).astype(int)
    square = np.sum(np.meshgrid(*[line**2] * dim, indexing="ij"), axis=0).ravel()
    inside = np.flatnonzero(square <= grid.largest_index**2)
    columns = inside[np.argsort(square[inside], kind="stable")]
    squares, starts = np.unique(square[columns], return_index=True)
    return columns, starts, squares.astype(float)


def present(*spectra: ShellPower) -> NDArray[np.bool_]:
    """Return the shells on which any of the spectra has power beyond rounding (a lattice has a cutoff)."""
    return np.any([s.value > _NOTHING * s.value.max() for s in spectra], axis=0)


def propagator_mass(power: ShellPower, independent: bool) -> tuple[float, float]:
    """Return the squared mass of the propagator and its standard error, nan where there is none.

    The second-moment mass of lattice field theory, m² = p²/(G(0)/G(p) − 1), pooled over the
    momenta p² ≤ 4m²: the fit of Z/(p² + m²) to the power by quasi-likelihood (variance
    proportional to the square of the mean, exact for a Gaussian field). With the lowest two
    shells it is that formula; with all it is determined also where mL is large, so that
    G(0)/G(2π/L) − 1 drowns in its error. For a free field any momenta give the mass of the
    propagator. The error comes from the series of draws, correlations of modes included.
    """
    found = _low_momentum_line(power[power.value > _NOTHING * power.value.max()])
    if found is None:
        return float("nan"), float("nan")
    fitted, line = found
    alpha, beta = line
    design = np.stack([np.ones(len(fitted.momentum)), fitted.momentum**2], axis=1)
    hessian = (design * (fitted.modes / (design @ line) ** 2)[:, None]).T @ design
    centred = (fitted.series - fitted.series.mean(axis=(0, 1))) * fitted.unbias
    gradient = np.array([1 / beta, -alpha / beta**2])
    weight = fitted.modes * (design @ np.linalg.solve(hessian, gradient))
    error, _ = error_of_mean((centred @ weight)[..., None], independent)
    return float(alpha / beta), float(error[0])


def _low_momentum_line(power: ShellPower) -> tuple[ShellPower, Floats] | None:
    """Return the shells with p² ≤ 4m², three at least, and the line 1/G = α + β p² through them."""
    fitted, line = power, _inverse_line(power)
    for _ in range(2):
        if line is None:
            return None
        window = power.momentum**2 <= 4 * line[0] / line[1]
        window[:3] = True
        fitted = power[window]
        line = _inverse_line(fitted)
    return None if line is None else (fitted, line)


def _inverse_line(power: ShellPower) -> Floats | None:
    """Return α, β of 1/G = α + β p² by maximum quasi-likelihood, None where the power does not fall."""
    if len(power.momentum) < 2:
        return None
    # in units in which both columns are of order one
    unit = power.momentum.max() ** 2
    design = np.stack([np.ones(len(power.momentum)), power.momentum**2 / unit], axis=1)
    value, modes = power.value, power.modes
    line = np.array([1 / value[0], max(1 / value[-1] - 1 / value[0], 0.1 / value[0])])

    def objective(at: Floats) -> float:
        inverse = design @ at
        return float(modes @ (np.log(inverse) - value * inverse)) if np.all(inverse > 0) else -np.inf

    for _ in range(100):
        inverse = design @ line
        score = design.T @ (modes * (1 / inverse - value))
        hessian = (design * (modes / inverse**2)[:, None]).T @ design
        step, size = np.linalg.solve(hessian, score), 1.0
        while objective(line + size * step) < objective(line) and size > 1e-6:
            size /= 2
        if float(score @ step) < 1e-16 * modes.sum():
            return line * np.array([1.0, 1 / unit]) if line[1] > 0 else None
        line = line + size * step
        if not np.isfinite(objective(line)):  # so steep a rise that no step stays at 1/G > 0
            return None
    return None
