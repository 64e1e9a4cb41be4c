"""Observation families: the law as one writes it in NumPyro, and the same law of ONE row in scipy.

Every family has a location-like number η, any real, and a positive s, which some laws do not use. What is in
``law`` broadcasts, as people write it; ``logp`` and ``mean`` take one η and one s, so that they cannot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import Distribution
from scipy import special, stats

TRIALS = 6
CUTS = (-0.5, 1.0)
_MIX, _APART = (0.3, 0.7), 2.0
_GATE = 0.3

Nodes = tuple[np.ndarray, np.ndarray]
"""Values of y (first axis) and their weights: sums over them are integrals over the support."""


@dataclass(frozen=True)
class Family:
    """One family of observations.

    Attributes
    ----------
    law
        (η, s) → NumPyro's distribution, of η's batch shape.
    logp
        (y, η, s) → log density of values y (first axis), η and s numbers.
    mean
        (η, s) → the mean, of a category its probabilities, of a law without mean the median.
    nodes
        (η, s) → :data:`Nodes`.
    draw
        (generator, η, s) → one value.
    scaled
        Whether the law uses s.
    real
        Whether η is a location on the whole line.
    width
        Number of entries of one observation; 1 for a scalar.
    closed
        Whether the library knows the expected information in closed form.
    """

    law: Callable[[Array, Any], Distribution]
    logp: Callable[[np.ndarray, float, float], np.ndarray]
    mean: Callable[[float, float], Any]
    nodes: Callable[[float, float], Nodes]
    draw: Callable[[np.random.Generator, float, float], Any]
    scaled: bool = True
    real: bool = False
    width: int = 1
    closed: bool = True


def _sinh(count: int = 1201) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on the line, double exponential; none at 0, where densities have kinks."""
    step = 7.0 / count
    t = -3.5 + step * (np.arange(count) + 0.25)
    return np.pi / 2 * np.sinh(t), np.pi / 2 * np.cosh(t) * step


def _line(eta: float, s: float) -> Nodes:
    u, weight = _sinh()
    return eta + s * np.sinh(u), s * np.cosh(u) * weight


def _half_line(eta: float, s: float) -> Nodes:
    u, weight = _sinh()
    return np.exp(u), np.exp(u) * weight


def _unit(eta: float, s: float) -> Nodes:
    u, weight = _sinh()
    y = special.expit(u)
    return np.clip(y, 1e-15, 1 - 1e-15), y * (1 - y) * weight


def _circle(eta: float, s: float) -> Nodes:
    return np.linspace(-np.pi, np.pi, 401)[1:], np.full(400, np.pi / 200)


def _up_to(last: int) -> Callable[[float, float], Nodes]:
    return lambda eta, s: (np.arange(last + 1), np.ones(last + 1))


def _plane(eta: float, s: float) -> Nodes:
    side = 8 * s * np.linspace(-1, 1, 161)
    y = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    return y + np.array([eta, -eta]), np.full(len(y), (side[1] - side[0]) ** 2)


def _tables(eta: float, s: float) -> Nodes:
    y = np.array([k for k in itertools.product(range(TRIALS + 1), repeat=3) if sum(k) == TRIALS])
    return y, np.ones(len(y))


def _simplex(eta: float, s: float) -> Nodes:
    u, weight = (part[::6] for part in _sinh())
    one, two = np.meshgrid(special.expit(u), special.expit(u), indexing="ij")
    jacobian = np.outer(
        (special.expit(u) * special.expit(-u) * weight), special.expit(u) * special.expit(-u) * weight
    )
    y = np.clip(np.stack([one, (1 - one) * two, (1 - one) * (1 - two)], axis=-1), 1e-15, 1).reshape(-1, 3)
    return y, (36 * jacobian * (1 - one)).ravel()


def _three(eta: float) -> np.ndarray:
    return special.softmax(np.array([0.0, eta, -eta]))


def _ordered(eta: float) -> np.ndarray:
    return np.diff([0.0, *special.expit(np.array(CUTS) - eta), 1.0])


def _covariance(s: float) -> np.ndarray:
    return s**2 * np.array([[1.0, 0.5], [0.5, 1.0]])


def _dirichlet(eta: float) -> np.ndarray:
    return 0.5 + np.exp([eta, 0.0, -eta])


def _mixture(eta: Array, s: Any) -> Distribution:
    parts = dist.Normal(jnp.stack([eta, eta + _APART], axis=-1), s)
    return dist.MixtureSameFamily(dist.Categorical(probs=jnp.array(_MIX)), parts)


def _mixture_logp(y: np.ndarray, eta: float, s: float) -> np.ndarray:
    parts = [np.log(p) + stats.norm.logpdf(y, eta + k * _APART, s) for k, p in enumerate(_MIX)]
    return np.logaddexp(*parts)


def _inflated_logp(y: np.ndarray, eta: float, s: float) -> np.ndarray:
    return np.log(_GATE * (np.asarray(y) == 0) + (1 - _GATE) * stats.poisson.pmf(y, np.exp(eta)))


def _dirichlet_logp(y: np.ndarray, eta: float, s: float) -> np.ndarray:
    a = _dirichlet(eta)
    return special.gammaln(a.sum()) - special.gammaln(a).sum() + ((a - 1) * np.log(y)).sum(axis=-1)


def _truncated(eta: float, s: float) -> Any:
    return stats.truncnorm(-eta / s, np.inf, eta, s)


def _location(law: Any, scipy: Any, draw: Any, *, closed: bool = True, **fixed: Any) -> Family:
    """Return a family of location η and scale s on the line."""
    return Family(
        lambda eta, s: law(loc=eta, scale=s, **fixed),
        lambda y, eta, s: scipy.logpdf(y, *fixed.values(), loc=eta, scale=s),
        lambda eta, s: eta,
        _line,
        lambda g, eta, s: eta + s * draw(g),
        real=True,
        closed=closed,
    )


def _choice(probabilities: Callable[[float], np.ndarray], law: Callable[[Array], Distribution]) -> Family:
    """Return a family of three categories."""
    return Family(
        lambda eta, s: law(eta),
        lambda y, eta, s: np.log(probabilities(eta))[np.asarray(y, int)],
        lambda eta, s: probabilities(eta),
        _up_to(2),
        lambda g, eta, s: g.choice(3, p=probabilities(eta)),
        scaled=False,
    )


def _bernoulli(law: Callable[[Array], Distribution]) -> Family:
    return Family(
        lambda eta, s: law(eta),
        lambda y, eta, s: stats.bernoulli.logpmf(y, special.expit(eta)),
        lambda eta, s: special.expit(eta),
        _up_to(1),
        lambda g, eta, s: g.binomial(1, special.expit(eta)),
        scaled=False,
    )


def _logits(eta: Array) -> Array:
    return jnp.stack([jnp.zeros_like(eta), eta, -eta], axis=-1)


FAMILIES: dict[str, Family] = {
    "Normal": _location(dist.Normal, stats.norm, lambda g: g.normal()),
    "StudentT": _location(dist.StudentT, stats.t, lambda g: g.standard_t(4), df=4.0),
    "Laplace": _location(dist.Laplace, stats.laplace, lambda g: g.laplace(), closed=False),
    "Cauchy": _location(dist.Cauchy, stats.cauchy, lambda g: g.standard_t(2), closed=False),
    "LogNormal": Family(
        dist.LogNormal,
        lambda y, eta, s: stats.lognorm.logpdf(y, s, scale=np.exp(eta)),
        lambda eta, s: np.exp(eta + s**2 / 2),
        _half_line,
        lambda g, eta, s: g.lognormal(eta, s),
    ),
    "Gamma": Family(
        lambda eta, s: dist.Gamma(s, s * jnp.exp(-eta)),
        lambda y, eta, s: stats.gamma.logpdf(y, s, scale=np.exp(eta) / s),
        lambda eta, s: np.exp(eta),
        _half_line,
        lambda g, eta, s: g.gamma(s, np.exp(eta) / s),
    ),
    "InverseGamma": Family(
        lambda eta, s: dist.InverseGamma(s + 1.5, jnp.exp(eta)),
        lambda y, eta, s: stats.invgamma.logpdf(y, s + 1.5, scale=np.exp(eta)),
        lambda eta, s: np.exp(eta) / (s + 0.5),
        _half_line,
        lambda g, eta, s: np.exp(eta) / g.gamma(s + 1.5),
        closed=False,
    ),
    "Exponential": Family(
        lambda eta, s: dist.Exponential(jnp.exp(-eta)),
        lambda y, eta, s: stats.expon.logpdf(y, scale=np.exp(eta)),
        lambda eta, s: np.exp(eta),
        _half_line,
        lambda g, eta, s: g.exponential(np.exp(eta)),
        scaled=False,
    ),
    "Weibull": Family(
        lambda eta, s: dist.Weibull(scale=jnp.exp(eta), concentration=s),
        lambda y, eta, s: stats.weibull_min.logpdf(y, s, scale=np.exp(eta)),
        lambda eta, s: np.exp(eta) * special.gamma(1 + 1 / s),
        _half_line,
        lambda g, eta, s: np.exp(eta) * g.weibull(s),
        closed=False,
    ),
    "Beta": Family(
        lambda eta, s: dist.Beta((2 + s) / (1 + jnp.exp(-eta)), (2 + s) / (1 + jnp.exp(eta))),
        lambda y, eta, s: stats.beta.logpdf(y, (2 + s) * special.expit(eta), (2 + s) * special.expit(-eta)),
        lambda eta, s: special.expit(eta),
        _unit,
        lambda g, eta, s: np.clip(
            g.beta((2 + s) * special.expit(eta), (2 + s) * special.expit(-eta)), 0.01, 0.99
        ),
    ),
    "TruncatedNormal": Family(
        lambda eta, s: dist.TruncatedNormal(eta, s, low=0.0),
        lambda y, eta, s: _truncated(eta, s).logpdf(y),
        lambda eta, s: _truncated(eta, s).mean(),
        _half_line,
        lambda g, eta, s: _truncated(eta, s).rvs(random_state=g),
        closed=False,
    ),
    "VonMises": Family(
        dist.VonMises,
        lambda y, eta, s: stats.vonmises.logpdf(y, s, loc=eta),
        lambda eta, s: (eta + np.pi) % (2 * np.pi) - np.pi,
        _circle,
        lambda g, eta, s: g.vonmises(0.0, s),
        closed=False,
    ),
    "Mixture": Family(
        _mixture,
        _mixture_logp,
        lambda eta, s: eta + _MIX[1] * _APART,
        _line,
        lambda g, eta, s: g.normal(eta + _APART * g.binomial(1, _MIX[1]), s),
        real=True,
        closed=False,
    ),
    "BernoulliLogits": _bernoulli(lambda eta: dist.Bernoulli(logits=eta)),
    "BernoulliProbs": _bernoulli(lambda eta: dist.Bernoulli(probs=1 / (1 + jnp.exp(-eta)))),
    "Binomial": Family(
        lambda eta, s: dist.Binomial(TRIALS, logits=eta),
        lambda y, eta, s: stats.binom.logpmf(y, TRIALS, special.expit(eta)),
        lambda eta, s: TRIALS * special.expit(eta),
        _up_to(TRIALS),
        lambda g, eta, s: g.binomial(TRIALS, special.expit(eta)),
        scaled=False,
    ),
    "Poisson": Family(
        lambda eta, s: dist.Poisson(jnp.exp(eta)),
        lambda y, eta, s: stats.poisson.logpmf(y, np.exp(eta)),
        lambda eta, s: np.exp(eta),
        _up_to(300),
        lambda g, eta, s: g.poisson(np.exp(eta)),
        scaled=False,
    ),
    "NegativeBinomial2": Family(
        lambda eta, s: dist.NegativeBinomial2(jnp.exp(eta), s),
        lambda y, eta, s: stats.nbinom.logpmf(y, s, s / (s + np.exp(eta))),
        lambda eta, s: np.exp(eta),
        _up_to(3000),
        lambda g, eta, s: g.negative_binomial(s, s / (s + np.exp(eta))),
    ),
    "ZeroInflatedPoisson": Family(
        lambda eta, s: dist.ZeroInflatedPoisson(gate=_GATE, rate=jnp.exp(eta)),
        _inflated_logp,
        lambda eta, s: (1 - _GATE) * np.exp(eta),
        _up_to(120),
        lambda g, eta, s: g.binomial(1, 1 - _GATE) * g.poisson(np.exp(eta)),
        scaled=False,
        closed=False,
    ),
    "Geometric": Family(
        lambda eta, s: dist.Geometric(logits=eta),
        lambda y, eta, s: stats.geom.logpmf(np.asarray(y) + 1, special.expit(eta)),
        lambda eta, s: np.exp(-eta),
        _up_to(3000),
        lambda g, eta, s: g.geometric(special.expit(eta)) - 1,
        scaled=False,
        closed=False,
    ),
    "Categorical": _choice(_three, lambda eta: dist.Categorical(logits=_logits(eta))),
    "OrderedLogistic": _choice(_ordered, lambda eta: dist.OrderedLogistic(eta, jnp.array(CUTS))),
    "Multinomial": Family(
        lambda eta, s: dist.Multinomial(TRIALS, logits=_logits(eta)),
        lambda y, eta, s: stats.multinomial.logpmf(y, TRIALS, _three(eta)),
        lambda eta, s: TRIALS * _three(eta),
        _tables,
        lambda g, eta, s: g.multinomial(TRIALS, _three(eta)),
        scaled=False,
        width=3,
    ),
    "MultivariateNormal": Family(
        lambda eta, s: dist.MultivariateNormal(
            jnp.stack([eta, -eta], axis=-1), s**2 * jnp.array([[1.0, 0.5], [0.5, 1.0]])
        ),
        lambda y, eta, s: stats.multivariate_normal.logpdf(y, [eta, -eta], _covariance(s)),
        lambda eta, s: np.array([eta, -eta]),
        _plane,
        lambda g, eta, s: g.multivariate_normal([eta, -eta], _covariance(s)),
        width=2,
    ),
    "Dirichlet": Family(
        lambda eta, s: dist.Dirichlet(0.5 + jnp.exp(jnp.stack([eta, jnp.zeros_like(eta), -eta], axis=-1))),
        _dirichlet_logp,
        lambda eta, s: _dirichlet(eta) / _dirichlet(eta).sum(),
        _simplex,
        lambda g, eta, s: g.dirichlet(_dirichlet(eta)),
        scaled=False,
        width=3,
        closed=False,
    ),
}
