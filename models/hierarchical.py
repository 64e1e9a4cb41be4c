"""A hierarchical regression: every group has its own line, and the groups' lines have a law of their own.

y_i ~ N(f_i, σ²), f_i = a_g + x_i·b_g for the group g of row i; a_g ~ N(a, τ_a²), b_g ~ N(b, τ_b²), all
five unknown. The spreads τ decide how far groups are pooled. The likelihood depends on the lines and on
σ only: as many directions as their law has parameters carry no information (T5).

Sources: Gelman, Bayesian Anal. 1 (2006) 515, doi:10.1214/06-BA117A; Betancourt, Girolami,
arXiv:1312.0906 (the funnel).
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
class Hierarchical:
    """Partially pooled regression as a NumPyro model: ``network(x, y=None)``.

    The first column of ``x`` is the number of the row's group, 0 to ``groups`` − 1, the others are
    covariates. Sites: ``level``, ``level_spread``; ``trend`` (c,), ``trend_spread`` (c,) for c covariates;
    ``intercept`` (groups,), ``slope`` (groups, c); ``noise``; the deterministic field ``f`` (n,); the
    observation ``y`` ~ N(f, noise²).

    Attributes
    ----------
    groups
        Number of groups.
    dim
        Number c of covariates; 0: a level per group.
    level_scale, trend_scale
        Prior standard deviations of the mean intercept and the mean slopes, in units of y.
    spread_scale
        Scale of the half-normal priors of all spreads, in the unit of y.
    noise_scale
        Scale of the half-normal prior of σ, in the unit of y.

    Raises
    ------
    ValueError
        An option out of range, or inputs of another dimension.

    Examples
    --------
    >>> import jax
    >>> from numpyro import handlers
    >>> network = Hierarchical(groups=2, dim=1)
    >>> x = jnp.array([[0.0, 0.5], [1.0, 0.5], [1.0, -0.5]])
    >>> trace = handlers.trace(handlers.seed(network, jax.random.key(0))).get_trace(x)
    >>> trace["intercept"]["value"].shape, trace["slope"]["value"].shape, trace["f"]["value"].shape
    ((2,), (2, 1), (3,))
    """

    groups: int = 2
    dim: int = 1
    level_scale: float = 1.0
    trend_scale: float = 1.0
    spread_scale: float = 1.0
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("groups", 1), ("dim", 0)):
            if getattr(self, name) < least or getattr(self, name) != int(getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)} must be a whole number, at least {least}")
        for name in ("level_scale", "trend_scale", "spread_scale", "noise_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")

    @classmethod
    def for_inputs(cls, x: Any, **options: Any) -> Self:
        """Return the regression whose groups and covariates fit inputs (n, 1 + c), options being kept."""
        if np.ndim(x) != 2 or np.size(x) == 0:
            raise ValueError(
                f"x has shape {np.shape(x)}; inputs are (n, 1 + c), the first column the group's number"
            )
        group = np.asarray(x)[:, 0]
        if np.any(group < 0) or np.any(group != np.round(group)):
            raise ValueError("the first column of x must hold whole numbers of groups, counted from 0")
        return cls(**{"groups": int(group.max()) + 1, "dim": np.shape(x)[1] - 1, **options})

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run the generative model once; ``y=None`` means not observed."""
        x = jnp.asarray(x, dtype=float)
        if x.ndim != 2 or x.shape[1] != 1 + self.dim:
            raise ValueError(
                f"x has shape {x.shape}; Hierarchical(dim={self.dim}) takes inputs of shape "
                f"(n, {1 + self.dim}), the group's number first"
            )
        group = x[:, 0].astype(int)
        level = numpyro.sample("level", dist.Normal(0.0, self.level_scale))
        level_spread = numpyro.sample("level_spread", dist.HalfNormal(self.spread_scale))
        intercept = numpyro.sample(
            "intercept", dist.Normal(level, level_spread).expand([self.groups]).to_event(1)
        )
        f = intercept[group]
        if self.dim:
            wide = [self.dim]
            trend = numpyro.sample("trend", dist.Normal(0.0, self.trend_scale).expand(wide).to_event(1))
            trend_spread = numpyro.sample(
                "trend_spread", dist.HalfNormal(self.spread_scale).expand(wide).to_event(1)
            )
            lines = dist.Normal(trend, trend_spread).expand([self.groups, self.dim]).to_event(2)
            f = f + jnp.sum(numpyro.sample("slope", lines)[group] * x[:, 1:], axis=1)
        f = numpyro.deterministic("f", f)
        noise = numpyro.sample("noise", dist.HalfNormal(self.noise_scale))
        with numpyro.plate("observations", x.shape[0]):
            return numpyro.sample("y", dist.Normal(f, noise), obs=y)
