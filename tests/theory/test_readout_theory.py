"""The theory at a scale is again a network: sampled, conditioned, flowed again (T6, T8)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC, NUTS, Predictive

from brg_prob import Shell, coarse_grain, fisher_metric, fit
from brg_prob.network import LinearReadout


@pytest.fixture
def flowed(random_cosines, sine_data, getkey):
    """Return a function scheme, scales → (network, posterior, metric, flow)."""
    x, y, *_ = sine_data

    def make(scheme=None, scales=(30.0, 5.0), **options):
        network = random_cosines(**options)
        posterior = fit(network, x, y, key=getkey(), draws=200)
        metric = fisher_metric(network, x, at=posterior)
        return (
            network,
            metric,
            coarse_grain(network, posterior, metric, scheme=scheme, scales=scales, key=getkey()),
        )

    return make


def _moments(theory, x, y, observations, at):
    """Return mean and covariance of a theory conditioned on data at weight T/n: two matrix solves, dense."""
    features, prior = np.asarray(theory.features(x, {})), theory.readout_prior({})
    count = prior.mean.shape[0]
    covariance = np.asarray(prior.covariance.matmul(jnp.eye(count)))
    weight = observations / x.shape[0] / theory.noise**2
    gain = (
        covariance
        @ features.T
        @ np.linalg.inv(np.eye(len(features)) / weight + features @ covariance @ features.T)
    )
    mean = np.asarray(prior.mean) + gain @ (
        np.asarray(y).reshape(len(features), -1) - features @ np.asarray(prior.mean)
    )
    other = (
        np.asarray(theory.base.features(at, {}))
        if hasattr(theory, "projection")
        else np.asarray(theory.features(at, {}))
    )
    after = covariance - gain @ features @ covariance
    return other @ mean, other @ after @ other.T


@pytest.mark.parametrize("width", [12, 40])
def test_conditioning_at_the_weight_left_returns_the_posterior(flowed, dense_oracle, sine_data, width):
    """Diffusion: π_T times exp((n−T) ℓ̄) is π_n; mean and variance to 1e-6."""
    x, y, other, _ = sine_data
    network, metric, flow = flowed(width=width)
    mean, covariance = _moments(flow.theory_at(5.0), x, y, 25.0, other)
    expected = dense_oracle(network, metric.hidden[0], x, y, 30.0).field(other)
    np.testing.assert_allclose(mean, expected[0], atol=1e-6)
    np.testing.assert_allclose(np.diag(covariance), np.diag(expected[1]), atol=1e-6)
    wrong, _ = _moments(flow.theory_at(5.0), x, y, 30.0, other)  # data counted twice: seen
    assert np.abs(wrong - expected[0]).max() > 1e-3


def test_shell_theory_conditioned_on_the_sloppy_projection_returns_the_posterior(
    flowed, dense_oracle, sine_data
):
    x, y, other, _ = sine_data
    network, metric, flow = flowed(Shell(), (0.0, 0.3))
    observed, inputs, values = flow.sloppy_observation(0.3)
    kept = int(np.sum(np.asarray(metric.eigenvalues) >= 0.3))
    assert values.shape[0] == metric.eigenvalues.size - kept
    features, prior = np.asarray(observed.features(inputs, {})), observed.readout_prior({})
    covariance = np.asarray(prior.covariance.matmul(jnp.eye(network.width)))
    gain = (
        covariance
        @ features.T
        @ np.linalg.inv(network.noise**2 * np.eye(len(features)) + features @ covariance @ features.T)
    )
    mean = np.asarray(prior.mean) + gain @ (np.asarray(values) - features @ np.asarray(prior.mean))
    out = np.asarray(observed.base.features(other, {}))
    expected = dense_oracle(network, metric.hidden[0], x, y, 30.0).field(other)
    np.testing.assert_allclose(out @ mean, expected[0], atol=1e-6)
    np.testing.assert_allclose(
        np.diag(out @ (covariance - gain @ features @ covariance) @ out.T), np.diag(expected[1]), atol=1e-6
    )
    before = np.asarray(flow.theory_at(0.3).mean(other))
    assert np.abs(before - expected[0]).max() > 1e-3  # the shell had forgotten something


def test_library_conditions_and_flows_a_theory_like_any_network(flowed, sine_data, getkey):
    x, y, other, _ = sine_data
    _, _, flow = flowed()
    theory = flow.theory_at(5.0)
    assert isinstance(theory, LinearReadout)
    again = fit(theory, x, y, key=getkey(), draws=200, observations=25.0)
    inner = fisher_metric(theory, x, at=again)
    back = coarse_grain(theory, again, inner, scales=[25.0, 0.0], key=getkey())
    # the flow of the theory ends in the theory itself …
    np.testing.assert_allclose(back.theory_at(0.0).mean(other), theory.mean(other), atol=1e-9)
    np.testing.assert_allclose(
        back.theory_at(0.0).covariance(other, other), theory.covariance(other, other), atol=1e-9
    )
    # … and begins in the posterior
    top = flow.theory_at(30.0)
    np.testing.assert_allclose(back.theory_at(25.0).mean(other), top.mean(other), atol=1e-6)
    np.testing.assert_allclose(
        back.theory_at(25.0).covariance(other, other), top.covariance(other, other), atol=1e-6
    )


def test_fit_of_a_projected_observation_draws_the_posterior(flowed, dense_oracle, sine_data, getkey):
    x, y, *_ = sine_data
    network, metric, flow = flowed(Shell(), (0.3,))
    observed, inputs, values = flow.sloppy_observation(0.3)
    tree = fit(observed, inputs, values, key=getkey(), draws=8000)
    rows = np.asarray(observed.projection)
    mean, covariance = dense_oracle(network, metric.hidden[0], x, y, 30.0).field(x)
    draws = tree["posterior"]["f"].values[0]
    variance = np.diag(rows @ covariance @ rows.T)
    floor = 1e-12 * variance.max()
    good = variance > floor
    z = (draws.mean(0) - (rows @ mean)[:, 0])[good] / np.sqrt(variance[good] / 8000)
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize(
    ("basis", "action"),
    [("eigen", "reset"), ("eigen", "drop"), ("parameter", "reset"), ("parameter", "drop")],
)
def test_theory_moments_are_those_of_the_flowed_draws(random_cosines, sine_data, getkey, basis, action):
    x, y, other, target = sine_data
    network = random_cosines(mean=0.0 if (basis, action) == ("parameter", "drop") else 0.3)
    posterior = fit(network, x, y, key=getkey(), draws=20000, held_out=(other, target))
    metric = fisher_metric(network, x, at=posterior)
    cutoff = 0.3 if basis == "eigen" else float(np.median(np.asarray(metric.diagonal)))
    flow = coarse_grain(
        network, posterior, metric, scheme=Shell(basis=basis, action=action), scales=[cutoff], key=getkey()
    )
    draws = np.asarray(next(flow.draws())[0].at())[:, :, 0]
    theory, inputs = flow.theory_at(cutoff), jnp.concatenate([x, other])
    mean, variance = np.asarray(theory.mean(inputs))[:, 0], np.diag(theory.covariance(inputs, inputs))
    assert np.abs((draws.mean(0) - mean) / np.sqrt(variance / 20000)).max() < 4.5
    assert np.abs((draws.var(0) / variance - 1) / np.sqrt(2 / 20000)).max() < 4.5


def test_plain_numpyro_samples_and_conditions_a_theory(flowed, dense_oracle, sine_data):
    """NUTS knows nothing of the theory's origin: its prior is T6's at T, its posterior the Bayes update."""
    x, y, *_ = sine_data
    network, metric, flow = flowed(width=12)
    theory = flow.theory_at(5.0)
    prior = Predictive(theory, num_samples=4000)(jax.random.key(0), x)["f"]
    mean, covariance = dense_oracle(network, metric.hidden[0], x, y, 5.0).field(x)
    assert np.abs((prior.mean(0) - mean[:, 0]) / np.sqrt(np.diag(covariance) / 4000)).max() < 4.5
    mcmc = MCMC(NUTS(theory), num_warmup=500, num_samples=4000, progress_bar=False)
    mcmc.run(jax.random.key(1), x, y)
    draws = np.asarray(mcmc.get_samples()["f"])
    mean, covariance = dense_oracle(network, metric.hidden[0], x, y, 35.0).field(x)
    # dense oracle at T = 35 of n = 30: the theory at 5 and the 30 observations again
    from arviz_stats.base import array_stats

    ess = np.asarray(array_stats.ess(draws[None], chain_axis=0, draw_axis=1, method="mean"))
    assert np.abs((draws.mean(0) - mean[:, 0]) / np.sqrt(np.diag(covariance) / ess)).max() < 4.5
