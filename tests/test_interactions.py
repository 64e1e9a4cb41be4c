"""The four-point function of one hidden layer: closed forms, draws, and 1/N (T3)."""

import itertools

import numpy as np
import pytest
from scipy import stats

from brg_prob.correlators import cumulant
from brg_prob.interactions import connected_four_point, neuron_four_point

X = np.array([[0.6, -1.1, 0.2], [1.4, 0.3, -0.4], [-0.5, -0.2, 1.0], [0.2, -0.9, 0.7]])
TUPLES = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]])  # ranks 1 to 4 with biases
OPTIONS = dict(weight_variance=[1.5, 1.8], bias_variance=[0.2, 0.4])


def _covariance(tuples=TUPLES):
    x = X[tuples]
    return 0.2 + 1.5 / 3 * x @ x.transpose(0, 2, 1)


def _isserlis(c):
    return c[:, 0, 1] * c[:, 2, 3] + c[:, 0, 2] * c[:, 1, 3] + c[:, 0, 3] * c[:, 1, 2]


def test_smooth_activations_have_their_closed_forms():
    c = _covariance()
    ranks = np.linalg.matrix_rank(c)
    assert ranks.tolist() == [1, 2, 3, 4]
    identity = neuron_four_point(c, "identity")
    np.testing.assert_allclose(identity.value, _isserlis(c), rtol=1e-9)
    # E cos z_1 … cos z_4 = mean over signs of e^{−sᵀcs/2}
    signs = np.array([(1, *s) for s in itertools.product((1, -1), repeat=3)])
    expected = np.exp(-np.einsum("si,mij,sj->ms", signs, c, signs) / 2).mean(axis=1)
    cosine = neuron_four_point(c, "cos")
    np.testing.assert_allclose(cosine.value, expected, atol=1e-6)
    assert (np.abs(cosine.value - expected) <= cosine.error + 1e-13).all()
    # T14: the normalised exponential, e^{z − q}
    variance = np.diagonal(c, axis1=1, axis2=2).sum(axis=1)
    exact = np.exp(c.sum(axis=(1, 2)) / 2 - variance)
    np.testing.assert_allclose(neuron_four_point(c, "exp").value, exact, rtol=1e-5)


def test_kinks_are_resolved():
    """ReLU: 3K²/2 at one point, homogeneous moments at two, and E|z_1 z_2 z_3 z_4| of independent ones."""
    c = _covariance()
    relu = neuron_four_point(c[:2], "relu")
    assert abs(relu.value[0] / (1.5 * c[0, 0, 0] ** 2) - 1) < 1e-12
    # E[u₊²v₊²], Cho and Saul's kernel of degree 2: ab (3 sinθ cosθ + (π − θ)(1 + 2cos²θ))/2π
    a, b, cross = c[1, 0, 0], c[1, 2, 2], c[1, 0, 2]
    angle = np.arccos(cross / np.sqrt(a * b))
    shape = 3 * np.sin(angle) * np.cos(angle) + (np.pi - angle) * (1 + 2 * np.cos(angle) ** 2)
    assert abs(relu.value[1] / (a * b * shape / (2 * np.pi)) - 1) < 1e-12
    independent = neuron_four_point(np.eye(4)[None], "relu")
    exact = (2 * np.pi) ** -2  # E[z₊]⁴
    assert abs(independent.value[0] / exact - 1) < 3e-3
    assert abs(independent.value[0] - exact) < 3 * independent.error[0]


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_the_cumulant_is_that_of_draws_at_width_ten(name):
    rng, draws, width = np.random.default_rng(0), 400_000, 10
    activation = {
        "relu": lambda z: np.maximum(z, 0),
        "erf": lambda z: 2 * stats.norm.cdf(np.sqrt(2) * z) - 1,
    }[name]
    parts = []
    for _ in range(20):
        count = draws // 20
        w, b = rng.standard_normal((count, 3, width)), rng.standard_normal((count, 1, width))
        h = activation(np.sqrt(1.5 / 3) * X @ w + np.sqrt(0.2) * b)
        a, c = rng.standard_normal((count, width, 1)), rng.standard_normal((count, 1))
        parts.append((np.sqrt(1.8 / width) * h @ a)[..., 0] + np.sqrt(0.4) * c)
    estimate = cumulant(np.concatenate(parts)[None], TUPLES, independent=True)
    exact = connected_four_point(X, TUPLES, width=width, activation=name, **OPTIONS)
    score = (estimate.value - exact.value) / estimate.standard_error
    assert np.abs(score).max() < stats.norm.isf(1e-4 / 8)
    # negative control: the width that is not the networks'
    wrong = connected_four_point(X, TUPLES, width=20, activation=name, **OPTIONS).value
    assert np.abs((estimate.value - wrong) / estimate.standard_error).max() > 6


def test_interactions_fall_with_the_width_and_a_linear_network_has_them_too():
    ten, thousand = (
        connected_four_point(X, TUPLES, width=n, activation="identity", **OPTIONS).value for n in (10, 1000)
    )
    np.testing.assert_allclose(ten, 100 * thousand, rtol=1e-12)
    np.testing.assert_allclose(ten, 2 * 1.8**2 / 10 * _isserlis(_covariance()), rtol=1e-8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": 0}, "width = 0 must be a whole number"),
        ({"indices": [[0, 1]]}, r"indices of shape \(1, 2\)"),
        ({"indices": [[0, 1, 2, 4]]}, "index 4 is outside 4 points"),
        ({"weight_variance": [1.0, -1.0]}, "weight_variance = -1.0 must"),
        ({"x": X[0]}, "inputs are"),
    ],
)
def test_bad_input_is_refused(own_refusals, changed, message):
    given = dict(x=X, indices=TUPLES, width=10, activation="relu", **OPTIONS)
    with pytest.raises(ValueError, match=message):
        connected_four_point(**{**given, **changed})
