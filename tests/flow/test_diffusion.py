"""BRG as Fisher-scaled diffusion (T7): the transition, and draws against the exact posterior."""

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

from brg_prob import Diffusion, coarse_grain, fisher_metric, fit
from brg_prob.flow import diffuse, transition

EIGENVALUES = np.array([30.0, 1.0, 0.02, 1e-6])
compiled = jax.jit(transition)


def step(eigenvalues, start, stop):
    """Return the transition as numpy arrays."""
    return [np.asarray(part) for part in compiled(np.asarray(eigenvalues), start, stop)]


def test_transitions_compose_and_variances_add():
    s13, n13 = step(EIGENVALUES, 50.0, 0.3)
    s12, n12 = step(EIGENVALUES, 50.0, 4.0)
    s23, n23 = step(EIGENVALUES, 4.0, 0.3)
    np.testing.assert_allclose(s13, s12 * s23, rtol=1e-13)
    np.testing.assert_allclose(n13**2, s23**2 * n12**2 + n23**2, rtol=1e-12)


def test_transition_carries_the_variance_of_one_scale_to_the_next():
    factor, spread = step(EIGENVALUES, 50.0, 4.0)
    np.testing.assert_allclose(
        factor**2 / (1 + 50 * EIGENVALUES) + spread**2, 1 / (1 + 4 * EIGENVALUES), rtol=1e-12
    )


def test_zero_observations_is_the_prior_and_null_modes_are_left_alone(getkey):
    z = np.random.default_rng(0).normal(size=(7, 2, 1))
    out = np.asarray(diffuse(z, np.array([0.0, 2.0]), 10.0, 0.0, getkey()))
    np.testing.assert_array_equal(out[:, 0], z[:, 0])
    factor, spread = step([2.0], 10.0, 0.0)
    assert (float(factor[0]), float(spread[0])) == (0.0, 1.0)


def test_transition_solves_the_stochastic_differential_equation():
    """dz = −z/(τ+λ)dτ + √(λ+2τ)/(τ+λ) dW: moments by an ODE solver against the exact transition."""
    eigenvalue, start, stop = 0.7, 8.0, 0.5
    found = solve_ivp(
        lambda tau, m: [
            -m[0] / (tau + eigenvalue),
            (-2 * m[1] * (tau + eigenvalue) + eigenvalue + 2 * tau) / (tau + eigenvalue) ** 2,
        ],
        (1 / start, 1 / stop),
        [1.0, 0.0],
        rtol=1e-11,
        atol=1e-13,
    ).y[:, -1]
    factor, spread = step([eigenvalue], start, stop)
    assert float(factor[0]) == pytest.approx(found[0], rel=1e-9)
    assert float(spread[0] ** 2) == pytest.approx(found[1], rel=1e-9)


def test_small_steps_diffuse_with_the_inverse_fisher_matrix():
    """(v′ − s²v) λ/(τ′−τ) → 1 for τ ≪ λ: Bayesian diffusion."""
    tau, change = 1e-6, 1e-8
    _, spread = step([2.0], 1 / tau, 1 / (tau + change))
    assert float(spread[0] ** 2) * 2.0 / change == pytest.approx(1.0, abs=1e-5)


def _p_values(draws, mean, covariance):
    """Return p-values of the mean and of the second moment of draws (S, m) against N(mean, covariance)."""
    values, vectors = np.linalg.eigh(covariance)
    good = values > 1e-9 * values[-1]
    z = (np.asarray(draws) - mean) @ vectors[:, good] / np.sqrt(values[good])
    total = np.sum(z**2)
    return stats.chi2.sf(len(z) * np.sum(z.mean(0) ** 2), good.sum()), 2 * min(
        stats.chi2.sf(total, z.size), stats.chi2.cdf(total, z.size)
    )


@pytest.mark.parametrize(("width", "outputs"), [(40, 1), (12, 1), (40, 2)])
def test_diffused_draws_match_the_exact_posterior_at_every_scale(
    random_cosines, dense_oracle, sine_data, getkey, width, outputs
):
    """A prior mean that is not zero; inputs seen and unseen; dual and primal."""
    x, y, other, target = sine_data
    network = random_cosines(width=width, outputs=outputs)
    y, target = (np.asarray(v) if outputs == 1 else np.stack([v, 1 - v], axis=1) for v in (y, target))
    posterior = fit(network, x, y, key=getkey(), draws=4000, held_out=(other, target))
    metric = fisher_metric(network, x, at=posterior)
    scales = [30.0, 8.0, 2.0, 0.3, 0.0]
    flow = coarse_grain(network, posterior, metric, scheme=Diffusion(), scales=scales, key=getkey())
    smallest, everywhere = 1.0, np.concatenate([x, other])
    for scale, (drawn,) in zip(scales, flow.draws(), strict=True):
        field = drawn.at()
        mean, covariance = dense_oracle(network, metric.hidden[0], x, y, scale).field(everywhere)
        for output in range(outputs):
            smallest = min(smallest, *_p_values(np.asarray(field)[:, :, output], mean[:, output], covariance))
    assert smallest > 0.01 / (2 * len(scales) * outputs)


def test_diffusion_with_a_wrong_metric_is_rejected(random_cosines, dense_oracle, sine_data, getkey):
    x, y, *held_out = sine_data  # held out here as above: the same program
    network = random_cosines()
    posterior = fit(network, x, y, key=getkey(), draws=4000, held_out=held_out)
    metric = fisher_metric(network, x, at=posterior, noise=2 * network.noise)
    flow = coarse_grain(network, posterior, metric, scales=[2.0], key=getkey())
    mean, covariance = dense_oracle(network, metric.hidden[0], x, y, 2.0).field(x)
    assert min(_p_values(np.asarray(next(flow.fields()))[:, :, 0], mean[:, 0], covariance)) < 1e-6


def test_the_posteriors_own_scale_is_kept_bit_for_bit_and_flows_replay(random_cosines, sine_data, getkey):
    x, y, *held_out = sine_data
    posterior = fit(random_cosines(), x, y, key=getkey(), draws=4000, held_out=held_out)
    metric = fisher_metric(random_cosines(), x, at=posterior)
    flow = coarse_grain(random_cosines(), posterior, metric, scales=[30.0, 3.0], key=getkey())
    first, second = ([np.asarray(f) for f in flow.fields()] for _ in range(2))
    np.testing.assert_array_equal(first[0][..., 0], posterior["posterior"]["f"].values[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(flow.posterior_at(3.0)["posterior"]["f"].values[0], second[1][..., 0])


def test_flow_of_a_flow_is_the_flow(random_cosines, dense_oracle, sine_data, getkey):
    x, y, *held_out = sine_data  # held out here as above: the same program
    network = random_cosines()
    posterior = fit(network, x, y, key=getkey(), draws=4000, held_out=held_out)
    metric = fisher_metric(network, x, at=posterior)
    half = coarse_grain(network, posterior, metric, scales=[5.0], key=getkey())
    again = coarse_grain(network, half.posterior_at(5.0), metric, scales=[0.7], key=getkey())
    mean, covariance = dense_oracle(network, metric.hidden[0], x, y, 0.7).field(x)
    assert min(_p_values(np.asarray(next(again.fields()))[:, :, 0], mean[:, 0], covariance)) > 1e-3


def test_sampled_noise_flows_each_draw_with_its_own(random_cosines, sine_data, getkey):
    """Given σ the flow is exact: standardised by each draw's own posterior, draws are N(0, 1)."""
    x, y, *_ = sine_data
    network = random_cosines(noise_spread=0.4)
    posterior = fit(network, x, y, key=getkey(), draws=3000)
    metric = fisher_metric(network, x, at=posterior)
    flow = coarse_grain(network, posterior, metric, scales=[3.0], key=getkey())
    sigma = posterior["posterior"]["noise"].values[0]
    assert sigma.std() > 0.02
    phi = np.asarray(network.features(x, metric.hidden[0]))
    mean0 = phi @ np.full(network.width, network.mean)
    values, vectors = np.linalg.eigh(network.variance * phi @ phi.T)
    good = values > 1e-6 * values[-1]
    ridge = sigma[:, None] ** 2 * 30 / 3.0
    data = vectors[:, good].T @ (np.asarray(y) - mean0)
    gain = values[good] / (values[good] + ridge)
    z = (np.asarray(next(flow.fields()))[:, :, 0] - mean0) @ vectors[:, good]
    standard = (z - gain * data) / np.sqrt(values[good] * (1 - gain))
    assert stats.kstest(standard.ravel(), "norm").pvalue > 1e-3
    other = (z - gain * data) / np.sqrt(values[good] * (1 - gain) * 1.1)
    assert stats.kstest(other.ravel(), "norm").pvalue < 1e-3


@pytest.mark.parametrize(
    ("scales", "message"), [([], "empty"), ([31.0], "descend"), ([3.0, 5.0], "descend"), ([-1.0], "descend")]
)
def test_scales_must_run_towards_the_prior(scales, message):
    with pytest.raises(ValueError, match=message):
        Diffusion().check_scales(scales, 30.0)
