"""Poisson regression: counts y ~ Poisson(e^f) with the linear log-rate f = b + x·w.

A count of rate e^f carries the Fisher information e^f about f, so the metric of (b, w) is
E_x[e^f (1, x)ᵀ(1, x)] (T5). Counts that vary more than their mean leave that metric too large; with
``overdispersion`` they are negative binomial, of variance μ + μ²/concentration.

Source: McCullagh, Nelder, Generalized Linear Models, doi:10.1201/9780203753736.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array


@dataclass(frozen=True)
class PoissonRegression:
    """Poisson regression as a NumPyro model: ``network(x, y=None)``.

    Sites: ``intercept``, ``slope`` (d,); ``concentration`` with ``overdispersion``; the deterministic
    log-rate ``f`` (n,); the observation ``y``, a count.

    Attributes
    ----------
    dim
        Dimension d of the inputs.
    slope_scale
        Prior standard deviation of each slope: change of the log-rate per unit of its column.
    intercept_mean, intercept_scale
        Prior mean and standard deviation of the log-rate at x = 0.
    overdispersion
        Whether counts are negative binomial, with concentration ~ LogNormal(0, 1).

    Raises
    ------
    ValueError
        An option out of range, or inputs of another dimension.

    Examples
    --------
    >>> import jax
    >>> from numpyro import handlers
    >>> network = PoissonRegression(dim=2, overdispersion=True)
    >>> list(handlers.trace(handlers.seed(network, jax.random.key(0))).get_trace(jnp.ones((3, 2))))
    ['intercept', 'slope', 'f', 'concentration', 'observations', 'y']
    """

    dim: int = 1
    slope_scale: float = 1.0
    intercept_mean: float = 0.0
    intercept_scale: float = 2.5
    overdispersion: bool = False

    def __post_init__(self) -> None:
        if self.dim < 1 or self.dim != int(self.dim):
            raise ValueError(f"dim = {self.dim} must be a whole number, at least 1")
        for name in ("slope_scale", "intercept_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")
        if not math.isfinite(self.intercept_mean):
            raise ValueError(f"intercept_mean = {self.intercept_mean} must be finite")

    @classmethod
    def for_inputs(cls, x: Any, **options: Any) -> Self:
        """Return the regression whose ``dim`` fits inputs (n, d), options given being kept."""
        if np.ndim(x) != 2:
            raise ValueError(
                f"x has shape {np.shape(x)}; inputs are (n, d), so use x[:, None] for one dimension"
            )
        return cls(**{"dim": np.shape(x)[1], **options})

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run the generative model once; ``y=None`` means not observed."""
        x = jnp.asarray(x, dtype=float)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(
                f"x has shape {x.shape}; PoissonRegression(dim={self.dim}) takes inputs of shape "
                f"(n, {self.dim})"
            )
        intercept = numpyro.sample("intercept", dist.Normal(self.intercept_mean, self.intercept_scale))
        slope = numpyro.sample("slope", dist.Normal(0.0, self.slope_scale).expand([self.dim]).to_event(1))
        f = numpyro.deterministic("f", intercept + x @ slope)
        counts: dist.Distribution = dist.Poisson(jnp.exp(f))
        if self.overdispersion:
            concentration = numpyro.sample("concentration", dist.LogNormal(0.0, 1.0))
            counts = dist.NegativeBinomial2(jnp.exp(f), concentration)
        with numpyro.plate("observations", x.shape[0]):
            return numpyro.sample("y", counts, obs=y)
