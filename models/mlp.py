"""A fully connected network in the `ntk` parameterisation (T2).

Pre-activations z = (σ_w/√fan_in) W h + σ_b b with all W, b ~ N(0, 1); the readout is one more
such layer, f = (σ_w/√N) a·h + σ_b b. The readout is conditioned in closed form, the hidden
layers are sampled.

Sources: Lee et al., arXiv:1711.00165; Roberts, Yaida, Hanin, arXiv:2106.10165.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

from brg_prob.network import ReadoutPrior, isotropic_prior

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "abs": jnp.abs,
        "cos": jnp.cos,
        "erf": jax.scipy.special.erf,
        "gelu": partial(jax.nn.gelu, approximate=False),
        "identity": lambda z: z,
        "relu": jax.nn.relu,
        "sin": jnp.sin,
        "tanh": jnp.tanh,
    }
)


@dataclass(frozen=True)
class Mlp:
    """A multilayer perceptron as a NumPyro model: ``network(x, y=None)``.

    Sites: ``W0`` (N_0, d), ``W1`` (N_1, N_0), … and, if ``bias_variance`` > 0, ``b0`` (N_0,), …;
    ``readout`` (P,) or (P, outputs), where P is the last width, plus one for the readout's bias
    if there are biases; ``noise`` if ``noise_spread`` > 0; the deterministic field ``f`` (n,) or
    (n, outputs); the observation ``y`` ~ N(f, noise²).

    Attributes
    ----------
    widths
        Neurons per hidden layer; ``()`` is a linear model.
    activation
        Name of the activation; see ``ACTIVATIONS``.
    weight_variance, bias_variance
        σ_w² and σ_b², the same in every layer.
    noise
        σ, standard deviation of an observation, in the unit of y; its median where it is sampled.
    readout_mean
        Prior mean of the raw readout weights, whose prior variance is 1.
    noise_spread
        If > 0, σ ~ LogNormal(log noise, noise_spread).
    outputs
        Number of outputs, which share the hidden layers.
    dim
        Dimension d of the inputs.

    Raises
    ------
    ValueError
        An option out of range.

    Examples
    --------
    >>> network = Mlp(widths=(5,), activation="erf", dim=2)
    >>> hidden = network.sample_hidden(jax.random.key(0))
    >>> network.features(jnp.ones((3, 2)), hidden).shape
    (3, 5)
    """

    widths: tuple[int, ...] = (256,)
    activation: str = "relu"
    weight_variance: float = 2.0
    bias_variance: float = 0.0
    noise: float = 0.5
    readout_mean: float = 0.0
    noise_spread: float = 0.0
    outputs: int = 1
    dim: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # a list would not hash
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation = {self.activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}"
            )
        for name, value in (
            ("outputs", self.outputs),
            ("dim", self.dim),
            *(("widths", w) for w in self.widths),
        ):
            if value < 1 or value != int(value):
                raise ValueError(f"{name} = {getattr(self, name)} must hold whole numbers, at least 1")
        for name in ("weight_variance", "noise"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")
        for name in ("bias_variance", "noise_spread"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be finite and not negative")
        if not math.isfinite(self.readout_mean):
            raise ValueError(f"readout_mean = {self.readout_mean} must be finite")

    @classmethod
    def for_inputs(cls, x: Any, **options: Any) -> Self:
        """Return the network whose ``dim`` fits inputs (n, d), options given being kept."""
        if np.ndim(x) != 2:
            raise ValueError(
                f"x has shape {np.shape(x)}; inputs are (n, d), so use x[:, None] for one dimension"
            )
        return cls(**{"dim": np.shape(x)[1], **options})

    # -- capability LinearReadout

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Draw all hidden weights and biases from N(0, 1)."""
        priors = self._hidden_priors()
        keys = jax.random.split(key, max(len(priors), 1))
        return {name: prior.sample(k) for (name, prior), k in zip(priors.items(), keys, strict=False)}

    def features(self, x: Any, hidden: Mapping[str, Array]) -> Array:
        """Return what the readout weights multiply, (n, P): (σ_w/√N) h, and σ_b where there are biases."""
        x = jnp.asarray(x, dtype=float)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(
                f"x has shape {x.shape}; Mlp(dim={self.dim}) takes inputs of shape (n, {self.dim})"
            )
        activation = ACTIVATIONS[self.activation]
        h = x
        for layer in range(len(self.widths)):
            z = math.sqrt(self.weight_variance / h.shape[1]) * h @ hidden[f"W{layer}"].T
            if self.bias_variance > 0:
                z = z + math.sqrt(self.bias_variance) * hidden[f"b{layer}"][None, :]
            h = activation(z)
        h = math.sqrt(self.weight_variance / h.shape[1]) * h
        if self.bias_variance > 0:
            h = jnp.concatenate([h, jnp.full_like(h[:, :1], math.sqrt(self.bias_variance))], axis=1)
        return h

    def readout_prior(self, hidden: Mapping[str, Array]) -> ReadoutPrior:
        """Return independent weights N(readout_mean, 1)."""
        return isotropic_prior(self._parameters(), self.outputs, mean=self.readout_mean)

    # -- the generative model

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run the generative model once; ``y=None`` means not observed."""
        hidden = {name: numpyro.sample(name, prior) for name, prior in self._hidden_priors().items()}
        features = self.features(x, hidden)
        shape = (self._parameters(),) if self.outputs == 1 else (self._parameters(), self.outputs)
        prior = dist.Normal(self.readout_mean, 1.0).expand(shape).to_event(len(shape))
        f = numpyro.deterministic("f", features @ numpyro.sample("readout", prior))
        noise: Any = self.noise
        if self.noise_spread > 0:
            noise = numpyro.sample("noise", dist.LogNormal(math.log(self.noise), self.noise_spread))
        with numpyro.plate("observations", f.shape[0]):
            return numpyro.sample("y", dist.Normal(f, noise).to_event(f.ndim - 1), obs=y)

    def _hidden_priors(self) -> dict[str, dist.Distribution]:
        """Return the distributions of the hidden sites, layer by layer."""
        priors = {}
        for layer, (fan_in, width) in enumerate(pairwise((self.dim, *self.widths))):
            priors[f"W{layer}"] = dist.Normal(0.0, 1.0).expand([width, fan_in]).to_event(2)
            if self.bias_variance > 0:
                priors[f"b{layer}"] = dist.Normal(0.0, 1.0).expand([width]).to_event(1)
        return priors

    def _parameters(self) -> int:
        """Return the number P of readout weights per output."""
        return (self.dim, *self.widths)[-1] + (self.bias_variance > 0)
