"""What the slider moves: counts, moments and the prior's law against draws and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brg_prob.flow import Shell, coarse_grain
from brg_prob.geometry import fisher_metric
from brg_prob.observables import slides
from brg_prob.posterior import Exact, fit


@pytest.fixture(scope="module")
def found(lattice, preparation):
    return slides(lattice.flow, preparation=preparation)


def shown(x, field):
    """The record's unit by hand: 2.5 to one, with its line."""
    return 2.5 * field - 7.0 + 0.3 * x


def test_moments_and_counts_are_those_of_the_flows_draws(found, lattice):
    row, edges = found.attrs["histogram_row"], found.bin_edge.values
    assert found.attrs["histogram_input"] == pytest.approx(1950 + lattice.x[row, 0])
    for scale, field in enumerate(lattice.flow.fields()):
        draws = shown(lattice.x[row, 0], np.asarray(field)[:, row, 0])
        assert found.normal_mean.values[scale] == pytest.approx(draws.mean())
        assert found.normal_sd.values[scale] == pytest.approx(draws.std(ddof=1))
        counts = found.histogram.values[scale]
        assert counts.sum() == 3000 and np.abs(counts - np.histogram(draws, edges)[0]).sum() <= 2
        assert found.field_mean.values[scale, row] == pytest.approx(draws.mean())
        assert found.field_sd.values[scale, row] == pytest.approx(draws.std(ddof=1))
        middle = (edges[1:] + edges[:-1]) / 2
        assert abs(counts @ middle / 3000 - draws.mean()) < (edges[1] - edges[0]) / 4


def test_the_prior_at_that_input_is_the_lattice_sum(found, lattice):
    spread = 2.5 * np.sqrt(lattice.propagator("prior").sum() / 10)
    assert found.attrs["prior_normal_sd"] == pytest.approx(spread)
    assert found.attrs["prior_normal_mean"] == pytest.approx(
        shown(found.attrs["histogram_input"] - 1950, 0.0)
    )
    # the flow ends near it, and starts elsewhere
    assert found.normal_sd.values[0] < 0.6 * spread < found.normal_sd.values[-1]


def test_the_histogram_is_where_the_data_moved_the_field_most(found):
    moved = np.abs(found.field_mean.values[0] - found.field_mean.values[-1])
    assert moved[found.attrs["histogram_row"]] == moved.max()
    assert found.input.values[0] == 1950 and found.observations.values[0] == 48
    np.testing.assert_allclose(found.scale, found.observations)


def test_hidden_layers_a_mean_and_members_enter_the_priors_law(random_cosines):
    network = random_cosines(width=20)
    x = jnp.linspace(0, 3, 12)[:, None]
    posterior = fit(
        network, x, jnp.sin(3 * x[:, 0]), key=jax.random.key(0), draws=60, engine=Exact(members=2)
    )
    metric = fisher_metric(network, x, at=posterior)
    flow = coarse_grain(network, posterior, metric, scheme=Shell(), scales=[0.0, 0.5], key=jax.random.key(1))
    found = slides(flow)
    row = found.attrs["histogram_row"]
    features = [np.asarray(network.features(x, hidden))[row] for hidden in metric.hidden]
    means = np.array([0.3 * phi.sum() for phi in features])
    second = np.mean([0.7 * phi @ phi + m**2 for phi, m in zip(features, means, strict=True)])
    assert found.attrs["prior_normal_mean"] == pytest.approx(means.mean())
    assert found.attrs["prior_normal_sd"] == pytest.approx(np.sqrt(second - means.mean() ** 2))
    np.testing.assert_array_equal(found.histogram.sum("bin"), [60, 60])


def test_several_outputs_show_the_first_and_inputs_keep_their_dimensions(random_cosines):
    network = random_cosines(width=20, outputs=2)
    x = jnp.stack([jnp.linspace(0, 3, 12), jnp.ones(12)], axis=1)
    y = jnp.stack([jnp.sin(3 * x[:, 0]), jnp.zeros(12)], axis=1)
    posterior = fit(network, x, y, key=jax.random.key(0), draws=60)
    metric = fisher_metric(network, x, at=posterior)
    flow = coarse_grain(network, posterior, metric, scales=[12.0, 1.0], key=jax.random.key(1))
    found = slides(flow)
    assert found.input.dims == ("row", "dim") and found.attrs["histogram_input"].count(",") == 1
    np.testing.assert_allclose(found.field_mean, flow.tree["flow"]["field_mean"].values[..., 0])
    assert found.histogram.values.sum() == 120
