"""A fully connected network of any depth: per-layer widths, activations and variances (T2, T11).

Pre-activations z = (σ_w/√fan_in) W h + σ_b b with all W, b ~ N(0, 1), the `ntk` parameterisation;
the readout is one more such layer, f = (σ_w/√N) a·h + σ_b b. The readout is conditioned in closed
form, the hidden layers are sampled, or fixed by a seed. ``fan_in=False`` leaves the factors out and
gives the weights their raw prior, W ~ N(0, σ_w²), as published experiments do.

Sources: Lee et al., arXiv:1711.00165; Roberts, Yaida, Hanin, arXiv:2106.10165; Howard, Klinger,
Maiti, Stapleton, arXiv:2405.17538.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

from brg_prob.activations import Activation
from brg_prob.activations import activation as find_activation
from brg_prob.kernels import nngp_kernel
from brg_prob.network import ReadoutPrior, isotropic_prior

Spec = str | Callable[[Array], Array] | Activation
"""An activation: its name, a vectorised function, or what :func:`brg_prob.activations.activation` returns."""


@dataclass(frozen=True)
class Mlp:
    """A multilayer perceptron as a NumPyro model: ``network(x, y=None)``.

    Sites: ``W0`` (N_0, d), ``W1`` (N_1, N_0), … and, in layers with a bias, ``b0`` (N_0,), …, unless
    ``hidden_seed`` fixes them; ``readout`` (P,) or (P, outputs), where P is the last width, plus one
    if the readout has a bias; ``noise`` if ``noise_spread`` > 0; the deterministic field ``f`` (n,)
    or (n, outputs); the observation ``y`` ~ N(f, noise²).

    Capabilities: LinearReadout and InfiniteWidth; Covariance where the covariance is known exactly
    at this width, that is with at most one sampled hidden layer and ``readout_mean = 0``.

    Attributes
    ----------
    widths
        Neurons per hidden layer; ``()`` is a linear model.
    activation
        Name of the activation (relu, tanh, leaky_relu(0.2), …) or a vectorised function; a tuple
        has one per hidden layer. See :func:`brg_prob.activations.names`.
    weight_variance, bias_variance
        σ_w² > 0 and σ_b² ≥ 0; a tuple has one per layer, the last for the readout. σ_b² = 0: no bias.
    noise
        σ, standard deviation of an observation, in the unit of y; its median where it is sampled.
    readout_mean
        Prior mean of the raw readout weights, whose prior variance is 1 (σ_w² without fan-in).
    noise_spread
        If > 0, σ ~ LogNormal(log noise, noise_spread).
    outputs
        Number of outputs, which share the hidden layers.
    dim
        Dimension d of the inputs.
    fan_in
        Whether weights are divided by √fan_in; without, W ~ N(0, σ_w²) and b ~ N(0, σ_b²) enter as
        they are.
    hidden_seed
        Fixes the hidden layers at the draw that ``sample_hidden(jax.random.key(hidden_seed))``
        makes where they are sampled; none: they are sampled.
    skip
        Add each hidden layer's pre-activations to those of the layer before, z ← z + layer(φ(z)),
        from the second layer on; the widths must be equal.

    Raises
    ------
    ValueError
        An option out of range, or not one per layer.

    Examples
    --------
    >>> network = Mlp(widths=(5, 3), activation=("erf", "relu"), bias_variance=(0.1, 0.0, 0.0), dim=2)
    >>> hidden = network.sample_hidden(jax.random.key(0))
    >>> {name: leaf.shape for name, leaf in hidden.items()}
    {'W0': (5, 2), 'b0': (5,), 'W1': (3, 5)}
    >>> network.features(jnp.ones((4, 2)), hidden).shape
    (4, 3)
    """

    widths: tuple[int, ...] = (256,)
    activation: str | tuple[str, ...] | Spec | tuple[Spec, ...] = "relu"
    weight_variance: float | tuple[float, ...] = 2.0
    bias_variance: float | tuple[float, ...] = 0.0
    noise: float = 0.5
    readout_mean: float = 0.0
    noise_spread: float = 0.0
    outputs: int = 1
    dim: int = 1
    fan_in: bool = True
    hidden_seed: int | None = None
    skip: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "activation", "weight_variance", "bias_variance"):
            if isinstance(getattr(self, name), list | np.ndarray):  # which would not hash
                object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_layers()
        for name in ("outputs", "dim"):
            if getattr(self, name) < 1 or getattr(self, name) != int(getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)} must hold whole numbers, at least 1")
        if not 0 < self.noise < math.inf:
            raise ValueError(f"noise = {self.noise} must be positive and finite")
        if not 0 <= self.noise_spread < math.inf:
            raise ValueError(f"noise_spread = {self.noise_spread} must be finite and not negative")
        if not math.isfinite(self.readout_mean):
            raise ValueError(f"readout_mean = {self.readout_mean} must be finite")
        seed = self.hidden_seed
        if seed is not None and not (seed == int(seed) and 0 <= seed < 2**32):
            raise ValueError(f"hidden_seed = {seed} must be a whole number from 0 to 4294967295, or None")
        # A method would promise the capability to every depth; this promise is kept.
        if self.readout_mean == 0 and (len(self.widths) < 2 or seed is not None):
            object.__setattr__(self, "covariance", self._covariance)

    def _check_layers(self) -> None:
        """Refuse widths, activations and variances that do not make layers."""
        if any(width < 1 or width != int(width) for width in self.widths):
            raise ValueError(f"widths = {self.widths} must hold whole numbers, at least 1")
        layers = len(self.widths)
        if isinstance(self.activation, tuple) and len(self.activation) != layers:
            raise ValueError(
                f"activation = {self.activation} names {len(self.activation)} for {layers} hidden layer(s); "
                "give one for all, or one per width"
            )
        self._activations()
        for name, low in (
            ("weight_variance", "positive and finite"),
            ("bias_variance", "finite and not negative"),
        ):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != layers + 1:
                raise ValueError(
                    f"{name} = {value} has {len(value)} for {layers} hidden layer(s) and the readout; "
                    f"give one for all, or {layers + 1}"
                )
            least = math.ulp(0) if name == "weight_variance" else 0
            if not all(least <= each < math.inf for each in self._by_layer(value, layers + 1)):
                raise ValueError(f"{name} = {value} must be {low}")
        if self.skip and len(set(self.widths)) > 1:
            raise ValueError(f"skip = True needs equal widths, not {self.widths}; make them equal")

    @classmethod
    def for_inputs(cls, x: Any, **options: Any) -> Self:
        """Return the network whose ``dim`` fits inputs (n, d), options given being kept."""
        if np.ndim(x) != 2:
            raise ValueError(
                f"x has shape {np.shape(x)}; inputs are (n, d), so use x[:, None] for one dimension"
            )
        return cls(**{"dim": np.shape(x)[1], **options})

    @classmethod
    def published(cls, **options: Any) -> Self:
        """Return the network of the experiment in arXiv:2405.17538 (T11), options given being kept.

        2–10–10–2000–1, no biases, activations identity, ReLU, ReLU, all weights N(0, 1) without
        fan-in; observations of unit noise, for the Fisher metric.

        Examples
        --------
        >>> Mlp.published(hidden_seed=0).features(jnp.ones((1, 2)), {}).shape
        (1, 2000)
        """
        experiment = {
            "widths": (10, 10, 2000),
            "activation": ("identity", "relu", "relu"),
            "weight_variance": 1.0,
            "noise": 1.0,
            "dim": 2,
            "fan_in": False,
        }
        return cls(**experiment | options)

    # -- capability LinearReadout

    def sample_hidden(self, key: Array) -> dict[str, Array]:
        """Draw all hidden weights and biases from their priors; ``{}`` where a seed fixes them."""
        return {} if self.hidden_seed is not None else self._draw_hidden(key)

    def features(self, x: Any, hidden: Mapping[str, Array]) -> Array:
        """Return what the readout weights multiply, (n, P).

        (σ_w/√N) h and, where the readout has a bias, σ_b; without fan-in h and σ_b/σ_w, so that all
        weights share the prior variance σ_w².
        """
        h = x = self._inputs(x)
        if self.hidden_seed is not None:
            hidden = self._fixed_hidden()
        weights, biases = self._weight_variances(), self._bias_variances()
        variances = self._variances(x)
        z = jnp.zeros_like(x)
        for layer, phi in enumerate(self._activations()):
            step = self._factor(weights[layer], h.shape[1]) * h @ hidden[f"W{layer}"].T
            if biases[layer] > 0:
                step = step + self._factor(biases[layer]) * hidden[f"b{layer}"][None, :]
            z = z + step if self.skip and layer > 0 else step
            h = phi(z, variances[layer])
        features = self._factor(weights[-1], h.shape[1]) * h
        if biases[-1] > 0:
            column = math.sqrt(biases[-1] / (1 if self.fan_in else weights[-1]))
            features = jnp.concatenate([features, jnp.full_like(features[:, :1], column)], axis=1)
        return features

    def readout_prior(self, hidden: Mapping[str, Array]) -> ReadoutPrior:
        """Return independent weights N(readout_mean, 1), of variance σ_w² without fan-in."""
        return isotropic_prior(
            self._parameters(), self.outputs, mean=self.readout_mean, variance=self._readout_variance()
        )

    # -- capabilities InfiniteWidth and Covariance

    def kernel(self, x1: Any, x2: Any) -> Array:
        """Return the limit of ΦC0Φᵀ for wide layers, (n1, n2): T2's recursion.

        Without fan-in there is no limit; then it is the leading order in 1/width at these widths
        (σ_w² times the fan-in of each layer in the recursion). For at most one hidden layer it is
        exact at every width, with fan-in or without (T3).

        Examples
        --------
        >>> round(float(Mlp().kernel([[1.0]], [[1.0]])[0, 0]), 6)
        2.0
        """
        same = x2 is x1
        x1 = self._inputs(x1)
        x2 = x1 if same else self._inputs(x2)
        weights, biases = self._limit_variances(), self._bias_variances()
        if self.widths and not self.skip:
            return nngp_kernel(
                x1,
                None if same else x2,
                depth=len(self.widths),
                activation=self._activations(),
                weight_variance=weights,
                bias_variance=biases,
            )
        c = biases[0] + weights[0] * (x1 @ x2.T) / self.dim
        first, second = self._variances(x1, every=True), self._variances(x2, every=True)
        for layer, phi in enumerate(self._activations()):
            kept = c if layer + 1 < len(self.widths) else 0.0
            c = kept + biases[layer + 1] + weights[layer + 1] * phi.dual(first[layer], second[layer].T, c)
        return c

    def _covariance(self, x1: Any, x2: Any) -> Array:
        """Return the covariance of one output, (n1, n2), exact at this width: at most one layer is drawn."""
        if self.hidden_seed is None:
            return self.kernel(x1, x2)
        return self._readout_variance() * self.features(x1, {}) @ self.features(x2, {}).T

    def _variances(self, x: Array, *, every: bool = False) -> list[Any]:
        """Return the prior variance of each layer's pre-activations at infinite width, (n, 1) each.

        None where no activation asks for it (only the normalised exponential of T14 does), unless
        ``every``.
        """
        phis, weights, biases = self._activations(), self._limit_variances(), self._bias_variances()
        if not (every or any(phi.normalised for phi in phis)):
            return [None] * len(phis)
        v = biases[0] + weights[0] * jnp.mean(jnp.square(x), axis=1, keepdims=True)
        found = [v]
        for layer, phi in enumerate(phis[:-1], start=1):
            v = (v if self.skip else 0.0) + biases[layer] + weights[layer] * phi.dual(v, v, v)
            found.append(v)
        return found

    # -- the generative model

    def __call__(self, x: Any, y: Any = None) -> Array:
        """Run the generative model once; ``y=None`` means not observed."""
        hidden = {name: numpyro.sample(name, prior) for name, prior in self._hidden_sites().items()}
        features = self.features(x, hidden)
        shape = (self._parameters(),) if self.outputs == 1 else (self._parameters(), self.outputs)
        deviation = math.sqrt(self._readout_variance())
        prior = dist.Normal(self.readout_mean, deviation).expand(shape).to_event(len(shape))
        f = numpyro.deterministic("f", features @ numpyro.sample("readout", prior))
        noise: Any = self.noise
        if self.noise_spread > 0:
            noise = numpyro.sample("noise", dist.LogNormal(math.log(self.noise), self.noise_spread))
        with numpyro.plate("observations", f.shape[0]):
            return numpyro.sample("y", dist.Normal(f, noise).to_event(f.ndim - 1), obs=y)

    def _hidden_sites(self) -> dict[str, dist.Distribution]:
        """Return the distributions of the hidden sites; none where a seed fixes them."""
        return {} if self.hidden_seed is not None else self._hidden_priors()

    def _hidden_priors(self) -> dict[str, dist.Distribution]:
        """Return the distributions of the hidden weights and biases, layer by layer."""
        priors = {}
        weights, biases = self._weight_variances(), self._bias_variances()
        for layer, (fan_in, width) in enumerate(pairwise((self.dim, *self.widths))):
            weight, bias = (
                (1.0, 1.0) if self.fan_in else (math.sqrt(weights[layer]), math.sqrt(biases[layer]))
            )
            priors[f"W{layer}"] = dist.Normal(0.0, weight).expand([width, fan_in]).to_event(2)
            if biases[layer] > 0:
                priors[f"b{layer}"] = dist.Normal(0.0, bias).expand([width]).to_event(1)
        return priors

    def _draw_hidden(self, key: Array) -> dict[str, Array]:
        """Draw all hidden weights and biases."""
        priors = self._hidden_priors()
        keys = jax.random.split(key, max(len(priors), 1))
        return {name: prior.sample(k) for (name, prior), k in zip(priors.items(), keys, strict=False)}

    def _fixed_hidden(self) -> dict[str, Array]:
        """Return the hidden layers of ``hidden_seed``."""
        # behind the barrier the compiler does not draw them itself, which it does slowly
        data = jax.lax.optimization_barrier(jax.random.key_data(jax.random.key(self.hidden_seed)))
        return self._draw_hidden(jax.random.wrap_key_data(data))

    # -- layer by layer

    def _activations(self) -> tuple[Activation, ...]:
        """Return the activation of each hidden layer."""
        specs = self.activation
        return tuple(map(_activation, specs if isinstance(specs, tuple) else (specs,) * len(self.widths)))

    @staticmethod
    def _by_layer(value: Any, layers: int) -> tuple[float, ...]:
        """Return one value per layer."""
        return tuple(map(float, value if isinstance(value, tuple) else (value,) * layers))

    def _weight_variances(self) -> tuple[float, ...]:
        """Return σ_w² of each layer, the readout last."""
        return self._by_layer(self.weight_variance, len(self.widths) + 1)

    def _bias_variances(self) -> tuple[float, ...]:
        """Return σ_b² of each layer, the readout last."""
        return self._by_layer(self.bias_variance, len(self.widths) + 1)

    def _limit_variances(self) -> tuple[float, ...]:
        """Return the σ_w² of T2's recursion: without fan-in, times the number of inputs of each layer."""
        counts = (self.dim, *self.widths) if not self.fan_in else (1,) * (len(self.widths) + 1)
        return tuple(weight * count for weight, count in zip(self._weight_variances(), counts, strict=True))

    def _factor(self, variance: float, fan_in: int = 1) -> float:
        """Return what weights are multiplied by: σ/√fan_in, or 1 where their prior is raw."""
        return math.sqrt(variance / fan_in) if self.fan_in else 1.0

    def _readout_variance(self) -> float:
        """Return the prior variance of the raw readout weights."""
        return 1.0 if self.fan_in else self._weight_variances()[-1]

    def _parameters(self) -> int:
        """Return the number P of readout weights per output."""
        return (self.dim, *self.widths)[-1] + (self._bias_variances()[-1] > 0)

    def _inputs(self, x: Any) -> Array:
        """Return the inputs as a float array (n, d)."""
        x = jnp.asarray(x, dtype=float)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(
                f"x has shape {x.shape}; Mlp(dim={self.dim}) takes inputs of shape (n, {self.dim})"
            )
        return x


@lru_cache(maxsize=256)
def _activation(spec: Spec) -> Activation:
    """Return an activation; a user's function is looked at once."""
    return find_activation(spec)
