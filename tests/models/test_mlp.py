"""The multilayer perceptron against closed-form kernels, networks written out, and its own draws."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from scipy.special import erf
from scipy.stats import norm

from brg_prob.network import FreeField, LinearReadout, Network
from models.mlp import ACTIVATIONS, Mlp

X = np.array([[0.3, -1.2], [1.0, 0.4], [-0.7, 0.1]])


def first_kernel(network, x):
    """K¹ = σ_b² + σ_w² x·x′/d (T2)."""
    return network.bias_variance + network.weight_variance * x @ x.T / x.shape[1]


def relu_kernel(network, x):
    """K² of ReLU, the arc-cosine kernel of degree one."""
    k = first_kernel(network, x)
    size = np.sqrt(np.diag(k))
    cosine = np.clip(k / np.outer(size, size), -1, 1)
    angle = np.arccos(cosine)
    moment = np.outer(size, size) * (np.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi)
    return network.bias_variance + network.weight_variance * moment


def erf_kernel(network, x):
    """K² of erf, the arc-sine kernel."""
    k = first_kernel(network, x)
    size = np.sqrt(1 + 2 * np.diag(k))
    moment = 2 / math.pi * np.arcsin(2 * k / np.outer(size, size))
    return network.bias_variance + network.weight_variance * moment


def prior_fields(network, seeds, draws=1000):
    """Fields at X, (seeds, draws, 3), all layers redrawn for each."""

    def draw(key):
        hidden_key, weight_key = jax.random.split(key)
        hidden = network.sample_hidden(hidden_key)
        prior = network.readout_prior(hidden)
        weights = prior.mean + prior.covariance.sqrt_matmul(jax.random.normal(weight_key, prior.mean.shape))
        return (network.features(X, hidden) @ weights)[:, 0]

    keys = jax.random.split(jax.random.key(5), (seeds, draws))
    return np.asarray(jax.jit(jax.vmap(jax.vmap(draw)))(keys))


def largest_deviation(fields, covariance):
    """Largest deviation of E[f f′] per seed, in its own standard errors, (seeds,)."""
    products = fields[..., :, None] * fields[..., None, :]
    error = products.std(axis=1, ddof=1) / math.sqrt(fields.shape[1])
    z = (products.mean(axis=1) - covariance) / error
    return np.max(np.abs(z[:, *np.triu_indices(3)]), axis=-1)


@pytest.mark.parametrize(
    ("network", "kernel"),
    [
        (Mlp(widths=(10,), dim=2), relu_kernel),
        (Mlp(widths=(10,), dim=2, activation="erf", weight_variance=1.5, bias_variance=0.3), erf_kernel),
        (Mlp(widths=(), dim=2, bias_variance=0.5), first_kernel),
    ],
    ids=["relu", "erf", "linear"],
)
def test_draws_have_the_kernel_of_infinite_width_at_width_ten(network, kernel):
    fields = prior_fields(network, seeds=10)
    threshold = norm.isf(0.5e-3 / (6 * 10))  # one in a thousand over ten seeds of six entries
    assert np.max(largest_deviation(fields, kernel(network, X))) < threshold
    wrong = kernel(dataclasses.replace(network, weight_variance=1.4 * network.weight_variance), X)
    assert np.mean(largest_deviation(fields, wrong) > threshold) > 0.95


def test_three_layers_with_biases_are_the_network_written_out(getkey):
    network = Mlp(widths=(4, 6, 5), activation="erf", weight_variance=1.7, bias_variance=0.2, dim=2)
    hidden = network.sample_hidden(getkey())
    expected_shapes = {"W0": (4, 2), "b0": (4,), "W1": (6, 4), "b1": (6,), "W2": (5, 6), "b2": (5,)}
    assert {name: leaf.shape for name, leaf in hidden.items()} == expected_shapes
    h = X
    for layer in range(3):
        w, b = np.asarray(hidden[f"W{layer}"]), np.asarray(hidden[f"b{layer}"])
        h = erf(math.sqrt(1.7 / w.shape[1]) * h @ w.T + math.sqrt(0.2) * b)
    features = network.features(X, hidden)
    assert features.shape == (3, 6)
    np.testing.assert_allclose(features[:, :5], math.sqrt(1.7 / 5) * h, rtol=1e-12)
    np.testing.assert_allclose(features[:, 5], math.sqrt(0.2))
    assert network.readout_prior(hidden).mean.shape == (6, 1)


def test_hidden_weights_are_standard_normal_and_independent(getkey):
    hidden = Mlp(widths=(300, 200), bias_variance=1.0).sample_hidden(getkey())
    drawn = np.concatenate([np.ravel(leaf) for leaf in hidden.values()])
    assert abs(np.mean(drawn)) * math.sqrt(drawn.size) < norm.isf(0.5e-4)
    assert abs(np.var(drawn) - 1) * math.sqrt(drawn.size / 2) < norm.isf(0.5e-4)
    b0, b1 = np.asarray(hidden["b0"])[:200], np.asarray(hidden["b1"])
    assert abs(np.corrcoef(b0, b1)[0, 1]) < norm.isf(0.5e-4) / math.sqrt(200)


def test_a_prior_mean_of_the_readout_moves_the_field(getkey):
    network = Mlp(widths=(8,), readout_mean=0.7, outputs=2, dim=2)
    hidden = network.sample_hidden(getkey())
    prior = network.readout_prior(hidden)
    np.testing.assert_array_equal(prior.mean, np.full((8, 2), 0.7))
    np.testing.assert_array_equal(prior.covariance.diagonal(8), 1.0)
    site = handlers.trace(handlers.seed(network, getkey())).get_trace(X)["readout"]["fn"]
    np.testing.assert_array_equal(site.mean, prior.mean)
    np.testing.assert_array_equal(site.variance, 1.0)


@pytest.mark.parametrize(("outputs", "noise_spread", "bias_variance"), [(1, 0.0, 0.3), (2, 0.4, 0.0)])
def test_the_model_registers_its_sites(outputs, noise_spread, bias_variance, getkey):
    network = Mlp(
        (4, 3), "tanh", bias_variance=bias_variance, outputs=outputs, noise_spread=noise_spread, dim=2
    )
    assert isinstance(network, Network)
    assert isinstance(network, LinearReadout)
    assert not isinstance(network, FreeField)
    trace = handlers.trace(handlers.seed(network, getkey())).get_trace(X)
    biases = ["b0", "b1"] if bias_variance else []
    noise = ["noise"] if noise_spread else []
    assert set(trace) == {"W0", "W1", "readout", "f", "y", "observations", *biases, *noise}
    hidden = {name: trace[name]["value"] for name in ("W0", "W1", *biases)}
    parameters = 3 + len(biases[:1])
    shape = (3,) if outputs == 1 else (3, outputs)
    assert trace["readout"]["value"].shape == ((parameters,) if outputs == 1 else (parameters, outputs))
    assert trace["f"]["value"].shape == trace["y"]["value"].shape == shape
    expected = network.features(X, hidden) @ trace["readout"]["value"]
    np.testing.assert_allclose(trace["f"]["value"], expected, rtol=1e-13)
    base = trace["y"]["fn"] if outputs == 1 else trace["y"]["fn"].base_dist
    np.testing.assert_allclose(base.scale, trace["noise"]["value"] if noise_spread else 0.5)
    observed = handlers.trace(handlers.seed(network, getkey())).get_trace(X, np.zeros(shape))
    assert observed["y"]["is_observed"]
    assert not trace["y"]["is_observed"]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_are_what_they_are_called(activation):
    z = np.array([-1.3, -0.2, 0.4, 2.0])
    written_out = {
        "abs": np.abs(z),
        "cos": np.cos(z),
        "erf": erf(z),
        "gelu": z * norm.cdf(z),
        "identity": z,
        "relu": np.maximum(z, 0),
        "sin": np.sin(z),
        "tanh": np.tanh(z),
    }
    np.testing.assert_allclose(ACTIVATIONS[activation](jnp.asarray(z)), written_out[activation], rtol=1e-12)


def test_networks_hash_jit_and_run_in_single_precision(getkey):
    network = Mlp(widths=[5, 4], dim=2)  # a list is taken too
    assert hash(network) == hash(Mlp(widths=(5, 4), dim=2))
    hidden = network.sample_hidden(getkey())
    features = np.asarray(network.features(X, hidden))
    np.testing.assert_allclose(jax.jit(network.features)(X, hidden), features, rtol=1e-12)
    with jax.enable_x64(False):
        single = network.features(
            jnp.asarray(X), {name: jnp.asarray(np.asarray(leaf)) for name, leaf in hidden.items()}
        )
        drawn = network.sample_hidden(jax.random.key(0))
        f = handlers.trace(handlers.seed(network, jax.random.key(1))).get_trace(jnp.asarray(X))["f"]["value"]
        assert single.dtype == f.dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in drawn.values())
    np.testing.assert_allclose(single, features, rtol=1e-5, atol=1e-6)


def test_for_inputs_takes_the_dimension():
    assert Mlp.for_inputs(X, widths=(3,)) == Mlp(widths=(3,), dim=2)
    with pytest.raises(ValueError, match=r"x\[:, None\]"):
        Mlp.for_inputs(X[:, 0])
    with pytest.raises(ValueError, match=r"x has shape \(3, 2\); Mlp\(dim=1\)"):
        Mlp(widths=(3,)).features(X, {})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"activation": "rleu"}, "activation = 'rleu' is unknown; use one of abs"),
        ({"widths": (3, 0)}, r"widths = \(3, 0\) must hold whole numbers"),
        ({"outputs": 1.5}, "outputs = 1.5 must hold whole"),
        ({"dim": 0}, "dim = 0 must hold whole"),
        ({"weight_variance": 0.0}, "weight_variance = 0.0 must be positive"),
        ({"bias_variance": -1.0}, "bias_variance = -1.0 must be finite and not negative"),
        ({"noise": math.inf}, "noise = inf must be positive and finite"),
        ({"noise_spread": math.nan}, "noise_spread = nan must be finite"),
        ({"readout_mean": math.nan}, "readout_mean = nan must be finite"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, complaint):
    with pytest.raises(ValueError, match=complaint) as raised:
        Mlp(**options)
    assert "\n" not in str(raised.value)
