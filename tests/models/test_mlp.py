"""The multilayer perceptron against closed-form kernels, networks written out, and its own draws."""

import copy
import dataclasses
import math
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from scipy.special import erf
from scipy.stats import norm

from brg_prob.network import Covariance, FreeField, InfiniteWidth, LinearReadout, Network
from models.mlp import Mlp

X = np.array([[0.3, -1.2], [1.0, 0.4], [-0.7, 0.1]])


def shapes_of(network):
    """Name → shape of the hidden layers as they are drawn; nothing is drawn here."""
    drawn = jax.eval_shape(network.sample_hidden, jax.random.key(0))
    return {name: leaf.shape for name, leaf in drawn.items()}


def numbers(network, seed=0):
    """Hidden layers of numpy's normals, which spare a compilation."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes_of(network).items()}


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

    keys = jax.random.split(jax.random.key(5), seeds * draws)
    # one by one: random numbers under vmap take twice as long to compile
    return np.asarray(jax.jit(partial(jax.lax.map, draw))(keys)).reshape(seeds, draws, 3)


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


def test_three_layers_with_biases_have_the_shapes_of_their_layers():
    network = Mlp(widths=(4, 6, 5), activation="erf", weight_variance=1.7, bias_variance=0.2, dim=2)
    expected_shapes = {"W0": (4, 2), "b0": (4,), "W1": (6, 4), "b1": (6,), "W2": (5, 6), "b2": (5,)}
    assert shapes_of(network) == expected_shapes
    assert network.readout_prior({}).mean.shape == (6, 1)


def test_hidden_weights_are_standard_normal_and_independent(getkey):
    hidden = Mlp(widths=(300, 200), bias_variance=1.0, dim=2).sample_hidden(getkey())
    drawn = np.concatenate([np.ravel(leaf) for leaf in hidden.values()])
    assert abs(np.mean(drawn)) * math.sqrt(drawn.size) < norm.isf(0.5e-4)
    assert abs(np.var(drawn) - 1) * math.sqrt(drawn.size / 2) < norm.isf(0.5e-4)
    b0, b1 = np.asarray(hidden["b0"])[:200], np.asarray(hidden["b1"])
    assert abs(np.corrcoef(b0, b1)[0, 1]) < norm.isf(0.5e-4) / math.sqrt(200)


def test_a_prior_mean_of_the_readout_is_the_sites():
    network = Mlp(widths=(8,), readout_mean=0.7, outputs=2, dim=2)

    @jax.jit
    def run(hidden):
        prior = network.readout_prior(hidden)
        model = handlers.substitute(network, hidden | {"readout": prior.mean})
        site = handlers.trace(model).get_trace(X, np.zeros((3, 2)))["readout"]["fn"]
        return prior.mean, prior.covariance.diagonal(8), site.mean, site.variance

    mean, diagonal, site_mean, site_variance = map(np.asarray, run(numbers(network)))
    np.testing.assert_array_equal(mean, np.full((8, 2), 0.7))
    np.testing.assert_array_equal(diagonal, 1.0)
    np.testing.assert_array_equal(site_mean, mean)
    np.testing.assert_array_equal(site_variance, 1.0)


@pytest.mark.parametrize(("outputs", "noise_spread", "bias_variance"), [(1, 0.0, 0.3), (2, 0.4, 0.0)])
def test_the_model_registers_its_sites(outputs, noise_spread, bias_variance):
    network = Mlp(
        (4, 3), "tanh", bias_variance=bias_variance, outputs=outputs, noise_spread=noise_spread, dim=2
    )
    assert isinstance(network, Network)
    assert isinstance(network, LinearReadout)
    assert not isinstance(network, FreeField)
    biases = ["b0", "b1"] if bias_variance else []
    noise = ["noise"] if noise_spread else []
    parameters = 3 + len(biases[:1])
    shape = (3,) if outputs == 1 else (3, outputs)
    trace = {}
    model = handlers.trace(handlers.seed(network, jax.random.key(0)))
    jax.eval_shape(lambda x: trace.update(model.get_trace(x)), X)  # shapes: nothing is drawn
    assert set(trace) == {"W0", "W1", "readout", "f", "y", "observations", *biases, *noise}
    assert not trace["y"]["is_observed"]
    readout = (parameters,) if outputs == 1 else (parameters, outputs)
    assert trace["readout"]["value"].shape == readout
    assert trace["f"]["value"].shape == trace["y"]["value"].shape == shape
    assert {name: trace[name]["value"].shape for name in ("W0", "W1", *biases)} == shapes_of(network)

    @jax.jit
    def run(hidden, readout, noise):
        sites = hidden | {"readout": readout, "noise": noise}
        observed = handlers.trace(handlers.substitute(network, sites)).get_trace(X, np.zeros(shape))
        assert observed["y"]["is_observed"]
        base = observed["y"]["fn"] if outputs == 1 else observed["y"]["fn"].base_dist
        return observed["f"]["value"], network.features(X, hidden) @ readout, base.scale

    readout = np.random.default_rng(1).standard_normal(readout)
    found, expected, scale = map(np.asarray, run(numbers(network), readout, 0.7))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_allclose(scale, 0.7 if noise_spread else 0.5)


WRITTEN_OUT = {
    "abs": np.abs,
    "cos": np.cos,
    "erf": erf,
    "gelu": lambda z: z * norm.cdf(z),
    "identity": lambda z: z,
    "leaky_relu(0.2)": lambda z: np.where(z > 0, z, 0.2 * z),
    "relu": lambda z: np.maximum(z, 0),
    "sin": np.sin,
    "tanh": np.tanh,
}


def test_activations_are_what_they_are_called():
    networks = {name: Mlp((4,), name, weight_variance=2.0, dim=2) for name in WRITTEN_OUT}
    # a function is taken as well as a name
    networks["own"] = dataclasses.replace(networks["tanh"], activation=jnp.tanh)
    hidden = numbers(networks["own"])
    compiled = jax.jit(lambda hidden: {name: each.features(X, hidden) for name, each in networks.items()})
    found = jax.tree.map(np.asarray, compiled(hidden))
    for name, function in WRITTEN_OUT.items():
        expected = math.sqrt(2 / 4) * function(X @ hidden["W0"].T)
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, err_msg=name)
    np.testing.assert_array_equal(found["own"], found["tanh"])


LAYERS = {
    "one for all": Mlp((4, 6, 5), "erf", 1.7, 0.2, dim=2),
    "per layer": Mlp(
        (4, 6, 5), ("erf", "relu", "identity"), (1.7, 0.5, 2.0, 0.9), (0.2, 0.0, 0.3, 0.1), dim=2
    ),
    "raw weights": Mlp((4, 6), ("relu", "erf"), (1.7, 0.5, 2.0), (0.2, 0.0, 0.3), dim=2, fan_in=False),
    "raw, readout without bias": Mlp((4,), "relu", (1.7, 2.0), (0.2, 0.0), dim=2, fan_in=False),
    "skip": Mlp((4, 4, 4), "erf", 1.3, (0.2, 0.1, 0.0, 0.3), dim=2, skip=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_the_network_written_out(name):
    """Every option per layer against numpy loops; the field's variance from readout prior and features."""
    network = LAYERS[name]
    hidden = numbers(network)
    depth = len(network.widths)
    weights = np.broadcast_to(network.weight_variance, depth + 1)
    biases = np.broadcast_to(network.bias_variance, depth + 1)
    names = (network.activation,) * depth if isinstance(network.activation, str) else network.activation
    assert set(hidden) == {f"W{i}" for i in range(depth)} | {f"b{i}" for i in range(depth) if biases[i] > 0}
    h, z = X, 0.0
    for layer in range(depth):
        w, b = hidden[f"W{layer}"], hidden.get(f"b{layer}", np.zeros(1))
        if network.fan_in:
            w, b = math.sqrt(weights[layer] / w.shape[1]) * w, math.sqrt(biases[layer]) * b
        z = h @ w.T + b + (z if network.skip else 0.0)
        h = WRITTEN_OUT[names[layer]](z)

    @jax.jit
    def run(hidden):
        features = network.features(X, hidden)
        return features, features @ network.readout_prior(hidden).covariance.matmul(features.T)

    features, covariance = map(np.asarray, run(hidden))
    assert features.shape == (3, h.shape[1] + (biases[-1] > 0))
    scale = math.sqrt(weights[-1] / h.shape[1]) if network.fan_in else 1.0
    np.testing.assert_allclose(features[:, : h.shape[1]], scale * h, rtol=1e-11)
    if network.fan_in:
        np.testing.assert_allclose(features[:, h.shape[1] :], math.sqrt(biases[-1]), rtol=1e-12)
    # raw or not, the last layer's weights have variance σ_w² (over N) and its bias σ_b²
    per_weight = weights[-1] / (h.shape[1] if network.fan_in else 1)
    np.testing.assert_allclose(covariance, per_weight * h @ h.T + biases[-1], rtol=1e-11)


def test_raw_weights_have_their_raw_prior(getkey):
    """W ~ N(0, σ_w²) of its layer, b ~ N(0, σ_b²): as the model declares them and as they are drawn."""
    network = Mlp((300, 200), "relu", (1.7, 0.5, 2.0), (0.2, 0.3, 0.0), dim=2, fan_in=False)
    variances = {"W0": 1.7, "W1": 0.5, "b0": 0.2, "b1": 0.3, "readout": 2.0}

    @jax.jit
    def declared(values):
        trace = handlers.trace(handlers.substitute(network, values)).get_trace(X, np.zeros(3))
        return {name: trace[name]["fn"].variance for name in variances}

    found, drawn = declared(numbers(network) | {"readout": np.ones(200)}), network.sample_hidden(getkey())
    for name, variance in variances.items():
        np.testing.assert_allclose(found[name], variance, rtol=1e-12)
    for name, leaf in drawn.items():
        z = (float(np.var(np.asarray(leaf))) / variances[name] - 1) * math.sqrt(leaf.size / 2)
        assert abs(z) < norm.isf(0.5e-4 / 4)


def test_a_seed_fixes_the_hidden_layers():
    sampled = Mlp((6, 5), ("relu", "erf"), bias_variance=0.1, dim=2)
    fixed = dataclasses.replace(sampled, hidden_seed=3)
    assert fixed.sample_hidden(jax.random.key(0)) == {}
    # drawn outside a compiled function: its random numbers are then compiled once for each shape
    expected = np.asarray(sampled.features(X, sampled.sample_hidden(jax.random.key(3))))
    np.testing.assert_allclose(fixed.features(X, {}), expected, rtol=1e-13)
    np.testing.assert_allclose(jax.jit(fixed.features)(X, {}), expected, rtol=1e-13)
    other = np.asarray(dataclasses.replace(sampled, hidden_seed=4).features(X, {}))
    assert np.max(np.abs(other - expected)) > 0.1
    trace, model = {}, handlers.trace(handlers.seed(fixed, jax.random.key(0)))
    jax.eval_shape(lambda x: trace.update(model.get_trace(x)), X)
    assert set(trace) == {"readout", "f", "y", "observations"}
    moved = X[::-1].copy()  # as many rows, so that nothing is compiled anew
    np.testing.assert_allclose(fixed.covariance(X, moved), expected @ expected[::-1].T, rtol=1e-12)


def test_the_published_network_is_the_one_published():
    network = Mlp.published(outputs=2)
    assert shapes_of(network) == {"W0": (10, 2), "W1": (10, 10), "W2": (2000, 10)}
    hidden = numbers(network)

    @jax.jit
    def run(hidden):
        prior = network.readout_prior(hidden)
        return network.features(X, hidden), prior.mean, prior.covariance.diagonal(2000)

    features, mean, diagonal = map(np.asarray, run(hidden))
    w0, w1, w2 = (hidden[f"W{layer}"] for layer in range(3))
    expected = np.maximum(np.maximum(X @ w0.T @ w1.T, 0) @ w2.T, 0)
    np.testing.assert_allclose(features, expected, rtol=1e-11, atol=1e-11)
    assert mean.shape == (2000, 2)
    np.testing.assert_array_equal(diagonal, 1.0)
    assert network.noise == 1.0
    fixed = Mlp.published(hidden_seed=1)
    assert jax.eval_shape(lambda x: fixed.features(x, {}), X).shape == (3, 2000)


def test_covariance_is_promised_only_where_it_is_exact():
    exact = [Mlp((), dim=2), Mlp((5,), dim=2), Mlp((5, 4), dim=2, hidden_seed=0), Mlp((5,), fan_in=False)]
    other = [Mlp((5, 4), dim=2), Mlp((5,), readout_mean=0.1), Mlp((5, 4), readout_mean=0.1, hidden_seed=0)]
    assert all(isinstance(network, Covariance) for network in exact)
    assert not any(isinstance(network, Covariance) for network in other)
    assert all(isinstance(network, InfiniteWidth) for network in exact + other)
    copied = dataclasses.replace(exact[1], widths=(5, 4))
    assert not isinstance(copied, Covariance)
    assert isinstance(copy.deepcopy(pickle.loads(pickle.dumps(exact[1]))), Covariance)


KERNELS = {
    "linear": (Mlp(widths=(), dim=2, bias_variance=0.5), first_kernel),
    "relu": (Mlp(widths=(10,), dim=2, bias_variance=0.2), relu_kernel),
    "erf": (Mlp(widths=(10,), dim=2, activation="erf", weight_variance=1.5, bias_variance=0.3), erf_kernel),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_the_closed_form(name):
    network, expected = KERNELS[name]
    np.testing.assert_allclose(network.kernel(X, X), expected(network, X), rtol=1e-11)
    np.testing.assert_allclose(network.kernel(X, X[:2]), expected(network, X)[:, :2], rtol=1e-11)
    np.testing.assert_allclose(network.covariance(X, X), expected(network, X), rtol=1e-11)
    # without fan-in the same network has σ_w² times the fan-in of each layer
    raw = dataclasses.replace(network, fan_in=False)
    counts = (2, *network.widths)
    weights = tuple(network.weight_variance / count for count in counts)
    np.testing.assert_allclose(
        dataclasses.replace(raw, weight_variance=weights).kernel(X, X), network.kernel(X, X), rtol=1e-11
    )


def wide_kernel(network, width, draws):
    """Average of ΦC0Φᵀ over hidden draws and its standard error, (3, 3) each."""
    wide = dataclasses.replace(network, widths=(width,) * len(network.widths))

    def one(hidden):
        features = wide.features(X, hidden)
        return features @ wide.readout_prior({}).covariance.matmul(features.T)

    rng = np.random.default_rng(width)  # numpy's normals spare a compilation
    shapes = jax.eval_shape(wide.sample_hidden, jax.random.key(0))
    hidden = {name: rng.standard_normal((draws, *leaf.shape)) for name, leaf in shapes.items()}
    found = np.asarray(jax.jit(jax.vmap(one))(hidden))
    return found.mean(0), found.std(0, ddof=1) / math.sqrt(draws)


@pytest.mark.parametrize("skip", [False, True], ids=["plain", "skip"])
def test_deep_kernel_is_the_limit_of_wide_networks(skip):
    """Three layers, extrapolated in 1/N from widths 16 and 32; without the skip the skip's kernel fails."""
    network = Mlp((16,) * 3, ("erf", "relu", "erf"), (1.3, 1.1, 0.9, 1.2), 0.1, dim=2, skip=skip)
    (half, half_error), (full, full_error) = (wide_kernel(network, n, d) for n, d in ((16, 4000), (32, 4000)))
    error = np.sqrt(4 * full_error**2 + half_error**2)
    upper = np.triu_indices(3)
    z = (2 * full - half - np.asarray(network.kernel(X, X)))[upper] / error[upper]
    assert np.max(np.abs(z)) < norm.isf(0.5e-3 / 6)
    wrong = dataclasses.replace(network, skip=not skip).kernel(X, X)
    assert np.max(np.abs((2 * full - half - wrong)[upper] / error[upper])) > 10


def test_networks_hash_jit_and_run_in_single_precision():
    network = Mlp(widths=[5, 4], dim=2)  # a list is taken too
    assert hash(network) == hash(Mlp(widths=(5, 4), dim=2))
    hidden = numbers(network)
    features = np.asarray(network.features(X, hidden))
    compiled = jax.jit(network.features)
    np.testing.assert_allclose(compiled(X, hidden), features, rtol=1e-12)
    with jax.enable_x64(False):

        def run(x, key):
            f = handlers.trace(handlers.seed(network, key)).get_trace(x)["f"]["value"]
            return network.sample_hidden(key), f

        single = compiled(X, hidden)
        drawn, f = jax.eval_shape(run, X, jax.random.key(1))
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
        ({"activation": "rleu"}, "'rleu' is unknown.*did you mean 'relu'"),
        ({"widths": (3, 4), "activation": ("relu",)}, "names 1 for 2 hidden"),
        ({"widths": (), "activation": ("relu",)}, "names 1 for 0 hidden"),
        ({"widths": (3,), "activation": ("tanhh",)}, "'tanhh' is unknown.*did you mean 'tanh'"),
        ({"widths": (3, 4), "weight_variance": (1.0, 2.0)}, "has 2 for 2 hidden.*or 3"),
        ({"weight_variance": (1.0, -2.0)}, r"weight_variance = \(1.0, -2.0\) must be positive"),
        ({"bias_variance": (0.0, -2.0)}, r"bias_variance = \(0.0, -2.0\) must be finite and not negative"),
        ({"weight_variance": math.inf}, "weight_variance = inf must be positive and finite"),
        ({"hidden_seed": -1}, "hidden_seed = -1 must be a whole number"),
        ({"hidden_seed": 0.5}, "hidden_seed = 0.5 must be a whole number"),
        ({"widths": (3, 4), "skip": True}, r"equal widths, not \(3, 4\)"),
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
