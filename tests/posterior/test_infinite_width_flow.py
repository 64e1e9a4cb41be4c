"""T10: the flow of infinite width against scikit-learn, and against the library's own flow of a network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from brg_prob import coarse_grain, fisher_metric, fit, infinite_width
from brg_prob.posterior import gaussian_posterior, infinite_width_flow
from models.mlp import Mlp

N, M, NOISE = 24, 9, 0.3
SCALES = (24.0, 12.0, 5.0, 1.0, 0.1)
DEEP = Mlp((30, 20, 10), ("relu", "erf", "relu"), (2.0, 1.5, 1.0, 1.3), 0.1, noise=NOISE, dim=2)


class Given(Kernel):
    """A kernel that looks its matrix up by row numbers: both sides start from the same matrix."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, x, y=None, eval_gradient=False):
        rows = x[:, 0].astype(int)
        return self.matrix[np.ix_(rows, rows if y is None else y[:, 0].astype(int))]

    def diag(self, x):
        return np.diag(self.matrix)[x[:, 0].astype(int)]

    def is_stationary(self):
        return False


@pytest.fixture(scope="module")
def problem():
    """Inputs (33, 2), of which 24 train; targets (24, 2); the kernel of three layers at all of them."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(N + M, 2))
    y = np.stack([np.sin(x[:N, 0]), x[:N, 0] * x[:N, 1]], axis=1) + NOISE * rng.normal(size=(N, 2))
    return x, y, np.asarray(DEEP.kernel(x, x))


def blocks(kernel):
    return kernel[:N, :N], kernel[N:, :N], kernel[N:, N:]


def by_sklearn(kernel, y, ridge):
    """Mean (m, o) and covariance (m, m) of Gaussian-process regression with a ridge."""
    rows = np.arange(N + M)[:, None]
    model = GaussianProcessRegressor(Given(kernel), alpha=ridge, optimizer=None).fit(rows[:N], y)
    mean, covariance = model.predict(rows[N:], return_cov=True)
    return mean, covariance[..., 0]


def test_every_scale_is_gaussian_process_regression_with_its_ridge(problem):
    """At five scales, to 1e-8: the array form, and what the flow of the network leaves there."""
    x, y, kernel = problem
    means, covariances = infinite_width_flow(*blocks(kernel), y, noise=NOISE, scales=SCALES)
    assert (means.shape, covariances.shape) == ((5, M, 2), (5, M, M))
    limit = infinite_width(dataclasses.replace(DEEP, outputs=2), x)
    posterior = fit(limit, x[:N], y, key=jax.random.key(0), draws=4)
    metric = fisher_metric(limit, x[:N], at=posterior)
    flow = coarse_grain(limit, posterior, metric, scales=SCALES, key=jax.random.key(1))
    for at, scale in enumerate(SCALES):
        mean, covariance = by_sklearn(kernel, y, NOISE**2 * N / scale)
        np.testing.assert_allclose(means[at], mean, rtol=0, atol=1e-8)
        np.testing.assert_allclose(covariances[at], covariance, rtol=0, atol=1e-8)
        theory = flow.theory_at(scale)
        np.testing.assert_allclose(theory.mean(x[N:]), mean, rtol=0, atol=1e-8)
        np.testing.assert_allclose(theory.covariance(x[N:], x[N:]), covariance, rtol=0, atol=1e-8)
    # another ridge at one scale is another theory, far outside that tolerance
    wrong, _ = by_sklearn(kernel, y, 1.01 * NOISE**2 * N / SCALES[1])
    assert np.max(np.abs(means[1] - wrong)) > 1e-5


def test_no_observation_is_the_prior_and_order_does_not_matter(problem):
    _, y, kernel = problem
    means, covariances = infinite_width_flow(*blocks(kernel), y, noise=NOISE, scales=[0.0, 5.0, 24.0])
    np.testing.assert_array_equal(means[0], 0.0)
    np.testing.assert_array_equal(covariances[0], kernel[N:, N:])
    mean, covariance = gaussian_posterior(*blocks(kernel), y, NOISE**2)
    np.testing.assert_allclose(means[2], mean, atol=1e-10)
    np.testing.assert_allclose(covariances[2], covariance, atol=1e-10)
    backwards = infinite_width_flow(*blocks(kernel), y, noise=NOISE, scales=[24.0, 5.0, 0.0])
    np.testing.assert_array_equal(backwards[0][::-1], means)


def test_without_noise_it_interpolates_or_says_which_inputs_coincide(problem):
    _, y, kernel = problem
    train = kernel[:N, :N]
    means, covariances = infinite_width_flow(train, train, train, y, noise=0.0, scales=[1.0])
    np.testing.assert_allclose(means[0], y, atol=1e-7)
    np.testing.assert_allclose(covariances[0], 0.0, atol=1e-7)
    rows = np.r_[0, 0:N]
    repeated, twice = train[np.ix_(rows, rows)], y[rows]
    with pytest.raises(ValueError, match=r"inputs 0 and 1 coincide.*add a ridge") as raised:
        infinite_width_flow(repeated, repeated, repeated, twice, noise=0.0, scales=[1.0])
    assert "\n" not in str(raised.value)
    # with noise, two equal rows are one seen twice: half the noise there
    once = train[:1, :1]
    double = infinite_width_flow(*[np.full((2, 2), once[0, 0])] * 3, y[[0, 0]], noise=NOISE, scales=[2.0])
    single = infinite_width_flow(once, once, once, y[:1], noise=NOISE / np.sqrt(2), scales=[1.0])
    np.testing.assert_allclose(double[0][0, 0], single[0][0, 0], rtol=1e-10)
    np.testing.assert_allclose(double[1][0, 0, 0], single[1][0, 0, 0], rtol=1e-10)


def test_a_kernel_of_low_rank_with_little_noise(problem):
    """Five features and σ = 1e-3 against ridge regression in weight space."""
    _, y, _ = problem
    features = np.random.default_rng(5).normal(size=(N + M, 5))
    kernel = features @ features.T
    means, _ = infinite_width_flow(*blocks(kernel), y, noise=1e-3, scales=[float(N)])
    train, test = features[:N], features[N:]
    weights = np.linalg.solve(train.T @ train + 1e-6 * np.eye(5), train.T @ y)
    np.testing.assert_allclose(means[0], test @ weights, atol=1e-8)


def test_it_is_traced_and_runs_in_single_precision(problem):
    _, y, kernel = problem

    def energy(scale):
        means, _ = infinite_width_flow(*blocks(kernel), y, noise=NOISE, scales=scale[None])
        return jnp.sum(jnp.square(means))

    slope = jax.jit(jax.grad(energy))(jnp.asarray(5.0))
    step = 1e-4
    expected = (energy(jnp.asarray(5.0 + step)) - energy(jnp.asarray(5.0 - step))) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=1e-6)
    double = infinite_width_flow(*blocks(kernel), y, noise=NOISE, scales=[5.0])[0]
    with jax.enable_x64(False):
        single = infinite_width_flow(*blocks(kernel), y, noise=NOISE, scales=[5.0])[0]
        assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, atol=2e-4)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"noise": -0.1}, "noise = -0.1 must be finite"),
        ({"scales": [1.0, -2.0]}, r"scales = \[1.0, -2.0\] must be"),
        ({"scales": 3.0}, "scales = 3.0 must be a list"),
        ({"y": np.zeros(N)}, r"y\[:, None\]"),
        ({"y": np.zeros((3, 1))}, r"y \(3, 1\) do not fit"),
        ({"cross": np.zeros((N, M))}, r"cross \(24, 9\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(problem, options, complaint):
    _, y, kernel = problem
    given = dict(zip(("kernel", "cross", "prior"), blocks(kernel), strict=True))
    given |= {"y": y, "noise": NOISE, "scales": [1.0]} | options
    with pytest.raises(ValueError, match=complaint) as raised:
        infinite_width_flow(**given)
    assert "\n" not in str(raised.value)
