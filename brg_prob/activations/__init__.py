"""Activations and their dual kernels E[φ(u)φ(v)] on a bivariate Gaussian (T2).

``activation(spec)`` resolves a name ("relu", "leaky_relu(0.2)"), a vectorised Python
function, or an :class:`Activation`.
"""

from brg_prob.activations.base import Activation
from brg_prob.activations.registry import activation, names

__all__ = ["Activation", "activation", "names"]
