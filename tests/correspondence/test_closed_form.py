"""Is a flow the posterior at every T (T10)? Calibrated, able to fail, applied without a field theory."""

from dataclasses import dataclass, replace
from functools import lru_cache

import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from brg_prob import Shell, coarse_grain, fisher_metric, fit, infinite_width
from brg_prob.correspondence import ClosedForm, ClosedPosterior, check_correspondence
from brg_prob.posterior import gaussian_posterior
from models.mlp import Mlp

N, NOISE, SCALES = 12, 0.4, (12.0, 3.0, 0.0)
RNG = np.random.default_rng(8)
X = np.linspace(-1, 1, N)[:, None]
KERNEL = np.exp(-2 * np.abs(X - X.T))
MEAN, Y = RNG.normal(size=(N, 2)), RNG.normal(size=(N, 2))
NETWORK = Mlp((30, 30), "erf", bias_variance=0.2, noise=NOISE, readout_mean=0.0)
EPSILON = float(np.finfo(float).eps)


def closed_form(kernel=KERNEL, noise=NOISE):
    return ClosedPosterior.of(kernel, MEAN, Y, noise, EPSILON)


@lru_cache
def by_cholesky(scale):
    """Mean (n, o) and covariance (n, n) at T, by another route."""
    if scale == 0:
        return MEAN, KERNEL
    mean, covariance = gaussian_posterior(KERNEL, KERNEL, KERNEL, Y - MEAN, NOISE**2 * N / scale)
    return MEAN + np.asarray(mean), np.asarray(covariance)


@dataclass
class Drawn:
    """Independent draws of the posterior at every T, by numpy: what a check needs of a flow."""

    seed: int
    draws: int = 400
    inflated: float = 1.0
    shifted: float = 0.0
    scales: tuple = SCALES
    chains: int = 1
    independent: bool = True
    cuts: bool = False

    def projections(self, matrix):
        return (np.einsum("kn,sno->sko", matrix, field) for field in self.fields())

    def fields(self):
        rng = np.random.default_rng(self.seed)
        for scale in self.scales:
            mean, covariance = by_cholesky(scale)
            root = np.linalg.cholesky(self.inflated * covariance)
            noise = self.shifted + rng.normal(size=(self.draws, N, 2))
            yield mean + np.einsum("ij,sjo->sio", root, noise)


@pytest.mark.parametrize("scale", SCALES)
def test_closed_form_is_the_posterior(scale):
    mean, covariance = by_cholesky(scale)
    law = closed_form()
    np.testing.assert_allclose((law.vectors * law.variance(scale)) @ law.vectors.T, covariance, atol=1e-12)
    np.testing.assert_allclose(law.vectors @ law.mean(scale), mean, atol=1e-12)


def test_p_values_are_uniform_and_a_detectable_deviation_is_detected():
    """120 seeds: uniform under the hypothesis; at the smallest detectable deviation .8 are rejected."""
    law = ClosedForm(closed_form())
    found = [check_correspondence(Drawn(seed), law).checks for seed in range(120)]
    for number in (0, 1):
        p_values = np.stack([checks[number].scale_p_values for checks in found]).ravel()
        assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    size = found[0][0].smallest_detectable
    inflated = [check_correspondence(Drawn(seed, inflated=1 + size), law).checks[0] for seed in range(120)]
    # the deviation found by one scale with probability .8 is found by three with more
    rejected = sum(check.verdict == "inconsistent" for check in inflated)
    assert stats.binom.sf(rejected, 120, 0.8) < 0.999
    shift = found[0][1].smallest_detectable
    moved = [check_correspondence(Drawn(seed, shifted=shift), law).checks[1] for seed in range(120)]
    assert stats.binom.sf(sum(check.verdict == "inconsistent" for check in moved), 120, 0.8) < 0.999
    few = check_correspondence(Drawn(0, draws=100), law)
    assert few.verdict == "undetermined"


def test_wrong_theories_and_the_control_are_rejected():
    drawn = Drawn(1, draws=2000)
    checks = check_correspondence(drawn, ClosedForm(closed_form()), controls=True)
    assert checks.verdict == "consistent"
    assert [(check.role, check.verdict) for check in checks.checks][2] == ("control", "inconsistent")
    assert set(checks.tree.children) == {"checks"}
    for wrong in (closed_form(noise=1.1 * NOISE), closed_form(kernel=1.1 * KERNEL)):
        rejected = check_correspondence(drawn, ClosedForm(wrong))
        assert rejected.verdict == "inconsistent"
        assert "differs from the closed-form posterior" in rejected.status


def test_modes_below_rounding_are_left_out():
    features = RNG.normal(size=(N, 4))
    law = closed_form(kernel=features @ features.T)
    assert law.vectors.shape == (N, 4)


@pytest.fixture(scope="module")
def trained():
    """Return the function network → flow at T = 12, 3 of 12 points of a sine."""

    def make(network):
        posterior = fit(network, X, np.sin(3 * X[:, 0]), key=jax.random.key(0), draws=1000)
        metric = fisher_metric(network, X, at=posterior)
        return coarse_grain(network, posterior, metric, scales=SCALES[:2], key=jax.random.key(1))

    return make


@pytest.fixture(scope="module")
def finite(trained):
    """Return the flow of the network at its own width."""
    return trained(NETWORK)


def test_networks_are_held_against_their_own_kernel(trained, finite):
    """At finite width ΦC0Φᵀ of the layers drawn, at infinite width the kernel; not one for the other."""
    limit = infinite_width(NETWORK, X)
    flows = {"finite": finite, "limit": trained(limit)}
    for flow in flows.values():
        assert check_correspondence(flow, ClosedForm(), tolerance=0.1).verdict == "consistent"
    other = ClosedPosterior.of_network(flows["limit"])
    assert check_correspondence(flows["finite"], ClosedForm(other)).verdict == "inconsistent"


def test_where_the_closed_form_does_not_hold_it_says_why(finite):
    flow = finite
    assert ClosedForm().applies(flow) is None

    def drawn(**change):
        tree = flow.start.copy()
        draws = tree["posterior"].to_dataset()
        own = {name: (("chain", "draw"), values[None]) for name, values in change.items()}
        tree["posterior"] = xr.DataTree(draws.assign(own))
        return replace(flow, start=tree)

    for other, why in (
        (drawn(member=np.arange(1000) // 500), "several members"),
        (drawn(noise=np.full(1000, NETWORK.noise)), "σ differs from draw to draw"),
        (replace(flow, scheme=Shell()), "a shell is the posterior at no T"),
    ):
        assert why in ClosedForm().applies(other)
        with pytest.raises(ValueError, match=f"ClosedForm does not apply: .*{why}"):
            check_correspondence(other, ClosedForm())
