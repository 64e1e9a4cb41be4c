"""Models and gaps that once were read wrong in silence: each has its right number by scipy, or is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from scipy import stats

from brg_prob.network import Conditioned

N = 6
X = np.linspace(0.5, 2.0, N)[:, None]
Y = np.array([-0.5, 0.9, 0.3, -0.2, 1.1, 0.7])
GAP = np.where(np.arange(N) == 1, np.nan, Y)
B = {"b": 0.5}


def sample(name, law, **options):
    return numpyro.sample(name, law, **options)


def by_row(model, y, values=B, x=X):
    data = Conditioned.of(model, x, y)
    return data, {name: np.asarray(v) for name, v in jax.jit(data.log_likelihood)(values).items()}


def process(x, y=None):
    b = sample("b", dist.HalfNormal(1.0))
    sample(
        "y", dist.MultivariateNormal(jnp.zeros(N), jnp.exp(-0.5 * (x - x.T) ** 2) + b**2 * jnp.eye(N)), obs=y
    )


def walk(x, y=None):
    b = sample("b", dist.HalfNormal(1.0))
    sample("y", dist.GaussianRandomWalk(b, num_steps=N), obs=y)


def branch(x, y=None):
    """An autoregression that is dead at half of the draws of its prior."""
    b = sample("b", dist.Normal(0, 1))
    sample("y", dist.Normal(jnp.maximum(b, 0.0) * jnp.concatenate([jnp.zeros(1), y[:-1]]), 1.0), obs=y)


def dead_branch(x, y=None):
    """The same, dead where the other lives."""
    b = sample("b", dist.Normal(0, 1))
    sample("y", dist.Normal(jnp.maximum(-b, 0.0) * jnp.concatenate([jnp.zeros(1), y[:-1]]), 1.0), obs=y)


def empirical_prior(x, y=None):
    b = sample("b", dist.Normal(0, jnp.nanstd(y)))
    sample("y", dist.Normal(b * jnp.ones(N), 1.0), obs=y)


def counts_gaps(x, y=None):
    b = sample("b", dist.Normal(0, 1))
    sample("y", dist.Normal(b * jnp.ones(N), 1 / jnp.sqrt(jnp.sum(~jnp.isnan(y)))), obs=y)


def censored_by_nan(x, y=None):
    b = sample("b", dist.Normal(0, 1))
    there = ~jnp.isnan(y)
    with handlers.mask(mask=there):
        sample("y", dist.Normal(b * jnp.ones(N), 1.0), obs=jnp.where(there, y, 0.0))
    numpyro.factor("censored", jnp.where(there, 0.0, -b))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (process, "observes several rows jointly"),
        (walk, "observes several rows jointly"),
        (branch, "on which other rows"),
        (dead_branch, "on which other rows"),
        (empirical_prior, "the prior depends on y"),
        (counts_gaps, "changes where they are NaN"),
        (censored_by_nan, "NaN"),
    ],
)
def test_a_gap_that_enters_beside_its_own_term_is_refused(model, said):
    assert Conditioned.of(model, X, Y).n == N  # the control: without a gap all is well
    with pytest.raises(ValueError, match=f"missing.*{said}"):
        Conditioned.of(model, X, GAP)


def test_a_dead_branch_hides_no_dependence_from_the_hold_out():
    for model in (branch, dead_branch):
        data = Conditioned.of(model, X[:4], Y[:4])
        assert data.reading.mixed == ("y",)
        there = jax.jit(data.at(X[4:], Y[4:]).log_likelihood)({"b": 0.7 if model is branch else -0.7})["y"]
        np.testing.assert_allclose(there, stats.norm.logpdf(Y[4:], 0.7 * Y[3:5]), rtol=1e-12)


def residual(x, y=None):
    """What is observed is what is left of a column target."""
    b = sample("b", dist.Normal(0, 1))
    sample("rest", dist.Normal(0, 1.0), obs=None if y is None else y - x * b)


def summed(x, y=None):
    b = sample("b", dist.Normal(0, 1))
    f = numpyro.deterministic("f", x * b)
    numpyro.factor("fit", dist.Normal(f, 1.0).log_prob(y).sum())


def test_a_column_stays_a_column_where_the_model_would_blow_it_up():
    right = stats.norm.logpdf(Y, 0.5 * X[:, 0])
    for given in (Y, Y[:, None]):
        _, found = by_row(residual, given)
        np.testing.assert_allclose(found["rest"], right, rtol=1e-12)
    _, found = by_row(summed, Y[:, None])
    np.testing.assert_allclose(found["fit"], right.sum(), rtol=1e-12)


def flat(x, y=None):
    sample("y", dist.Normal(sample("b", dist.Normal(0, 1)), 1.0).expand([x.shape[0]]), obs=y)


def test_close_values_are_told_apart_in_single_precision():
    y = np.random.default_rng(0).normal(1013, 1, 300)
    with jax.enable_x64(False):
        data = Conditioned.of(flat, np.zeros((300, 1), np.float32), y.astype(np.float32))
        assert (data.n, data.reading.mixed) == (300, ())


@pytest.mark.parametrize(
    ("coarse", "law"),
    [
        (lambda y: (y > 0).astype(int), lambda b: dist.Bernoulli(logits=b)),
        (lambda y: jnp.clip(y, 0.0), lambda b: dist.Normal(b, 1.0)),
        (lambda y: jnp.floor(jnp.exp(y)), lambda b: dist.Poisson(jnp.exp(b))),
        (jnp.abs, lambda b: dist.HalfNormal(jnp.exp(b))),
    ],
    ids=["above", "clipped", "floor", "modulus"],
)
def test_a_coarse_function_of_the_target_is_an_observation_in_every_row(coarse, law):
    def model(x, y=None):
        b = sample("b", dist.Normal(0, 1))
        sample("y", law(b).expand([N]), obs=None if y is None else coarse(y))

    data, found = by_row(model, Y)
    right = np.asarray(law(0.5).expand([N]).log_prob(coarse(jnp.asarray(Y))))
    assert data.n == N
    np.testing.assert_allclose(found["y"], right, rtol=1e-12)
    data, found = by_row(model, GAP)
    assert data.n == N - 1
    np.testing.assert_allclose(found["y"], np.where(np.isnan(GAP), 0, right), rtol=1e-12)


def chain(x, y=None):
    """The second outcome given the first."""
    b = sample("b", dist.Normal(0, 1))
    first = sample("first", dist.Normal(x[:, 0], 1.0), obs=None if y is None else y[:, 0])
    sample("second", dist.Normal(b * first, 1.0), obs=None if y is None else y[:, 1])


def test_a_term_that_needs_a_missing_column_is_left_out():
    y = np.stack([GAP, Y[::-1]], axis=1)
    data, found = by_row(chain, y)
    right = np.where(np.isnan(GAP), 0, stats.norm.logpdf(Y[::-1], 0.5 * Y))
    np.testing.assert_allclose(found["second"], right, rtol=1e-12)
    assert data.n == N - 1


@pytest.mark.parametrize("y", [[0.0, 1, 1, 0], [0.0, 1, 1, 1], [0.0, 1, 1, 0, 1, 0, 0, 1]])
def test_balanced_targets_hide_no_likelihood(y):
    y = np.array(y)

    def factor(x, y=None):
        p = sample("b", dist.Beta(1, 1))
        numpyro.deterministic("f", p * jnp.ones(x.shape[0]))
        numpyro.factor("fit", dist.Bernoulli(p).log_prob(y).sum())

    def total(x, y=None):
        p = sample("b", dist.Beta(1, 1))
        numpyro.deterministic("f", p * jnp.ones(x.shape[0]))
        sample("k", dist.Binomial(x.shape[0], p), obs=y.sum())

    data = Conditioned.of(factor, np.zeros((len(y), 1)), y)
    assert (data.likelihood_factors, data.n, data.reading.by_row) == (("fit",), len(y), False)
    data = Conditioned.of(total, np.zeros((len(y), 1)), y)
    assert (data.n, data.reading.by_row) == (len(y), False)


def test_the_field_stands_in_the_order_of_the_rows():
    order = np.array([3, 1, 5, 0, 2, 4])

    def model(x, y=None):
        b = sample("b", dist.Normal(0, 1))
        sample("y", dist.Normal(b * x[order, 0], 1.0), obs=None if y is None else y[order])

    data, found = by_row(model, Y)
    np.testing.assert_allclose(found["y"], stats.norm.logpdf(Y, 0.5 * X[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(data.field)(B), 0.5 * X[:, 0], rtol=1e-12)


def test_counts_whose_scan_carries_a_real_number_stay_real():
    def model(x, y=None):
        b = sample("b", dist.Normal(0, 1))

        def step(past, now):
            law = dist.Poisson(jnp.exp(b + 0.1 * past))
            now = sample("y", law, obs=now)
            return now, None

        scan(step, 0.0, y)

    counts = np.array([0.0, 2.0, 1.0, 0.0, 3.0, 1.0])
    data = Conditioned.of(model, X, counts)
    right = stats.poisson.logpmf(counts, np.exp(0.5 + 0.1 * np.array([0, *counts[:-1]])))
    found = jax.jit(data.log_likelihood)({"b": 0.5})["y"]
    np.testing.assert_allclose(found, right, rtol=1e-12)
    with pytest.raises(ValueError, match=r"takes whole numbers, but y has 0\.5"):
        Conditioned.of(model, X, counts + 0.5)


def of_its_type(x, y=None):
    """What is made in the type of y is cut off where that is made an integer."""
    b = sample("b", dist.Normal(0, 1))
    sample("y", dist.Poisson(jnp.full_like(y, jnp.exp(b))), obs=y)


def test_counts_stay_real_if_they_were_given_so():
    counts = np.array([0.0, 2.0, 1.0, 0.0, 3.0, 1.0])
    data = Conditioned.of(of_its_type, X, counts)
    np.testing.assert_allclose(
        jax.jit(data.log_likelihood)(B)["y"], stats.poisson.logpmf(counts, np.exp(0.5)), rtol=1e-12
    )


@pytest.mark.parametrize("given", [Y, Y[:, None]], ids=["flat", "column"])
def test_residuals_and_factors_by_row_are_not_blown_up_and_rows_can_be_held_out(given):
    def factor(x, y=None):
        f = numpyro.deterministic("f", x[:, 0] * sample("b", dist.Normal(0, 1)))
        numpyro.factor("fit", dist.Normal(f, 1.0).log_prob(y))

    def rest(x, y=None):
        f = numpyro.deterministic("f", x[:, 0] * sample("b", dist.Normal(0, 1)))
        sample("rest", dist.Normal((y - f)[::-1], 1.0), obs=jnp.zeros(x.shape[0]))

    right = stats.norm.logpdf(Y, 0.5 * X[:, 0])
    for model in (factor, rest):
        data = Conditioned.of(model, X[:4], given[:4])
        assert "not among the targets" not in " ".join(data.reading.notes)
        (found,) = jax.jit(data.log_likelihood)(B).values()
        np.testing.assert_allclose(found, right[:4], rtol=1e-12)
        (later,) = jax.jit(data.at(X[4:], Y[4:]).log_likelihood)(B).values()
        np.testing.assert_allclose(later, right[4:], rtol=1e-12)


def test_some_residuals_are_as_many_observations():
    def model(x, y=None):
        f = numpyro.deterministic("f", x[:, 0] * sample("b", dist.Normal(0, 1)))
        sample("rest", dist.Normal((y - f)[jnp.array([0, 4])], 1.0), obs=jnp.zeros(2))

    data = Conditioned.of(model, X, Y)
    assert data.n == 2
    right = np.where(np.isin(np.arange(6), [0, 4]), stats.norm.logpdf(Y, 0.5 * X[:, 0]), 0)
    np.testing.assert_allclose(jax.jit(data.log_likelihood)(B)["rest"], right, rtol=1e-12)


@pytest.mark.parametrize("y", [[0.0, 3, 2, 0, 1, 1], [2.0] * 6])
def test_dependence_on_the_least_of_the_targets_is_seen(y):
    def model(x, y=None):
        sample("y", dist.Normal(sample("b", dist.Normal(0, 1)) + jnp.min(y), 1), obs=y)

    assert Conditioned.of(model, X, np.array(y)).reading.mixed == ("y",)


def test_a_mask_that_follows_the_latent_sites_or_leaves_nothing_is_refused():
    def by_latent(x, y=None):
        b = sample("b", dist.Normal(0, 1))
        with handlers.mask(mask=b * x[:, 0] > 0):
            sample("y", dist.Normal(b, 1.0).expand([len(x)]), obs=y)

    def nothing(x, y=None):
        with handlers.mask(mask=x[:, 0] > 1e9):
            sample("y", dist.Normal(sample("b", dist.Normal(0, 1)), 1.0).expand([len(x)]), obs=y)

    with pytest.raises(ValueError, match="'y' is masked otherwise at another draw"):
        Conditioned.of(by_latent, X, Y)
    with pytest.raises(ValueError, match="no row counts"):
        Conditioned.of(nothing, X, Y)


def test_what_stands_for_missing_and_for_yes_is_read():
    masked = np.ma.masked_values([1.0, -999, 2, 3, 4, 5], -999)
    for y in (masked, [1.0, None, 2, 3, 4, 5]):
        assert Conditioned.of(flat, X, y).n == 5

    def coin(x, y=None):
        sample("y", dist.Bernoulli(logits=sample("b", dist.Normal(0, 1)) * x[:, 0]), obs=y)

    assert Conditioned.of(coin, X, Y > 0).y.tolist() == (Y > 0).astype(float).tolist()
    with pytest.raises(ValueError, match="y is text, not numbers"):
        Conditioned.of(flat, X, list("abcdef"))


def test_a_density_that_falls_to_nothing_is_a_change():
    def model(x, y=None):
        b = sample("b", dist.Normal(0, 1))
        f = numpyro.deterministic("f", b * x[:, 0])
        sample("y", dist.Normal(f, 1.0), obs=y)
        numpyro.factor("bounded", jnp.where(y[::-1] > Y.max() + 1, -jnp.inf, 0.0))

    data = Conditioned.of(model, X, Y)
    assert data.likelihood_factors == ("bounded",)
    assert data.reading.term_rows["bounded"].tolist() == [5, 4, 3, 2, 1, 0]
