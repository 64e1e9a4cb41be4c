"""Sites that a metric was not restricted to are held fixed by every scheme."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob import Diffusion, Laplace, Shell, coarse_grain, fisher_metric, fit

X = np.linspace(-1, 1, 9)[:, None]
Y = np.sin(2 * X[:, 0])


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0, 1).expand([3]).to_event(1))
    noise = numpyro.sample("noise", dist.LogNormal(-1, 0.5))
    f = numpyro.deterministic("f", slope[0] * x[:, 0] + slope[1])  # the third is seen by no observation
    numpyro.sample("y", dist.Normal(f, noise), obs=y)


@pytest.fixture(scope="module")
def posterior():
    return fit(line, X, Y, engine=Laplace(), key=jax.random.key(0), draws=300)


@pytest.mark.parametrize(
    ("scheme", "scales"),
    [
        (Diffusion(), (9.0, 0.0)),
        *(
            (Shell(basis=b, action=a), (0.0, np.inf))
            for b in ("eigen", "parameter")
            for a in ("reset", "drop")
        ),
        (Shell(keep="sloppy"), (0.0, np.inf)),
    ],
)
def test_sites_held_fixed_do_not_move_and_the_others_reach_their_prior(posterior, scheme, scales):
    metric = fisher_metric(line, X, at=posterior, y=Y, sites=("slope",))
    assert metric.covered.tolist() == [True] * 3 + [False]
    flow = coarse_grain(line, posterior, metric, scheme=scheme, scales=scales, key=jax.random.key(1))
    before, *_, after = (metric.unwhiten(z) for z in flow.z())
    np.testing.assert_allclose(after["noise"], before["noise"], rtol=1e-12)
    spread = jnp.std(after["slope"], axis=0)
    expected = 0.0 if getattr(scheme, "action", "") == "drop" else 1.0
    np.testing.assert_allclose(spread, expected, atol=5 / np.sqrt(600))
    whole = coarse_grain(
        line, posterior, fisher_metric(line, X, at=posterior, y=Y), scheme=scheme, scales=scales,
        key=jax.random.key(1),
    )  # fmt: skip
    *_, last = whole.z()
    assert not np.allclose(metric.unwhiten(last)["noise"], before["noise"])
