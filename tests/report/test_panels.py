"""The slider's panels: the numbers of the tree, whatever of it is there."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from brg_prob.report.interactive import slider
from brg_prob.report.panels import MOST_MODES, MOST_ROWS, _ticks, plain


def panels(tree):
    return {panel.name: panel for panel in slider(tree).panels}


def test_panels_carry_the_numbers_of_the_tree(tree):
    content = {panel["name"]: panel for panel in slider(tree).content()["panels"]}
    slides, theory = tree["slides"], tree["theory"]
    moving = content["moving-field"]["moving"]["field"]
    np.testing.assert_allclose(moving["mean"], slides["field_mean"].values, rtol=1e-5)
    np.testing.assert_allclose(
        np.array(moving["high"]) - moving["low"], 4 * slides["field_sd"].values, rtol=1e-4
    )
    np.testing.assert_allclose(
        content["moving-propagator"]["moving"]["modes"]["y"], theory["measured"].values, rtol=1e-5
    )
    bars = content["moving-histogram"]["moving"]["bars"]["y"]
    np.testing.assert_allclose(np.array(bars) @ np.diff(slides["bin_edge"].values), 1, rtol=1e-4)
    normal = content["moving-histogram"]["moving"]["normal"]
    area = np.trapezoid(normal["y"], normal["x"], axis=1)
    np.testing.assert_allclose(area, 1, atol=1e-3)  # within 3.5 standard deviations


def test_fisher_panel_counts_what_lies_above_the_threshold(tree):
    panel = panels(tree)["moving-fisher"]
    observations = tree["flow"]["observations"].values
    above = (tree["theory"]["fisher_measured"].values[None, :] * observations[:, None] >= 1).sum(axis=1)
    assert [int(caption.split()[0]) for caption in panel.captions] == above.tolist()
    assert above[0] > above[-1]


def with_zeros(tree, *, floor=1e-9):
    """The tree with two modes that the data cannot see: one zero, one of round-off below the floor."""
    changed = tree.copy(deep=True)
    theory = changed["theory"].to_dataset().copy(deep=True)
    theory["fisher_measured"].values[[5, 60]] = [0.0, 1e-17]
    changed["theory"] = xr.DataTree(theory)
    changed["fisher"].attrs["floor"] = floor
    return changed


def test_an_eigenvalue_of_zero_stands_at_the_bottom_at_a_tick_that_says_0(tree):
    panel = panels(with_zeros(tree))["moving-fisher"]
    axis = panel.layers[0]["encoding"]["y"]
    bottom, top = axis["scale"]["domain"]
    seen = np.delete(tree["theory"]["fisher_measured"].values, [5, 60])
    placed = np.sort(panel.content()["fixed"]["modes"]["y"])
    assert placed[:2].tolist() == [bottom, bottom] and 0 < bottom < 0.8 * seen.min() < top
    np.testing.assert_allclose(placed[2:], np.sort(seen), rtol=1e-5)
    assert axis["axis"]["values"][0] == bottom and axis["axis"]["values"][1] > seen.min() / 1.3
    assert axis["scale"] == panel.layers[1]["encoding"]["y"]["scale"]  # the threshold's, too
    assert all(
        caption.endswith("2 with λ = 0, to rounding, stand at the tick 0.") for caption in panel.captions
    )
    # without zeros there is no such tick; without a floor round-off is a number like another
    plain_axis = panels(tree)["moving-fisher"].layers[0]["encoding"]["y"]["axis"]
    assert "labelExpr" not in plain_axis and "tick 0" not in panels(tree)["moving-fisher"].captions[0]
    assert "1 with λ = 0" in panels(with_zeros(tree, floor=0.0))["moving-fisher"].captions[0]


def test_text_of_a_user_stands_in_titles_only(tree, fields):
    """Titles are text nodes; what Vega evaluates or reads as a path holds none of it."""
    content = slider(tree).content()

    def texts(value, path=()):
        if isinstance(value, dict):
            for key, entry in value.items():
                yield from texts(entry, (*path, key))
        elif isinstance(value, list):
            for entry in value:
                yield from texts(entry, path)
        elif isinstance(value, str):
            yield path, value

    hostile = [path for path, text in texts(content) if "script" in text]
    assert hostile
    assert {path[-1] for path in hostile} == {"title"}
    for path, text in texts(content):
        if path[-1] in ("test", "field", "expr", "name"):
            assert re.fullmatch(r"[a-z.-]+", text), path


def test_what_a_run_does_not_hold_is_left_out_and_said(tree):
    without = tree.copy()
    del without["slides"]
    made = slider(without)
    assert [panel.name for panel in made.panels] == ["moving-propagator", "moving-fisher"]
    assert "does not hold the field along a line and a histogram" in made.note
    for group in ("theory", "record", "trust"):
        del without[group]
    assert [panel.name for panel in slider(without).panels] == ["moving-fisher"]
    assert "does not hold" not in slider(tree).note


def test_inputs_in_several_dimensions_leave_the_field_panel_out(tree):
    changed = tree.copy(deep=True)
    slides = changed["slides"].to_dataset()
    plane = slides.drop_vars("input").assign(input=(("row", "dim"), np.ones((slides.sizes["row"], 2))))
    changed["slides"] = xr.DataTree(plane)
    record = changed["record"].to_dataset()
    plane = record.drop_vars("input").assign(input=(("row", "dim"), np.ones((record.sizes["row"], 2))))
    changed["record"] = xr.DataTree(plane)
    assert list(panels(changed)) == ["moving-propagator", "moving-fisher", "moving-histogram"]


def test_scales_without_a_number_of_observations_have_no_threshold(tree):
    changed = tree.copy(deep=True)
    flow = changed["flow"].to_dataset()
    changed["flow"] = xr.DataTree(flow.assign(observations=("scale", np.full(flow.sizes["scale"], np.nan))))
    made = slider(changed)
    content = json.dumps(made.content(), allow_nan=False)
    assert '"level": [[null]' in content
    assert made.texts[0].startswith("cutoff Λ_I = ")
    assert "No number of observations" in panels(changed)["moving-fisher"].captions[0]


def test_modes_that_a_shell_dropped_are_not_drawn(tree):
    changed = tree.copy(deep=True)
    theory = changed["theory"].to_dataset().copy(deep=True)
    for name in ("predicted", "measured", "se"):
        theory[name].values[3, 10:] = 0.0
    changed["theory"] = xr.DataTree(theory)
    modes = panels(changed)["moving-propagator"].content()["moving"]["modes"]["y"]
    assert modes[3].count(None) == theory.sizes["momentum"] - 10
    assert modes[2].count(None) == 0


def test_an_error_bar_that_reaches_below_zero_ends_at_the_axis(tree):
    changed = tree.copy(deep=True)
    theory = changed["theory"].to_dataset().copy(deep=True)
    theory["se"].values[2, 7] = 2 * theory["measured"].values[2, 7]
    changed["theory"] = xr.DataTree(theory)
    panel = panels(changed)["moving-propagator"]
    bottom = panel.layers[1]["encoding"]["y"]["scale"]["domain"][0]
    low = np.array(panel.content()["moving"]["modes"]["low"])
    assert low[2, 7] == bottom and (np.delete(low.ravel(), 2 * low.shape[1] + 7) > bottom).all()


def test_a_single_scale_has_no_slider(tree):
    single = tree.copy()
    single["flow"] = xr.DataTree(tree["flow"].to_dataset().isel(scale=[0]))
    assert slider(single) is None


def test_long_records_are_thinned_and_the_page_says_so(tree):
    changed = tree.copy()
    slides = tree["slides"].to_dataset()
    long = slides.isel(row=np.repeat(np.arange(slides.sizes["row"]), 3))
    changed["slides"] = xr.DataTree(long)
    theory = tree["theory"].to_dataset()
    changed["theory"] = xr.DataTree(theory.isel(momentum=np.repeat(np.arange(63), 4)))
    made = slider(changed)
    found = {panel.name: panel.content() for panel in made.panels}
    assert len(found["moving-field"]["fixed"]["field"]["x"]) == MOST_ROWS
    assert len(found["moving-propagator"]["fixed"]["modes"]["x"]) == MOST_MODES
    assert "500 of 1200 inputs are drawn" in made.note
    assert "200 of 252 modes are drawn" in made.note


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.5, 30, [0.5, 1, 2, 5, 10, 20]),
        (1e-3, 1e3, [1e-3, 0.01, 0.1, 1, 10, 100, 1000]),
        (1e-9, 1e9, [1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_few_and_round(low, high, ticks):
    assert _ticks(low, high) == pytest.approx(ticks)


def test_numbers_in_panels_have_six_digits_and_no_nan():
    assert plain(np.array([[1 / 3, np.nan], [np.inf, 2]])) == [[0.333333, None], [None, 2.0]]
    assert plain(np.array([True, False])) == [True, False]
