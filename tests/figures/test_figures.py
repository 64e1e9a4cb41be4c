"""Figures show what the tree holds, in words too, and leave no state behind."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from brg_prob import figures
from brg_prob.figures import style

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

DRAWN = (
    figures.spectrum_picture,
    figures.propagator_picture,
    figures.running_picture,
    figures.field_picture,
    figures.evidence_picture,
)


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


@pytest.fixture(scope="module", params=DRAWN, ids=lambda draw: draw.__name__)
def picture(request, tree):
    return request.param(tree)


def labels(figure: Figure) -> list[str]:
    return [label for ax in figure.axes for label in (ax.get_xlabel(), ax.get_ylabel())]


def test_figures_leave_no_pyplot_state(picture):
    assert isinstance(picture.figure, Figure)
    assert "matplotlib.pyplot" not in sys.modules or sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_every_figure_has_a_message_a_caption_and_words_for_those_who_cannot_see_it(picture):
    assert len(picture.title) > 10
    assert picture.caption.endswith(".")
    assert re.search(r"\d", picture.alt)
    assert "{" not in picture.caption + picture.alt + picture.title  # a forgotten f-string
    assert "nan" not in picture.alt


def test_svg_follows_the_theme_and_asks_for_nothing(picture):
    text = figures.svg(picture)
    assert text.startswith("<svg viewBox=")
    assert "http" not in text
    assert not re.search(r'(src|href)="(?!#)', text)
    colours = set(re.findall(r"#[0-9a-fA-F]{6}\b", text))
    assert colours <= {"#000000", "#ffffff"}, "colours outside the theme stay light on a dark page"
    references = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert references <= set(re.findall(r'id="([^"]+)"', text))


def test_svg_identifiers_do_not_collide_between_pictures(tree):
    found = [re.findall(r'id="([^"]+)"', figures.svg(draw(tree))) for draw in DRAWN]
    every = [name for names in found for name in names]
    assert len(every) == len(set(every))


def test_svg_is_reproducible(tree):
    assert figures.svg(figures.spectrum_picture(tree)) == figures.svg(figures.spectrum_picture(tree))


def test_axes_carry_the_units_of_the_record(tree):
    found = " ".join(
        label
        for draw in (figures.spectrum_picture, figures.running_picture)
        for label in labels(draw(tree).figure)
    )
    assert "rad/year" in found
    assert "year⁻²" in found
    assert any("hPa" in label for label in labels(figures.field_picture(tree).figure))
    assert any("1/year" in label for label in labels(figures.evidence_picture(tree).figure))


def test_spectrum_draws_the_trees_eigenvalues_on_the_predicted_line(tree):
    lines = {line.get_label(): line for line in figures.spectrum_picture(tree).figure.axes[0].lines}
    theory = tree["theory"]
    line = next(line for label, line in lines.items() if label.startswith("predicted"))
    np.testing.assert_array_equal(line.get_xdata(), np.sort(theory["momentum"].values))
    np.testing.assert_array_equal(np.sort(line.get_ydata()), np.sort(theory["fisher_predicted"].values))
    assert set(lines["measured"].get_ydata()) <= set(theory["fisher_measured"].values)


def test_spectrum_counts_the_modes_above_the_threshold(tree):
    count = int(np.sum(tree["theory"]["fisher_measured"].values * example.N >= 1))
    assert figures.spectrum_picture(tree).title.startswith(f"{count} of {example.momenta().size} modes")


def test_propagators_have_error_bars_of_one_standard_error(tree):
    ax = figures.propagator_picture(tree).figure.axes[0]
    bars = ax.containers[0]
    segments = bars.lines[2][0].get_segments()
    heights = np.array([segment[1, 1] - segment[0, 1] for segment in segments])
    at = np.array([segment[0, 0] for segment in segments])
    theory = tree["theory"].to_dataset()
    se = dict(zip(theory["momentum"].values, theory["se"].values[0], strict=True))
    np.testing.assert_allclose(heights, [2 * se[p] for p in at], rtol=1e-12)


def test_running_mass_falls_and_the_flow_runs_to_the_right(tree):
    mass, dimension = figures.running_picture(tree).figure.axes
    for ax in (mass, dimension):
        left, right = ax.get_xlim()
        assert left > right
    predicted = next(line for line in mass.lines if "predicted" in str(line.get_label()))
    assert np.all(np.diff(predicted.get_ydata()) < 0)


def test_field_shows_held_out_rows_apart(tree):
    lines = {line.get_label(): line for line in figures.field_picture(tree).figure.axes[1].lines}
    training = tree["record"]["training"].values
    assert lines["trained on"].get_xdata().size == training.sum()
    assert lines["held out"].get_xdata().size == (1 - training).sum()


def test_a_title_does_not_claim_agreement_that_was_rejected(tree):
    rejected = tree.copy()
    rejected.attrs["verdict"] = "inconsistent"
    assert "lie on the curves" in figures.propagator_picture(tree).title
    assert "lie on the curves" not in figures.propagator_picture(rejected).title


@pytest.mark.parametrize("name", ["$x_{", "a\nb", "x" * 200, "\x00tab\t", "<b>&", "日本語", ""])
def test_any_column_name_can_stand_on_an_axis(tree, name):
    strange = tree.copy(deep=True)
    strange["record"].attrs.update(value_name=name, input_name=name, input_unit=name, value_unit=name)
    for draw in (figures.spectrum_picture, figures.field_picture):
        text = figures.svg(draw(strange))
        assert "\x00" not in text
        assert "<b>" not in text


def test_without_a_prediction_the_spectrum_is_drawn_by_rank(tree):
    bare = tree.copy()
    for name in ("theory", "checks", "shell", "record"):
        del bare[name]
    assert "rank" in figures.spectrum_picture(bare).figure.axes[0].get_xlabel()
    assert len(figures.running_picture(bare).figure.axes) == 1


def test_two_inputs_are_shown_against_the_data(tree):
    plane = tree.copy(deep=True)
    record = plane["record"].to_dataset()
    at = np.stack([record["input"].values] * 2, axis=1)
    plane["record"] = type(plane)(record.drop_vars("input").assign(input=(("row", "dim"), at)))
    assert "posterior mean" in figures.field_picture(plane).figure.axes[0].get_ylabel()


def test_modes_that_a_shell_dropped_have_no_deviation(tree):
    dropped = tree.copy(deep=True)
    for name in ("predicted", "measured", "se"):
        dropped["theory"][name].values[1:, 2:] = 0.0
    figure = figures.propagator_picture(dropped).figure  # warnings are errors here
    shown = [len(bars[0].get_xdata()) for bars in figure.axes[1].containers]
    whole = [len(bars[0].get_xdata()) for bars in figures.propagator_picture(tree).figure.axes[1].containers]
    assert shown[0] == whole[0]
    assert all(few < many for few, many in zip(shown[1:], whole[1:], strict=True))


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.01, "0.01"), (1e-3, "10⁻³"), (2e-3, "2·10⁻³"), (1e6, "10⁶"), (0.0, "")]
)
def test_tick_labels_are_plain_text(value, text):
    assert style.power_of_ten(value) == text
