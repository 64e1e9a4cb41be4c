"""Information shells (T8): both bases, both actions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brg_prob import Shell, coarse_grain, fisher_metric, fit
from brg_prob.posterior import readout_weights
from brg_prob.results import key_from_json


@pytest.fixture
def fitted(random_cosines, sine_data, getkey):
    x, y, other, target = sine_data
    network = random_cosines()
    posterior = fit(network, x, y, key=getkey(), draws=4000, held_out=(other, target))
    return network, posterior, fisher_metric(network, x, at=posterior)


@pytest.mark.parametrize("basis", ["eigen", "parameter"])
@pytest.mark.parametrize("action", ["reset", "drop"])
def test_cutoff_zero_changes_nothing_bit_for_bit(fitted, getkey, basis, action):
    network, posterior, metric = fitted
    flow = coarse_grain(
        network, posterior, metric, scheme=Shell(basis=basis, action=action), scales=[0.0], key=getkey()
    )
    np.testing.assert_array_equal(next(flow.fields())[..., 0], posterior["posterior"]["f"].values[0])


@pytest.mark.parametrize("basis", ["eigen", "parameter"])
def test_cutoff_infinity_with_reset_is_the_prior(fitted, dense_oracle, sine_data, getkey, basis):
    network, posterior, metric = fitted
    flow = coarse_grain(network, posterior, metric, scheme=Shell(basis=basis), scales=[np.inf], key=getkey())
    x = jnp.concatenate([sine_data[0], sine_data[2]])
    mean, covariance = dense_oracle(network, metric.hidden[0], sine_data[0], sine_data[1], 0.0).field(x)
    field = np.asarray(next(flow.draws())[0].at())[:, :, 0]
    values, vectors = np.linalg.eigh(covariance)
    good = values > 1e-9 * values[-1]
    z = (field - mean[:, 0]) @ vectors[:, good] / np.sqrt(values[good])
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert stats.chi2.sf(4000 * np.sum(z.mean(0) ** 2), good.sum()) > 1e-3
    start = np.asarray(flow.chart().start.at())[:, :, 0]
    before = (start - mean[:, 0]) @ vectors[:, good] / np.sqrt(values[good])
    assert stats.chi2.sf(4000 * np.sum(before.mean(0) ** 2), good.sum()) < 1e-6


@pytest.mark.parametrize("basis", ["eigen", "parameter"])
def test_cutoff_infinity_with_drop_is_the_prior_mean(fitted, sine_data, getkey, basis):
    network, posterior, metric = fitted
    flow = coarse_grain(
        network, posterior, metric, scheme=Shell(basis=basis, action="drop"), scales=[np.inf], key=getkey()
    )
    x = jnp.concatenate([sine_data[0], sine_data[2]])
    if basis == "parameter":  # raw weights dropped to their prior mean
        expected = network.features(x, metric.hidden[0]) @ np.full(network.width, network.mean)
    else:
        expected = network.features(x, metric.hidden[0]) @ np.full(network.width, network.mean)
    field = np.asarray(next(flow.draws())[0].at())[:, :, 0]
    np.testing.assert_allclose(field, np.broadcast_to(expected, field.shape), atol=1e-9)


def test_each_weight_is_redrawn_once_at_the_first_cutoff_above_it(fitted, getkey, sine_data):
    """Between cutoffs the field changes by the weights in between, redrawn from the prior; the rest stay."""
    network, posterior, metric = fitted
    order = np.sort(np.asarray(metric.diagonal))
    scales = [float(order[10]), float(order[20]), float(order[20]), np.inf]
    flow = coarse_grain(
        network, posterior, metric, scheme=Shell(basis="parameter"), scales=scales, key=getkey()
    )
    fields = [np.asarray(f)[:, :, 0] for f in flow.fields()]
    np.testing.assert_array_equal(fields[1], fields[2])  # already redrawn: not again
    x, *_ = sine_data
    keys = key_from_json(posterior.attrs["draw_keys"])
    phi = np.asarray(network.features(x, metric.hidden[0]))
    sloppy = np.asarray(metric.diagonal) < scales[0]
    dual = jnp.asarray(posterior["posterior"]["dual"].values[0, 5])[:, None]
    weights = np.asarray(readout_weights(network, x, metric.hidden[0], keys[0], 5, dual))[:, 0]
    change = fields[0][5] - posterior["posterior"]["f"].values[0, 5]
    fresh = np.linalg.lstsq(phi[:, sloppy], change + phi[:, sloppy] @ weights[sloppy], rcond=None)[0]
    np.testing.assert_allclose(phi[:, sloppy] @ (fresh - weights[sloppy]), change, atol=1e-8)


def test_kept_modes_keep_the_posterior_and_sloppy_ones_the_prior(fitted, getkey):
    network, posterior, metric = fitted
    cutoff = 1 / 30
    shell = coarse_grain(network, posterior, metric, scheme=Shell(), scales=[cutoff], key=getkey())
    chart = shell.chart()
    z = np.asarray(chart.modes(next(shell.draws())[0]))[:, :, 0]
    start = np.asarray(chart.modes(chart.start))[:, :, 0]
    kept = np.asarray(metric.eigenvalues) >= cutoff
    alive = np.asarray(metric.eigenvalues) > 1e-8
    np.testing.assert_allclose(z[:, kept], start[:, kept], atol=1e-7)
    assert stats.kstest(z[:, alive & ~kept].ravel(), "norm").pvalue > 1e-3
    reverse = Shell(keep="sloppy").cut(cutoff).keeps(metric.eigenvalues)
    seen = np.asarray(metric.eigenvalues) > 0
    assert int(reverse[seen].sum()) == int(kept.sum())
    assert reverse[~seen].all()  # what has no information is not ranked
    assert not reverse[0]


def test_information_of_kept_weights_matches_the_dense_marginal(fitted, dense_oracle, sine_data, getkey):
    network, posterior, metric = fitted
    cutoff = float(np.median(np.asarray(metric.diagonal)))
    flow = coarse_grain(
        network, posterior, metric, scheme=Shell(basis="parameter"), scales=[cutoff], key=getkey()
    )
    oracle = dense_oracle(network, metric.hidden[0], *sine_data[:2], 30.0)
    kept = np.asarray(metric.diagonal) >= cutoff
    covariance = oracle.cov[np.ix_(kept, kept)] / network.variance
    mean = (oracle.mean[kept, 0] - network.mean) / np.sqrt(network.variance)
    kl = 0.5 * (np.trace(covariance) + mean @ mean - kept.sum() - np.linalg.slogdet(covariance)[1])
    found = flow.tree["flow"]
    assert float(found["kl_to_prior"][0]) == pytest.approx(kl, rel=1e-6)
    assert float(found["effective_dimension"][0]) == pytest.approx(
        kept.sum() - np.trace(covariance), rel=1e-6
    )
    assert np.isnan(float(found["observations"][0]))


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match="basis = 'fourier'"):
        Shell(basis="fourier")
    with pytest.raises(ValueError, match="ascend"):
        Shell().check_scales([1.0, 0.5], 30.0)
