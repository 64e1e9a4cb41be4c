"""Simulation-based calibration: truths from the prior rank evenly among draws [Talts, arXiv:1804.06788].

Per simulated truth and data set, the rank of the truth among 19 draws is uniform on 0 … 19 if the draws
are of the posterior. Ranks are of a parameter and of the log-likelihood, which sees every parameter at once.
"""

import dataclasses

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from brg_prob import NUTS, fit
from brg_prob.network import Conditioned
from brg_prob.posterior.laplace import draw_laplace
from brg_prob.posterior.mode import WhitenedModel, find_mode

DRAWS, SETS, BINS = 19, 250, 10
LEVEL = 1e-3
X = np.linspace(0.0, 1.0, 6)[:, None]


def uniform_p(found):
    """Return the χ² p-value of uniform ranks, pairs of ranks together: SETS/10 expected in each of ten."""
    counts = np.bincount(np.asarray(found) // 2, minlength=BINS)
    return stats.chisquare(counts).pvalue


def test_the_test_finds_a_wrong_width_and_keeps_its_level():
    """On normals: 250 ranks find draws too wide or too narrow by 1.6, or off by ½ σ, in 95 % of studies."""
    generator = np.random.default_rng(0)

    def rejected(width, shift, studies=150):
        truth = generator.standard_normal((studies, SETS, 1))
        draws = shift + width * generator.standard_normal((studies, SETS, DRAWS))
        return sum(uniform_p(below) < LEVEL for below in np.sum(draws < truth, axis=2))

    assert rejected(1.0, 0.0) <= stats.binom.ppf(0.999, 150, LEVEL)
    for width, shift in ((1.6, 0.0), (0.625, 0.0), (1.0, 0.5)):
        assert rejected(width, shift) >= 0.95 * 150


def line(x, y=None):
    """Three weights with priors that are neither centred nor alike; their posterior is normal."""
    level = numpyro.sample("level", dist.Normal(0.5, 1.0))
    slope = numpyro.sample("slope", dist.Normal(level, 2.0))
    numpyro.sample("y", dist.Normal(level + slope * x[:, 0], 0.7), obs=y)


def steep(x, y=None):
    """A direction that two yes-or-no answers cut in half: the posterior ends abruptly at one side."""
    logit = numpyro.sample("logit", dist.Normal(0.0, 8.0))
    numpyro.sample("y", dist.Bernoulli(logits=logit * np.ones(x.shape[0])), obs=y)


def simulated(model, x):
    """Return the conditioned model, SETS truths from its prior and their data."""
    predictive = numpyro.infer.Predictive(model, num_samples=SETS)
    drawn = {name: np.asarray(value) for name, value in predictive(jax.random.key(3), x).items()}
    y = drawn.pop("y")
    return Conditioned.of(model, x, y[0]), drawn, y


def ranks_of(conditioned, truths, y, draws, name):
    """Return the ranks of one site and of the log-likelihood, over all data sets."""

    def one(values, y):
        return dataclasses.replace(conditioned, y=y).log_likelihood(values)["y"].sum()

    own = {site: np.concatenate([truths[site][:, None], draws[site]], axis=1) for site in truths}
    density = jax.jit(jax.vmap(jax.vmap(one, in_axes=(0, None))))(own, y)
    return [ranks(np.asarray(values)) for values in (own[name], density)]


def ranks(values):
    """Return the rank of the first of each row, (SETS, 1 + DRAWS), among the others."""
    return np.sum(values[:, 1:] < values[:, :1], axis=1)


def laplace_draws(conditioned, y, observations):
    """Return draws of the engine at every data set, its parts compiled once: site → (SETS, DRAWS)."""
    model = WhitenedModel.of(conditioned, caller="Laplace()")

    @jax.jit
    def derivatives(z, y):
        own = dataclasses.replace(conditioned, y=y)
        return WhitenedModel(own, model.coordinates).derivatives(z, observations)

    start = np.full(model.coordinates.dimension, 0.1)
    modes = [find_mode(lambda z, own=own: derivatives(z, own), start, iterations=200) for own in y]
    assert min(found.lowest for found in modes) > 0
    at = [np.stack(part) for part in ([m.z for m in modes], [m.precision for m in modes])]
    keys = jax.random.split(jax.random.key(9), SETS)
    drawn = jax.jit(lambda all_: jax.lax.map(lambda one: draw_laplace(model, *one, DRAWS), all_))((*at, keys))
    return {name: np.asarray(value) for name, value in drawn.items()}


@pytest.mark.slow
def test_exact_is_calibrated(random_cosines):
    class Frozen(random_cosines):
        """The same hidden layers at every key, so that the truth has the engine's."""

        def sample_hidden(self, key):
            """Ignore the key."""
            return super().sample_hidden(jax.random.key(7))

    # outputs share nothing but the hidden layers: each is a data set, and all of them one fit
    network = Frozen(width=5, noise=0.7, outputs=SETS)
    generator = np.random.default_rng(1)
    features = np.asarray(network.features(X, network.sample_hidden(None)))
    weights = generator.normal(network.mean, np.sqrt(network.variance), (SETS, 5))
    truth = weights @ features.T
    y = truth + network.noise * generator.standard_normal(truth.shape)
    found = {}
    for share in (1.0, 0.1):
        tree = fit(network, X, y.T, key=jax.random.key(4), draws=DRAWS, observations=6.0 * share)
        fields = np.concatenate([truth[:, None], np.moveaxis(tree["posterior"]["f"].values[0], 2, 0)], axis=1)
        log_likelihood = stats.norm.logpdf(y[:, None], fields, network.noise).sum(axis=2)
        found[share] = ranks(fields[:, :, 2]), ranks(log_likelihood)
    assert min(map(uniform_p, found[1.0])) > LEVEL
    assert min(map(uniform_p, found[0.1])) < 1e-6  # negative control: the posterior at a tenth of T


@pytest.mark.slow
def test_laplace_is_calibrated_where_the_posterior_is_normal():
    conditioned, truths, y = simulated(line, X)
    found = ranks_of(conditioned, truths, y, laplace_draws(conditioned, y, 6.0), "slope")
    assert min(map(uniform_p, found)) > LEVEL


@pytest.mark.slow
def test_nuts_is_calibrated_where_laplace_is_not():
    """Half a normal, nearly: skewed at the mode, which Laplace takes for its middle."""
    conditioned, truths, y = simulated(steep, X[:2])
    skewed = ranks_of(conditioned, truths, y, laplace_draws(conditioned, y, 2.0), "logit")
    assert min(map(uniform_p, skewed)) < 1e-6
    engine = NUTS(chains=1, warmup=200, thinning=10)

    def sampled(data):
        own, key = dataclasses.replace(conditioned, y=data[0]), data[1]
        return engine.sample(own, key=key, draws=DRAWS, observations=2.0).get_samples()

    data = (y, jax.random.split(jax.random.key(5), SETS))
    draws = jax.device_get(jax.jit(lambda d: jax.lax.map(sampled, d))(data))
    assert min(map(uniform_p, ranks_of(conditioned, truths, y, draws, "logit"))) > LEVEL
