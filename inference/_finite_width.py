"""How a posterior at finite width departs from infinite width: −1 on average, −½ for one network (T3, T10).

Given its hidden layers a network of width N has the kernel K_N = ΦΦᵀ, and so the posterior two-point
function C(K_N) of T10. Its average over hidden draws departs from C(K) as 1/N, a single network's as
N^(−1/2). Averaging alone would need N times more draws for the first than for the second; where
E K_N = K exactly (one hidden layer, T3) the part of C(K_N) − C(K) that is linear in K_N − K has mean zero
and is taken off each draw: what is left is of order 1/N itself, and a few hundred draws do at any width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from brg_prob.network import Covariance
from brg_prob.posterior import gaussian_posterior

_BATCH = 200
"""Networks alive at once."""


@dataclass(frozen=True)
class Deviation:
    """Departure of the posterior variance from infinite width, relative to it, by width.

    Attributes
    ----------
    widths, members
        N of each hidden layer and the number of hidden draws, (w,).
    mean, error
        Ensemble mean of the departure and its standard error, (w,).
    spread
        Root mean square departure of a single network, (w,).
    """

    widths: NDArray[Any]
    members: NDArray[Any]
    mean: NDArray[Any]
    error: NDArray[Any]
    spread: NDArray[Any]

    def mean_slope(self) -> tuple[float, float]:
        """Return d log|mean|/d log N by weighted least squares, and its standard error."""
        return power_law(self.widths, self.mean, self.error)

    def single_slope(self) -> tuple[float, float]:
        """Return the same for a single network; a root mean square of M draws errs by 1/√(2M)."""
        return power_law(self.widths, self.spread, self.spread / np.sqrt(2 * self.members))

    def coefficient(self) -> tuple[float, float]:
        """Return the weighted mean of N·mean, the 1/N correction, and its standard error."""
        weight = 1 / np.square(self.widths * self.error)
        return float(np.average(self.widths * self.mean, weights=weight)), float(weight.sum() ** -0.5)


def power_law(widths: ArrayLike, values: ArrayLike, errors: ArrayLike) -> tuple[float, float]:
    """Return the exponent of |value| ∝ N^exponent, by weighted least squares, and its standard error."""
    log_width, size = np.log(np.asarray(widths, dtype=float)), np.abs(np.asarray(values, dtype=float))
    weight = np.square(size / np.asarray(errors, dtype=float))
    centred = log_width - np.average(log_width, weights=weight)
    information = float(np.sum(weight * centred**2))
    return float(np.sum(weight * centred * np.log(size)) / information), information**-0.5


def finite_width_deviation(
    network: Any,
    x: ArrayLike,
    points: ArrayLike,
    *,
    widths: Sequence[int],
    members: int | Sequence[int],
    observations: float | None = None,
    seed: int = 0,
    limit: ArrayLike | None = None,
) -> Deviation:
    """Return how far posteriors of finite width are from infinite width, averaged over hidden draws.

    The two-point function is summarised by the posterior variance averaged over ``points``.

    Parameters
    ----------
    network
        An :class:`models.mlp.Mlp` with fan-in; its hidden layers all get each of ``widths``.
    x, points
        Training inputs (n, d) and where the posterior is looked at (m, d).
    widths, members
        N, and the number of hidden draws at each (or one for all).
    observations
        T, default n.
    seed
        Of the hidden draws, other ones at every width.
    limit
        Kernel of the limit to compare with at x, then points, (n + m, n + m); default
        ``network.kernel``. Another one is a wrong limit, for controls.
    """
    if not network.fan_in or network.hidden_seed is not None:
        raise ValueError(f"{network!r} has no such limit; use fan_in=True and hidden_seed=None")
    x, points = np.asarray(x, dtype=float), np.asarray(points, dtype=float)
    both, n = np.concatenate([x, points]), len(x)
    ridge = network.noise**2 * n / (n if observations is None else observations)
    kernel = np.asarray(network.kernel(both, both), dtype=float)
    at_limit = float(_variance(np.asarray(kernel if limit is None else limit), n, ridge))
    # with more hidden layers E K_N is not K, and the linear part is not known to vanish on average
    linear = _linear_part(kernel, n, ridge) if isinstance(network, Covariance) else np.zeros_like(kernel)
    counts = [members] * len(widths) if isinstance(members, int) else list(members)
    rows = []
    for number, (width, count) in enumerate(zip(widths, counts, strict=True)):
        wide = dataclasses.replace(network, widths=(int(width),) * len(network.widths))
        rng = np.random.default_rng([seed, number])
        drawn = _draws(wide, both, count, rng, (kernel, linear, n, ridge))
        variance, control = np.concatenate(list(drawn), axis=1)
        departure = (variance - at_limit) / at_limit
        mean = departure - control / at_limit
        error = mean.std(ddof=1) / np.sqrt(len(mean))
        rows.append((width, len(mean), mean.mean(), error, np.sqrt(np.mean(departure**2))))
    return Deviation(*np.asarray(rows, dtype=float).T)


def _draws(
    network: Any, x: Any, members: int, rng: np.random.Generator, given: tuple[Any, ...]
) -> Iterator[NDArray[Any]]:
    """Yield posterior variance and linear part, (2, batch), of hidden draws."""
    kernel, linear, n, ridge = given
    shapes = jax.eval_shape(network.sample_hidden, jax.random.key(0))
    for _ in range(-(-members // _BATCH)):
        # hidden sites are standard normal; numpy's spare a compilation at every width
        hidden = {name: rng.standard_normal((_BATCH, *leaf.shape)) for name, leaf in shapes.items()}
        yield np.asarray(_measured(network, x, hidden, kernel, linear, n, ridge)).T


@partial(jax.jit, static_argnames=("network", "n"))
def _measured(
    network: Any, x: Array, drawn: dict[str, Array], kernel: Array, linear: Array, n: int, ridge: float
) -> Array:
    """Return posterior variance and linear part of each of a batch of networks, (batch, 2)."""

    def one(hidden: dict[str, Array]) -> Array:
        features = network.features(x, hidden)
        own = features @ features.T
        return jnp.stack([_variance(own, n, ridge), jnp.sum(linear * (own - kernel))])

    return jax.vmap(one)(drawn)


@partial(jax.jit, static_argnames="n")
def _variance(kernel: Array, n: int, ridge: float) -> Array:
    """Return the posterior variance averaged over the points behind the first n rows."""
    cross, prior = kernel[n:, :n], kernel[n:, n:]
    _, covariance = gaussian_posterior(kernel[:n, :n], cross, prior, jnp.zeros((n, 1)), ridge)
    return jnp.trace(covariance) / prior.shape[0]


def projector(kernel: ArrayLike, n: int, ridge: float) -> NDArray[Any]:
    """Return V = (−K_*X (K_XX + ρ)⁻¹, 1), (m, n + m): the first-order change of C is V δK Vᵀ."""
    kernel = np.asarray(kernel, dtype=float)
    regular = kernel[:n, :n] + ridge * np.eye(n)
    return np.concatenate([-np.linalg.solve(regular, kernel[:n, n:]).T, np.eye(len(kernel) - n)], axis=1)


def _linear_part(kernel: NDArray[Any], n: int, ridge: float) -> NDArray[Any]:
    """Return the derivative of the averaged posterior variance by the kernel, (n + m, n + m)."""
    v = projector(kernel, n, ridge)
    return v.T @ v / len(v)


def leading_correction(kernel: ArrayLike, kernel_covariance: ArrayLike, n: int, ridge: float) -> float:
    """Return lim N·E[C(K_N) − C(K)]/C(K) of the averaged posterior variance, to second order in K_N − K.

    C's second-order change is −(V δK)_X (K_XX + ρ)⁻¹ (V δK)_Xᵀ.

    Parameters
    ----------
    kernel
        K at the training inputs, then the points, (p, p).
    kernel_covariance
        N·Cov(K_ij, K_kl), (p, p, p, p): E[φ_iφ_jφ_kφ_l] − k_ij k_kl times σ_w⁴ for one hidden layer (T3).
    n, ridge
        Number of training inputs and ρ.
    """
    kernel = np.asarray(kernel, dtype=float)
    v = projector(kernel, n, ridge)
    inverse = np.linalg.inv(kernel[:n, :n] + ridge * np.eye(n))
    change = np.asarray(kernel_covariance)[:, :n, :, :n]
    second = -np.einsum("ai,ipkq,pq,ak->", v, change, inverse, v, optimize=True) / len(v)
    return float(second / np.asarray(_variance(kernel, n, ridge)))
