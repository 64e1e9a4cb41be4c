"""The cos-net against T4's closed forms, sums written out, and its own draws."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.distributions.transforms import biject_to
from numpyro.infer.util import potential_energy
from scipy.integrate import quad
from scipy.stats import kstest, norm

from brg_prob.erg import FreeTheory, periodic_two_point
from brg_prob.network import Covariance, FreeField, LinearReadout, Network
from brg_prob.spectra import FreeScalar, Matern
from models.cosnet import CosNet

LATTICES = [
    CosNet(dim=1, box=5.0, cutoff=20.0),
    CosNet(dim=2, box=3.0, cutoff=9.0, mass=0.6, amplitude=1.4),
    CosNet(dim=3, box=2.5, cutoff=7.0, spectrum=Matern(2.0)),
]
AT_ZERO = {
    1: lambda cut, m: math.atan(cut / m) / (math.pi * m),
    2: lambda cut, m: math.log(1 + cut**2 / m**2) / (4 * math.pi),
    3: lambda cut, m: (cut - m * math.atan(cut / m)) / (2 * math.pi**2),
}


def trace_of(network, key, *arguments):
    return handlers.trace(handlers.seed(network, key)).get_trace(*arguments)


def points(n, dim, seed=0):
    return np.random.default_rng(seed).uniform(-1, 3, size=(n, dim))


# --- covariance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_variance_with_random_momenta_is_the_closed_form(dim):
    network = CosNet(dim=dim, width=7, cutoff=12.0, mass=0.8, amplitude=1.5)
    x = points(4, dim)
    found = np.diag(network.covariance(x, x))
    np.testing.assert_allclose(found, 1.5**2 * AT_ZERO[dim](12.0, 0.8), rtol=1e-10)
    assert np.all(np.abs(found / (1.5**2 * AT_ZERO[dim](12.0, 0.9)) - 1) > 0.01)


def test_covariance_with_random_momenta_is_the_integral_at_every_width():
    x1, x2 = np.array([[0.0], [1.3]]), np.array([[0.1], [20.0], [-7.0]])
    narrow, wide = (CosNet(width=width, cutoff=20.0, mass=0.5) for width in (1, 10**6))
    found = narrow.covariance(x1, x2)
    np.testing.assert_array_equal(found, wide.covariance(x1, x2))
    expected = [
        [
            quad(lambda p: 1 / (p * p + 0.25), 0, 20, weight="cos", wvar=abs(a - b), limit=500)[0] / math.pi
            for b in x2[:, 0]
        ]
        for a in x1[:, 0]
    ]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("network", LATTICES, ids=lambda network: f"d={network.dim}")
def test_lattice_covariance_is_the_finite_sum(network):
    x1, x2 = points(3, network.dim), points(4, network.dim, seed=1)
    unit = 2 * math.pi / network.box
    reach = int(network.cutoff / unit)
    index = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * network.dim), -1).reshape(-1, network.dim)
    p = unit * index[np.linalg.norm(index, axis=1) * unit <= network.cutoff]  # both of each pair
    density = network.amplitude**2 * network.spectrum(np.linalg.norm(p, axis=1), network.mass, network.dim)
    phases = (x1[:, None] - x2[None]) @ p.T
    expected = np.sum(density * np.cos(phases), axis=-1) / network.box**network.dim
    np.testing.assert_allclose(network.covariance(x1, x2), expected, rtol=1e-12, atol=1e-13)
    compiled = jax.jit(lambda x1, x2: network.features(x1, {}) @ network.features(x2, {}).T)
    np.testing.assert_allclose(compiled(x1, x2), expected, rtol=1e-12, atol=1e-13)


def test_lattice_becomes_the_closed_form_as_the_cutoff_is_removed():
    box, mass, r = 10.0, 1.3, np.array([0.0, 0.5, 2.0, 5.0])
    exact = np.asarray(periodic_two_point(r, mass, box))
    for cutoff in (200.0, 2000.0):
        network = CosNet(box=box, mass=mass, cutoff=cutoff)
        missing = exact - network.covariance(np.zeros((1, 1)), r[:, None])[0]
        last = math.floor(cutoff * box / (2 * math.pi)) + 0.5  # where the first missing momentum begins
        tail = (math.pi / 2 - math.atan(last * 2 * math.pi / box / mass)) / (math.pi * mass)
        assert missing[0] == pytest.approx(tail, rel=1e-3)
        assert np.all(np.abs(missing) <= missing[0])


def prior_fields(network, seeds, draws=1000):
    """Fields at four points, (seeds, draws, 4), everything redrawn for each."""
    x = np.zeros((4, network.dim))
    x[:, 0] = [0.0, 0.15, 0.5, 2.0]

    def draw(key):
        hidden_key, weight_key = jax.random.split(key)
        hidden = network.sample_hidden(hidden_key)
        prior = network.readout_prior(hidden)
        weights = jax.random.normal(weight_key, prior.mean.shape)
        return (network.features(x, hidden) @ prior.covariance.sqrt_matmul(weights))[:, 0]

    keys = jax.random.split(jax.random.key(11), seeds * draws)
    # one by one: random numbers under vmap take twice as long to compile
    return x, np.asarray(jax.jit(partial(jax.lax.map, draw))(keys)).reshape(seeds, draws, 4)


def largest_deviation(fields, covariance):
    """Largest deviation of the empirical covariance per seed, in its own standard errors, (seeds,)."""
    products = fields[..., :, None] * fields[..., None, :]
    error = products.std(axis=1, ddof=1) / math.sqrt(fields.shape[1])
    z = (products.mean(axis=1) - np.asarray(covariance)) / error
    return np.max(np.abs(z[:, *np.triu_indices(4)]), axis=-1)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_draws_with_random_momenta_have_the_covariance_at_width_ten(dim):
    network = CosNet(dim=dim, width=10, cutoff=8.0, mass=1.5)
    x, fields = prior_fields(network, seeds=10)
    threshold = norm.isf(0.5e-3 / (10 * 10))  # one in a thousand over ten seeds of ten entries
    assert threshold < 5
    assert np.max(largest_deviation(fields, network.covariance(x, x))) < threshold
    wrong = dataclasses.replace(network, amplitude=1.25)
    assert np.mean(largest_deviation(fields, wrong.covariance(x, x)) > threshold) > 0.95


# --- features, hidden layer, readout -------------------------------------------------------------


def test_columns_of_a_lattice_are_constant_then_cosine_and_sine_by_momentum():
    network, x = CosNet(box=5.0, cutoff=4.0, mass=0.7), np.array([[0.4], [1.9]])
    features = np.asarray(network.features(x, {}))
    assert features.shape == (2, 7)
    np.testing.assert_allclose(features[:, 0], math.sqrt(1 / (5 * 0.7**2)))
    for k in (1, 2, 3):
        p = 2 * math.pi * k / 5
        size = math.sqrt(2 / (5 * (p**2 + 0.7**2)))
        np.testing.assert_allclose(features[:, 2 * k - 1], size * np.cos(p * x[:, 0]), atol=1e-14)
        np.testing.assert_allclose(features[:, 2 * k], size * np.sin(p * x[:, 0]), atol=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_features_of_random_momenta_are_scaled_cosines_and_slices_are_columns(dim):
    network, x = CosNet(dim=dim, width=12, cutoff=6.0, amplitude=0.3), points(5, dim)
    shapes = jax.eval_shape(network.sample_hidden, jax.random.key(0))
    assert {name: leaf.shape for name, leaf in shapes.items()} == {"w": (12, dim), "b": (12,)}
    w, b = points(12, dim, seed=1), points(12, 1, seed=2)[:, 0]
    hidden = {"w": w, "b": b}
    volume = {1: 12.0, 2: math.pi * 36, 3: 4 / 3 * math.pi * 216}[dim]
    size = 0.3 * np.sqrt(2 * volume / (2 * math.pi) ** dim / (np.sum(w**2, axis=1) + 1))
    compiled = jax.jit(network.features)
    features = compiled(x, hidden)
    np.testing.assert_allclose(features, size * np.cos(x @ w.T + b), rtol=1e-12, atol=1e-13)
    assert network.neuronwise
    part = {name: leaf[3:7] for name, leaf in hidden.items()}
    np.testing.assert_allclose(compiled(x, part), np.asarray(features)[:, 3:7], rtol=1e-13, atol=1e-14)
    assert not CosNet(box=1.0).neuronwise


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_momenta_are_uniform_in_the_ball_and_phases_on_the_circle(dim, getkey):
    hidden = jax.tree.map(np.asarray, CosNet(dim=dim, width=4000, cutoff=6.0).sample_hidden(getkey()))
    w = hidden["w"]
    size = np.linalg.norm(w, axis=1)
    assert size.max() <= 6.0
    assert kstest((size / 6) ** dim, "uniform").pvalue > 1e-4
    assert kstest(hidden["b"], "uniform", (-math.pi, 2 * math.pi)).pvalue > 1e-4
    assert abs(np.sum(w[:, -1] > 0) - 2000) < 4 * math.sqrt(1000)  # no preferred direction
    assert kstest((size / 6) ** (dim + 1), "uniform").pvalue < 1e-4  # the wrong dimension is noticed


@pytest.mark.parametrize("dim", [2, 3])
def test_the_ball_is_unfolded_for_nuts_with_the_right_jacobian(dim):
    one = CosNet(dim=dim, width=5, cutoff=3.0)._hidden_priors()["w"].base_dist
    transform = biject_to(one.support)
    z = np.random.default_rng(dim).standard_normal((5, dim))

    @jax.jit
    def run(z):
        w = transform(z)
        outside = w * 3.1 / jnp.linalg.norm(w, axis=1, keepdims=True)
        return {
            "inside": one.support(w),
            "back": transform.inv(w),
            "unfolded": transform.log_abs_det_jacobian(z, w),
            "jacobian": jax.vmap(jax.jacfwd(transform))(z),
            "at zero": jax.grad(lambda v: jnp.sum(transform(v)))(jnp.zeros((5, dim))),
            "density": one.log_prob(w),
            "outside": one.log_prob(outside),
        }

    found = jax.tree.map(np.asarray, run(z))
    assert np.all(found["inside"])
    np.testing.assert_allclose(found["back"], z, rtol=1e-10)
    np.testing.assert_allclose(found["unfolded"], np.linalg.slogdet(found["jacobian"])[1], rtol=1e-10)
    np.testing.assert_allclose(found["at zero"], 3.0 / math.sqrt(2), rtol=1e-12)
    if dim == 2:  # a uniform disk is a standard normal there
        density = found["density"] + found["unfolded"]
        np.testing.assert_allclose(density, norm.logpdf(z).sum(axis=-1), rtol=1e-10)
    np.testing.assert_array_equal(found["outside"], -np.inf)


def test_readout_prior_has_the_variance_of_the_geometry():
    prior = CosNet(width=40, outputs=2).readout_prior({})
    assert prior.mean.shape == (40, 2)
    np.testing.assert_allclose(prior.covariance.diagonal(40), 1 / 40)
    lattice = CosNet(box=5.0, cutoff=4.0).readout_prior({})
    assert lattice.mean.shape == (7, 1)
    np.testing.assert_allclose(lattice.covariance.diagonal(7), 1.0)


def test_raw_diagonal_information_is_that_of_a_free_theory():
    network = CosNet(width=200, cutoff=20.0, noise=0.5, amplitude=1.2)
    hidden = network.sample_hidden(jax.random.key(3))
    side = 200.0
    x = (np.arange(40_000) * side / 40_000)[:, None]
    theory = FreeTheory(dim=1, box=side, cutoff=20.0, noise=0.5, mass=1.0, amplitude=1.2)
    size = np.abs(np.asarray(hidden["w"])[:, 0])
    diagonal = np.mean(np.square(np.asarray(jax.jit(network.features)(x, hidden))), axis=0) / 0.5**2
    # the average of cos² over the box is ½ up to 1/(2|w|L); the grid adds |w|dx/(2|w|L)
    bound = 1 / (size * side) + 1e-2 / side
    assert np.all(np.abs(diagonal / theory.raw_diagonal(size) - 1) < bound)


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", [{"width": 6}, {"box": 5.0, "cutoff": 4.0}])
@pytest.mark.parametrize(("outputs", "noise_spread"), [(1, 0.0), (3, 0.3)])
def test_the_model_registers_its_sites(geometry, outputs, noise_spread):
    network = CosNet(**geometry, outputs=outputs, noise_spread=noise_spread, noise=0.2)
    for capability in (Network, LinearReadout, Covariance, FreeField):
        assert isinstance(network, capability)
    x = points(5, 1)
    parameters = 6 if "width" in geometry else 7
    shape = (5,) if outputs == 1 else (5, outputs)
    trace = {}
    jax.eval_shape(lambda key: trace.update(trace_of(network, key, x)), jax.random.key(0))  # draws nothing
    shapes = {name: site["value"].shape for name, site in trace.items() if site["type"] == "sample"}
    assert not trace["y"]["is_observed"]
    assert trace["f"]["value"].shape == shapes.pop("y") == shape
    assert shapes.pop("readout") == ((parameters,) if outputs == 1 else (parameters, outputs))
    assert (shapes.pop("noise", None) == ()) == (noise_spread > 0)
    drawn = jax.eval_shape(network.sample_hidden, jax.random.key(0))
    assert shapes == {name: leaf.shape for name, leaf in drawn.items()}

    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(size) for name, size in shapes.items()}
    values["readout"] = rng.standard_normal(trace["readout"]["value"].shape)

    @jax.jit
    def run(values, noise):
        at = handlers.substitute(network, values | {"noise": noise})
        observed = handlers.trace(at).get_trace(x, np.zeros(shape))
        assert observed["y"]["is_observed"]
        base = observed["y"]["fn"] if outputs == 1 else observed["y"]["fn"].base_dist
        hidden = {name: values[name] for name in shapes}
        return {
            "f": observed["f"]["value"],
            "by hand": network.features(x, hidden) @ values["readout"],
            "declared": observed["readout"]["fn"].variance,
            "variance": network.readout_prior(hidden).covariance.diagonal(parameters),
            "scale": base.scale,
        }

    found = jax.tree.map(np.asarray, run(values, 0.7))
    np.testing.assert_allclose(found["declared"], found["variance"][0])
    np.testing.assert_allclose(found["f"], found["by hand"], rtol=1e-13)
    np.testing.assert_allclose(found["scale"], 0.7 if noise_spread else 0.2)


def test_nuts_can_start_on_random_momenta():
    network, x = CosNet(dim=2, width=4, cutoff=3.0), points(6, 2)
    rng = np.random.default_rng(0)  # unconstrained, any values do
    start = {"w": rng.standard_normal((4, 2)), "b": rng.standard_normal(4), "readout": np.ones(4)}
    start["w"][0] = 0.0  # where init = "feasible" starts
    gradient = jax.jit(jax.grad(lambda z: potential_energy(network, (x, np.sin(x[:, 0])), {}, z)))(start)
    assert gradient["w"].shape == (4, 2)
    assert all(np.all(np.isfinite(np.asarray(leaf))) for leaf in gradient.values())


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("spectrum", [FreeScalar(), Matern(1.5)], ids=["scalar", "matern"])
def test_random_momenta_have_their_derivatives_at_zero_momentum(dim, spectrum):
    # a chain may start at the centre of the ball; there |w| has no gradient, but a density of |w|² has
    network = CosNet(dim=dim, width=2, cutoff=3.0, mass=0.7, spectrum=spectrum)
    x, b = points(5, dim), jnp.array([0.3, 1.2])

    def field(w):
        return network.features(x, {"w": w, "b": b}).sum()

    centre = jnp.zeros((2, dim))
    level = network.features(jnp.zeros((1, dim)), {"w": centre, "b": 0 * b})[0]
    expected = -level[:, None] * jnp.sin(b)[:, None] * x.sum(axis=0)[None, :]
    np.testing.assert_allclose(jax.grad(field)(centre), expected, rtol=1e-12)
    # beside the centre |w| is differentiable: the curvature must be continuous
    there, beside = (jax.hessian(field)(centre + step) for step in (0.0, 1e-6))
    np.testing.assert_allclose(there, beside, atol=1e-3)


def test_features_jit_map_and_differentiate():
    for network in (CosNet(width=5), CosNet(box=5.0, spectrum=lambda p, m, d: jnp.exp(-m * p))):
        assert hash(network) == hash(dataclasses.replace(network))
        x = points(3, 1)
        shapes = jax.eval_shape(network.sample_hidden, jax.random.key(0))
        hidden = {name: points(math.prod(leaf.shape), 1).reshape(leaf.shape) for name, leaf in shapes.items()}
        plain = network.features(x, hidden)
        compiled = jax.jit(network.features)
        np.testing.assert_allclose(compiled(x, hidden), plain, atol=1e-12)
        slope = jax.jit(jax.jacfwd(network.features))(x, hidden)
        step = 1e-6
        numeric = np.asarray(compiled(x + step, hidden)) - np.asarray(compiled(x - step, hidden))
        np.testing.assert_allclose(np.einsum("nmnd->nm", slope), numeric / (2 * step), atol=1e-7)


@pytest.mark.parametrize("geometry", [{"width": 30, "cutoff": 5.0}, {"box": 4.0, "cutoff": 8.0}])
def test_single_precision_works_and_agrees(geometry):
    network, x = CosNet(dim=2, **geometry), points(20, 2)
    double = np.asarray(network.covariance(x, x))
    with jax.enable_x64(False):
        single = jnp.asarray(x)
        covariance = network.covariance(single, single)

        def run(x, key):
            hidden = network.sample_hidden(key)
            f = trace_of(network, key, x)["f"]["value"]
            return hidden, network.features(x, hidden), f, network.spectral_density(x)

        hidden, features, f, density = jax.eval_shape(run, single, jax.random.key(1))
        assert features.dtype == covariance.dtype == f.dtype == density.dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in hidden.values())
    np.testing.assert_allclose(covariance, double, atol=2e-5 * double[0, 0])


# --- options -------------------------------------------------------------------------------------


def test_spectral_density_ends_at_the_cutoff():
    network = CosNet(width=3, cutoff=2.0, mass=0.5, amplitude=3.0)
    p = np.array([[0.0, 1.0], [2.0, 2.0001]])
    np.testing.assert_allclose(network.spectral_density(p), [[36.0, 7.2], [9 / 4.25, 0.0]])
    assert network.box is None
    user = CosNet(width=3, spectrum=lambda p, m, d: 0 * p + m)
    np.testing.assert_allclose(user.spectral_density(np.array([0.0, 3.0])), 1.0)


def test_for_inputs_takes_box_and_cutoff_from_the_grid():
    for dim, side in [(1, 63), (1, 64), (2, 9)]:
        line = 5.0 + 0.2 * np.arange(side)
        x = np.stack(np.meshgrid(*[line] * dim), -1).reshape(-1, dim)
        network = CosNet.for_inputs(x, mass=2.0)
        assert (network.dim, network.mass, network.width) == (dim, 2.0, None)
        assert network.box == pytest.approx(0.2 * side, rel=1e-12)
        index = np.rint(network._momenta() * network.box / (2 * math.pi))
        assert index.max() == (side - 1) // 2
        features = np.asarray(jax.jit(network.features)(x, {}))
        gram = features.T @ features  # diagonal: every mode is exact
        assert np.max(np.abs(gram - np.diag(np.diag(gram)))) < 1e-10 * gram[0, 0]


def test_for_inputs_keeps_what_is_given():
    x = np.linspace(0, 1, 11)[:, None]
    assert CosNet.for_inputs(x, width=5, cutoff=3.0) == CosNet(width=5, cutoff=3.0)
    assert CosNet.for_inputs(x, width=5).cutoff == pytest.approx(2 * math.pi / 1.1 * 5.5)
    assert CosNet.for_inputs(x, box=7.0, cutoff=3.0) == CosNet(box=7.0, cutoff=3.0)
    scattered = points(9, 2)
    assert CosNet.for_inputs(scattered, width=5) == CosNet(dim=2, width=5)
    with pytest.raises(ValueError, match=r"x of shape \(9, 2\) is no equispaced cubic grid; give width"):
        CosNet.for_inputs(scattered)
    repeated = np.concatenate([x, x[:2]])
    with pytest.raises(ValueError, match=r"\(13, 1\) repeats 2 rows of an equispaced cubic grid \(average"):
        CosNet.for_inputs(repeated)
    assert CosNet.for_inputs(np.unique(repeated, axis=0)) == CosNet.for_inputs(x)  # the remedy
    assert CosNet.for_inputs(repeated, width=5) == CosNet(width=5)  # the other one
    with pytest.raises(ValueError, match=r"x\[:, None\]"):
        CosNet.for_inputs(x[:, 0])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, r"width = None and box = None: give exactly one"),
        ({"width": 3, "box": 1.0}, r"width = 3 and box = 1.0: give exactly one"),
        ({"width": 0}, "width = 0 must be a whole number"),
        ({"width": 2.5}, "width = 2.5 must be a whole number"),
        ({"box": -1.0}, "box = -1.0 must be positive"),
        ({"width": 3, "dim": 4}, "dim = 4 is not supported; use 1, 2 or 3"),
        ({"width": 3, "mass": 0.0}, "mass = 0.0 must be positive"),
        ({"width": 3, "cutoff": math.inf}, "cutoff = inf must be positive and finite"),
        ({"width": 3, "noise": math.nan}, "noise = nan must be positive"),
        ({"width": 3, "amplitude": -2.0}, "amplitude = -2.0 must be positive"),
        ({"width": 3, "noise_spread": -0.1}, "noise_spread = -0.1 must be 0"),
        ({"width": 3, "outputs": 0}, "outputs = 0 must be a whole number"),
        ({"width": 3, "spectrum": 1.0}, "spectrum = 1.0 must be a function"),
        ({"box": 3.0, "spectrum": lambda p, m, d: p - 1.0}, r"spectrum is -1.0 at \|p\| = 0.0"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, complaint):
    with pytest.raises(ValueError, match=complaint) as raised:
        CosNet(**options)
    assert "\n" not in str(raised.value)


def test_inputs_of_another_dimension_are_refused():
    for call in (CosNet(width=3), CosNet(box=3.0)):
        with pytest.raises(ValueError, match=r"x has shape \(4, 2\); CosNet\(dim=1\)"):
            call.features(np.zeros((4, 2)), {})
    with pytest.raises(ValueError, match=r"x has shape \(4,\)"):
        CosNet(box=3.0).covariance(np.zeros(4), np.zeros(4))


def test_the_default_spectrum_is_the_free_scalar():
    assert CosNet(width=1).spectrum == FreeScalar()
