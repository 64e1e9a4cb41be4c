"""Finite width, for the depth script: what the limit leaves out, and where training leaves it (T3, T11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from brg_prob.arrays import holm
from brg_prob.correlators import cumulant
from brg_prob.interactions import connected_four_point
from inference._finite_width import finite_width_deviation
from inference._lazy import LazySetting, lazy_departures
from models.mlp import Mlp

POINTS, LOOKED_AT = np.linspace(-1, 1, 6)[:, None], np.linspace(-0.8, 1.2, 3)[:, None]
OPTIONS: dict[str, Any] = {"weight_variance": 1.5, "bias_variance": 0.1, "noise": 0.5}

NEURON = "erf"
CUMULANT_WIDTH = 10
TUPLES = ((0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 1, 1))
"""Four points among two inputs, x = 0.5 and x′ = −1."""

Found = dict[str, Any]


def measure_cumulant(name: str, draws: int, seed: int) -> Found:
    """Return the connected four-point function of ten neurons, sampled and exact (T3)."""
    network = Mlp((CUMULANT_WIDTH,), name, **OPTIONS)
    x = jnp.asarray([[0.5], [-1.0]])

    @jax.jit
    def fields(key: Any) -> Any:
        def numbers(key: Any) -> Any:
            hidden_key, readout_key = jax.random.split(key)
            hidden = network.sample_hidden(hidden_key)
            shape = jax.eval_shape(network.features, x, hidden).shape[1:]
            return hidden, jax.random.normal(readout_key, shape)

        # random numbers one by one: under vmap they take seconds to compile
        drawn = jax.lax.map(numbers, jax.random.split(key, draws))
        return jax.vmap(lambda hidden, weights: network.features(x, hidden) @ weights)(*drawn)

    found = cumulant(np.asarray(fields(jax.random.key(seed)))[None], TUPLES, independent=True)
    variances = {name: OPTIONS[name] for name in ("weight_variance", "bias_variance")}
    exact = connected_four_point(x, TUPLES, width=CUMULANT_WIDTH, activation=name, **variances)
    z = [(found.value - other) / found.standard_error for other in (np.asarray(exact.value), 0.0)]
    p_value, control = (float(min(holm(2 * stats.norm.sf(np.abs(each))))) for each in z)
    return {
        "activation": name,
        "width": CUMULANT_WIDTH,
        "draws": draws,
        "tuples": [list(t) for t in TUPLES],
        "measured": found.value.tolist(),
        "se": found.standard_error.tolist(),
        "exact": np.asarray(exact.value).tolist(),
        "p_value": p_value,
        "control_p_value": control,
    }


def measure_widths(name: str, widths: Sequence[int], members: Sequence[int], seed: int) -> Found:
    """Return how the posterior variance of one hidden layer departs from infinite width, by width.

    The control is the same held against a limit whose readout variance is two per cent too large.
    """
    network = Mlp((widths[0],), name, **OPTIONS)
    given = {"widths": widths, "members": members, "seed": seed}
    deviation = finite_width_deviation(network, POINTS, LOOKED_AT, **given)
    both = np.concatenate([POINTS, LOOKED_AT])
    variance = OPTIONS["weight_variance"]
    wrong = Mlp((widths[0],), name, **(OPTIONS | {"weight_variance": (variance, 1.02 * variance)}))
    other = finite_width_deviation(
        network, POINTS, LOOKED_AT, **(given | {"limit": wrong.kernel(both, both)})
    )
    return {
        "activation": name,
        "widths": list(widths),
        "members": list(members),
        "mean": deviation.mean.tolist(),
        "mean_se": deviation.error.tolist(),
        "single": deviation.spread.tolist(),
        "single_se": (deviation.spread / np.sqrt(2 * deviation.members)).tolist(),
        "mean_slope": list(deviation.mean_slope()),
        "single_slope": list(deviation.single_slope()),
        "control_slope": list(other.mean_slope()),
    }


def measure_lazy(widths: Sequence[int], depths: Sequence[int], setting: LazySetting) -> list[Found]:
    """Return where ensembles trained in all layers stand between the two lazy theories."""
    return [
        {
            "width": each.width,
            "depth": each.depth,
            "readout": _distance(each.readout),
            "tangent": _distance(each.tangent),
            "kernel_change": each.kernel_change,
            "kernel_change_se": each.kernel_change_se,
            "loss": each.loss,
            "members": setting.members,
        }
        for each in lazy_departures(widths, depths, setting)
    ]


def _distance(found: Any) -> Found:
    """Return a relative distance with its standard error, by error propagation from its square."""
    error = found.square_se / (2 * found.value) if found.value > 0 else float(np.sqrt(found.square_se))
    return {"value": found.value, "se": error, "square": found.square, "square_se": found.square_se}
