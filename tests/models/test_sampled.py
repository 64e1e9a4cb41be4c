"""The networks of which every parameter is sampled: fields, information and bad options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers

from brg_prob import fisher_metric
from brg_prob.network import LinearReadout
from brg_prob.network.trace import read_model
from models.bnn import BayesianNetwork
from models.hierarchical import Hierarchical
from models.logistic import LogisticRegression
from models.poisson import PoissonRegression

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
GROUPED = np.column_stack([np.arange(12) % 3, RNG.normal(size=(12, 2))])
NETWORKS = [
    (LogisticRegression(dim=3), X),
    (PoissonRegression(dim=3), X),
    (PoissonRegression(dim=3, overdispersion=True), X),
    (Hierarchical(groups=3, dim=2), GROUPED),
    (Hierarchical(groups=3, dim=0), GROUPED[:, :1]),
    (BayesianNetwork(widths=(4, 2), dim=3), X),
]


@pytest.mark.parametrize(("network", "x"), NETWORKS)
def test_a_model_has_a_field_an_observation_and_no_linear_readout(network, x):
    sites = read_model(network, x)
    assert sites.has_field
    assert sites.field_shape == (12,)
    assert sites.observation == "y"
    assert not isinstance(network, LinearReadout)
    trace = handlers.trace(handlers.seed(network, jax.random.key(0))).get_trace(x, jnp.ones(12))
    assert trace["y"]["is_observed"]


def by_hand(information, scales):
    """Whitened spectrum of E_x[F (1, x)ᵀ(1, x)]."""
    design = np.column_stack([np.ones(12), X]) * scales
    return np.linalg.eigvalsh(design.T @ (information[:, None] * design) / 12)[::-1]


@pytest.mark.parametrize("network", [network for network, _ in NETWORKS[:3]])
def test_information_of_a_regression_is_that_of_its_exponential_family(network):
    b, w, r = 0.3, np.array([0.5, -0.4, 0.2]), 1.7
    f = b + X @ w
    probability, rate = 1 / (1 + np.exp(-f)), np.exp(f)
    information = probability * (1 - probability) if isinstance(network, LogisticRegression) else rate
    at = {"intercept": b, "slope": w}
    if getattr(network, "overdispersion", False):
        information, at = rate / (1 + rate / r), at | {"concentration": r}
    scales = np.array([network.intercept_scale] + 3 * [network.slope_scale])
    y = jnp.ones(12)
    metric = fisher_metric(network, X, y=y, at=at, sites=("intercept", "slope"))
    np.testing.assert_allclose(metric.eigenvalues, by_hand(information, scales), rtol=1e-8)


def test_groups_have_lines_of_their_own():
    network = Hierarchical.for_inputs(GROUPED)
    assert (network.groups, network.dim) == (3, 2)
    trace = handlers.trace(handlers.seed(network, jax.random.key(1))).get_trace(GROUPED)
    intercept, slope = (np.asarray(trace[name]["value"]) for name in ("intercept", "slope"))
    expected = [intercept[int(g)] + slope[int(g)] @ row for g, *row in GROUPED]
    np.testing.assert_allclose(trace["f"]["value"], expected, rtol=1e-12)


def test_neurons_may_change_order_and_sign_without_a_change_of_the_field():
    network = BayesianNetwork(widths=(4,), dim=3)
    trace = handlers.trace(handlers.seed(network, jax.random.key(1))).get_trace(X)
    values = {name: np.asarray(trace[name]["value"]) for name in ("W0", "b0", "A", "c", "noise")}
    field = values["c"] + np.tanh(X @ values["W0"].T / np.sqrt(3) + values["b0"]) @ values["A"] / 2
    np.testing.assert_allclose(trace["f"]["value"], field, rtol=1e-12)
    order, sign = np.array([2, 0, 3, 1]), np.array([1, -1, 1, -1])
    moved = values | {name: values[name][order] for name in ("W0", "b0", "A")}
    moved |= {"W0": moved["W0"] * sign[:, None], "b0": moved["b0"] * sign, "A": moved["A"] * sign}
    again = handlers.trace(handlers.substitute(handlers.seed(network, jax.random.key(2)), moved)).get_trace(X)
    np.testing.assert_allclose(again["f"]["value"], field, rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LogisticRegression(dim=0), "dim = 0"),
        (lambda: LogisticRegression(slope_scale=0.0), "slope_scale = 0.0"),
        (lambda: PoissonRegression(intercept_mean=np.inf), "intercept_mean = inf"),
        (lambda: PoissonRegression(dim=1.5), r"dim = 1\.5"),
        (lambda: Hierarchical(groups=0), "groups = 0"),
        (lambda: Hierarchical.for_inputs(X), "first column of x must hold whole numbers"),
        (lambda: BayesianNetwork(widths=()), r"widths = \(\)"),
        (lambda: BayesianNetwork(noise_scale=-1.0), r"noise_scale = -1\.0"),
        (lambda: BayesianNetwork(activation="tanhh"), "tanhh"),
        (lambda: BayesianNetwork(activation="exp"), "use another"),
        (lambda: BayesianNetwork(dim=2)(X), r"takes inputs of shape \(n, 2\)"),
        (lambda: LogisticRegression(dim=2)(X), r"takes inputs of shape \(n, 2\)"),
        (lambda: PoissonRegression(dim=2)(X), r"takes inputs of shape \(n, 2\)"),
        (lambda: Hierarchical(dim=1)(X), r"takes inputs of shape \(n, 2\)"),
        (lambda: LogisticRegression.for_inputs(X[:, 0]), r"inputs are \(n, d\)"),
    ],
)
def test_bad_options_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
