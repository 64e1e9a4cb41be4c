"""Mass, amplitude and noise by maximum marginal likelihood (empirical Bayes, T10).

y ~ N(0, A²K_m + σ²) for each output, K_m the kernel at mass m and unit amplitude. At each mass K_m is
diagonalised once; then every A and σ costs O(n), and their common scale has a closed form. Host code in
float64 (numpy, scipy).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

from brg_prob.network import Covariance, require
from brg_prob.results import build_tree

FIELDS = ("mass", "amplitude", "noise")
NOISE_FLOOR = 1e-3
"""Smallest noise considered, in standard deviations (root mean squares) of the targets."""

_SCAN = 97  # points of the scan over amplitude and noise at one mass


_SMALL = 1000
"""Inputs up to which one BLAS thread diagonalises the kernel about as fast as all of them."""


@dataclass(frozen=True)
class EvidenceCurve:
    """Profile log evidence against the mass, amplitude and noise at their best for each; all (g,)."""

    mass: np.ndarray
    log_evidence: np.ndarray
    amplitude: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True)
class Tuned:
    """Result of :func:`tune`.

    Attributes
    ----------
    network
        The network with the best values of the tuned fields.
    curve
        Profile log evidence over the masses.
    log_evidence
        At the best values, in nats.
    standard_errors
        Field to standard error, in the field's unit: the field times that of its logarithm, from the
        curvature of the log evidence in the logarithms of all tuned fields. NaN where a field sits on an
        edge.
    at_edge
        The fields whose best value is an edge of what was searched: the data do not determine them.
    status
        One or more sentences for people.
    """

    network: Any
    curve: EvidenceCurve
    log_evidence: float
    standard_errors: dict[str, float]
    at_edge: tuple[str, ...]
    status: str

    @property
    def tree(self) -> xr.DataTree:
        """Group ``tuning``: the curve over ``mass``; best values, errors and status as attributes."""
        best = {name: float(getattr(self.network, name)) for name in FIELDS if hasattr(self.network, name)}
        errors = {f"{name}_se": error for name, error in self.standard_errors.items()}
        curve = dataclasses.asdict(self.curve)
        masses = curve.pop("mass")
        attrs: dict[str, Any] = best | errors
        attrs |= {"best_log_evidence": self.log_evidence, "status": self.status}
        return build_tree(
            {"tuning": curve},
            dims=dict.fromkeys(curve, ("mass",)),
            coords={"mass": masses},
            group_attrs={"tuning": {**attrs, "at_edge": json.dumps(self.at_edge)}},
        )


@dataclass(frozen=True)
class _Spectrum:
    """Unit-amplitude kernel at one mass: eigenvalues (n,), power of y on its modes (n,), outputs."""

    mass: float
    eigenvalues: np.ndarray
    power: np.ndarray
    outputs: int

    def log_evidence(self, amplitude: ArrayLike, noise: ArrayLike) -> np.ndarray:
        """Return log N(y; 0, A²K + σ²), summed over outputs; arguments broadcast, shape kept."""
        variance = np.square(amplitude)[..., None] * self.eigenvalues + np.square(noise)[..., None]
        per_mode = self.outputs * np.log(2 * np.pi * variance) + self.power / variance
        return -0.5 * per_mode.sum(axis=-1)


@dataclass(frozen=True)
class _Point:
    """Best amplitude and noise at one mass."""

    spectrum: _Spectrum
    log_evidence: float
    amplitude: float
    noise: float
    at_edge: tuple[str, ...]


def tune(
    network: Any,
    x: ArrayLike,
    y: ArrayLike,
    *,
    fields: Sequence[str] = FIELDS,
    masses: ArrayLike | None = None,
) -> Tuned:
    """Return the network with mass, amplitude and noise of maximum marginal likelihood.

    Parameters
    ----------
    network
        A frozen dataclass with the capability Covariance and the float fields to tune. Its covariance must
        grow as ``amplitude²``, its prior mean be zero.
    x
        (n, d) or (n,) inputs.
    y
        (n,) or (n, o) targets; bring them to zero mean first.
    fields
        Which of ``mass``, ``amplitude``, ``noise`` to tune; the others keep their values.
    masses
        Rising masses to scan, in units of 1/x; default 25 from half the inverse extent of the inputs to three
        inverse spacings, in equal ratios.

    Returns
    -------
    Tuned
        The mass is the best of the scan, refined between its neighbours; noise is not taken below 1e-3 of the
        root mean square of the targets. Whatever ends at an edge is said in ``status``.

    Raises
    ------
    TypeError
        The network lacks Covariance or a field, or its covariance does not grow as amplitude².
    ValueError
        Unknown or no fields, shapes that do not fit, masses that are not positive and rising, targets all
        zero.

    Notes
    -----
    T10 at T = n. The scan makes a local maximum between two of its masses possible to miss, not one wider
    than a step. Tune in float64: a float32 kernel blurs eigenvalues below 1e-7 of the largest.
    """
    require(network, Covariance, "tuning by marginal likelihood")
    x, y, free = _checked(network, x, y, fields)
    grid = (
        _mass_grid(network, x, masses)
        if "mass" in free
        else np.array([float(getattr(network, "mass", np.nan))])
    )
    best_of = _profiler(network, y, free)
    spectrum_at = _diagonaliser(network, x, y)
    points = [best_of(spectrum_at(mass)) for mass in grid]
    curve = EvidenceCurve(grid, *(np.array([getattr(p, name) for p in points]) for name in _CURVE))
    best = points[int(np.argmax(curve.log_evidence))]
    if "mass" in free:
        best = _refined(grid, points, lambda mass: best_of(spectrum_at(mass)))
    errors = _standard_errors(best, free, spectrum_at)
    values = {"mass": best.spectrum.mass, "amplitude": best.amplitude, "noise": best.noise}
    tuned = dataclasses.replace(network, **{name: float(values[name]) for name in free})
    status = _status(best, errors, free, grid, len(y))
    return Tuned(tuned, curve, best.log_evidence, errors, best.at_edge, status)


_CURVE = ("log_evidence", "amplitude", "noise")


def _checked(
    network: Any, x: ArrayLike, y: ArrayLike, fields: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return x (n, d), y (n, o) and the fields in their usual order, after all checks."""
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or not fields:
        raise ValueError(f"fields = {tuple(fields)} cannot be tuned: choose from {', '.join(FIELDS)}")
    lacking = [name for name in fields if not hasattr(network, name)]
    if lacking or not dataclasses.is_dataclass(network):
        what = f"the field {lacking[0]!r}" if lacking else "fields: it is no dataclass"
        raise TypeError(
            f"{type(network).__name__} lacks {what}; tuning replaces fields of a frozen dataclass"
        )
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    x, y = (values[:, None] if values.ndim == 1 else values for values in (x, y))
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"inputs {x.shape} do not fit targets {y.shape}: give (n, d) and (n,) or (n, o), n at least 2"
        )
    if not np.isfinite(y).all() or not np.any(y):
        raise ValueError("targets are not finite, or all zero: there is nothing to tune on")
    if hasattr(network, "amplitude"):
        one, two = (_kernel(network, x[:2], {"amplitude": value}) for value in (1.0, 2.0))
        if not np.allclose(two, 4 * one, rtol=1e-4):
            name = type(network).__name__
            raise TypeError(f"the covariance of {name} does not grow as amplitude²: tune it by hand")
    return x, y, tuple(name for name in FIELDS if name in fields)


def _kernel(network: Any, x: np.ndarray, changes: dict[str, float]) -> np.ndarray:
    """Return the covariance (n, n), float64 on the host, of the network with some fields changed."""
    at = jnp.asarray(x)
    changed: Any = dataclasses.replace(network, **changes)
    return np.asarray(changed.covariance(at, at), dtype=np.float64)


def _mass_grid(network: Any, x: np.ndarray, masses: ArrayLike | None) -> np.ndarray:
    """Return the masses to scan, (g,): rising and positive."""
    if masses is None:
        extent = float(np.ptp(x, axis=0).max())
        spacing = float(np.median(cKDTree(x).query(x, k=2)[0][:, 1]))
        if not spacing > 0:
            raise ValueError(f"inputs of {type(network).__name__} coincide: give masses to scan")
        return np.geomspace(0.5 / extent, 3 / spacing, 25)
    grid = np.asarray(masses, dtype=np.float64)
    if grid.ndim != 1 or grid.size == 0 or not np.all(grid > 0) or not np.all(np.diff(grid) > 0):
        raise ValueError(f"masses = {grid.tolist()} do not form a grid: give positive, rising values")
    return grid


def _diagonaliser(network: Any, x: np.ndarray, y: np.ndarray) -> Callable[[float], _Spectrum]:
    """Return the function mass → spectrum of the unit-amplitude kernel."""
    unit = {"amplitude": 1.0} if hasattr(network, "amplitude") else {}
    # BLAS threads that wait by spinning make a small problem ten times slower on a busy machine
    threads = 1 if len(x) <= _SMALL else None

    def spectrum(mass: float) -> _Spectrum:
        changed = unit | ({} if np.isnan(mass) else {"mass": float(mass)})
        kernel = _kernel(network, x, changed)
        # divide and conquer: three times as fast as the default where eigenvalues come in pairs (lattices)
        with threadpool_limits(limits=threads, user_api="blas"):
            values, vectors = eigh((kernel + kernel.T) / 2, driver="evd")
        power = np.square(vectors.T @ y).sum(axis=1)
        return _Spectrum(mass, np.maximum(values, 0), power, y.shape[1])

    return spectrum


def _profiler(network: Any, y: np.ndarray, free: Sequence[str]) -> Callable[[_Spectrum], _Point]:
    """Return the function spectrum → best amplitude and noise; what is not tuned keeps its value."""
    floor = NOISE_FLOOR * float(np.sqrt(np.mean(np.square(y))))
    fixed_amplitude = float(getattr(network, "amplitude", 1.0))

    def best(spectrum: _Spectrum) -> _Point:
        amplitude, noise = fixed_amplitude, float(network.noise)
        edge: tuple[str, ...] = ()
        if "amplitude" in free and "noise" in free:
            amplitude, noise, edge = _best_both(spectrum, floor)
        elif "amplitude" in free:
            amplitude, edge = _best_amplitude(spectrum, noise)
        elif "noise" in free:
            top = 1e3 * floor / NOISE_FLOOR
            noise = _maximise(
                lambda s: spectrum.log_evidence(amplitude, np.exp(s)), np.log(floor), np.log(top)
            )
            noise, edge = np.exp(noise), (("noise",) if noise < np.log(floor) + 1e-3 else ())
        return _Point(
            spectrum, float(spectrum.log_evidence(amplitude, noise)), float(amplitude), float(noise), edge
        )

    return best


def _best_both(spectrum: _Spectrum, floor: float) -> tuple[float, float, tuple[str, ...]]:
    """Return amplitude, noise and what is at an edge: σ²/A² is searched, the common scale closed form."""
    values, power, outputs = spectrum.eigenvalues, spectrum.power, spectrum.outputs

    def scale(log_ratio: np.ndarray) -> np.ndarray:  # best A² at a given σ²/A²
        return np.mean(power / (values + np.exp(log_ratio)[..., None]), axis=-1) / outputs

    def objective(log_ratio: np.ndarray) -> np.ndarray:
        root = np.sqrt(scale(log_ratio))
        return spectrum.log_evidence(root, root * np.exp(0.5 * log_ratio))

    largest = np.log(values.max())
    low, high = largest - 32, largest + 14  # 1e-14 of the largest eigenvalue: round-off; 1e6 of it: no signal
    log_ratio = np.asarray(_maximise(objective, low, high))
    amplitude = float(np.sqrt(scale(log_ratio)))
    noise = amplitude * float(np.exp(0.5 * log_ratio))
    if noise <= floor:
        amplitude, edge = _best_amplitude(spectrum, floor)
        return amplitude, floor, ("noise", *edge)
    return amplitude, noise, (("amplitude",) if log_ratio > high - 1e-2 else ())


def _best_amplitude(spectrum: _Spectrum, noise: float) -> tuple[float, tuple[str, ...]]:
    """Return the amplitude at given noise, and whether it vanishes."""
    largest = np.sqrt(spectrum.eigenvalues.max())
    level = np.sqrt(spectrum.power.sum() / len(spectrum.power) / spectrum.outputs)
    low, high = np.log(1e-3 * noise / largest), np.log(1e6 * max(level, noise) / largest)
    log_amplitude = _maximise(lambda a: spectrum.log_evidence(np.exp(a), noise), low, high)
    return float(np.exp(log_amplitude)), (("amplitude",) if log_amplitude < low + 1e-2 else ())


def _maximise(function: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    """Return the maximiser of a vectorised function on [low, high]: a scan, refined by Brent's method."""
    grid = np.linspace(low, high, _SCAN)
    values = function(grid)
    k = int(np.argmax(values))
    bounds = (grid[max(k - 1, 0)], grid[min(k + 1, _SCAN - 1)])
    found = minimize_scalar(
        lambda u: -float(function(np.asarray(u))), bounds=bounds, method="bounded", options={"xatol": 1e-7}
    )
    # the bounded search never returns an end of its interval: an end that is better is the answer
    return float(found.x) if -found.fun >= values[k] else float(grid[k])


def _refined(grid: np.ndarray, points: Sequence[_Point], best_at: Callable[[float], _Point]) -> _Point:
    """Return the best point between the neighbours of the best mass of the scan."""
    k = int(np.argmax([point.log_evidence for point in points]))
    best = points[k]
    if len(grid) > 1:
        seen: list[_Point] = []

        def negative(log_mass: float) -> float:
            seen.append(best_at(float(np.exp(log_mass))))
            return -seen[-1].log_evidence

        bounds = np.log([grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]])
        minimize_scalar(negative, bounds=tuple(bounds), method="bounded", options={"xatol": 1e-4})
        best = max([best, *seen], key=lambda point: point.log_evidence)
    mass = best.spectrum.mass
    if mass < grid[0] * 1.01 or mass > grid[-1] * 0.99:
        best = dataclasses.replace(best, at_edge=("mass", *best.at_edge))
    return best


def _standard_errors(
    best: _Point, free: Sequence[str], spectrum_at: Callable[[float], _Spectrum], step: float = 0.02
) -> dict[str, float]:
    """Return standard errors from the curvature in the logarithms of the fields that are not at an edge."""
    errors = dict.fromkeys(free, float("nan"))
    names = [name for name in free if name not in best.at_edge]
    centre = {"mass": best.spectrum.mass, "amplitude": best.amplitude, "noise": best.noise}
    cached = {0: best.spectrum}

    def at(shift: dict[str, int]) -> float:
        k = shift.get("mass", 0)
        if k not in cached:
            cached[k] = spectrum_at(centre["mass"] * np.exp(k * step))
        moved = {name: centre[name] * np.exp(shift.get(name, 0) * step) for name in ("amplitude", "noise")}
        return float(cached[k].log_evidence(moved["amplitude"], moved["noise"]))

    information = np.empty((len(names), len(names)))
    for i, a in enumerate(names):
        for j, b in enumerate(names[: i + 1]):
            if a == b:
                second = at({a: 1}) - 2 * at({}) + at({a: -1})
            else:
                second = (at({a: 1, b: 1}) - at({a: 1, b: -1}) - at({a: -1, b: 1}) + at({a: -1, b: -1})) / 4
            information[i, j] = information[j, i] = -second / step**2
    if names and np.all(np.linalg.eigvalsh(information) > 0):
        variance = np.diagonal(np.linalg.inv(information))
        errors |= {name: float(centre[name] * np.sqrt(v)) for name, v in zip(names, variance, strict=True)}
    return errors


def _status(best: _Point, errors: dict[str, float], free: Sequence[str], grid: np.ndarray, n: int) -> str:
    """Return what was found, and what the data do not determine, in sentences."""
    values = {"mass": best.spectrum.mass, "amplitude": best.amplitude, "noise": best.noise}
    found = ", ".join(f"{name} {values[name]:.4g} ± {errors[name]:.2g}" for name in free)
    said = [
        f"Maximum marginal likelihood of {n} observations: {found} (log evidence {best.log_evidence:.2f})."
    ]
    if "mass" in best.at_edge:
        said.append(
            f"The mass is at an edge of the scan, {grid[0]:.3g} to {grid[-1]:.3g}: give other masses."
        )
    if "noise" in best.at_edge:
        said.append(
            f"The noise is at its lower bound, {NOISE_FLOOR:g} of the targets' root mean square: "
            "the data do not resolve it."
        )
    if "amplitude" in best.at_edge:
        said.append(
            "The amplitude goes to zero: the data show no signal of this kind, the mass means nothing."
        )
    if any(np.isnan(errors[name]) and name not in best.at_edge for name in free):
        said.append("The evidence is not curved at its maximum: no standard errors.")
    return " ".join(said)
