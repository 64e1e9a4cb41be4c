"""What pages share: palettes that can be read, drawings and numbers that can be taken away."""

import csv
import dataclasses
import io
import json
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from brg_prob.figures import Picture, style, svg
from brg_prob.figures.style import new_figure
from brg_prob.report import page as shared
from brg_prob.report.download import csv_text, data_uri, standalone_svg

TEXT_COLOURS = ("ink", "muted", "blue", "good", "bad", "unsure")  # links are blue


def contrast(one, other):
    """WCAG 2.2."""

    def luminance(colour):
        channel = np.array(to_rgb(colour))
        return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    dark, bright = sorted([luminance(one), luminance(other)])
    return (bright + 0.05) / (dark + 0.05)


def hostile_picture():
    fig, ax = new_figure()
    ax.plot([1.0, 2.0], [0.1, 1 / 3], color=style.BLUE, marker="o")
    ax.set_xlabel("<script>alert(1)</script> & “x” ’", parse_math=False)
    numbers = pd.DataFrame(
        {"a <b> [µm]": [1.0, 2.0], '=cmd("x")': [0.1, 1 / 3], "series": ["=1+1", 'a,"b"\nc']}
    )
    return Picture("one", fig, "A & <b>", "caption", "alt </desc><script>alert(1)</script>", numbers, "field")


@pytest.fixture(scope="module")
def picture():
    return hostile_picture()


def test_palettes_hold_every_colour_of_the_figures():
    for variable in style.THEME.values():
        name = variable.removeprefix("var(--").removesuffix(")")
        for palette in (shared.LIGHT, shared.DARK, shared.PRINT):
            assert re.fullmatch("#[0-9a-f]{6}", palette[name])


@pytest.mark.parametrize("palette", [shared.LIGHT, shared.DARK, shared.PRINT])
def test_text_is_legible_in_every_theme(palette):
    for ground in ("paper", "card"):
        for name in TEXT_COLOURS:
            assert contrast(palette[name], palette[ground]) >= 4.5, name
    for name in ("green", "vermilion", "orange", "sky", "purple"):
        if palette is shared.DARK:
            assert contrast(palette[name], palette["card"]) >= 3
    assert contrast("#999999", "#ffffff") < 4.5  # the measure can fail
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_style_gives_each_theme_its_colours():
    text = shared.style_sheet()
    assert text.count(shared.DARK["paper"]) == 2  # the system's choice, the reader's choice
    assert text.count(shared.LIGHT["paper"]) == 1
    assert text.rindex("@media print") < text.index(shared.PRINT["grid"])


def test_a_drawing_stands_alone(picture):
    text = standalone_svg(svg(picture), picture.title, picture.alt, shared.LIGHT)
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{space}title").text == picture.title
    assert root.find(f"{space}desc").text == picture.alt
    assert root.find(f"{space}rect").get("fill") == "#ffffff"
    assert "var(" not in text
    assert shared.LIGHT["blue"] in text
    assert not list(root.iter(f"{space}script"))
    here = {element.get("id") for element in root.iter()} - {None}
    referred = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert referred
    assert referred <= here
    assert "var(" in svg(picture)  # inside the page colours follow the theme


def test_a_drawing_without_a_size_is_refused():
    with pytest.raises(ValueError, match="viewBox"):
        standalone_svg("<svg></svg>", "", "", shared.LIGHT)


def test_csv_gives_back_every_bit_and_no_formula():
    values = np.random.default_rng(0).standard_normal(50) * 10.0 ** np.arange(-25, 25)
    table = pd.DataFrame(
        {"x [1/yr]": values, "count": np.arange(50), "gap": np.where(values > 0, values, np.nan)}
    )
    rows = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert [float(row["x [1/yr]"]) for row in rows] == values.tolist()
    assert [row["count"] for row in rows] == [str(k) for k in range(50)]
    assert all((row["gap"] == "") == (value <= 0) for row, value in zip(rows, values, strict=True))
    hostile = list(csv.reader(io.StringIO(csv_text(hostile_picture().numbers))))
    assert hostile[0] == ["a <b> [µm]", '\'=cmd("x")', "series"]
    assert [row[2] for row in hostile[1:]] == ["'=1+1", 'a,"b"\nc']


def test_csv_leaves_the_table_alone():
    table = pd.DataFrame({"=a": ["=b"]})
    csv_text(table)
    assert table.columns.tolist() == ["=a"]
    assert table["=a"].tolist() == ["=b"]


def test_data_uri_gives_back_the_text_and_ends_no_attribute():
    text = 'a "b" <c> & 100 % # ü\r\n\t’\\'
    uri = data_uri(text, "text/csv")
    assert unquote(uri.partition(",")[2]) == text
    assert not set('"<>&#\n\r\t ') & set(uri)


def test_drawings_carry_their_files(picture):
    (drawing,) = shared.drawings([picture], prefix="a b/..<é>c")
    assert [(kind, name) for kind, name, _ in drawing.files] == [
        ("SVG", "a-b-..-c-one.svg"),
        ("CSV", "a-b-..-c-one.csv"),
    ]
    assert drawing.section == "field"
    assert drawing.left_out == ()


def test_files_that_a_page_has_no_room_for_are_named(picture):
    other = dataclasses.replace(picture, name="two", numbers=pd.DataFrame())
    whole = shared.drawings([picture, other])
    assert [kind for kind, *_ in whole[1].files] == ["SVG"]
    sizes = {(d.name, kind): len(uri) for d in whole for kind, _, uri in d.files}
    room = sizes["one", "CSV"] + sizes["one", "SVG"]
    kept = shared.drawings([picture, other], most=room)
    assert [kind for d in kept for kind, *_ in d.files] == ["SVG", "CSV"]
    assert [d.left_out for d in kept] in ([(), ("SVG",)], [("SVG",), ()])
    none = shared.drawings([picture], most=0)[0]
    assert none.files == ()
    assert none.left_out == ("SVG", "CSV")
    macro = shared.environment().from_string('{% from "macros.html.jinja" import figure %}{{ figure(d) }}')
    assert "SVG and CSV: too large" in macro.render(d=none)


def test_figure_escapes_its_words(picture):
    macro = shared.environment().from_string('{% from "macros.html.jinja" import gallery %}{{ gallery(d) }}')
    text = macro.render(d=shared.drawings([picture]))
    assert "<script" not in text
    assert "<b>" not in text


def test_json_in_a_script_element_does_not_end_it():
    content = {"name": "</script><script>alert(1)</script><!--", "line": "\u2028", "values": [1.5, None]}
    text = str(shared.script_json(content))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == content
    with pytest.raises(ValueError, match="JSON compliant"):
        shared.script_json({"x": float("nan")})
