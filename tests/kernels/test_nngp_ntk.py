"""NNGP and NTK against recursions, draws and gradients that share nothing with the library (T2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brg_prob.kernels import kernel_layers, nngp_kernel, ntk_kernel
from brg_prob.kernels.checked_options import checked_options
from brg_prob.kernels.tuned_activations import tuned_options

X = np.array([[0.4, -0.8], [0.9, 0.2], [-0.4, -0.2], [0.6, -1.0]])
WEIGHTS, BIASES = (1.3, 2.1, 1.7, 0.9), (0.2, 0.0, 0.3, 0.1)
DEEP = dict(weights=(*WEIGHTS, 1.9, 1.2, 1.6), biases=(*BIASES, 0.0, 0.2, 0.4))  # six layers: a loop


def options(activation, depth=3, weights=WEIGHTS, biases=BIASES):
    return dict(depth=depth, activation=activation, weight_variance=weights, bias_variance=biases)


def test_every_layer_is_that_of_a_plain_recursion(plain_recursion):
    names = ("relu",) * 6
    expected = plain_recursion(X, names, **DEEP)
    given = options("relu", 6, **DEEP)
    np.testing.assert_allclose(kernel_layers(X, **given), expected[0], rtol=1e-9)
    np.testing.assert_allclose(kernel_layers(X, ntk=True, **given), expected[1], rtol=1e-8)
    np.testing.assert_allclose(nngp_kernel(X, diagonal=True, **given), np.diag(expected[0, -1]), rtol=1e-9)
    # negative control: the variances of two layers exchanged
    weights = (*DEEP["weights"][:-2], *DEEP["weights"][:-3:-1])
    wrong = plain_recursion(X, names, weights, DEEP["biases"])
    assert np.abs(wrong[1, -1] / expected[1, -1] - 1).max() > 1e-3


def test_layers_of_different_activations_and_two_sets_of_inputs(plain_recursion):
    expected = plain_recursion(X, ("tanh", "relu", "erf"), WEIGHTS, BIASES)
    given = options(("tanh", "relu", jax.scipy.special.erf))  # a function of the user's among them
    np.testing.assert_allclose(kernel_layers(X, ntk=True, **given), expected[1], rtol=1e-8)
    np.testing.assert_allclose(nngp_kernel(X[:1], X[1:], **given), expected[0, -1, :1, 1:], rtol=1e-9)


def _draws(rng, count, widths, x):
    """Return fields (count, n) of ReLU networks with the first variances of WEIGHTS and BIASES."""
    h = np.broadcast_to(x, (count, *x.shape))
    for layer, width in enumerate((*widths, 1)):
        w = rng.standard_normal((count, h.shape[2], width)) * np.sqrt(WEIGHTS[layer] / h.shape[2])
        z = h @ w + np.sqrt(BIASES[layer]) * rng.standard_normal((count, 1, width))
        h = np.maximum(z, 0)
    return z[..., 0]


def _scores(draws, kernel):
    """Return z-scores of the sampled covariances; the mean is known to be 0."""
    product = draws[:, :, None] * draws[:, None, :]
    return (product.mean(0) - kernel) / (product.std(0) / np.sqrt(len(draws)))


def test_one_hidden_layer_is_exact_at_width_ten():
    """Four points have ten covariances: 4 standard errors are exceeded by chance in 6 of 10 000 seeds."""
    kernel = np.asarray(nngp_kernel(X, **options("relu", 1, WEIGHTS[:2], BIASES[:2])))
    draws = _draws(np.random.default_rng(0), 100_000, (10,), X)
    assert np.abs(_scores(draws, kernel)).max() < 4
    wrong = np.asarray(nngp_kernel(X, **options("relu", 1, WEIGHTS[:2], BIASES[1::-1])))
    assert np.abs(_scores(draws, wrong)).max() > 8


def test_three_hidden_layers_are_the_limit_in_width():
    """E[f f′] = K + c/N + O(1/N²): two widths, Richardson's extrapolation, errors combined."""
    kernel = np.asarray(nngp_kernel(X[:2], **options("relu")))[0, 1]
    rng, means, errors = np.random.default_rng(1), [], []
    for width, count in ((8, 300_000), (16, 150_000)):
        parts = [_draws(rng, 10_000, (width,) * 3, X[:2]).prod(axis=1) for _ in range(count // 10_000)]
        product = np.concatenate(parts)
        means.append(product.mean())
        errors.append(product.std() / np.sqrt(count))
    score = (2 * means[1] - means[0] - kernel) / np.hypot(2 * errors[1], errors[0])
    assert abs(score) < stats.norm.isf(1e-4)
    # negative control: without extrapolation the smaller width is told from the limit
    assert abs(means[0] - kernel) / errors[0] > 5


def test_the_tangent_kernel_is_the_mean_of_the_empirical_one_at_one_hidden_layer():
    """With one hidden layer E[J Jᵀ] = Θ² at every width: it is a mean over independent neurons."""
    width, count = 6, 20_000
    w, b = WEIGHTS[:2], BIASES[::2][:2]

    def field(parameters, x):
        z = jnp.sqrt(w[0] / 2) * x @ parameters["w"] + jnp.sqrt(b[0]) * parameters["b"]
        return (
            jnp.sqrt(w[1] / width) * jax.scipy.special.erf(z) @ parameters["a"]
            + jnp.sqrt(b[1]) * parameters["c"]
        )

    @jax.jit
    @jax.vmap
    def empirical(key):
        keys = jax.random.split(key, 3)
        shapes = {"w": (2, width), "b": (width,), "a": (width,)}
        parameters = {name: jax.random.normal(k, shapes[name]) for name, k in zip(shapes, keys, strict=True)}
        gradients = jax.jacobian(field)({**parameters, "c": jnp.zeros(())}, jnp.asarray(X))
        flat = jnp.concatenate([g.reshape(len(X), -1) for g in gradients.values()], axis=1)
        return flat @ flat.T

    samples = np.asarray(empirical(jax.random.split(jax.random.key(0), count)))
    error = samples.std(0) / np.sqrt(count)
    kernel = ntk_kernel(X, **options("erf", 1, w, b))
    assert np.abs((samples.mean(0) - kernel) / error).max() < 4
    # negative control: weights alone, without the biases' own gradients
    assert np.abs((samples.mean(0) - (kernel - b[1])) / error).max() > 8


@pytest.mark.parametrize("names", [("relu", "erf"), ("tanh",)])
def test_kernels_are_symmetric_and_not_negative(names):
    x = np.random.default_rng(0).standard_normal((60, 3)) / 2
    x[7] = x[3]
    given = options(names, len(names), WEIGHTS[: len(names) + 1], BIASES[: len(names) + 1])
    for kernel in (nngp_kernel, ntk_kernel):
        k = np.asarray(kernel(x, **given))
        assert np.array_equal(k, k.T)
        values = np.linalg.eigvalsh(k)
        assert values[0] > -1e-12 * values[-1]
        np.testing.assert_allclose(np.diag(k), kernel(x, diagonal=True, **given), rtol=1e-13)


def test_values_and_derivatives_are_finite_at_coincident_and_zero_inputs():
    x = jnp.array([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]])

    def total(x, weight, bias):
        return ntk_kernel(x, **options(("relu", "sign"), 2, weight, bias)).sum()  # K^l is part of it

    value, gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(x, 1.5, 0.0)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_derivatives_are_those_of_differences():
    """Of six layers: reverse mode goes through the loop."""
    x, step = jnp.asarray(X), 1e-6
    given = options("relu", 6, 1.5, 0.1)

    @jax.jit
    def total(x, weight):
        k = nngp_kernel(x, **{**given, "weight_variance": weight})
        return jnp.sum(k * jnp.cos(jnp.arange(16.0).reshape(4, 4)))  # the diagonal, x = x′, is among them

    gradient, slope = jax.grad(total, argnums=(0, 1))(x, 1.5)
    for row, column in ((0, 0), (3, 1)):
        shift = jnp.zeros_like(x).at[row, column].set(step)
        change = (total(x + shift, 1.5) - total(x - shift, 1.5)) / (2 * step)
        np.testing.assert_allclose(gradient[row, column], change, rtol=1e-7)
    np.testing.assert_allclose(slope, (total(x, 1.5 + step) - total(x, 1.5 - step)) / (2 * step), rtol=1e-7)


def test_single_precision_costs_four_digits_at_most(plain_recursion):
    exact, tangent = plain_recursion(X, ("relu",) * 3, WEIGHTS, BIASES)[:, -1]
    single = nngp_kernel(X.astype(np.float32), **options("relu"))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, rtol=1e-4)
    found = ntk_kernel(X.astype(np.float32), **options("relu"))
    # of nearly coincident inputs the angle has half the digits
    assert np.max(np.abs(found - tangent)) < 1e-4 * np.max(np.abs(tangent))


def test_a_deep_network_of_tuned_layers_has_few_programs(plain_recursion):
    """Variances fall from 20 to 0.4: neighbours share a series, and each keeps its digits."""
    x = X[:2] * np.sqrt(20 / 1.3 / np.mean(X[0] ** 2))
    weights, biases = (1.3, *[0.8] * 12), (0.0,) * 13
    options_ = checked_options(12, "tanh", weights, biases, np.dtype(float))
    assert len(set(tuned_options(options_, x, None, 1e-10).activations)) <= 3
    expected = plain_recursion(x, ("tanh",) * 12, weights, biases)[0]
    given = options("tanh", 12, weights, biases)
    np.testing.assert_allclose(kernel_layers(x, **given), expected, rtol=1e-8)
