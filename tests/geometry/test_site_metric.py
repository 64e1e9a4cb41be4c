"""The Fisher metric of any model: against matrices written by hand, and its routes against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

from brg_prob.geometry import fisher_metric, site_metric
from brg_prob.geometry.eigen import _decomposed
from brg_prob.geometry.jacobian import ScoreJacobian

X = np.random.default_rng(0).normal(size=(12, 2))
GROUP = np.arange(12) % 3


def matrix(metric):
    """Return the information that the modes spell out."""
    u, values = np.asarray(metric.directions), np.asarray(metric.eigenvalues)
    return (u.T * values) @ u


def weights(scale=2.0):
    return numpyro.sample("w", dist.Normal(0.5, scale).expand([2]).to_event(1))


def linear(x, y=None):
    numpyro.sample("y", dist.Normal(x @ weights(), 0.5), obs=y)


def logistic(x, y=None):
    numpyro.sample("y", dist.Bernoulli(logits=x @ weights()), obs=y)


def poisson(x, y=None):
    numpyro.sample("y", dist.Poisson(jnp.exp(x @ weights())), obs=y)


def exponential(x, y=None):
    numpyro.sample("y", dist.Exponential(jnp.exp(x @ weights())), obs=y)


def hierarchical(x, y=None):
    centre = numpyro.sample("centre", dist.Normal(1.0, 3.0))
    with numpyro.plate("groups", 3):
        group = numpyro.sample("group", dist.Normal(centre, 0.7))
    numpyro.sample("y", dist.Normal(group[GROUP], 0.5), obs=y)


def of_predictor(curvature):
    """Return XᵀFX/n in units of the prior, scale 2."""
    return 4 * X.T @ (curvature[:, None] * X) / 12


def _by_hand(name):
    predictor = X @ np.array([0.3, -0.4])
    p = 1 / (1 + np.exp(-predictor))
    # the group's mean is centre + 0.7 z, so ∂/∂z = (3, 0.7 at its own group)
    step = np.concatenate([np.full((12, 1), 3.0), 0.7 * np.eye(3)[GROUP]], axis=1)
    return {
        "linear": lambda: of_predictor(np.full(12, 4.0)),
        "logistic": lambda: of_predictor(p * (1 - p)),
        "poisson": lambda: of_predictor(np.exp(predictor)),
        "exponential": lambda: of_predictor(np.ones(12)),  # the rate's logarithm has unit information
        "hierarchical": lambda: step.T @ step / (12 * 0.25),
    }[name]()


@pytest.fixture(scope="module")
def metric_of():
    """Return metrics by the model's name, each made once."""
    made = {}

    def get(name):
        if name not in made:
            at = {"w": np.array([0.3, -0.4])}
            if name == "hierarchical":
                at = {"centre": 0.2, "group": np.array([0.0, 1.0, -2.0])}
            # targets given: without any, reading a model draws some, and Poisson's take long to compile
            made[name] = site_metric(globals()[name], X, np.ones(12), at=at)
        return made[name]

    return get


@pytest.mark.parametrize("name", ["linear", "logistic", "poisson", "exponential", "hierarchical"])
def test_information_is_the_matrix_written_by_hand(metric_of, name):
    metric, expected = metric_of(name), _by_hand(name)
    np.testing.assert_allclose(matrix(metric), expected, atol=1e-12 * expected.max())
    np.testing.assert_allclose(metric.diagonal, np.diag(expected), rtol=1e-12)
    np.testing.assert_allclose(metric.directions @ metric.directions.T, np.eye(len(expected)), atol=1e-12)
    assert "closed form" in metric.status
    assert metric.error is None


def test_half_a_squared_length_is_the_divergence_of_the_predictions(metric_of):
    # KL(p‖q) of Bernoulli observations, per observation, for a small step in z
    step = 1e-3 * np.array([1.0, 0.6])
    before, after = (
        1 / (1 + np.exp(-X @ w)) for w in (np.array([0.3, -0.4]) - step, np.array([0.3, -0.4]) + step)
    )
    jeffreys = np.mean((before - after) * (np.log(before / (1 - before)) - np.log(after / (1 - after))))
    length = step @ matrix(metric_of("logistic")) @ step  # z steps of half the size, twice as far apart
    assert abs(0.5 * length / (jeffreys / 2) - 1) < 1e-5


def everything(x, y=None):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("ignored", dist.Exponential(1.0))
    sigma = numpyro.sample("sigma", dist.LogNormal(0.0, 0.5))
    numpyro.sample("y", dist.Normal((a + b) * jnp.ones(x.shape[0]), sigma), obs=y)


def test_what_the_data_do_not_tell_apart_has_no_information_and_a_learned_noise_has_2n_over_its_square():
    y = np.where(np.arange(12) < 9, 1.0, np.nan)
    at = {"a": 0.1, "b": 0.2, "ignored": 1.0, "sigma": np.exp(0.3)}
    metric = site_metric(everything, X, y, at=at)
    assert (metric.observations, metric.rank) == (9, 2)
    # per observation: 2/σ² for a + b in its unit direction; 2/σ² times (dσ/dz)² = (σ/2)² for the noise
    np.testing.assert_allclose(metric.eigenvalues, [2 * np.exp(-0.6), 0.5, 0, 0], rtol=1e-12)
    sums = np.abs(np.asarray(metric.directions[:2]))
    np.testing.assert_allclose(sums, [[0.5**0.5, 0.5**0.5, 0, 0], [0, 0, 0, 1]], atol=1e-12)
    assert metric.labels == ("a", "b", "ignored", "sigma")
    assert metric.effective_dimension(0.0) == 0.0
    given = fisher_metric(everything, X, at=at, sites=("a", "ignored"))
    np.testing.assert_allclose(given.diagonal, [np.exp(-0.6), 0, 0, 0], rtol=1e-12)
    assert "given all sites but a, ignored" in given.status


def test_spectrum_does_not_change_under_linear_reparameterisation():
    change = np.array([[2.0, 0.3], [-1.0, 0.7]])
    covariance = np.array([[1.5, 0.4], [0.4, 0.8]])

    def spectrum(map_):
        def model(x, y=None):
            moved = dist.MultivariateNormal(map_ @ jnp.ones(2), map_ @ covariance @ map_.T)
            v = numpyro.sample("v", moved)
            numpyro.sample("y", dist.Bernoulli(logits=x @ jnp.linalg.solve(map_, v)), obs=y)

        return np.asarray(site_metric(model, X, at={"v": map_ @ np.array([0.2, 0.5])}).eigenvalues)

    np.testing.assert_allclose(spectrum(np.eye(2)), spectrum(change), rtol=1e-8)


def test_metric_of_a_linear_readout_is_the_readout_metric(random_cosines):
    network = random_cosines(width=16)
    x = jnp.linspace(0, 3, 7)[:, None]
    known = fisher_metric(network, x, at=network.sample_hidden(jax.random.key(7)))
    metric = fisher_metric(network, x, method="dense")
    assert metric.rank == known.rank
    np.testing.assert_allclose(metric.eigenvalues, known.eigenvalues, atol=1e-10 * known.eigenvalues[0])
    np.testing.assert_allclose(metric.diagonal, network.variance * known.diagonal, rtol=1e-10)
    assert "dual" in metric.status


def test_dual_and_primal_matrices_have_one_spectrum(metric_of):
    metric = metric_of("hierarchical")
    jacobian = ScoreJacobian(
        metric.conditioned, metric.coordinates, jnp.arange(4), "auto", 1, jax.random.key(0)
    )
    rows = jax.jit(jacobian.matrix)(metric.point[None])
    dual, primal = (np.asarray(_decomposed(rows, side)[1])[:3] for side in (True, False))
    np.testing.assert_allclose(dual, primal, rtol=1e-10)
    np.testing.assert_allclose(dual, metric.eigenvalues[:3], rtol=1e-10)


def test_information_by_simulated_observations_is_that_in_closed_form_within_its_error(metric_of):
    simulated = site_metric(
        logistic, X, at={"w": jnp.array([0.3, -0.4])}, expectation="monte_carlo", samples=4000
    )
    exact = _by_hand("logistic")
    z = (np.asarray(simulated.diagonal) - np.diag(exact)) / np.asarray(simulated.diagonal_error)
    assert np.abs(z).max() < 4
    of_modes = np.diag(np.asarray(simulated.directions) @ exact @ np.asarray(simulated.directions).T)
    assert np.max(np.abs(of_modes - simulated.eigenvalues) / simulated.error) < 4
    wrong = (np.asarray(simulated.diagonal) - 1.2 * np.diag(exact)) / np.asarray(simulated.diagonal_error)
    assert np.abs(wrong).max() > 4  # 20 % too large is seen
    assert "4000 simulated y" in simulated.status


def test_a_family_that_is_not_listed_is_simulated_beside_one_that_is():
    def model(x, y=None):
        w = weights()
        numpyro.sample("y", dist.Logistic(x @ w, 0.8), obs=y)
        numpyro.sample("gauge", dist.Normal(w[0], 0.5), obs=0.1)

    metric = site_metric(model, X, samples=2000)
    expected = of_predictor(np.full(12, 1 / (3 * 0.64)))  # of a logistic's location: 1/(3 s²)
    expected[0, 0] += 4 / (12 * 0.25)
    z = (np.asarray(metric.diagonal) - np.diag(expected)) / np.asarray(metric.diagonal_error)
    assert 0 < np.abs(z).max() < 4
    with pytest.raises(ValueError, match="site 'y': Logistic"):
        site_metric(model, X, expectation="closed")


def network(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([19, 1000]).to_event(2))
    a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([1000]).to_event(1))
    numpyro.sample("y", dist.Normal(jnp.tanh(x @ w / 19**0.5) @ a / 1000**0.5, 0.5), obs=y)


def test_leading_eigenvalues_of_twenty_thousand_parameters_are_the_dense_ones():
    rng = np.random.default_rng(4)
    x, at = rng.normal(size=(40, 19)), {"w": rng.normal(size=(19, 1000)), "a": rng.normal(size=1000)}
    dense, leading = (
        site_metric(network, x, np.zeros(40), at=at, method=method) for method in ("dense", "leading")
    )
    assert leading.eigenvalues.shape == (20,)
    np.testing.assert_allclose(leading.eigenvalues, dense.eigenvalues[:20], rtol=1e-6)
    overlap = np.abs(np.sum(np.asarray(leading.directions) * np.asarray(dense.directions)[:20], axis=1))
    np.testing.assert_allclose(overlap, 1, rtol=1e-6)
    np.testing.assert_allclose(leading.diagonal, dense.diagonal, rtol=1e-10)


def test_leading_spectrum_finds_every_copy_of_a_degenerate_eigenvalue_and_stops_at_the_rank():
    design = np.zeros((60, 40))
    design[np.arange(12), np.arange(12)] = np.repeat([3.0, 2.0, 1.0], 4)

    def model(x, y=None):
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([40]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ w, 1.0), obs=y)

    metric = site_metric(model, design, method="leading", leading=15)
    np.testing.assert_allclose(metric.eigenvalues, np.repeat([9.0, 4.0, 1.0], 4) / 60, rtol=1e-10)
    np.testing.assert_allclose(metric.directions @ metric.directions.T, np.eye(12), atol=1e-10)


def test_average_over_draws_is_the_mean_of_their_informations(metric_of):
    draws = np.array([[[0.3, -0.4], [1.0, 0.2], [-0.5, 0.1]]])
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"w": (("chain", "draw", "w_dim_0"), draws)})})
    tree.attrs["kind"] = "model"
    averaged = fisher_metric(logistic, X, at=tree, at_draws=3)
    expected = np.zeros((2, 2))
    for w in draws[0]:
        p = 1 / (1 + np.exp(-X @ w))
        expected += of_predictor(p * (1 - p)) / 3
    np.testing.assert_allclose(matrix(averaged), expected, rtol=1e-10)
    assert "averaged over 3 posterior draws" in averaged.status
    np.testing.assert_allclose(averaged.point, (draws[0].mean(axis=0) - 0.5) / 2, rtol=1e-12)
    diagonal = fisher_metric(logistic, X, at=tree, at_draws=3, method="diagonal")
    np.testing.assert_allclose(diagonal.diagonal, np.diag(expected), rtol=1e-10)
    centred = fisher_metric(logistic, X, at=tree)
    np.testing.assert_allclose(centred.point, averaged.point, rtol=1e-12)


def test_whitened_prior_draws_are_standard_normal_and_come_back(metric_of, getkey):
    metric = metric_of("hierarchical")
    rng = np.random.default_rng(1)
    centre = rng.normal(1.0, 3.0, 4000)
    values = {"centre": centre, "group": rng.normal(centre[:, None], 0.7, (4000, 3))}
    z = metric.whiten(values)
    assert z.shape == (4000, 4)
    deviations = (np.cov(z.T) - np.eye(4)) / np.where(np.eye(4, dtype=bool), 2**0.5, 1) * 4000**0.5
    assert np.abs(deviations).max() < 4
    back = metric.unwhiten(z)
    np.testing.assert_allclose(back["group"], values["group"], rtol=1e-10, atol=1e-10)


def test_a_prior_without_exact_coordinates_is_approximated_by_name():
    def interacting(x, y=None):
        w = weights(1.0)
        numpyro.factor("g", -2.0 * w[0] ** 2)
        numpyro.sample("y", dist.Normal(x @ w, 0.5), obs=y)

    metric = site_metric(interacting, X)
    assert not metric.transport
    assert metric.coordinate == "gaussian approximation"
    assert "tempering" in metric.status and "factor 'g'" in metric.status
    # exp(−2w²) N(w; ½, 1) has variance 1/(1 + 4) and mean 1/10; 4 standard errors at its effective draws
    effective = metric.coordinates.effective_draws
    z = np.asarray(metric.whiten({"w": np.array([[0.1, 0.5], [0.1 + 0.2**0.5, 0.5]])}))
    assert abs(z[0, 0]) < 4 / effective**0.5
    assert abs(z[1, 0] - z[0, 0] - 1) < 4 / (2 * effective) ** 0.5
    assert metric.labels == ("w[0]", "w[1]")


def test_what_has_no_metric_is_refused():
    with pytest.raises(ValueError, match="'v' is no latent site"):
        site_metric(linear, X, sites=("v",))
    with pytest.raises(ValueError, match="choose auto, dense"):
        site_metric(linear, X, method="exact")
    with pytest.raises(ValueError, match="is not a point"):
        site_metric(linear, X, at=3)
    with pytest.raises(ValueError, match="linear readouts"):
        fisher_metric(linear, X, noise=0.5)
