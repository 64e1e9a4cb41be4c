"""Two informations, scores, critical scale (T6)."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from brg_prob import coarse_grain, critical_scale, default_scales, fisher_metric, fit
from brg_prob.flow.prediction import held_out_density
from brg_prob.geometry.informations import effective_dimension, kl_to_prior, mutual_information

EIGENVALUES = np.array([3.0, 0.2, 0.01, 0.0])
DATA = np.array([[1.0, -2.0], [0.5, 0.1], [3.0, 0.0], [0.0, 0.0]])


def test_derivative_of_the_mutual_information_is_half_the_effective_dimension():
    step = 1e-20  # along the imaginary axis: a derivative without cancellation
    slope = mutual_information(EIGENVALUES, np.exp(np.log(7.0) + 1j * step), 2).imag / step
    assert slope == pytest.approx(effective_dimension(EIGENVALUES, 7.0, 2) / 2, rel=1e-12)


def test_kl_rises_with_the_variance_of_the_mean_log_likelihood():
    """dKL/dT = T Var_{π_T}(ℓ̄), ℓ̄ = −½ Σ λ_k (z_k − ẑ_k)² + const: the H-theorem, by Monte Carlo."""
    observations, step = 7.0, 1e-20
    slope = kl_to_prior(EIGENVALUES, DATA, observations + 1j * step).imag / step
    gain = observations * EIGENVALUES / (1 + observations * EIGENVALUES)
    noise = np.random.default_rng(0).standard_normal((200_000, 4, 2))
    z = gain[:, None] * DATA + np.sqrt(1 - gain)[:, None] * noise
    mean_log_likelihood = -0.5 * np.sum(EIGENVALUES[:, None] * (z - DATA) ** 2, axis=(1, 2))
    squared = (mean_log_likelihood - mean_log_likelihood.mean()) ** 2
    error = observations * squared.std() / np.sqrt(squared.size)
    assert abs(slope - observations * squared.mean()) < 4 * error
    assert abs(slope - squared.mean()) > 4 * error  # without the factor T it would not do


def test_kl_is_the_gaussian_formula():
    gain = 5.0 * EIGENVALUES / (1 + 5.0 * EIGENVALUES)
    v, m = 1 - gain, gain[:, None] * DATA
    expected = 0.5 * np.sum(v[:, None] + m**2 - 1 - np.log(v)[:, None])
    assert kl_to_prior(EIGENVALUES, DATA, 5.0) == pytest.approx(expected, rel=1e-12)


def test_mean_kl_over_data_is_the_mutual_information_at_all_observations_only():
    """ẑ_k ~ N(0, 1 + 1/(nλ)): at T = n the average KL is the mutual information; at T = n/4 it is not."""
    eigenvalues, n = np.array([2.0, 0.1, 0.01]), 40.0
    noise = np.random.default_rng(0).standard_normal((4000, 3, 1))
    data = noise * np.sqrt(1 + 1 / (n * eigenvalues))[:, None]
    for observations, equal in ((n, True), (n / 4, False)):
        kl = np.array([kl_to_prior(eigenvalues, one, observations) for one in data])
        gap = abs(kl.mean() - mutual_information(eigenvalues, observations))
        assert (gap < 4 * kl.std() / np.sqrt(4000)) == equal


def test_predictive_density_of_many_draws_is_the_gaussian_predictive():
    field = 0.3 + 0.8 * np.random.default_rng(0).standard_normal((1, 200_000, 1))
    logs = xr.Dataset({"y": (("chain", "draw", "x_held_out"), stats.norm.logpdf(1.0, field, 0.5))})
    found = held_out_density(xr.DataTree.from_dict({"predictions_log_likelihood": logs}))
    assert float(found[0]) == pytest.approx(stats.norm.logpdf(1.0, 0.3, np.hypot(0.8, 0.5)), abs=0.01)


def test_critical_scale_is_the_last_before_the_first_failure():
    assert critical_scale([8.0, 4.0, 2.0, 1.0], [0, -0.1, -0.9, 0.0], [0.1] * 4) == 4.0
    assert np.isnan(critical_scale([8.0], [-1.0], [0.5]))


def test_tree_is_complete_and_survives_netcdf(random_cosines, sine_data, getkey, tmp_path):
    x, y, other, target = sine_data
    posterior = fit(random_cosines(), x, y, key=getkey(), draws=4000, held_out=(other, target))
    metric = fisher_metric(random_cosines(), x, at=posterior)
    flow = coarse_grain(
        random_cosines(), posterior, metric, scales=default_scales(30.0, 4), key=getkey(), store_draws=20
    )
    tree = flow.tree
    assert tree["flow"]["f"].dims == ("scale", "flow_draw", "x")
    assert tree["flow"]["f"].shape == (4, 20, 30)
    kl = tree["flow"]["kl_to_prior"].values
    assert np.all(np.diff(kl) < 0)  # H-theorem along BRG
    assert tree["flow"]["score_difference"].values[0] == 0
    tree.to_netcdf(tmp_path / "flow.nc", engine="h5netcdf")
    assert tree["flow"].attrs["coordinate"] == "observations"
    with pytest.raises(ValueError, match="nearest is"):
        flow.theory_at(2.0)


def test_ensemble_flow_keeps_members_apart(random_cosines, sine_data, getkey):
    from brg_prob import Exact

    x, y, *_ = sine_data
    network = random_cosines(width=100)
    posterior = fit(network, x, y, key=getkey(), draws=400, engine=Exact(members=4))
    metric = fisher_metric(network, x, at=posterior)
    flow = coarse_grain(network, posterior, metric, scales=[30.0, 0.0], key=getkey())
    fields = [np.asarray(f) for f in flow.fields()]
    np.testing.assert_array_equal(fields[0][..., 0], posterior["posterior"]["f"].values[0])
    phi = [np.asarray(network.features(x, h)) for h in metric.hidden]
    for member, features in enumerate(phi):
        prior = network.variance * features @ features.T
        draws = fields[1][100 * member : 100 * (member + 1), :, 0] - features @ np.full(100, network.mean)
        statistic = np.sum(draws @ np.linalg.pinv(prior, rcond=1e-8, hermitian=True) * draws)
        rank = np.linalg.matrix_rank(prior, rtol=1e-8, hermitian=True)
        assert 1e-4 < stats.chi2.cdf(statistic, 100 * rank) < 1 - 1e-4
    assert not np.allclose(flow.theory_at(30.0, member=0).mean(x), flow.theory_at(30.0, member=3).mean(x))
