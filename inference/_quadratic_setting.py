"""The published experiment of arXiv:2405.17538 as T11 lists it: data, network, training, cutoffs.

Also the two Fisher rules: averages over fresh inputs, and the exact expectation over the input
distribution, which a network of ReLUs without biases reduces to one angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr

from models.mlp import Mlp

PUBLISHED_CUTOFFS = (
    *(1e-4, 5e-3, 7.5e-3, 1e-2, 5e-2, 7.5e-2, 1e-1, 5e-1, 7.5e-1, 1.0, 5.0, 7.5, 10.0, 50.0, 75.0),
    *(1e2, 5e2, 7.5e2, 1e3, 5e3, 7.5e3, 1e4, 5e4, 7.5e4, 1e5),
)
"""Cutoffs Λ_I on the diagonal of the Fisher matrix, raw units, in 1/observation."""
INPUT_MEAN = (1.0, 1.0)
"""Inputs are N(INPUT_MEAN, 1) in the plane."""
METHODS = ("sgd_exact", "gradient_flow", "stepped_sgd")
_ARC_NODES = 12


@dataclass(frozen=True)
class Setting:
    """Sizes and training of the experiment; the defaults are the published ones.

    Attributes
    ----------
    network
        2–10–10–2000–1 without biases, identity, ReLU, ReLU, all weights N(0, 1), no fan-in.
    train, test
        Numbers of inputs.
    learning_rate, epochs
        η and E of w ← w − 2η(f − y)ϕ, one sample at a time in fixed order.
    compared
        Numbers of Fisher inputs that the published number is compared with.
    counterparts
        Members that are also trained by the other method.
    """

    network: Mlp = Mlp.published()
    train: int = 200
    test: int = 200
    learning_rate: float = 1e-6
    epochs: int = 1000
    compared: tuple[int, ...] = (10, 20, 50, 100, 200)
    counterparts: int = 100

    @property
    def time(self) -> float:
        """Time t = 2ηE of the gradient flow that small steps would follow."""
        return 2 * self.learning_rate * self.epochs


SMALL = Setting(  # ‖ϕ‖² is 30 times smaller, and η larger, so that steps are as far from small as published
    network=Mlp.published(widths=(6, 6, 150)),
    train=40,
    test=40,
    learning_rate=3e-5,
    compared=(10, 50),
    counterparts=20,
)


def target(x: np.ndarray) -> np.ndarray:
    """Return (1 − x_0)² − ½(x_1 − x_0²) of inputs (n, 2), (n,)."""
    return np.asarray(np.square(1 - x[:, 0]) - 0.5 * (x[:, 1] - np.square(x[:, 0])))


def draw_inputs(key: Array, count: int) -> Array:
    """Return inputs (count, 2); the first rows are the same for every count."""
    return jnp.asarray(INPUT_MEAN)[None, :] + jax.random.normal(key, (count, 2))


class Data(NamedTuple):
    """Noiseless data, the same for all members: inputs (n, 2), (t, 2) and targets (n,), (t,)."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array


def draw_data(setting: Setting, key: Array) -> Data:
    """Return the data of a key."""
    x, test_x = _both_inputs(key, setting.train, setting.test)
    y, test_y = (jnp.asarray(target(np.asarray(inputs))) for inputs in (x, test_x))
    return Data(x, y, test_x, test_y)


@partial(jax.jit, static_argnums=(1, 2))
def _both_inputs(key: Array, train: int, test: int) -> tuple[Array, Array]:
    """Return training and test inputs."""
    train_key, test_key = jax.random.split(key)
    return draw_inputs(train_key, train), draw_inputs(test_key, test)


# --- the input distribution of the Fisher matrix -----------------------------------------------------


class FisherRule(NamedTuple):
    """Inputs and weights of an average E_x ≈ Σ_j ω_j (·)(x_j).

    Attributes
    ----------
    x
        (m, 2).
    weights
        ω, (rules, m): several averages over the same inputs.
    """

    x: Array
    weights: Array


def sampled_rules(x: Array, counts: tuple[int, ...]) -> FisherRule:
    """Return plain averages over the first ``counts`` of the inputs (m, 2): nested samples."""
    rank = jnp.arange(x.shape[0])
    return FisherRule(x, jnp.stack([(rank < count) / count for count in counts]))


def angular_weight(direction: Array) -> Array:
    """Return M(u) = ∫_0^∞ r³ p(ru) dr of the input density p, for unit vectors u (..., 2).

    A function homogeneous of degree 2, such as ϕ_iϕ_j of ReLUs without biases, has the expectation
    ∫ M(u(θ)) ϕ_i(u)ϕ_j(u) dθ. The radial integral is one of moments of a normal law.
    """
    mean = jnp.asarray(INPUT_MEAN)
    along = direction @ mean
    zeroth = jnp.sqrt(2 * jnp.pi) * ndtr(along)
    first = jnp.exp(-0.5 * jnp.square(along)) + along * zeroth
    third = 2 * first + along * (zeroth + along * first)
    return jnp.exp(0.5 * (jnp.square(along) - mean @ mean)) * third / (2 * jnp.pi)


def exact_rule(hidden: dict[str, Array], nodes: int = _ARC_NODES) -> FisherRule:
    """Return Gauss–Legendre nodes on the arcs between directions where a unit of the second layer switches.

    Within an arc the second layer is linear; only the last layer's own kinks, where ϕ² is once
    differentiable, are left to the order of the rule (:func:`rule_error`).

    Parameters
    ----------
    hidden
        Sites ``W0`` and ``W1`` of a network whose first activation is the identity.
    nodes
        Nodes per arc.
    """
    slope = hidden["W1"] @ hidden["W0"]
    switch = jnp.arctan2(slope[:, 0], -slope[:, 1])
    edge = jnp.sort(jnp.concatenate([switch, switch + jnp.pi]) % (2 * jnp.pi))
    half = (jnp.concatenate([edge[1:], edge[:1] + 2 * jnp.pi]) - edge) / 2
    node, weight = (jnp.asarray(values) for values in np.polynomial.legendre.leggauss(nodes))
    angle = (edge + half)[:, None] + half[:, None] * node[None, :]
    direction = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1).reshape(-1, 2)
    weights = (half[:, None] * weight[None, :]).reshape(-1) * angular_weight(direction)
    return FisherRule(direction, weights[None, :])


def rule_error(setting: Setting, key: Array) -> float:
    """Return the largest change of an entry at thrice the nodes of the exact rule, over the median entry."""
    hidden = jax.jit(setting.network.sample_hidden)(key)
    diagonals = [
        np.asarray(_exact_diagonal(setting.network, hidden, nodes)) for nodes in (_ARC_NODES, 3 * _ARC_NODES)
    ]
    return float(np.max(np.abs(diagonals[0] - diagonals[1])) / np.median(diagonals[1]))


@partial(jax.jit, static_argnames=("network", "nodes"))
def _exact_diagonal(network: Mlp, hidden: dict[str, Array], nodes: int) -> Array:
    """Return the diagonal of the Fisher matrix by the exact rule, (P,)."""
    rule = exact_rule(hidden, nodes)
    return rule.weights[0] @ jnp.square(network.features(rule.x, hidden))
