"""Every network keeps what its capabilities promise: shapes and values, not only names."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from scipy.stats import norm

from brg_prob import (
    Diffusion,
    Ensemble,
    Exact,
    GradientFlow,
    SgdExact,
    Shell,
    coarse_grain,
    fisher_metric,
    fit,
)
from brg_prob.network import Covariance, FreeField, InfiniteWidth, LinearReadout, require
from brg_prob.network.trace import read_model
from models.cosnet import CosNet
from models.mlp import Mlp

NETWORKS = {
    "lattice d=1": CosNet(box=4.0, cutoff=9.0),
    "lattice d=2": CosNet(dim=2, box=3.0, cutoff=5.0, outputs=2),
    "lattice d=3": CosNet(dim=3, box=3.0, cutoff=3.0),
    "random momenta d=1": CosNet(width=7, noise_spread=0.3),
    "random momenta d=2": CosNet(dim=2, width=7, outputs=3),
    "mlp": Mlp(widths=(6, 5), bias_variance=0.1, readout_mean=0.4),
    "mlp, outputs": Mlp(widths=(8,), outputs=2),
    "mlp, layers": Mlp((6, 5), ("erf", "relu"), (1.5, 0.7, 1.2), (0.1, 0.0, 0.3)),
    "mlp, raw weights": Mlp((8,), "erf", (0.7, 0.3), (0.2, 0.5), fan_in=False, noise_spread=0.3),
    "mlp, fixed": Mlp((6, 5), outputs=2, hidden_seed=2),
    "mlp, skip": Mlp((5, 5), "erf", bias_variance=0.1, skip=True),
    "mlp, normalised": Mlp((8,), "exp", weight_variance=0.05, bias_variance=0.05),
    "mlp, linear": Mlp(()),
}


def _inputs(network, n=6):
    dim = getattr(network, "dim", 1)
    return np.random.default_rng(5).uniform(0, 3.0, size=(n, dim))


def _traced(run, *arguments):
    """What ``run`` returns, shapes and types only: nothing is computed, so nothing is compiled."""
    found = []
    jax.eval_shape(lambda *args: found.append(run(*args)), *arguments)
    return found[0]


@pytest.fixture(params=NETWORKS, ids=list(NETWORKS))
def network(request):
    return NETWORKS[request.param]


def test_numpyro_model_registers_f_and_observes_y(network):
    x = _inputs(network)
    shape = (6,) if network.outputs == 1 else (6, network.outputs)

    def run(key, *arguments):
        return handlers.trace(handlers.seed(network, key)).get_trace(*arguments)

    trace = _traced(run, jax.random.key(0), x)
    assert trace["f"]["type"] == "deterministic"
    assert trace["f"]["value"].shape == trace["y"]["value"].shape == shape
    assert not trace["y"]["is_observed"]
    assert _traced(run, jax.random.key(0), x, np.zeros(shape))["y"]["is_observed"]
    sites = _traced(lambda x: read_model(network, x), x)
    assert sites.has_field
    assert sites.field_shape == shape
    latent = {site.name: site.shape for site in sites.latent if site.name != "noise"}
    hidden = jax.eval_shape(network.sample_hidden, jax.random.key(1))
    count = jax.eval_shape(network.features, x, hidden).shape[1]
    readout = (count,) if network.outputs == 1 else (count, network.outputs)
    assert {name: leaf.shape for name, leaf in hidden.items()} | {"readout": readout} == latent


def test_hidden_layers_are_a_function_of_the_key(network):
    """Twice the same program, with the same constants; its key is its only input."""
    first, again = (jax.make_jaxpr(network.sample_hidden)(jax.random.key(1)) for _ in range(2))
    assert str(first) == str(again)
    for one, other in zip(first.consts, again.consts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_readout_capability_is_the_model_itself(network):
    """Field from features and readout, and the readout's mean and variance, are the NumPyro model's."""
    network, x = require(network, LinearReadout, "the test"), _inputs(network)
    rng = np.random.default_rng(1)
    hidden = {
        name: rng.uniform(-1, 1, leaf.shape)
        for name, leaf in jax.eval_shape(network.sample_hidden, jax.random.key(1)).items()
    }
    count = jax.eval_shape(network.features, x, hidden).shape[1]
    readout = rng.standard_normal((count,) if network.outputs == 1 else (count, network.outputs))
    y = np.zeros((6,) if network.outputs == 1 else (6, network.outputs))

    @jax.jit
    def run(hidden, readout):
        sites = hidden | {"readout": readout, "noise": 0.5}
        trace = handlers.trace(handlers.substitute(network, sites)).get_trace(x, y)
        prior, declared = network.readout_prior(hidden), trace["readout"]["fn"]
        return {
            "features": network.features(x, hidden),
            "f": trace["f"]["value"],
            "declared": (declared.mean, declared.variance),
            "mean": prior.mean,
            "variance": prior.covariance.diagonal(count),
            "matmul": prior.covariance.matmul(jnp.ones((count, 2))),
        }

    found = jax.tree.map(np.asarray, run(hidden, readout))
    assert found["features"].shape == (6, count)
    assert found["mean"].shape == (count, network.outputs)
    assert found["variance"].shape == (count,)
    assert found["matmul"].shape == (count, 2)
    field = (found["features"] @ readout.reshape(count, -1)).reshape(found["f"].shape)
    np.testing.assert_allclose(field, found["f"], atol=1e-12)
    mean, variance = (each.reshape(count, -1) for each in found["declared"])
    shape = found["mean"].shape
    np.testing.assert_allclose(np.broadcast_to(mean, shape), found["mean"], atol=1e-12)
    np.testing.assert_allclose(
        np.broadcast_to(variance, shape), np.broadcast_to(found["variance"][:, None], shape)
    )


def _having(capability):
    """Return the networks with a capability, as parameters."""
    names = [name for name, network in NETWORKS.items() if isinstance(network, capability)]
    assert names
    return pytest.mark.parametrize("network", [NETWORKS[name] for name in names], ids=names)


@_having(Covariance)
def test_covariance_is_symmetric_and_positive(network):
    x = _inputs(network)
    covariance = np.asarray(network.covariance(x, x))
    assert network.covariance(x, x[:2]).shape == (6, 2)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-12 * np.trace(covariance)


@_having(InfiniteWidth)
def test_kernel_is_symmetric_and_positive(network):
    x = _inputs(network)
    kernel = np.asarray(network.kernel(x, x))
    assert network.kernel(x, x[:2]).shape == (6, 2)
    np.testing.assert_allclose(network.kernel(x, x[:2]), kernel[:, :2], rtol=1e-12)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    assert np.linalg.eigvalsh(kernel)[0] > -1e-12 * np.trace(kernel)
    if isinstance(network, Covariance) and network.sample_hidden(jax.random.key(0)):
        np.testing.assert_array_equal(network.covariance(x, x), kernel)


@pytest.mark.parametrize("name", ["mlp, outputs", "mlp, raw weights", "mlp, normalised"])
def test_one_hidden_layer_has_its_kernel_on_average(name):
    """ΦC0Φᵀ over 4000 draws of eight neurons, entry by entry; a readout of other variance is told apart."""
    network = NETWORKS[name]
    x = _inputs(network)[:3]

    def one(key):
        features = network.features(x, network.sample_hidden(key))
        return features @ network.readout_prior({}).covariance.matmul(features.T)

    keys = jax.random.split(jax.random.key(3), 4000)
    # one by one: random numbers under vmap take twice as long to compile
    drawn = np.asarray(jax.jit(partial(jax.lax.map, one))(keys))[:, *np.triu_indices(3)]
    kernel = np.asarray(network.kernel(x, x))[np.triu_indices(3)]
    error = drawn.std(0, ddof=1) / np.sqrt(len(drawn))
    assert np.max(np.abs(drawn.mean(0) - kernel) / error) < norm.isf(0.5e-3 / 6)
    assert np.max(np.abs(drawn.mean(0) - 1.2 * kernel) / error) > norm.isf(0.5e-3 / 6)


@_having(FreeField)
def test_free_field_has_a_cutoff(network):
    p = np.array([[0.0, 0.5 * network.cutoff], [network.cutoff, 1.01 * network.cutoff]])
    density = np.asarray(network.spectral_density(p))
    assert density.shape == p.shape
    assert np.all(density.ravel()[:3] > 0)
    assert density[1, 1] == 0


def test_missing_capability_is_named_with_its_remedy():
    with pytest.raises(TypeError, match=r"needs a network with the capability FreeField.*spectral_density"):
        require(NETWORKS["mlp"], FreeField, "the test")


SCHEMES = [
    Diffusion(),
    *(Shell(basis=b, action=a) for b in ("parameter", "eigen") for a in ("reset", "drop")),
]
ENGINES = {
    "fixed": Exact(),
    "redrawn": Exact(members=4),
    "gradient flow": GradientFlow(members=4),
    "sgd": SgdExact(epochs=9, members=4),
    "trained": Ensemble(epochs=3, members=4),
}


@pytest.fixture(scope="module")
def sampled():
    """Return the function name of an engine → inputs and posterior of random momenta; sampled once."""
    network = NETWORKS["random momenta d=2"]
    x = _inputs(network, 8)
    held_out = (x[:2] + 0.1, np.ones((2, 3)))

    @lru_cache
    def run(name):
        engine, y = ENGINES[name], np.ones((8, 3))
        return x, fit(network, x, y, engine=engine, key=jax.random.key(0), draws=8, held_out=held_out)

    return run


@pytest.mark.parametrize(
    ("engine", "scheme"),
    # draws of every engine are alike to a scheme: all schemes for one, the two kinds for all
    [("fixed", scheme) for scheme in SCHEMES]
    + [(name, scheme) for name in ENGINES if name != "fixed" for scheme in SCHEMES[:2]],
    ids=str,
)
def test_every_engine_and_scheme_keeps_the_schema(sampled, engine, scheme):
    network = NETWORKS["random momenta d=2"]
    x, posterior = sampled(engine)
    assert posterior["posterior"]["f"].dims == ("chain", "draw", "x", "output")
    assert posterior["log_likelihood"]["y"].dims == ("chain", "draw", "x")
    assert {"log_prior", "observed_data", "constant_data", "predictions"} <= set(posterior.children)
    metric = fisher_metric(network, x, at=posterior)
    assert metric.eigenvalues.shape == (7,)
    assert metric.modes.shape == (8, 7)
    assert metric.diagonal.shape == (7,)
    assert np.all(np.diff(metric.eigenvalues) <= 0)
    scales = [8.0, 2.0] if isinstance(scheme, Diffusion) else [0.0, 1.0]
    flow = coarse_grain(
        network, posterior, metric, scheme=scheme, scales=scales, key=jax.random.key(1), store_draws=4
    )
    tree = flow.tree["flow"]
    assert tree["f"].shape == (2, 4, 8, 3)
    for name in ("effective_dimension", "mutual_information", "test_score", "test_score_se"):
        assert np.all(np.isfinite(tree[name].values)), name
    assert tree.attrs["coordinate"] == scheme.coordinate
    # trained networks are no posterior's draws: T6 is not their law
    trained = engine in ("gradient flow", "sgd", "trained")
    assert np.all(np.isfinite(tree["kl_to_prior"].values)) == (not trained)
    assert tree.attrs["kl_from"] == ("none" if trained else "law")
    if trained:
        with pytest.raises(ValueError, match="trained networks"):
            flow.theory_at(scales[1])
        return
    theory = require(flow.theory_at(scales[1]), LinearReadout, "the test")
    assert theory.features(x, {}).shape == (8, theory.readout_prior({}).mean.shape[0])
