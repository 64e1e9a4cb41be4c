"""T7's condition on the prior: diffusion reaches the prior only in coordinates where the prior is N(0, 1)."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import stats

from brg_prob.flow.diffusion import diffuse
from brg_prob.geometry.coordinates import StandardNormalCoordinates

SEEDS, DRAWS, NOISE, N = 100, 400, 0.5, 20
Y = 0.9 + NOISE * np.random.default_rng(3).standard_normal(N)
LEVEL = 0.05
MOST = int(stats.binom.ppf(0.9995, SEEDS, LEVEL))  # rejections of a true null over the seeds


def positive(x, y=None):
    """One parameter with a half-normal prior, observed with Gaussian noise."""
    theta = numpyro.sample("theta", dist.HalfNormal(1.0))
    f = numpyro.deterministic("f", theta * x[:, 0])
    numpyro.sample("y", dist.Normal(f, NOISE).to_event(1), obs=y)


def logarithmic(x, y=None):
    """A log-normal parameter whose logarithm is observed: linear and Gaussian once transported."""
    theta = numpyro.sample("theta", dist.LogNormal(0.3, 0.8))
    f = numpyro.deterministic("f", jnp.log(theta) * x[:, 0])
    numpyro.sample("y", dist.Normal(f, NOISE).to_event(1), obs=y)


def tempered_cdf(log_prior, mean, observations):
    """Return θ-grid and distribution function of p(θ) p(y|θ)^(T/n), by quadrature on a fine grid."""
    theta = np.linspace(1e-6, 12.0, 200_001)
    fit = np.mean(Y**2) - 2 * np.mean(Y) * mean(theta) + mean(theta) ** 2  # mean squared residual
    log_density = log_prior(theta) - observations * fit / (2 * NOISE**2)
    density = np.exp(log_density - log_density.max())
    cdf = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return theta, cdf / cdf[-1]


def rejection_rate(draws, reference):
    """Return how many of the seeds' samples a Kolmogorov–Smirnov test rejects at LEVEL."""
    grid, cdf = reference
    return sum(stats.kstest(sample, lambda v: np.interp(v, grid, cdf)).pvalue < LEVEL for sample in draws)


def flow_to(whiten, unwhiten, theta, slope, scales):
    """Diffuse draws of θ in whitened coordinates from T = N to the last scale; return (SEEDS, DRAWS).

    ``slope`` is the derivative of the field by z, so λ = slope²/σ² per observation.
    """
    z = np.asarray(whiten(theta)).reshape(-1, 1)
    eigenvalues, start = np.array([slope**2 / NOISE**2]), float(N)
    for step, stop in enumerate(scales):
        z = diffuse(z, eigenvalues, start, stop, jax.random.fold_in(jax.random.key(11), step))
        start = stop
    return np.asarray(unwhiten(np.asarray(z)[:, 0])).reshape(SEEDS, DRAWS)


def posterior_draws(reference):
    """Draw θ by the inverse distribution function."""
    grid, cdf = reference
    return np.interp(np.random.default_rng(0).random(SEEDS * DRAWS), cdf, grid)


def coordinates_of(model):
    """Return the maps θ → z and z → θ of a model, over draws."""
    coordinates = StandardNormalCoordinates(model, jnp.ones((N, 1)), jnp.asarray(Y))
    forward = jax.jit(jax.vmap(lambda t: coordinates.forward({"theta": t})["theta"]))
    inverse = jax.jit(jax.vmap(lambda z: coordinates.inverse({"theta": z})["theta"]))
    return forward, inverse


def half_normal_prior(theta):
    """Log density of |N(0, 1)|, up to a constant."""
    return -0.5 * theta**2


def test_a_transported_half_normal_posterior_flows_back_to_its_prior():
    identity = lambda theta: theta  # noqa: E731
    theta = posterior_draws(tempered_cdf(half_normal_prior, identity, N))
    forward, inverse = coordinates_of(positive)
    # by a difference: the program is there for all draws
    centre, step = float(np.mean(np.asarray(forward(theta)))), 1e-5
    around = np.asarray(inverse(np.resize([centre - step, centre + step], theta.size)))
    slope = (around[1] - around[0]) / (2 * step)
    for scales in ([5.0, 1.0, 0.1, 1e-3], [5.0, 1.0, 0.1, 0.0]):
        ended = flow_to(forward, inverse, theta, slope, scales)
        target = tempered_cdf(half_normal_prior, identity, scales[-1])
        assert rejection_rate(ended, target) <= MOST
        assert abs(ended.mean() - np.sqrt(2 / np.pi)) < 4 * ended.std() / ended.size**0.5 + scales[-1]


def test_whitening_by_moments_drifts_to_another_prior():
    """The control: log θ and θ, shifted and scaled by their prior moments, end elsewhere (.98 for .80)."""
    identity = lambda theta: theta  # noqa: E731
    theta = posterior_draws(tempered_cdf(half_normal_prior, identity, N))
    target = tempered_cdf(half_normal_prior, identity, 0.0)
    shift, scale = -(np.euler_gamma + np.log(2)) / 2, np.pi / 8**0.5
    logarithm = flow_to(
        lambda t: (np.log(t) - shift) / scale,
        lambda z: np.exp(shift + scale * z),
        theta,
        scale * 0.9,
        [5.0, 0.1, 0.0],
    )
    assert rejection_rate(logarithm, target) >= 0.95 * SEEDS
    assert abs(logarithm.mean() - 0.982) < 4 * logarithm.std() / logarithm.size**0.5
    mean, spread = np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi)
    linear = flow_to(
        lambda t: (t - mean) / spread, lambda z: mean + spread * z, theta, spread, [5.0, 0.1, 0.0]
    )
    assert rejection_rate(linear, target) >= 0.95 * SEEDS
    assert np.mean(linear < 0) > 0.05  # it even leaves the support


def test_a_log_normal_parameter_flows_exactly_through_every_scale():
    """Transported, the model is linear-Gaussian: T6 holds at every T, not only at the end."""
    log_prior = lambda theta: stats.lognorm.logpdf(theta, 0.8, scale=np.exp(0.3))  # noqa: E731
    theta = posterior_draws(tempered_cdf(log_prior, np.log, N))
    forward, inverse = coordinates_of(logarithmic)
    # about the prior mean: the field is 0.3 + 0.8 z, the data's shift is T6's ẑ
    for scales in ([5.0], [5.0, 1.0], [5.0, 1.0, 0.1]):
        target = tempered_cdf(log_prior, np.log, scales[-1])
        assert rejection_rate(flow_to(forward, inverse, theta, 0.8, scales), target) <= MOST
    mean, spread = stats.lognorm(0.8, scale=np.exp(0.3)).mean(), stats.lognorm(0.8, scale=np.exp(0.3)).std()
    linear = flow_to(
        lambda t: (t - mean) / spread, lambda z: mean + spread * z, theta, spread / mean, [5.0, 1.0]
    )
    assert rejection_rate(linear, tempered_cdf(log_prior, np.log, 1.0)) >= 0.95 * SEEDS
