"""Python functions as activations: their kinks, and what is refused."""

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.special import ndtr

from brg_prob.activations import activation


def test_kinks_are_found():
    def bent(z):
        return z + 1e-3 * jnp.abs(z - 0.7)

    assert activation(jax.nn.relu6).kinks == (0.0, 6.0)
    assert activation(jax.nn.elu).kinks == (0.0,)  # only the second derivative jumps
    assert activation(bent).kinks == (0.7,)
    assert activation(bent).name == "bent"


def test_smooth_functions_have_none():
    def steep(z):
        return jnp.tanh(30 * z)

    assert activation(steep).kinks == ()
    assert activation(jnp.sin).kinks == () and activation(jnp.sin).has_series


BLOCKS = tuple(np.array([(1.0, 0.7, 0.3), (1.0, 1.0, 1.0), (1.0, 1.0, -0.999), (0.0, 1.0, 0.0)]).T)


def everything(act):
    """dual and its derivatives by a, b, c, (4, blocks); dual_derivative and its own by c, (2, blocks)."""
    one, zero = jnp.ones(4), jnp.zeros(4)

    @jax.jit
    def both(a, b, c):
        value, along = jax.linearize(act.dual, a, b, c)
        slopes = along(one, zero, zero), along(zero, one, zero), along(zero, zero, one)
        along_c = jax.jvp(lambda c: act.dual_derivative(a, b, c), (c,), (one,))
        return jnp.stack([value, *slopes]), jnp.stack(along_c)

    return [np.asarray(part) for part in both(*BLOCKS)]


def test_a_python_relu_is_the_relu():
    (dual, slope), (closed_dual, closed_slope) = (everything(activation(f)) for f in (jax.nn.relu, "relu"))
    assert np.isfinite(dual).all() and np.isfinite(slope).all()
    # not at a = 0, where jax takes φ′(0) = 0
    np.testing.assert_allclose(dual[:, :3], closed_dual[:, :3], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(slope[:, :3], closed_slope[:, :3], rtol=1e-9, atol=1e-11)


def test_a_kink_that_is_denied_costs_the_digits_that_the_estimate_says():
    block = (1.0, 0.7, 0.3)
    honest, blind = activation(jax.nn.relu), activation(jax.nn.relu, kinks=())
    exact = activation("relu").dual(*block)
    assert abs(honest.dual(*block) - exact) <= honest.error_estimate(*block) < 1e-10
    error, estimate = abs(blind.dual(*block) - exact), blind.error_estimate(*block)
    assert 1e-12 < error < 10 * estimate


@pytest.mark.parametrize("rho", [0.6, 0.99999])
def test_kinks_away_from_zero(rho):
    """hard_tanh against scipy, with the inner expectation in closed form."""
    a, b = 2.0, 0.7

    def inner(mean, spread):  # E[clip(v, −1, 1)], v ~ N(mean, spread²)
        low, high = (-1 - mean) / spread, (1 - mean) / spread
        pdf = [math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in (low, high)]
        body = mean * (ndtr(high) - ndtr(low)) + spread * (pdf[0] - pdf[1])
        return body - ndtr(low) + (1 - ndtr(high))

    def integrand(z):
        value = inner(rho * math.sqrt(b) * z, math.sqrt(b * (1 - rho**2)))
        return np.clip(math.sqrt(a) * z, -1, 1) * value * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    corners = (1 / math.sqrt(a), 1 / (rho * math.sqrt(b)))
    edges = sorted([0, 10, -10, *corners, *(-corner for corner in corners)])
    exact = sum(integrate.quad(integrand, *e, epsabs=1e-13, limit=200)[0] for e in pairwise(edges))
    act = activation(jax.nn.hard_tanh)
    assert act.kinks == (-1.0, 1.0)
    assert abs(jax.jit(act.dual)(a, b, rho * math.sqrt(a * b)) - exact) < 1e-10


# -- refusals


def total(z):
    return jnp.sum(z)


def branches(z):
    return z if z > 0 else 0 * z


def logarithm(z):
    return jnp.log(z)


def phase(z):
    return jnp.exp(1j * z)


def of_numpy(z):
    return np.tanh(z)


def softmax(z):
    return jax.nn.softmax(z)


def centred(z):
    return z - jnp.mean(z)


def positive(z):
    return z > 0


def two_arguments(z, w):
    return z + w


def explosive(z):
    return jnp.exp(jnp.exp(z))


def direction(z):
    return z / jnp.abs(z)


def root(z):
    return jnp.sqrt(z)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (total, r"total turns shape \(41,\) into \(\)"),
        (branches, "branches fails on a jax array .*jnp.where in place of if"),
        (logarithm, "logarithm is not finite at z = -"),
        (root, "root is not finite at z = -"),
        (phase, "phase returns complex128; it must return real"),
        (of_numpy, "of_numpy fails on a jax array .*jax.numpy"),
        (softmax, "softmax mixes the numbers of an array"),
        (centred, "centred mixes the numbers of an array"),
        (positive, "positive returns bool"),
        (two_arguments, "two_arguments fails on a jax array"),
        (explosive, "explosive is not finite at z = "),
        (direction, "direction is not finite at z = 0"),
    ],
)
def test_a_function_that_is_no_activation_is_refused_in_one_line(function, message):
    with pytest.raises(ValueError, match=message) as refusal:
        activation(function)
    assert "\n" not in str(refusal.value)


def test_a_function_that_overflows_at_the_variance_asked_for_is_refused():
    def growing(z):
        return jnp.exp(z)

    with pytest.raises(ValueError, match=r"growing or its derivative is not finite .* variance 1e\+08"):
        activation(growing).tuned(1e8)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rleu", "'rleu' is unknown; did you mean 'relu'"),
        ("sillu", "did you mean 'silu'"),
        ("zzz", "use one of abs, cos"),
        ("leaky_relu(nan)", "no finite slope"),
        ("leaky_relu(much)", "needs a number"),
        ("monomial", "needs its parameter, such as 'monomial\\(3\\)'"),
        ("monomial(0.5)", "whole power"),
        ("monomial(-1)", "whole power"),
        ("monomial(nan)", "whole power"),
        ("relu(3)", "takes no parameter"),
    ],
)
def test_a_spec_that_names_nothing_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        activation(spec)


def test_neither_name_nor_function(own_refusals):
    with pytest.raises(TypeError, match="must be a name such as 'relu'"):
        activation(3)
    with pytest.raises(ValueError, match="kinks"):
        activation(jnp.sin, kinks=(float("nan"),))
