"""The limit of infinite width as a network: exact at its points, refused elsewhere, usable by everything."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from scipy.stats import norm

from brg_prob import fisher_metric, infinite_width, sample_prior
from brg_prob.geometry.readout_spectrum import features_of
from brg_prob.network import Covariance, FreeField, InfiniteWidth, LinearReadout, Network
from models.cosnet import CosNet
from models.mlp import Mlp

NETWORK = Mlp((20, 10), ("erf", "relu"), (1.5, 2.0, 1.0), (0.1, 0.0, 0.2), noise=0.3, dim=2)
POINTS = np.random.default_rng(2).normal(size=(14, 2))


@pytest.fixture(scope="module")
def limit():
    return infinite_width(NETWORK, POINTS)


@pytest.fixture(scope="module")
def kernel():
    return np.asarray(NETWORK.kernel(POINTS, POINTS))


def test_features_reproduce_the_kernel_at_the_points(limit, kernel):
    features = np.asarray(limit.features(POINTS, {}))
    assert features.shape == (14, 14)
    np.testing.assert_allclose(features @ features.T, kernel, atol=1e-13)
    some = [3, 1, 7]
    np.testing.assert_array_equal(limit.features(POINTS[some], {}), features[some])
    np.testing.assert_array_equal(limit.covariance(POINTS, POINTS[:3]), NETWORK.kernel(POINTS, POINTS[:3]))
    # inputs that nobody can look at are taken through the kernel: the same features
    traced = jax.jit(lambda x: limit.features(x, {}))(POINTS[some])
    np.testing.assert_allclose(traced, features[some], atol=1e-10)
    np.testing.assert_array_equal(features_of(limit, jnp.asarray(POINTS), {}), features)


def test_it_has_every_capability_but_a_free_field_s(limit):
    for capability in (Network, LinearReadout, Covariance, InfiniteWidth):
        assert isinstance(limit, capability)
    assert not isinstance(limit, FreeField)
    assert "14 points, rank 14" in repr(limit)
    assert "\n" not in repr(limit)


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray, np.ndarray.tolist], ids=["numpy", "jax", "list"])
def test_another_input_is_refused_in_one_line(limit, wrap):
    inputs = POINTS.copy()
    inputs[5] = [0.5, 0.25]
    with pytest.raises(ValueError, match=r"x = \[0.5, 0.25\] is none of the 14 points.*name it") as raised:
        limit.features(wrap(inputs), {})
    assert "\n" not in str(raised.value)


def test_inputs_that_the_points_determine_are_taken():
    """A linear model of two features is known everywhere once it is known at two points."""
    linear = infinite_width(Mlp((), weight_variance=1.3, dim=2), POINTS)
    assert linear.root.shape == (14, 2)
    other = np.array([[0.5, 0.25], [2.0, -1.0]])
    features = np.asarray(linear.features(other, {}))
    np.testing.assert_allclose(features @ features.T, 1.3 / 2 * other @ other.T, rtol=1e-12)


def test_repeated_and_nearly_repeated_points_lower_the_rank(kernel):
    points = np.concatenate([POINTS, POINTS[:3], POINTS[:1] + 1e-14])
    limit = infinite_width(NETWORK, points)
    assert limit.root.shape == (18, 14)
    rows = np.r_[0:14, 0:3, 0]
    features = np.asarray(limit.features(points, {}))
    np.testing.assert_allclose(features @ features.T, kernel[np.ix_(rows, rows)], atol=1e-12)


def test_the_model_is_that_field(limit, kernel, getkey):
    trace = handlers.trace(handlers.seed(limit, getkey())).get_trace(POINTS)
    assert set(trace) == {"readout", "f", "y", "observations"}
    np.testing.assert_allclose(trace["f"]["value"], limit.features(POINTS, {}) @ trace["readout"]["value"])
    several = infinite_width(dataclasses.replace(NETWORK, outputs=2, noise_spread=0.4), POINTS)
    trace = handlers.trace(handlers.seed(several, getkey())).get_trace(POINTS[:5], np.zeros((5, 2)))
    assert trace["f"]["value"].shape == (5, 2)
    assert trace["y"]["is_observed"]
    assert trace["noise"]["fn"].scale == 0.4
    # draws of the prior: every variance, and every covariance, within its error
    f = np.asarray(sample_prior(limit, POINTS, key=getkey(), draws=4000)["prior"]["f"].values[0])
    error = np.sqrt((kernel**2 + np.outer(np.diag(kernel), np.diag(kernel))) / 4000)
    upper = np.triu_indices(14)
    assert np.max(np.abs((f.T @ f / 4000 - kernel) / error)[upper]) < norm.isf(0.5e-3 / 105)
    assert np.max(np.abs((f.T @ f / 4000 - 1.2 * kernel) / error)[upper]) > norm.isf(0.5e-3 / 105)


def test_the_fisher_spectrum_is_the_kernel_s(limit, kernel):
    """λ = eigenvalues of K(X, X)/(nσ²), the Mercer spectrum (T5)."""
    metric = fisher_metric(limit, POINTS[:9])
    expected = np.linalg.eigvalsh(kernel[:9, :9])[::-1] / (9 * 0.3**2)
    np.testing.assert_allclose(metric.eigenvalues, expected, rtol=1e-9)
    wide = fisher_metric(NETWORK, POINTS[:9], at=NETWORK.sample_hidden(jax.random.key(0)))
    assert np.max(np.abs(wide.eigenvalues / expected - 1)) > 0.05


def test_single_precision_costs_rank(kernel):
    with jax.enable_x64(False):
        limit = infinite_width(NETWORK, POINTS)
        features = limit.features(POINTS, {})
        assert features.dtype == jnp.float32
        assert isinstance(limit.floor, float)
    np.testing.assert_allclose(features @ features.T, kernel, atol=1e-4 * np.max(kernel))


class Loose:
    """A linear readout whose kernel is what a test says."""

    outputs, noise, noise_spread = 1, 0.5, 0.0

    def __init__(self, value):
        self.value = value

    def sample_hidden(self, key):
        return {}

    def features(self, x, hidden):
        return x

    def readout_prior(self, hidden):
        return Mlp((), dim=2).readout_prior({})

    def __call__(self, x, y=None):
        return x

    def kernel(self, x1, x2):
        return jnp.full((len(x1), len(x2)), self.value)


@pytest.mark.parametrize(
    ("network", "points", "error", "complaint"),
    [
        (
            CosNet(box=4.0),
            np.ones((3, 1)),
            TypeError,
            r"InfiniteWidth; CosNet would.*kernel\(x1",
        ),
        (NETWORK, np.ones(3), ValueError, r"points has shape \(3,\)"),
        (NETWORK, np.ones((0, 2)), ValueError, r"points has shape \(0, 2\)"),
        (NETWORK, np.ones((3, 1)), ValueError, r"x has shape \(3, 1\); Mlp\(dim=2\)"),
        (dataclasses.replace(NETWORK, readout_mean=0.1), POINTS, ValueError, "prior mean.*make it zero"),
        (Loose(0.0), POINTS, ValueError, "kernel vanishes at the 14 points"),
        (Loose(np.nan), POINTS, ValueError, "kernel is not finite"),
    ],
)
def test_what_has_no_limit_is_refused_in_one_line(network, points, error, complaint):
    with pytest.raises(error, match=complaint) as raised:
        infinite_width(network, points)
    assert "\n" not in str(raised.value)
