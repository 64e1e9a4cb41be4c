"""The scheme ``tempering``: the posterior sampled anew at every T (T6).

Exact up to the engine, for any model: the ground truth that a Gaussian flow of draws is held
against, and the flow itself where the prior has no map to N(0, 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import xarray as xr
from jax import Array

from brg_prob.charts import Atlas, Chart
from brg_prob.charts.site_draws import sites_alone
from brg_prob.flow.scheme import Scheme
from brg_prob.posterior import Engine, Tempers
from brg_prob.posterior.engine import as_data
from brg_prob.posterior.model_tree import data_of, held_out_rows
from brg_prob.results import stored_sites


@dataclass(frozen=True)
class Tempering(Scheme):
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

    name: ClassVar[str] = "tempering"
    anew: ClassVar[bool] = True

    def with_engine(self, engine: Any) -> Tempering:
        """Return the same with the engine of the run, where it names none."""
        chosen = self.engine or engine
        if not isinstance(chosen, Tempers):
            raise ValueError(
                f"scheme = {self!r} runs an engine of any model anew at every T; use engine=NUTS(), "
                "Laplace() or SVI(), or Diffusion(), which is exact for a linear readout"
            )
        return replace(self, engine=chosen)

    def check(self, atlas: Atlas, posterior: xr.DataTree) -> None:
        """Raise ValueError without draws of the latent sites."""
        if not stored_sites(posterior):
            raise ValueError(
                "Tempering() needs the posterior of an engine of any model, such as fit(engine=NUTS()); the "
                "closed-form posterior of a linear readout is exact at every T: use Diffusion()"
            )

    def origins(
        self, network: Any, posterior: xr.DataTree, scales: Sequence[float], key: Array
    ) -> tuple[xr.DataTree, ...]:
        """Return the posterior sampled at each T, its latent sites alone; at its own T the one handed in.

        Raises
        ------
        ValueError
            No engine, or one that cannot sample.
        """
        engine = self.engine
        if not isinstance(engine, Tempers):
            raise ValueError(
                f"engine = {engine!r} cannot sample a model anew; use Tempering(engine=NUTS()), Laplace() or "
                "SVI()"
            )
        data = as_data(*data_of(posterior), held_out_rows(posterior), missing=True)
        sizes, own = posterior["posterior"].sizes, float(posterior.attrs["observations"])
        below = [scale for scale in scales if scale != own]
        draws = sizes["chain"] * sizes["draw"]
        found: Iterable[xr.DataTree] = ()
        if below and self.warm_start:
            found = engine.along(network, data, key=key, draws=draws, scales=below, start=posterior)
        elif below:
            keys = [jax.random.fold_in(key, number) for number in range(len(below))]
            each = zip(below, keys, strict=True)
            found = (engine.fit(network, data, key=k, draws=draws, observations=t) for t, k in each)
        return (*(posterior for scale in scales if scale == own), *map(sites_alone, found))

    def walk(
        self, chart: Chart, origins: Sequence[xr.DataTree], scales: Sequence[float], start: float
    ) -> Iterator[Any]:
        """Yield the draws that were sampled at each T."""
        return map(chart.read, origins)
