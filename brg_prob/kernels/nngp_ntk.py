"""Kernels of networks of infinite width, at any depth and with any activation (T2)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from brg_prob.kernels.checked_options import any_traced, checked_inputs, checked_options
from brg_prob.kernels.recursion import all_diagonals, all_pairs
from brg_prob.kernels.tiles import cached_limit, tiled_kernel
from brg_prob.kernels.tuned_activations import TOLERANCE, tuned_options
from brg_prob.shapes import Rows

Matrix = Float[Any, "n1 n2"] | Float[Any, " n1"]  # of jax, or of numpy where it was computed in tiles


def nngp_kernel(
    x1: Real[ArrayLike, "n1 d"] | Rows,
    x2: Real[ArrayLike, "n2 d"] | Rows | None = None,
    *,
    depth: int,
    activation: Any,
    weight_variance: Any,
    bias_variance: Any,
    diagonal: bool = False,
    tolerance: float = TOLERANCE,
    memory_limit: float | None = None,
    out: Float[np.ndarray, "n1 n2"] | None = None,
) -> Matrix:
    """Return the covariance of the field of an infinitely wide network at its prior (T2).

    Pre-activations are z = (σ_w/√fan_in) W h + σ_b b with all W, b ~ N(0, 1), readout included:
    K¹ = σ_b² + σ_w² x·x′/d, K^{l+1} = σ_b² + σ_w² E[φ(u)φ(v)], (u, v) Gaussian with the 2 × 2
    block of K^l. The variance of each input is carried layer by layer beside the pairs.

    Parameters
    ----------
    x1, x2
        Inputs, (n1, d) and (n2, d), real; None: x1 with itself, and the result is symmetric to
        the last bit, with each variance on the diagonal as ``diagonal`` gives it.
    depth
        Number L of hidden layers, at least 1; the result is K^{L+1}.
    activation
        A name, a vectorised function or an :class:`brg_prob.activations.Activation`, or a
        sequence of L of them.
    weight_variance, bias_variance
        σ_w² and σ_b², not negative: a number, or a sequence of L + 1, the last the readout's.
        Without fan-in scaling, weights of variance s² mean σ_w² = s²·fan_in: for raw N(0, 1)
        weights give [d, N_1, …, N_L], and the widths then appear here and nowhere else.
    diagonal
        Return K(x, x) of each input only, (n1,).
    tolerance
        Where an activation has no closed form: the error admitted per layer, relative to E[φ²] (and
        E[φ′²]) at the layer's largest variance, to which the method is tuned. Inside jax's
        transformations it is 1e-10, for variances up to 2.
    memory_limit
        Compute tile by tile; bytes that the tiles may take beyond the result and the inputs.
    out
        With or without a limit: fill this numpy array or memmap (n1, n2).

    Returns
    -------
    jax.Array or numpy.ndarray
        (n1, n2), of the inputs' floating type; numpy's where it was computed in tiles.
        Finite for all finite inputs. Where the kernel has no derivative (sign and step at x = x′,
        ReLU at x = 0 without biases), jax returns the convention of
        :mod:`brg_prob.activations`, never NaN.

    Raises
    ------
    ValueError, TypeError
        depth below 1, an activation that is unknown, sequences of the wrong length, a variance
        that is negative or not finite, inputs that are not (n, d), not of the same d or not
        finite, a limit that holds no tile. Values are checked outside of jax's transformations only.

    Notes
    -----
    Lee et al., arXiv:1711.00165; Matthews et al., arXiv:1804.11271. Cost O(n1 n2 (d + L)), times
    the order of the expansion where the activation has no closed form.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> k = nngp_kernel(x, depth=1, activation="relu", weight_variance=2.0, bias_variance=0.0)
    >>> k.round(3).tolist()
    [[1.0, 0.63...], [0.63..., 4.0]]
    """
    return _kernel(
        x1,
        x2,
        (depth, activation, weight_variance, bias_variance),
        ntk=False,
        diagonal=diagonal,
        tolerance=tolerance,
        memory_limit=memory_limit,
        out=out,
    )


def ntk_kernel(
    x1: Real[ArrayLike, "n1 d"] | Rows,
    x2: Real[ArrayLike, "n2 d"] | Rows | None = None,
    *,
    depth: int,
    activation: Any,
    weight_variance: Any,
    bias_variance: Any,
    diagonal: bool = False,
    tolerance: float = TOLERANCE,
    memory_limit: float | None = None,
    out: Float[np.ndarray, "n1 n2"] | None = None,
) -> Matrix:
    """Return the neural tangent kernel Σ_θ ∂f(x)/∂θ ∂f(x′)/∂θ at infinite width (T2).

    θ are all weights and biases, in the parameterisation of :func:`nngp_kernel`: Θ¹ = K¹,
    Θ^{l+1} = K^{l+1} + σ_w² E[φ′(u)φ′(v)] Θ^l; φ′ of sign and step is taken as 0.

    Parameters
    ----------
    x1, x2, depth, activation, weight_variance, bias_variance
        As :func:`nngp_kernel` has them.
    diagonal, tolerance, memory_limit, out
        The same.

    Returns
    -------
    jax.Array or numpy.ndarray
        (n1, n2), or (n1,) with ``diagonal``.

    Raises
    ------
    ValueError, TypeError
        As :func:`nngp_kernel`.

    Notes
    -----
    Jacot, Gabriel, Hongler, arXiv:1806.07572; Lee et al., arXiv:1902.06720.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> k = ntk_kernel(x, depth=1, activation="relu", weight_variance=2.0, bias_variance=0.0)
    >>> k.round(3).tolist()
    [[2.0, 0.63...], [0.63..., 8.0]]
    """
    return _kernel(
        x1,
        x2,
        (depth, activation, weight_variance, bias_variance),
        ntk=True,
        diagonal=diagonal,
        tolerance=tolerance,
        memory_limit=memory_limit,
        out=out,
    )


def kernel_layers(
    x1: Real[ArrayLike, "n1 d"] | Rows,
    x2: Real[ArrayLike, "n2 d"] | Rows | None = None,
    *,
    depth: int,
    activation: Any,
    weight_variance: Any,
    bias_variance: Any,
    ntk: bool = False,
    diagonal: bool = False,
    tolerance: float = TOLERANCE,
) -> Float[Array, "{depth}+1 n1 n2"] | Float[Array, "{depth}+1 n1"]:
    """Return the kernels of all layers, K^1 … K^{L+1}, or Θ^1 … Θ^{L+1}: the flow with depth (T2, T15).

    Layer l of the result is also the output of a network of l − 1 hidden layers whose readout
    has the variances of layer l.

    Parameters
    ----------
    x1, x2, depth, activation, weight_variance, bias_variance
        As :func:`nngp_kernel` has them.
    diagonal, tolerance
        The same.
    ntk
        The NTK instead of the NNGP.

    Returns
    -------
    jax.Array
        (L + 1, n1, n2), or (L + 1, n1) with ``diagonal``.

    Raises
    ------
    ValueError, TypeError
        As :func:`nngp_kernel`.

    Examples
    --------
    >>> options = dict(depth=3, activation="relu", weight_variance=1.0, bias_variance=0.0)
    >>> kernel_layers([[1.0]], **options).ravel().tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    one, two = checked_inputs(x1, x2)
    options = checked_options(depth, activation, weight_variance, bias_variance, one.dtype)
    if not any_traced(one, two, *options[:2]):
        options = tuned_options(options, one, two, tolerance)
    if diagonal:
        _refuse_second(two)
        return all_diagonals(one, *options, ntk, every_layer=True)
    return all_pairs(one, two, *options, ntk, every_layer=True)


def _kernel(
    x1: Any,
    x2: Any,
    network: tuple[int, Any, Any, Any],
    *,
    ntk: bool,
    diagonal: bool,
    tolerance: float,
    memory_limit: float | None,
    out: Any,
) -> Matrix:
    """Return the output's kernel, whole or in tiles."""
    one, two = checked_inputs(x1, x2)
    options = checked_options(*network, one.dtype)
    if any_traced(one, two, *options[:2]):
        if memory_limit is not None or out is not None:
            raise TypeError("memory_limit and out are for numbers, not for jit or grad: leave them out there")
        return all_diagonals(one, *options, ntk) if diagonal else all_pairs(one, two, *options, ntk)
    options = tuned_options(options, one, two, tolerance)
    if diagonal:
        _refuse_second(two)
        return all_diagonals(one, *options, ntk)
    whole = memory_limit is None and out is None
    if whole and all(act.numeric is None for act in options.activations):
        return all_pairs(one, two, *options, ntk)
    # without a closed form always in tiles: a series is summed in cache, and a quadrature holds as
    # many numbers per pair as its rule has nodes
    memory_limit = cached_limit(options.activations, one.dtype) if whole else memory_limit
    found = tiled_kernel(one, two, options, ntk=ntk, limit=memory_limit, out=out)
    return jnp.asarray(found) if whole else found


def _refuse_second(x2: Any) -> None:
    """Refuse a second set of inputs where only the diagonal is asked for."""
    if x2 is not None:
        raise ValueError(f"x2 of shape {x2.shape} was given with diagonal=True: leave one of them out")
