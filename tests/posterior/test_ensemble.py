"""The engine `ensemble`: steps against loops and gradients written by hand; its trees in flows (T11)."""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brg_prob import Diffusion, Ensemble, GradientFlow, Shell, coarse_grain, fisher_metric, fit
from brg_prob.geometry import hidden_layers
from brg_prob.posterior import network_training
from brg_prob.posterior.descent_steps import Batches, recorded_epochs
from brg_prob.posterior.network_training import Training, stable_rate
from brg_prob.posterior.readout_members import prior_weights
from brg_prob.posterior.sgd_exact import sgd_dual
from brg_prob.results import key_from_json
from models.cosnet import CosNet

N, DRAWS = 12, 3
"""Shapes are the same wherever they may be: each other one compiles the training again."""

LOOP = Ensemble(batch_size=1, shuffle=False, learning_rate=0.03, epochs=40)
LAYERS = Ensemble(layers="all", epochs=30)
ADAM = Ensemble(layers="all", optimiser="adam", learning_rate=0.02, batch_size=5, epochs=4)

dual_of = jax.jit(sgd_dual)
dealt = jax.jit(Batches(N, 5, True).dealt)


@pytest.fixture(scope="module")
def data():
    """Twelve inputs of which two coincide, two targets each."""
    x = np.linspace(0.0, 3.0, N)[:, None]
    x[5] = x[4]
    return x, np.stack([np.sin(2 * x[:, 0]), np.cos(x[:, 0]) + 0.1 * np.arange(N)], axis=1)


@pytest.fixture(scope="module")
def fitted(data):
    """Return the function (network, engine, seed, draws) → tree with two points held out; trained once."""
    x, y = data

    @lru_cache
    def run(network, engine, seed=8, draws=DRAWS):
        held_out = (x[:2] + 0.1, y[:2])
        return fit(network, x, y, engine=engine, key=jax.random.key(seed), draws=draws, held_out=held_out)

    return run


@lru_cache
def _sampler(network):
    return jax.jit(network.sample_hidden)


def start_of(network, tree, draw):
    """Return hidden layers and raw readout of a network before training."""
    hidden_keys, draw_keys = (key_from_json(tree.attrs[name]) for name in ("hidden_keys", "draw_keys"))
    member, number = divmod(draw, tree.attrs["draws_per_member"])
    hidden = {name: np.asarray(leaf) for name, leaf in _sampler(network)(hidden_keys[member]).items()}
    white = np.asarray(prior_weights(draw_keys[member], number, (network.width, network.outputs)))
    return hidden, network.mean + np.sqrt(network.variance) * white


def cosines(x, hidden):
    """Return the features (n, P)."""
    return np.cos(x * hidden["w"] + hidden["b"])


def readout_of(tree, draw):
    """Return the trained raw readout (P, o)."""
    return tree["trained"]["readout"].values[0, draw]


@pytest.mark.parametrize("width", [8, 20], ids=["primal", "dual"])
def test_batches_of_one_in_order_are_the_plain_loop_and_its_closed_form(random_cosines, fitted, data, width):
    """Raw weights, w ← w − 2η(f(x_i) − y_i)φ(x_i), to 1e-10; n = 12 with a repeated input (rank ≤ 11)."""
    x, target = data
    network, rate, epochs = random_cosines(width=width, outputs=2), LOOP.learning_rate, LOOP.epochs
    tree = fitted(network, LOOP)
    for draw in (0, 1):
        hidden, first = start_of(network, tree, draw)
        phi = cosines(x, hidden)
        weights = first.copy()
        for _ in range(epochs):
            for i in range(N):
                weights -= 2 * rate * np.outer(phi[i], phi[i] @ weights - target[i])
        np.testing.assert_allclose(readout_of(tree, draw), weights, atol=1e-10)
        np.testing.assert_allclose(tree["posterior"]["f"].values[0, draw], phi @ weights, atol=1e-10)
        kernel, residual = phi @ phi.T, target - phi @ first
        dual = dual_of(kernel, residual, learning_rate=rate, epochs=epochs)
        np.testing.assert_allclose(readout_of(tree, draw), first + phi.T @ dual, atol=1e-10)
        # negative control: the same steps in another order end elsewhere
        back = dual_of(kernel[::-1, ::-1], residual[::-1], learning_rate=rate, epochs=epochs)[::-1]
        assert np.abs(readout_of(tree, draw) - first - phi.T @ back).max() > 1e-4
    loss = tree["training"]["loss"].values[0, 1]
    assert loss[0] == pytest.approx(np.mean(np.sum((phi @ first - target) ** 2, axis=1)), rel=1e-12)
    assert loss[-1] == pytest.approx(np.mean(np.sum((phi @ weights - target) ** 2, axis=1)), rel=1e-8)


def test_small_full_steps_are_gradient_flow(random_cosines, fitted):
    """t = 2ηE/n, with the same starting points under the same key; the difference is of first order in η."""
    network, time = random_cosines(width=20, outputs=2), 2.0
    flow = fitted(network, GradientFlow(time=time, members=DRAWS))
    deviations = []
    for epochs in (1000, 2000):
        tree = fitted(network, Ensemble(learning_rate=time * N / (2 * epochs), epochs=epochs))
        deviations.append(
            [np.abs(tree[g]["f"].values - flow[g]["f"].values).max() for g in ("posterior", "predictions")]
        )
        np.testing.assert_allclose(tree["log_prior"]["readout"], flow["log_prior"]["readout"], rtol=1e-2)
    first, second = np.asarray(deviations)
    assert second.max() < 0.01
    np.testing.assert_allclose(first / second, 2, rtol=0.05)


def cosine_gradients(x, y, hidden, readout):
    """Return gradients of the mean of (f − y)², f = Σ_p a_p cos(w_p x + b_p), worked out by hand."""
    phase = x * hidden["w"][None] + hidden["b"][None]
    error = 2 * (np.cos(phase) @ readout - y) / len(x)
    inner = -np.sin(phase) * (error @ readout.T)
    return {"w": (inner * x).sum(0), "b": inner.sum(0)}, np.cos(phase).T @ error


def test_steps_on_all_layers_follow_the_gradient_written_by_hand(random_cosines, fitted, data):
    network = random_cosines(width=8, outputs=2)
    tree = fitted(network, LAYERS)
    rate = tree.attrs["learning_rate"]
    for draw in range(DRAWS):
        start, readout = start_of(network, tree, draw)
        hidden = start
        for _ in range(LAYERS.epochs):
            inner, outer = cosine_gradients(*data, hidden, readout)
            readout = readout - rate * outer
            hidden = {name: hidden[name] - rate * gradient for name, gradient in inner.items()}
        np.testing.assert_allclose(readout_of(tree, draw), readout, atol=1e-13)
        for name, leaf in hidden.items():
            found = tree["trained"][name].values[draw]
            np.testing.assert_allclose(found, leaf, atol=1e-13)
            assert np.abs(found - start[name]).max() > 1e-4
    moved = {name: np.asarray(leaf) for name, leaf in hidden_layers(network, tree)[2].items()}
    field = cosines(data[0], moved) @ readout_of(tree, 2)
    np.testing.assert_allclose(tree["posterior"]["f"].values[0, 2], field, atol=1e-12)


def test_adam_in_shuffled_batches_is_a_plain_optax_loop(random_cosines, fitted, data):
    """Batches of 5 out of 12: the last of an epoch has two samples, each sample comes once, orders differ."""
    x, y = data
    network = random_cosines(width=8, outputs=2)
    tree = fitted(network, ADAM)
    hidden, readout = start_of(network, tree, 1)
    order = jax.random.fold_in(key_from_json(tree.attrs["draw_keys"])[1], 1)
    rule = optax.adam(0.02)
    update, parameters = jax.jit(rule.update), (hidden, readout)
    state, orders = rule.init(parameters), []
    for epoch in range(ADAM.epochs):
        rows, weight = dealt(order, epoch)
        rows = [np.asarray(row)[np.asarray(w) > 0] for row, w in zip(rows, weight, strict=True)]
        assert [len(row) for row in rows] == [5, 5, 2]
        assert sorted(np.concatenate(rows)) == list(range(N))
        orders.append(tuple(np.concatenate(rows)))
        for row in rows:
            updates, state = update(cosine_gradients(x[row], y[row], *parameters), state)
            parameters = jax.tree.map(np.add, parameters, updates)
    assert len(set(orders)) == ADAM.epochs
    np.testing.assert_allclose(readout_of(tree, 1), parameters[1], atol=1e-12)
    np.testing.assert_allclose(tree["trained"]["w"].values[1], parameters[0]["w"], atol=1e-12)


@pytest.mark.parametrize("width", [8, 20], ids=["primal", "dual"])
def test_shuffled_batches_of_a_readout_are_a_plain_loop(random_cosines, fitted, data, width):
    """In the weights and in the dual, n = 12 above and below P, over the batches dealt."""
    x, y = data
    network = random_cosines(width=width, outputs=2)
    tree = fitted(network, Ensemble(batch_size=5, epochs=3, learning_rate=0.02))
    hidden, weights = start_of(network, tree, 1)
    phi = cosines(x, hidden)
    order = jax.random.fold_in(key_from_json(tree.attrs["draw_keys"])[1], 1)
    for epoch in range(3):
        for row, weight in zip(*map(np.asarray, dealt(order, epoch)), strict=True):
            error = weight[:, None] * (phi[row] @ weights - y[row])
            weights = weights - 2 * 0.02 * phi[row].T @ error
    np.testing.assert_allclose(readout_of(tree, 1), weights, atol=1e-12)


def test_a_key_repeats_bit_for_bit_and_networks_do_not_know_how_many_there_are(random_cosines, fitted):
    network = random_cosines(width=8, outputs=2)
    again = fitted.__wrapped__(network, ADAM)
    trees = fitted(network, ADAM), again, fitted(network, ADAM, 6), fitted(network, ADAM, draws=7)
    assert trees[0] is not again
    first, again, other, more = (tree["posterior"]["f"].values[0] for tree in trees)
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)
    np.testing.assert_allclose(more[:3], first, atol=1e-11)


def test_members_share_hidden_layers_and_not_readouts(random_cosines, fitted):
    network, engine = random_cosines(width=8, outputs=2), Ensemble(epochs=30, members=2)
    tree = fitted(network, engine, draws=6)
    assert tree["posterior"]["member"].values.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert set(tree["trained"].data_vars) == {"readout"}  # frozen hidden layers regenerate from their keys
    assert np.unique(tree["trained"]["readout"].values).size == 6 * 8 * 2
    # the default rate is that of the first network, however many there are
    own = fitted(network, dataclasses.replace(engine, members=None))
    assert own["posterior"]["member"].values.tolist() == [[0, 1, 2]]
    assert own.attrs["learning_rate"] == tree.attrs["learning_rate"]
    np.testing.assert_allclose(readout_of(tree, 0), readout_of(own, 0), atol=1e-11)
    # nothing hidden: one member
    assert engine._shared(CosNet(box=4.0, cutoff=9.0), 6) == 2
    assert Ensemble()._shared(CosNet(box=4.0, cutoff=9.0), 6) == 1


@pytest.mark.parametrize("layers", ["readout", "all"])
def test_flows_act_on_the_trained_weights_and_the_trained_hidden_layers(random_cosines, fitted, data, layers):
    x = data[0]
    network = random_cosines(width=8, outputs=2)
    tree = fitted(network, dataclasses.replace(LAYERS, layers=layers))
    metric = fisher_metric(network, x, at=tree)
    layers_of = hidden_layers(network, tree)
    untrained = start_of(network, tree, 2)[0]
    assert np.array_equal(layers_of[2]["w"], untrained["w"]) == (layers == "readout")
    moved = {name: np.asarray(leaf) for name, leaf in layers_of[2].items()}
    phi = cosines(np.concatenate([x, x[:2] + 0.1]), moved)
    spectrum = np.linalg.eigvalsh(network.variance * phi[:N] @ phi[:N].T / (N * network.noise**2))[::-1][:8]
    np.testing.assert_allclose(metric.member(2).eigenvalues, spectrum, atol=1e-10 * spectrum[0])
    diagonal = np.mean(phi[:N] ** 2, axis=0) / network.noise**2
    cutoff = float(np.sort(diagonal)[3:5].mean())  # between two neurons: no rounding decides
    shell = Shell(basis="parameter", action="drop")
    flow = coarse_grain(network, tree, metric, scheme=shell, scales=[0.0, cutoff], key=jax.random.key(0))
    kept, dropped = (np.concatenate([m.at() for m in members])[2] for members in flow.draws())
    np.testing.assert_array_equal(kept[:N], tree["posterior"]["f"].values[0, 2])
    weights = np.where((diagonal >= cutoff)[:, None], readout_of(tree, 2), network.mean)
    np.testing.assert_allclose(dropped, phi @ weights, atol=1e-10)
    with pytest.raises(ValueError, match=r"are trained networks, .* so no theory of theirs is known"):
        dataclasses.replace(flow, scheme=Shell(basis="parameter")).theory_at(cutoff, member=2)
    # what was flowed knows its hidden layers too, and may be flowed again
    again = flow.posterior_at(cutoff)
    np.testing.assert_allclose(hidden_layers(network, again)[2]["w"], moved["w"], atol=1e-12)
    coarse_grain(network, again, metric, scales=[2.0], key=jax.random.key(1)).tree  # noqa: B018
    with pytest.raises(ValueError, match="basis='parameter' needs the weights"):
        coarse_grain(network, again, metric, scheme=shell, scales=[1.0], key=jax.random.key(1)).tree  # noqa: B018


@pytest.mark.parametrize(
    "engine",
    [Ensemble(epochs=30, shuffle=False), dataclasses.replace(LOOP, learning_rate=None)],
    ids=["all", "one"],
)
def test_steps_too_large_are_refused_with_the_largest_stable_one(random_cosines, fitted, data, engine):
    """The limit named is the largest at which no step expands the error: beyond 1/λ_max modes grow."""
    network = random_cosines(width=8, outputs=2)
    with pytest.raises(
        ValueError, match=r"learning_rate = 40 is too large: network 0 of 3 diverged by"
    ) as error:
        fitted(network, dataclasses.replace(engine, learning_rate=40.0))
    line = str(error.value)
    assert "\n" not in line
    tree = fitted(network, engine)
    phi = cosines(data[0], start_of(network, tree, 0)[0])
    limit = 1 / (phi**2).sum(1).max() if engine.batch_size else N / np.linalg.norm(phi, 2) ** 2
    assert tree.attrs["learning_rate"] == pytest.approx(0.1 * limit, rel=1e-3)
    assert f"up to {limit:.2g}" in line
    assert np.all(np.diff(tree["training"]["loss"].values, axis=-1) < 0)


def test_the_stable_rate_of_all_layers_is_that_of_the_tangent_kernel(random_cosines, fitted, data):
    x, network = data[0], random_cosines(width=8, outputs=2)
    tree = fitted(network, LAYERS)
    hidden, readout = start_of(network, tree, 0)
    phi, slope = cosines(x, hidden), -np.sin(x * hidden["w"] + hidden["b"])
    inner = slope[:, None, :] * readout.T  # ∂f/∂b, (n, o, P)
    outer = np.einsum("np,oq->noqp", phi, np.eye(2)).reshape(N, 2, -1)
    rows = np.concatenate([inner, x[:, :, None] * inner, outer], axis=2).reshape(2 * N, -1)
    limit = N / np.linalg.norm(rows @ rows.T, 2)
    assert tree.attrs["learning_rate"] == pytest.approx(0.1 * limit, rel=1e-3)
    norms = [np.linalg.norm(block @ block.T, 2) for block in rows.reshape(N, 2, -1)]
    keys = tuple(key_from_json(tree.attrs[name])[0] for name in ("hidden_keys", "draw_keys"))
    how = Training("sgd", True, Batches(N, 3, True), 1)
    assert stable_rate(network, how, jnp.asarray(x), keys, 0) == pytest.approx(1 / max(norms), rel=1e-12)


def test_another_rate_or_number_of_epochs_compiles_nothing_new(random_cosines, fitted):
    network, how = random_cosines(width=20, outputs=2), Training("sgd", False, Batches(N, N, False), 1)
    programs = []
    for rate, epochs in ((0.05, 100), (0.02, 100), (0.05, 333)):
        fitted(network, Ensemble(learning_rate=rate, epochs=epochs))
        programs.append(network_training._trainer(network, how)._cache_size())
    assert programs == [1, 1, 1]


def test_losses_are_kept_at_the_first_the_last_and_even_epochs():
    assert recorded_epochs(1).tolist() == [0, 1]
    kept = recorded_epochs(100_000)
    assert kept[0] == 0 and kept[-1] == 100_000 and kept.size == 65


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members = 0 is too few"),
        ({"epochs": 0}, "epochs = 0 is too few"),
        ({"epochs": float("nan")}, "epochs = nan is too few"),
        ({"batch_size": 0}, "batch_size = 0 is too few"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 must be positive and finite"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate = nan must be positive"),
        ({"learning_rate": float("inf")}, "learning_rate = inf must be positive"),
        ({"optimiser": "adma"}, "optimiser = 'adma' is unknown; use sgd or adam"),
        ({"layers": "hidden"}, "layers = 'hidden' is unknown; use readout or all"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**options)


@pytest.mark.parametrize(
    ("network", "options", "arguments", "message"),
    [
        (
            CosNet(width=5),
            {"batch_size": 13},
            {},
            "batch_size = 13 exceeds the 12 training samples; use at most 12",
        ),
        (CosNet(width=5), {"members": 2}, {"draws": 3}, "draws = 3 cannot be shared among members = 2"),
        (CosNet(box=4.0), {"members": 2, "layers": "all"}, {"draws": 4}, "members = 2: with layers='all'"),
        (
            CosNet(width=5),
            {"layers": "all"},
            {},
            "b, w of CosNet is confined to a range; use layers='readout'",
        ),
        (CosNet(width=5), {}, {"observations": 0.0}, "observations = 0 is the prior"),
        (CosNet(width=5, noise_spread=0.3), {}, {}, "noise_spread = 0.3; set it to 0"),
        (CosNet(width=5), {}, {"x": jnp.ones((11, 1))}, "x has 11 rows and y 12"),
        (CosNet(width=5, outputs=3), {}, {}, r"y has 1 column\(s\) and the network 3 output\(s\)"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(data, network, options, arguments, message):
    x, y = data
    arguments = {"x": x, "y": y[:, 0], "draws": 2, **arguments}
    with pytest.raises(ValueError, match=message) as error:
        fit(network, engine=Ensemble(epochs=2, **options), key=jax.random.key(0), **arguments)
    assert "\n" not in str(error.value)


def test_diffusion_of_trained_networks_runs_member_by_member(random_cosines, fitted, data):
    """As many members as draws: fields at the posterior's own scale are the networks', bit for bit."""
    network = random_cosines(width=8, outputs=2)
    tree = fitted(network, LAYERS)
    metric = fisher_metric(network, data[0], at=tree)
    assert metric.members == DRAWS
    assert "trained" in metric.status
    flow = coarse_grain(
        network, tree, metric, scheme=Diffusion(), scales=[float(N), 1.0], key=jax.random.key(2)
    )
    first, last = flow.fields()
    np.testing.assert_array_equal(first, tree["posterior"]["f"].values[0])
    assert np.abs(np.asarray(last) - np.asarray(first)).max() > 0.1
