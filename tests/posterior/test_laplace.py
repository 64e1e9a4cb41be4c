"""The engine ``laplace``: a Gaussian at the mode, in coordinates where the prior is N(0, 1)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoLaplaceApproximation
from scipy import optimize, stats

from brg_prob.geometry import site_metric
from brg_prob.geometry.coordinates import NoTransport, from_standard_normal
from brg_prob.network import Conditioned
from brg_prob.posterior.engine import as_data
from brg_prob.posterior.laplace import Laplace
from brg_prob.posterior.mode import WhitenedModel, find_mode

DRAWS = 4000
NOISE = 0.5
X = np.linspace(-1, 1, 12)[:, None]
Y = 1.3 * X[:, 0] + 0.1


def run(model, y=Y, *, draws=DRAWS, observations=12.0, engine=None, seed=0, **options):
    """Return the tree of one fit."""
    return (engine or Laplace()).fit(
        model, as_data(X, y), key=jax.random.key(seed), draws=draws, observations=observations, **options
    )


def variance_p(draws, variance):
    """Return the two-sided p-value of a sample's spread about its mean under a normal of known variance."""
    total = np.sum((draws - np.mean(draws)) ** 2) / variance
    return 2 * min(f(total, np.size(draws) - 1) for f in (stats.chi2.cdf, stats.chi2.sf))


def sum_only(x, y=None):
    """Two numbers of which the data see the sum alone, and one that only a factor of the prior knows."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    c = numpyro.sample("c", dist.Normal(0.0, 1.0))
    numpyro.factor("bowl", -1.5 * c**2)
    numpyro.sample("y", dist.Normal((a + b) * x[:, 0], NOISE), obs=y)


def sloped(x, y=None):
    """A linear model with priors that are neither centred nor of unit width, hierarchically parameterised."""
    slope = numpyro.sample("slope", dist.Normal(0.4, 2.0))
    rest = numpyro.sample("rest", dist.Normal(slope * jnp.ones(2), 0.7).to_event(1))
    features = jnp.stack([x[:, 0], jnp.cos(3 * x[:, 0]), x[:, 0] ** 2], axis=1)
    weights = jnp.concatenate([slope[None], rest])
    numpyro.sample("y", dist.Normal(features @ weights, NOISE), obs=y)


def linear_oracle(observations):
    """Return mean and covariance of the weights of ``sloped``, by dense numpy."""
    x = np.asarray(X[:, 0])
    features = np.stack([x, np.cos(3 * x), x**2], axis=1)
    prior = np.full((3, 3), 4.0) + np.diag([0, 0.49, 0.49])
    precision = np.linalg.inv(prior) + observations / 12 * features.T @ features / NOISE**2
    covariance = np.linalg.inv(precision)
    shift = np.linalg.inv(prior) @ np.full(3, 0.4) + observations / 12 * features.T @ np.asarray(Y) / NOISE**2
    return covariance @ shift, covariance


@functools.cache
def whitened(model):
    """Return a model in whitened coordinates and its compiled derivatives (z, T)."""
    made = WhitenedModel.of(Conditioned.of(model, X, Y), caller="Laplace()")
    return made, jax.jit(made.derivatives)


@jax.jit
def sloped_weights(z):
    """Return the weights of ``sloped`` at z, (3,), and their derivatives by z."""

    def weights(z):
        values = whitened(sloped)[0].values(z)
        return jnp.concatenate([values["slope"][None], values["rest"]])

    return weights(z), jax.jacfwd(weights)(z)


@pytest.mark.parametrize("observations", [12.0, 3.0, 0.2, 0.0])
def test_a_linear_gaussian_model_is_exact_at_any_weight_of_the_data(observations):
    _, derivatives = whitened(sloped)
    found = find_mode(lambda z: derivatives(z, observations), np.full(3, 0.3), iterations=100)
    weights, jacobian = (np.asarray(part) for part in sloped_weights(found.z))
    mean, covariance = linear_oracle(observations)
    np.testing.assert_allclose(weights, mean, atol=1e-8)
    ours = jacobian @ np.linalg.inv(found.precision) @ jacobian.T
    np.testing.assert_allclose(ours, covariance, atol=1e-8)
    other, wrong = linear_oracle(observations + 0.1)  # negative control: another T is told apart
    assert np.abs(ours - wrong).max() > 1e-4
    assert np.abs(mean - other).max() > 1e-4


def test_a_direction_the_data_say_nothing_of_keeps_its_prior_width_and_factors_count():
    tree = run(sum_only)
    a, b, c = (tree["posterior"][name].values[0] for name in "abc")
    seen = 2 * np.sum(np.asarray(X) ** 2) / NOISE**2
    assert variance_p((a - b) / np.sqrt(2), 1.0) > 1e-3
    assert variance_p((a + b) / np.sqrt(2), 1 / (1 + seen)) > 1e-3
    assert variance_p((a - b) / np.sqrt(2), 1 / (1 + seen)) < 1e-9  # the test tells them apart
    assert variance_p(c, 0.25) > 1e-3
    assert variance_p(c, 1.0) < 1e-9
    assert tree.attrs["converged"] == 1


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_where_numpyros_own_approximation_is_set_by_rounding_the_prior_width_is_kept(share):
    """Priors flat but for a kink at 0: in the model's own coordinates the Hessian is singular at the mode.

    NumPyro's is then 10⁷ prior widths wide, or a constant; ours has the closed form: with z the score of a,
    h the hazard of N(0, 1), the curvature along a is 1 − z(h − z) where the sum is fixed.
    """

    def kinked(x, y=None):
        a = numpyro.sample("a", dist.Laplace(0.0, 1.0))
        b = numpyro.sample("b", dist.Laplace(0.0, 1.0))
        numpyro.sample("y", dist.Normal((a + share * b) * x[:, 0], NOISE), obs=y)

    guide = AutoLaplaceApproximation(kinked)
    SVI(kinked, guide, numpyro.optim.Adam(0.1), Trace_ELBO()).init(jax.random.key(0), X, Y)
    at_mode = {"auto_loc": jnp.array([0.65, 0.65])}  # of the many modes, one
    theirs = jax.jit(lambda key: guide.sample_posterior(key, at_mode, sample_shape=(500,)))(jax.random.key(1))
    width = float(jnp.std(share * theirs["a"] - theirs["b"]))
    assert width > 1e6 or width < 1e-8

    _, derivatives = whitened(kinked)
    found = find_mode(lambda z: derivatives(z, 12.0), np.full(2, 0.3), iterations=100)
    hazard = stats.norm.pdf(found.z) / stats.norm.sf(found.z)
    null = np.array([share * hazard[1], -hazard[0]])  # dθ = dz · hazard, on the side of positive θ
    assert (found.z > 0).all()
    curvature = np.sum(null**2 * (1 - found.z * (hazard - found.z)))
    assert null @ found.precision @ null == pytest.approx(curvature, rel=1e-8)
    assert 0.3 < curvature / np.sum(null**2) < 1


def test_positive_sites_stay_positive_and_are_normal_in_z():
    """An exponential rate: against SciPy's minimum and a second difference in z."""

    def waiting(x, y=None):
        rate = numpyro.sample("rate", dist.Exponential(2.0))
        numpyro.sample("y", dist.Exponential(rate * jnp.ones(x.shape[0])), obs=y)

    y = np.linspace(0.05, 2.0, 12)

    def energy(z, observations=12.0):
        rate = -stats.norm.logsf(z) / 2
        return 0.5 * z**2 - observations * (np.log(rate) - rate * y.mean())

    tree = run(waiting, y)
    rate = tree["posterior"]["rate"].values[0]
    assert rate.min() > 0
    z = stats.norm.isf(np.exp(-2 * rate))
    h = 1e-3
    pvalues = {}
    for observations in (12.0, 6.0):
        best = optimize.minimize_scalar(energy, (0, 1), args=(observations,), options={"xtol": 1e-12}).x
        around = [energy(best + step, observations) for step in (-h, 0, h)]
        spread = (np.dot(around, [1, -2, 1]) / h**2) ** -0.5
        pvalues[observations] = stats.kstest(z, stats.norm(best, spread).cdf).pvalue
    assert pvalues[12.0] > 1e-3
    assert pvalues[6.0] < 1e-6  # negative control


def test_inverted_distribution_functions_have_second_derivatives():
    """The curvature of a Gamma site: d²θ/dz² = −θ′(z + θ′ d log p/dθ), θ′ = φ/p."""
    z = 0.7

    def inverse(at):
        return from_standard_normal(dist.Gamma(2.0, 3.0), at)

    def twice(at):
        return jax.jvp(lambda t: jax.jvp(inverse, (t,), (1.0,)), (at,), (1.0,))

    (value, slope), (_, second) = jax.jit(twice)(z)
    theta = stats.gamma.isf(stats.norm.sf(z), 2.0, scale=1 / 3)
    first = stats.norm.pdf(z) / stats.gamma.pdf(theta, 2.0, scale=1 / 3)
    assert value == pytest.approx(theta, rel=1e-10)
    assert slope == pytest.approx(first, rel=1e-10)
    assert second == pytest.approx(-first * (z + first * (1 / theta - 3.0)), rel=1e-9)


def test_a_model_without_a_mode_is_refused():
    def hill(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        numpyro.factor("hill", 0.5 * a**2)
        numpyro.sample("y", dist.Normal(0.0 * a * x[:, 0], NOISE), obs=y)

    with pytest.raises(ValueError, match=r"the Hessian has the eigenvalue .* no mode; use NUTS"):
        run(hill, draws=5)
    with pytest.raises(ValueError, match="factor 'bowl' of the prior has no expected information"):
        run(sum_only, draws=5, engine=Laplace(curvature="fisher"))


def test_expected_and_observed_curvature_differ_by_what_the_theory_says():
    """One exponential rate: the Hessian in its logarithm is T·rate·ȳ, the expectation of that T."""

    def waiting(x, y=None):
        level = numpyro.sample("level", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Exponential(jnp.exp(level) * jnp.ones(x.shape[0])), obs=y)

    times = np.linspace(20.0, 40.0, 12)
    best = optimize.brentq(lambda s: s - 12.0 + 12.0 * 30.0 * np.exp(s), -9, 9, xtol=1e-14)
    variances = {"hessian": 1 / (1 + 12 * 30.0 * np.exp(best)), "fisher": 1 / 13.0}
    for curvature, variance in variances.items():
        tree = run(waiting, times, engine=Laplace(curvature=curvature))
        level = tree["posterior"]["level"].values
        assert abs(level.mean() - best) < 4 * np.sqrt(variance / level.size)
        for other, known in variances.items():
            assert (variance_p(level, known) > 1e-3) == (other == curvature)
        assert tree.attrs["curvature"] == curvature


def test_a_ladder_starts_where_it_is_already_compiles_once_and_too_few_steps_are_reported():
    runs = []

    def waiting(x, y=None):
        runs.append(x)
        level = numpyro.sample("level", dist.Normal(0.0, 2.0))
        slope = numpyro.sample("slope", dist.Normal(0.0, 2.0))
        numpyro.sample("y", dist.Exponential(jnp.exp(level + slope * x[:, 0])), obs=y)

    times = np.exp(-np.linspace(-4.0, 6.0, 12))
    data, key = as_data(X, times), jax.random.key(0)
    options = {"draws": 200, "key": jax.random.fold_in(key, 0), "observations": 12.0}
    cold = Laplace().fit(waiting, data, **options)
    along = Laplace().along(waiting, data, key=key, draws=200, scales=[12.0, 3.0], start=cold)
    warm, count = next(along), len(runs)
    further = next(along)
    assert len(runs) == count
    assert (warm.attrs["observations"], further.attrs["observations"]) == (12.0, 3.0)
    assert further["posterior"]["slope"].std() > 1.5 * warm["posterior"]["slope"].std()
    stopped = Laplace(iterations=1).fit(waiting, data, **options)
    assert cold.attrs["converged"] == warm.attrs["converged"] == further.attrs["converged"] == 1
    assert warm.attrs["iterations"] < cold.attrs["iterations"]
    assert stopped.attrs["converged"] == 0
    assert stopped.attrs["status"].startswith("NOT converged after")
    # the same key gives the same noise about the same mode, wherever the optimiser came from
    np.testing.assert_allclose(warm["posterior"]["level"], cold["posterior"]["level"], atol=1e-8)


def test_a_site_without_coordinates_is_named_with_the_engine_that_takes_it():
    def shares(x, y=None):
        p = numpyro.sample("angle", dist.VonMises(0.0, 1.0))
        numpyro.sample("y", dist.Normal(p * x[:, 0], NOISE), obs=y)

    with pytest.raises(NoTransport, match=r"site 'angle': VonMises .*; Laplace\(\) .* use NUTS\(\)"):
        run(shares, draws=2)


def test_weights_of_rows_and_of_entries_of_a_prior_count_as_in_weighted_regression():
    """With handlers.scale by arrays: precision diag(prior weights) + Σ w x xᵀ/σ², and T λ likewise."""
    weights, priors = np.linspace(0.2, 3.0, 12), np.array([2.0, 0.5])

    def weighted(x, y=None):
        with numpyro.handlers.scale(scale=priors), numpyro.plate("entries", 2):
            a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        with numpyro.handlers.scale(scale=weights):
            numpyro.sample("y", dist.Normal(a[0] + a[1] * x[:, 0], NOISE), obs=y)

    design = np.stack([np.ones(12), X[:, 0]], axis=1)
    information = (weights[:, None] * design).T @ design / NOISE**2
    _, derivatives = whitened(weighted)
    found = find_mode(lambda z: derivatives(z, 12.0), np.full(2, 0.3), iterations=100)
    np.testing.assert_allclose(found.precision, np.diag(priors) + information, rtol=1e-10)
    np.testing.assert_allclose(
        found.z, np.linalg.solve(found.precision, (weights[:, None] * design).T @ Y / NOISE**2), rtol=1e-8
    )
    metric = site_metric(weighted, X, Y)
    np.testing.assert_allclose(12 * metric.eigenvalues, np.linalg.eigvalsh(information)[::-1], rtol=1e-10)
    unweighted = np.linalg.eigvalsh(design.T @ design / NOISE**2)[::-1]
    assert np.abs(12 * metric.eigenvalues / unweighted - 1).max() > 0.1


def test_shares_have_a_posterior_near_the_conjugate_one():
    """Dirichlet and counts: mean and spread of Dirichlet(a + counts), to the accuracy of a Gaussian in z."""
    a, counts = np.array([1.0, 2.0, 3.0]), np.array([[40, 90, 70], [35, 80, 85]])

    def shares(x, y=None):
        p = numpyro.sample("p", dist.Dirichlet(a))
        numpyro.sample("y", dist.Multinomial(200, p).expand([x.shape[0]]), obs=y)

    tree = Laplace().fit(shares, as_data(X[:2], counts), key=jax.random.key(0), draws=DRAWS, observations=2.0)
    draws = tree["posterior"]["p"].values[0]
    exact = stats.dirichlet(a + counts.sum(axis=0))
    spread = np.sqrt(exact.var())
    np.testing.assert_allclose(draws.sum(axis=1), 1, atol=1e-12)
    assert np.all(np.abs(draws.mean(axis=0) - exact.mean()) < 0.1 * spread)
    np.testing.assert_allclose(draws.std(axis=0), spread, rtol=0.06)
    prior = stats.dirichlet(a)
    assert np.all(np.abs(draws.mean(axis=0) - prior.mean()) > spread)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"curvature": "hesian"}, "did you mean 'hessian'"), ({"iterations": 0}, "iterations = 0")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Laplace(**options)
