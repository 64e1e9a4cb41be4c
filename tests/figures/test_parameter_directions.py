"""Figures of what the data determine: they show the tree's numbers, and say what is true of them."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from brg_prob import figures
from brg_prob.geometry.contraction import contraction
from brg_prob.geometry.sloppiness import direction_table

DRAWN = (figures.sloppiness_picture, figures.participation_picture, figures.contraction_picture)
HOSTILE = (
    "$x_{",
    "a\nb",
    "\x00tab\t",
    "<b>&",
    "日本語",
    "<script>alert(1)</script>",
    "\\frac{",
    "%s{}{0}",
    "=1+1",
)


def model_tree(labels, modes=None, *, zeros=0, seen=200, conflicting=0, weight=1):
    """Random directions and eigenvalues over six decades, and draws that go with them."""
    rng = np.random.default_rng(len(labels))
    size = len(labels)
    modes = modes or size
    rows = np.linalg.qr(4 * np.eye(size) + rng.standard_normal((size, size)))[0][:modes]
    values = np.geomspace(10, 1e-5, modes)
    values[modes - zeros :] = 0
    metric = SimpleNamespace(eigenvalues=values, directions=rows, labels=labels, observations=seen)
    variance = 1 - (seen * values / (1 + seen * values)) @ rows**2
    mean = np.where(np.arange(size) < conflicting, 9.0, 0.3)
    draws = mean + np.sqrt(variance) * rng.standard_normal((1, 500, size))
    found = contraction(draws, independent=True, conflicts=bool(weight))
    table = xr.Dataset(
        {name: ("parameter", value) for name, value in found.items()},
        coords={"parameter": list(labels)},
        attrs={"effective_parameters": float(found["contraction"].sum()), "at_full_weight": weight},
    )
    tree = xr.DataTree.from_dict(
        {"directions": direction_table(metric, observations=seen), "parameters": table}
    )
    tree.attrs.update(observations=float(seen), n=seen)
    return tree


TREES = {
    "few": model_tree(("mu", "tau", "slope[0]", "slope[1]"), zeros=1, conflicting=1),
    "one": model_tree(("p",)),
    "many": model_tree((*(f"w[{i}]" for i in range(150)), "a", "b"), 120, zeros=20, weight=0),
}


@pytest.fixture(scope="module", params=TREES)
def drawn(request):
    tree = TREES[request.param]
    return tree, [picture for picture in (draw(tree) for draw in DRAWN) if picture is not None]


def test_pictures_stand_in_a_part_of_their_own_and_only_with_their_groups():
    found = figures.pictures(flowing(TREES["few"]))
    names = [picture.name for picture in found if picture.section == "determined"]
    assert names == ["sloppiness", "participation", "contraction"]
    assert "spectrum" not in [picture.name for picture in found]  # drawn in words already
    bare = flowing(xr.DataTree())
    assert all(draw(bare) is None for draw in DRAWN)
    assert figures.participation_picture(TREES["one"]) is None  # nothing to share


def flowing(tree):
    """The tree with the least of a flow that figures ask for."""
    again = tree.copy()
    again["flow"] = xr.DataTree(xr.Dataset({"observations": ("scale", [1.0])}, coords={"scale": [1.0]}))
    again["fisher"] = xr.DataTree(xr.Dataset({"eigenvalue": ("mode", [1.0])}))
    again.attrs.update(observations=1.0)
    return again


def test_each_has_a_message_a_caption_words_numbers_and_a_safe_drawing(drawn):
    _, pictures = drawn
    for picture in pictures:
        said = picture.title + picture.caption + picture.alt
        assert not picture.title.endswith(".")
        assert picture.caption.endswith(".")
        assert re.search(r"\d", picture.alt)
        assert not re.search(r"\bnan\b|\binf\b|e-\d\d|np\.|\{|  ", said)
        assert len(picture.numbers)
        text = figures.svg(picture)
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", text)) <= {"#000000", "#ffffff"}
        assert "http" not in text
        assert len(text) < 120_000


def test_the_numbers_are_the_trees(drawn):
    tree, pictures = drawn
    by_name = {picture.name: picture.numbers for picture in pictures}
    np.testing.assert_array_equal(by_name["sloppiness"]["eigenvalue"], tree["directions"]["eigenvalue"])
    np.testing.assert_array_equal(by_name["contraction"]["contraction"], tree["parameters"]["contraction"])
    if "participation" in by_name:
        shares = tree["directions"]["participation"].values
        np.testing.assert_array_equal(by_name["participation"]["share"], shares.ravel())


def test_every_eigenvalue_above_the_threshold_is_drawn_on_its_side_of_it():
    tree = TREES["few"]
    ax = figures.sloppiness_picture(tree).figure.axes[0]
    at = {line.get_label().split(" (")[0]: np.asarray(line.get_xdata(), dtype=float) for line in ax.lines}
    assert np.all(at["stiff"] >= 1 / 200)
    assert np.all(at["sloppy"] < 1 / 200)
    drawn = np.sort(np.concatenate([at["stiff"], at["sloppy"]]))
    values = tree["directions"]["eigenvalue"].values
    np.testing.assert_array_equal(drawn, np.sort(values[values > 0]))
    assert at["not determined"].size == 1
    assert at["not determined"][0] < values[values > 0].min()


def test_the_area_of_a_square_is_its_share():
    tree = TREES["few"]
    ax = figures.participation_picture(tree).figure.axes[0]
    areas = np.zeros((4, 4))
    for patch in ax.patches:
        column, row = patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2
        areas[round(row), round(column)] = patch.get_width() * patch.get_height()
    shares = tree["directions"]["participation"].values
    np.testing.assert_allclose(areas / 0.94**2, np.where(shares < 1e-3, 0, shares), atol=1e-12)


def test_titles_say_what_is_true_of_the_tree_and_change_with_it():
    few, many = TREES["few"], TREES["many"]
    count = int(np.sum(few["directions"]["eigenvalue"].values * 200 >= 1))
    title = figures.sloppiness_picture(few).title
    assert title.startswith(f"200 observations determine {count} of 4 directions")
    assert "1 direction is not determined" in title
    assert "20 directions are not determined" in figures.sloppiness_picture(many).title
    assert "120 of 152 eigenvalues were computed" in figures.sloppiness_picture(many).caption
    assert "not determined" not in figures.sloppiness_picture(TREES["one"]).title
    assert figures.contraction_picture(few).title.endswith("the data contradict the prior of mu")
    assert "contradict" not in figures.contraction_picture(many).title
    assert "judged at T = n only" in figures.contraction_picture(many).caption
    assert "of 152 parameters are drawn" in figures.contraction_picture(many).caption
    assert "summed by site" in figures.participation_picture(many).caption
    assert "summed by site" not in figures.participation_picture(few).caption


def test_data_that_determine_nothing_are_drawn_too():
    tree = model_tree(("a", "b", "c"), zeros=3)
    picture = figures.sloppiness_picture(tree)
    assert "determine 0 of 3 directions" in picture.title
    assert "3 directions are not determined" in picture.title
    assert "determine nothing" in picture.alt
    assert figures.svg(picture)


def loo_tree(difference, bad=0.0, branch="flow"):
    """A flow of three scales with the given differences of leave-one-out scores, standard error 1."""
    seen = np.array([200.0, 20.0, 2.0])
    columns = {
        "loo": -40.0 + np.array(difference),
        "loo_se": np.full(3, 4.0),
        "loo_difference": np.array(difference),
        "loo_difference_se": np.array([0.0, 1.0, 1.0]),
        "pareto_k_max": np.array([0.9 if bad else 0.6, 0.3, np.nan]),
        "pareto_k_bad": np.array([bad, 0.0, 0.0]),
        "observations": seen,
    }
    flow = xr.Dataset({name: ("scale", value) for name, value in columns.items()}, coords={"scale": seen})
    return xr.DataTree.from_dict({branch: flow.assign_attrs(scheme="Tempering")})


def test_leave_one_out_is_drawn_with_what_cannot_be_relied_on():
    fine = figures.loo_picture(loo_tree([0.0, -0.5, -9.0], branch="tempering/flow"))
    assert fine.title == (
        "Down to T = 20 what is left out is predicted no worse; one scale further 9.0 ± 1.0 nats are lost"
    )
    assert "no scale predicts what is left out worse" in figures.loo_picture(loo_tree([0.0, 0.5, -0.9])).title
    shaky = figures.loo_picture(loo_tree([0.0, -0.5, -9.0], bad=3.0))
    assert shaky.title.endswith("1 of 3 scales cannot be relied on")
    assert "3 observations are above the limit" in shaky.alt
    crosses = [line for line in shaky.figure.axes[0].lines if line.get_marker() == "x"]
    assert [float(x) for line in crosses for x in line.get_xdata()] == [200.0]
    assert not [line for line in fine.figure.axes[0].lines if line.get_marker() == "x"]
    np.testing.assert_array_equal(fine.numbers["elpd [nats]"], [-40.0, -40.5, -49.0])
    assert not re.search(r"\bnan\b|\{|  ", fine.title + fine.caption + fine.alt + shaky.alt)
    assert figures.svg(shaky)
    assert figures.loo_picture(TREES["few"]) is None


def distance_tree(shifts, rejected):
    """A flow of four scales, the first with the same draws on both sides, and its distance from tempering."""
    seen = np.array([200.0, 20.0, 2.0, 0.2])
    p_values = np.where(rejected, 1e-3, 0.4)
    columns = {
        "equivalent_shift": np.array([0.0, *shifts]),
        "null_shift": np.array([np.nan, 0.1, 0.1, 0.1]),
        "null_size": np.array([np.nan, 0.01, 0.01, 0.01]),
        "smallest_detectable": np.array([np.nan, 0.15, 0.15, 0.16]),
        "size": np.array([0.0, 0.01, 0.02, 0.01]),
        "p_value": np.array([np.nan, *p_values]),
        "rejected": np.array([0, *rejected]),
    }
    distance = xr.Dataset(
        {name: ("scale", values) for name, values in columns.items()}, coords={"scale": seen}
    )
    flow = xr.Dataset({"observations": ("scale", seen)}, coords={"scale": seen})
    tree = xr.DataTree.from_dict({"distance": distance, "flow": flow.assign_attrs(scheme="Diffusion")})
    tree.attrs["shift_tolerance"] = 0.3
    return tree


def test_the_distance_from_tempering_is_drawn_and_said_at_the_scales_where_it_was_found():
    apart = figures.distance_picture(distance_tree([0.42, 0.2, 0.05], [1, 1, 0]))
    assert apart.title.startswith("The flow leaves the posterior sampled anew at 2 of 4 scales")
    assert apart.title.endswith("by up to 0.42 standard deviations at T = 20")
    assert "Dotted: the shift that may go unseen, 0.3." in apart.caption
    assert "T = 200: the same draws; T = 20: 0.42 (p = 0.001)" in apart.alt
    squares = [line for line in apart.figure.axes[0].lines if line.get_marker() == "s"]
    assert [line.get_xdata().tolist() for line in squares] == [[20.0, 2.0]]
    near = figures.distance_picture(distance_tree([0.02, 0.0, 0.05], [0, 0, 0]))
    assert near.title.endswith("at every scale; a shift of 0.16 sd would be seen")
    assert not [line for line in near.figure.axes[0].lines if line.get_marker() == "s"]
    np.testing.assert_array_equal(apart.numbers["equivalent shift [sd]"], [0, 0.42, 0.2, 0.05])
    assert figures.svg(apart)
    assert figures.distance_picture(TREES["few"]) is None


def test_any_name_of_a_site_can_stand_in_the_figures():
    tree = model_tree(HOSTILE, conflicting=3)
    for draw in DRAWN:
        picture = draw(tree)
        text = figures.svg(picture)
        assert not re.search("[\x00-\x08\x0b-\x1f]", text + picture.title + picture.caption)
        assert not re.search(r"<(?!/?(svg|g|path|text|tspan|defs|use|style|clipPath|rect|image|!--)\b)", text)
        for ax in picture.figure.axes:
            assert max((len(label.get_text()) for label in ax.get_yticklabels()), default=0) < 50
