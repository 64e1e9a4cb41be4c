"""One pass over a flow's scales: draws in momentum space, reduced to what the tests need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from brg_prob import erg
from brg_prob.arrays import Floats
from brg_prob.correspondence.moments import Moments, moments
from brg_prob.correspondence.plane_waves import MomentumModes, by_output, momentum_modes
from brg_prob.correspondence.predictions import ModePrediction
from brg_prob.correspondence.statistics import whitener
from brg_prob.flow import Flow

FiniteSize = Callable[[float], Any]
"""``finite_size(scale)``: predicted covariance (n, n) of the field at the inputs, or (covariance, mean)."""


@dataclass(frozen=True)
class WhitenedScale:
    """Draws at one scale in coordinates where the finite-size prediction is N(0, 1).

    Attributes
    ----------
    sample
        Moments, (o·rank,).
    variance
        Predicted variance of each plane wave, the diagonal before whitening, (R,).
    has_mean
        Whether the prediction named a mean, which is then subtracted.
    left_out
        Directions without predicted variance.
    """

    sample: Moments
    variance: Floats
    has_mean: bool
    left_out: int


@dataclass(frozen=True)
class Draws:
    """The draws of a flow, reduced to moments on some modes.

    Attributes
    ----------
    scales
        The flow's.
    samples
        Moments of the coefficients at each scale, outputs one after the other.
    """

    scales: tuple[float, ...]
    samples: tuple[Moments, ...]


@dataclass(frozen=True)
class Survey(Draws):
    """A flow in momentum space: moments of o·R coefficients.

    Attributes
    ----------
    modes
        Plane waves resolved below the cutoff, R of them.
    prediction
        The right prediction.
    data
        Coefficients of the data, (o·R,).
    finite
        The same draws against the finite-size prediction, or empty.
    """

    modes: MomentumModes
    prediction: ModePrediction
    data: Floats
    finite: tuple[WhitenedScale, ...]

    @property
    def copies(self) -> int:
        """Number of outputs."""
        return self.data.size // self.modes.momentum.size

    def variance(self, scale: float, prediction: ModePrediction | None = None) -> Floats:
        """Return the predicted variance of each of the o·R coefficients."""
        return np.tile((prediction or self.prediction).variance(self.modes.momentum, scale), self.copies)

    def mean(self, scale: float) -> Floats:
        """Return the predicted mean of each of the o·R coefficients (T9c)."""
        return np.tile(self.prediction.mean_filter(self.modes.momentum, scale), self.copies) * self.data


def survey(flow: Flow, prediction: erg.FreeTheory, finite_size: FiniteSize | None = None) -> Survey:
    """Project the draws of a flow at every scale; one scale is in memory at a time.

    Parameters
    ----------
    flow
        Regenerates its draws.
    prediction
        The free theory on the box that the inputs fill.
    finite_size
        Covariance of the field for this very network (T10 with ΦC0Φᵀ for K).

    Raises
    ------
    ValueError
        The inputs are no full equispaced grid that fills the prediction's box.
    """
    modes = momentum_modes(flow.x, box=prediction.box, cutoff=prediction.cutoff)
    random_momenta = getattr(flow.network, "box", None) is None
    predicted = ModePrediction(prediction, flow.scheme, float(flow.initial_observations), random_momenta)
    data = modes.coefficients(flow.targets[None])[0]
    noise = flow.draw_noise
    samples, finite = [], []
    for scale, projected in zip(flow.scales, flow.projections(modes.projection), strict=True):
        coefficients = by_output(projected)
        if finite_size is not None:
            finite.append(_whitened(coefficients, modes, finite_size(scale), flow))
        if noise is not None:
            coefficients = predicted.at_noise(coefficients, data, modes.momentum, scale, noise)
        samples.append(moments(coefficients, chains=flow.chains, independent=flow.independent))
    return Survey(tuple(flow.scales), tuple(samples), modes, predicted, data, tuple(finite))


def _whitened(coefficients: np.ndarray, modes: MomentumModes, predicted: Any, flow: Flow) -> WhitenedScale:
    """Return draws in coordinates that the finite-size prediction makes independent, outputs apart."""
    pair = predicted if isinstance(predicted, tuple) else (predicted, None)
    covariance = modes.projection @ np.asarray(pair[0], dtype=float) @ modes.projection.T
    precision = max(float(np.finfo(coefficients.dtype).eps), float(np.finfo(np.asarray(pair[0]).dtype).eps))
    matrix, left_out = whitener(covariance, precision)
    size, outputs = coefficients.shape[0], coefficients.shape[1] // modes.momentum.size
    centred = coefficients.reshape(size, outputs, -1)
    if pair[1] is not None:
        mean = np.asarray(pair[1], dtype=float).reshape(1, modes.projection.shape[1], -1)
        centred = centred - modes.coefficients(mean).reshape(1, outputs, -1)
    whitened = (centred @ matrix.T.astype(centred.dtype)).reshape(size, -1)
    sample = moments(whitened, chains=flow.chains, independent=flow.independent)
    return WhitenedScale(sample, np.diagonal(covariance).copy(), pair[1] is not None, left_out)
