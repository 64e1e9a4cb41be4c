"""Gradient flow in closed form: the differential equation, both ends of time, the ensemble's law (T11)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from brg_prob import (
    Exact,
    ExactRG,
    GradientFlow,
    Shell,
    check_correspondence,
    coarse_grain,
    erg_prediction,
    fisher_metric,
    fit,
)
from brg_prob.network import LowRankUpdate, ReadoutPrior
from brg_prob.posterior import readout_weights
from brg_prob.posterior.gradient_flow import flow_gain, gradient_flow_dual, gradient_flow_moments
from brg_prob.results import key_from_json
from models.cosnet import CosNet

dual_of, moments_of, gain_of = map(jax.jit, (gradient_flow_dual, gradient_flow_moments, flow_gain))


def problem(n, parameters, outputs=1, seed=0, repeated=False):
    """Features (n, P), targets (n, o) and first weights (P, o); with ``repeated``, every input twice."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, parameters))
    if repeated:
        features[n // 2 :] = features[: n // 2]
    return features, rng.normal(size=(n, outputs)), rng.normal(size=(parameters, outputs))


def trained(features, y, start, time):
    """The weights by the library, from kernel and residual alone."""
    return start + features.T @ np.asarray(dual_of(features @ features.T, y - features @ start, time))


SHAPES = {"wide": (10, 15), "narrow": (10, 4), "repeated": (10, 15, 1, 1, True), "outputs": (10, 4, 3)}


@pytest.fixture(params=SHAPES, ids=list(SHAPES))
def case(request):
    return problem(*SHAPES[request.param])


@pytest.mark.parametrize("time", [0.03, 0.3])
def test_weights_solve_the_flow_equation(case, time):
    """scipy integrates dw/dt = −Φᵀ(Φw − y) in weight space; no kernel, no eigenvectors."""
    features, y, start = case

    def velocity(t, flat):
        w = flat.reshape(start.shape)
        return -(features.T @ (features @ w - y)).ravel()

    found = solve_ivp(velocity, (0, time), start.ravel(), method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    ours = trained(features, y, start, time)
    np.testing.assert_allclose(ours.ravel(), found, atol=1e-7)
    assert np.abs(trained(features, y, start, 1.1 * time).ravel() - found).max() > 1e-5


def test_endless_training_interpolates_as_far_as_the_features_reach(case):
    features, y, start = case
    best = start + np.linalg.lstsq(features, y - features @ start, rcond=None)[0]
    for time, allowed in ((1e5, 1e-9), (1e14, 1e-11), (np.inf, 1e-11)):
        np.testing.assert_allclose(trained(features, y, start, time), best, atol=allowed)
    if np.linalg.matrix_rank(features) == len(features):
        np.testing.assert_allclose(features @ best, y, atol=1e-11)
    assert np.abs(trained(features, y, start, 0.3) - best).max() > 1e-3  # not yet


def test_null_directions_grow_as_time_and_never_reach_the_weights():
    features, y, start = problem(10, 4)
    residual = y - features @ start
    null = residual - features @ np.linalg.lstsq(features, residual, rcond=None)[0]
    kernel = features @ features.T
    for time in (0.5, 30.0):
        np.testing.assert_allclose(dual_of(kernel, null, time), time * null, rtol=1e-10)
        assert np.abs(features.T @ np.asarray(dual_of(kernel, null, time))).max() < 1e-12 * time
    for time in (1e20, np.inf):
        assert np.abs(features.T @ np.asarray(dual_of(kernel, null, time))).max() < 1e-12
    assert np.all(np.asarray(dual_of(0 * kernel, y, 2.0)) == 2 * y)
    assert np.all(np.asarray(dual_of(0 * kernel, y, np.inf)) == 0)


def test_gain_is_stable_at_small_arguments():
    """−expm1(−tλ)/λ, where (1 − e^{−tλ})/λ has lost all digits."""
    values = np.array([1e-14, 1e-8, 1.0, 40.0])
    exact = np.array([1 - 5e-15, 1 - 5e-9, 1 - np.exp(-1.0), 1 / 40])
    np.testing.assert_allclose(gain_of(values, 1.0, 40.0), exact, rtol=1e-14)
    naive = (1 - np.exp(-values)) / values
    assert np.abs(naive / exact - 1).max() > 1e-4


def cosines(x, hidden):
    """Return the features (n, P)."""
    return np.cos(np.asarray(x) * np.asarray(hidden["w"]) + np.asarray(hidden["b"]))


def law(network, hidden, x, y, time, other):
    """Mean (m, o) and covariance (m, m) of the trained field in weight space, by a matrix exponential."""
    phi, at = cosines(x, hidden), cosines(other, hidden)
    # dw/dt = −ΦᵀΦw + Φᵀy as one linear system, the constant 1 among its variables
    count, outputs = phi.shape[1], y.shape[1]
    system = np.zeros((count + outputs, count + outputs))
    system[:count] = np.hstack([-phi.T @ phi, phi.T @ y])
    solved = expm(time * system)[:count]
    decay = solved[:, :count]
    mean = decay @ np.full((count, outputs), network.mean) + solved[:, count:]
    return at @ mean, network.variance * at @ decay @ decay.T @ at.T


@pytest.mark.parametrize("width", [12, 40])
def test_draws_follow_the_law_of_the_ensemble_and_not_the_posterior(
    random_cosines, dense_oracle, sine_data, getkey, width
):
    """Raw weights of prior mean .3 and variance .7, fewer and more than inputs; mean and spread by χ²."""
    x, y, other, target = sine_data
    network, time = random_cosines(width=width), 0.2
    tree = fit(
        network, x, y, engine=GradientFlow(time=time), key=getkey(), draws=3000, held_out=(other, target)
    )
    assert tree.attrs["time"] == time
    hidden = network.sample_hidden(key_from_json(tree.attrs["hidden_keys"])[0])
    both = np.concatenate([x, other])
    draws = np.concatenate([tree["posterior"]["f"].values[0], tree["predictions"]["f"].values[0]], axis=1)
    right = law(network, hidden, x, np.asarray(y)[:, None], time, both)
    assert min(_p_values(draws, *right)) > 1e-4
    # negative controls: another time, and the posterior at any T
    assert min(_p_values(draws, *law(network, hidden, x, np.asarray(y)[:, None], 1.2 * time, both))) < 1e-4
    for observations in (30.0, 1.5):
        wrong = dense_oracle(network, hidden, x, y, observations).field(both)
        assert min(_p_values(draws, *wrong)) < 1e-4
    # the formula in kernels: prior covariances and t/s
    phi, at = (np.sqrt(network.variance) * cosines(v, hidden) for v in (x, both))
    offset = network.mean / np.sqrt(network.variance)
    residual = np.asarray(y)[:, None] - offset * phi.sum(axis=1, keepdims=True)
    mean, covariance = moments_of(phi @ phi.T, at @ phi.T, at @ at.T, residual, time / network.variance)
    np.testing.assert_allclose(mean + offset * at.sum(axis=1, keepdims=True), right[0], atol=1e-8)
    np.testing.assert_allclose(covariance, right[1], atol=1e-8)


def _p_values(draws, mean, covariance):
    """p-values of mean and second moment of draws (S, m) in the directions that still fluctuate."""
    values, vectors = np.linalg.eigh(covariance)
    good = values > 1e-9 * values[-1]
    z = (draws - mean[:, 0]) @ vectors[:, good] / np.sqrt(values[good])
    squares = np.sum(z**2)
    spread = 2 * min(stats.chi2.sf(squares, z.size), stats.chi2.cdf(squares, z.size))
    return stats.chi2.sf(len(z) * np.sum(z.mean(0) ** 2), z.shape[1]), spread


def test_without_a_time_it_is_that_of_the_ridge(random_cosines, sine_data):
    """t = 1/ρ(T): training and the ridge take up the same to first order in T, half T² apart to second."""
    x, y, *_ = sine_data
    network, key = random_cosines(), jax.random.key(3)
    prior = fit(network, x, y, key=key, draws=2, observations=0)["posterior"]["f"].values
    start = fit(network, x, y, engine=GradientFlow(), key=key, draws=2, observations=0)
    np.testing.assert_allclose(start["posterior"]["f"].values, prior, atol=1e-12)
    hidden = network.sample_hidden(key_from_json(start.attrs["hidden_keys"])[0])
    phi = np.sqrt(network.variance) * cosines(x, hidden)
    kernel, gap = phi @ phi.T, []
    for observations in (0.002, 0.001):
        tree = fit(network, x, y, engine=GradientFlow(), key=key, draws=2, observations=observations)
        time = observations / (30 * network.noise**2)
        assert tree.attrs["time"] == pytest.approx(network.variance * time, rel=1e-12)
        residual = np.asarray(y) - prior[0]
        ridge = kernel @ np.linalg.solve(kernel + np.eye(30) / time, residual.T)
        gap.append(np.abs(tree["posterior"]["f"].values[0] - prior[0] - ridge.T).max())
        assert gap[-1] < 0.2 * np.abs(ridge).max()
    assert gap[0] / gap[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("time", [0.4, np.inf])
def test_members_outputs_and_repeated_inputs(random_cosines, sine_data, getkey, time):
    """Each draw is its own member's network trained from its own weights, which regenerate."""
    x, y, *_ = sine_data
    x, y = np.array(x), np.asarray(y)
    x[-4:] = x[:4]
    network = random_cosines(width=3, outputs=2)
    targets = np.stack([y, y**2], axis=1)
    tree = fit(network, x, targets, engine=GradientFlow(time, members=2), key=getkey(), draws=4)
    hidden_keys, draw_keys = (key_from_json(tree.attrs[name]) for name in ("hidden_keys", "draw_keys"))
    for draw in (1, 2):
        member, number = divmod(draw, 2)
        hidden = network.sample_hidden(hidden_keys[member])
        dual = jnp.asarray(tree["posterior"]["dual"].values[0, draw])
        start, end = (
            np.asarray(readout_weights(network, x, hidden, draw_keys[member], number, c))
            for c in (jnp.zeros_like(dual), dual)
        )
        phi = cosines(x, hidden)
        expected = trained(phi, targets, start, time)
        np.testing.assert_allclose(end, expected, atol=1e-10)
        np.testing.assert_allclose(phi @ end, tree["posterior"]["f"].values[0, draw], atol=1e-9)


def test_a_trained_ensemble_is_held_to_be_no_posterior():
    """Same network, same data: T9 holds of the posterior and is rejected of the ensemble, in both schemes."""
    network = CosNet(box=6.0, cutoff=8.0)
    x = np.arange(48)[:, None] / 8.0
    rng, features = np.random.default_rng(1), np.asarray(network.features(x, {}))
    y = features @ rng.normal(size=features.shape[1]) + network.noise * rng.normal(size=48)
    verdicts = {}
    for engine in (Exact(), GradientFlow()):
        posterior = fit(network, x, y, engine=engine, key=jax.random.key(3), draws=3000)
        metric = fisher_metric(network, x, at=posterior)
        for scheme, scales in ((None, (48.0, 8.0)), (Shell(), (1 / 48, 1 / 8))):
            flow = coarse_grain(
                network, posterior, metric, scheme=scheme, scales=scales, key=jax.random.key(4)
            )
            verdict = check_correspondence(flow, ExactRG(erg_prediction(network, x))).verdict
            verdicts.setdefault(posterior.attrs["engine"], set()).add(verdict)
    assert verdicts == {"exact": {"consistent"}, "gradient_flow": {"inconsistent"}}


def test_refusals_say_what_to_do(random_cosines, sine_data, getkey):
    x, y, *_ = sine_data
    with pytest.raises(ValueError, match=r"time = nan is no training time; give t >= 0"):
        GradientFlow(time=float("nan"))
    with pytest.raises(ValueError, match="members = 0 is too few"):
        GradientFlow(members=0)
    with pytest.raises(ValueError, match="draws = 5 cannot be shared"):
        fit(random_cosines(), x, y, engine=GradientFlow(members=2), key=getkey(), draws=5)
    with pytest.raises(ValueError, match=r"noise_spread = 0.3; set it to 0, or use Exact\(\)"):
        fit(random_cosines(noise_spread=0.3), x, y, engine=GradientFlow(), key=getkey(), draws=2)
    with pytest.raises(ValueError, match=r"observations = 0 is the prior .*give T > 0"):
        fit(random_cosines(), x, y, engine=GradientFlow(1.0), key=getkey(), draws=2, observations=0)
    with pytest.raises(ValueError, match=r"needs them independent.*use Exact\(\)"):
        fit(correlated(random_cosines()), x, y, engine=GradientFlow(), key=getkey(), draws=2)


def correlated(network):
    """The network with one direction of its readout fixed."""

    class Correlated(type(network)):
        def readout_prior(self, hidden):
            basis = jnp.ones((self.width, 1)) / np.sqrt(self.width)
            return ReadoutPrior(jnp.zeros((self.width, 1)), LowRankUpdate(jnp.ones(()), basis, jnp.ones(1)))

    return Correlated()
