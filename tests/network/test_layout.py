"""The field has a value for each row, wherever the model's observations of it stand; or it is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import sample

from brg_prob.network import Conditioned

N = 6
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, 1))
Y = RNG.normal(size=N)
BOTH = RNG.normal(size=(N, 2))
B = np.array([0.7, -1.2])
IN_TWO_COLUMNS = X * B


def slopes():
    return sample("b", dist.Normal(0, 1).expand([2]).to_event(1))


def two_sites(x, y=None):
    b = slopes()
    sample("early", dist.Normal(b[0] * x[:2, 0], 1), obs=None if y is None else y[:2])
    sample("late", dist.Normal(b[0] * x[2:, 0], 1), obs=None if y is None else y[2:])


def evens_and_odds(x, y=None):
    b = slopes()
    for start in (1, 0):
        mean = b[0] * x[start::2, 0]
        sample(f"from {start}", dist.Normal(mean, 1), obs=None if y is None else y[start::2])


def transposed(x, y=None):
    sample("y", dist.Normal(slopes()[:, None] * x[:, 0], 1), obs=None if y is None else y.T)


def columns_swapped(x, y=None):
    b = slopes()
    sample("y", dist.Normal(b[::-1] * x, 1), obs=None if y is None else y[:, ::-1])


def backwards(x, y=None):
    b = slopes()
    logits = jnp.stack([b[0] * x[::-1, 0], b[1] * x[::-1, 0]], axis=1)
    sample("y", dist.Categorical(logits=logits), obs=None if y is None else y[::-1])


def one_of_many(x, y=None):
    """``f`` is something else; a constraint stands for no row."""
    b = slopes()
    numpyro.deterministic("f", jnp.ones(N - 1) * b.sum())
    sample("about nought", dist.Normal(b.sum(), 5), obs=0.0)
    sample("y", dist.Normal(b[0] * x[:, 0], 1), obs=y)


def interleaved(x, y=None):
    b = slopes()
    outer = jnp.stack([b[0] * x[:, 0], b[0] * x[:, 0] + 2], axis=1)
    sample("outer", dist.Normal(outer, 1), obs=None if y is None else y[:, ::2])
    sample("inner", dist.Normal(b[1] * x[:, 0], 1), obs=None if y is None else y[:, 1])


def two_series(x, y=None):
    b = slopes()
    for column in (0, 1):
        mean = b[column] * x[1:, 0]
        sample(f"of {column}", dist.Normal(mean, 1), obs=None if y is None else y[1:, column])


def masked_in_turn(x, y=None):
    b, even = slopes(), jnp.arange(N) % 2 == 0
    for name, mask, far in (("even", even, 0.0), ("odd", ~even, 0.0)):
        with numpyro.handlers.mask(mask=mask):
            sample(name, dist.Normal(jnp.where(mask, b[0] * x[:, 0], 99.0) + far, 1), obs=y)


def one_law_of_both(x, y=None):
    """One law of two columns stands for all rows."""
    sample("y", dist.Normal(slopes(), 1).to_event(1), obs=y)


CATEGORIES = np.array([0, 1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("model", "y", "right"),
    [
        (two_sites, Y, IN_TWO_COLUMNS[:, 0]),
        (evens_and_odds, Y, IN_TWO_COLUMNS[:, 0]),
        (transposed, BOTH, IN_TWO_COLUMNS),
        (columns_swapped, BOTH, IN_TWO_COLUMNS),
        (backwards, CATEGORIES, jax.nn.softmax(IN_TWO_COLUMNS, axis=1)),
        (one_of_many, Y, IN_TWO_COLUMNS[:, 0]),
        (
            interleaved,
            np.column_stack([BOTH, Y]),
            np.column_stack([IN_TWO_COLUMNS, IN_TWO_COLUMNS[:, 0] + 2]),
        ),
        (two_series, BOTH, IN_TWO_COLUMNS[1:]),
        (masked_in_turn, Y, IN_TWO_COLUMNS[:, 0]),
        (one_law_of_both, BOTH, np.broadcast_to(B, (N, 2))),
    ],
)
def test_the_field_is_the_mean_at_each_row(model, y, right):
    data = Conditioned.of(model, X, y)
    assert (data.n, data.sites.field_shape) == (len(right), right.shape)
    for found in (data.field({"b": B}), data.mean({"b": B})):
        np.testing.assert_allclose(found, right, rtol=1e-12)


def test_a_constraint_beside_the_targets_is_said():
    notes = Conditioned.of(one_of_many, X, Y).reading.notes
    assert notes[0].startswith("site 'about nought' observes a value that is not among the targets")


def every_second(x, y=None):
    sample("y", dist.Normal(slopes()[0] * x[::2, 0], 1), obs=None if y is None else y[::2])


def first_rows(x, y=None):
    sample("y", dist.Normal(slopes()[0] * x[:4, 0], 1), obs=None if y is None else y[:4])


def twice(x, y=None):
    b = slopes()
    sample("one", dist.Normal(b[0] * x[::-1, 0], 1), obs=None if y is None else y[::-1])
    sample("two", dist.Normal(b[0] * x[:, 0], 1), obs=y)


@pytest.mark.parametrize("model", [every_second, first_rows, twice])
def test_rows_without_one_value_each_are_refused_and_a_field_is_the_remedy(model):
    with pytest.raises(ValueError, match=r'so there is no field by row; add numpyro.deterministic\("f"'):
        Conditioned.of(model, X, Y)

    def mended(x, y=None):
        model(x, y)
        numpyro.deterministic("f", x[:, 0])

    data = Conditioned.of(mended, X, Y)
    np.testing.assert_allclose(data.field({"b": B}), X[:, 0])
    with pytest.raises(ValueError, match="none has a mean"):
        data.mean({"b": B})


def test_a_field_of_another_length_than_the_data_is_refused():
    def known(x, y=None):
        numpyro.deterministic("f", slopes()[0] * x[:4, 0])
        if y is not None:
            numpyro.factor("fit", dist.Normal(0, 1).log_prob(y))

    with pytest.raises(ValueError, match='no site "f" with a value per row'):
        Conditioned.of(known, X, Y)


def sorted_by_input(x, y=None):
    order = jnp.argsort(x[:, 0])
    mean = slopes()[0] + 100 * x[order, 0]
    sample("y", dist.Normal(mean, 1e-3), obs=None if y is None else y[order])


def test_draws_and_observed_values_stand_by_row_as_the_field_does():
    data = Conditioned.of(sorted_by_input, X, Y)
    drawn = data.predictive({"b": B}, jax.random.key(0))["y"]
    np.testing.assert_allclose(drawn, B[0] + 100 * X[:, 0], atol=0.01)
    np.testing.assert_array_equal(data.observed_values["y"], Y)
    later = data.at(X[:2] + 7, np.array([1.0, 2.0]))
    np.testing.assert_allclose(
        later.predictive({"b": B}, jax.random.key(0))["y"], B[0] + 100 * (X[:2, 0] + 7), atol=0.01
    )
    np.testing.assert_array_equal(later.observed_values["y"], [1.0, 2.0])


def test_a_group_without_a_row_is_no_trouble():
    def model(x, y=None):
        b, high = slopes(), np.asarray(x)[:, 0] > 100
        for name, rows in (("high", np.flatnonzero(high)), ("low", np.flatnonzero(~high))):
            sample(name, dist.Normal(b[0] * x[rows, 0], 1), obs=None if y is None else y[rows])

    data = Conditioned.of(model, X, Y)
    assert data.n == N
    np.testing.assert_allclose(data.field({"b": B}), IN_TWO_COLUMNS[:, 0], rtol=1e-12)
