"""Recursions in numpy and scipy that share nothing with the library."""

import numpy as np
import pytest
from scipy import integrate


def _relu(a, b, c):
    t = np.sqrt(a * b)
    angle = np.arccos(np.clip(c / t, -1, 1))
    return t * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def _erf(a, b, c):
    size = (1 + 2 * a) * (1 + 2 * b)
    return 2 / np.pi * np.arcsin(2 * c / np.sqrt(size)), 4 / np.pi / np.sqrt(size - 4 * c**2)


def _tanh(a, b, c):
    # trapezoidal: on an analytic integrand it converges geometrically, poles of tanh included
    nodes = np.linspace(-12, 12, 500)
    weights = np.exp(-(nodes**2) / 2)
    weights, s, t = weights / weights.sum(), np.sqrt(a), np.sqrt(b)
    rho = min(c / (s * t), 1.0)
    u, v = s * nodes, t * (rho * nodes[:, None] + np.sqrt(1 - rho**2) * nodes[None, :])
    return (weights * np.tanh(u)) @ np.tanh(v) @ weights, (weights / np.cosh(u) ** 2) @ np.cosh(
        v
    ) ** -2 @ weights


DUALS = {"relu": _relu, "erf": _erf, "tanh": _tanh}


@pytest.fixture(scope="session")
def plain_recursion():
    """Return a function: pair by pair, the 2 × 2 block and its tangent kernel of every layer (T2)."""

    def kernels(x, activations, weights, biases):
        n = len(x)
        found = np.empty((2, len(activations) + 1, n, n))
        for i in range(n):
            for j in range(n):
                pair = x[[i, j]]
                k = biases[0] + weights[0] * pair @ pair.T / x.shape[1]
                theta = k[0, 1]
                found[:, 0, i, j] = k[0, 1], theta
                for layer, name in enumerate(activations, start=1):
                    dual, w, b = DUALS[name], weights[layer], biases[layer]
                    cross, slope = dual(k[0, 0], k[1, 1], k[0, 1])
                    own = [dual(v, v, v)[0] for v in (k[0, 0], k[1, 1])]
                    k = b + w * np.array([[own[0], cross], [cross, own[1]]])
                    theta = k[0, 1] + w * slope * theta
                    found[:, layer, i, j] = k[0, 1], theta
        return found

    return kernels


@pytest.fixture(scope="session")
def gaussian_average():
    """Return E[f(z)], z ~ N(0, k), by scipy's adaptive quadrature, split at 0."""

    def average(f, k):
        def integrand(z):
            return f(np.sqrt(k) * z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

        return sum(
            integrate.quad(integrand, *ends, epsabs=1e-13, epsrel=1e-12)[0] for ends in ((-12, 0), (0, 12))
        )

    return average
