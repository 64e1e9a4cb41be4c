"""What the modes do not span: left alone where the data cannot see it, and refused where they can (T7)."""

import dataclasses
import sys

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob import NUTS, Diffusion, Laplace, Shell, coarse_grain, fisher_metric, fit, run

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(40, 6))
Y = X @ np.array([1.0, -1.0, 0.5, 0.2, 0.0, 0.3])


def linear(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([6]).to_event(1))
    f = numpyro.deterministic("f", x @ w)
    numpyro.sample("y", dist.Normal(f, 0.5), obs=y)


@pytest.fixture(scope="module")
def posterior():
    return fit(linear, X, Y, engine=Laplace(), key=KEY, draws=4000)


def test_diffusion_along_a_leading_spectrum_is_refused_and_why(posterior):
    """Along three of six directions the others would keep the posterior's variance down to T = 0."""
    leading = fisher_metric(linear, X, at=posterior, method="leading", leading=3)
    assert leading.null_bound == pytest.approx(float(leading.eigenvalues[-1]))
    with pytest.raises(ValueError, match=r"leading eigenvalues alone.*method='dense'"):
        coarse_grain(linear, posterior, leading, scales=(40.0, 0.0), key=KEY)
    whole = fisher_metric(linear, X, at=posterior)
    assert whole.null_bound == 0
    *_, prior = coarse_grain(linear, posterior, whole, scales=(40.0, 0.0), key=KEY).z()
    assert np.var(np.asarray(prior), axis=0, ddof=1) == pytest.approx(np.ones(6), abs=6 * np.sqrt(2 / 4000))
    # what it would have been
    forced = dataclasses.replace(leading, null_bound=0.0)
    *_, wrong = coarse_grain(linear, posterior, forced, scales=(40.0, 0.0), key=KEY).z()
    assert np.var(np.asarray(wrong), axis=0).min() < 0.7


def test_all_the_spectrum_that_is_not_round_off_is_all_there_is(posterior):
    everything = fisher_metric(linear, X, at=posterior, method="leading", leading=6)
    assert everything.null_bound == 0
    coarse_grain(linear, posterior, everything, scales=(40.0, 0.0), key=KEY)


def test_shells_cut_a_leading_spectrum_all_the_same(posterior):
    leading = fisher_metric(linear, X, at=posterior, method="leading", leading=3)
    scales = (0.0, np.inf)
    first, last = coarse_grain(linear, posterior, leading, scheme=Shell(), scales=scales, key=KEY).z()
    assert np.var(np.asarray(first), axis=0).min() < 0.5
    # what the three directions do not span is redrawn as well
    assert np.var(np.asarray(last), axis=0, ddof=1) == pytest.approx(np.ones(6), abs=6 * np.sqrt(2 / 4000))


def test_a_run_with_a_leading_spectrum_is_tempered_and_says_why(monkeypatch):
    monkeypatch.setattr(sys.modules["brg_prob.geometry.site_metric"], "_LARGEST_SIDE", 2)
    monkeypatch.setattr(
        "brg_prob.pipeline.fitted.fisher_metric",
        lambda network, x, at: fisher_metric(network, x, at=at, leading=3),
    )
    engine = NUTS(chains=2, warmup=100, warm_warmup=50)
    for scheme in (None, Diffusion()):  # asked for or not, the posterior is not given up
        done = run(linear, X, Y, key=KEY, engine=engine, scheme=scheme, draws=200, scales=2)
        assert list(done.summary["flows"]) == ["tempering"]
        assert "leading eigenvalues alone" in done.summary["no_prediction"]
