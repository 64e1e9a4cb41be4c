"""Activations and their dual kernels E[φ(u)φ(v)] on a bivariate Gaussian (T2).

``activation(spec)`` resolves a name ("relu", "leaky_relu(0.2)"), an elementwise Python function,
or an :class:`Activation`; ``names()`` lists the names. ``moments`` and ``gaussian_expectation`` are
averages over one Gaussian variable (T3, T15).
"""

from brg_prob.activations.averages import Moments, moments
from brg_prob.activations.base import Activation
from brg_prob.activations.quadrature import gaussian_expectation
from brg_prob.activations.registry import activation, names

__all__ = ["Activation", "Moments", "activation", "gaussian_expectation", "moments", "names"]
