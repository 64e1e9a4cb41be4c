"""Whose row is whose, what is missing, held or likelihood: read off a model at its data, against scipy."""

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
from brg_prob.network.rows import SEVERAL

N = 7
X = np.linspace(0.5, 2.0, N)[:, None]
Y = np.array([0.3, -0.4, 1.2, 0.7, -0.1, 0.9, 2.0])


def column(x, y=None):
    """An observation of shape (n, 1), as for targets in a column."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(w * x, 1.0).to_event(1), obs=y)


def flat(x, y=None):
    """An observation of shape (n,)."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(w * x[:, 0], 1.0), obs=y)


def asserting(x, y=None):
    """A model that checks the shape of its target itself."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    if y is not None:
        assert (w * x).shape == y.shape
    numpyro.sample("y", dist.Normal(w * x, 1.0), obs=y)


def scalar(x, y=None):
    """One law for all rows, without a plate."""
    mu = numpyro.sample("w", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def lag(x, y=None):
    """The mean of a row is the row before; the first is conditioned on."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(w * y[:-1], 1.0), obs=y[1:])


def scanned(x, y=None):
    """The same from zero on, the observed site inside a scan."""
    w = numpyro.sample("w", dist.Normal(0, 1))

    def step(past, now):
        now = numpyro.sample("y", dist.Normal(w * past, 1.0), obs=now)
        return now, None

    scan(step, 0.0, y, length=x.shape[0])


def joint(x, y=None):
    """All rows are one observation."""
    w = numpyro.sample("w", dist.LogNormal(0, 1))
    cov = w * jnp.exp(-0.5 * (x - x.T) ** 2) + 0.1 * jnp.eye(x.shape[0])
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(x.shape[0]), cov), obs=y)


def per_row(x, y=None):
    """A latent variable for each row."""
    with numpyro.plate("rows", x.shape[0]):
        theta = numpyro.sample("theta", dist.Normal(0, 3))
        numpyro.sample("y", dist.Normal(theta, 1), obs=y)


def pair(x, y=None):
    """Two sites, one for each column of the target."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    f = numpyro.deterministic("f", w * jnp.ones(x.shape[0]))
    numpyro.sample("u", dist.Normal(f, 1), obs=None if y is None else y[:, 0])
    numpyro.sample("v", dist.Normal(f, 1), obs=None if y is None else y[:, 1])


def masked(x, y=None):
    """A model that masks its last two rows."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    with handlers.mask(mask=jnp.arange(x.shape[0]) < x.shape[0] - 2):
        numpyro.sample("y", dist.Normal(w * x[:, 0], 1.0), obs=y)


def logs(x, y=None):
    """What is observed is a function of the target."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    numpyro.sample("z", dist.Normal(w * x[:, 0], 1.0), obs=None if y is None else jnp.log(y))


def huber(x, y=None):
    """A likelihood by a factor, and a factor of the prior."""
    w = numpyro.sample("w", dist.Normal(0, 1))
    f = numpyro.deterministic("f", w * x[:, 0])
    numpyro.factor("ring", -(w**4))
    if y is not None:
        numpyro.factor("huber", -jnp.sqrt(1 + (y - f) ** 2).sum())


def held(x, y=None):
    """A parameter to be optimised."""
    s = numpyro.param("s", 5.0, constraint=dist.constraints.positive)
    w = numpyro.sample("w", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(w * jnp.ones(x.shape[0]), s), obs=y)


def standardising(x, y=None):
    """A model that standardises its inputs itself, so that every row depends on all."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(w * (x[:, 0] - x[:, 0].mean()), 1.0), obs=y)


W = {"w": 0.8}
PAST = np.concatenate([[0.0], Y[:-1]])


def terms(model, y=Y, values=W, x=X):
    """Return the model's reading and its log-likelihood by site."""
    data = Conditioned.of(model, x, y)
    return data, {name: np.asarray(v) for name, v in jax.jit(data.log_likelihood)(values).items()}


@pytest.mark.parametrize(
    ("model", "mean"),
    [
        (column, 0.8 * X[:, 0]),
        (flat, 0.8 * X[:, 0]),
        (asserting, 0.8 * X[:, 0]),
        (scalar, np.full(N, 0.8)),
        (scanned, 0.8 * PAST),
    ],
)
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_every_row_is_one_observation_whatever_the_shape_of_target_and_law(model, mean, shape):
    data, found = terms(model, Y.reshape(shape))
    np.testing.assert_allclose(found["y"], stats.norm.logpdf(Y, mean, 1.0), rtol=1e-12)
    assert data.n == N
    law = jax.jit(lambda v: data.distributions(v)["y"].sample(jax.random.key(0)))(W)
    assert law.size == N


def test_numpyro_itself_would_count_a_broadcast_target_n_times():
    """The control: what is mended here."""
    trace = handlers.trace(handlers.substitute(flat, {"w": 0.8})).get_trace(jnp.asarray(X), Y[:, None])
    assert trace["y"]["fn"].log_prob(trace["y"]["value"]).shape == (N, N)


def test_a_target_that_fits_no_law_is_refused_with_both_shapes():
    def crossed(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 10).expand([3, 1]))
        numpyro.sample("y", dist.Normal(w * x[:, 0], 1.0), obs=y)

    with pytest.raises(ValueError, match=r"site 'y': a value of shape \(7,\) .* shape \(3, 7\)") as caught:
        Conditioned.of(crossed, X, Y)
    assert "\n" not in str(caught.value)


def test_an_assertion_of_the_model_is_named_with_its_line():
    def stubborn(x, y=None):
        numpyro.sample("w", dist.Normal(0, 10))
        assert x.shape[1] == 4

    with pytest.raises(ValueError, match=r"fails in line \d+ of test_reading.py on x of shape \(7, 1\)"):
        Conditioned.of(stubborn, X, Y)


@pytest.mark.parametrize(
    ("model", "rows", "mixed"),
    [(lag, range(1, N), ("y",)), (scanned, range(N), ("y",)), (scalar, range(N), ())],
)
def test_terms_belong_to_the_row_they_observe_and_mixed_rows_are_found(model, rows, mixed):
    data, found = terms(model)
    owned = list(rows)  # the first row of a lag is conditioned on, and not shown
    expected = stats.norm.logpdf(Y, 0.8 * PAST) if mixed else stats.norm.logpdf(Y, 0.8)
    np.testing.assert_allclose(found["y"], expected[owned])
    assert data.reading.mixed == mixed
    assert ("depends on other rows" in data.reading.no_leave_one_out) == bool(mixed)
    assert data.n == len(data.inputs) == len(data.given) == len(owned)
    assert data.field(data.reading.point).shape == (len(owned),)
    said = f"1 of {N} rows have no term in the likelihood: they are conditioned on, or not used"
    assert (said in data.reading.notes) == (model is lag)


def test_a_joint_observation_has_no_rows_and_n_of_them():
    data, found = terms(joint)
    cov = 0.8 * np.exp(-0.5 * (X - X.T) ** 2) + 0.1 * np.eye(N)
    np.testing.assert_allclose(found["y"], stats.multivariate_normal.logpdf(Y, np.zeros(N), cov), rtol=1e-10)
    assert data.n == N
    assert "jointly" in data.reading.no_leave_one_out
    with pytest.raises(ValueError, match=r"jointly, so no row can be held out.*--held-out none"):
        data.at(X[:2], Y[:2])


def test_missing_entries_are_left_out_by_site_and_row():
    y = np.stack([Y, -Y], axis=1)
    y[2, 0] = y[4, 1] = y[5, 0] = y[5, 1] = np.nan
    data, found = terms(pair, y)
    expected = np.nan_to_num(stats.norm.logpdf(y, 0.8, 1.0))
    np.testing.assert_allclose(found["u"], expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found["v"], expected[:, 1], rtol=1e-12)
    assert data.n == N - 1  # row 5 has nothing
    np.testing.assert_array_equal(data.observed_values["u"], y[:, 0])
    assert any("4 missing target values in 3 rows left out" in note for note in data.reading.notes)


def test_a_missing_value_that_another_row_needs_is_refused_and_a_row_alone_is_not():
    y = np.where(np.arange(N) == 3, np.nan, Y)
    for model in (lag, scanned):
        with pytest.raises(ValueError, match=r"missing \(NaN\) in row 3, on which other rows"):
            Conditioned.of(model, X, y)
    _, found = terms(logs, np.abs(y))
    expected = np.nan_to_num(stats.norm.logpdf(np.log(np.abs(y)), 0.8 * X[:, 0], 1.0))
    np.testing.assert_allclose(found["z"], expected, rtol=1e-12)


def test_the_field_of_several_sites_stands_in_the_order_of_the_targets():
    def crossed(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample("error", dist.Normal(3 * w, 1.0), obs=x[:, 0])
        numpyro.sample("u", dist.Normal(w * x[:, 0], 1.0), obs=None if y is None else y[:, 1])
        numpyro.sample("v", dist.Normal(2 * w, 1.0), obs=None if y is None else y[:, 0])

    data = Conditioned.of(crossed, X, np.stack([Y, -Y], axis=1))
    assert data.reading.layout.order == ("v", "u", "error")
    expected = np.column_stack([np.full(N, 1.6), 0.8 * X[:, 0], np.full(N, 2.4)])
    np.testing.assert_allclose(data.field({"w": 0.8}), expected)


def test_an_event_of_dependent_entries_is_left_out_whole_and_said():
    def both(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        law = dist.MultivariateNormal(w * jnp.ones(2), jnp.array([[1.0, 0.5], [0.5, 1.0]]))
        with numpyro.plate("rows", x.shape[0]):
            numpyro.sample("y", law, obs=y)

    y = np.stack([Y, -Y], axis=1)
    y[2, 0] = np.nan
    data, found = terms(both, y)
    expected = stats.multivariate_normal.logpdf(y[[0, 1, 3, 4, 5, 6]], [0.8, 0.8], [[1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(np.delete(found["y"], 2), expected, rtol=1e-10)
    assert (found["y"][2], data.n) == (0, N - 1)
    assert any("1 row left out whole" in note for note in data.reading.notes)


def test_rows_that_the_model_masks_do_not_count():
    data, found = terms(masked)
    np.testing.assert_allclose(found["y"][:-2], stats.norm.logpdf(Y, 0.8 * X[:, 0])[:-2], rtol=1e-12)
    assert (data.n, data.reading.masked) == (N - 2, 2)


def test_a_factor_that_changes_with_the_target_is_likelihood_and_any_other_is_prior():
    data, found = terms(huber)
    assert (data.likelihood_factors, data.prior_factors) == (("huber",), ("ring",))
    np.testing.assert_allclose(found["huber"], -np.sqrt(1 + (Y - 0.8 * X[:, 0]) ** 2).sum(), rtol=1e-12)
    assert "no term for each row" in data.reading.no_leave_one_out
    other = Conditioned.of(huber, X, Y, likelihood_factors=("huber", "ring"))
    assert other.prior_factors == ()


def alive(x, y=None):
    """A factor with a term for each row."""
    w = numpyro.sample("w", dist.Normal(0, 10))
    f = numpyro.deterministic("f", w * x[:, 0])
    if y is not None:
        numpyro.factor("alive", -jnp.sqrt(1 + (y - f) ** 2))


def distance(x, y=None):
    """A factor that is even in the target."""
    w = numpyro.sample("w", dist.HalfNormal(1))
    numpyro.deterministic("f", w * x[:, 0])
    if y is not None:
        numpyro.factor("distance", -w * jnp.abs(y))


def test_a_factor_with_a_term_for_each_row_leaves_a_missing_one_out():
    gap = np.where(np.arange(N) == 2, np.nan, Y)
    data, found = terms(alive, gap)
    np.testing.assert_allclose(found["alive"], np.nan_to_num(-np.sqrt(1 + (gap - 0.8 * X[:, 0]) ** 2)))
    assert (data.n, data.reading.joint, data.reading.no_leave_one_out) == (N - 1, "", "")
    # row 0 is tried at −1 and 1, where its term is the same, and still it is that row's
    even, found = terms(distance, np.array([-1.0, *range(1, N)]))
    np.testing.assert_allclose(found["distance"], -0.8 * np.array([1.0, *range(1, N)]))
    assert even.n == N
    # the control: a sum has no term that could be left out
    with pytest.raises(ValueError, match=r"1 target values are missing.*factor 'huber' has no term for each"):
        Conditioned.of(huber, X, gap)


def test_a_param_is_held_and_shown_to_no_engine():
    data, found = terms(held)
    np.testing.assert_allclose(found["y"], stats.norm.logpdf(Y, 0.8, 5.0), rtol=1e-12)
    seen = handlers.trace(handlers.seed(data.model(), jax.random.key(0))).get_trace()
    assert not any(site["type"] == "param" for site in seen.values())
    assert any("numpyro.param 's' is held at 5" in note for note in data.reading.notes)


def test_other_rows_are_predicted_where_the_model_lets_them_be():
    data = Conditioned.of(flat, X[:5], Y[:5])
    there = data.at(X[5:], Y[5:])
    found = jax.jit(there.log_likelihood)(W)["y"]
    np.testing.assert_allclose(found, stats.norm.logpdf(Y[5:], 0.8 * X[5:, 0]), rtol=1e-12)
    assert there.first == 0


def test_the_last_rows_of_a_series_follow_its_first_ones():
    data = Conditioned.of(scanned, X[:5], Y[:5])
    there = data.at(X[5:], Y[5:])
    found = jax.jit(there.log_likelihood)(W)["y"]
    np.testing.assert_allclose(found, stats.norm.logpdf(Y[5:], 0.8 * PAST[5:]), rtol=1e-12)
    np.testing.assert_array_equal(there.given, Y[5:])
    assert there.inputs.shape == (2, 1)
    np.testing.assert_allclose(jax.jit(there.field)(W), 0.8 * PAST[5:], rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (per_row, r"site 'theta' has shape \(5,\), an entry per row"),
        (standardising, r"changes when the held-out rows are added"),
    ],
)
def test_rows_are_not_held_out_where_draws_say_nothing_of_them(model, message):
    """As many rows held out as trained on: shapes alone would not tell."""
    data = Conditioned.of(model, X[:5], Y[:5])
    with pytest.raises(ValueError, match=message):
        data.at(X[2:], Y[2:])


def test_a_missing_entry_of_a_table_is_no_value_outside_the_support():
    """The row is left out whole, whatever stands in its place; an actual wrong row is named."""

    def table(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        logits = w * x * jnp.array([0.0, 1.0, 2.0])
        numpyro.sample("y", dist.Multinomial(4, logits=logits), obs=y)

    y = np.tile([1.0, 2.0, 1.0], (N, 1))
    y[1] = [4.0, 0.0, 0.0]
    y[3] = [np.nan, 0.0, 1.0]
    p = np.exp(0.8 * X * np.arange(3))
    expected = stats.multinomial.logpmf(np.nan_to_num(y), 4, p / p.sum(1, keepdims=True))
    data, found = terms(table, y)
    np.testing.assert_allclose(found["y"], np.where(np.arange(N) == 3, 0.0, expected), rtol=1e-10)
    assert data.n == N - 1
    y[4, 0] = 3.0
    with pytest.raises(ValueError, match=r"observes .* in row 4, outside the support of Multinomial"):
        Conditioned.of(table, X, y)


def test_row_codes_tell_apart_rows_of_any_number():
    """Against brute force: every row moved by itself."""
    shift = np.array([0, 3, 1, 6, 2, 5, 4])

    def permuted(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(w, 1.0), obs=None if y is None else y[shift])

    def summed(x, y=None):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample(
            "y", dist.Normal(w, 1.0), obs=None if y is None else y.reshape(-1)[:6].reshape(3, 2).sum(1)
        )
        numpyro.deterministic("f", w * x[:, 0])

    assert Conditioned.of(permuted, X, Y).reading.term_rows["y"].tolist() == shift.tolist()
    data = Conditioned.of(summed, X, Y)
    assert "y" not in data.reading.term_rows
    assert "jointly" in data.reading.joint
    assert SEVERAL == -2
