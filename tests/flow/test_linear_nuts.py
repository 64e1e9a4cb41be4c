"""One linear-Gaussian model three ways: sampled by NUTS at every T, NUTS draws diffused, the closed form."""

import dataclasses

import jax
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

from brg_prob.correspondence import check_against_tempering
from brg_prob.flow import Tempering, coarse_grain
from brg_prob.posterior import NUTS, as_data

KEY = jax.random.key(8)
SCALES = (12.0, 9.0, 6.0, 3.0, 1.0, 0.3, 0.05, 0.0)
ENGINE = NUTS(chains=4, warm_warmup=300, chain_method="sequential")  # half as long to compile
BOUND = stats.norm.isf(0.0005 / (5 * len(SCALES)))
"""What the largest of five scores at each scale exceeds once in a thousand."""


@pytest.fixture(scope="module")
def routes(line, metric_at, start):
    """Return the diffusion of NUTS draws, and the posterior sampled by NUTS at every scale.

    The draws at T = n too are by the program that starts from other draws: it is compiled once.
    """
    options = {"key": KEY, "draws": 4000, "observations": 12.0}
    posterior = ENGINE.fit(line, as_data(line.x, line.y), start=start, **options)
    metric = metric_at(posterior, line, line.x, line.y)
    diffused = coarse_grain(line, posterior, metric, scales=SCALES, key=KEY)
    tempered = coarse_grain(line, posterior, metric, scheme=Tempering(ENGINE), scales=SCALES, key=KEY)
    return diffused, tempered


def worst_score(flow, line):
    """Return by how many Monte-Carlo errors (MCSE) means, variances and covariance miss, at the worst."""
    found = []
    for scale, z in zip(flow.scales, flow.z(), strict=True):
        mean, covariance = line.law(scale)
        w = np.asarray(flow.metric.unwhiten(z)["w"])
        white = np.linalg.solve(np.linalg.cholesky(covariance), (w - mean).T).reshape(2, flow.chains, -1)
        for part, expected in [(white, 0), (white**2, 1), (white[:1] * white[1:], 0)]:
            error = part.std(axis=(1, 2)) / np.sqrt([array_stats.ess(p, method="mean") for p in part])
            found.extend((part.mean(axis=(1, 2)) - expected) / error)
    return np.abs(found).max()


def test_diffusion_and_nuts_at_eight_scales_are_the_closed_form_within_mcse(routes, line):
    diffused, tempered = routes
    assert (diffused.chains, diffused.independent) == (4, False)
    assert worst_score(diffused, line) < BOUND
    assert worst_score(tempered, line) < BOUND
    wrong = dataclasses.replace(diffused.metric, eigenvalues=1.5 * diffused.metric.eigenvalues)
    assert worst_score(dataclasses.replace(diffused, metric=wrong), line) > BOUND


def test_the_two_agree_with_each_other_by_the_default_test_and_a_wrong_metric_does_not(routes):
    diffused, tempered = routes
    found = check_against_tempering(diffused, tempered, key=KEY)
    assert found.verdict == "consistent", found.status
    wrong = dataclasses.replace(diffused.metric, eigenvalues=5 * diffused.metric.eigenvalues)
    other = check_against_tempering(dataclasses.replace(diffused, metric=wrong), tempered, key=KEY)
    assert other.verdict == "inconsistent"
