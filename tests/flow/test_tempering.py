"""Tempering: the posterior sampled anew at every T, and where a Gaussian flow departs from it."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from brg_prob.correspondence import check_against_tempering
from brg_prob.correspondence.chains import ar1_chains
from brg_prob.flow import Diffusion, Tempering, coarse_grain
from brg_prob.posterior import Exact, Laplace

KEY = jax.random.key(3)
SCALES = (12.0, 9.0, 4.0, 1.0, 0.0)


def flows(model, metric, engine, posterior, scales):
    """Return the diffusion of a posterior and the truth."""
    options = {"scales": scales, "key": KEY}
    return (
        coarse_grain(model, posterior, metric, scheme=Diffusion(), **options),
        coarse_grain(model, posterior, metric, scheme=Tempering(engine), **options),
    )


@pytest.fixture(scope="module")
def bent(bend, oracle, metric_at):
    """Return flow and truth of a nonlinear model."""
    engine = oracle(bend.draw)
    posterior = engine.posterior(bend, bend.x, bend.y, draws=2000)
    metric = metric_at(posterior, bend, bend.x, bend.y)
    return flows(bend, metric, engine, posterior, (4.0, 3.9, 1.0, 0.25, 0.001))


def test_a_nonlinear_flow_is_right_at_both_ends_and_flagged_between(bent):
    found = check_against_tempering(*bent, key=KEY)
    sizes, p_values = (found.tree["distance"][name].values for name in ("size", "p_value"))
    assert sizes[0] == 0
    assert np.isnan(p_values[0])
    for end in (1, -1):
        assert p_values[end] > 0.01
        assert sizes[end] < 0.01
    assert found.verdict == "inconsistent"
    check = found.checks[1]
    assert check.name == "joint law"
    assert np.any(p_values[2:-1] <= 0.05 / 4)
    assert sizes.max() > 5 * max(sizes[1], sizes[-1])
    assert f"T = {bent[0].scales[int(sizes.argmax())]:.4g} (" in check.detail


def test_the_draws_are_the_engines_and_can_be_read_again(bent, bend):
    truth = bent[1]
    tree = truth.posterior_at(0.001)
    assert tree["posterior"]["f"].shape == (1, 2000, 4)
    assert tree.attrs["observations"] == 0.001
    for name in ("a", "b"):
        assert stats.kstest(tree["posterior"][name].values.ravel(), "norm").pvalue > 1e-3
    a, b = (tree["posterior"][name].values[0, :, None] for name in ("a", "b"))
    np.testing.assert_allclose(tree["posterior"]["f"][0], np.tanh(3 * a * bend.x[:, 0]) + 0.5 * b, atol=1e-12)
    assert truth.tree["flow"].attrs["exact"] == 1
    np.testing.assert_allclose(truth.tree["flow"]["observations"], truth.scales)


def test_each_scale_starts_from_the_last(line, oracle, start, metric):
    for warm, starts in ((True, [12.0, 6.0]), (False, [None, None])):
        engine = oracle(line.draw)
        scheme = Tempering(engine, warm_start=warm)
        flow = coarse_grain(line, start, metric, scheme=scheme, scales=(12.0, 6.0, 0.0), key=KEY)
        assert [z.shape for z in flow.z()] == [(4000, 2)] * 3
        assert len(list(flow.z())) == 3
        assert engine.starts == starts  # and it ran once


def chained(line):
    """Return draws of the line in four chains of autocorrelation .6."""

    def draw(observations, draws, rng):
        mean, covariance = line.law(observations)
        white = np.moveaxis(ar1_chains(0.6, (2, 4, draws // 4), rng), 0, 2).reshape(-1, 2)
        return {"w": mean + white @ np.linalg.cholesky(covariance).T}

    return draw


def test_the_linear_flow_agrees_with_chains_that_are_said_to_be_chains(line, oracle, start, metric):
    engine = oracle(chained(line), chains=4, independent=0)
    flow, truth = flows(line, metric, engine, start, SCALES)
    assert (flow.chains, flow.independent) == (1, True)
    assert (truth.chains, truth.independent) == (4, False)
    assert check_against_tempering(flow, truth, tolerance=0.4, key=KEY).verdict == "consistent"
    wrong = dataclasses.replace(metric, eigenvalues=0.1 * metric.eigenvalues)
    flow = dataclasses.replace(flow, metric=wrong)
    assert check_against_tempering(flow, truth, tolerance=0.4, key=KEY).verdict == "inconsistent"


def test_one_divergence_and_nothing_is_consistent(line, oracle, start, metric):
    flow, truth = flows(line, metric, oracle(line.draw, diverging=1), start, SCALES)
    found = check_against_tempering(flow, truth, tolerance=0.4, key=KEY)
    assert truth.divergences == 4
    for check in found.checks:
        assert check.p_value > 0.05
        assert check.smallest_detectable < 0.4
        assert check.verdict == "undetermined"
        assert "4 transitions diverged" in check.detail
    assert found.verdict == "undetermined"


def test_laplace_tempers_the_line_exactly(line, start, metric):
    truth = flows(line, metric, Laplace(), start, (3.0,))[1]
    w = truth.posterior_at(3.0)["posterior"]["w"].values[0]
    mean, covariance = line.law(3.0)
    exact = np.linalg.solve(np.linalg.cholesky(covariance), (w - mean).T).ravel()
    assert stats.kstest(exact, "norm").pvalue > 1e-3


def test_an_engine_that_cannot_sample_is_refused(line, start, metric):
    for engine in (None, Exact()):
        with pytest.raises(ValueError, match=r"use Tempering\(engine=NUTS\(\)\)"):
            list(flows(line, metric, engine, start, (3.0,))[1].z())
