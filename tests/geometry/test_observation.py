"""Expected information of observations: against simulated scores, divergences and series."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
from numpyro.contrib.control_flow import scan

from brg_prob.geometry import observation_information
from brg_prob.geometry.observation import embedded, family_of, unwrapped
from brg_prob.geometry.site_metric import site_metric

SAMPLES = 20_000


def softmax(a):
    return np.exp(a) / np.exp(a).sum()


def ordered(a):
    cut = np.array([a[1], a[1] + np.exp(a[2])])
    return np.diff(np.concatenate([[0.0], scipy.special.expit(cut - a[0]), [1.0]]))


def one_hot_choice(rng, p):
    return rng.choice(len(p), size=SAMPLES, p=p)


def tril(a):
    return jnp.array([[jnp.exp(a[2]), 0.0], [a[3], jnp.exp(a[4])]])


# Distribution of unconstrained arguments, a point, and scipy's or numpy's own draws there.
CASES = {
    "Normal": (
        lambda a: dist.Normal(a[0], jnp.exp(a[1])),
        [0.3, 0.2],
        lambda r, a: r.normal(a[0], np.exp(a[1]), SAMPLES),
    ),
    "LogNormal": (
        lambda a: dist.LogNormal(a[0], jnp.exp(a[1])),
        [0.3, 0.2],
        lambda r, a: np.exp(r.normal(a[0], np.exp(a[1]), SAMPLES)),
    ),
    "StudentT": (
        lambda a: dist.StudentT(jnp.exp(a[0]), a[1], jnp.exp(a[2])),
        [1.2, 0.3, 0.2],
        lambda r, a: a[1] + np.exp(a[2]) * r.standard_t(np.exp(a[0]), SAMPLES),
    ),
    "BernoulliLogits": (
        lambda a: dist.BernoulliLogits(a[0]),
        [0.4],
        lambda r, a: r.binomial(1, scipy.special.expit(a[0]), SAMPLES),
    ),
    "BernoulliProbs": (lambda a: dist.BernoulliProbs(a[0]), [0.3], lambda r, a: r.binomial(1, a[0], SAMPLES)),
    "BinomialLogits": (
        lambda a: dist.BinomialLogits(a[0], 7),
        [0.4],
        lambda r, a: r.binomial(7, scipy.special.expit(a[0]), SAMPLES),
    ),
    "BinomialProbs": (
        lambda a: dist.BinomialProbs(a[0], 7),
        [0.3],
        lambda r, a: r.binomial(7, a[0], SAMPLES),
    ),
    "CategoricalLogits": (
        dist.CategoricalLogits,
        [0.4, 0.1, -1.0],
        lambda r, a: one_hot_choice(r, softmax(a)),
    ),
    "CategoricalProbs": (
        lambda a: dist.CategoricalProbs(jax.nn.softmax(a)),
        [0.4, 0.1, -1.0],
        lambda r, a: one_hot_choice(r, softmax(a)),
    ),
    "MultinomialLogits": (
        lambda a: dist.MultinomialLogits(a, 5),
        [0.4, 0.1, -1.0],
        lambda r, a: r.multinomial(5, softmax(a), SAMPLES),
    ),
    "MultinomialProbs": (
        lambda a: dist.MultinomialProbs(jax.nn.softmax(a), 5),
        [0.4, 0.1, -1.0],
        lambda r, a: r.multinomial(5, softmax(a), SAMPLES),
    ),
    "Poisson": (lambda a: dist.Poisson(jnp.exp(a[0])), [0.4], lambda r, a: r.poisson(np.exp(a[0]), SAMPLES)),
    "NegativeBinomial2": (
        lambda a: dist.NegativeBinomial2(jnp.exp(a[0]), jnp.exp(a[1])),
        [1.0, 0.2],
        lambda r, a: r.poisson(r.gamma(np.exp(a[1]), np.exp(a[0] - a[1]), SAMPLES)),
    ),
    "NegativeBinomialProbs": (
        lambda a: dist.NegativeBinomialProbs(jnp.exp(a[0]), a[1]),
        [0.5, 0.4],
        lambda r, a: r.negative_binomial(np.exp(a[0]), 1 - a[1], SAMPLES),
    ),
    "NegativeBinomialLogits": (
        lambda a: dist.NegativeBinomialLogits(jnp.exp(a[0]), a[1]),
        [0.5, 0.4],
        lambda r, a: r.negative_binomial(np.exp(a[0]), scipy.special.expit(-a[1]), SAMPLES),
    ),
    "Exponential": (
        lambda a: dist.Exponential(jnp.exp(a[0])),
        [0.4],
        lambda r, a: r.exponential(np.exp(-a[0]), SAMPLES),
    ),
    "Gamma": (
        lambda a: dist.Gamma(jnp.exp(a[0]), jnp.exp(a[1])),
        [0.5, 0.2],
        lambda r, a: r.gamma(np.exp(a[0]), np.exp(-a[1]), SAMPLES),
    ),
    "Beta": (
        lambda a: dist.Beta(jnp.exp(a[0]), jnp.exp(a[1])),
        [0.5, 0.2],
        lambda r, a: r.beta(np.exp(a[0]), np.exp(a[1]), SAMPLES),
    ),
    "MultivariateNormal": (
        lambda a: dist.MultivariateNormal(a[:2], scale_tril=tril(a)),
        [0.4, 0.1, -1.0, 0.5, 0.2],
        lambda r, a: (
            a[:2] + r.normal(size=(SAMPLES, 2)) @ np.array([[np.exp(a[2]), 0], [a[3], np.exp(a[4])]]).T
        ),
    ),
    "OrderedLogistic": (
        lambda a: dist.OrderedLogistic(a[0], jnp.stack([a[1], a[1] + jnp.exp(a[2])])),
        [0.4, 0.1, -1.0],
        lambda r, a: one_hot_choice(r, ordered(a)),
    ),
}


def deviation(scores, information):
    """Return the largest deviation of averaged outer products from a matrix, in standard errors."""
    products = scores[:, :, None] * scores[:, None, :]
    error = products.std(axis=0) / SAMPLES**0.5
    return np.max(np.abs(products.mean(axis=0) - information)[error > 1e-10] / error[error > 1e-10])


@pytest.mark.parametrize("name", CASES)
def test_information_is_the_covariance_of_scores_of_simulated_observations(name):
    make, point, draw = CASES[name]
    point = np.array(point)
    y = draw(np.random.default_rng(5), point)

    @jax.jit
    def scores_and_root(a, y):
        reference = make(jax.lax.stop_gradient(a))

        def both(b):
            there = make(b)
            return there.log_prob(y), embedded(reference, there)

        return *jax.jacfwd(both)(a), observation_information(reference).matrix

    scores, root, matrix = (np.asarray(part) for part in scores_and_root(jnp.asarray(point), y))
    information = root.T @ root
    assert deviation(scores, information) < 4
    assert deviation(scores, 1.1 * information) > 4  # an information a tenth too large is seen
    base = unwrapped(make(jnp.asarray(point)))
    count = len(family_of(base).names(base))
    assert matrix.shape == (count, count)
    np.testing.assert_allclose(matrix, matrix.T)


@pytest.mark.parametrize("alpha", [0.1, 3.0, 1e4])
def test_information_of_a_negative_binomials_concentration_is_its_series(alpha):
    # Σ_{j≥2} q^j B(j, α)/j from E[ψ′(α) − ψ′(α + y)] (Fisher 1941): all terms positive
    q = np.array([1e-3, 0.5, 0.99, 1 - 1e-4])
    j = np.arange(2, 400_000)[:, None]
    series = np.exp(j * np.log(q) + scipy.special.betaln(j, alpha) - np.log(j)).sum(axis=0)
    mean = alpha * q / (1 - q)
    found = observation_information(dist.GammaPoisson(alpha, jnp.asarray(alpha / mean)))
    np.testing.assert_allclose(found.matrix[:, 0, 0], series, rtol=1e-10)
    assert "quadrature" in found.status


@pytest.mark.parametrize(
    ("make", "log_pmf", "point"),
    [
        (
            lambda a: dist.GammaPoisson(a[0], a[0] / a[1]),
            lambda k, a: scipy.stats.nbinom.logpmf(k, a[0], a[0] / (a[0] + a[1])),
            [1.3, 2.0],
        ),
        (lambda a: dist.Poisson(a[0]), lambda k, a: scipy.stats.poisson.logpmf(k, a[0]), [2.0]),
        (lambda a: dist.BinomialProbs(a[0], 7), lambda k, a: scipy.stats.binom.logpmf(k[:8], 7, a[0]), [0.3]),
    ],
)
def test_divergence_of_neighbours_is_half_the_squared_length_of_the_step(make, log_pmf, point):
    point, counts = np.array(point), np.arange(400)
    step = 1e-3 * np.array([1.0, -0.7])[: point.size]
    one, other = log_pmf(counts, point - step / 2), log_pmf(counts, point + step / 2)
    symmetric = np.sum((np.exp(one) - np.exp(other)) * (one - other)) / 2
    information = np.asarray(jax.jit(lambda p: observation_information(make(p)).matrix)(point))
    assert abs(0.5 * step @ information @ step / symmetric - 1) < 1e-5


def test_plates_masks_declared_dimensions_and_scales_are_seen_through():
    @jax.jit
    def matrices(loc, probabilities):
        mask = np.array([True, False, True, True])[:, None]
        rows = dist.Normal(loc, 2.0).expand([4, 3]).mask(mask).to_event(1)
        masked = dist.CategoricalProbs(probabilities).mask(np.array([True, False]))
        scale = jnp.array([1.0, 1.0, 5.0, 1.0])
        return observation_information(rows, scale=scale).matrix, observation_information(masked).matrix

    found, masked = matrices(np.zeros(3), np.full((2, 3), 1 / 3))
    weight = np.array([1.0, 0.0, 5.0, 1.0])[:, None, None, None] * np.ones((4, 3, 1, 1))
    np.testing.assert_allclose(found, weight * np.diag([0.25, 0.5]), rtol=1e-12)
    np.testing.assert_allclose(masked, np.stack([3 * np.eye(3), np.zeros((3, 3))]))


def test_bernoulli_at_certainty_has_no_infinities():
    point = np.array([1e4, -1e4])
    root = jax.jit(
        jax.jacfwd(
            lambda a: embedded(
                dist.BernoulliProbs(jax.nn.sigmoid(point)), dist.BernoulliProbs(jax.nn.sigmoid(a))
            )
        )
    )
    assert np.isfinite(np.asarray(root(point))).all()


def test_a_family_without_closed_form_is_refused_by_name():
    with pytest.raises(ValueError, match="Laplace has no expected information"):
        observation_information(dist.Laplace(0.0, 1.0))

    class Tilted(dist.Normal):
        """Another density under a known name."""

    with pytest.raises(ValueError, match="Tilted"):
        observation_information(Tilted(0.0, 1.0))


def test_a_compound_law_that_a_scan_has_stacked_is_simulated_step_by_step():
    """Against its closed form outside the scan."""
    x, y = np.linspace(0, 1, 6)[:, None], np.linspace(0.5, 2, 6)

    def scanned(x, y=None):
        a = numpyro.sample("a", dist.Normal(0, 1))
        numpyro.deterministic("f", a + x[:, 0])

        def step(carry, now):
            numpyro.sample("y", dist.LogNormal(a * now[0], 0.5), obs=now[1])
            return carry, None

        scan(step, 0.0, (x[:, 0], y))

    metric = site_metric(scanned, x, y, at={"a": 0.3}, samples=400)
    (found,), (error,) = np.asarray(metric.eigenvalues), np.asarray(metric.error)
    right = np.mean(x[:, 0] ** 2) / 0.25
    assert 0 < error < 0.1 * right
    assert abs(found - right) < 5 * error
