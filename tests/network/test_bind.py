"""Columns of a table to the arguments of a model: for each signature, what the model is called with."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro import handlers
from scipy import stats

import brg_prob
from brg_prob.network import Conditioned, LinearReadout, isotropic_prior
from brg_prob.options import UsageError

TABLE = {
    "x": [0.5, 1.5, 2.5],
    "t": [1.0, 2.0, 4.0],
    "group": [2, 0, 1],
    "species": ["b", "a", "b"],
    "wet": [True, False, True],
    "w": [10.0, 20.0, 30.0],
    "y": [5.0, 6.0, 7.0],
}
T, X, Y = ([[value] for value in TABLE[name]] for name in "txy")


def recorder(text):
    """Return a function of these arguments that returns them by name."""
    scope = {}
    exec(f"def model({text}): return dict(locals())", scope)
    return scope["model"]


# signature | columns | options of bind | what the model is called with; y is in a list where it is a stack
CALLS = [
    ("x, y=None", "x y", {}, {"x": X, "y": TABLE["y"]}),
    ("x, y=None", "t x y", {}, {"x": np.hstack([T, X]), "y": TABLE["y"]}),
    ("x, y=None", "t x", {}, {"x": T, "y": TABLE["x"]}),
    ("x, y=None", "t x w", {"target": "x"}, {"x": np.stack([TABLE["t"], TABLE["w"]], 1), "y": TABLE["x"]}),
    ("x, y=None", "t x w y", {"inputs": ["w"]}, {"x": [[10], [20], [30]], "y": TABLE["y"]}),
    ("x, y=None", "t x w", {"target": ["x", "w"]}, {"x": T, "y": np.stack([TABLE["x"], TABLE["w"]], 1)}),
    ("x, y=None", "wet t y", {}, {"x": [[1, 1], [0, 2], [1, 4]], "y": TABLE["y"]}),
    ("x, y=None", "t species", {"target": "species"}, {"x": T, "y": [1, 0, 1]}),
    ("x, y=None, w=None", "t w y", {}, {"x": T, "y": TABLE["y"], "w": TABLE["w"]}),
    ("x, y=None, w=None", "t y", {}, {"x": T, "y": TABLE["y"], "w": None}),
    ("x, y=None, w=None", "t w x", {}, {"x": T, "y": TABLE["x"], "w": TABLE["w"]}),
    ("x, y=None, w=None", "t w y", {"inputs": ["t", "w"]}, {"x": [[1, 10], [2, 20], [4, 30]], "w": None}),
    ("x, y=None, *, w, s=0.5", "w t y", {}, {"x": T, "w": TABLE["w"], "s": 0.5}),
    ("x, y=None, *, w=1", "t w y", {"w": 3}, {"x": T, "w": 3}),
    ("X, t, group, y", "t group x w y", {},
     {"X": [[0.5, 10], [1.5, 20], [2.5, 30]], "t": [1, 2, 4], "group": [2, 0, 1], "y": [5, 6, 7]}),
    ("t, species, y=None", "species t y", {}, {"t": [1, 2, 4], "species": [1, 0, 1], "y": [5, 6, 7]}),
    ("t, species, w=None", "species w t", {}, {"t": [1, 2, 4], "species": [1, 0, 1], "w": TABLE["w"]}),
    ("t, species, w=None", "species y t", {"target": "y"}, {"t": [1, 2, 4], "w": TABLE["y"]}),
    ("t, species, w=None", "species y t", {}, {"t": [1, 2, 4], "w": TABLE["y"]}),
    ("t, w=None", "t x w", {}, {"t": [1, 2, 4], "w": TABLE["w"]}),
    ("dose, y=None", "t x y", {}, {"dose": np.hstack([T, X]), "y": TABLE["y"]}),
    ("x, species_idx, y=None", "t species y", {}, {"x": T, "species_idx": [1, 0, 1]}),
    ("x, wet_id, y=None", "t wet y", {}, {"x": T, "wet_id": [1, 0, 1]}),
    ("x, group_idx=None, y=None", "t group y", {}, {"x": [[1, 2], [2, 0], [4, 1]], "group_idx": None}),
    ("x, y=None, /, w=None", "t w y", {}, {"x": T, "y": TABLE["y"], "w": TABLE["w"]}),
    ("t, s=0.5, w=0.25, y=None, /", "t y", {}, {"t": [1, 2, 4], "s": 0.5, "w": 0.25, "y": TABLE["y"]}),
    ("x, *args, y=None, w, **rest", "t w y", {}, {"x": T, "args": (), "rest": {}, "w": TABLE["w"]}),
    ("x, t=None, w=None", "x t w", {"target": ["w", "t"]}, {"x": X, "t": TABLE["t"], "w": TABLE["w"]}),
    ("y=None", "y", {}, {"y": TABLE["y"]}),
    ("y=None", "t y", {}, {"y": TABLE["y"]}),
    ("J, w, y=None", "w y", {"J": 8}, {"J": 8, "w": TABLE["w"], "y": TABLE["y"]}),
    ("J, w, y=None", "t w y", {"J": 8}, {"J": 8, "w": TABLE["w"], "y": TABLE["y"]}),
    ("obs=None, *, x", "t w", {}, {"x": T, "obs": TABLE["w"]}),
]  # fmt: skip


def columns(names):
    return {name: TABLE[name] for name in names.split()}


@pytest.mark.parametrize(("text", "names", "options", "called"), CALLS)
def test_each_argument_gets_its_column(text, names, options, called):
    bound = brg_prob.bind(columns(names), recorder(text), **options)
    assert bound.x.shape[0] == 3
    assert bound.x.ndim == 2
    assert bound.x.dtype == np.float64
    got = bound.network(jnp.asarray(bound.x), jnp.asarray(bound.y))
    for name, value in called.items():
        if value is None or isinstance(value, int | float | tuple | dict):
            assert got[name] == value
        else:
            np.testing.assert_array_equal(got[name], np.asarray(value))
    for name, column in bound.arguments.items():
        whole = np.asarray(TABLE[column]).dtype.kind != "f"
        assert got[name].dtype.kind == ("i" if whole else "f")
        assert got[name].ndim == 1
    unobserved = bound.network(bound.x)
    assert all(unobserved[name] is None for name in (*bound.call.observed,))
    assert hash(bound.call) == hash(brg_prob.bind(columns(names), recorder(text), **options).call)


def test_names_dtypes_and_what_is_said():
    bound = brg_prob.bind(columns("w species t group y"), recorder("x, species_idx, group, y=None"))
    assert bound.columns == bound.network.columns == ("w", "t")
    assert bound.inputs == ("w", "t", "species", "group")
    assert bound.target == ("y",)
    assert bound.arguments == {"species_idx": "species", "group": "group"}
    assert bound.levels == {"species": ("a", "b")}
    assert bound.notes == (
        "species: 2 levels (a = 0, b = 1)",
        "the argument species_idx gets the codes of the column species",
    )
    unused = brg_prob.bind(columns("w t y"), recorder("t, y=None"))
    assert unused.notes == ("not used, for no argument of model takes them: w",)
    assert unused.inputs == ("t",)
    stacked = brg_prob.bind(columns("w t y"), recorder("dose, y=None"))
    assert stacked.notes == ("the argument dose gets the input columns as one array: w, t",)
    by_hand = brg_prob.bind(columns("w t y"), recorder("x, y=None, w=None"), w=2)
    assert by_hand.notes == ("the argument w is set by hand, not by the column w",)
    assert by_hand.inputs == ("t",)
    assert brg_prob.bind(columns("t y"), recorder("x, y=None")).notes == ()
    rows = brg_prob.bind(columns("y"), recorder("y=None"))
    assert (rows.inputs, rows.x.tolist(), rows.columns) == (("row",), [[0], [1], [2]], ())


def test_a_model_of_x_and_y_stays_itself_with_all_that_it_can():
    for text in ("x, y=None", "X, y", "dose, outcome=None", "x, y=None, w=None"):
        model = recorder(text)
        assert brg_prob.bind(columns("t y"), model).network is model
    model = recorder("y=None, x=None")  # the control: another order
    assert brg_prob.bind(columns("t y"), model).network is not model
    silent = handlers.seed(recorder("x, y=None"), rng_seed=0)
    assert brg_prob.bind(columns("t y"), silent).network is silent


def test_partial_objects_decorated_functions_and_handlers_are_called_with_names():
    def model(J, x, y=None, w=None):
        return J, x[:, 0] * w, y

    @functools.wraps(model)
    def wrapped(*args, **options):
        return model(*args, **options)

    expected = np.asarray(TABLE["t"]) * np.asarray(TABLE["w"])
    for own in (functools.partial(model, 8), functools.partial(model, J=8), functools.partial(wrapped, J=8)):
        found = brg_prob.bind(columns("t w y"), own)
        size, product, y = found.network(found.x, found.y)
        assert size == 8
        np.testing.assert_array_equal(product, expected)
        np.testing.assert_array_equal(y, TABLE["y"])
    named = handlers.block(wrapped, hide=["y"])
    found = brg_prob.bind(columns("t w y"), named, J=3)
    np.testing.assert_array_equal(found.network(found.x)[1], expected)
    assert found.network(found.x)[0] == 3


REFUSED = [
    ("x, y=None", "t y", {"target": "z"}, "no column 'z' for the target; it has 't', 'y'"),
    ("x, y=None", "group y", {"inputs": ["grup"]}, "no column 'grup' for the input; did you mean 'group'?"),
    ("x, y=None", "t y", {"inputs": ["t", "t"]}, "column 't' of the table is given twice; name it once"),
    ("x, y=None", "t y", {"inputs": "t", "target": "t"}, "'t' of the table is both input and target; choose"),
    ("x, y=None", "y", {}, "no column of the table is left for the inputs x of 'model'; name them in"),
    ("x, w, y=None", "t y", {}, "'model' needs 'w', which is no column of the table (columns: 't', 'y'); "
     "give such a column, or --model.w VALUE"),
    ("J, w, y=None", "t w y", {}, "'model' needs 'J', which is no column"),
    ("t, y=None, *, kinds", "t w y", {}, "'model' needs 'kinds', which is no column"),
    ("t, kinds, y=None", "t species y", {}, "'model' needs 'kinds', which is no column"),
    ("x, n: int, y=None", "t y", {}, "'model' needs 'n', which is no column"),
    ("x, obs", "t y", {}, "which column does 'model' observe? none is called y or has the default None"),
    ("x, u=None, v=None", "t y", {}, "'u' and 'v' both have the default None; name it in --target"),
    ("x, u=None, v=None", "t y", {"target": "y"},
     "gets the target 'y'? 'u' and 'v' both have the default None"),
    ("x, w, y=None", "t w y", {"target": "w"},
     "column 'w' is an argument of 'model'; leave it out of --target"),
    ("t, y=None", "t w y", {"inputs": ["w"]},
     "input 'w': 'model' has no argument for it; give it an argument w or x"),
    ("*args, y=None", "t y", {}, "'model' takes its inputs as *args, which have no names"),
    ("x, y=None", "t species y", {}, "column 'species' of the table holds categories (a, b), whose codes are "
     "no numbers to stack into 'x'; give 'model' an argument species, or leave it out with --inputs t"),
    ("x, y=None", "species y", {}, "give 'model' an argument species"),
    ("x, y=None", "t y", {"depth": 3}, "option '--model.depth' is unknown; it has no options"),
    ("x, w=1, y=None", "t y", {"y": 3}, "option '--model.y' is unknown; its options are w"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "names", "options", "said"), REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_that_names_the_remedy(text, names, options, said):
    with pytest.raises(UsageError) as caught:
        brg_prob.bind(columns(names), recorder(text), **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_values_count_only_where_they_are_used():
    table = {
        "t": [1.0, 2.0, 3.0, np.nan, 5.0],
        "other": [np.nan] * 5,
        "g": ["a", None, "b", "a", "b"],
        "y": [1.0, 2.0, np.nan, 4.0, 5.0],
    }
    model = recorder("x, g, y=None")
    with pytest.raises(UsageError, match=r"3 of 5 rows with missing or infinite values \(first in 't'\)"):
        brg_prob.bind(table, model, inputs="t")
    found = brg_prob.bind(table, model, inputs="t", drop_missing=True)
    np.testing.assert_array_equal(found.rows, [0, 2, 4])
    assert found.dropped == 2
    np.testing.assert_array_equal(found.y, [1, np.nan, 5])  # the target of a row is still unknown
    called = found.network(found.x, found.y)
    np.testing.assert_array_equal(called["g"], [0, 1, 1])
    assert called["g"].dtype.kind == "i"
    whole = {"t": [1.0, 2.0, 3.0], "n": [3, None, 4], "y": [1.0, 2.0, 3.0]}
    found = brg_prob.bind(whole, recorder("x, n, y=None"), drop_missing=True)
    assert found.network(found.x)["n"].dtype.kind == "i"
    with pytest.raises(UsageError, match="1 usable row: at least two"):
        brg_prob.bind({"t": [1.0, np.inf], "y": [1.0, 2.0]}, recorder("x, y=None"), drop_missing=True)
    with pytest.raises(UsageError, match="1 usable row: at least two"):
        brg_prob.bind({"t": [1.0, 2.0], "y": [1.0, np.nan]}, recorder("x, y=None"), drop_missing=True)


class Trend:
    """A readout whose features need a column."""

    outputs, noise, noise_spread = 1, 0.5, 0.0

    def sample_hidden(self, key):
        return {}

    def features(self, x, hidden, station):
        return jnp.stack([jnp.ones(len(x)), x[:, 0], 1.0 * station], axis=1)

    def readout_prior(self, hidden):
        return isotropic_prior(3, variance=1.0)

    def __call__(self, x, y=None, *, station):
        return self.features(x, {}, station), y


def test_a_class_is_bound_for_its_instances():
    found = brg_prob.bind({"station": [0, 1], "t": [1.0, 2.0], "y": [1.0, 2.0]}, Trend)
    assert found.arguments == {"station": "station"}
    assert isinstance(found.of(Trend()), LinearReadout)
    with pytest.raises(UsageError, match="Trend is a class; bind an instance"):
        _ = found.network


def test_a_readout_stays_one_under_jit_and_at_other_rows():
    table = {"station": [0, 1, 0, 1], "t": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, np.nan, 4.0]}
    found = brg_prob.bind(table, Trend(), drop_missing=True)
    assert isinstance(found.network, LinearReadout)
    np.testing.assert_array_equal(found.y, [1, 2, 4])  # a field's rows without a target are of no use
    expected = np.array([[1, 1, 0], [1, 2, 1], [1, 4, 1]])
    np.testing.assert_array_equal(jax.jit(lambda x: found.network.features(x, {}))(found.x), expected)
    np.testing.assert_array_equal(found.network(found.x[::-1])[0], expected[::-1])
    rows = jax.vmap(lambda row: found.network.features(row[None], {})[0])(jnp.asarray(found.x))
    np.testing.assert_array_equal(rows, expected)
    constant = table | {"y": [3.0] * 4}
    with pytest.raises(UsageError, match=r"target 'y' of the table is constant \(3\): there is nothing"):
        brg_prob.bind(constant, Trend())
    words = table | {"y": ["a", "b", "a", "b"]}
    with pytest.raises(UsageError, match=r"target 'y' of the table holds categories, .* values of a field"):
        brg_prob.bind(words, Trend())
    assert brg_prob.bind(words, recorder("x, station, y=None")).y.tolist() == [0, 1, 0, 1]
    # the control: a model of one's own may have counts that are all the same
    assert len(brg_prob.bind(constant, recorder("x, station, y=None")).y) == 4


def test_whole_numbers_that_a_float_cannot_hold_are_refused():
    model = recorder("x, code, y=None")
    large = {"t": [1.0, 2.0], "y": [1.0, 2.0]}
    assert brg_prob.bind(large | {"code": [0, 2**53]}, model).arguments == {"code": "code"}
    with pytest.raises(UsageError, match=rf"'code' .* up to {2**53 + 2}, which double precision"):
        brg_prob.bind(large | {"code": [0, 2**53 + 2]}, model)
    with jax.enable_x64(False):
        with pytest.raises(UsageError, match=rf"up to {2**24 + 1}, which single precision .* from 0"):
            brg_prob.bind(large | {"code": [0, 2**24 + 1]}, model)
        found = brg_prob.bind(large | {"code": [1, 2**24]}, model)
        called = found.network(jnp.asarray(found.x))
        np.testing.assert_array_equal(called["code"], [1, 2**24])
        assert called["code"].dtype.kind == "i"


def test_a_bound_model_is_run():
    def model(flipper, species, mass=None, *, spread=2.0):
        b = numpyro.sample("b", dist.Normal(0.0, spread))
        with numpyro.plate("kinds", 2):
            a = numpyro.sample("a", dist.Normal(0.0, spread))
        numpyro.sample("mass", dist.Normal(a[species] + b * flipper, 0.5), obs=mass)

    rng = np.random.default_rng(0)
    species, flipper = rng.integers(0, 2, 40), rng.normal(size=40)
    mass = np.array([-1.0, 1.5])[species] + 0.7 * flipper + 0.5 * rng.normal(size=40)
    frame = pd.DataFrame(
        {"species": np.array(["gentoo", "adelie"])[species], "mass": mass, "flipper": flipper}
    )
    found = brg_prob.bind(frame, model, spread=3.0)
    tree = brg_prob.fit(
        found.network, found.x, found.y, engine=brg_prob.Laplace(), key=jax.random.key(0), draws=4000
    )
    # linear regression in closed form; the codes are alphabetical, so adelie comes first
    design = np.stack([species == 1, species == 0, flipper], axis=1).astype(float)
    precision = design.T @ design / 0.25 + np.eye(3) / 9.0
    mean = np.linalg.solve(precision, design.T @ mass / 0.25)
    draws = tree["posterior"].to_dataset()
    drawn = np.array([*draws["a"].mean(("chain", "draw")).values, draws["b"].mean().item()])
    error = np.sqrt(np.diag(np.linalg.inv(precision)) / 4000)
    assert np.abs((drawn - mean) / error).max() < 5
    assert np.abs((drawn[[1, 0, 2]] - mean) / error).max() > 50  # the control: codes the other way round


def test_a_model_may_count_its_groups_inside_a_compiled_function():
    def model(species, y=None):
        groups = int(species.max()) + 1
        a = numpyro.sample("a", dist.Normal(0, 1).expand([groups]).to_event(1))
        numpyro.sample("y", dist.Normal(a[species], 1.0), obs=y)

    taken = brg_prob.bind({"species": [0, 2, 1, 2], "y": [0.1, 0.4, 0.3, 0.2]}, model)
    data = Conditioned.of(taken.network, taken.x, taken.y)
    found = jax.jit(data.log_likelihood)({"a": jnp.arange(3.0)})["y"]
    np.testing.assert_allclose(found, stats.norm.logpdf([0.1, 0.4, 0.3, 0.2], [0, 2, 1, 2]), rtol=1e-12)


def test_a_target_that_is_no_column_is_never_another_one():
    """A misspelt name of a target or of an argument, beside others that are columns by name."""

    def model(rain, baited, count=None): ...

    table = {"rain": [1.0, 2.0], "baited": [0, 1], "trap": [3.5, 4.5]}
    with pytest.raises(UsageError, match=r"observes 'count', which is no column of the table; .*--target"):
        brg_prob.bind(table, model)
    with pytest.raises(UsageError, match=r"did you mean 'counts'\?; else name the column in --target"):
        brg_prob.bind(table | {"counts": [1, 2]}, model)
    with pytest.raises(UsageError, match=r"needs 'rain', which is no column"):
        brg_prob.bind({"rainfall": [1.0, 2.0], "baited": [0, 1], "count": [3, 4]}, model)
    assert brg_prob.bind(table | {"counts": [1, 2]}, model, target="counts").target == ("counts",)


def test_the_last_column_is_said_to_be_the_target():
    found = brg_prob.bind({"t": [1.0, 2.0], "level": [3.0, 4.0]}, lambda x, y=None: None)
    assert (found.target, found.notes) == (("level",), ("level, the last column, is what is observed",))


def test_numbers_as_text_are_no_levels():
    with pytest.raises(UsageError, match=r"column 'y' holds numbers as text, such as '10'"):
        brg_prob.bind({"x": [1.0, 2.0], "y": ["10", "9"]}, lambda x, y=None: None)
