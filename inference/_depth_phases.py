"""Phases of deep networks for the depth script: flows of variance and correlation with depth (T2, T15).

Two inputs of equal variance K and correlation c are followed from layer to layer, beside the fixed points,
susceptibilities and maps of :mod:`brg_prob.kernels`. The map of c is a power series without negative
coefficients, so that it and its derivatives rise on [0, 1], and mean values bound what is measured at a
finite depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import brentq

from brg_prob.activations import Activation, activation
from brg_prob.kernels import critical_weight_variance, fixed_point, susceptibilities

PHASES = ("ordered", "critical", "chaotic")
BIAS_VARIANCE = 0.05
"""σ_b² of every setting whose activation has a choice."""
FACTORS = {"ordered": 0.5, "chaotic": 2.0}
"""σ_w² of the other phases, in units of the critical one."""
LAYERS = 1000
"""Layers of the flows that are fitted."""
_GRID = np.geomspace(1e-3, 30.0, 90)
"""Variances K* along the phase line."""
RESOLVED = 1e-5
"""Smallest distance from a fixed point at which rounding, 1e-16, does not reach the digits shown."""

Found = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """One activation at one place of the phase diagram, the same in every layer.

    Attributes
    ----------
    activation, phase
        Name, and ``ordered``, ``critical`` or ``chaotic``.
    weight_variance, bias_variance
        σ_w² and σ_b².
    variance
        K*; 1 where every K is a fixed point.
    """

    activation: str
    phase: str
    weight_variance: float
    bias_variance: float
    variance: float

    @property
    def act(self) -> Activation:
        """The activation itself."""
        return activation(self.activation)

    def __str__(self) -> str:
        return f"{self.activation} {self.phase}"


@lru_cache(maxsize=64)
def scale_invariant(act: Activation) -> bool:
    """Return whether ⟨φ²⟩_K is proportional to K: ReLU and its kin."""
    k = jnp.asarray([1e-2, 1.0, 1e2])
    ratio = np.asarray(act.dual(k, k, k) / k)
    return bool(np.ptp(ratio) < 1e-9 * ratio[0])


def phase_line(act: Activation, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (σ_w², σ_b²) at which χ_⊥ = 1 at each K*: σ_w² = 1/⟨φ′²⟩, σ_b² = K* − σ_w²⟨φ²⟩."""
    k = jnp.asarray(variances, dtype=float)
    slope, square = _moments(act, k)
    with np.errstate(divide="ignore", invalid="ignore"):  # sign and step, whose φ′ counts as 0, have no line
        weight = 1 / np.asarray(slope)
        return weight, np.asarray(k) - weight * np.asarray(square)


@partial(jax.jit, static_argnames="act")
def _moments(act: Activation, k: Array) -> tuple[Array, Array]:
    """Return ⟨φ′²⟩ and ⟨φ²⟩ at variances K."""
    return act.dual_derivative(k, k, k), act.dual(k, k, k)


def settings_of(name: str) -> tuple[Setting, ...]:
    """Return an activation's phases: at σ_b² of this script, or the critical point of ReLU and its kin.

    Without a critical point at this σ_b² the phases are searched among σ_w² = 0.25 … 4.
    """
    act = activation(name)
    if scale_invariant(act):
        critical = critical_weight_variance(act)
        low = _setting(name, FACTORS["ordered"] * critical, BIAS_VARIANCE)
        return (low, Setting(name, "critical", critical, 0.0, 1.0))
    at = _critical_variance(act)
    if at is None:
        found = [_setting(name, weight, BIAS_VARIANCE) for weight in (0.25, 0.5, 1.0, 2.0, 4.0)]
        return tuple({s.phase: s for s in found if math.isfinite(s.variance)}.values())
    critical = float(phase_line(act, at)[0])
    middle = Setting(name, "critical", critical, BIAS_VARIANCE, at)
    sides = {p: _setting(name, factor * critical, BIAS_VARIANCE) for p, factor in FACTORS.items()}
    kept = {p: s for p, s in sides.items() if s.phase == p and 0 < s.variance < math.inf}
    return tuple(s for s in (kept.get("ordered"), middle, kept.get("chaotic")) if s)


def _setting(name: str, weight: float, bias: float) -> Setting:
    point = fixed_point(name, weight_variance=weight, bias_variance=bias)
    return Setting(name, point.phase, weight, bias, point.variance)


def _critical_variance(act: Activation) -> float | None:
    """Return K* where the phase line crosses this script's σ_b² and attracts (|χ_∥| < 1), or None."""
    weight, bias = phase_line(act, _GRID)
    excess = np.where((weight > 0) & np.isfinite(weight), bias - BIAS_VARIANCE, np.nan)
    crossing = np.flatnonzero((excess[:-1] < 0) & (excess[1:] >= 0))
    if not crossing.size:
        return None

    def at(k: float) -> float:  # one shape, one compiled program
        return float(phase_line(act, np.full(_GRID.shape, k))[1][0]) - BIAS_VARIANCE

    found = float(brentq(at, *_GRID[crossing[0] : crossing[0] + 2], xtol=1e-15))
    weight = phase_line(act, np.full(_GRID.shape, found))[0]
    return found if abs(float(susceptibilities(act, found, weight[0]).parallel)) < 1 else None


@partial(jax.jit, static_argnames=("act", "layers"))
def pair_flow(
    act: Activation, weight: Array, bias: Array, variance: Array, correlation: Array, layers: int
) -> tuple[Array, Array]:
    """Return K and c of pairs of inputs of equal variance at layers 1 … layers + 1, (layers + 1, pairs)."""

    def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        k, cross = state
        state = bias + weight * act.dual(k, k, k), bias + weight * act.dual(k, k, cross)
        return state, state

    start = (variance, correlation * variance)
    k, cross = jax.lax.scan(step, start, None, length=layers)[1]
    k, cross = (jnp.concatenate([first[None], rest]) for first, rest in zip(start, (k, cross), strict=True))
    return k, cross / k


def measure_phases(name: str, layers: int = LAYERS) -> Found:
    """Return the flows with depth of one activation in its phases, and their rates beside the formulas."""
    act, settings = activation(name), settings_of(name)
    starts = (1.0, 0.25, 4.0)  # K¹ in units of K*; the first pair starts at K*
    rows = [(s.weight_variance, s.bias_variance, f * s.variance) for s in settings for f in starts]
    weight, bias, variance = np.asarray(rows, dtype=float).T
    k, c = pair_flow(act, weight, bias, variance, np.zeros(len(rows)), layers)
    shape = (layers + 1, len(settings), len(starts))
    k, c = np.asarray(k).reshape(shape), np.asarray(c).reshape(shape)
    found = [_phase(s, k[:, i], c[:, i, 0]) for i, s in enumerate(settings)]
    return {"activation": name, "scale_invariant": scale_invariant(act), "phases": found, **_line(act)}


def _line(act: Activation) -> Found:
    """Return the phase line for drawing; for ReLU and its kin the σ_w² beyond which K grows without bound."""
    if scale_invariant(act):
        return {"line": None, "unbounded_above": critical_weight_variance(act)}
    weight, bias = phase_line(act, _GRID)
    shown = np.isfinite(weight) & (bias >= 0) & (weight > 0)
    if not shown.any():
        return {"line": None, "unbounded_above": None}
    line = {"weight_variance": weight[shown].tolist(), "bias_variance": bias[shown].tolist()}
    return {"line": line, "unbounded_above": None}


def _phase(setting: Setting, k: np.ndarray, c: np.ndarray) -> Found:
    """Return one phase: fixed point, what the flow does, and its rates."""
    at = {"weight_variance": setting.weight_variance, "bias_variance": setting.bias_variance}
    point = fixed_point(setting.act, **at, start=setting.variance)
    found: Found = {
        "phase": setting.phase,
        **at,
        "variance": setting.variance,
        "perpendicular": point.perpendicular if math.isfinite(point.perpendicular) else None,
        "parallel": point.parallel,
        "fixed_correlation": point.correlation,
        "deepest_correlation": float(c[-1]),
        "correlation": c[:65].tolist(),
        "variances": k[:65].T.tolist(),
    }
    if setting.phase == "critical":
        return found | {"critical": _critical(setting, c)}
    return found | {
        "correlation_decay": _correlation_decay(setting, c, float(point.correlation)),
        "variance_decay": _variance_decay(setting, k[:, 2]),
    }


def _correlation_decay(setting: Setting, c: np.ndarray, fixed: float) -> Found:
    """Return the factor per layer of c* − c, which lies between the map's slopes at c and at c*."""
    distance = fixed - c
    last = int(np.flatnonzero(distance > RESOLVED)[-1])
    low, high = (map_slope(setting, value) for value in (float(c[last]), fixed))
    rounding = 1e-15 / float(distance[last])
    return _rate(last, float(distance[last + 1] / distance[last]), high, high - low + rounding)


def _variance_decay(setting: Setting, k: np.ndarray) -> Found:
    """Return the factor per layer of K − K*, which lies between χ_∥ at K and at K*."""
    distance = (k - setting.variance) / setting.variance
    last = int(np.flatnonzero(np.abs(distance) > RESOLVED)[-1])
    here, formula = (
        float(susceptibilities(setting.act, at, setting.weight_variance).parallel)
        for at in (float(k[last]), setting.variance)
    )
    bound = abs(here - formula) + 1e-15 / abs(float(distance[last]))
    return _rate(last, float(distance[last + 1] / distance[last]), formula, bound)


def _rate(layer: int, measured: float, formula: float, bound: float) -> Found:
    return {"layer": layer + 1, "measured": measured, "formula": formula, "bound": bound}


def map_slope(setting: Setting, c: float) -> float:
    """Return dc′/dc at K*: σ_w² ∂E[φφ]/∂c, at c = 1 χ_⊥."""
    k, weight = jnp.asarray(setting.variance, dtype=float), setting.weight_variance
    if c >= 1:
        return float(susceptibilities(setting.act, k, weight).perpendicular)
    return float(weight * _map_derivatives(setting.act, k, c * k)[0])


def _critical(setting: Setting, c: np.ndarray) -> Found:
    """Return the algebraic approach to c = 1: −Δε = A ε^p per layer for ε = 1 − c, so ε ~ l^{−1/(p−1)}.

    Smooth φ: p = 2, A = K*σ_w²⟨φ″²⟩/2, and at a finite ε the coefficient is half the map's second
    derivative between c and 1 (Taylor). ReLU and its kin: p = 3/2, A = (2√2/3π)(φ₊ − φ₋)²/(φ₊² + φ₋²),
    φ₊ and φ₋ the slopes on either side, with a correction of relative size ε/20.
    """
    ease = 1 - c
    half, last = (len(c) - 1) // 2, len(c) - 2
    epsilon = float(ease[last])
    exponent = math.log(ease[last] / ease[half]) / math.log((last + 1) / (half + 1))
    if scale_invariant(setting.act):
        power, plus, minus = 1.5, float(setting.act(1.0)), -float(setting.act(-1.0))
        formula = 2 * math.sqrt(2) / (3 * math.pi) * (plus - minus) ** 2 / (plus**2 + minus**2)
        bound = formula * epsilon / 10
    else:
        power, formula = 2.0, map_curvature(setting, 1.0) / 2
        bound = formula - map_curvature(setting, float(c[last])) / 2
    rounding = 4e-16 / epsilon**power
    drop = (epsilon - float(ease[last + 1])) / epsilon**power if epsilon > 0 else 0.0
    sampled = np.unique(np.geomspace(1, len(c), 60).astype(int))
    found = {
        "ease": ease[sampled - 1].tolist(),
        "layers": sampled.tolist(),
        "power": power,
        "coefficient": _rate(last, drop, formula, bound + rounding),
    }
    if formula <= rounding:  # a linear network changes no correlation
        return found | {"exponent": None}
    # ε^{−q} = 1 + qAl + A(q + 1)/2 log l + …, q = p − 1: what the last terms add at the nearer end
    q = power - 1
    bound = (1 + formula * (q + 1) / 2 * math.log(half)) / (q**2 * formula * half)
    return found | {"exponent": _rate(last, exponent, -1 / q, bound)}


def map_curvature(setting: Setting, c: float) -> float:
    """Return d²c′/dc² at K* of a smooth activation: σ_w² K* E[φ″φ″]."""
    k = jnp.asarray(setting.variance, dtype=float)
    return float(setting.weight_variance * k * _map_derivatives(setting.act, k, c * k)[1])


@partial(jax.jit, static_argnames="act")
def _map_derivatives(act: Activation, k: Array, cross: Array) -> tuple[Array, Array]:
    """Return the first and the second derivative of E[φφ] in the covariance of a pair."""
    # of sign and step φ′ counts as 0, and Price's theorem does not give the slope
    slope = jax.grad(act.dual, 2) if act.name in ("sign", "step") else act.dual_derivative
    return slope(k, k, cross), jax.grad(slope, 2)(k, k, cross)
