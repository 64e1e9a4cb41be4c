"""Results of different networks are not mixed without a word."""

import dataclasses
import functools

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob import Laplace, coarse_grain, fisher_metric, fit
from brg_prob.network.identity import identity
from models.cosnet import CosNet

X = np.arange(8)[:, None] / 4.0
Y = np.sin(X[:, 0])
KEY = jax.random.key(0)


def scaled(x, y=None, *, scale=1.0):
    b = numpyro.sample("b", dist.Normal(0, scale))
    numpyro.sample("y", dist.Normal(b * x[:, 0], 1), obs=y)


def twice(x, y=None):
    b = numpyro.sample("b", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(2 * b * x[:, 0], 1), obs=y)


def test_a_network_is_known_by_its_content():
    net = CosNet(box=2.0)
    assert identity(net) == identity(CosNet(box=2.0)) != identity(CosNet(box=2.0, mass=1.1))
    partial = functools.partial(scaled, scale=2.0)
    assert identity(partial) == identity(functools.partial(scaled, scale=2.0)) != identity(scaled)
    assert identity(scaled) != identity(twice)

    def told(x, y=None):
        """Say something."""
        return x in {"a", "b", "c"}

    def untold(x, y=None):
        return x in {"a", "b", "c"}

    untold.__qualname__ = told.__qualname__
    assert identity(told) == identity(untold)  # what a function says of itself changes nothing
    untold.__defaults__ = (1.0,)
    assert identity(told) != identity(untold)

    def made(factor):
        return lambda x, y=None: factor * x

    assert identity(made(2.0)) == identity(made(2.0)) != identity(made(3.0))
    assert identity(made(np.ones(2))) != identity(made(np.zeros(2)))


@pytest.mark.parametrize("other", [CosNet(box=2.0, mass=1.1), CosNet(box=2.0, noise=0.2)])
def test_a_readout_s_posterior_and_metric_belong_to_their_network(other):
    net = CosNet(box=2.0)
    posterior = fit(net, X, Y, key=KEY, draws=20)
    with pytest.raises(ValueError, match=r"the posterior belongs to another network .* than CosNet"):
        fisher_metric(other, X, at=posterior)
    options = {"scales": (8.0, 1.0), "key": KEY}
    with pytest.raises(ValueError, match="the posterior belongs to another network"):
        coarse_grain(other, posterior, fisher_metric(other, X), **options)
    with pytest.raises(ValueError, match="the metric belongs to another network"):
        coarse_grain(net, posterior, fisher_metric(other, X), **options)
    assert coarse_grain(net, posterior, fisher_metric(dataclasses.replace(net), X), **options)


def test_a_metric_at_other_hidden_layers_is_no_metric_of_a_posterior():
    net = CosNet(width=12, cutoff=3.0)
    one, two = (fit(net, X, Y, key=jax.random.key(seed), draws=20) for seed in (0, 1))
    with pytest.raises(ValueError, match="at the hidden layers of another posterior"):
        coarse_grain(net, one, fisher_metric(net, X, at=two), scales=(8.0, 1.0), key=KEY)


def test_any_model_s_posterior_and_metric_belong_to_it():
    posterior = fit(twice, X, Y, engine=Laplace(), key=KEY, draws=50)
    metric = fisher_metric(scaled, X, y=Y)
    with pytest.raises(ValueError, match=r"the posterior belongs to another network .* than scaled"):
        fisher_metric(scaled, X, at=posterior, y=Y)
    with pytest.raises(ValueError, match=r"the metric belongs to another network .* than twice"):
        coarse_grain(twice, posterior, metric, scales=(8.0, 1.0), key=KEY)
    # a metric at other inputs of the same network is legitimate
    assert fisher_metric(twice, X[:3], at=posterior).observations == 3


def test_the_metric_of_a_readouts_posterior_is_the_readouts_whatever_y_is_passed():
    net = CosNet(box=5.0, cutoff=6.0)
    x = np.arange(20)[:, None] / 4.0
    posterior = fit(net, x, np.sin(x[:, 0]), key=jax.random.key(0), draws=20)
    own, passed = fisher_metric(net, x, at=posterior), fisher_metric(net, x, at=posterior, y=np.cos(x[:, 0]))
    np.testing.assert_array_equal(own.eigenvalues, passed.eigenvalues)
    with pytest.raises(ValueError, match="at_draws: the posterior holds draws of a readout"):
        fisher_metric(net, x, at=posterior, at_draws=5)


def test_a_metric_at_one_set_of_hidden_layers_is_none_of_draws_that_have_their_own():
    net = CosNet(width=4, cutoff=3.0)
    posterior = fit(net, X, Y, engine=Laplace(), key=KEY, draws=20)
    metric = fisher_metric(net, X, at=net.sample_hidden(KEY))
    with pytest.raises(ValueError, match="every draw of this posterior has w, b of its own"):
        coarse_grain(net, posterior, metric, scales=(8.0,), key=KEY)
    # the remedy
    coarse_grain(net, posterior, fisher_metric(net, X, at=posterior), scales=(8.0,), key=KEY)
    # without hidden layers the readout's chart reads any engine's tree
    lattice = CosNet(box=2.0, cutoff=7.0)
    posterior = fit(lattice, X, Y, engine=Laplace(), key=KEY, draws=50)
    flow = coarse_grain(lattice, posterior, fisher_metric(lattice, X), scales=(8.0, 1.0), key=KEY)
    assert flow.tree["flow"]["field_sd"].values[1].mean() > flow.tree["flow"]["field_sd"].values[0].mean()
