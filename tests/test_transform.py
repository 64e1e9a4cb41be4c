"""Standardisation: fitted on the training data, undone in everything that is shown."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from brg_prob.transform import Standardisation


def record(seed=0, n=40, outputs=None):
    """Return a record with a mean, a trend and a scale far from standard, its rows in random order."""
    rng = np.random.default_rng(seed)
    x = rng.permutation(1951 + np.arange(n) / 12)[:, None]
    shape = (n,) if outputs is None else (n, outputs)
    trend = 7 * (x[:, 0] - 1951) if outputs is None else x * np.arange(1, outputs + 1)
    return x, 300 + trend + 5 * rng.normal(size=shape)


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("detrend", ["none", "line", "periodic"])
@pytest.mark.parametrize("standardise", [True, False])
def test_inverse_undoes_forward_for_targets_and_inputs(outputs, detrend, standardise):
    x, y = record(outputs=outputs)
    made = Standardisation.fit(x, y, detrend=detrend, standardise=standardise)
    inner_x, inner_y = made.forward_inputs(x), made.forward(x, y)
    assert inner_x.shape == x.shape
    assert inner_y.shape == y.shape
    np.testing.assert_allclose(made.inverse(inner_x, inner_y), y, rtol=1e-13)
    np.testing.assert_allclose(made.inverse_inputs(inner_x), x, rtol=1e-15)
    assert inner_x.min() == 0


@pytest.mark.parametrize("detrend", ["line", "periodic"])
def test_training_targets_become_standard_and_no_line_is_left_in_them(detrend):
    x, y = record(outputs=2, n=80)
    y += 20 * (x - 1951)
    inner = Standardisation.fit(x, y, detrend=detrend).forward(x, y)
    np.testing.assert_allclose(inner.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(inner.std(axis=0), 1, rtol=1e-12)
    slopes = [linregress(x[:, 0], target).slope for target in inner.T]
    np.testing.assert_allclose(slopes, 0, atol=1e-12)
    kept = Standardisation.fit(x, y).forward(x, y)  # negative control
    assert max(abs(linregress(x[:, 0], target).slope) for target in kept.T) > 0.1


def test_the_line_is_the_least_squares_one_about_the_mean_which_stays():
    x = np.array([[3.0], [1.0], [2.0]])
    y = np.array([30.0, 10.0, 26.0])
    made = Standardisation.fit(x, y, detrend="line", standardise=False)
    assert (made.origin, made.slope, made.intercept, made.scale) == ((1.0,), (10.0,), (-10.0,), (1.0,))
    np.testing.assert_array_equal(made.forward(x, y), [20, 20, 26])
    assert np.mean(made.forward(x, y)) == np.mean(y)


def test_no_line_hangs_on_two_points_or_on_the_season_a_record_ends_in():
    x = np.arange(126) / 12  # ten years and a half: from winter to summer
    y = 9 * np.cos(2 * np.pi * x) + np.random.default_rng(4).normal(size=x.size)
    assert abs(y[-1] - y[0]) > 2 * y.std()  # what the line between the ends would have taken off
    assert Standardisation.fit(x, y, detrend="periodic").slope == (0.0,)
    rising = y + 40 * x / x[-1]
    assert Standardisation.fit(x, rising, detrend="periodic").slope[0] == pytest.approx(
        linregress(x, rising).slope
    )
    assert Standardisation.fit(x, rising).slope == (0.0,)  # nothing by default


def test_of_several_targets_each_has_its_own_line():
    x, y = record(outputs=2, n=80)
    y[:, 0] = np.random.default_rng(3).normal(size=80)
    y[:, 1] += 30 * (x[:, 0] - 1951)
    slope = Standardisation.fit(x, y, detrend="periodic").slope
    assert slope[0] == 0 and slope[1] == pytest.approx(linregress(x[:, 0], y[:, 1]).slope)


def test_held_out_points_use_the_training_fit():
    x, y = record()
    made = Standardisation.fit(x[::2], y[::2])
    again = made.inverse(made.forward_inputs(x[1::2]), made.forward(x[1::2], y[1::2]))
    np.testing.assert_allclose(again, y[1::2], rtol=1e-13)
    assert made != Standardisation.fit(x, y)


def test_several_dimensions_lose_the_mean_only():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=30) * 4 + 9
    made = Standardisation.fit(x, y, detrend="periodic")
    assert (made.slope, made.detrend) == ((0.0,), "none")
    with pytest.raises(ValueError, match=r"in 2 inputs.*--inputs.*--detrend none"):
        Standardisation.fit(x, y, detrend="line")
    np.testing.assert_allclose(made.forward(x, y), (y - y.mean()) / y.std(), rtol=1e-13, atol=1e-14)


def test_neither_option_leaves_the_targets_alone():
    x, y = record()
    np.testing.assert_array_equal(Standardisation.fit(x, y, standardise=False).forward(x, y), y)


@pytest.mark.parametrize("outputs", [None, 2])
def test_draws_keep_their_leading_axes_and_moments_transform_as_they_must(outputs):
    x, y = record(outputs=outputs)
    made = Standardisation.fit(x, y)
    draws = np.random.default_rng(2).normal(size=(2, 50, *y.shape)).astype(np.float32)
    shown = made.inverse(made.forward_inputs(x), jnp.asarray(draws))
    assert shown.shape == draws.shape
    np.testing.assert_allclose(shown.std(axis=1), made.inverse_scale(draws.std(axis=1)), rtol=1e-3)
    np.testing.assert_allclose(
        shown.mean(axis=1), made.inverse(made.forward_inputs(x), draws.mean(axis=1)), rtol=1e-6
    )


def test_noise_scales_without_the_line_and_back():
    x, y = record()
    made = Standardisation.fit(x, y)
    np.testing.assert_allclose(made.inverse_scale(made.forward_scale(2.5)), 2.5, rtol=1e-15)
    assert made.inverse_scale(1.0) == made.scale[0]
    both = Standardisation.fit(*record(outputs=2))
    np.testing.assert_array_equal(both.inverse_scale(1.0), both.scale)
    np.testing.assert_array_equal(both.inverse_scale(np.ones((5, 2)))[3], both.scale)


def test_density_in_original_units_integrates_to_one():
    made = Standardisation.fit(*record())
    grid = np.linspace(-200, 900, 20001)
    inner = made.forward(np.full((len(grid), 1), 1952.0), grid)
    density = np.exp(-(inner**2) / 2 - np.log(2 * np.pi) / 2 - made.log_jacobian)
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, rtol=1e-10)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    outputs=st.sampled_from([None, 1, 3]),
    detrend=st.sampled_from(["none", "line", "periodic"]),
)
def test_json_round_trip_is_exact(seed, outputs, detrend):
    made = Standardisation.fit(*record(seed, 5, outputs), detrend=detrend)
    assert Standardisation.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_perfect_line_or_a_constant_leaves_nothing_to_learn():
    x = 1951 + np.arange(30.0) / 12
    for detrend in ("line", "periodic"):
        with pytest.raises(ValueError, match=r"once its line is removed: .*--detrend none"):
            Standardisation.fit(x, 0.3 * x + 2, detrend=detrend)
        with pytest.raises(ValueError, match="constant: there is nothing to learn"):
            Standardisation.fit(x, np.full(30, 7.1), detrend=detrend)
    Standardisation.fit(x, 0.3 * x + 2)
    with pytest.raises(ValueError, match="nothing to learn"):
        Standardisation.fit(x, np.full(30, 2.0))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 1)), np.zeros(4), "do not fit"),
        (np.zeros((1, 1)), np.zeros(1), "1 training row.*--held-out none"),
        (np.arange(4.0)[:, None], np.array([1, -1, 1, -1]) * 1e308, "overflow.*another unit"),
        (np.zeros((3, 1)), np.zeros((3, 1, 1)), "do not fit"),
        (np.arange(3.0), np.array([0, np.nan, 1]), "--drop-missing"),
        (np.ones(3), np.arange(3.0), "all inputs are equal.*--detrend none"),
    ],
)
def test_data_that_cannot_be_fitted(x, y, message):
    with pytest.raises(ValueError, match=message):
        Standardisation.fit(x, y, detrend="line")


def test_an_unknown_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="'ends' is unknown: give none, line or periodic"):
        Standardisation.fit(*record(), detrend="ends")


def test_damaged_descriptions_and_wrong_shapes_are_refused():
    made = Standardisation.fit(*record())
    good = made.to_dict()
    for change in ({"scale": [0.0]}, {"scale": [1.0, 2.0]}, {"slope": [float("nan")]}):
        with pytest.raises(ValueError, match="standardisation"):
            Standardisation.from_dict(good | change)
    with pytest.raises(ValueError, match="standardisation"):
        Standardisation.from_dict({"origin": [0.0]})
    with pytest.raises(ValueError, match="do not fit 2 output"):
        Standardisation.fit(*record(outputs=2)).inverse(np.zeros((3, 1)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"give \(n, 1\)"):
        made.forward_inputs(np.zeros((3, 2)))


def test_runs_that_do_not_name_their_rule_are_still_read():
    values = Standardisation.fit(*record()).to_dict()
    del values["detrend"]
    assert Standardisation.from_dict(values).detrend == ""


# --- what is said


def said(y, *, names=("y",), units=None, **options):
    x = 1951 + np.arange(len(y)) / 12
    return Standardisation.fit(x, y, **options).said(x, names, {"y": "°C"} if units is None else units)


def test_every_sentence_says_what_was_done_and_no_more():
    x = np.arange(60) / 59
    noise = np.random.default_rng(0).normal(size=60)
    noise = (noise - noise.mean()) / noise.std()
    noise = noise - linregress(x, noise).slope * (x - x.mean())
    flat, falling = 4 * noise + 12, 4 * noise - 30 * x + 12
    rest = (
        f"the rest was divided by its standard deviation, {4 * noise.std():.4g} °C; undone in what is shown"
    )
    assert said(flat) == f"nothing was taken off but the mean, 12 °C; {rest}"
    assert said(flat, detrend="periodic") == (
        f"nothing was taken off but the mean, 12 °C, since no fitted line stands out of the record; {rest}"
    )
    assert said(falling, detrend="periodic") == (
        "a fitted line of −30 °C over the record was taken off, because it stands out and the ends of the "
        f"record do not meet on the periodic box; then the mean, −3 °C; {rest}"
    )
    assert said(falling, detrend="line", standardise=False) == (
        "a fitted line of −30 °C over the record was taken off, as asked; the mean stayed, nothing was "
        "rescaled; undone in what is shown"
    )
    assert said(flat, standardise=False) == "nothing was done to the data"
    assert Standardisation.identity(1, flat).said(x, ("y",), {}) == "nothing was done to the data"


def test_several_targets_are_named_in_the_sentence():
    x = np.arange(60) / 59
    noise = np.random.default_rng(0).normal(size=60)
    both = np.stack([noise, noise + 50 * x], axis=1)
    text = said(both, names=("a", "b"), units={"b": "m"}, detrend="periodic")
    assert text.startswith("a: nothing was taken off but the mean, ")
    assert "; b: a fitted line of 5" in text and " m over the record" in text
    assert text.count("undone") == 1 and text.endswith("; undone in what is shown")


def test_the_first_of_several_targets_alone_takes_fields_of_one_output():
    x = np.arange(4.0)[:, None]
    both = Standardisation.fit(x, np.array([[1.0, 10], [2, 30], [4, 20], [3, 50]]))
    field = np.linspace(-1, 1, 8).reshape(2, 4)
    expected = both.inverse(x, np.stack([field, field], axis=-1))[..., 0]
    np.testing.assert_array_equal(both.first.inverse(x, field), expected)
