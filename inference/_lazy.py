"""Where networks trained in all layers part from the lazy theories: over width, depth and training (T2, T11).

Two theories predict the mean function of an ensemble of infinitely wide networks: that of the trained readout
(kernel K of the hidden layers as drawn), and that of all layers in their tangent space (kernel Θ). Networks
of finite width trained in all layers approach the second as they widen, and their hidden layers stop
moving; the first they leave for good, the more the deeper they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from brg_prob import Ensemble, fit
from brg_prob.geometry import hidden_layers
from brg_prob.kernels import nngp_kernel, ntk_kernel
from brg_prob.results import key_from_json
from models.mlp import Mlp

_STABLE = 0.1
"""Learning rate over the largest stable one of the deepest tangent kernel."""


class Distance(NamedTuple):
    """Relative distance of a mean function from a theory, ‖mean f − theory‖/‖theory‖ over the test inputs.

    Attributes
    ----------
    value
        The distance: the root of ``square``, or 0 where that is not positive.
    square, square_se
        The square, unbiased by the finite number of networks, and its jackknife standard error.
    """

    value: float
    square: float
    square_se: float


class Departure(NamedTuple):
    """One ensemble against the lazy theories.

    Attributes
    ----------
    width, depth
        Neurons per hidden layer and number of hidden layers.
    readout, tangent
        Distances from the theory of the trained readout and from that of all layers (NTK).
    kernel_change, kernel_change_se
        Mean of ‖K − K_0‖/‖K_0‖, K the readout's kernel at the training inputs after training, K_0 before.
    loss
        Mean training loss at the end.
    """

    width: int
    depth: int
    readout: Distance
    tangent: Distance
    kernel_change: float
    kernel_change_se: float
    loss: float


@dataclass(frozen=True)
class LazySetting:
    """Data, network and training that all ensembles share.

    Attributes
    ----------
    points, tested
        Numbers of training and of test inputs on [−1, 1]; the target is sin 3x.
    members
        Networks per ensemble.
    epochs
        Full-batch steps.
    activation, weight_variance, bias_variance
        Of every layer.
    layers
        ``all``, or ``readout``: the control that must meet the readout's theory.
    seed
        Of the networks.
    """

    points: int = 10
    tested: int = 9
    members: int = 400
    epochs: int = 400
    activation: str = "relu"
    weight_variance: float = 2.0
    bias_variance: float = 0.1
    layers: Literal["all", "readout"] = "all"
    seed: int = 0

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return training and test inputs, (n, 1) and (h, 1)."""
        return np.linspace(-1, 1, self.points)[:, None], np.linspace(-0.95, 0.95, self.tested)[:, None]

    def kernels(self, kind: Any, depth: int) -> np.ndarray:
        """Return a kernel of infinite width, (h + n, n): test, then training inputs, by training inputs."""
        x, other = self.inputs()
        return np.asarray(
            kind(
                np.concatenate([other, x]),
                x,
                depth=depth,
                activation=self.activation,
                weight_variance=self.weight_variance,
                bias_variance=self.bias_variance,
            )
        )

    def network(self, width: int, depth: int) -> Mlp:
        """Return a finite network."""
        return Mlp(
            widths=(width,) * depth,
            activation=self.activation,
            weight_variance=self.weight_variance,
            bias_variance=self.bias_variance,
        )


def lazy_departures(
    widths: Sequence[int], depths: Sequence[int], setting: LazySetting | None = None
) -> list[Departure]:
    """Return the departure of every width and depth, depths outermost.

    All ensembles take the same steps, a tenth of the largest stable one of the deepest tangent kernel, and
    the theories take them too: (1 − (1 − 2ηλ/n)^E)/λ on each mode, so that no step size is in the distance.
    """
    setting = setting or LazySetting()
    deepest = setting.kernels(ntk_kernel, max(depths))[setting.tested :]
    rate = _STABLE * setting.points / float(np.linalg.norm(deepest, 2))
    return [_departure(setting, width, depth, rate) for depth in depths for width in widths]


def _departure(setting: LazySetting, width: int, depth: int, rate: float) -> Departure:
    """Train one ensemble and compare it."""
    network = setting.network(width, depth)
    x, other = setting.inputs()
    engine = Ensemble(layers=setting.layers, learning_rate=rate, epochs=setting.epochs)
    tree = fit(
        network,
        x,
        np.sin(3 * x),
        engine=engine,
        key=jax.random.key(setting.seed),
        draws=setting.members,
        held_out=(other, np.sin(3 * other)),
    )
    fields = tree["predictions"]["f"].values[0]
    change = _kernel_change(network, jnp.asarray(x), tree)
    theories = [_steps_mean(setting, kind, depth, rate) for kind in (nngp_kernel, ntk_kernel)]
    return Departure(
        width,
        depth,
        *(distance(fields, theory) for theory in theories),
        float(change.mean()),
        float(change.std(ddof=1) / np.sqrt(change.size)),
        float(tree["training"]["loss"].values[0, :, -1].mean()),
    )


def _steps_mean(setting: LazySetting, kind: Any, depth: int, rate: float) -> np.ndarray:
    """Return the mean function (h,) of an infinitely wide ensemble after E full-batch steps."""
    kernel = setting.kernels(kind, depth)
    values, vectors = np.linalg.eigh(kernel[setting.tested :])
    values = np.maximum(values, np.finfo(float).eps * setting.points * values[-1])
    step = 2 * rate / setting.points
    gain = -np.expm1(setting.epochs * np.log1p(-step * values)) / values
    target = np.sin(3 * setting.inputs()[0][:, 0])
    return kernel[: setting.tested] @ (vectors @ (gain * (vectors.T @ target)))


def distance(fields: np.ndarray, theory: np.ndarray) -> Distance:
    """Return the relative distance of the mean of independent fields (M, h) from a theory (h,).

    ‖mean‖² of noisy means is too large by tr S/M, S the fields' covariance; that is taken off.
    """
    count = len(fields)
    apart = fields - theory
    gram = np.sum(apart.sum(0) ** 2)  # Σ_ij f_i·f_j
    own = np.sum(apart**2, axis=1)
    scale = np.sum(theory**2)
    square = (gram - own.sum()) / (count * (count - 1)) / scale  # pairs of different networks
    inner = apart @ apart.sum(0)
    without = (gram - 2 * inner + own - (own.sum() - own)) / ((count - 1) * (count - 2)) / scale
    error = np.sqrt((count - 1) * np.mean((without - without.mean()) ** 2))
    return Distance(float(np.sqrt(max(square, 0.0))), float(square), float(error))


def _kernel_change(network: Mlp, x: Any, tree: Any) -> np.ndarray:
    """Return ‖K − K_0‖/‖K_0‖ of each network's readout kernel, (M,)."""

    @jax.jit
    def kernel(hidden: Any) -> Any:
        features = jax.vmap(lambda own: network.features(x, own))(hidden)
        return features @ features.mT

    trained = jax.tree.map(lambda *leaves: np.stack(leaves), *hidden_layers(network, tree))
    # random numbers one by one: under vmap they take longer to compile
    draw = jax.jit(lambda keys: jax.lax.map(network.sample_hidden, keys))
    drawn = draw(key_from_json(tree.attrs["hidden_keys"]))
    before, after = np.asarray(kernel(drawn)), np.asarray(kernel(trained))
    return np.linalg.norm(after - before, axis=(1, 2)) / np.linalg.norm(before, axis=(1, 2))
