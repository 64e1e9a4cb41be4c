"""Is a flow the posterior at every T? Needs no field theory (T6, T10, T18).

A Gaussian prior of the field with covariance K, conditioned at T observations, has on the eigenvectors of K,
the Fisher modes of a linear readout,

    Var f_k = μ_k ρ/(μ_k + ρ),   E f_k = m_k + μ_k/(μ_k + ρ) (y_k − m_k),   ρ = σ²n/T.

Nothing but K, y and σ enters here, so the flow's draws are held against what they did not come from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from brg_prob.arrays import Floats
from brg_prob.correspondence.checks import Demands, across_scales
from brg_prob.correspondence.moments import mean_test, moments, variance_test
from brg_prob.correspondence.momentum_survey import Draws
from brg_prob.correspondence.plane_waves import by_output
from brg_prob.correspondence.verdicts import Check, Checks, check_tree, overall
from brg_prob.flow import Flow
from brg_prob.geometry import whitened_features
from brg_prob.geometry.readout_spectrum import prior_mean, readout_kernel
from brg_prob.network import Covariance, LinearReadout
from brg_prob.posterior import gaussian_posterior

CLOSED_FORM = "the closed-form posterior at every T (T10)"


@dataclass(frozen=True)
class ClosedPosterior:
    """The closed-form posterior at every T, mode by mode (T10).

    Attributes
    ----------
    eigenvalues, vectors
        μ (r,) and U (n, r) of K on the inputs, as far as μ is above rounding.
    prior_mean, data
        The prior mean m and the targets y on the modes, (r, o).
    noise
        σ.
    """

    eigenvalues: Floats
    vectors: Floats
    prior_mean: Floats
    data: Floats
    noise: float

    @classmethod
    def of(
        cls, kernel: ArrayLike, prior_mean: ArrayLike, y: ArrayLike, noise: float, precision: float
    ) -> ClosedPosterior:
        """Return it from K (n, n), m and y (n, o), σ, and the machine epsilon of the draws.

        Modes with μ below 64·n·precision times the largest are left out: their draws are rounding.
        """
        matrix = np.asarray(kernel, dtype=float)
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        kept = values > 64 * values.size * precision * values[-1]
        vectors = vectors[:, kept]
        mean, data = (vectors.T @ np.asarray(value, dtype=float) for value in (prior_mean, y))
        return cls(values[kept], vectors, mean, data, noise)

    @classmethod
    def of_network(cls, flow: Flow) -> ClosedPosterior:
        """Return that of a flow's own readout, given its one set of hidden layers.

        K is the network's own covariance where nothing is hidden and it states one, else ΦC0Φᵀ.
        """
        network, (hidden,) = flow.network, flow.hidden
        if isinstance(network, Covariance) and not hidden:
            kernel = network.covariance(flow.x, flow.x)
        else:
            kernel = readout_kernel(network, flow.x, hidden)
        precision = float(jnp.finfo(flow.x.dtype).eps)
        return cls.of(kernel, prior_mean(network, flow.x, hidden), flow.targets, flow.noise, precision)

    def gain(self, observations: float) -> Floats:
        """Return μ/(μ + ρ) = Tλ/(1 + Tλ), (r,)."""
        signal = observations * self.eigenvalues
        return np.asarray(signal / (signal + self.noise**2 * len(self.vectors)))

    def variance(self, observations: float) -> Floats:
        """Return Var f_k, (r,)."""
        return np.asarray(self.eigenvalues * (1 - self.gain(observations)))

    def mean(self, observations: float) -> Floats:
        """Return E f_k, (r, o)."""
        return self.prior_mean + self.gain(observations)[:, None] * (self.data - self.prior_mean)


def check_closed_form(
    flow: Flow,
    posterior: ClosedPosterior,
    *,
    demands: Demands,
) -> Checks:
    """Test whether the draws of a flow are the posterior at every T, mode by mode (T10, T18).

    Parameters
    ----------
    flow
        A diffusion, or a tempered posterior: its scales are numbers of observations T.
    posterior
        The closed form at the flow's inputs.
    demands
        Tolerance, relative for variances, in standard deviations of a draw for means; level; and whether the
        draws are also held against twice T, which must be rejected.

    Returns
    -------
    Checks
        ``tree`` with the group ``checks``; ``verdict``.
    """
    samples = _projected(flow, posterior)
    demands = dataclasses.replace(demands, family=2)
    count, copies = len(posterior.eigenvalues), posterior.data.shape[1]
    left_out = len(posterior.vectors) - count
    remark = f"; {left_out} modes below rounding left out; deviation: common to all modes"

    def variances(factor: float) -> list[Floats]:
        return [np.tile(posterior.variance(factor * scale), copies) for scale in samples.scales]

    predicted = variances(1.0)
    pairs = list(zip(samples.samples, predicted, strict=True))
    means = [posterior.mean(scale).T.ravel() for scale in samples.scales]
    checks: list[Check] = [
        across_scales(
            "tempered covariance",
            "Var f = μρ/(μ + ρ) on every Fisher mode, ρ = σ²n/T, μ an eigenvalue of K",
            "correspondence",
            [variance_test(sample, variance) for sample, variance in pairs],
            samples,
            demands,
            remark=remark,
        ),
        across_scales(
            "tempered mean",
            "E f = m + μ/(μ + ρ) (y − m) on every Fisher mode",
            "correspondence",
            [mean_test(s, mean, v) for (s, v), mean in zip(pairs, means, strict=True)],
            samples,
            demands,
            remark=remark,
        ),
    ]
    if demands.controls:
        wrong = [variance_test(s, v) for s, v in zip(samples.samples, variances(2.0), strict=True)]
        claim = "wrong on purpose: T is twice what it is"
        checks.append(across_scales("wrong ridge", claim, "control", wrong, samples, demands))
    verdict = overall(tuple(checks))
    attrs = {"verdict": verdict, "tolerance": demands.tolerance, "level": demands.level}
    return Checks(check_tree(checks, samples.scales, attrs), verdict, tuple(checks), CLOSED_FORM)


def finite_width(flow: Flow) -> Callable[[float], tuple[Array, Array]] | None:
    """Return T10's prediction for a network of this width, its momenta drawn: K = ΦC0Φᵀ, not the limit.

    None where nothing is hidden (T9 is exact), where several members or σ's are mixed, and for
    shells, which T10 does not describe.
    """
    mixed = len(flow.hidden) != 1 or flow.draw_noise is not None
    if mixed or not flow.hidden[0] or flow.cuts:
        return None
    assert isinstance(flow.network, LinearReadout)
    features = whitened_features(flow.network, flow.x, flow.hidden[0])
    kernel, mean = features @ features.T, prior_mean(flow.network, flow.x, flow.hidden[0])

    def at(observations: float) -> tuple[Array, Array]:
        if observations == 0:
            return kernel, mean
        ridge = flow.noise**2 * len(flow.x) / observations
        residual = jnp.asarray(flow.targets, mean.dtype) - mean
        shift, covariance = gaussian_posterior(kernel, kernel, kernel, residual, ridge)
        return covariance, mean + shift

    return at


def _projected(flow: Flow, posterior: ClosedPosterior) -> Draws:
    """Return the moments of the draws on the modes, outputs one after the other, scale by scale."""
    samples = [
        moments(by_output(projected), chains=flow.chains, independent=flow.independent)
        for projected in flow.projections(posterior.vectors.T)
    ]
    return Draws(tuple(flow.scales), tuple(samples))
