"""Statistics of the published experiment: means with errors, medians, critical cutoffs, ready for JSON.

Losses have heavy tails: some members diverge and others nearly do. Means are over members whose training
loss fell, medians over all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from brg_prob.flow.score import critical_scale, mean_and_error
from inference._quadratic_ensemble import Ensemble

RISES = {"risen": 1.1, "half_up": 1.5}
"""A median loss this many times the trained one has risen: hardly visible, and plainly."""
BOOTSTRAPS = 100
_OVERFLOWN = 1e300
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

Found = dict[str, Any]


def summarise(ensemble: Ensemble, counterparts: dict[str, np.ndarray], seed: int) -> Found:
    """Return every figure of the experiment."""
    case, good = ensemble.case, ensemble.converged
    generator = np.random.default_rng(seed)
    labels = [*(str(count) for count in case.counts), "exact"]
    rules = [_rule(ensemble, number, label, generator) for number, label in enumerate(labels)]
    eigen = []
    for number, rule in enumerate(case.eigen):
        label = {"fisher_inputs": labels[rule]}
        curve = _curve(ensemble.eigen[:, number], good)
        eigen.append(label | curve | _critical(ensemble, len(labels) + number, generator))
    return {
        "members": ensemble.members,
        "diverged": int(np.sum(~good)),
        "cutoffs": list(case.cutoffs),
        "main": case.main,
        "parameters": case.setting.network.widths[-1],
        "trained": _spread(ensemble.trained, good),
        "untrained": _spread(ensemble.untrained, good),
        "forgotten": _spread(ensemble.forgotten, good),
        "rules": rules,
        "eigen": eigen,
        "sampled": rules[case.main]["sampled"],
        "redraw": _redraw(ensemble),
        "output": _outputs(ensemble),
        "restored": _restored(ensemble),
        "counterparts": _counterparts(counterparts),
    }


def _rule(ensemble: Ensemble, number: int, label: str, generator: np.random.Generator) -> Found:
    """Return the curve, critical cutoffs and Fisher quality of one rule of the parameter-wise shell."""
    zero = ensemble.zero[:, number]
    share = ensemble.zero_active[:, number] / np.maximum(zero, 1)
    sampled = ensemble.sampled[:, number]
    return {
        "fisher_inputs": label,
        "sampled": _curve(sampled, ensemble.converged),
        "critical_sampled": _critical_of_redraws(ensemble, sampled[ensemble.converged]),
        **_curve(ensemble.losses[:, number], ensemble.converged),
        "sloppy": ensemble.sloppy[:, number].mean(axis=0).tolist(),
        "zero": _mean(zero),
        "zero_active_share": {"low": _quantile(share, 0.05), "high": _quantile(share, 0.95), **_mean(share)},
        "fisher_error": _mean(ensemble.fisher_error[:, number]),
        **_critical(ensemble, number, generator),
        **_risen(ensemble, number, generator),
    }


def _mean(values: np.ndarray) -> dict[str, float]:
    """Return mean and standard error."""
    mean, error = mean_and_error(values)
    return {"mean": mean, "se": error}


def _quantile(values: np.ndarray, at: float) -> float:
    """Return a quantile."""
    return float(np.quantile(values, at))


def _curve(losses: np.ndarray, good: np.ndarray) -> Found:
    """Return mean and error over trained members, and the median over all, of losses (M, C)."""
    kept = losses[good]
    return {
        "mean": kept.mean(axis=0).tolist(),
        "se": (kept.std(axis=0, ddof=1) / np.sqrt(len(kept))).tolist(),
        "median": np.median(whole(losses), axis=0).tolist(),
    }


def whole(losses: np.ndarray) -> np.ndarray:
    """Return losses with a number beyond any other for what overflowed."""
    return np.where(np.isfinite(losses), losses, _OVERFLOWN)


def _spread(losses: np.ndarray, good: np.ndarray) -> Found:
    """Return mean, error and percentiles of one loss per member."""
    return {
        **_mean(losses[good]),
        "median": float(np.median(whole(losses))),
        "percentiles": {str(p): float(np.percentile(losses[good], p)) for p in PERCENTILES},
    }


def rise_cutoff(cutoffs: np.ndarray, curve: np.ndarray, rise: float) -> float:
    """Return where a curve is ``rise`` times its first value, nan if it is so at the first positive cutoff.

    Interpolated linearly in the logarithms of cutoff and loss.

    Examples
    --------
    >>> round(rise_cutoff(np.array([0.0, 1.0, 100.0]), np.array([1.0, 1.0, 1.21]), 1.1), 3)
    10.0
    """
    level = rise * curve[0]
    above = np.flatnonzero(curve > level)
    if not above.size:
        return float(cutoffs[-1])
    at = int(above[0])
    if at <= 1:
        return float("nan")
    low, high = np.log(curve[at - 1 : at + 1])
    left, right = np.log(cutoffs[at - 1 : at + 1])
    return float(np.exp(left + (right - left) * (np.log(level) - low) / (high - low)))


def _risen(ensemble: Ensemble, number: int, generator: np.random.Generator) -> Found:
    """Return where the median loss has risen, with the spread of that over resampled members."""
    cutoffs, losses = np.asarray(ensemble.case.cutoffs), whole(ensemble.losses[:, number])
    count = len(losses)
    medians = [np.median(losses[generator.integers(0, count, count)], axis=0) for _ in range(BOOTSTRAPS)]
    return {
        name: _with_spread(
            rise_cutoff(cutoffs, np.median(losses, axis=0), rise),
            [rise_cutoff(cutoffs, each, rise) for each in medians],
        )
        for name, rise in RISES.items()
    }


def _critical(ensemble: Ensemble, number: int, generator: np.random.Generator) -> Found:
    """Return T8's critical cutoff, what it rests on, and its spread over resampled members and inputs.

    Per test input the expected squared error is averaged over members; its score is minus that. A cutoff
    fails if the mean score is below the trained one by more than one standard error of the paired
    difference, over test inputs.
    """
    errors, sizes = ensemble.group_errors[:, number], ensemble.group_sizes
    groups, inputs = len(sizes), errors.shape[-1]
    value, difference, error = critical_cutoff(ensemble.case.cutoffs, errors.sum(axis=0) / sizes.sum())
    draws = []
    for _ in range(BOOTSTRAPS):
        weight = np.bincount(generator.integers(0, groups, groups), minlength=groups).astype(float)
        rows = generator.integers(0, inputs, inputs)
        if weight @ sizes > 0:
            mean = np.tensordot(weight, errors, axes=1) / (weight @ sizes)
            draws.append(critical_cutoff(ensemble.case.cutoffs, mean[:, rows])[0])
    return {
        "critical": _with_spread(value, draws),
        "difference": difference.tolist(),
        "difference_se": error.tolist(),
    }


def _critical_of_redraws(ensemble: Ensemble, sampled: np.ndarray) -> float | None:
    """Return T8's critical cutoff of one redraw per member (M, C), paired over members, as published."""
    value = critical_cutoff(ensemble.case.cutoffs, sampled.T)[0]
    return value if np.isfinite(value) else None


def critical_cutoff(cutoffs: tuple[float, ...], errors: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return T8's critical cutoff of losses (C, pairs), mean differences from the first row, errors (C,).

    nan if the first positive cutoff fails.
    """
    found = [mean_and_error(row - errors[0]) for row in errors]
    difference, error = (np.array(values) for values in zip(*found, strict=True))
    # an infinite loss has no error and fails
    critical = critical_scale(cutoffs[1:], (-difference[1:]).tolist(), error[1:].tolist())
    return critical, difference, error


def _with_spread(value: float, draws: list[float]) -> Found:
    """Return a cutoff, the 16 and 84 % quantiles of its resamples, None where it lies below every cutoff."""
    array = np.asarray(draws)
    filled = np.where(np.isfinite(array), array, 0.0)
    low, high = (float(np.quantile(filled, q, method="nearest")) for q in (0.16, 0.84))
    return {
        "value": value if np.isfinite(value) else None,
        "low": low or None,
        "high": high or None,
        "none_share": float(np.mean(~np.isfinite(array))),
    }


def _redraw(ensemble: Ensemble) -> Found:
    """Return how one redraw per member scatters about its expectation: means and errors over members."""
    good = ensemble.converged
    main = ensemble.case.main
    paired = ensemble.sampled[good, main] - ensemble.losses[good, main]
    mean, error = paired.mean(axis=0), paired.std(axis=0, ddof=1) / np.sqrt(len(paired))
    z = np.abs(mean[1:]) / np.where(error[1:] > 0, error[1:], np.inf)
    return {"mean": mean.tolist(), "se": error.tolist(), "largest_z": float(z.max())}


def _outputs(ensemble: Ensemble) -> Found:
    """Return where the output at one test input lies at every cutoff, robust against outliers."""
    values = ensemble.output[ensemble.converged]
    quartiles = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    return {
        "input": np.asarray(ensemble.data.test_x[ensemble.case.point]).tolist(),
        "truth": ensemble.truth,
        "centre": quartiles[1].tolist(),
        "sd": ((quartiles[2] - quartiles[0]) / 1.3489795).tolist(),
    }


def _restored(ensemble: Ensemble) -> Found:
    """Return how the largest cutoff compares with networks that were never trained."""
    good, main = ensemble.converged, ensemble.case.main
    last, fresh = ensemble.losses[good, main, -1], ensemble.forgotten[good]
    return {
        "relative": float(np.max(np.abs(last / fresh - 1))),
        "untrained_over_last": _mean(ensemble.untrained[good] / last),
        "all_reset_share": float(
            np.mean(ensemble.sloppy[good, main, -1] == ensemble.case.setting.network.widths[-1])
        ),
        "unchanged_at_zero": bool(
            np.array_equal(ensemble.losses[good, main, 0], ensemble.trained[good])
            and np.array_equal(ensemble.sampled[good, main, 0], ensemble.trained[good])
        ),
    }


def _counterparts(found: dict[str, np.ndarray]) -> Found:
    """Return how gradient flow's loss differs from SGD's, and the size of the steps."""
    sgd, flow = found["sgd_exact"], found["gradient_flow"]
    fair = np.isfinite(sgd) & (found["largest"] < 2)  # no single step overshoots its own sample
    relative = np.abs(flow[fair] / sgd[fair] - 1)

    def reach(values: np.ndarray) -> list[float]:
        return [_quantile(values, q) for q in (0.05, 0.5, 0.95)] if values.size else [float("nan")] * 3

    return {
        "members": int(sgd.size),
        "norm": reach(found["norm"]),
        "largest": reach(found["largest"]),
        "overshooting_share": float(np.mean(found["largest"] > 2)),
        "stable_members": int(fair.sum()),
        "relative_difference": reach(relative),
        "largest_difference": float(relative.max(initial=0.0)),
        "median_sgd": float(np.median(whole(sgd))),
        "median_flow": float(np.median(flow)),
    }


def finite(values: np.ndarray) -> list[float | None]:
    """Return a list for JSON, None for what overflowed."""
    return [float(value) if np.isfinite(value) else None for value in values]


def experiment(ensemble: Ensemble, found: Found) -> Found:
    """Return the block ``experiment`` of summary.json: stable keys, for the main Fisher rule."""
    main = found["rules"][found["main"]]
    return {
        "cutoffs": found["cutoffs"],
        "sloppy_mean": main["sloppy"],
        "expected_loss_mean": main["mean"],
        "expected_loss_se": main["se"],
        "expected_loss_median": main["median"],
        "sampled_loss_mean": found["sampled"]["mean"],
        "sampled_loss_se": found["sampled"]["se"],
        "trained_loss": finite(ensemble.trained),
        "critical_cutoff": main["critical"]["value"],
        "risen_cutoff": main["risen"]["value"],
        "fisher_inputs": main["fisher_inputs"],
        "method": ensemble.method,
        "members": found["members"],
        "diverged": np.flatnonzero(~ensemble.converged).tolist(),
    }
