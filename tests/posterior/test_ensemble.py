"""The engine `ensemble`: steps against loops and gradients written by hand; its trees in flows (T11)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brg_prob import Diffusion, Ensemble, GradientFlow, Shell, coarse_grain, fisher_metric, fit
from brg_prob.geometry import hidden_layers
from brg_prob.posterior.members import prior_weights
from brg_prob.posterior.sgd_exact import sgd_dual
from brg_prob.posterior.training import Batches, largest_rate, recorded_epochs
from brg_prob.results import key_from_json
from models.cosnet import CosNet

N = 12


@pytest.fixture
def data():
    """Twelve inputs of which two coincide, two targets each."""
    x = np.linspace(0.0, 3.0, N)[:, None]
    x[5] = x[4]
    return jnp.asarray(x), jnp.stack([jnp.sin(2 * x[:, 0]), jnp.cos(x[:, 0]) + 0.1 * jnp.arange(N)], axis=1)


def start_of(network, tree, draw):
    """Return hidden layers and raw readout of a network before training."""
    hidden_keys, draw_keys = (key_from_json(tree.attrs[name]) for name in ("hidden_keys", "draw_keys"))
    member, number = divmod(draw, tree.attrs["draws_per_member"])
    hidden = {name: np.asarray(leaf) for name, leaf in network.sample_hidden(hidden_keys[member]).items()}
    white = np.asarray(prior_weights(draw_keys[member], number, (network.width, network.outputs)))
    return hidden, network.mean + np.sqrt(network.variance) * white


def readout_of(tree, draw):
    """Return the trained raw readout (P, o)."""
    return tree["trained"]["readout"].values[0, draw]


@pytest.mark.parametrize("width", [8, 20], ids=["primal", "dual"])
def test_batches_of_one_in_order_are_the_plain_loop_and_its_closed_form(random_cosines, data, width):
    """Raw weights, w ← w − 2η(f(x_i) − y_i)φ(x_i), to 1e-10; n = 12 with a repeated input (rank ≤ 11)."""
    x, y = data
    network, rate, epochs = random_cosines(width=width, outputs=2), 0.03, 40
    engine = Ensemble(members=1, batch_size=1, shuffle=False, learning_rate=rate, epochs=epochs)
    tree = fit(network, x, y, engine=engine, key=jax.random.key(1), draws=2)
    for draw in (0, 1):
        hidden, first = start_of(network, tree, draw)
        phi, target = np.asarray(network.features(x, hidden)), np.asarray(y)
        weights = first.copy()
        for _ in range(epochs):
            for i in range(N):
                weights -= 2 * rate * np.outer(phi[i], phi[i] @ weights - target[i])
        np.testing.assert_allclose(readout_of(tree, draw), weights, atol=1e-10)
        np.testing.assert_allclose(tree["posterior"]["f"].values[0, draw], phi @ weights, atol=1e-10)
        dual = sgd_dual(phi @ phi.T, target - phi @ first, learning_rate=rate, epochs=epochs)
        np.testing.assert_allclose(readout_of(tree, draw), first + phi.T @ dual, atol=1e-10)
        # negative control: the same steps in another order end elsewhere
        back = sgd_dual(
            phi @ phi.T, target - phi @ first, learning_rate=rate, epochs=epochs, order=jnp.arange(N)[::-1]
        )
        assert np.abs(readout_of(tree, draw) - first - phi.T @ back).max() > 1e-4
    loss = tree["training"]["loss"].values[0, 1]
    assert loss[0] == pytest.approx(np.mean(np.sum((phi @ first - target) ** 2, axis=1)), rel=1e-12)
    assert loss[-1] == pytest.approx(np.mean(np.sum((phi @ weights - target) ** 2, axis=1)), rel=1e-8)


def test_small_full_steps_are_gradient_flow(random_cosines, data):
    """t = 2ηE/n, with the same starting points under the same key; the difference is of first order in η."""
    x, y = data
    network, key, time = random_cosines(width=20, outputs=2), jax.random.key(2), 2.0
    flow = fit(
        network, x, y, engine=GradientFlow(time=time, members=3), key=key, draws=3, held_out=(x[:2], y[:2])
    )
    deviations = []
    for epochs in (1000, 2000):
        engine = Ensemble(learning_rate=time * N / (2 * epochs), epochs=epochs)
        tree = fit(network, x, y, engine=engine, key=key, draws=3, held_out=(x[:2], y[:2]))
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


def test_one_step_on_all_layers_follows_the_gradient_written_by_hand(random_cosines, data):
    x, y = data
    network, rate = random_cosines(width=8, outputs=2), 0.01
    tree = fit(
        network,
        x,
        y,
        engine=Ensemble(layers="all", epochs=1, learning_rate=rate),
        key=jax.random.key(3),
        draws=3,
    )
    for draw in range(3):
        hidden, readout = start_of(network, tree, draw)
        inner, outer = cosine_gradients(np.asarray(x), np.asarray(y), hidden, readout)
        np.testing.assert_allclose(readout_of(tree, draw), readout - rate * outer, atol=1e-13)
        for name, gradient in inner.items():
            found = tree["trained"][name].values[draw]
            np.testing.assert_allclose(found, hidden[name] - rate * gradient, atol=1e-13)
            assert np.abs(found - hidden[name]).max() > 1e-4
    moved = hidden_layers(network, tree)[2]
    field = np.asarray(network.features(x, moved)) @ readout_of(tree, 2)
    np.testing.assert_allclose(tree["posterior"]["f"].values[0, 2], field, atol=1e-12)


def test_adam_in_shuffled_batches_is_a_plain_optax_loop(random_cosines, data):
    """Batches of 5 out of 12: the last of an epoch has two samples, each sample comes once, orders differ."""
    x, y = data
    network, epochs = random_cosines(width=8, outputs=2), 4
    engine = Ensemble(layers="all", optimiser="adam", learning_rate=0.02, batch_size=5, epochs=epochs)
    tree = fit(network, x, y, engine=engine, key=jax.random.key(3), draws=3)
    hidden, readout = start_of(network, tree, 1)
    order = jax.random.fold_in(key_from_json(tree.attrs["draw_keys"])[1], 1)
    rule = optax.adam(0.02)
    parameters = (hidden, readout)
    state, orders = rule.init(parameters), []
    for epoch in range(epochs):
        rows, weight = Batches(N, 5, True).dealt(order, epoch)
        rows = [np.asarray(row)[np.asarray(w) > 0] for row, w in zip(rows, weight, strict=True)]
        assert [len(row) for row in rows] == [5, 5, 2]
        assert sorted(np.concatenate(rows)) == list(range(N))
        orders.append(tuple(np.concatenate(rows)))
        for row in rows:
            gradient = cosine_gradients(np.asarray(x)[row], np.asarray(y)[row], *parameters)
            updates, state = rule.update(gradient, state)
            parameters = optax.apply_updates(parameters, updates)
    assert len(set(orders)) == epochs
    np.testing.assert_allclose(readout_of(tree, 1), parameters[1], atol=1e-12)
    np.testing.assert_allclose(tree["trained"]["w"].values[1], parameters[0]["w"], atol=1e-12)


def test_shuffled_batches_of_a_readout_are_the_same_in_the_dual_and_in_the_weights(random_cosines, data):
    """Both against a plain loop over the batches dealt: n = 12 above and below P."""
    x, y = data
    engine = Ensemble(batch_size=5, epochs=3, learning_rate=0.02)
    for width in (8, 20):
        network = random_cosines(width=width, outputs=2)
        tree = fit(network, x, y, engine=engine, key=jax.random.key(4), draws=2)
        hidden, weights = start_of(network, tree, 1)
        phi, order = (
            np.asarray(network.features(x, hidden)),
            jax.random.fold_in(key_from_json(tree.attrs["draw_keys"])[1], 1),
        )
        for epoch in range(3):
            for row, weight in zip(*Batches(N, 5, True).dealt(order, epoch), strict=True):
                error = np.asarray(weight)[:, None] * (phi[row] @ weights - np.asarray(y)[row])
                weights = weights - 2 * 0.02 * phi[row].T @ error
        np.testing.assert_allclose(readout_of(tree, 1), weights, atol=1e-12)


def test_a_key_repeats_bit_for_bit_and_networks_do_not_know_how_many_there_are(random_cosines, data):
    x, y = data
    network = random_cosines(width=8, outputs=2)
    engine = Ensemble(layers="all", epochs=30, batch_size=5)
    trees = [
        fit(network, x, y, engine=engine, key=jax.random.key(seed), draws=draws)
        for seed, draws in ((5, 3), (5, 3), (6, 3), (5, 7))
    ]
    first, again, other, more = (tree["posterior"]["f"].values[0] for tree in trees)
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)
    np.testing.assert_allclose(more[:3], first, atol=1e-11)
    assert trees[3].attrs["learning_rate"] == trees[0].attrs["learning_rate"]


def test_members_share_hidden_layers_and_not_readouts(random_cosines, data):
    x, y = data
    network = random_cosines(width=8, outputs=2)
    tree = fit(network, x, y, engine=Ensemble(members=2, epochs=5), key=jax.random.key(7), draws=6)
    assert tree["posterior"]["member"].values.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert set(tree["trained"].data_vars) == {"readout"}  # frozen hidden layers regenerate from their keys
    assert np.unique(tree["trained"]["readout"].values).size == 6 * 8 * 2
    lattice = CosNet(box=4.0, cutoff=9.0)  # nothing hidden: one member, whatever is trained
    tree = fit(lattice, x, y[:, 0], engine=Ensemble(epochs=5), key=jax.random.key(7), draws=6)
    assert np.all(tree["posterior"]["member"].values == 0)


@pytest.mark.parametrize("layers", ["readout", "all"])
def test_flows_act_on_the_trained_weights_and_the_trained_hidden_layers(random_cosines, data, layers):
    x, y = data
    network = random_cosines(width=8, outputs=2)
    tree = fit(
        network,
        x,
        y,
        engine=Ensemble(layers=layers, epochs=30),
        key=jax.random.key(8),
        draws=3,
        held_out=(x[:2] + 0.1, y[:2]),
    )
    metric = fisher_metric(network, x, at=tree)
    trained = hidden_layers(network, tree)
    untrained = start_of(network, tree, 2)[0]
    assert np.array_equal(trained[2]["w"], untrained["w"]) == (layers == "readout")
    phi = np.asarray(network.features(jnp.concatenate([x, x[:2] + 0.1]), trained[2]))
    spectrum = np.linalg.eigvalsh(network.variance * phi[:N] @ phi[:N].T / (N * network.noise**2))[::-1][:8]
    np.testing.assert_allclose(metric.member(2).eigenvalues, spectrum, atol=1e-10 * spectrum[0])
    diagonal = np.mean(phi[:N] ** 2, axis=0) / network.noise**2
    cutoff = float(np.sort(diagonal)[4])
    shell = Shell(basis="parameter", action="drop")
    flow = coarse_grain(network, tree, metric, scheme=shell, scales=[0.0, cutoff], key=jax.random.key(0))
    kept, dropped = (np.asarray(field)[2] for field in flow._all_fields())
    np.testing.assert_array_equal(kept[:N], tree["posterior"]["f"].values[0, 2])
    weights = np.where((diagonal >= cutoff)[:, None], readout_of(tree, 2), network.mean)
    np.testing.assert_allclose(dropped, phi @ weights, atol=1e-10)
    reset = dataclasses.replace(flow, scheme=Shell(basis="parameter"))
    theory = reset.theory_at(cutoff, member=2)
    np.testing.assert_allclose(theory.hidden["w"], trained[2]["w"], atol=1e-12)
    # what was flowed knows its hidden layers too, and may be flowed again
    again = flow.posterior_at(cutoff)
    np.testing.assert_allclose(hidden_layers(network, again)[2]["w"], trained[2]["w"], atol=1e-12)
    coarse_grain(network, again, metric, scales=[2.0], key=jax.random.key(1)).tree  # noqa: B018
    with pytest.raises(ValueError, match="basis='parameter' needs the weights"):
        coarse_grain(network, again, metric, scheme=shell, scales=[1.0], key=jax.random.key(1)).tree  # noqa: B018


@pytest.mark.parametrize("batch", [None, 1])
def test_steps_too_large_are_refused_with_the_largest_stable_one(random_cosines, data, batch):
    """The limit named is the largest at which no step expands the error: beyond 1/λ_max modes grow."""
    x, y = data
    network = random_cosines(width=8, outputs=2)
    engine = Ensemble(batch_size=batch, learning_rate=40.0, epochs=30, shuffle=False)
    with pytest.raises(
        ValueError, match=r"learning_rate = 40 is too large: network 0 of 2 diverged by"
    ) as error:
        fit(network, x, y, engine=engine, key=jax.random.key(9), draws=2)
    line = str(error.value)
    assert "\n" not in line
    tree = fit(
        network, x, y, engine=dataclasses.replace(engine, learning_rate=None), key=jax.random.key(9), draws=2
    )
    phi = np.asarray(network.features(x, start_of(network, tree, 0)[0]))
    limit = N / np.linalg.norm(phi, 2) ** 2 if batch is None else 1 / (phi**2).sum(1).max()
    assert tree.attrs["learning_rate"] == pytest.approx(0.1 * limit, rel=1e-3)
    assert f"up to {limit:.2g}" in line
    assert np.all(np.diff(tree["training"]["loss"].values, axis=-1) < 0)


def test_the_stable_rate_of_all_layers_is_that_of_the_tangent_kernel(random_cosines, data):
    x, y = data
    network = random_cosines(width=8, outputs=2)
    tree = fit(network, x, y, engine=Ensemble(layers="all", epochs=5), key=jax.random.key(9), draws=2)
    hidden, readout = start_of(network, tree, 0)
    jacobian = jax.jacfwd(lambda h, a: network.features(x, h) @ a, argnums=(0, 1))(
        hidden, jnp.asarray(readout)
    )
    rows = np.concatenate([np.reshape(leaf, (2 * N, -1)) for leaf in jax.tree.leaves(jacobian)], axis=1)
    limit = N / np.linalg.norm(rows @ rows.T, 2)
    assert tree.attrs["learning_rate"] == pytest.approx(0.1 * limit, rel=1e-3)
    norms = [np.linalg.norm(block @ block.T, 2) for block in rows.reshape(N, 2, -1)]
    found = largest_rate(
        lambda p, rows: network.features(rows, p[0]) @ p[1],
        (hidden, jnp.asarray(readout)),
        x,
        Batches(N, 3, True),
    )
    assert float(found) == pytest.approx(1 / max(norms), rel=1e-12)


def test_another_rate_or_number_of_epochs_compiles_nothing_new(random_cosines, data):
    from brg_prob.posterior import trained

    x, y = data
    network = random_cosines(width=9)
    programs = []
    for rate, epochs in ((0.1, 100), (0.2, 100), (0.1, 333)):
        fit(
            network,
            x,
            y[:, 0],
            engine=Ensemble(learning_rate=rate, epochs=epochs, members=1),
            key=jax.random.key(0),
            draws=1,
        )
        how = trained.Training("sgd", False, Batches(N, N, False), 1)
        programs.append(trained._trainer(network, how)._cache_size())
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


def test_diffusion_of_trained_networks_runs_member_by_member(random_cosines, data):
    """As many members as draws: fields at the posterior's own scale are the networks', bit for bit."""
    x, y = data
    network = random_cosines(width=8, outputs=2)
    tree = fit(network, x, y, engine=Ensemble(layers="all", epochs=5), key=jax.random.key(1), draws=4)
    metric = fisher_metric(network, x, at=tree)
    assert metric.members == 4
    assert "trained" in metric.status
    flow = coarse_grain(
        network, tree, metric, scheme=Diffusion(), scales=[float(N), 1.0], key=jax.random.key(2)
    )
    first, last = flow.fields()
    np.testing.assert_array_equal(first, tree["posterior"]["f"].values[0])
    assert np.abs(np.asarray(last) - np.asarray(first)).max() > 0.1
