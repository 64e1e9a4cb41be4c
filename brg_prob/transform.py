"""Standardising a record before it is learned, and undoing it in everything that is shown.

The networks have a prior mean of zero and, on a lattice, a periodic box. A record is therefore brought to
zero mean and unit variance, and in one dimension the straight line through its first and last point is taken
off first, so that the ends meet on the circle. What is taken off is fitted on the training targets only and
kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Standardisation:
    """The affine map between a record in its own units and the one a network learns.

    internal x = x - origin;  internal y = (y - intercept - slope (x - origin)) / scale,  per output.

    Fit it with :meth:`fit`. ``forward_*`` methods take original quantities and return internal ones,
    ``inverse_*`` the other way round; inputs are always those of the side the method starts from. Inputs keep
    their unit (only their origin moves), so a mass stays an inverse length in the unit of x, and an amplitude
    or noise is scaled by ``scale``.

    Attributes
    ----------
    origin
        (d,) smallest input along each axis, in units of x.
    slope, intercept, scale
        (o,) units of y per unit of x; units of y; units of y.
    single
        Whether the targets were (n,) rather than (n, o): fields then carry no trailing output axis.
    """

    origin: tuple[float, ...]
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    scale: tuple[float, ...]
    single: bool = True

    @classmethod
    def fit(cls, x: ArrayLike, y: ArrayLike, *, detrend: bool = True, standardise: bool = True) -> Self:
        """Fit the map on training data.

        Parameters
        ----------
        x
            (n, d) or (n,) inputs, in any order.
        y
            (n,) or (n, o) targets.
        detrend
            Take off, for d = 1, the straight line through the first and the last point in x. No effect for d
            > 1.
        standardise
            Then take off the mean and divide by the standard deviation (the population's, ddof = 0).

        Raises
        ------
        ValueError
            Shapes that do not fit, values that are not finite, or nothing left to learn after detrending.
        """
        x = _inputs(x)
        y = np.asarray(y, dtype=np.float64)
        single = y.ndim == 1
        y = y[:, None] if single else y
        if y.ndim != 2 or len(x) != len(y):
            raise ValueError(
                f"inputs of shape {x.shape} do not fit targets of shape {y.shape}: give (n, d) and (n,)"
            )
        if len(x) < 2:
            raise ValueError(
                f"{len(x)} training row(s): at least two are needed; give more rows or hold none out "
                "(--held-out none)"
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(
                "inputs or targets hold NaN or infinite values: leave those rows out (--drop-missing)"
            )
        origin = x.min(axis=0)
        slope = np.zeros(y.shape[1])
        intercept = np.zeros(y.shape[1])
        scale = np.ones(y.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            if detrend and x.shape[1] == 1:
                slope, intercept = _end_to_end_line(x[:, 0], y)
            if standardise:
                residual = y - intercept - slope * (x[:, :1] - origin[:1])
                mean, scale = residual.mean(axis=0), residual.std(axis=0)
                _refuse_constant(y, slope, scale)
                intercept = intercept + mean
        if not np.isfinite([slope, intercept, scale]).all():
            raise ValueError(
                f"inputs or targets, up to {max(np.abs(x).max(), np.abs(y).max()):.3g}, overflow where their "
                "line and variance are taken: give them in another unit"
            )
        return cls(_floats(origin), _floats(slope), _floats(intercept), _floats(scale), single)

    @classmethod
    def identity(cls, inputs: int, y: ArrayLike) -> Self:
        """Return the map that changes nothing, for d inputs and targets (n,) or (n, o)."""
        outputs = 1 if np.ndim(y) == 1 else np.shape(y)[1]
        return cls((0.0,) * inputs, (0.0,) * outputs, (0.0,) * outputs, (1.0,) * outputs, np.ndim(y) == 1)

    def forward_inputs(self, x: ArrayLike) -> np.ndarray:
        """Return the internal inputs (n, d), starting at 0, of original ones (n, d) or (n,)."""
        return _inputs(x, len(self.origin)) - np.asarray(self.origin)

    def inverse_inputs(self, x: ArrayLike) -> np.ndarray:
        """Return the original inputs (n, d) of internal ones (n, d) or (n,)."""
        return _inputs(x, len(self.origin)) + np.asarray(self.origin)

    def forward(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """Return internal targets or field draws (..., n[, o]) of original ones at *original* inputs x."""
        return self._unpack((self._pack(y) - self._line(self.forward_inputs(x))) / np.asarray(self.scale))

    def inverse(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """Return original targets or field draws (..., n[, o]) of internal ones at *internal* inputs x.

        Leading axes (chains, draws, scales) are kept. The result is float64.
        """
        return self._unpack(self._pack(y) * np.asarray(self.scale) + self._line(_inputs(x, len(self.origin))))

    def forward_scale(self, deviation: ArrayLike) -> np.ndarray:
        """Return internal standard deviations (noise, amplitude, error bars): divided by the scale, no line.

        Parameters
        ----------
        deviation
            For one target any shape; for several either (..., o) or a scalar, which every output shares.
        """
        return np.asarray(deviation, dtype=np.float64) / self._factor()

    def inverse_scale(self, deviation: ArrayLike) -> np.ndarray:
        """Return standard deviations (noise, amplitude, error bars) in the unit of y."""
        return np.asarray(deviation, dtype=np.float64) * self._factor()

    @property
    def log_jacobian(self) -> float:
        """Σ log scale: log p(original y) = log p(internal y) - log_jacobian, per observation.

        For several outputs the sum over them: the density of one observation is their joint one.
        """
        return float(np.sum(np.log(self.scale)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON; floats survive the round trip exactly."""
        return {
            "origin": list(self.origin),
            "slope": list(self.slope),
            "intercept": list(self.intercept),
            "scale": list(self.scale),
            "single": self.single,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the map that :meth:`to_dict` described.

        Raises
        ------
        ValueError
            A key is missing or unknown, lengths differ, or a scale is not positive.
        """
        names = {"origin", "slope", "intercept", "scale", "single"}
        if set(values) != names:
            raise ValueError(
                f"keys {sorted(values)} do not describe a standardisation: it has {sorted(names)}"
            )
        lists = {name: _floats(np.asarray(values[name], dtype=np.float64)) for name in names - {"single"}}
        made = cls(**lists, single=bool(values["single"]))
        lengths = {len(made.slope), len(made.intercept), len(made.scale)}
        finite = all(np.isfinite(column).all() for column in lists.values())
        if len(lengths) != 1 or not finite or min(made.scale) <= 0 or (made.single and len(made.scale) != 1):
            raise ValueError(
                f"{values} does not describe a standardisation: equal lengths and positive scales are needed"
            )
        return made

    def _line(self, internal_x: np.ndarray) -> np.ndarray:
        return np.asarray(self.intercept) + np.asarray(self.slope) * internal_x[:, :1]  # (n, o)

    def _pack(self, y: ArrayLike) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        packed = y[..., None] if self.single else y
        if packed.ndim < 2 or packed.shape[-1] != len(self.scale):
            raise ValueError(
                f"values of shape {y.shape} do not fit {len(self.scale)} output(s): give (..., n[, outputs])"
            )
        return packed

    def _unpack(self, y: np.ndarray) -> np.ndarray:
        return y[..., 0] if self.single else y

    def _factor(self) -> np.ndarray:
        return np.asarray(self.scale[0] if self.single else self.scale)


def _inputs(x: ArrayLike, dim: int | None = None) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or (dim is not None and x.shape[1] != dim):
        raise ValueError(f"inputs have shape {x.shape}: give (n, {dim or 'd'})")
    return x


def _end_to_end_line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept (o,), at the smallest x, of the line through the first and last point."""
    first, last = int(np.argmin(x)), int(np.argmax(x))
    if x[first] == x[last]:
        raise ValueError(
            f"all inputs are equal ({x[first]:g}): there is no line to remove, pass detrend=False"
        )
    return (y[last] - y[first]) / (x[last] - x[first]), y[first]


def _refuse_constant(y: np.ndarray, slope: np.ndarray, scale: np.ndarray) -> None:
    """Raise ValueError if an output (n, o) has no signal left above round-off once its line is taken off."""
    # below this the residual is the round-off of the subtraction
    floor = 1e-10 * np.maximum(np.abs(y).max(axis=0), np.ptp(y, axis=0))
    constant = np.isfinite(floor) & (scale <= floor)
    if constant.any():
        remedy = "pass detrend=False (--no-detrend)" if np.any(slope != 0) else "there is nothing to learn"
        raise ValueError(f"target {int(np.argmax(constant))} is constant once its line is removed: {remedy}")


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.atleast_1d(values))
