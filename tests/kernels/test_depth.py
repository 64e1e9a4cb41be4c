"""The flow of the kernel with depth: susceptibilities, fixed points, phases (T15)."""

import numpy as np
import pytest

from brg_prob.kernels import (
    correlation_map,
    critical_weight_variance,
    fixed_correlation,
    fixed_point,
    phase,
    susceptibilities,
)


@pytest.mark.parametrize(
    ("name", "phi", "slope"),
    [
        ("relu", lambda z: max(z, 0.0), lambda z: float(z > 0)),
        ("tanh", np.tanh, lambda z: np.cosh(z) ** -2),
        ("sin", np.sin, np.cos),
    ],
)
def test_susceptibilities_are_their_integrals(name, phi, slope, gaussian_average):
    k, weight = 0.8, 1.7
    parallel = weight / (2 * k**2) * gaussian_average(lambda z: phi(z) ** 2 * (z * z - k), k)
    perpendicular = weight * gaussian_average(lambda z: slope(z) ** 2, k)
    np.testing.assert_allclose(susceptibilities(name, k, weight), (parallel, perpendicular), rtol=1e-8)


def test_critical_variances_are_those_of_the_two_classes():
    exact = {"relu": 2, "identity": 1, "leaky_relu(0.2)": 2 / 1.04, "tanh": 1, "erf": np.pi / 4, "sin": 1}
    for name, value in exact.items():
        assert abs(critical_weight_variance(name) / value - 1) < 1e-8
    for name, value in list(exact.items())[::4]:  # relu and erf, one of each class
        assert phase(name, weight_variance=value, bias_variance=0.0) == "critical"
        assert phase(name, weight_variance=0.9 * value, bias_variance=0.0) == "ordered"
        assert phase(name, weight_variance=1.1 * value, bias_variance=0.0) == "chaotic"
    # ReLU: critical at every K; tanh: K* = 0 only
    np.testing.assert_allclose(susceptibilities("relu", np.array([0.01, 3.0]), 2.0), 1, rtol=1e-12)
    assert susceptibilities("tanh", 0.5, 1.0).perpendicular < 0.8
    with pytest.raises(ValueError, match="'cos' has no critical weight variance"):
        critical_weight_variance("cos")


@pytest.mark.parametrize(("weight", "bias", "found"), [(1.7, 0.2, "ordered"), (3.0, 0.1, "chaotic")])
def test_the_fixed_point_is_where_many_layers_lead(weight, bias, found):
    point = fixed_point("erf", weight_variance=weight, bias_variance=bias)
    blocks = [np.array([0.5, 0.3])]  # variance and covariance, 600 layers of the arcsine kernel in numpy
    for _ in range(600):
        own, cross = 2 / np.pi * np.arcsin(2 * blocks[-1] / (1 + 2 * blocks[-1][0]))
        blocks.append(bias + weight * np.array([own, cross]))
    k = np.array([block[0] for block in blocks])
    c = np.array([block[1] / block[0] for block in blocks])
    assert abs(k[-1] / point.variance - 1) < 1e-12
    assert point.phase == found
    assert abs(c[-1] - point.correlation) < 1e-6
    # deviations fall by e in ξ layers: the rate that the layers show
    rate = np.log(abs(k[4] - point.variance) / abs(k[9] - point.variance)) / 5
    assert abs(rate * point.variance_length - 1) < 0.02
    distance = np.abs(c - point.correlation)
    near = np.flatnonzero(distance < 1e-4)[0]
    assert abs(np.log(distance[near] / distance[near + 5]) / 5 * point.correlation_length - 1) < 0.01


def test_tanh_flows_to_the_variance_that_wide_networks_have():
    """T15: σ_w² = 1.7, σ_b² = 0.2; a wide network's mean square pre-activation, within 1 %."""
    point = fixed_point("tanh", weight_variance=1.7, bias_variance=0.2)
    rng, width = np.random.default_rng(0), 1000
    z = rng.standard_normal((200, width))
    for _ in range(
        8
    ):  # one input, 200 networks: given h, every next pre-activation is normal and independent
        k = 0.2 + 1.7 * np.mean(np.tanh(z) ** 2, axis=1, keepdims=True)
        z = np.sqrt(k) * rng.standard_normal((200, width))
    squares = np.mean(z**2, axis=1)
    assert abs(squares.mean() / point.variance - 1) < 0.01
    assert abs(squares.mean() - point.variance) < 4 * squares.std() / np.sqrt(200) + 2e-3  # and 1/width
    wrong = fixed_point("tanh", weight_variance=1.7, bias_variance=0.25).variance
    assert abs(squares.mean() / wrong - 1) > 0.05


def test_limits_without_a_fixed_point_are_named():
    assert fixed_point("relu", weight_variance=1.5, bias_variance=0.0).variance == 0
    assert fixed_point("relu", weight_variance=2.5, bias_variance=0.0).variance == np.inf
    assert fixed_point("relu", weight_variance=2.0, bias_variance=0.0, start=0.3).variance == 0.3
    point = fixed_point("relu", weight_variance=1.5, bias_variance=0.3)
    assert abs(point.variance - 0.3 / (1 - 0.75)) < 1e-12  # K* = σ_b²/(1 − σ_w²/2)
    sign = fixed_point("sign", weight_variance=1.0, bias_variance=0.0)
    assert (sign.phase, sign.perpendicular, sign.correlation) == ("chaotic", np.inf, 0.0)
    for wrong in ({"weight_variance": -1.0}, {"bias_variance": np.nan}, {"start": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fixed_point("relu", **{"weight_variance": 1.0, "bias_variance": 0.0, **wrong})


def test_the_correlation_map_has_slope_chi_at_one():
    k = fixed_point("erf", weight_variance=3.0, bias_variance=0.1).variance
    options = dict(variance=k, weight_variance=3.0, bias_variance=0.1)
    one, below = (float(correlation_map("erf", c, **options)) for c in (1.0, 1 - 1e-5))
    assert abs(one - 1) < 1e-12
    assert abs((one - below) / 1e-5 / float(susceptibilities("erf", k, 3.0).perpendicular) - 1) < 1e-4
    c = fixed_correlation("erf", **options)
    assert 0 < c < 1 and abs(float(correlation_map("erf", c, **options)) - c) < 1e-12
