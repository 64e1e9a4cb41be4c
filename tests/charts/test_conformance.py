"""What every chart, scheme and hypothesis has to do, whatever it is of."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from brg_prob import NUTS, Diffusion, Ensemble, Exact, Shell, coarse_grain, fisher_metric, fit
from brg_prob.charts import Chart, ModeChart
from brg_prob.correspondence import ClosedForm, ExactRG, Hypothesis, SampledAnew, check_correspondence
from brg_prob.flow import Scheme, Tempering
from models.cosnet import CosNet
from models.poisson import PoissonRegression

KEY = jax.random.key(3)
X = np.arange(20)[:, None] / 4.0
Y = np.sin(X[:, 0])
LATTICE = CosNet(box=5.0, cutoff=6.0)
SAMPLER = NUTS(chains=2, warmup=100, warm_warmup=50)


def fitted(network, engine, y=Y, draws=400):
    posterior = fit(network, X, y, engine=engine, key=KEY, draws=draws)
    return network, posterior, fisher_metric(network, X, at=posterior)


CASES = {
    "readout": lambda: fitted(LATTICE, Exact()),
    "hidden": lambda: fitted(CosNet(width=12, cutoff=6.0), Exact()),
    "several σ": lambda: fitted(dataclasses.replace(LATTICE, noise_spread=0.3), Exact()),
    "members": lambda: fitted(CosNet(width=12, cutoff=6.0), Ensemble(members=4, epochs=20)),
    "sites": lambda: fitted(LATTICE, SAMPLER),
    "counts": lambda: fitted(PoissonRegression(), SAMPLER, y=np.arange(20) % 4),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]()


def flow_of(case, scheme=None, scales=(20.0, 5.0)):
    return coarse_grain(*case, scheme=scheme, scales=scales, key=KEY)


def fields(flow):
    return [np.asarray(field) for field in flow.fields()]


@pytest.mark.parametrize("basis", ["eigen", "parameter"])
def test_a_chart_says_what_it_is(case, basis):
    flow = flow_of(case, Shell(basis=basis), (0.0,))
    chart = flow.chart()
    assert isinstance(chart, Chart)
    values = np.asarray(chart.information)
    assert (values >= 0).all()
    assert chart.unit in ("whitened", "raw")
    assert chart.null_bound == 0
    if basis == "eigen":
        assert isinstance(chart, ModeChart)
        assert (np.diff(values) <= 0).all()


def test_a_mode_chart_goes_there_and_back_and_returns_what_did_not_move(case):
    flow = flow_of(case)
    chart = flow.chart()
    z = chart.modes(chart.start)
    alive = np.asarray(chart.information) > 0
    moved = np.asarray(z + 0.5)
    again = np.asarray(chart.modes(chart.moved(jax.numpy.asarray(moved))))
    np.testing.assert_allclose(again[:, alive], moved[:, alive], atol=1e-6)
    kept = np.ones((1, alive.size), bool)
    assert next(iter(chart.replaced(kept, np.ones(1, bool), drop=True))) is chart.start


def test_a_chart_at_its_prior_is_standard_normal_and_dropped_is_exactly_nothing(case):
    chart = flow_of(case).chart()
    alive = np.asarray(chart.information) > 0
    z, _ = chart.at_prior(drop=False)
    assert stats.kstest(np.asarray(z)[:, alive].ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(1.5 * np.asarray(z)[:, alive].ravel(), "norm").pvalue < 1e-3
    z, null = chart.at_prior(drop=True)
    assert not np.any(z)
    gone = np.asarray(chart.coordinates(chart.moved(z, null)))
    assert np.abs(gone).max() < 1e-8


@pytest.mark.parametrize("scheme", [Diffusion(), Shell(), Shell(basis="parameter"), Shell(keep="sloppy")])
def test_a_scheme_leaves_its_first_scale_alone_and_ends_nearer_the_prior(case, scheme):
    posterior = case[1]
    rising = scheme.cut(0.0) is not None
    scales = (0.0, 1e12) if rising else (20.0, 0.0)
    flow = flow_of(case, scheme, scales)
    assert isinstance(scheme, Scheme)
    assert scheme.check_scales(scales, 20.0) == scales
    with pytest.raises(ValueError, match="towards the prior"):
        scheme.check_scales(scales[::-1], 20.0)
    first, last = fields(flow)
    np.testing.assert_array_equal(
        first.reshape(posterior["posterior"]["f"].shape), posterior["posterior"]["f"]
    )
    assert not np.allclose(first, last)
    again = fields(flow)
    np.testing.assert_array_equal(last, again[1])  # a flow can be replayed
    # what data pinned has the prior's spread again
    assert last.std(axis=0).mean() > 1.2 * first.std(axis=0).mean()


def test_a_reversed_drop_leaves_what_the_data_cannot_see(case):
    """A reversed shell ranks what has information; the rest stays, dropped or not."""
    flow = flow_of(case, Shell(action="drop", keep="sloppy"), (0.0, 1e12))
    first, last = (draws[0] for draws in flow.draws())
    chart = flow.chart()
    values = np.asarray(chart.information)
    strong = values > 1e-6 * values[0]  # z is rounding over √λ
    np.testing.assert_allclose(_null(chart, first), _null(chart, last), atol=1e-8)
    assert np.abs(np.asarray(chart.modes(last))[:, strong]).max() < 1e-8


def _null(chart, draws):
    """Return what the modes do not span, as coordinates or as a field."""
    z = chart.modes(draws)
    if not hasattr(draws, "at"):
        return np.asarray(draws.z - z[:, :, 0] @ chart.metric.directions)
    return np.asarray(draws.at() - jax.numpy.einsum("mr,sro->smo", chart.mode_fields, z))


def test_a_hypothesis_applies_or_says_why_not(case):
    flow = flow_of(case)
    for hypothesis in (ExactRG(), ClosedForm(), SampledAnew(flow)):
        assert isinstance(hypothesis, Hypothesis)
        reason = hypothesis.applies(flow)
        if reason is None:
            rows = check_correspondence(flow, hypothesis, key=KEY).rows()
            assert {row["verdict"] for row in rows} <= {"consistent", "inconsistent", "undetermined"}
        else:
            assert reason and not reason.endswith(".")
            with pytest.raises(ValueError, match=f"{type(hypothesis).__name__} does not apply"):
                check_correspondence(flow, hypothesis)


def test_every_posterior_has_the_same_groups_and_y_drawn_anew_has_its_law(case):
    posterior = case[1]
    groups = {
        "posterior",
        "posterior_predictive",
        "log_likelihood",
        "log_prior",
        "observed_data",
        "constant_data",
    }
    assert groups <= set(posterior.children)
    drawn = posterior["posterior_predictive"]["y"]
    assert drawn.sizes == posterior["log_likelihood"]["y"].sizes


def test_a_readouts_predictive_draws_are_its_field_and_noise():
    _, posterior, _ = CASES["readout"]()
    error = (posterior["posterior_predictive"]["y"] - posterior["posterior"]["f"]).values.ravel()
    assert stats.kstest(error / LATTICE.noise, "norm").pvalue > 1e-3
    assert stats.kstest(error / (1.1 * LATTICE.noise), "norm").pvalue < 1e-3


def test_tempering_says_what_engine_it_needs():
    network, posterior, metric = CASES["readout"]()
    with pytest.raises(ValueError, match=r"use Diffusion\(\)"):
        coarse_grain(network, posterior, metric, scheme=Tempering(NUTS()), scales=(20.0,), key=KEY)
    with pytest.raises(ValueError, match="runs an engine of any model"):
        Tempering().with_engine(Exact())
