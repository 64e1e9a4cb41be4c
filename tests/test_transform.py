"""Standardisation: fitted on the training data, undone in everything that is shown."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brg_prob.transform import Standardisation


def record(seed=0, n=40, outputs=None):
    """Return a record with a mean, a trend and a scale far from standard, its rows in random order."""
    rng = np.random.default_rng(seed)
    x = rng.permutation(1951 + np.arange(n) / 12)[:, None]
    shape = (n,) if outputs is None else (n, outputs)
    trend = 7 * (x[:, 0] - 1951) if outputs is None else x * np.arange(1, outputs + 1)
    return x, 300 + trend + 5 * rng.normal(size=shape)


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("detrend", [True, False])
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


def test_training_targets_become_standard_and_their_ends_meet():
    x, y = record(outputs=2)
    inner = Standardisation.fit(x, y).forward(x, y)
    np.testing.assert_allclose(inner.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(inner.std(axis=0), 1, rtol=1e-13)
    first, last = np.argmin(x[:, 0]), np.argmax(x[:, 0])
    np.testing.assert_allclose(inner[first], inner[last], atol=1e-12)
    kept = Standardisation.fit(x, y, detrend=False).forward(x, y)  # negative control
    assert np.abs(kept[first] - kept[last]).max() > 0.5


def test_the_line_is_the_one_through_first_and_last_point_in_order_of_x():
    x = np.array([[3.0], [1.0], [2.0]])
    y = np.array([30.0, 10.0, 26.0])
    made = Standardisation.fit(x, y, standardise=False)
    assert (made.origin, made.slope, made.intercept, made.scale) == ((1.0,), (10.0,), (10.0,), (1.0,))
    np.testing.assert_array_equal(made.forward(x, y), [0, 0, 6])


def test_held_out_points_use_the_training_fit():
    x, y = record()
    made = Standardisation.fit(x[::2], y[::2])
    again = made.inverse(made.forward_inputs(x[1::2]), made.forward(x[1::2], y[1::2]))
    np.testing.assert_allclose(again, y[1::2], rtol=1e-13)
    assert made != Standardisation.fit(x, y)


def test_several_dimensions_lose_the_mean_only():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=30) * 4 + 9
    made = Standardisation.fit(x, y)
    assert made.slope == (0.0,)
    np.testing.assert_allclose(made.forward(x, y), (y - y.mean()) / y.std(), rtol=1e-13, atol=1e-14)


def test_neither_option_leaves_the_targets_alone():
    x, y = record()
    np.testing.assert_array_equal(
        Standardisation.fit(x, y, detrend=False, standardise=False).forward(x, y), y
    )


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
@given(seed=st.integers(0, 10**6), outputs=st.sampled_from([None, 1, 3]), detrend=st.booleans())
def test_json_round_trip_is_exact(seed, outputs, detrend):
    made = Standardisation.fit(*record(seed, 5, outputs), detrend=detrend)
    assert Standardisation.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_perfect_line_or_a_constant_leaves_nothing_to_learn():
    x = 1951 + np.arange(30.0) / 12
    with pytest.raises(ValueError, match="detrend=False"):
        Standardisation.fit(x, 0.3 * x + 2)
    Standardisation.fit(x, 0.3 * x + 2, detrend=False)
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
        (np.ones(3), np.arange(3.0), "all inputs are equal"),
    ],
)
def test_data_that_cannot_be_fitted(x, y, message):
    with pytest.raises(ValueError, match=message):
        Standardisation.fit(x, y)


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
