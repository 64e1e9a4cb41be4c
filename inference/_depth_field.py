"""Fields of deep networks on a record, for the depth script: kernels, spectra, posteriors (T2, T5, T10).

The record is the monthly Southern Oscillation Index shipped with the repository. Inputs are the twelve months
before, the target is the mean of the three months that follow; rows are three months apart, so that targets
do not overlap. The earlier three fifths train, the rest is held out; training rows standardise all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import stats

from brg_prob.flow import critical_scale, default_scales
from brg_prob.flow.score import mean_and_error
from brg_prob.geometry.informations import effective_dimension
from brg_prob.kernels import fixed_point, kernel_layers
from brg_prob.posterior import infinite_width_flow
from brg_prob.tables import read_table
from inference._depth_phases import Setting

RECORD = Path(__file__).parents[1] / "data" / "soi_monthly.csv"
LAGS, AHEAD, TRAINED = 12, 3, 0.6
NOISE = 0.7
"""σ, about the residual of a linear prediction, in standard deviations of the target."""
SLICE = 41
"""Inputs of the slice: all twelve months at the same value, from −2.5 to 2.5 standard deviations."""

Found = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Record:
    """Standardised rows of the record.

    Attributes
    ----------
    x, y
        Training rows, (n, 12) and (n,).
    x_held_out, y_held_out
        Held-out rows.
    x_slice
        A line through the origin, (41, 12).
    """

    x: np.ndarray
    y: np.ndarray
    x_held_out: np.ndarray
    y_held_out: np.ndarray
    x_slice: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        """All inputs: training, held out, slice."""
        return np.concatenate([self.x, self.x_held_out, self.x_slice])

    @property
    def position(self) -> np.ndarray:
        """Where the inputs of the slice stand on it."""
        return self.x_slice[:, 0]


def read_record(every: int = 1) -> Record:
    """Return the record's rows, or every so manyth of them."""
    index = read_table(RECORD).columns["soi"]
    ends = range(LAGS, len(index) - AHEAD + 1, AHEAD * every)
    x = np.stack([index[end - LAGS : end] for end in ends])
    y = np.array([index[end : end + AHEAD].mean() for end in ends])
    n = round(TRAINED * len(y))
    x, y = ((v - v[:n].mean(axis=0)) / v[:n].std(axis=0) for v in (x, y))
    line = np.repeat(np.linspace(-2.5, 2.5, SLICE)[:, None], LAGS, axis=1)
    return Record(x[:n], y[:n], x[n:], y[n:], line)


def kernels_by_depth(setting: Setting, x: np.ndarray, depth: int) -> np.ndarray:
    """Return the kernel of the output of networks of 1 … depth hidden layers, all alike: (depth, m, m)."""
    layers = kernel_layers(
        x,
        depth=depth,
        activation=setting.act,
        weight_variance=setting.weight_variance,
        bias_variance=setting.bias_variance,
    )
    return np.asarray(layers)[1:]


def measure_setting(setting: Setting, record: Record, depths: Sequence[int], scales: int) -> Found:
    """Return spectrum, posterior, scores and critical scale at every depth, of one setting."""
    every = kernels_by_depth(setting, record.inputs, max(depths))
    found = {depth: _depth(every[depth - 1], record, scales) for depth in depths}
    linear = linear_score(record)
    gains = [mean_and_error(np.asarray(found[d]["held_out"]) - linear) for d in depths]
    return {
        "activation": setting.activation,
        "phase": setting.phase,
        "weight_variance": setting.weight_variance,
        "bias_variance": setting.bias_variance,
        "depths": list(depths),
        "observations": list(default_scales(float(len(record.y)), scales)),
        **{name: [found[d][name] for d in depths] for name in found[depths[0]]},
        "gain": [value for value, _ in gains],
        "gain_se": [error for _, error in gains],
        "limit": _limit(setting, every, record, depths),
    }


def _depth(kernel: np.ndarray, record: Record, count: int) -> Found:
    """Return what one kernel on all inputs says at every T."""
    n, h = len(record.y), len(record.y_held_out)
    scales = default_scales(float(n), count)
    values = spectrum(kernel[:n, :n])
    blocks = (kernel[:n, :n], kernel[n:, :n], kernel[n:, n:])
    means, covariances = infinite_width_flow(*blocks, record.y[:, None], noise=NOISE, scales=scales)
    mean = np.asarray(means)[:, :, 0]
    variance = np.maximum(np.diagonal(np.asarray(covariances), axis1=1, axis2=2), 0)
    scores = log_score(record.y_held_out, mean[:, :h], variance[:, :h])
    changes = [mean_and_error(score - scores[0]) for score in scores]
    shown = [0, count // 2, count - 1]
    return {
        "eigenvalues": values.tolist(),
        "effective_dimension": [float(effective_dimension(jnp.asarray(values), t)) for t in scales],
        "kept": [int(np.sum(t * values >= 1)) for t in scales],
        "held_out": scores[0].tolist(),
        "score": float(scores[0].mean()),
        "score_change": [value for value, _ in changes],
        "score_change_se": [error for _, error in changes],
        "critical_scale": critical_scale(scales, *zip(*changes, strict=True)),
        "slice_mean": mean[shown, h:].tolist(),
        "slice_sd": np.sqrt(variance[shown, h:]).tolist(),
    }


def spectrum(kernel: np.ndarray) -> np.ndarray:
    """Return λ_k of K(X, X)/(nσ²), descending: the whitened Fisher spectrum (T5)."""
    return np.clip(np.linalg.eigvalsh(kernel)[::-1], 0, None) / (len(kernel) * NOISE**2)


def log_score(y: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the log predictive density of each held-out target, nats."""
    return np.asarray(stats.norm.logpdf(y, mean, np.sqrt(variance + NOISE**2)))


@lru_cache(maxsize=4)
def linear_score(record: Record) -> np.ndarray:
    """Return the same of a linear model, K = 1 + x·x′/12: what depth is held against."""
    x, at = record.x, record.x_held_out
    blocks = [1 + a @ b.T / LAGS for a, b in ((x, x), (at, x), (at, at))]
    y = record.y[:, None]
    mean, covariance = infinite_width_flow(*blocks, y, noise=NOISE, scales=[float(len(y))])
    variance = np.diagonal(np.asarray(covariance)[0])
    return log_score(record.y_held_out, np.asarray(mean)[0, :, 0], variance)


def _limit(setting: Setting, every: np.ndarray, record: Record, depths: Sequence[int]) -> Found | None:
    """Hold the deepest kernel against that of infinite depth, K*(c* + (1 − c*)δ), where there is one.

    The distance falls per layer by the slower of the factors of c* − c and K − K*; its effective dimension
    by that of the two eigenvalues, λ_1 = K*(nc* + 1 − c*)/(nσ²) and n − 1 times K*(1 − c*)/(nσ²).
    """
    at = {"weight_variance": setting.weight_variance, "bias_variance": setting.bias_variance}
    point = fixed_point(setting.act, **at)
    if setting.phase == "critical" or point.correlation is None:
        return None
    n, c, k = len(record.y), point.correlation, point.variance
    limit = k * (c + (1 - c) * np.eye(n))
    distance = np.linalg.norm(every[:, :n, :n] - limit, axis=(1, 2)) / np.linalg.norm(limit)
    values = np.full(n, k * (1 - c) / (n * NOISE**2))
    values[0] += k * c / NOISE**2
    slow = max(point.correlation_length or 0.0, point.variance_length)
    last, half = max(depths), max(depths) // 2
    # Tλ/(1 + Tλ) rises by at most Tλ, and Σ|Δλ_k| ≤ √n‖ΔK‖/(nσ²) (Weyl, Hoffman and Wielandt)
    bound = np.sqrt(n) * distance[-1] * np.linalg.norm(limit) / NOISE**2
    decay = float((distance[last - 1] / distance[half - 1]) ** (1 / (last - half))) if half else None
    return {
        "effective_dimension": float(effective_dimension(jnp.asarray(values), float(n))),
        "effective_dimension_bound": float(bound),
        "distance": distance.tolist(),
        "decay": decay,
        "decay_formula": float(np.exp(-1 / slow)) if slow > 0 else 0.0,
        "decay_bound": 2 * float(distance[half - 1]) if half else None,
    }


def describe(record: Record) -> Found:
    """Return what the data are."""
    return {
        "record": "Southern Oscillation Index, monthly, 1951–2024",
        "inputs": f"{LAGS} months before, standardised",
        "target": f"mean of the {AHEAD} months that follow, standardised",
        "n": len(record.y),
        "held_out": len(record.y_held_out),
        "noise": NOISE,
        "slice": record.position.tolist(),
        "shown_inputs": record.x.mean(axis=1).tolist(),
        "shown_targets": record.y.tolist(),
        "linear_score": float(linear_score(record).mean()),
        "trivial_gain": list(
            mean_and_error(np.asarray(stats.norm.logpdf(record.y_held_out)) - linear_score(record))
        ),
    }
