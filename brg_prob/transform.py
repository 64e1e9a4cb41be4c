"""Standardising a record before it is learned, and undoing it in everything that is shown.

The networks have a prior mean of zero and, on a lattice, a periodic box. A record is therefore brought to
zero mean and unit variance. A straight line, fitted to all points by least squares, is taken off only if that
is asked for, or if the box is periodic and the line stands out, so that the record's ends do not meet on the
circle (T9). What is taken off is fitted on the training targets only and kept here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from brg_prob.series import straight_line

Detrend = Literal["none", "line", "periodic"]


_WHY = {
    "line": ("a fitted line", ", as asked"),
    "periodic": (
        "a fitted line",
        ", because it stands out and the ends of the record do not meet on the periodic box",
    ),
}
"""Rule → what was taken off, and why."""


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
    detrend
        The rule by which a line was taken off or left; empty where the map was not fitted.
    """

    origin: tuple[float, ...]
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    scale: tuple[float, ...]
    single: bool = True
    detrend: str = ""

    @classmethod
    def fit(cls, x: ArrayLike, y: ArrayLike, *, detrend: Detrend = "none", standardise: bool = True) -> Self:
        """Fit the map on training data.

        Parameters
        ----------
        x
            (n, d) or (n,) inputs, in any order.
        y
            (n,) or (n, o) targets.
        detrend
            ``line``: take a line fitted by least squares off each target, for d = 1. ``periodic``: only if it
            stands out (:class:`brg_prob.series.Line`), so that the ends of a record that fills a periodic box
            do not meet; never for d > 1. The mean is left.
        standardise
            Then take off the mean and divide by the standard deviation (the population's, ddof = 0).

        Raises
        ------
        ValueError
            Shapes that do not fit, values that are not finite, a line in several inputs or at a single one,
            or nothing left to learn once it is taken off.
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
        if detrend == "periodic" and (x.shape[1] > 1 or np.ptp(x) == 0):
            detrend = "none"
        origin = x.min(axis=0)
        scale = np.ones(y.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            slope = _slopes(x, y, detrend)
            intercept = 0.0 - slope * (x - origin).mean(axis=0)[0]
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
        return cls(
            _floats(origin), _floats(slope), _floats(intercept), _floats(scale), single, detrend=detrend
        )

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

    def said(self, x: ArrayLike, names: Sequence[str], units: Mapping[str, str]) -> str:
        """Return what was done to the targets, in a sentence.

        Parameters
        ----------
        x
            (n, d) or (n,) original training inputs.
        names
            Of the targets, one for each output.
        units
            Name of a target → its unit, where it has one.
        """
        inputs = self.forward_inputs(x)[:, 0]
        names = names[: len(self.scale)]
        span, middle = float(np.ptp(inputs)), float(inputs.mean())
        each = [_taken(self, at, span, middle, units.get(name, "")) for at, name in enumerate(names)]
        if not any(each):
            return "nothing was done to the data"
        if len(each) > 1:
            each = [
                f"{name}: {text or 'nothing was taken off'}" for name, text in zip(names, each, strict=True)
            ]
        return "; ".join([*each, "undone in what is shown"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON; floats survive the round trip exactly."""
        return {
            "origin": list(self.origin),
            "slope": list(self.slope),
            "intercept": list(self.intercept),
            "scale": list(self.scale),
            "single": self.single,
            "detrend": self.detrend,
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
        if set(values) - {"detrend"} != names:  # runs of version 0.1 do not name their rule
            raise ValueError(
                f"keys {sorted(values)} do not describe a standardisation: it has {sorted(names)}"
            )
        lists = {name: _floats(np.asarray(values[name], dtype=np.float64)) for name in names - {"single"}}
        made = cls(**lists, single=bool(values["single"]), detrend=str(values.get("detrend", "")))
        lengths = {len(made.slope), len(made.intercept), len(made.scale)}
        finite = all(np.isfinite(column).all() for column in lists.values())
        if len(lengths) != 1 or not finite or min(made.scale) <= 0 or (made.single and len(made.scale) != 1):
            raise ValueError(
                f"{values} does not describe a standardisation: equal lengths and positive scales are needed"
            )
        return made

    @property
    def first(self) -> Standardisation:
        """That of the first target alone, for fields (..., n); a field may have more outputs than it."""
        parts = {name: getattr(self, name)[:1] for name in ("slope", "intercept", "scale")}
        return dataclasses.replace(self, single=True, **parts)

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


def _taken(made: Standardisation, at: int, span: float, middle: float, unit: str) -> str:
    """Return what was taken off one target, as words; empty if nothing was.

    Parameters
    ----------
    span, middle
        Length and mean of the internal training inputs.
    """
    rise, scale = made.slope[at] * span, made.scale[at]
    mean = made.intercept[at] + made.slope[at] * middle
    kept = scale == 1 and abs(mean) <= 1e-9 * abs(made.intercept[at])  # with a line, to rounding
    if kept and not rise:
        return ""
    line, reason = _WHY.get(made.detrend, ("a line", ""))
    words = f"{line} of {_amount(rise, unit)} over the record was taken off{reason}"
    if kept:
        return f"{words}; the mean stayed, nothing was rescaled"
    alone = ", since no fitted line stands out of the record" if made.detrend == "periodic" else ""
    centred = f"{words}; then the mean, {_amount(mean, unit)}"
    if not rise:
        centred = f"nothing was taken off but the mean, {_amount(mean, unit)}{alone}"
    return f"{centred}; the rest was divided by its standard deviation, {_amount(scale, unit)}"


def _amount(value: float, unit: str) -> str:
    """Return a number with a true minus sign and its unit."""
    return f"{'−' if value < 0 else ''}{abs(value):.4g} {unit}".strip()


def _inputs(x: ArrayLike, dim: int | None = None) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or (dim is not None and x.shape[1] != dim):
        raise ValueError(f"inputs have shape {x.shape}: give (n, {dim or 'd'})")
    return x


def _slopes(x: np.ndarray, y: np.ndarray, detrend: Detrend) -> np.ndarray:
    """Return the slopes (o,) of the lines to take off inputs (n, d) and targets (n, o); 0 for none."""
    if detrend not in ("none", "line", "periodic"):
        raise ValueError(f"detrend = {detrend!r} is unknown: give none, line or periodic")
    if detrend == "none":
        return np.zeros(y.shape[1])
    if x.shape[1] > 1:
        raise ValueError(
            f"a line cannot be taken off in {x.shape[1]} inputs: name one of them in --inputs, or pass "
            "detrend='none' (--detrend none)"
        )
    if np.ptp(x) == 0:
        raise ValueError(
            f"all inputs are equal ({x[0, 0]:g}): there is no line to take off, pass detrend='none' "
            "(--detrend none)"
        )
    lines = [straight_line(x[:, 0], target) for target in y.T]
    return np.array([line.slope if detrend == "line" or line.stands_out else 0.0 for line in lines])


def _refuse_constant(y: np.ndarray, slope: np.ndarray, scale: np.ndarray) -> None:
    """Raise ValueError if an output (n, o) has no signal left above round-off once its line is taken off."""
    # below this the residual is the round-off of the subtraction
    floor = 1e-10 * np.maximum(np.abs(y).max(axis=0), np.ptp(y, axis=0))
    constant = np.isfinite(floor) & (scale <= floor)
    if constant.any():
        remedy = "pass detrend='none' (--detrend none)" if np.any(slope != 0) else "there is nothing to learn"
        taken = " once its line is removed" if np.any(slope != 0) else ""
        raise ValueError(f"target {int(np.argmax(constant))} is constant{taken}: {remedy}")


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.atleast_1d(values))
