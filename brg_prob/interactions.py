"""Interactions of a field at finite width: the exact four-point function of one hidden layer (T3).

f(x) = (σ_w/√N) Σ_i a_i φ_i(x) + σ_b b with a, b ~ N(0, 1) and independent neurons. Given its neurons f is
Gaussian, and the covariance that they give it fluctuates. That is the whole interaction:

    G4_conn(x_1 … x_4) = (σ_w⁴/N) { 3 E[φ_1φ_2φ_3φ_4] − k_12 k_34 − k_13 k_24 − k_14 k_23 },

k_ij = E[φ_iφ_j] per neuron; the readout's bias is Gaussian and adds nothing. Sources: Halverson,
Maiti, Stoner, arXiv:2008.08601; Yaida, arXiv:1910.00019.

A prediction: functions of arrays. E[φ_1φ_2φ_3φ_4] runs over the pre-activations of one neuron at four
points, a Gaussian of rank r ≤ min(4, d + 1), and is integrated in r variables with kinks at z = 0 resolved:

* r ≤ 2: along rays from the origin φ is smooth, and the circle is cut where a pre-activation changes sign;
* r = 3, 4: one variable piece by piece between the zeros of the four pre-activations, the others
  by Gauss–Hermite, to which the kinks are then smeared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Integer, Real

from brg_prob.activations import Activation
from brg_prob.activations import activation as resolved
from brg_prob.kernels.checked_options import checked_inputs, checked_variance
from brg_prob.kernels.tuned_activations import tuned_to
from brg_prob.shapes import Rows

RADIUS = 12.0  # standard deviations; e^{−r²/2} beyond is 5e-32
NODES = {2: (48, 36), 3: (48, 36), 4: (20, 15)}  # per variable of a rule and of the one it is judged by
INNER = 32  # Gauss–Legendre nodes per piece of the variable that meets the kinks
RANK = 1e-12  # eigenvalues of a covariance below this share of the largest are rounding error

Product = Callable[[Float[Array, " 4 *nodes"]], Float[Array, "*nodes"]]


class FourPoint(NamedTuple):
    """A connected four-point function and what its quadrature leaves open.

    Attributes
    ----------
    value
        G4_conn, (M,), in units of f⁴.
    error
        Estimated absolute error of the quadrature, (M,): the change from a coarser rule.
    """

    value: Float[Array, " M"]
    error: Float[Array, " M"]


def connected_four_point(
    x: Real[ArrayLike, "n d"] | Rows,
    indices: Integer[ArrayLike, "M 4"] | Sequence[Sequence[int]],
    *,
    width: int,
    activation: Any,
    weight_variance: Any,
    bias_variance: Any,
) -> FourPoint:
    """Return the exact fourth cumulant of the field of one hidden layer of N neurons (T3).

    Parameters
    ----------
    x
        Inputs, (n, d).
    indices
        Integers (M, 4): M tuples of four points; a point may occur repeatedly, as in
        :func:`brg_prob.correlators.cumulant`.
    width
        N, at least 1.
    activation
        A name, a function or an Activation; kinks at z = 0 are resolved, others are not.
    weight_variance, bias_variance
        σ_w² and σ_b² of :func:`brg_prob.kernels.nngp_kernel` with depth 1: a number, or two, the
        second the readout's.

    Returns
    -------
    FourPoint
        Two arrays (M,). Error of rank 1 and 2 (one or two different inputs, or d = 1 with
        biases) rounding, or nearly; of rank 3 and 4 with kinks up to
        some 1e-3 of E[φφφφ] (independent ReLU: 1.5e-3).

    Raises
    ------
    ValueError, TypeError
        Width, variances, inputs or indices out of range.

    Examples
    --------
    A ReLU at one point has E[φ⁴] = 3K²/2 and k = K/2, so 3(3/2 − 1/4)/N at K = 1, and here σ_w⁴ = 4:

    >>> options = dict(width=10, activation="relu", weight_variance=[1.0, 2.0], bias_variance=0.0)
    >>> round(float(connected_four_point([[1.0]], [[0, 0, 0, 0]], **options).value[0]), 4)
    1.5
    """
    points, _ = checked_inputs(x)
    tuples = _checked_tuples(indices, len(points))
    if isinstance(width, bool) or int(width) != width or width < 1:
        raise ValueError(f"width = {width!r} must be a whole number of neurons, at least 1")
    act = resolved(activation)
    weights = np.asarray(checked_variance("weight_variance", weight_variance, 1, points.dtype))
    biases = np.asarray(checked_variance("bias_variance", bias_variance, 1, points.dtype))
    inputs = np.asarray(points, dtype=np.float64)[tuples]
    covariance = biases[0] + weights[0] * inputs @ inputs.transpose(0, 2, 1) / points.shape[1]
    fourth, error = (np.asarray(each) for each in neuron_four_point(covariance, act))
    k = np.asarray(_two_point(covariance, act))
    disconnected = k[:, 0, 1] * k[:, 2, 3] + k[:, 0, 2] * k[:, 1, 3] + k[:, 0, 3] * k[:, 1, 2]
    scale = float(weights[1]) ** 2 / width
    return FourPoint(jnp.asarray(scale * (3 * fourth - disconnected)), jnp.asarray(scale * 3 * error))


def neuron_four_point(covariance: Real[ArrayLike, "M 4 4"], activation: Any) -> FourPoint:
    """Return E[φ(z_1)φ(z_2)φ(z_3)φ(z_4)] for z ~ N(0, covariance), and its error.

    Parameters
    ----------
    covariance
        (M, 4, 4), symmetric and not negative, of any rank.
    activation
        A name, a function or an Activation.

    Examples
    --------
    >>> value = neuron_four_point(jnp.eye(4)[None], "identity").value
    >>> bool(abs(value[0]) < 1e-6)
    True
    """
    act, matrices = resolved(activation), np.asarray(covariance)
    dtype = jnp.result_type(float)
    value, error = (np.zeros(len(matrices), dtype) for _ in range(2))
    roots, ranks = _roots(np.asarray(matrices, dtype=np.float64))
    variances = np.asarray(np.diagonal(matrices, axis1=1, axis2=2), dtype)
    for rank in np.unique(ranks):
        which = np.flatnonzero(ranks == rank)
        factors = np.asarray(roots[which, :, :rank], dtype)
        fine, coarse = (
            np.asarray(_averaged(factors, variances[which], act, int(rank), m)) for m in NODES[int(rank)]
        )
        rounding = 8 * float(np.finfo(dtype).eps) * np.abs(fine)
        value[which], error[which] = fine, np.abs(fine - coarse) + rounding
    return FourPoint(jnp.asarray(value), jnp.asarray(error))


def _two_point(covariance: Float[np.ndarray, "M 4 4"], act: Activation) -> Float[Array, "M 4 4"]:
    """Return k_ij = E[φ_iφ_j], (M, 4, 4)."""
    c = np.asarray(covariance, dtype=jnp.result_type(float))
    variance = np.diagonal(c, axis1=1, axis2=2)
    act = tuned_to(act, float(variance.max()))
    return act.dual(*(jnp.asarray(each) for each in (variance[:, :, None], variance[:, None, :], c)))


def _roots(
    covariance: Float[np.ndarray, "M 4 4"],
) -> tuple[Float[np.ndarray, "M 4 4"], Int[np.ndarray, " M"]]:
    """Return V with z = V g, g standard normal, (M, 4, 4), columns beyond the rank 0, and ranks 2 … 4.

    In rank 3 and 4 the last column is the variable that meets the kinks: of the directions that
    are sums of ± the four vectors, the one that is least orthogonal to any of them.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[:, ::-1], vectors[:, :, ::-1]
    kept = values > RANK * np.maximum(values[:, :1], np.finfo(float).tiny)
    roots = vectors * np.sqrt(np.where(kept, values, 0))[:, None, :]
    ranks = np.maximum(kept.sum(axis=1), 2)  # one variable more than needed does no harm
    signs = np.array([(1, *rest) for rest in itertools.product((1, -1), repeat=3)])
    for root, rank in zip(roots, ranks, strict=True):
        if rank == 2:
            continue
        length = np.linalg.norm(root, axis=1, keepdims=True)
        unit = np.divide(root, length, out=np.zeros_like(root), where=length > 0)[:, :rank]
        candidates = signs @ unit
        size = np.linalg.norm(candidates, axis=1, keepdims=True)
        candidates = candidates / np.where(size > 1e-6, size, np.inf)
        overlap = np.abs(candidates @ unit.T) + (length.T == 0)
        best = candidates[np.argmax(overlap.min(axis=1))]
        basis = np.linalg.qr(np.column_stack([best, np.eye(rank)]))[0]
        root[:, :rank] = root[:, :rank] @ np.roll(basis, -1, axis=1)
    return roots, ranks


@partial(jax.jit, static_argnames=("act", "rank", "nodes"))
def _averaged(
    factors: Float[Array, "M 4 {rank}"],
    variances: Float[Array, "M 4"],
    act: Activation,
    rank: int,
    nodes: int,
) -> Float[Array, " M"]:
    """Return E[Πφ((V g)_i)] of each V (M, 4, rank)."""
    rule = _by_rays if rank == 2 else _by_pieces

    def one(arguments: tuple[Float[Array, "4 r"], Float[Array, " 4"]]) -> Float[Array, ""]:
        factor, variance = arguments

        def product(z: Float[Array, " 4 *nodes"]) -> Float[Array, "*nodes"]:
            """Return Π_i φ(z_i) of pre-activations (4, …)."""
            return jnp.prod(act(z, variance.reshape(4, *[1] * (z.ndim - 1))), axis=0)

        return rule(factor, product, nodes)

    return jax.lax.map(one, (factors, variances))


def _by_rays(factor: Float[Array, "4 2"], product: Product, nodes: int) -> Float[Array, ""]:
    """Return the average in two variables in polar coordinates, the circle cut at the zeros of V g."""
    x, w = (jnp.asarray(v, factor.dtype) for v in np.polynomial.legendre.leggauss(nodes))
    zeros = jnp.arctan2(-factor[:, 0], factor[:, 1]) % math.pi
    edges = jnp.sort(jnp.concatenate([zeros, zeros + math.pi]))
    edges = jnp.concatenate([edges, edges[:1] + 2 * math.pi])
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    angle = middle[:, None] + half[:, None] * x[None, :]
    # the radius: twice as many nodes as an arc, over r e^{−r²/2} dr
    x2, w2 = (jnp.asarray(v, factor.dtype) for v in np.polynomial.legendre.leggauss(2 * nodes))
    r = RADIUS / 2 * (1 + x2)
    radial = RADIUS / 2 * w2 * r * jnp.exp(-r * r / 2) / (2 * math.pi)
    ray = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    z = jnp.einsum("ik,kab->iab", factor, ray, precision="highest")[..., None] * r[None, None, None, :]
    return jnp.einsum("a,b,abr,r->", half, w, product(z), radial, precision="highest")


def _by_pieces(factor: Float[Array, "4 r"], product: Product, nodes: int) -> Float[Array, ""]:
    """Return the average in three or four variables, the last one cut at the zeros of V g."""
    rank = factor.shape[1]
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[x] * (rank - 1), indexing="ij")).reshape(rank - 1, -1)
    weight = math.prod(np.meshgrid(*[w / w.sum()] * (rank - 1), indexing="ij"), start=np.ones(1)).ravel()
    keep = weight > 1e-18
    outer = jnp.asarray(grid[:, keep], factor.dtype)
    mean, slope = jnp.matmul(factor[:, :-1], outer, precision="highest"), factor[:, -1]
    safe = jnp.where(slope != 0, slope, 1)[:, None]
    zeros = jnp.where(slope[:, None] != 0, jnp.clip(-mean / safe, -RADIUS, RADIUS), RADIUS)
    ends = jnp.full_like(zeros[:1], RADIUS)
    edges = jnp.sort(jnp.concatenate([-ends, zeros, ends]), axis=0)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x, w = np.polynomial.legendre.leggauss(INNER)
    t = middle[:, None, :] + half[:, None, :] * jnp.asarray(x, factor.dtype)[None, :, None]
    density = half[:, None, :] * jnp.asarray(w, factor.dtype)[None, :, None] * jnp.exp(-t * t / 2)
    z = mean[:, None, None, :] + slope[:, None, None, None] * t[None]
    inner = jnp.sum(density * product(z), axis=(0, 1)) / math.sqrt(2 * math.pi)
    return jnp.sum(inner * jnp.asarray(weight[keep], factor.dtype))


def _checked_tuples(indices: Any, count: int) -> Int[np.ndarray, "M 4"]:
    """Return index tuples (M, 4) that point into the inputs."""
    tuples = np.asarray(indices)
    if tuples.ndim != 2 or tuples.shape[1] != 4 or not len(tuples) or tuples.dtype.kind not in "iu":
        raise ValueError(
            f"indices of shape {tuples.shape} and type {tuples.dtype}: integers (M, 4) are needed"
        )
    outside = tuples[(tuples < 0) | (tuples >= count)]
    if outside.size:
        raise ValueError(f"index {outside[0]} is outside {count} points")
    return tuples.astype(np.intp)
