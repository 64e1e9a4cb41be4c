"""The scheme ``tempering``: the posterior sampled anew at every T (T6).

Exact up to the engine, for any model: the ground truth that a Gaussian flow of draws is held
against, and the flow itself where the prior has no map to N(0, 1).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.flow.diffusion import Diffusion
from brg_prob.posterior import Engine
from brg_prob.posterior.engine import as_data
from brg_prob.posterior.model_tree import data_of


@dataclass(frozen=True)
class Tempering:
    """Scheme: run an engine again at smaller and smaller T.

    Scales are numbers of observations T, descending from the posterior's own.

    Attributes
    ----------
    engine
        An engine of any model that samples: ``NUTS()``, ``SVI()``, ``Laplace()``. None: the run's own.
    warm_start
        Whether each T starts from the draws at the last one, where the engine can.
    """

    engine: Engine | None = None
    warm_start: bool = True

    coordinate: ClassVar[str] = "observations"

    def equivalent_observations(self, scales: Sequence[float]) -> np.ndarray:
        """Return T that each scale stands for: itself."""
        return np.asarray(scales, dtype=float)

    def check_scales(self, scales: Sequence[float], start: float) -> tuple[float, ...]:
        """Return the scales as floats, or raise ValueError if they do not run towards the prior."""
        return Diffusion().check_scales(scales, start)

    def posteriors(
        self, network: Any, posterior: xr.DataTree, scales: Sequence[float], key: Array
    ) -> Iterator[xr.DataTree]:
        """Yield the posterior tree of each T; at the posterior's own T it is that posterior.

        Raises
        ------
        ValueError
            No engine, or one that cannot sample.
        """
        engine = self.engine
        if engine is None or not hasattr(engine, "fit") or not getattr(engine, "any_model", False):
            raise ValueError(
                f"engine = {engine!r} cannot sample a model anew; use Tempering(engine=NUTS()), Laplace() or "
                "SVI()"
            )
        data = as_data(*data_of(posterior), held_out_rows(posterior), missing=True)
        sizes = posterior["posterior"].sizes
        options: dict[str, Any] = {"key": key, "draws": sizes["chain"] * sizes["draw"]}
        last, at = posterior, float(posterior.attrs["observations"])
        below = [scale for scale in scales if scale != at]
        yield from (posterior for scale in scales if scale == at)
        if not below:
            return
        if self.warm_start and hasattr(engine, "along"):
            yield from engine.along(network, data, scales=below, start=posterior, **options)
            return
        warm = self.warm_start and "start" in inspect.signature(engine.fit).parameters
        for number, scale in enumerate(below):
            own = options | {"key": jax.random.fold_in(key, number)} | ({"start": last} if warm else {})
            last = engine.fit(network, data, observations=scale, **own)
            yield last


def held_out_rows(posterior: xr.DataTree) -> tuple[np.ndarray, np.ndarray] | None:
    """Return held-out inputs and targets of a model's posterior, or None."""
    if "predictions_constant_data" not in posterior.children:
        return None
    group = posterior["predictions_constant_data"]
    return np.asarray(group["inputs"].values), np.asarray(group["targets"].values)
