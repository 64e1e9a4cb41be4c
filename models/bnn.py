"""A Bayesian neural network: a fully connected network with every weight, bias and the noise sampled.

z_l = W_l h_{l−1}/√N_{l−1} + b_l, h_l = φ(z_l), f = A·h_L/√N_L + c with all weights W ~ N(0, σ_w²), all
biases N(0, σ_b²). Neurons may be exchanged, and those of an odd φ may change their sign, without a change
of the field, so the posterior has many equal modes and directions that no data determine.

Sources: Neal, Bayesian Learning for Neural Networks, doi:10.1007/978-1-4612-0745-3; Izmailov, Vikram,
Hoffman, Wilson, arXiv:2104.14421.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

from brg_prob.activations import activation as find_activation


@dataclass(frozen=True)
class BayesianNetwork:
    """A Bayesian neural network as a NumPyro model: ``network(x, y=None)``.

    Sites: ``W0`` (N_1, d), ``b0`` (N_1,), … for each hidden layer, the readout ``A`` (N_L,) and ``c``,
    ``noise``; the deterministic field ``f`` (n,); the observation ``y`` ~ N(f, noise²). It promises no
    linear readout: the readout is sampled with the rest.

    Attributes
    ----------
    widths
        Neurons per hidden layer.
    activation
        Name of the activation; see :func:`brg_prob.activations.names`.
    weight_scale, bias_scale
        σ_w and σ_b.
    noise_scale
        Scale of the half-normal prior of the noise, in the unit of y.
    dim
        Dimension d of the inputs.

    Raises
    ------
    ValueError
        An option out of range, or inputs of another dimension.

    Examples
    --------
    >>> import jax
    >>> from numpyro import handlers
    >>> network = BayesianNetwork(widths=(4, 3), dim=2)
    >>> trace = handlers.trace(handlers.seed(network, jax.random.key(0))).get_trace(jnp.ones((5, 2)))
    >>> {name: site["value"].shape for name, site in trace.items() if name in ("W0", "b1", "A", "f")}
    {'W0': (4, 2), 'b1': (3,), 'A': (3,), 'f': (5,)}
    """

    widths: tuple[int, ...] = (8,)
    activation: str = "tanh"
    weight_scale: float = 1.5
    bias_scale: float = 1.0
    noise_scale: float = 1.0
    dim: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.widths, list):  # which would not hash
            object.__setattr__(self, "widths", tuple(self.widths))
        if not self.widths or any(width < 1 or width != int(width) for width in self.widths):
            raise ValueError(f"widths = {self.widths} must hold whole numbers, at least 1")
        if self.dim < 1 or self.dim != int(self.dim):
            raise ValueError(f"dim = {self.dim} must be a whole number, at least 1")
        for name in ("weight_scale", "bias_scale", "noise_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")
        if find_activation(self.activation).normalised:
            raise ValueError(
                f"activation = {self.activation!r} needs the variance at infinite width; use another"
            )

    @classmethod
    def for_inputs(cls, x: Any, **options: Any) -> Self:
        """Return the network whose ``dim`` fits inputs (n, d), options given being kept."""
        if np.ndim(x) != 2:
            raise ValueError(
                f"x has shape {np.shape(x)}; inputs are (n, d), so use x[:, None] for one dimension"
            )
        return cls(**{"dim": np.shape(x)[1], **options})

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run the generative model once; ``y=None`` means not observed."""
        h = jnp.asarray(x, dtype=float)
        if h.ndim != 2 or h.shape[1] != self.dim:
            raise ValueError(
                f"x has shape {h.shape}; BayesianNetwork(dim={self.dim}) takes inputs of shape "
                f"(n, {self.dim})"
            )
        phi = find_activation(self.activation)
        for layer, (fan_in, width) in enumerate(pairwise((self.dim, *self.widths))):
            w = self._sample(f"W{layer}", self.weight_scale, (width, fan_in))
            b = self._sample(f"b{layer}", self.bias_scale, (width,))
            h = phi(h @ w.T / math.sqrt(fan_in) + b[None, :])
        a = self._sample("A", self.weight_scale, self.widths[-1:])
        c = numpyro.sample("c", dist.Normal(0.0, self.bias_scale))
        f = numpyro.deterministic("f", h @ a / math.sqrt(self.widths[-1]) + c)
        noise = numpyro.sample("noise", dist.HalfNormal(self.noise_scale))
        with numpyro.plate("observations", f.shape[0]):
            return numpyro.sample("y", dist.Normal(f, noise), obs=y)

    @staticmethod
    def _sample(name: str, scale: float, shape: tuple[int, ...]) -> Array:
        """Sample independent normal weights."""
        return numpyro.sample(name, dist.Normal(0.0, scale).expand(shape).to_event(len(shape)))
