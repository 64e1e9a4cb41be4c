"""Auxiliary sites in place of a model's own: the same joint density, whatever the family."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from scipy import stats

from brg_prob.network import Conditioned
from brg_prob.posterior.reparam import StandardNormalReparam, reparametrised, reparams, sampled_values

X, Y = np.ones((4, 1)), np.array([0.2, -0.4, 1.0, 0.3])


def shares(x, y=None):
    """A simplex, a Beta share of latent parameters, and a correlation matrix."""
    size = numpyro.sample("size", dist.LogNormal(1.0, 0.5))
    p = numpyro.sample("p", dist.Dirichlet(size * jnp.array([1.0, 2.0, 3.0])))
    q = numpyro.sample("q", dist.Beta(0.3 * size, 0.7 * size))
    root = numpyro.sample("root", dist.LKJCholesky(2, size))
    numpyro.sample("y", dist.Normal(p[0] + q + root[1, 0], 1.0).expand([x.shape[0]]), obs=y)


@pytest.mark.slow
def test_standard_normal_sites_stand_in_for_simplices_shares_and_correlations():
    conditioned = Conditioned.of(shares, X, Y)
    config = reparams(conditioned, "standard_normal")
    assert set(config) == {"size", "p", "q", "root"}
    model = reparametrised(conditioned.model(), config)

    @jax.jit
    def drawn(key):
        trace = handlers.trace(handlers.seed(model, key)).get_trace()
        values = {name: trace[name]["value"] for name in conditioned.names}
        own = {name: trace[f"{name}_standard_normal"]["value"] for name in conditioned.names}
        prior = sum(
            jnp.sum(site["fn"].log_prob(site["value"]))
            for site in trace.values()
            if site["type"] == "sample" and not site["is_observed"]
        )
        return values, own, sampled_values(conditioned, config, values), prior

    values, own, back, prior = drawn(jax.random.key(2))
    for name, z in own.items():
        np.testing.assert_allclose(back[f"{name}_standard_normal"], z, atol=1e-9)
    assert {name: np.shape(z) for name, z in own.items()} == {"size": (), "p": (2,), "q": (), "root": (1,)}
    assert prior == pytest.approx(sum(stats.norm.logpdf(z).sum() for z in own.values()), rel=1e-10)
    assert np.sum(values["p"]) == pytest.approx(1.0, abs=1e-12)
    law = stats.beta(0.3 * values["size"], 0.7 * values["size"])
    assert stats.norm.ppf(law.cdf(values["q"])) == pytest.approx(float(own["q"]), abs=1e-9)
    assert abs(law.cdf(values["p"][0]) - law.cdf(values["q"])) > 1e-3  # another share has another score


@pytest.mark.parametrize("kind", ["standard_normal", "loc_scale"])
def test_sites_inside_a_scan_are_sampled_as_they_are(kind):
    """NumPyro has drawn them before its handler sees them: another site beside them would have no effect."""

    def walk(x, y=None):
        spread = numpyro.sample("spread", dist.Normal(1.0, 0.1))
        step = lambda level, _: (numpyro.sample("level", dist.Normal(level, spread)),) * 2  # noqa: E731
        _, levels = scan(step, 0.0, None, length=x.shape[0])
        numpyro.sample("y", dist.Normal(levels, 1.0), obs=y)

    conditioned = Conditioned.of(walk, X, Y)
    config = reparams(conditioned, kind)
    assert set(config) == {"spread"}
    model = reparametrised(conditioned.model(), config)
    trace = handlers.trace(handlers.seed(model, jax.random.key(0))).get_trace()
    assert {n for n, s in trace.items() if s["type"] == "sample" and not s["is_observed"]} >= {"level"}
    with pytest.raises(ValueError, match="site 'level' has a value"):
        StandardNormalReparam()("level", dist.Normal(0.0, 1.0), 0.3)
