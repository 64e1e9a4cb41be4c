"""One path: a network is held against what it states, whatever engine drew its posterior."""

import dataclasses

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers

import brg_prob
from brg_prob import (
    NUTS,
    ClosedForm,
    ExactRG,
    Laplace,
    Shell,
    coarse_grain,
    erg_prediction,
    fisher_metric,
    fit,
)
from models.cosnet import CosNet

BOX, N = 10.0, 32
X = np.arange(N)[:, None] * (BOX / N)
LATTICE = CosNet(box=BOX, cutoff=4.0, mass=1.0, noise=0.3)
Y = np.asarray(handlers.trace(handlers.seed(LATTICE, jax.random.key(3))).get_trace(X)["y"]["value"])
SCALES = (float(N), 8.0, 1.0)


def flowed(network, engine, scheme=None, scales=SCALES, draws=4000):
    posterior = fit(network, X, Y, engine=engine, key=jax.random.key(0), draws=draws)
    metric = fisher_metric(network, X, at=posterior, y=Y)
    return coarse_grain(network, posterior, metric, scheme=scheme, scales=scales, key=jax.random.key(1))


@pytest.fixture(scope="module")
def by_laplace():
    return flowed(LATTICE, Laplace())


def test_a_cosnet_by_laplace_is_held_against_the_exact_renormalization_group(by_laplace):
    found = brg_prob.check_correspondence(by_laplace, controls=True)
    assert found.verdict == "consistent"
    assert {"propagator", "Fisher spectrum", "tempered mean"} <= {check.name for check in found.checks}
    assert {"theory", "checks"} <= set(found.tree.children)
    wrong = ExactRG(erg_prediction(CosNet(box=BOX, cutoff=4.0, mass=1.1, noise=0.3), X))
    otherwise = brg_prob.check_correspondence(by_laplace, wrong)
    assert otherwise.verdict == "inconsistent"
    propagator = next(check for check in otherwise.checks if check.name == "propagator")
    assert propagator.verdict == "inconsistent"  # beside the Fisher spectrum, which needs no draws


def test_the_fisher_spectrum_of_two_outputs_is_that_of_each():
    # a metric over all latent sites has every λ(p) once for each output
    network = dataclasses.replace(LATTICE, outputs=2)
    both = np.asarray(handlers.trace(handlers.seed(network, jax.random.key(4))).get_trace(X)["y"]["value"])
    posterior = fit(network, X, both, engine=Laplace(), key=jax.random.key(0), draws=200)
    metric = fisher_metric(network, X, at=posterior, y=both)
    flow = coarse_grain(network, posterior, metric, scales=(float(N), 1.0), key=jax.random.key(1))
    for mass, verdict in ((1.0, "consistent"), (1.1, "inconsistent")):
        against = ExactRG(erg_prediction(dataclasses.replace(network, mass=mass), X))
        found = {check.name: check for check in brg_prob.check_correspondence(flow, against).checks}
        assert found["Fisher spectrum"].verdict == verdict
    for change in (0.5, 2.0):  # one output's eigenvalues moved: the other's do not hide it
        eigenvalues = np.array(metric.eigenvalues)
        eigenvalues[::2] *= change
        moved = dataclasses.replace(flow, metric=dataclasses.replace(metric, eigenvalues=eigenvalues))
        found = {check.name: check for check in brg_prob.check_correspondence(moved).checks}
        assert found["Fisher spectrum"].verdict == "inconsistent"


@pytest.mark.slow
def test_a_cosnet_by_nuts_is_held_against_the_exact_renormalization_group():
    # chains: the laws of the checks are simulated; T small, where the data do not drown the mass
    flow = flowed(LATTICE, NUTS(warmup=300), scales=(float(N), 4.0, 0.5, 0.05))
    assert not flow.independent
    found = brg_prob.check_correspondence(flow, ExactRG(), controls=True)
    assert found.verdict != "inconsistent"
    for check in found.checks[:2]:
        assert "4 chains of 1000 draws" in check.detail
    rejected = {check.name: check.p_value < 1e-3 for check in found.checks if check.role == "control"}
    assert rejected and all(rejected.values())
    wrong = ExactRG(erg_prediction(dataclasses.replace(LATTICE, mass=1.1), X))
    checks = {check.name: check for check in brg_prob.check_correspondence(flow, wrong).checks}
    assert checks["propagator"].verdict == "inconsistent"  # beside the Fisher spectrum, which needs no draws


def test_its_shells_are_momentum_shells(by_laplace):
    flow = coarse_grain(
        LATTICE,
        by_laplace.start,
        by_laplace.metric,
        scheme=Shell(),
        scales=(1 / N, 0.5),
        key=jax.random.key(2),
    )
    assert brg_prob.check_correspondence(flow, ExactRG()).verdict == "consistent"
    assert "a shell is the posterior at no T" in ClosedForm().applies(flow)


def test_hidden_layers_and_noise_of_each_draw_are_said_and_exact_draws_are_the_remedy():
    flow = flowed(CosNet(width=40, cutoff=4.0, mass=1.0, noise=0.3), Laplace(), draws=50)
    assert "holds given w, b, of which here every draw has its own" in ExactRG().applies(flow)
    assert "holds given w, b" in ClosedForm().applies(flow)
    readout = fisher_metric(flow.network, X, at=flow.start, y=Y, sites=("readout",))
    alone = coarse_grain(flow.network, flow.start, readout, scales=SCALES, key=jax.random.key(1))
    assert "w, b" in ExactRG().applies(alone)  # one metric at their mean is none of theirs
    sampled = dataclasses.replace(LATTICE, noise_spread=0.5)
    assert "holds given noise" in ExactRG().applies(flowed(sampled, Laplace(), draws=50))
    for network in (flow.network, sampled):
        posterior = fit(network, X, Y, key=jax.random.key(0), draws=50)
        metric = fisher_metric(network, X, at=posterior)
        exact = coarse_grain(network, posterior, metric, scales=SCALES, key=jax.random.key(1))
        assert ExactRG().applies(exact) is None
    with pytest.raises(ValueError, match=r"no hypothesis applies to this flow: the exact .* w, b"):
        brg_prob.check_correspondence(flow)


def test_a_model_that_states_nothing_is_told_what_would_state_it():
    def line(x, y=None):
        numpyro.sample("y", dist.Normal(numpyro.sample("b", dist.Normal(0, 1)) * x[:, 0], 1), obs=y)

    flow = flowed(line, Laplace(), draws=50)
    assert "line states no exact renormalization group (capability FreeField" in ExactRG().applies(flow)
    assert "line declares no linear readout (capability LinearReadout: " in ClosedForm().applies(flow)
    with pytest.raises(ValueError, match=r"hold it against SampledAnew\(truth\), .*Tempering\(NUTS\(\)\)"):
        brg_prob.check_correspondence(flow)


def test_a_run_by_any_engine_has_the_checks_of_what_its_network_states():
    run = brg_prob.run(
        LATTICE, X, Y, key=jax.random.key(0), engine=Laplace(), draws=2000, scales=2, second=None
    )
    names = [check["name"] for check in run.summary["checks"]]
    assert names[:3] == ["propagator", "trained mean", "Fisher spectrum"]
    assert names[-4:-1] == ["each parameter", "joint law", "convergence"]
    assert run.summary["no_prediction"] is None
    assert "theory" in run.tree.children


def test_a_mistake_inside_a_hypothesis_is_no_reason_to_leave_it_out(monkeypatch):
    def broken(*args, **options):
        raise ValueError("a mistake of the program")

    monkeypatch.setattr("brg_prob.correspondence.hypotheses.check_free_field", broken)
    with pytest.raises(ValueError, match="a mistake of the program"):
        brg_prob.run(LATTICE, X, Y, key=jax.random.key(0), draws=200, scales=2, second=None)
