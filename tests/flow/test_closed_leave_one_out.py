"""Leave-one-out of a readout in closed form, against refits without the row and weighted draws (T6)."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from brg_prob import Diffusion, Ensemble, Exact, Shell, coarse_grain, fisher_metric, fit, predictions_along
from brg_prob.flow import loo_of

KEY, SCALES = jax.random.key(2), (30.0, 6.0, 0.5, 0.0)


@pytest.fixture(scope="module")
def case():
    from models.cosnet import CosNet

    x = np.sort(np.random.default_rng(1).uniform(0, 5, 30))[:, None]
    network = CosNet(width=15, cutoff=5.0, noise=0.4)
    y = np.stack([np.sin(x[:, 0]), np.cos(2 * x[:, 0])], axis=1)
    return network, x, y[:, 0]


def flow_of(case, engine=None, scheme=None, draws=4000):
    network, x, y = case
    posterior = fit(network, x, y, engine=engine or Exact(), key=KEY, draws=draws)
    metric = fisher_metric(network, x, at=posterior)
    scales = SCALES if scheme is None else (0.0, 1.0)
    return coarse_grain(network, posterior, metric, scheme=scheme or Diffusion(), scales=scales, key=KEY)


def refitted(network, hidden, x, y, observations):
    """Return log p(y_i | the others, each at weight T/n), by conditioning on the others again."""
    phi = np.asarray(network.features(x, hidden)) / np.sqrt(network.width)
    kernel, n, square = phi @ phi.T, len(x), network.noise**2
    found = []
    for at in range(n):
        rest = np.arange(n) != at
        mean, variance = 0.0, kernel[at, at]
        if observations > 0:
            ridge = square * n / observations
            gain = np.linalg.solve(kernel[np.ix_(rest, rest)] + ridge * np.eye(n - 1), kernel[rest, at])
            mean, variance = gain @ y[rest], kernel[at, at] - gain @ kernel[rest, at]
        found.append(stats.norm.logpdf(y[at], mean, np.sqrt(variance + square)))
    return np.array(found)


def test_the_closed_form_is_a_refit_without_the_row(case):
    network, x, y = case
    flow = flow_of(case)
    table = flow.tree["flow"]
    for at, observations in enumerate(SCALES):
        expected = refitted(network, flow.hidden[0], x, y, observations)
        np.testing.assert_allclose(flow.atlas.left_out([observations])[0], expected, atol=1e-8)
        assert float(table["loo"][at]) == pytest.approx(expected.sum(), abs=1e-7)
    scored = predictions_along(flow)  # the flow itself will do
    np.testing.assert_allclose(scored.variables["loo"], table["loo"].values, rtol=1e-12)
    assert "pareto_k_max" not in table
    assert "closed form" in table.attrs["prediction_status"]
    assert np.abs(flow.atlas.left_out([30.0])[0] - refitted(network, flow.hidden[0], x, y, 25.0)).max() > 1e-3


def test_weighted_draws_agree_within_their_error(case):
    flow = flow_of(case)
    for tree in flow.posteriors():
        weighted = loo_of(tree)
        exact = flow.atlas.left_out([float(tree.attrs["observations"])])[0]
        assert weighted.elpd == pytest.approx(exact.sum(), abs=0.5)
        assert np.abs(weighted.pointwise - exact)[weighted.pareto_k < 0.5].max(initial=0) < 0.1


def test_members_are_mixed_and_trained_networks_are_no_posterior(case):
    network, x, y = case
    flow = flow_of(case, Exact(members=4))
    each = [refitted(network, hidden, x, y, 6.0) for hidden in flow.hidden]
    np.testing.assert_allclose(
        flow.atlas.left_out([6.0])[0], np.log(np.mean(np.exp(each), axis=0)), atol=1e-8
    )
    trained = flow_of(case, Ensemble(members=2, epochs=5), draws=100).tree["flow"]
    assert "loo" not in trained
    assert "trained networks" in trained.attrs["prediction_status"]
    shell = flow_of(case, scheme=Shell(), draws=100)
    assert "loo" not in shell.tree["flow"]
    with pytest.raises(ValueError, match="no scores: a shell's draws are scored by held-out data only; hold"):
        predictions_along(shell)


def test_too_few_draws_to_be_weighted_end_no_flow(case):
    network, x, y = case
    spread = dataclasses.replace(network, noise_spread=0.3)
    table = flow_of((spread, x, y), draws=10).tree["flow"]
    assert "loo" not in table
    assert "10 draws are too few" in table.attrs["prediction_status"]
    assert "loo" in flow_of((spread, x, y), draws=30).tree["flow"]
    assert "loo" in flow_of(case, draws=10).tree["flow"]  # in closed form
