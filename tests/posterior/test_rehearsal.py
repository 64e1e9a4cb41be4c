"""What would fail late is refused at once, in a line that names what to change."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from brg_prob import NUTS, Laplace, Shell
from brg_prob.network import Conditioned
from brg_prob.pipeline.fitted import scheme_of
from brg_prob.posterior import rehearse

X = np.linspace(0, 1, 5)[:, None]
Y = np.array([0.3, -0.2, 1.0, 0.7, 0.1])


def refusal(model, engine, draws=400, scheme=None, **options):
    """Return the line by which a model is refused; empty if it is not."""
    try:
        found = rehearse(Conditioned.of(model, X, Y), engine, draws=draws, **options)
        scheme_of(found, scheme, engine)
    except ValueError as error:
        return str(error)
    return ""


def iterated(x, y=None):
    """A root found by a loop that ends by itself."""
    k = numpyro.sample("k", dist.LogNormal(0, 1))
    root, _ = jax.lax.while_loop(
        lambda state: jnp.abs(state[1]) > 1e-8, lambda state: _newton(state[0], k), (k, jnp.ones_like(k))
    )
    numpyro.sample("y", dist.Normal(root * x[:, 0], 1), obs=y)


def _newton(root, square):
    new = 0.5 * (root + square / root)
    return new, new - root


def wide(size):
    """A model with a site of some size, one entry of which matters."""

    def model(x, y=None):
        a = numpyro.sample("a", dist.Normal(0, 1).expand([size]).to_event(1))
        numpyro.sample("y", dist.Normal(a[0] * x[:, 0], 1), obs=y)

    return model


def test_a_model_with_forward_derivatives_alone_is_told_how_to_be_sampled():
    for engine in (NUTS(), Laplace()):
        line = refusal(iterated, engine)
        assert "no reverse derivative" in line
        assert line.endswith("use --engine nuts --engine.forward_mode true")
    assert refusal(iterated, NUTS(forward_mode=True)) == ""


def test_more_draws_than_fit_into_memory_are_refused_with_a_number_that_does(monkeypatch):
    pages = {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 1000}  # a megabyte
    monkeypatch.setattr("brg_prob.posterior.rehearsal.os.sysconf", pages.__getitem__)
    line = refusal(wide(1000), NUTS())
    assert "(1000 parameters) do not fit into 0.001 GB of memory" in line
    most = int(line.partition("at most ")[2].split()[0])
    assert refusal(wide(1000), NUTS(chains=1), draws=most) == ""
    assert refusal(wide(2), NUTS()) == ""


def test_a_scheme_that_needs_a_metric_is_refused_for_a_factor():
    def loss(x, y=None):
        a = numpyro.sample("a", dist.Normal(0, 1))
        f = numpyro.deterministic("f", a * x[:, 0])
        if y is not None:
            numpyro.factor("loss", -jnp.abs(y - f).sum())

    assert "use --scheme tempering" in refusal(loss, NUTS(), scheme=Shell())
    assert refusal(loss, NUTS()) == ""


def test_draws_that_do_not_divide_among_chains_are_refused():
    assert "draws = 401 do not divide among 4 chains" in refusal(wide(2), NUTS(), draws=401)
