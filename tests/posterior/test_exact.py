"""The exact engine: closed form, bitwise repetition, regeneration of weights (T6, T10)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from brg_prob import Exact, fisher_metric, fit
from brg_prob.posterior import exact, gaussian_posterior, readout_weights
from brg_prob.results import key_from_json

DRAWS = 4000


def _whitened_z(draws, mean, covariance):
    """Return p-values of mean and second moment of draws (S, n) against N(mean, covariance)."""
    values, vectors = np.linalg.eigh(covariance)
    good = values > 1e-9 * values[-1]
    z = (np.asarray(draws) - mean) @ vectors[:, good] / np.sqrt(values[good])
    count = z.shape[0]
    mean_p = stats.chi2.sf(count * np.sum(z.mean(0) ** 2), z.shape[1])
    variance = np.sum(z**2)
    spread_p = 2 * min(stats.chi2.sf(variance, z.size), stats.chi2.cdf(variance, z.size))
    return mean_p, spread_p


@pytest.mark.parametrize("width", [12, 40])
@pytest.mark.parametrize("observations", [30.0, 4.0, 0.0])
def test_draws_follow_the_dense_posterior(
    random_cosines, dense_oracle, sine_data, getkey, width, observations
):
    x, y, other, target = sine_data
    network = random_cosines(width=width)
    tree = fit(network, x, y, key=getkey(), draws=DRAWS, observations=observations, held_out=(other, target))
    hidden = network.sample_hidden(key_from_json(tree.attrs["hidden_keys"])[0])
    mean, covariance = dense_oracle(network, hidden, x, y, observations).field(jnp.concatenate([x, other]))
    draws = np.concatenate([tree["posterior"]["f"].values[0], tree["predictions"]["f"].values[0]], axis=1)
    assert min(_whitened_z(draws, mean[:, 0], covariance)) > 1e-4
    # negative control: the posterior at another T is told apart
    wrong, wrong_covariance = dense_oracle(network, hidden, x, y, observations / 2 + 1).field(
        jnp.concatenate([x, other])
    )
    assert min(_whitened_z(draws, wrong[:, 0], wrong_covariance)) < 1e-4


def test_weights_regenerate_from_key_and_dual_coefficients(random_cosines, sine_data, getkey):
    x, y, *_ = sine_data
    network = random_cosines(outputs=2)
    tree = fit(network, x, jnp.stack([y, -y], axis=1), key=getkey(), draws=6, engine=Exact(members=2))
    hidden_keys, draw_keys = (key_from_json(tree.attrs[name]) for name in ("hidden_keys", "draw_keys"))
    for draw in (0, 4, 5):
        member = int(tree["posterior"]["member"].values[0, draw])
        hidden = network.sample_hidden(hidden_keys[member])
        dual = jnp.asarray(tree["posterior"]["dual"].values[0, draw])
        weights = readout_weights(network, x, hidden, draw_keys[member], draw - 3 * member, dual)
        np.testing.assert_allclose(
            network.features(x, hidden) @ weights, tree["posterior"]["f"].values[0, draw], atol=1e-9
        )
        whitened = (np.asarray(weights) - network.mean) / np.sqrt(network.variance)
        log_prior = stats.norm.logpdf(whitened).sum()
        assert tree["log_prior"]["readout"].values[0, draw] == pytest.approx(log_prior, rel=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_another_number_of_observations_compiles_nothing_new(random_cosines, sine_data, getkey, spread):
    x, y, *_ = sine_data
    network = random_cosines(noise_spread=spread)
    exact._matheron.clear_cache()  # or what other tests of this process compiled would be counted, or evicted
    for observations in (30.0, 17.0, 3.5, 0.2):
        fit(network, x, y, key=getkey(), draws=20, observations=observations)
    assert exact._matheron._cache_size() == 1
    fit(network, x, y, key=getkey(), draws=21)  # another shape does compile
    assert exact._matheron._cache_size() == 2


def test_same_key_same_draws_bit_for_bit_other_key_other_draws(random_cosines, sine_data):
    x, y, *_ = sine_data
    first, second, other = (
        fit(random_cosines(), x, y, key=jax.random.key(seed), draws=20)["posterior"]["f"].values
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.any(first == other)


def test_redrawn_hidden_layers_give_every_draw_its_own_features(random_cosines, sine_data, getkey):
    x, y, *_ = sine_data
    network = random_cosines(width=400)
    tree = fit(network, x, y, key=getkey(), draws=50, engine=Exact(members=50), observations=0)
    assert tree["posterior"]["member"].values.tolist() == [list(range(50))]
    metric = fisher_metric(network, x, at=tree)
    assert metric.members == 50
    one = fisher_metric(network, x, at=metric.hidden[3]).eigenvalues
    assert not np.allclose(one, metric.eigenvalues)
    with pytest.raises(ValueError, match="members = 50"):
        fit(network, x, y, key=getkey(), draws=51, engine=Exact(members=50))


def test_log_likelihood_is_scipys(random_cosines, sine_data, getkey):
    x, y, *_ = sine_data
    tree = fit(random_cosines(), x, y, key=getkey(), draws=5)
    expected = stats.norm.logpdf(np.asarray(y), tree["posterior"]["f"].values, 0.5)
    np.testing.assert_allclose(tree["log_likelihood"]["y"].values, expected, rtol=1e-10)


def test_infinite_width_posterior_is_gaussian_process_regression(getkey):
    """T10 against scikit-learn at five scales, ridge ρ = σ²n/T, to 1e-8."""
    x, other = (np.asarray(jax.random.uniform(getkey(), (m, 2), maxval=3)) for m in (60, 17))
    y = np.sin(x[:, :1]) + 0.3 * np.asarray(jax.random.normal(getkey(), (60, 1)))
    kernel = RBF(0.8)
    for observations in (60, 20, 6, 1, 0.1):
        ridge = 0.3**2 * 60 / observations
        peer = GaussianProcessRegressor(kernel, alpha=ridge, optimizer=None).fit(x, y)
        mean, covariance = peer.predict(other, return_cov=True)
        ours = gaussian_posterior(kernel(x), kernel(other, x), kernel(other), y, ridge)
        np.testing.assert_allclose(ours[0][:, 0], mean.ravel(), atol=1e-8)
        np.testing.assert_allclose(ours[1], covariance, atol=1e-8)


def test_endless_data_interpolate_or_say_which_inputs_coincide(random_cosines, sine_data, getkey):
    """T = ∞ has no ridge: the interpolant if the kernel is regular, else one line."""
    x, y, *_ = sine_data
    x, y = x[::10], y[::10]
    tree = fit(random_cosines(), x, y, key=getkey(), draws=2, observations=np.inf)
    np.testing.assert_allclose(tree["posterior"]["f"].values[0], np.stack([y, y]), atol=1e-6)
    with pytest.raises(ValueError, match=r"inf leaves no ridge: inputs 0 and 2 coincide.*add a ridge"):
        fit(random_cosines(), x.at[2].set(x[0]), y, key=getkey(), draws=2, observations=np.inf)
    with pytest.raises(ValueError, match=r"inf leaves no ridge: .*rank"):
        fit(random_cosines(width=2), x, y, key=getkey(), draws=2, observations=np.inf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 0}, "draws = 0"),
        ({"observations": -1.0}, "observations = -1.0"),
        ({"y": jnp.ones(3)}, "rows"),
        ({"y": jnp.full(30, jnp.nan)}, "30 rows that are not finite"),
    ],
)
def test_bad_arguments_are_named(random_cosines, sine_data, getkey, change, message):
    x, y, *_ = sine_data
    arguments = {"x": x, "y": y, "key": getkey(), **change}
    with pytest.raises(ValueError, match=message):
        fit(random_cosines(), arguments.pop("x"), arguments.pop("y"), **arguments)
