"""Closed forms against quadratures that resolve kinks, and what is true of every activation."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brg_prob.activations import activation, moments, names

JUMPS = ("step", "sign")
CLOSED = set(names()) - {"tanh", "swish", "softplus", "sigmoid"}


BLOCKS = [  # a, b, c: unequal variances, ρ up to ±1
    (1.0, 1.0, 0.3),
    (1.7, 0.4, -0.8 * np.sqrt(0.68)),
    (0.9, 2.3, 0.9999 * np.sqrt(2.07)),
    (0.5, 0.7, -0.999999 * np.sqrt(0.35)),
    (1.0, 1.0, 1.0),
    (2.0, 2.0, 0.0),
    (1e-3, 1.5, 0.5 * np.sqrt(1.5e-3)),
]
ROUND_OFF = 1 + 4e-16
EDGES = [  # a, b, c
    (1.0, 1.0, 1.0),
    (1.0, 1.0, -1.0),
    (0.7, 0.7, 0.7 * ROUND_OFF),
    (0.3, 0.6, -np.sqrt(0.18) * ROUND_OFF),
    (0.0, 1.0, 0.0),
    (1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0),
    (1e-200, 1.0, 0.0),
    (1e-30, 1e-30, 1e-30),
]
DIAGONAL = [(k, k, k) for k in (0.2, 0.6, 1.0)]
INSIDE = [(1.0, 1.0, 0.3), (0.9, 0.4, -0.5), (0.8, 0.8, 0.0)]
STEP = 1e-5
SHIFTED = [tuple(np.array(p) + d) for p in INSIDE for d in STEP * np.concatenate([np.eye(3), -np.eye(3)])]
# a Gram matrix with a repeated and an opposite input, variances up to about 1
INPUTS = np.random.default_rng(3).normal(size=(20, 4)) / 3
INPUTS[7], INPUTS[8] = INPUTS[3], -INPUTS[3]
GRAM = INPUTS @ INPUTS.T
SIZE = np.diag(GRAM) + 0 * GRAM
KERNEL = list(zip(SIZE.T.ravel(), SIZE.ravel(), GRAM.ravel(), strict=True))
SETS = (BLOCKS, EDGES, DIAGONAL, INSIDE, SHIFTED, KERNEL)
POINTS = np.concatenate([np.array(points) for points in SETS]).T
PARTS = np.cumsum([len(points) for points in SETS])[:-1]


@cache
def differentiated(name):
    """Value and derivatives by a, b, c of both duals, (2, 4, points), split into the SETS."""
    act = activation(name).tuned(1.0, 1e-5)  # a short series; those of full length are in test_numeric

    @jax.jit
    def both(*point):  # forward, which compiles faster
        value, along = jax.linearize(lambda *p: jnp.stack([act.dual(*p), act.dual_derivative(*p)]), *point)
        one, zero = jnp.ones(POINTS.shape[1]), jnp.zeros(POINTS.shape[1])
        slopes = [along(*(one if i == j else zero for j in range(3))) for i in range(3)]
        return jnp.stack([value, *slopes], axis=1)

    return np.split(np.asarray(both(*POINTS)), PARTS, axis=-1)


def oracle(polar, f):
    return np.array([polar(f, f, a, b, np.clip(c / np.sqrt(a * b), -1, 1)) for a, b, c in BLOCKS])


def test_every_name_is_tested(functions):
    assert {name.split("(")[0] for name in functions} == set(names())


def test_closed_form_equals_quadrature(closed_name, functions, polar):
    for row, f in zip(differentiated(closed_name)[0], functions[closed_name], strict=True):
        np.testing.assert_allclose(row[0], oracle(polar, f), rtol=1e-10, atol=1e-11)


def test_a_slope_wrong_by_a_percent_is_found(functions, polar):
    expected = oracle(polar, functions["leaky_relu(0.2)"][0])
    assert np.abs(activation("leaky_relu(0.202)").dual(*np.array(BLOCKS).T) - expected).max() > 1e-4


def test_gauss_hermite_is_no_reference_for_a_kink(hermite):
    relu = activation("relu")
    gap = hermite(lambda z: np.maximum(z, 0), lambda z: np.maximum(z, 0), 1.0, 1.0, 0.3) - relu.dual(
        1, 1, 0.3
    )
    assert abs(gap) > 1e-6


def test_functions_and_their_derivatives_are_those_of_the_name(any_name, functions):
    act, (f, slope) = activation(any_name), functions[any_name]
    z = np.array([-3.1, -0.7, 0.2, 2.9])
    np.testing.assert_allclose(act(z, 0.7), f(z, 0.7), rtol=1e-13)
    np.testing.assert_allclose(act.derivative(z, 0.7), slope(z, 0.7), rtol=1e-12, atol=1e-15)


def test_conventions_at_zero_are_those_of_a_zero_variance():
    """φ(0) of a jump and φ′(0) of a kink are the means of both sides, and so are the kernels at a = 0."""
    relu, step, sign = (activation(name) for name in ("relu", "step", "sign"))
    assert relu.derivative(0.0) == 0.5 and step(0.0) == 0.5 and sign(0.0) == 0
    for b in (0.0, 3.0):
        np.testing.assert_allclose([relu.dual_derivative(0, b, 0), step.dual(0, b, 0)], 0.25, rtol=1e-15)
    assert sign.dual(0.0, 0.0, 0.0) == sign.dual(0.0, 3.0, 0.0) == 0
    assert step.dual_derivative(1, 1, 1) == sign.dual_derivative(1, 1, 1) == 0


def test_exp_needs_the_variance():
    with pytest.raises(ValueError, match="pass variance"):
        activation("exp")(1.0)


def test_kernel_is_symmetric_and_the_covariance_of_something(any_name):
    kernel = differentiated(any_name)[-1][0, 0].reshape(GRAM.shape)
    assert np.abs(kernel - kernel.T).max() <= 1e-14 * np.abs(kernel).max()
    eigenvalues = np.linalg.eigvalsh((kernel + kernel.T) / 2)
    assert eigenvalues[0] >= -1e-12 * eigenvalues[-1]


# -- digits near |ρ| = 1


@pytest.mark.parametrize("distance", [1e-3, 1e-7, 1e-12, 1e-15])
def test_relu_and_step_keep_their_digits_near_coincident_points(distance):
    """With a = b = 1 and 1 − |ρ| exact, series in the angle are exact references, to all relative digits."""
    c = 1 - distance
    gap = 1 - c  # exactly representable
    theta = 2 * np.arcsin(np.sqrt(gap / 2))
    relu, step = activation("relu"), activation("step")
    # sin θ − θ cos θ = θ³/3 (1 − θ²/10 + θ⁴/280 − θ⁶/15120 + …)
    near_minus_one = theta**3 / 3 * (1 - theta**2 / 10 + theta**4 / 280 - theta**6 / 15120) / (2 * np.pi)
    np.testing.assert_allclose(relu.dual(1.0, 1.0, -c), near_minus_one, rtol=1e-14)
    assert abs(relu.dual(1.0, 1.0, c) - (near_minus_one + c / 2)) <= 2e-16
    assert abs(step.dual(1.0, 1.0, c) - (np.pi - theta) / (2 * np.pi)) <= 2e-16
    np.testing.assert_allclose(step.dual(1.0, 1.0, -c), theta / (2 * np.pi), rtol=1e-14)


def test_coincident_points_are_exact_at_any_variance():
    k = np.random.default_rng(0).lognormal(sigma=8, size=200)
    np.testing.assert_array_equal(activation("step").dual(k, k, k), 0.5)
    np.testing.assert_allclose(activation("sign").dual(k, k, -k), -1, rtol=1e-15)
    np.testing.assert_allclose(activation("relu").dual(k, k, k), k / 2, rtol=4e-16)


# -- derivatives


def test_nothing_is_ever_nan(any_name):
    for part in differentiated(any_name):
        assert np.isfinite(part).all()


def test_derivatives_are_those_of_finite_differences(any_name):
    *_, inside, shifted, _ = differentiated(any_name)
    up, down = shifted[:, 0].reshape(2, len(INSIDE), 2, 3).transpose(2, 0, 3, 1)
    # a central difference errs by h² f‴/6 and by round-off/h, each below 1e-8 of the largest value
    error = np.abs((up - down) / (2 * STEP) - inside[:, 1:]).max()
    assert error <= (1e-7 if any_name.split("(")[0] in CLOSED else 1e-4) * max(1, np.abs(inside).max())


def test_slope_along_the_diagonal_is_that_of_the_second_moment(any_name):
    """d⟨φ²⟩/dK by parts (T15) is the sum of all three derivatives at coincident points."""
    if any_name == "exp":
        pytest.skip("its φ depends on the variance")
    total = differentiated(any_name)[2][0, 1:].sum(axis=0)
    expected = moments(activation(any_name), np.array([k for k, _, _ in DIAGONAL])).stretch
    tolerance = 1e-9 if any_name.split("(")[0] in CLOSED else 1e-4
    np.testing.assert_allclose(total, expected, rtol=tolerance, atol=tolerance)


def test_price_theorem(any_name):
    if any_name in JUMPS:
        pytest.skip("φ jumps, φ′ is taken as 0")
    for part in differentiated(any_name):
        np.testing.assert_allclose(part[0, 3], part[1, 0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_forward_and_reverse_mode_agree(name):
    act = activation(name).tuned(2.0, 1e-2)
    modes = [
        jax.jit(jax.vmap(mode(act.dual, argnums=(0, 1, 2))))(*np.array(EDGES + INSIDE).T)
        for mode in (jax.jacfwd, jax.jacrev)
    ]
    np.testing.assert_allclose(modes[0], modes[1], rtol=1e-12, atol=1e-15)


# -- float32


def test_float32_is_good_to_four_digits(any_name):
    act = activation(any_name).tuned(1.0, 1e-5)
    both = jax.jit(lambda a, b, c: (act.dual(a, b, c), act.dual_derivative(a, b, c)))
    values = both(*np.array(BLOCKS + INSIDE, np.float32).T)
    exact = [np.concatenate([part[row, 0] for part in differentiated(any_name)[:4:3]]) for row in (0, 1)]
    for value, reference in zip(values, exact, strict=True):
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, reference, rtol=1e-4, atol=1e-4)
