"""Batch-1 SGD without steps, against steps: weights, orders, limits, divergence (T11)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brg_prob import Diffusion, GradientFlow, SgdExact, Shell, coarse_grain, fisher_metric, fit
from brg_prob.posterior import readout_weights
from brg_prob.posterior.gradient_flow import gradient_flow_dual
from brg_prob.posterior.sgd_exact import sgd_dual, sgd_transfer
from brg_prob.results import key_from_json

dual_of, flow_of = jax.jit(sgd_dual), jax.jit(gradient_flow_dual)


def problem(n, parameters, outputs=1, seed=0):
    """Features (n, P), targets (n, o) and first weights (P, o)."""
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape) for shape in ((n, parameters), (n, outputs), (parameters, outputs)))


def cosines(x, hidden):
    """Return the features (n, P)."""
    return np.cos(np.asarray(x) * np.asarray(hidden["w"]) + np.asarray(hidden["b"]))


def stepped(features, y, start, learning_rate, epochs, order=None):
    """The weights after every single step, in weight space: no kernel."""
    w = start.copy()
    for _ in range(epochs):
        for i in range(len(y)) if order is None else order:
            phi = features[i]
            w -= 2 * learning_rate * np.outer(phi, phi @ w - y[i])
    return w


def trained(features, y, start, learning_rate, epochs, **options):
    """The weights by the library, from kernel and residual alone."""
    dual = dual_of(
        features @ features.T, y - features @ start, learning_rate=learning_rate, epochs=epochs, **options
    )
    return start + features.T @ np.asarray(dual)


def test_two_hundred_thousand_steps():
    """n = 200, 1000 epochs, as published; weights to 1e-8 (seen: 2e-13)."""
    features, y, start = problem(200, 60)
    rate = 0.2 / np.square(features).sum(axis=1).max()
    w, target, step = start[:, 0].copy(), y[:, 0].tolist(), 2 * rate
    for _ in range(1000):  # as stepped(), for one output, twice as fast
        for phi, goal in zip(features, target, strict=True):
            w -= step * (phi @ w - goal) * phi
    np.testing.assert_allclose(trained(features, y, start, rate, 1000)[:, 0], w, rtol=0, atol=1e-8)
    # negative controls: the steps backwards, and gradient flow for the same time
    backwards = trained(features[::-1], y[::-1], start, rate, 1000)
    assert np.abs(backwards[:, 0] - w).max() > 1e-3
    flowed = flow_of(features @ features.T, y - features @ start, 2 * rate * 1000)
    assert np.abs(start + features.T @ np.asarray(flowed) - w[:, None]).max() > 1e-3


@pytest.mark.parametrize(("n", "parameters", "outputs"), [(9, 20, 3), (9, 4, 3)], ids=["wide", "narrow"])
def test_any_number_of_epochs_order_and_repeated_inputs(n, parameters, outputs):
    features, y, start = problem(n, parameters, outputs, seed=1)
    features[5:8] = features[:3]
    rate, order = 0.4 / np.square(features).sum(axis=1).max(), np.random.default_rng(2).permutation(n)
    for epochs in (0, 1, 2, 3, 7, 12, 64):
        w = stepped(features, y, start, rate, epochs)
        np.testing.assert_allclose(trained(features, y, start, rate, epochs), w, rtol=0, atol=1e-11)
    w = stepped(features, y, start, rate, 7, order)
    np.testing.assert_allclose(trained(features, y, start, rate, 7, order=order), w, rtol=0, atol=1e-11)
    assert np.abs(w - stepped(features, y, start, rate, 7)).max() > 1e-4


def test_one_program_serves_every_number_of_epochs_and_rate():
    features, y, _ = problem(9, 20)
    dual_of.clear_cache()
    for epochs in (5, 0, 1, 1000, 123_456):
        dual_of(features @ features.T, y, learning_rate=1e-5 * (1 + epochs), epochs=epochs)
    assert dual_of._cache_size() == 1


def test_transfer_is_the_map_of_all_residuals_and_everything_maps():
    features, y, _ = problem(9, 20, 3)
    kernel, options = features @ features.T, {"learning_rate": 0.01, "epochs": 11}
    expected = dual_of(kernel, y, **options)
    np.testing.assert_allclose(np.asarray(jax.jit(sgd_transfer)(kernel, **options)) @ y, expected, rtol=1e-10)
    kernels, epochs = np.stack([kernel, 2 * kernel]), np.array([11, 6])
    each = [dual_of(k, y, learning_rate=0.01, epochs=e) for k, e in zip(kernels, epochs, strict=True)]
    together = jax.jit(jax.vmap(lambda k, e: sgd_dual(k, y, learning_rate=0.01, epochs=e)))(kernels, epochs)
    np.testing.assert_allclose(together, each, rtol=1e-10)


@pytest.mark.parametrize("parameters", [20, 4])
def test_small_steps_become_gradient_flow(parameters):
    """At fixed t = 2ηE the distance of the weights falls as η: slope 1, from η‖K‖ of .02 on."""
    features, y, start = problem(9, parameters, seed=3)
    kernel, time = features @ features.T, 0.1
    flowed = start + features.T @ np.asarray(flow_of(kernel, y - features @ start, time))
    epochs = np.array([2**k for k in range(8, 13)])
    gaps = [np.abs(trained(features, y, start, time / (2 * e), int(e)) - flowed).max() for e in epochs]
    slope = np.polyfit(np.log(time / (2 * epochs)), np.log(gaps), 1)[0]
    assert slope == pytest.approx(1, abs=0.02)
    assert gaps[-1] < 1e-3 * np.abs(flowed - start).max()
    # the intercept: at a time 10 % wrong the distance does not go to zero
    wrong = start + features.T @ np.asarray(flow_of(kernel, y - features @ start, 1.1 * time))
    assert np.abs(wrong - flowed).max() > 10 * gaps[-1]


def test_endless_training_interpolates():
    features, y, start = problem(9, 20, seed=4)
    rate = 0.5 / np.square(features).sum(axis=1).max()
    best = start + np.linalg.lstsq(features, y - features @ start, rcond=None)[0]
    np.testing.assert_allclose(trained(features, y, start, rate, 10**6), best, atol=1e-10)
    np.testing.assert_allclose(features @ best, y, atol=1e-10)


@pytest.mark.parametrize(("times_limit", "grows"), [(1.0, False), (0.3, False), (2.5, True)])
def test_no_step_expands_the_error_up_to_the_stated_limit(times_limit, grows):
    """η ≤ 1/max K_ii: the distance to the interpolant never grows; beyond it may, and is followed exactly."""
    features, y, start = problem(9, 20, seed=5)
    rate = times_limit / np.square(features).sum(axis=1).max()
    best = start + np.linalg.lstsq(features, y - features @ start, rcond=None)[0]
    found = [trained(features, y, start, rate, epochs) for epochs in (0, 1, 2, 3, 60)]
    distance = np.linalg.norm(np.stack(found) - best, axis=(1, 2))
    assert (distance[-1] > 10 * distance[0]) == grows
    assert grows or np.all(np.diff(distance) < 0)
    np.testing.assert_allclose(found[-1], stepped(features, y, start, rate, 60), rtol=1e-9)


def test_draws_are_networks_trained_step_by_step(random_cosines, sine_data, getkey):
    """Raw weights of prior mean .3 and variance .7; fewer weights than inputs; one and several draws each."""
    x, y, *_ = sine_data
    x, targets = np.array(x), np.stack([y, np.square(y)], axis=1)
    x[-4:] = x[:4]
    network = random_cosines(width=12, outputs=2)
    for members in (1, 2):
        engine = SgdExact(0.02, epochs=30, members=members)
        tree = fit(network, x, targets, engine=engine, key=getkey(), draws=2)
        hidden_keys, draw_keys = (key_from_json(tree.attrs[name]) for name in ("hidden_keys", "draw_keys"))
        hidden = network.sample_hidden(hidden_keys[-1])
        dual = jnp.asarray(tree["posterior"]["dual"].values[0, 1])
        start, end = (
            np.asarray(readout_weights(network, x, hidden, draw_keys[-1], 2 - members, c))
            for c in (jnp.zeros_like(dual), dual)
        )
        phi = cosines(x, hidden)
        w = stepped(phi, targets, start, 0.02, 30)
        np.testing.assert_allclose(end, w, atol=1e-10)
        np.testing.assert_allclose(tree["posterior"]["f"].values[0, 1], phi @ w, atol=1e-9)
        assert (tree.attrs["learning_rate"], tree.attrs["epochs"]) == (0.02, 30)


def test_a_small_rate_is_the_engine_of_gradient_flow(random_cosines, sine_data):
    """Same key, same first weights: the two engines meet."""
    x, y, *_ = sine_data
    trees = [
        fit(random_cosines(width=12), x, y, engine=engine, key=jax.random.key(1), draws=2)
        for engine in (SgdExact(1e-7, epochs=10**6), GradientFlow(0.2), GradientFlow(0.3))
    ]
    sgd, flow, wrong = (tree["posterior"]["f"].values for tree in trees)
    np.testing.assert_allclose(sgd, flow, atol=1e-4)
    assert np.abs(sgd - wrong).max() > 1e-3


def test_flows_start_from_a_trained_ensemble(random_cosines, sine_data, getkey):
    """Its own draws first, the prior last; the shell in raw weights regenerates what was trained."""
    x, y, *_ = sine_data
    network = random_cosines(width=12)
    tree = fit(network, x, y, engine=SgdExact(), key=getkey(), draws=200)
    features = cosines(x, network.sample_hidden(key_from_json(tree.attrs["hidden_keys"])[0]))
    limit = 1 / np.square(features).sum(axis=1).max()
    assert tree.attrs["learning_rate"] == pytest.approx(0.1 * limit)
    metric = fisher_metric(network, x, at=tree)
    field = tree["posterior"]["f"].values[0]
    low = stats.norm.isf(1e-5 / 60)  # of 30 correlated means
    for scheme in (Diffusion(), Shell(basis="parameter")):
        scales = (30.0, 0.0) if isinstance(scheme, Diffusion) else (0.0, 1e9)
        flow = coarse_grain(network, tree, metric, scheme=scheme, scales=scales, key=getkey())
        first, last = (np.asarray(f)[..., 0] for f in flow.fields())
        np.testing.assert_array_equal(first, field)
        prior = 0.3 * features.sum(axis=1)
        spread = np.sqrt(0.7 * np.square(features).sum(axis=1) / 200)
        assert np.abs((last.mean(axis=0) - prior) / spread).max() < low
        assert np.abs((first.mean(axis=0) - prior) / spread).max() > 2 * low


def test_divergence_and_other_refusals_say_what_to_do(random_cosines, sine_data, getkey):
    x, y, *_ = sine_data
    network = random_cosines(width=12)
    said = r"learning_rate = 50 diverges: .*within 1000 epochs; .*up to 1/max_i .* = 0\.\d+"
    for members in (1, 2):
        with pytest.raises(ValueError, match=said) as error:
            fit(
                network,
                x,
                y,
                engine=SgdExact(50.0, members=members),
                key=jax.random.key(0),
                draws=2 * members,
            )
        assert "\n" not in str(error.value)
    limit = float(str(error.value).split()[-1])
    fit(network, x, y, engine=SgdExact(limit, members=2), key=jax.random.key(0), draws=4)  # the remedy works
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"learning_rate = {rate} must be positive and finite"):
            SgdExact(rate)
    for epochs in (0, -3, 2**31):
        with pytest.raises(ValueError, match=f"epochs = {epochs} must lie between 1 and"):
            SgdExact(0.1, epochs=epochs)
    with pytest.raises(ValueError, match="members = 0"):
        SgdExact(0.1, members=0)
    with pytest.raises(ValueError, match=r"noise_spread = 0.3; set it to 0, or use Exact\(\)"):
        fit(random_cosines(noise_spread=0.3), x, y, engine=SgdExact(), key=getkey(), draws=2)
    with pytest.raises(ValueError, match=r"observations = 0 is the prior .*give T > 0"):
        fit(network, x, y, engine=SgdExact(), key=getkey(), draws=2, observations=0)


def test_dead_features_train_nothing(random_cosines, sine_data, getkey):
    """All features zero: no largest rate, nothing to learn, no NaN."""

    class Dead(random_cosines):
        def features(self, x, hidden):
            return 0 * super().features(x, hidden)

    x, y, *_ = sine_data
    tree = fit(Dead(width=12), x, y, engine=SgdExact(), key=getkey(), draws=2)
    assert np.all(tree["posterior"]["f"].values == 0)
