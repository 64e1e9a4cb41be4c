"""Measurements for the momentum-shell script: the cos-net's Fisher metric, shells and flows (T4, T8, T9).

Each function returns plain numbers and lists, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import stats

from brg_prob.correspondence import ExactRG, check_correspondence, erg_prediction
from brg_prob.correspondence.checks import Demands, variance_check
from brg_prob.correspondence.momentum_survey import survey
from brg_prob.erg import FreeTheory, momentum_cutoff
from brg_prob.flow import Diffusion, Flow, Shell, coarse_grain, default_scales, fisher_cutoffs
from brg_prob.geometry import fisher_metric, fisher_spectrum, hidden_layers, whitened_features
from brg_prob.geometry.readout_spectrum import diagonal_information, readout_kernel
from brg_prob.posterior import fit, gaussian_posterior
from brg_prob.spectra import plane_waves
from models.cosnet import CosNet
from models.mlp import Mlp

MASS, NOISE = 1.0, 0.5
BATCHES = 40
"""Groups of draws whose spread is the error of the running mass."""


@dataclass(frozen=True)
class Box:
    """Where a field lives: ``side`` equispaced inputs along each axis of a box.

    Attributes
    ----------
    dim, length, cutoff
        d, L and Λ.
    side
        Points per side: more than twice the largest mode index, LΛ/2π.
    """

    dim: int
    length: float
    cutoff: float
    side: int

    @property
    def inputs(self) -> Array:
        """The grid, (side^d, d)."""
        line = self.length * np.arange(self.side) / self.side
        mesh = np.meshgrid(*[line] * self.dim, indexing="ij")
        return jnp.asarray(np.stack(mesh, axis=-1).reshape(-1, self.dim))

    def network(self, width: int | None = None) -> CosNet:
        """Return the cos-net of this box: the lattice, or ``width`` random momenta."""
        box = self.length if width is None else None
        return CosNet(dim=self.dim, cutoff=self.cutoff, mass=MASS, noise=NOISE, width=width, box=box)

    @property
    def theory(self) -> FreeTheory:
        """T9's prediction."""
        return erg_prediction(self.network(), self.inputs)

    def __str__(self) -> str:
        return f"d={self.dim}, L={self.length:g}"


def field_data(network: CosNet, x: Array, key: Array) -> Array:
    """Return noisy observations (n,) of one draw of a network's prior."""
    hidden_key, weight_key, noise_key = jax.random.split(key, 3)
    features = whitened_features(network, x, network.sample_hidden(hidden_key))
    field = features @ jax.random.normal(weight_key, features.shape[1:])
    return field + network.noise * jax.random.normal(noise_key, field.shape)


# --- 1. the lattice: exact ---------------------------------------------------------------------------


def measure_lattice(box: Box, draws: int, key: Array) -> dict[str, Any]:
    """Return Fisher spectrum, shells, verdicts and running mass of a lattice cos-net."""
    network, theory, x = box.network(), box.theory, box.inputs
    data_key, fit_key, flow_key, shell_key = jax.random.split(key, 4)
    metric = fisher_metric(network, x)
    eigenvalues = np.asarray(metric.eigenvalues)[: metric.rank]
    momentum = momentum_of_modes(np.asarray(metric.modes)[:, : metric.rank], box)
    predicted = np.asarray(theory.fisher_eigenvalue(momentum))
    posterior = fit(network, x, field_data(network, x, data_key), key=fit_key, draws=draws)
    scales = default_scales(float(len(x)), 12)
    diffused = coarse_grain(network, posterior, metric, scheme=Diffusion(), scales=scales, key=flow_key)
    cutoffs = fisher_cutoffs(scales)
    shelled = coarse_grain(network, posterior, metric, scheme=Shell(), scales=cutoffs, key=shell_key)
    flows = {"diffusion": diffused, "shell": shelled}
    checks = {name: check_correspondence(flow, ExactRG(theory)) for name, flow in flows.items()}
    return {
        "setting": str(box),
        "dim": box.dim,
        "modes": int(eigenvalues.size),
        "draws": draws,
        "momentum": momentum.tolist(),
        "eigenvalue": eigenvalues.tolist(),
        "eigenvalue_error": float(np.max(np.abs(eigenvalues / predicted - 1))),
        "shells": count_exceptions(eigenvalues, momentum, theory),
        "verdicts": {name: found.verdict for name, found in checks.items()},
        "smallest_detectable": {
            name: max(c.smallest_detectable for c in found.checks if c.role == "correspondence")
            for name, found in checks.items()
        },
        "running_mass": running_mass(diffused, box),
    }


def momentum_of_modes(modes: np.ndarray, box: Box) -> np.ndarray:
    """Return |p| of Fisher modes (n, r): the plane waves that they are made of, whatever their eigenvalue."""
    momenta = box.theory.momenta()
    basis, index = plane_waves(box.inputs, momenta, box.length)
    size = np.linalg.norm(momenta, axis=1)
    _, first, level = np.unique(np.round(size, 9), return_index=True, return_inverse=True)
    weight = np.zeros((first.size, modes.shape[1]))
    np.add.at(weight, level[index], np.square(np.asarray(basis).T @ modes))
    return size[first][np.argmax(weight, axis=0)]


def count_exceptions(eigenvalues: np.ndarray, momentum: np.ndarray, theory: FreeTheory) -> dict[str, Any]:
    """Hold the shell at 60 scales, from empty to whole, against |p| ≤ Λ′ = √(M_T² − m²) (T9a)."""
    empty, whole = (float(theory.observations_at_cutoff(p)) for p in (0.0, theory.cutoff))
    scales = np.geomspace(0.3 * empty, 3 * whole, 60)
    data_mass = np.asarray(theory.data_mass_squared(scales))
    cutoffs = np.asarray(momentum_cutoff(MASS, data_mass, cutoff=theory.cutoff))
    exceptions, largest, counts = 0, [], []
    for observations, cutoff, square in zip(scales, cutoffs, data_mass, strict=True):
        kept = Shell().cut(1 / observations).keeps(eigenvalues)
        expected = (momentum <= cutoff) & (square >= MASS**2)
        tied = np.abs(observations * eigenvalues - 1) < 1e-9
        exceptions += int(np.sum((kept != expected) & ~tied))
        largest.append(float(momentum[kept].max(initial=0.0)))
        counts.append(int(kept.sum()))
    return {
        "observations": scales.tolist(),
        "predicted_cutoff": cutoffs.tolist(),
        "largest_kept": largest,
        "kept": counts,
        "exceptions": exceptions,
        "compared": int(scales.size * eigenvalues.size),
    }


def running_mass(flow: Flow, box: Box) -> dict[str, Any]:
    """Fit m_T² of the flowed draws at each scale, and its slope and intercept in T (T9b).

    1/G_T(p) = p² + m_T². In each batch of draws, (ν−2)/ν over the sample variance estimates 1/G without
    bias; momenta are weighted by its inverse variance, ∝ G_T² at the fit, and scales likewise. The draws of
    one flow are correlated across scales; the spread over batches, each fitted alike, includes that.
    """
    momenta = box.theory.momenta()
    basis, index = plane_waves(box.inputs, momenta, box.length)
    projection = np.asarray(basis) * box.length**box.dim / basis.shape[0]
    square = np.sum(np.square(momenta), axis=1)[index]
    found = np.stack([_mass_squared(np.asarray(f)[:, :, 0] @ projection, square) for f in flow.fields()])
    scales = np.asarray(flow.scales)
    design = np.stack([scales, np.ones_like(scales)], axis=1)
    weighted = design.T / found.var(axis=1, ddof=1)
    fits = np.linalg.solve(weighted @ design, weighted @ found)
    result: dict[str, Any] = {
        "observations": scales.tolist(),
        "mass_squared": found.mean(axis=1).tolist(),
        "se": (found.std(axis=1, ddof=1) / np.sqrt(BATCHES)).tolist(),
    }
    expected = (float(box.theory.data_mass_squared(1.0)), MASS**2)
    for name, values, formula in zip(("slope", "intercept"), fits, expected, strict=True):
        value, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(BATCHES))
        p_value = float(2 * stats.t.sf(abs(value - formula) / error, BATCHES - 1))
        result[name] = {"value": value, "se": error, "formula": formula, "p_value": p_value}
    return result


def _mass_squared(coefficients: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return m_T² of each batch, (BATCHES,), from plane-wave coefficients (S, R) at momenta squared (R,)."""
    groups = coefficients[: len(coefficients) // BATCHES * BATCHES].reshape(BATCHES, -1, square.size)
    degrees = groups.shape[1] - 1
    variance = groups.var(axis=1, ddof=1)
    inverse = (degrees - 2) / degrees / variance
    propagator, found = variance.mean(axis=0), np.zeros(BATCHES)
    for _ in range(5):
        weight = np.square(propagator) / np.sum(np.square(propagator))
        found = (inverse - square) @ weight
        propagator = 1 / (square + max(float(found.mean()), 1e-6))
    return found


# --- 2. random momenta in raw readout units ----------------------------------------------------------


def measure_raw(box: Box, width: int, fractions: Sequence[float], key: Array) -> dict[str, Any]:
    """Return the diagonal Fisher information of random momenta, and the raw cutoff map, beside T9a.

    Cutoffs are those of momenta Λ′ at ``fractions`` of Λ.
    """
    network, theory, x = box.network(width), box.theory, box.inputs
    hidden = network.sample_hidden(key)
    size = np.linalg.norm(np.asarray(hidden["w"]), axis=1)
    diagonal = np.asarray(diagonal_information(network, x, hidden, noise=NOISE))
    whitened = np.mean(np.square(np.asarray(whitened_features(network, x, hidden))), axis=0) / NOISE**2
    error = np.abs(diagonal / np.asarray(theory.raw_diagonal(size)) - 1)
    cutoffs = []
    for fraction in fractions:
        target = fraction * box.cutoff
        raw = float(theory.raw_fisher_cutoff(theory.observations_at_cutoff(target)))
        kept = Shell(basis="parameter").cut(raw).keeps(diagonal)
        measured, wrong = effective_cutoff(size, kept)
        cutoffs.append({"raw_cutoff": raw, "formula": target, "measured": measured, "wrong_side": wrong})
    return {
        "setting": str(box),
        "dim": box.dim,
        "length": box.length,
        "width": width,
        "median_error": float(np.median(error)),
        "max_error": float(np.max(error)),
        "scale_ratio": float(np.median(whitened / np.asarray(theory.fisher_eigenvalue(size)))),
        "scale_ratio_formula": float(theory.modes()) / width,
        "cutoff": box.cutoff,
        "cutoffs": cutoffs,
    }


def effective_cutoff(size: np.ndarray, kept: np.ndarray) -> tuple[float, int]:
    """Return the momentum that best parts kept from dropped neurons, and how many lie on its wrong side.

    Where they part cleanly it is midway between the largest kept and the smallest dropped |w|.
    """
    order = np.argsort(size)
    ordered, stays = size[order], kept[order]
    dropped_below = np.concatenate([[0], np.cumsum(~stays)])
    kept_above = np.concatenate([np.cumsum(stays[::-1])[::-1], [0]])
    wrong = dropped_below + kept_above
    best = np.flatnonzero(wrong == wrong.min())
    edges = np.concatenate([[0.0], ordered, ordered[-1:]])
    return float(np.mean(edges[[best[0], best[-1] + 1]])), int(wrong.min())


# --- 3. random momenta: where the continuum holds ----------------------------------------------------


def spectrum_error(eigenvalues: Any, theory: FreeTheory) -> float:
    """Return the median relative distance of sorted eigenvalues from λ(p) of the box's modes, sorted."""
    size = np.linalg.norm(theory.momenta(), axis=1)
    # a ±p pair is two real modes
    predicted = np.asarray(theory.fisher_eigenvalue(np.repeat(size, np.where(size > 0, 2, 1))))
    measured = np.zeros_like(predicted)
    count = min(predicted.size, len(eigenvalues))
    measured[:count] = np.asarray(eigenvalues)[:count]
    return float(np.median(np.abs(measured / predicted - 1)))


def measure_spectrum(box: Box, widths: Sequence[int], repeats: int, key: Array) -> dict[str, Any]:
    """Return the error of the Fisher spectrum against the continuum, by width, and at infinite width."""
    theory, x = box.theory, box.inputs
    errors = []
    for width in widths:
        network = box.network(width)
        keys = jax.random.split(jax.random.fold_in(key, width), repeats)
        hidden = [network.sample_hidden(k) for k in keys]
        errors.append([spectrum_error(fisher_spectrum(network, x, hidden=h), theory) for h in hidden])
    kernel = np.asarray(box.network(1).covariance(x, x))
    infinite = np.linalg.eigvalsh(kernel)[::-1] / (len(x) * NOISE**2)
    return {
        "setting": str(box),
        "dim": box.dim,
        "length": box.length,
        "cutoff": box.cutoff,
        "modes": float(theory.modes()),
        "widths": list(widths),
        "errors": errors,
        "infinite_width": spectrum_error(infinite, theory),
    }


def measure_propagators(box: Box, width: int, draws: int, key: Array) -> dict[str, Any]:
    """Return propagators of flowed draws of random momenta beside the continuum and T10 at this width."""
    network, theory, x = box.network(width), box.theory, box.inputs
    data_key, fit_key, flow_key = jax.random.split(key, 3)
    y = field_data(network, x, data_key)
    posterior = fit(network, x, y, key=fit_key, draws=draws)
    metric = fisher_metric(network, x, at=posterior)
    kernel = readout_kernel(network, x, hidden_layers(network, posterior)[0])

    def finite_size(observations: float) -> tuple[Array, Array]:  # T10 with ΦC0Φᵀ for K
        ridge = NOISE**2 * len(x) / observations
        mean, covariance = gaussian_posterior(kernel, kernel, kernel, y[:, None], ridge)
        return covariance, mean

    scales = default_scales(float(len(x)), 6)
    flow = coarse_grain(network, posterior, metric, scheme=Diffusion(), scales=scales, key=flow_key)
    checks = check_correspondence(flow, ExactRG(theory, finite_size=finite_size))
    names = ("momentum", "measured", "se", "predicted", "finite_size")
    found = {name: np.asarray(checks.tree["theory"][name].values) for name in names}
    named = ("propagator", "finite width", "finite width mean")
    tested = {check.name: check for check in checks.checks if check.name in named}
    return {
        "setting": str(box),
        "length": box.length,
        "width": width,
        "modes": float(theory.modes()),
        "observations": list(scales),
        "continuum_deviation": float(np.median(np.abs(found["measured"] / found["predicted"] - 1))),
        "finite_size_deviation": float(np.median(np.abs(found["measured"] / found["finite_size"] - 1))),
        "sampling_error": float(stats.norm.ppf(0.75) * np.sqrt(2 / (draws - 1))),
        "verdicts": {name: check.verdict for name, check in tested.items()},
        "p_values": {name: float(check.p_value) for name, check in tested.items()},
        **{name: values.tolist() for name, values in found.items()},
    }


# --- 4. a network that is no free field --------------------------------------------------------------


def relu_network(theory: FreeTheory, x: Array, width: int = 511) -> Mlp:
    """Return a ReLU network with the free scalar's prior variance on the inputs, kinks all over the box.

    K(x, x) = b + (v/2)(b + v x²) with weight variance v and bias variance b = (L/4)² v; its average over
    the inputs, a quadratic in v, is set to K(0).
    """
    spread, square = (theory.box / 4) ** 2, float(jnp.mean(jnp.square(x)))
    variance = float(theory.two_point_function(jnp.zeros((1, 1)))[0])
    curvature = (spread + square) / 2
    v = (np.sqrt(spread**2 + 4 * curvature * variance) - spread) / (2 * curvature)
    return Mlp(widths=(width,), weight_variance=float(v), bias_variance=float(spread * v), noise=NOISE)


def measure_control(box: Box, draws: int, seeds: int, key: Array) -> dict[str, Any]:
    """Return how often networks are rejected as the free scalar: the ReLU network, and the lattice itself."""
    counts = {"relu": 0, "free": 0}
    x, free = box.inputs - box.length / 2, box.network()
    networks = {"relu": relu_network(box.theory, x), "free": free}
    for seed in range(seeds):
        data_key, *keys = jax.random.split(jax.random.fold_in(key, seed), 3)
        y = field_data(free, x, data_key)
        for name, network in networks.items():
            counts[name] += propagator_p_value(network, x, y, box.theory, draws, *keys) <= 0.05
    result: dict[str, Any] = {"seeds": seeds}
    for name, count in counts.items():
        interval = stats.binomtest(count, seeds).proportion_ci(0.95, method="exact")
        result[name] = {"rejected": count, "low": float(interval.low), "high": float(interval.high)}
    return result


def propagator_p_value(
    network: Any, x: Array, y: Array, theory: FreeTheory, draws: int, fit_key: Array, flow_key: Array
) -> float:
    """Return the p-value of the free scalar's propagators for a network fitted and flowed through six scales.

    By the draws alone: the Fisher spectrum, which knows no chance, would give a wrong network away at once.
    """
    posterior = fit(network, x, y, key=fit_key, draws=draws)
    metric = fisher_metric(network, x, at=posterior)
    scales = default_scales(float(len(x)), 6)
    flow = coarse_grain(network, posterior, metric, scheme=Diffusion(), scales=scales, key=flow_key)
    return variance_check(survey(flow, theory), Demands(tolerance=0.05, level=0.05)).p_value
