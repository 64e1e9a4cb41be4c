"""Activations written out in numpy, and quadratures that share no code or rule with the library's."""

import math

import numpy as np
import pytest
from scipy import special


def normal_pdf(z):
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def logistic(z):
    return special.expit(z)


# φ(z, q) and φ′(z, q), q the variance of z
FUNCTIONS = {
    "identity": (lambda z, q: z, lambda z, q: np.ones_like(z)),
    "relu": (lambda z, q: np.maximum(z, 0), lambda z, q: 1.0 * (z > 0)),
    "leaky_relu(0.2)": (lambda z, q: np.where(z > 0, z, 0.2 * z), lambda z, q: np.where(z > 0, 1, 0.2)),
    "abs": (lambda z, q: np.abs(z), lambda z, q: np.sign(z)),
    "step": (lambda z, q: 1.0 * (z > 0), lambda z, q: 0 * z),
    "sign": (lambda z, q: np.sign(z), lambda z, q: 0 * z),
    "erf": (lambda z, q: special.erf(z), lambda z, q: 2 / math.sqrt(math.pi) * np.exp(-z * z)),
    "sin": (lambda z, q: np.sin(z), lambda z, q: np.cos(z)),
    "cos": (lambda z, q: np.cos(z), lambda z, q: -np.sin(z)),
    "monomial(5)": (lambda z, q: z**5, lambda z, q: 5 * z**4),
    "gelu": (lambda z, q: z * special.ndtr(z), lambda z, q: special.ndtr(z) + z * normal_pdf(z)),
    "exp": (lambda z, q: np.exp(z - q), lambda z, q: np.exp(z - q)),
    "tanh": (lambda z, q: np.tanh(z), lambda z, q: 1 - np.tanh(z) ** 2),
    "swish": (
        lambda z, q: z * logistic(z),
        lambda z, q: logistic(z) + z * logistic(z) * (1 - logistic(z)),
    ),
    "softplus": (lambda z, q: np.logaddexp(z, 0), lambda z, q: logistic(z)),
    "sigmoid": (lambda z, q: logistic(z), lambda z, q: logistic(z) * (1 - logistic(z))),
}
NUMERIC = ("tanh", "swish", "softplus", "sigmoid")
CLOSED = tuple(name for name in FUNCTIONS if name not in NUMERIC)


def polar_expectation(f, g, a, b, rho):
    """E[f(u, a) g(v, b)] in polar coordinates, in sectors that end where u or v changes sign.

    u = √a r cos θ and v = √b r cos(θ − arccos ρ), so a kink at 0 is a ray, at every correlation.
    """
    x, w = np.polynomial.legendre.leggauss(64)
    turn = np.arccos(rho)
    rays = np.sort(np.mod([np.pi / 2, 3 * np.pi / 2, np.pi / 2 + turn, 3 * np.pi / 2 + turn], 2 * np.pi))
    radius = np.concatenate([1.5 * (x + 1) + 3 * shell for shell in range(5)])
    density = np.tile(1.5 * w, 5) * radius * np.exp(-(radius**2) / 2) / (2 * np.pi)
    total = 0.0
    for low, high in zip(rays, np.append(rays[1:], rays[0] + 2 * np.pi), strict=True):
        theta = ((low + high) / 2 + (high - low) / 2 * x)[:, None]
        u, v = math.sqrt(a) * radius * np.cos(theta), math.sqrt(b) * radius * np.cos(theta - turn)
        total += np.sum((high - low) / 2 * w[:, None] * density * f(u, a) * g(v, b))
    return total


def hermite_expectation(f, g, a, b, rho, nodes=200):
    """E[f(u) g(v)] of smooth f and g by a Gauss–Hermite product rule along the axes of the ellipse."""
    z, w = special.roots_hermitenorm(nodes)
    w = w / math.sqrt(2 * math.pi)
    along, across = math.sqrt((1 + rho) / 2) * z[:, None], math.sqrt((1 - rho) / 2) * z[None, :]
    return np.sum(w[:, None] * w * f(math.sqrt(a) * (along + across)) * g(math.sqrt(b) * (along - across)))


@pytest.fixture(scope="session")
def functions():
    """Return the activations as numpy functions (φ, φ′) of (z, variance)."""
    return FUNCTIONS


@pytest.fixture(scope="session")
def polar():
    """Return the polar quadrature."""
    return polar_expectation


@pytest.fixture(scope="session")
def hermite():
    """Return the Gauss–Hermite product rule."""
    return hermite_expectation


def pytest_generate_tests(metafunc):
    """Run a test over the closed forms, the numeric activations, or all."""
    for argument, values in (
        ("closed_name", CLOSED),
        ("numeric_name", NUMERIC),
        ("any_name", (*CLOSED, *NUMERIC)),
    ):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, values)
