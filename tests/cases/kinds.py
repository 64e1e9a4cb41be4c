"""A table for each model of ``numpyro_kinds.py``, and what is to be read of it."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_SPEC = importlib.util.spec_from_file_location("numpyro_kinds", Path(__file__).parent / "numpyro_kinds.py")
models = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(models)


@dataclass(frozen=True)
class Kind:
    """A model, its table, and what is to be read of it.

    ``plated``: NumPyro's own log-likelihood has a term for each row. ``joint``: rows are observed jointly.
    ``mixed``: a term depends on other rows, too. ``metric``: there is a Fisher metric. ``by_row``: latent
    sites with an entry per row.
    """

    model: Callable[..., Any]
    table: dict[str, Any]
    target: str | tuple[str, ...]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    plated: bool = True
    joint: bool = False
    mixed: bool = False
    metric: bool = True
    by_row: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


N = 8
_T = np.linspace(0, 1, N)
_RNG = np.random.default_rng(7)
_Z = _RNG.normal(size=N)
_PAIR = {"x1": _RNG.normal(size=N), "x2": _RNG.normal(size=N)}
_YES = np.array([0, 1, 1, 0, 1, 0, 1, 1])
_GROUP = np.array([0, 0, 1, 1, 2, 2, 2, 0])
_COUNTS = np.array([0, 2, 1, 0, 5, 3, 0, 4])
_ERRORS = np.array([0.5, 0.3, 0.8, 0.4, 0.6, 0.5, 0.9, 0.7])
_SCHOOLS = {
    "sigma": np.array([15, 10, 16, 11, 9, 11, 10, 18.0]),
    "y": np.array([28, 8, -3, 7, -1, 1, 18, 12.0]),
}
_COUNTIES = ["lac", "lac", "aitkin", "aitkin", "cook", "cook", "cook", "lac"]

KINDS = {
    "partial_pooling": Kind(
        models.partial_pooling,
        {"trials": [10, 12, 9, 20, 11, 8, 15, 10], "successes": [3, 4, 1, 9, 5, 2, 6, 2]},
        "successes",
        (N,),
        by_row=("rate",),
    ),
    "varying_slopes": Kind(
        models.varying_slopes,
        {"dept": _GROUP, "male": _YES, "applications": _COUNTS + 9, "admit": _COUNTS},
        "admit",
        (N,),
    ),
    "stochastic_volatility": Kind(
        models.stochastic_volatility, {"returns": 0.1 * _Z}, "returns", (N,), by_row=("walk",)
    ),
    "horseshoe": Kind(models.horseshoe, {**_PAIR, "Y": _PAIR["x1"] + 0.3 * _Z}, "Y", (N,)),
    "gp_marginal": Kind(
        models.gp_marginal,
        {"t": 3 * _T, "Y": np.sin(3 * _T)},
        "Y",
        (N,),
        joint=True,
        plated=False,
        notes=("leave-one-out is not applicable, because site 'Y' observes several rows jointly",),
    ),
    "gp_latent": Kind(models.gp_latent, {"t": 3 * _T, "Y": _COUNTS}, "Y", (N,), by_row=("white",)),
    "zero_inflated": Kind(
        models.zero_inflated, {"persons": [1, 2, 1, 3, 4, 2, 1, 3.0], "count": _COUNTS}, "count", (N,)
    ),
    "autoregression": Kind(
        models.autoregression,
        {"y": _Z},
        "y",
        (N - 2,),
        mixed=True,
        plated=False,
        notes=(
            "2 of 8 rows have no term in the likelihood: they are conditioned on, or not used",
            "leave-one-out is not applicable, because the likelihood of 'y' at a row depends on other rows, "
            "too",
        ),
    ),
    "bayesian_network": Kind(models.bayesian_network, {**_PAIR, "Y": _Z}, "Y", (N, 1)),
    "hsgp": Kind(models.hsgp, {"t": 4 * _T - 2, "y": np.sin(3 * _T)}, "y", (N,)),
    "subsampled_logistic": Kind(
        models.subsampled_logistic,
        {**_PAIR, "obs": _YES},
        "obs",
        (N,),
        plated=False,
        notes=("plate 'N' is run whole, not subsampled",),
    ),
    "eight_schools": Kind(models.eight_schools, _SCHOOLS, "y", (N,), {"J": 8}, by_row=("raw",)),
    "hierarchical": Kind(
        models.hierarchical, {"county": _COUNTIES, "floor": _YES, "radon": _Z}, "radon", (N,)
    ),
    "ordinal": Kind(models.ordinal, {"dose": _Z, "grade": [0, 1, 2, 1, 1, 2, 0, 2]}, "grade", (N, 3)),
    "mixture": Kind(models.mixture, {"velocity": np.where(_YES, 2.0, -2.0) + 0.5 * _Z}, "velocity", (N,)),
    "overdispersed": Kind(
        models.overdispersed,
        {"effort": [1, 2, 1, 1, 3, 2, 1, 2.0], **_PAIR, "caught": _COUNTS},
        "caught",
        (N,),
    ),
    "recapture": Kind(
        models.recapture, {"first": [40, 31], "second": [35, 50], "seen_twice": [12, 9]}, "seen_twice", (2,)
    ),
    "robust": Kind(models.robust, {"t": _T, "y": [0.1, 0.3, 0.4, 9.0, 0.9, 1.1, 1.2, 1.4]}, "y", (N,)),
    "local_level": Kind(models.local_level, {"level": np.cumsum(_Z)}, "level", (N,), by_row=("state",)),
    "shares": Kind(
        models.shares,
        {
            "x": _T,
            "bus": [6, 5, 7, 6, 5, 4, 8, 6],
            "car": [4, 4, 3, 2, 5, 6, 1, 3],
            "foot": [2, 3, 2, 4, 2, 2, 3, 3],
        },
        ("bus", "car", "foot"),
        (N, 3),
    ),
    "errors_in_variables": Kind(
        models.errors_in_variables,
        {"measured": _Z, "error": _ERRORS, "y": 0.8 * _Z},
        "y",
        (N, 2),
        by_row=("true",),
        notes=(
            "site 'measured' observes a value that is not among the targets: it belongs to the likelihood",
        ),
    ),
    "censored": Kind(
        models.censored,
        {"age": _Z, "dead": _YES, "months": [1.0, 2.5, 0.4, 3.0, 1.7, 2.2, 0.9, 1.1]},
        "months",
        (N,),
        plated=False,
        metric=False,
        notes=("factor 'survival' changes with the target: it belongs to the likelihood",),
    ),
    "decay": Kind(models.decay, {"t": _T, "amount": 2 * np.exp(-1.3 * _T + 0.1 * _Z)}, "amount", (N,)),
    "spline": Kind(models.spline, {"t": _T, "y": np.sin(3 * _T)}, "y", (N,)),
    "item_response": Kind(
        models.item_response,
        {"person": _GROUP, "item": [0, 1, 0, 1, 0, 1, 1, 0], "correct": _YES},
        "correct",
        (N,),
    ),
    "changepoint": Kind(
        models.changepoint, {"year": _T, "disasters": [5, 4, 6, 5, 1, 0, 1, 2]}, "disasters", (N,)
    ),
    "meta_analysis": Kind(models.meta_analysis, {"se": _ERRORS, "effect": _Z}, "effect", (N,)),
    "weights_dict": Kind(models.weights_dict, {**_PAIR, "y": [0, 1, 2, 1, 1, 2, 0, 2]}, "y", (N, 3)),
    "two_outcomes": Kind(
        models.two_outcomes, {"x": _T, "height": _Z, "smoker": _YES}, ("height", "smoker"), (N, 2)
    ),
}
