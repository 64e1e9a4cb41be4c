"""Figures show what the tree holds, in words too, and leave no state behind."""

import csv
import importlib.util
import io
import re
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from brg_prob import figures
from brg_prob.figures import style

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

DRAWN = (
    figures.field_picture,
    figures.spectrum_picture,
    figures.cutoff_picture,
    figures.propagator_picture,
    figures.running_picture,
    figures.information_picture,
    figures.score_picture,
    figures.theories_picture,
    figures.data_spectrum_picture,
    figures.evidence_picture,
    figures.trust_picture,
    figures.convergence_picture,
)
HOSTILE = (
    "$x_{",
    "a\nb",
    "x" * 200,
    "\x00tab\t",
    "<b>&",
    "日本語",
    "",
    "<script>alert(1)</script>",
    "\\frac{",
    "\ud800",
    "%s{}{0}",
    "=1+1",
)


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


@pytest.fixture(scope="module")
def drawn(tree):
    """Every picture of the tree, by the function that draws it; drawn once."""
    return dict(zip(DRAWN, figures.pictures(tree), strict=True))


@pytest.fixture(scope="module", params=DRAWN, ids=lambda draw: draw.__name__)
def picture(request, drawn):
    return drawn[request.param]


@pytest.fixture(scope="module")
def text(picture):
    return figures.svg(picture)


def labels(figure: Figure) -> list[str]:
    own = [
        label for ax in figure.axes for label in (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left"))
    ]
    return [*own, figure.get_supylabel()]


def test_figures_leave_no_pyplot_state(picture):
    assert isinstance(picture.figure, Figure)
    assert "matplotlib.pyplot" not in sys.modules or sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_every_figure_has_a_message_a_caption_and_words_for_those_who_cannot_see_it(picture):
    assert len(picture.title) > 10
    assert not picture.title.endswith(".")
    assert picture.caption.endswith(".")
    assert picture.alt.endswith(".")
    assert re.search(r"\d", picture.alt)
    every = picture.caption + picture.alt + picture.title
    assert "{" not in every  # a forgotten f-string
    assert not re.search(r"\bnan\b|\binf\b|e-\d\d|np\.float", every)
    assert ".." not in every
    assert "  " not in every


def test_every_figure_comes_with_its_numbers_in_full_precision(picture):
    table = picture.numbers
    assert len(table)
    assert table.columns.is_unique
    assert not table.isna().all(axis=0).any()
    again = list(csv.DictReader(io.StringIO(table.to_csv(index=False))))
    for name in table.columns:
        values = table[name].to_numpy()
        if values.dtype.kind == "f":
            np.testing.assert_array_equal([float(row[name] or "nan") for row in again], values)


def test_svg_follows_the_theme_and_asks_for_nothing(text):
    assert text.startswith("<svg viewBox=")
    assert "http" not in text
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!#)', text)
    colours = set(re.findall(r"#[0-9a-fA-F]{6}\b", text))
    assert colours <= {"#000000", "#ffffff"}, "colours outside the theme stay light on a dark page"
    references = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert references <= set(re.findall(r'id="([^"]+)"', text))


def test_svg_identifiers_do_not_collide_between_pictures(picture, text):
    assert all(name.startswith(f"{picture.name}-") for name in re.findall(r'id="([^"]+)"', text))


def test_markup_in_a_name_is_shown_not_run(picture, text):
    if picture.name == "field":  # the example's column carries a script
        assert "&lt;script&gt;" in text


def test_svg_is_reproducible(picture, text, tree):
    if picture.name == "running":  # one is enough: the rest share the writer
        assert figures.svg(figures.running_picture(tree)) == text


def test_pictures_come_in_reading_order_one_of_each_name(drawn):
    found = list(drawn.values())
    names = "field spectrum cutoff propagators running information score theories data-spectrum evidence"
    assert [picture.name for picture in found] == [*names.split(), "trust", "convergence"]
    elsewhere = (
        "comparison",
        "determined",
    )  # pages of comparison; models that are no linear readout
    order = [section for section in get_args(figures.Section) if section not in elsewhere]
    places = [order.index(picture.section) for picture in found]
    assert places == sorted(places)
    assert set(places) == set(range(len(order)))


def test_a_tree_of_a_flow_alone_gives_the_pictures_it_has_groups_for(tree):
    bare = xr.DataTree.from_dict({"flow": tree["flow"].to_dataset(), "fisher": tree["fisher"].to_dataset()})
    bare.attrs.update(tree.attrs)
    assert [picture.name for picture in figures.pictures(bare)] == ["spectrum", "information", "score"]
    assert "rank" in figures.spectrum_picture(bare).figure.axes[0].get_xlabel()


def test_axes_carry_the_units_of_the_record(drawn):
    found = {draw: " ".join(labels(drawn[draw].figure)) for draw in DRAWN}
    assert "rad/year" in found[figures.spectrum_picture]
    assert "year⁻²" in found[figures.running_picture]
    assert "hPa" in found[figures.field_picture]
    assert "1/year" in found[figures.evidence_picture]
    assert "hPa² year" in found[figures.data_spectrum_picture]
    for unit in ("(year)", "hPa²", "hPa² year", "rad/year"):
        assert unit in found[figures.theories_picture]
    assert "rad/year" in found[figures.trust_picture]
    assert "rad/year" in found[figures.cutoff_picture]


def test_a_group_without_units_takes_those_of_the_record(tree):
    bare = tree.copy(deep=True)
    for group in ("field_theory", "data_spectrum"):
        bare[group].attrs.update(field_unit="", length_unit="")
    assert style.group_units(bare, "field_theory") == ("hPa", "year")
    del bare["record"]
    assert style.group_units(bare, "field_theory") == ("", "")
    assert "two-point function" in labels(figures.theories_picture(bare).figure)


@pytest.mark.parametrize(("draw", "name"), list(zip(DRAWN, HOSTILE, strict=True)))
def test_any_text_of_a_user_can_stand_in_any_figure(tree, draw, name):
    strange = tree.copy(deep=True)
    strange["record"].attrs.update(value_name=name, input_name=name, input_unit=name, value_unit=name)
    for group in ("field_theory", "data_spectrum"):
        strange[group].attrs.update(field_unit=name, length_unit=name, note=name)
    strange["diagnostics"].attrs["status"] = name
    strange["trust"].attrs.update(trend_note=name, aliased_note=name)
    table = strange["diagnostics"].to_dataset()
    strange["diagnostics"] = xr.DataTree(
        table.assign_coords(quantity=[name + str(i) for i in range(table.sizes["quantity"])])
    )
    picture = draw(strange)
    text = figures.svg(picture)
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", text + picture.title + picture.caption)
    assert not re.search(r"<(?!/?(svg|g|path|text|tspan|defs|use|style|clipPath|rect|image|!--)\b)", text)
    assert picture.numbers.to_csv().encode()
    assert max(len(label) for label in labels(picture.figure)) < 70


def test_text_keeps_its_dollars(tree):
    strange = tree.copy(deep=True)
    strange["record"].attrs["value_name"] = "cost $a$"
    assert "cost $a$" in figures.svg(figures.field_picture(strange))


def test_spectrum_draws_the_trees_eigenvalues_on_the_predicted_line(tree, drawn):
    lines = {line.get_label(): line for line in drawn[figures.spectrum_picture].figure.axes[0].lines}
    theory = tree["theory"]
    line = next(line for label, line in lines.items() if label.startswith("predicted"))
    np.testing.assert_array_equal(line.get_xdata(), np.sort(theory["momentum"].values))
    np.testing.assert_array_equal(np.sort(line.get_ydata()), np.sort(theory["fisher_predicted"].values))
    assert set(lines["measured"].get_ydata()) <= set(theory["fisher_measured"].values)


def test_spectrum_counts_the_modes_above_the_threshold(tree, drawn):
    count = int(np.sum(tree["theory"]["fisher_measured"].values * example.N >= 1))
    assert drawn[figures.spectrum_picture].title.startswith(f"{count} of {example.momenta().size} modes")


def test_propagators_have_error_bars_of_one_standard_error(tree, drawn):
    ax = drawn[figures.propagator_picture].figure.axes[0]
    bars = ax.containers[0]
    segments = bars.lines[2][0].get_segments()
    heights = np.array([segment[1, 1] - segment[0, 1] for segment in segments])
    at = np.array([segment[0, 0] for segment in segments])
    theory = tree["theory"].to_dataset()
    se = dict(zip(theory["momentum"].values, theory["se"].values[0], strict=True))
    np.testing.assert_allclose(heights, [2 * se[p] for p in at], rtol=1e-12)


def test_running_mass_falls_and_the_flow_runs_to_the_right(drawn):
    for draw in (figures.running_picture, figures.information_picture, figures.score_picture):
        left, right = drawn[draw].figure.axes[-1].get_xlim()
        assert left > right
    (mass,) = drawn[figures.running_picture].figure.axes
    predicted = next(line for line in mass.lines if "predicted" in str(line.get_label()))
    assert np.all(np.diff(predicted.get_ydata()) < 0)


def test_a_flow_without_observations_is_drawn_over_its_own_cutoff(tree):
    raw = tree.copy(deep=True)
    raw["flow"]["observations"].values[:] = np.nan
    raw["flow"] = xr.DataTree(
        raw["flow"].to_dataset().assign_coords(scale=1 / tree["flow"]["observations"].values)
    )
    picture = figures.information_picture(raw)
    assert "Λ_I" in picture.figure.axes[1].get_xlabel()
    left, right = picture.figure.axes[1].get_xlim()
    assert left < right  # the cutoff rises along the flow
    assert set(picture.numbers["series"]) == {"diffusion"}  # the shell's axis is another one
    assert figures.cutoff_picture(raw) is None


def test_field_shows_held_out_rows_apart(tree, drawn):
    lines = {line.get_label(): line for line in drawn[figures.field_picture].figure.axes[1].lines}
    training = tree["record"]["training"].values
    assert lines["trained on"].get_xdata().size == training.sum()
    assert lines["held out"].get_xdata().size == (1 - training).sum()


def test_without_a_prediction_the_spectrum_is_drawn_by_rank(tree):
    bare = tree.copy()
    for name in ("theory", "checks", "shell", "record"):
        del bare[name]
    assert "rank" in figures.spectrum_picture(bare).figure.axes[0].get_xlabel()
    assert figures.running_picture(bare) is None
    assert figures.propagator_picture(bare) is None
    assert figures.cutoff_picture(bare) is None


def test_two_inputs_are_shown_against_the_data(tree):
    plane = tree.copy(deep=True)
    record = plane["record"].to_dataset()
    at = np.stack([record["input"].values] * 2, axis=1)
    plane["record"] = type(plane)(record.drop_vars("input").assign(input=(("row", "dim"), at)))
    picture = figures.field_picture(plane)
    assert "posterior mean" in picture.figure.axes[0].get_ylabel()
    assert {"input 1 [year]", "input 2 [year]"} <= set(picture.numbers.columns)
    training = record["training"].values == 1
    miss = (record["posterior_mean"] - record["value"]).values
    held = np.sqrt(np.mean(miss[~training] ** 2))
    assert f"{held:.3g} hPa where held out" in picture.title
    assert any("hPa² year²" in label for label in labels(figures.theories_picture(plane).figure))


def test_a_field_that_nothing_moves_has_no_spread_to_narrow(tree):
    still = tree.copy(deep=True)
    record = still["record"].to_dataset()
    still["record"] = type(still)(record.assign({n: 0 * record[n] for n in ("prior_sd", "posterior_sd")}))
    titles = [figures.field_picture(each).title for each in (still, tree)]
    assert titles[0] == "The field has no spread: it is the same at every draw"
    assert titles[1].startswith("Training narrows the field to ")


def test_nothing_is_said_of_held_out_rows_where_there_are_none(tree):
    plane = tree.copy(deep=True)
    record = plane["record"].to_dataset()
    at = np.stack([record["input"].values] * 2, axis=1)
    record = record.drop_vars("input").assign(input=(("row", "dim"), at))
    captions = []
    for training in (record["training"], xr.ones_like(record["training"])):
        plane["record"] = type(plane)(record.assign(training=training))
        picture = figures.field_picture(plane)
        legend = [text.get_text() for text in picture.figure.axes[0].get_legend().get_texts()]
        captions.append(f"{picture.title} {picture.caption} {legend}".replace("held-out", "held out"))
    assert ["held out" in caption for caption in captions] == [True, False]


def test_modes_that_a_shell_dropped_have_no_deviation(tree, drawn):
    dropped = tree.copy(deep=True)
    for name in ("predicted", "measured", "se"):
        dropped["theory"][name].values[1:, 2:] = 0.0
    figure = figures.propagator_picture(dropped).figure  # warnings are errors here
    shown = [len(bars[0].get_xdata()) for bars in figure.axes[1].containers]
    whole = [len(bars[0].get_xdata()) for bars in drawn[figures.propagator_picture].figure.axes[1].containers]
    assert shown[0] == whole[0]
    assert all(few < many for few, many in zip(shown[1:], whole[1:], strict=True))


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.01, "0.01"), (1e-3, "10⁻³"), (2e-3, "2·10⁻³"), (1e6, "10⁶"), (0.0, "")]
)
def test_tick_labels_are_plain_text(value, text):
    assert style.power_of_ten(value) == text
