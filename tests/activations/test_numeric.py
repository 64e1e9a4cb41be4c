"""Mehler's series and the quadrature against a Gauss–Hermite product rule, and their error estimates."""

from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from brg_prob.activations import activation, gaussian_expectation, moments

# a, b, ρ: the reference, 200² Gauss–Hermite nodes, is exact to 1e-14 for tanh of variances up to 1.3
BLOCKS = [
    (1.0, 1.0, 0.3),
    (1.3, 0.4, -0.8),
    (0.9, 0.2, 0.9999),
    (1.3, 1.3, 1.0),
    (0.8, 0.8, -1.0),
    (0.5, 0.0, 0.0),
]


def as_blocks(blocks):
    a, b, rho = np.array(blocks).T
    return a, b, rho * np.sqrt(a * b)


@cache
def both(act):
    return jax.jit(lambda a, b, c: (act.dual(a, b, c), act.dual_derivative(a, b, c)))


def test_series_equals_quadrature_to_the_default_tolerance(numeric_name, functions, hermite):
    f, slope = functions[numeric_name]
    for values, g in zip(both(activation(numeric_name))(*as_blocks(BLOCKS)), (f, slope), strict=True):
        expected = [hermite(lambda z, g=g: g(z, None), lambda z, g=g: g(z, None), *block) for block in BLOCKS]
        np.testing.assert_allclose(values, expected, atol=1e-10)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_a_series_is_cut_where_the_tolerance_allows_and_says_how_good_it_is(functions, hermite, tolerance):
    act = activation("tanh").tuned(1.3, tolerance)
    f = functions["tanh"][0]
    blocks = as_blocks(BLOCKS)
    expected = [hermite(lambda z: f(z, None), lambda z: f(z, None), *block) for block in BLOCKS]
    error = np.abs(both(act)(*blocks)[0] - np.array(expected))
    estimate = np.asarray(act.error_estimate(*blocks))
    assert (error <= estimate + 1e-14).all()  # a bound, and the rounding of the reference
    assert estimate.max() <= tolerance
    assert error.max() >= 1e-3 * estimate.max() > 1e-12  # and not an empty one
    assert estimate[0] < 1e-3 * estimate[3]  # ρ = .3 needs fewer terms than ρ = 1


def test_parity_halves_the_series():
    assert {k % 2 for k in activation("tanh").numeric.degrees} == {1}
    for name in ("swish", "softplus"):  # z/2 and an even function
        assert [k for k in activation(name).numeric.degrees if k % 2] == [1]


def plane_expectation(f, a, b, rho):
    """E[f(u)f(v)] by the trapezoidal rule over two independent variables, that converges at any variance."""
    z = np.linspace(-11, 11, 901)
    w = np.exp(-z * z / 2)
    w /= w.sum()
    v = np.sqrt(b) * (rho * z[:, None] + np.sqrt(1 - rho**2) * z)
    return (w * f(np.sqrt(a) * z)) @ f(v) @ w


@pytest.mark.parametrize(("name", "scale"), [("tanh", 5), ("swish", 4)])
def test_a_large_variance_takes_a_longer_series(functions, name, scale):
    k = float(scale**2)
    act = activation(name).tuned(k)
    assert act.has_series
    blocks = [(k, k, rho) for rho in (0.3, 0.9, 0.99, 1.0, -1.0)] + [(k, 1.0, 0.9)]
    for values, f in zip(both(act)(*as_blocks(blocks)), functions[name], strict=True):
        expected = [plane_expectation(lambda z, f=f: f(z, None), *block) for block in blocks]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10 * expected[3])
    # negative control, T2's: a series good for |ρ| ≤ .75 only
    short = activation(name).tuned(k, max_correlation=0.75)
    assert len(short.numeric.degrees) < len(act.numeric.degrees) / 2
    assert (
        abs(
            both(short)(*as_blocks(blocks))[0][3]
            - plane_expectation(lambda z: functions[name][0](z, None), *blocks[3])
        )
        > 1e-7
    )


def test_beyond_thousands_of_terms_it_is_quadrature():
    assert activation("tanh").tuned(36.0).has_series
    assert not activation("tanh").tuned(100.0).has_series
    # of single precision a series asks for less
    assert len(activation("tanh").tuned(36.0, 2e-6).numeric.degrees) < 600


def test_derivatives_equal_those_under_the_integral(hermite):
    """∂_a E[φφ] = ½E[φ″φ], at coincident points and at zero variance too, with the full series."""
    act = activation("tanh")

    def bend(z):
        return -2 * np.tanh(z) * (1 - np.tanh(z) ** 2)

    slopes = jax.jit(jax.vmap(jax.grad(act.dual, argnums=(0, 1))))(*as_blocks(BLOCKS))
    for place, f, g in ((0, bend, np.tanh), (1, np.tanh, bend)):
        expected = [hermite(f, g, *block) / 2 for block in BLOCKS]
        np.testing.assert_allclose(slopes[place], expected, atol=1e-10)


def test_coefficients_per_point_give_the_kernel_per_pair():
    act = activation("swish").tuned(1.0, 1e-6)
    variance = jnp.array([0.2, 0.6, 1.0])
    rho = jnp.array([[1.0, 0.2, 0.3], [0.2, 1.0, -0.9], [0.3, -0.9, 1.0]])
    for times, dual in ((0, act.dual), (1, act.dual_derivative)):
        points = act.coefficients(variance, times)
        kernel = act.series(points[:, None], points[None, :], rho, times)
        covariance = rho * jnp.sqrt(variance[:, None] * variance)
        np.testing.assert_allclose(kernel, dual(variance[:, None], variance[None, :], covariance), atol=1e-15)


def test_equal_specs_are_one_object_and_compile_once():
    assert activation("tanh") is activation(" Tanh") is activation(activation("tanh"))
    assert activation("leaky_relu") is activation("leaky_relu(1e-2)")
    assert activation("silu") is activation("swish") and activation("heaviside") is activation("step")
    assert activation(jnp.sin) is activation(jnp.sin)
    assert activation("tanh").tuned(0.99, 1e-5) is activation("tanh").tuned(1.0, 1e-5)
    assert activation("relu").tuned(100.0) is activation("relu")
    assert activation("leaky_relu(0.1)") != activation("leaky_relu(0.2)")
    traces = []

    @jax.jit
    def kernel(c):
        traces.append(c)
        return activation("relu").dual(1.0, 1.0, c)

    kernel(0.1), kernel(0.2)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0,), "max_variance = -1"),
        ((float("nan"),), "max_variance"),
        ((1.0, 0.0), "tolerance = 0"),
        ((1.0, 1e-8, 1.5), "max_correlation = 1.5"),
    ],
)
def test_tuning_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        activation("tanh").tuned(*arguments)


# -- one variable


def scipy_mean(g, variance, points=()):
    s = np.sqrt(variance)

    def density(z):
        return g(s * z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

    edges = [-12, *[p / s for p in points], 12]
    return sum(
        integrate.quad(density, low, high, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
        for low, high in pairwise(edges)
    )


def test_moments_equal_those_of_scipy(functions):
    for name, points in (("tanh", ()), ("leaky_relu(0.2)", (0,))):
        f, slope = functions[name]
        for k in (0.3, 2.5):
            found = moments(activation(name), k)
            expected = [
                scipy_mean(g, k, points)
                for g in (
                    lambda z, f=f: f(z, None) ** 2,
                    lambda z, f=f: f(z, None) ** 4,
                    lambda z, slope=slope: slope(z, None) ** 2,
                    lambda z, f=f, k=k: f(z, None) ** 2 * (z * z - k) / (2 * k * k),
                )
            ]
            np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_critical_points_of_t15():
    """ReLU is critical at σ_w² = 2 at every K; tanh at 1 and erf at π/4 as K → 0; swish is not at 0."""
    k = jnp.array([0.0, 1e-12, 1.0])
    relu = moments(activation("relu"), k)
    np.testing.assert_allclose(2 * relu.stretch, 1, rtol=1e-12)
    np.testing.assert_allclose(2 * relu.slope_square[1:], 1, rtol=1e-12)
    for name, weight_variance in (("tanh", 1.0), ("erf", np.pi / 4)):
        near_zero = moments(activation(name), 0.0)
        assert abs(weight_variance * near_zero.stretch - 1) < 1e-6
        assert abs(weight_variance * near_zero.slope_square - 1) < 1e-12
    swish = moments(activation("swish"), 1.0)
    assert abs(swish.stretch / swish.slope_square - 1) > 0.01


def test_an_average_over_a_kink_needs_to_be_told_of_it():
    exact = np.sqrt(2 / np.pi)
    assert abs(gaussian_expectation(jnp.abs, 1.0, kinks=(0.0,)) - exact) < 1e-14
    assert abs(gaussian_expectation(jnp.abs, 1.0) - exact) > 1e-4
