"""The SVG of a picture draws what matplotlib's own does, in fewer words, and leaves the figure alone."""

import importlib.util
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from brg_prob import figures
from brg_prob.figures import style, vector
from brg_prob.figures.ticks import remove_minor_ticks

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

INITIAL = {
    "stroke-linejoin": "miter",
    "stroke-linecap": "butt",
    "fill": "#000000",
    "stroke-width": "1",
    "stroke-opacity": "1",
    "fill-opacity": "1",
    "stroke-dashoffset": "0",
}
"""SVG's initial values."""


def strange_picture() -> figures.Picture:
    """Markers through which one sees, ticks, strokes that overlap, and text that looks like markup."""
    fig, (top, low) = style.new_figure(nrows=2, sharex=True)
    style.log_axis(low, "x", 1.0, 1000.0)
    at = np.geomspace(1, 1000, 50)
    top.plot(at, at, "o", color=style.BLUE, alpha=0.4)
    top.plot(at, at, "-", color=style.GREEN)
    top.plot(at[:1], at[:1], "s", color=style.ORANGE)
    low.errorbar(at, at, at / 2, fmt="^", mfc="none", color=style.VERMILION, elinewidth=0.9)
    low.vlines(at, 0, at, color=style.SKY, alpha=0.5)
    low.fill_between(at, -at, at, color=style.PURPLE, alpha=0.3, lw=0)
    low.set_ylabel('id="a" d="1.23456" url(#b) x="2.34567" <g> &', parse_math=False)
    return figures.Picture("strange", fig, "t", "c", "a", pd.DataFrame(), "field")


def plain_svg(picture: figures.Picture) -> ElementTree.Element:
    """What matplotlib writes for the same figure, as it has been laid out."""
    buffer = io.StringIO()
    picture.figure.set_layout_engine(None)
    with mpl.rc_context({"svg.fonttype": "none"}):
        picture.figure.savefig(buffer, format="svg", transparent=True)
    return ElementTree.fromstring(buffer.getvalue())


def marks(root: ElementTree.Element) -> list[tuple]:
    """Every mark in the order drawn: kind, text, numbers of its place or its path, style in force."""
    shapes = {path.get("id"): path for defs in root.iter() for path in defs if tag(defs) == "defs"}
    found = []

    def visit(element: ElementTree.Element, inherited: dict[str, str]) -> None:
        kind, own = tag(element), declared(element)
        if kind == "g" and "opacity" in own:
            own["group-opacity"] = own.pop("opacity")  # not the same: marks inside do not add up
        here = inherited | own
        if kind == "path":
            strokes = re.findall(r"M[^M]*", element.get("d", ""))  # those of one style may share a path
            found.extend(("path", "", stroke, here) for stroke in strokes)
            # one path shows no overlaps of its strokes
            assert len(strokes) == 1 or here.get("opacity", "1") == here["stroke-opacity"] == "1"
        if kind == "text":
            words = "".join(element.itertext())
            found.append(("text", words, f"{element.get('x')} {element.get('y')}", here))
        if kind == "use":
            reference = next(value for name, value in element.attrib.items() if name.endswith("href"))
            shape = shapes[reference[1:]]
            found.append(("use", "", f"{element.get('x')} {element.get('y')}", here))
            found.append(("shape", "", shape.get("d"), here | declared(shape)))
        for child in element if kind not in ("defs", "metadata", "text") else ():
            visit(child, here)

    rule = re.search(r"\*\{(.*?)\}", "".join(root.itertext()))  # matplotlib's, for all elements
    visit(root, INITIAL | (pairs(rule[1]) if rule else {}))
    return [mark for mark in found if mark[3].get("opacity") != "0"]  # matplotlib's grounds


def tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def declared(element: ElementTree.Element) -> dict[str, str]:
    """Style and clipping that an element states; fonts aside, which are the page's."""
    said = pairs(element.get("style", ""))
    if "stroke-linejoin" in element.attrib:
        said["stroke-linejoin"] = element.get("stroke-linejoin")
    colours = {variable: colour for colour, variable in style.THEME.items()}
    said = {name: colours.get(value, value) for name, value in said.items() if "family" not in name}
    said = {name: re.sub(r",\s*", " ", value) for name, value in said.items()}
    return said | ({"clip": "yes"} if element.get("clip-path") else {})


def pairs(text: str) -> dict[str, str]:
    """Names and values of a style."""
    return {
        name.strip(): value.strip() for name, _, value in (p.partition(":") for p in text.split(";")) if value
    }


def numbers(text: str) -> np.ndarray:
    return np.array(re.findall(r"-?\d+\.?\d*", text), dtype=float)


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


@pytest.mark.parametrize("draw", [strange_picture, figures.propagator_picture, figures.convergence_picture])
def test_every_mark_of_matplotlib_is_drawn_where_and_as_it_draws_it(draw, tree):
    picture = draw(*([] if draw is strange_picture else [tree]))
    own = figures.svg(picture)
    text = own.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1)
    theirs = plain_svg(picture)
    ours, expected = marks(ElementTree.fromstring(text)), marks(theirs)
    assert len(ours) > 20
    assert [mark[:2] for mark in ours] == [mark[:2] for mark in expected]
    for (kind, _, at, look), (_, _, their_at, their_look) in zip(ours, expected, strict=True):
        np.testing.assert_allclose(numbers(at), numbers(their_at), atol=0.011, err_msg=kind)
        assert look == their_look
    assert len(own) < 0.6 * len(ElementTree.tostring(theirs))


def test_markers_with_an_opacity_of_their_own_keep_it():
    use = '<use href="#a" x="1" y="2" style="fill:red{}"/>'
    for more, together in (("", True), (";opacity:0.4", False)):
        group = f"<g>{use.format(more) * 2}</g>"
        assert (vector._MARKERS.sub(vector._together, group) != group) is together


def test_drawing_leaves_the_figure_as_it_was(tree):
    figure = figures.running_picture(tree).figure
    before = figure.canvas, figure.dpi, figure.get_layout_engine()
    picture = figures.Picture("one", figure, "t", "c", "a")
    text = figures.svg(picture)
    assert (figure.canvas, figure.dpi, figure.get_layout_engine()) == before
    assert figures.svg(picture) == text


def ticks(picture: figures.Picture, shape: str) -> np.ndarray:
    """Places of the ticks of a shape, (n, 2)."""
    text = figures.svg(picture)
    named = re.search(rf'<path id="([^"]+)" d="{shape}"', text)
    places = re.findall(rf'<use href="#{named[1]}" x="([^"]+)" y="([^"]+)"', text) if named else []
    return np.array(places, dtype=float).reshape(-1, 2)


def test_minor_ticks_stand_at_multiples_of_powers_of_ten_on_all_axes_that_share():
    fig, axes = style.new_figure(nrows=2, sharex=True)
    style.log_axis(axes[1], "x", 1.0, 1000.0)
    style.log_axis(axes[1], "x", 1.0, 1000.0)  # twice gives no second set
    axes[0].set_xlim(1, 1000)
    picture = figures.Picture("one", fig, "t", "c", "a")
    found = ticks(picture, "M0,0L0,2")
    multiples = np.concatenate([np.arange(2, 10) * 10**power for power in range(3)])
    box = axes[0].get_position()
    width = 72 * fig.get_size_inches()[0]
    expected = width * (box.x0 + box.width * np.log10(multiples) / 3)
    for height in np.unique(found[:, 1]):
        np.testing.assert_allclose(found[found[:, 1] == height, 0], expected, atol=0.011)
    assert found.shape == (48, 2)
    assert ticks(picture, "M0,0L-2,0").size == 0  # the vertical axes are linear
    axes[0].set_xlim(10, 100)
    assert ticks(picture, "M0,0L0,2").shape == (16, 2)
    remove_minor_ticks(axes[0], "x")
    assert ticks(picture, "M0,0L0,2").size == 0


def test_minor_ticks_leave_limits_and_legends_alone():
    (_, ours), (_, theirs) = style.new_figure(), style.new_figure()
    for ax in (ours, theirs):
        ax.plot([1.0, 50.0], [1.0, 2.0], label="a line")
    style.log_axis(ours, "x", 1.0, 50.0)
    theirs.set_xscale("log")
    assert ours.get_xlim() == theirs.get_xlim()
    assert len(ours.lines) == 1
    assert ours.get_legend_handles_labels()[1] == ["a line"]
