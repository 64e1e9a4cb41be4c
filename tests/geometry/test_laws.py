"""Beta, Gamma and Student in z: derivatives in the parameters, against differences of scipy's functions."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats

from brg_prob.geometry.laws import BETA, GAMMA, STUDENT, law_quantile, law_score
from brg_prob.geometry.transport import from_standard_normal, to_standard_normal

Z = np.array([-2.0, -0.4, 0.3, 1.5])
FIRST = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}  # weights of central differences of eighth order
SECOND = {0: -205 / 72, 1: 8 / 5, 2: -1 / 5, 3: 8 / 315, 4: -1 / 560}

# NumPyro's distribution, scipy's distribution function and quantile, cases of its parameters
FAMILIES = {
    "Beta": (
        dist.Beta,
        lambda x, a, b: special.betainc(a, b, x),
        lambda p, a, b: special.betaincinv(a, b, p),
        [(2.0, 5.0), (0.3, 0.2), (40.0, 300.0)],
    ),
    "Gamma": (
        lambda a: dist.Gamma(a, 1.0),
        lambda x, a: special.gammainc(a, x),
        lambda p, a: special.gammaincinv(a, p),
        [(2.5,), (0.2,), (90.0,)],
    ),
    "StudentT": (
        dist.StudentT,
        lambda x, df: special.stdtr(df, x),
        lambda p, df: special.stdtrit(df, p),
        [(3.0,), (0.5,), (30.0,)],
    ),
}


def difference(function, parameters, number, weights, step):
    """Return a derivative in one parameter, divided by a step relative to it."""
    total = 0.0
    for k, weight in weights.items():
        for sign in (1, -1) if k else (1,):
            moved = list(parameters)
            moved[number] *= 1 + sign * k * step
            odd = sign if weights is FIRST else 1
            total = total + odd * weight * function(*moved)
    return total / (step * parameters[number]) ** (1 if weights is FIRST else 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_derivatives_in_the_parameters_are_those_of_scipys_function(name):
    family, cdf, quantile, cases = FAMILIES[name]
    x = np.array([quantile(stats.norm.cdf(Z), *case) for case in cases])

    def score(parameters, x):
        return to_standard_normal(family(*parameters), x)

    both = jax.jit(
        jax.vmap(
            jax.vmap(
                lambda p, x: jax.jacfwd(lambda q: (jax.grad(score)(q, x),) * 2, has_aux=True)(p), (None, 0)
            )
        )
    )
    second, first = (np.asarray(part) for part in both(np.array(cases), x))
    for case, points, one, two in zip(cases, x, first, second, strict=True):
        z = lambda *parameters: stats.norm.ppf(cdf(points, *parameters))  # noqa: E731, B023
        for number in range(len(case)):
            expected = difference(z, case, number, FIRST, 3e-3)
            np.testing.assert_allclose(one[:, number], expected, rtol=1e-8)
            other = difference(z, [1.001 * value for value in case], number, FIRST, 3e-3)
            assert np.abs(one[:, number] / other - 1).max() > 1e-5  # the control: parameters .1 % off
            curved = difference(z, case, number, SECOND, 3e-2)
            np.testing.assert_allclose(two[:, number, number], curved, rtol=2e-6)
        np.testing.assert_allclose(two, np.swapaxes(two, 1, 2), rtol=1e-9, atol=1e-13)


def test_a_parameter_that_moves_the_map_moves_its_inverse_back():
    """θ(z(θ; a); a) = θ whatever a: both derivatives of the round trip vanish."""
    x = np.array([0.05, 0.9, 4.0])

    def round_trip(a, x):
        d = dist.Gamma(a, 2.0)
        return from_standard_normal(d, to_standard_normal(d, x))

    def derivatives(x):
        return jax.jacfwd(lambda a: (jax.grad(round_trip)(a, x),) * 2, has_aux=True)(1.7)

    second, first = jax.jit(jax.vmap(derivatives))(x)
    np.testing.assert_allclose(first, 0, atol=1e-11)
    np.testing.assert_allclose(second, 0, atol=1e-9)


def test_scores_keep_their_digits_in_both_tails_and_at_small_parameters():
    z = np.array([-30.0, -8.0, -1.0, 0.0, 0.2, 2.0, 9.0, 20.0])
    a, b, small = (np.array(values)[:, None] for values in ([2, 0.01, 400], [5, 7, 3000.0], [2.5, 0.02, 900]))

    @jax.jit
    def there_and_back(z):
        t = law_quantile(BETA, z, a, b), law_quantile(GAMMA, z, small), law_quantile(STUDENT, z, 2 * small)
        back = law_score(BETA, t[0], a, b), law_score(GAMMA, t[1], small), law_score(STUDENT, t[2], 2 * small)
        return t, back

    t, back = there_and_back(z)
    for found in (back[0], back[1], back[2][::2]):  # Student variables of 1/25 degrees of freedom overflow
        np.testing.assert_allclose(found, np.broadcast_to(z, found.shape), atol=1e-11)
    inner = np.array([2, 3, 4, 5])
    np.testing.assert_allclose(
        t[1][0, inner], np.log(stats.gamma(2.5).ppf(stats.norm.cdf(z[inner]))), atol=1e-12
    )
    np.testing.assert_allclose(
        t[0][0, inner], special.logit(stats.beta(2, 5).ppf(stats.norm.cdf(z[inner]))), atol=1e-12
    )
    assert np.asarray(t[0])[1, 0] == pytest.approx(  # F = x^a/(a B) where x is tiny, log F = log Φ(−30)
        (stats.norm.logcdf(-30) + np.log(0.01) + special.betaln(0.01, 7)) / 0.01, rel=1e-12
    )


@pytest.mark.slow
def test_many_entries_are_the_same_as_few():
    z = np.linspace(-2, 2, (1 << 14) + 3)
    many = jax.jit(lambda z: law_quantile(GAMMA, z, 3.0))(z)
    few = np.log(stats.gamma(3.0).ppf(stats.norm.cdf(z[::4000])))
    np.testing.assert_allclose(many[::4000], few, atol=1e-12)


def test_single_precision_keeps_its_own_digits():
    z = np.array([-3.0, -1.0, 0.1, 2.0, 4.0], np.float32)
    with jax.enable_x64(False):
        t = jax.jit(lambda z: law_quantile(STUDENT, z, np.float32(3.0)))(z)
    assert t.dtype == np.float32
    np.testing.assert_allclose(t, stats.t(3).isf(stats.norm.sf(z)), rtol=2e-6)
