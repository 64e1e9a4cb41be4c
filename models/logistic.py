"""Logistic regression: P(y = 1) = 1/(1 + e^(−f)) with the linear log-odds f = b + x·w.

Its Fisher information about the log-odds is p(1 − p) per observation, so the metric of (b, w) is
E_x[p(1 − p) (1, x)ᵀ(1, x)]: collinear columns and classes that are told apart with certainty make
directions that the data do not determine (T5).

Source: Gelman, Jakulin, Pittau, Su, arXiv:0901.4011 (weakly informative priors).
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
class LogisticRegression:
    """Logistic regression as a NumPyro model: ``network(x, y=None)``.

    Sites: ``intercept``, ``slope`` (d,); the deterministic log-odds ``f`` (n,); the observation
    ``y`` ~ Bernoulli, 0 or 1.

    Attributes
    ----------
    dim
        Dimension d of the inputs.
    slope_scale
        Prior standard deviation of each slope: log-odds per unit of its column.
    intercept_scale
        Prior standard deviation of the log-odds at x = 0.

    Raises
    ------
    ValueError
        An option out of range, or inputs of another dimension.

    Examples
    --------
    >>> import jax
    >>> from numpyro import handlers
    >>> network = LogisticRegression.for_inputs(jnp.ones((3, 2)), slope_scale=2.0)
    >>> trace = handlers.trace(handlers.seed(network, jax.random.key(0))).get_trace(jnp.ones((3, 2)))
    >>> trace["slope"]["value"].shape, trace["y"]["value"].shape
    ((2,), (3,))
    """

    dim: int = 1
    slope_scale: float = 1.0
    intercept_scale: float = 2.5

    def __post_init__(self) -> None:
        if self.dim < 1 or self.dim != int(self.dim):
            raise ValueError(f"dim = {self.dim} must be a whole number, at least 1")
        for name in ("slope_scale", "intercept_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")

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
                f"x has shape {x.shape}; LogisticRegression(dim={self.dim}) takes inputs of shape "
                f"(n, {self.dim})"
            )
        intercept = numpyro.sample("intercept", dist.Normal(0.0, self.intercept_scale))
        slope = numpyro.sample("slope", dist.Normal(0.0, self.slope_scale).expand([self.dim]).to_event(1))
        f = numpyro.deterministic("f", intercept + x @ slope)
        with numpyro.plate("observations", x.shape[0]):
            return numpyro.sample("y", dist.Bernoulli(logits=f), obs=y)
