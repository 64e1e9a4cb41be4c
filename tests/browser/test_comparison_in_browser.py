"""The page of a comparison in a real browser: it fits, is legible, asks nothing, and names stay text."""

import csv
import importlib.util
import io
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from brg_prob.comparison import compare
from brg_prob.report import render_comparison


def _beside(path):
    """Return a file of the tests as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
free_run = _beside(HERE.parent / "comparison" / "free_runs.py").free_run
looking = _beside(HERE / "test_report_in_browser.py")
# names are cut at 40 characters: short enough to stay whole
HOSTILE = "</title><script>alert(1)</script>$x^2$"
IMAGE = '<img src=x onerror="alert(2)">{{7*7}}'
LONG = "a run whose name goes on " + "and_on_" * 30
SOURCE = "</td></style><svg onload=alert(3)>\"'`.csv"
# Texts that are wider than their place.
CUT = """() => [...document.querySelectorAll("h1, h2, h3, p, li, figcaption")]
  .filter((element) => element.scrollWidth > element.clientWidth + 1).map((element) => element.textContent)"""
PICTURES = ["two-point", "four-point", "power", "mean-field", "fisher", "flow"]


@pytest.fixture(scope="module")
def comparison():
    """Three free scalars; two names would run if they could, the third has no place to break."""
    masses = {HOSTILE: 1.0, IMAGE: 1.3, LONG: 0.8}
    return compare(
        {
            name: free_run(seed=at, mass=mass, draws=200, source=SOURCE)
            for at, (name, mass) in enumerate(masses.items())
        }
    )


@pytest.fixture(scope="module")
def file(comparison, tmp_path_factory):
    """The page as a file."""
    path = tmp_path_factory.mktemp("comparison") / "comparison é 1.html"
    path.write_text(render_comparison(comparison), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def laptop(visit, file):
    """The page at a laptop's width."""
    return visit(file, "laptop")


@pytest.fixture(scope="module")
def phone(visit, file):
    """The page at a phone's width."""
    return visit(file, "phone")


@pytest.fixture(scope="module", params=("laptop", "phone"))
def shown(request):
    """The page at both widths."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def opened(shown):
    """The page as a reader finds it; what a test changed is taken back."""
    yield shown
    shown.page.emulate_media(media="screen", color_scheme="light")
    shown.page.evaluate(
        "() => { delete document.documentElement.dataset.theme; scrollTo(0, 0);"
        " document.querySelectorAll('.added').forEach((element) => element.remove()); }"
    )


def test_names_are_shown_as_text_and_nothing_of_them_runs(opened, comparison):
    page = opened.page
    assert comparison.names[:2] == (HOSTILE, IMAGE)
    assert opened.troubles == []
    counts = {"script:not([type])": 1, "img": 0, "[onload], [onerror]": 0, "svg": len(PICTURES)}
    assert {place: page.locator(place).count() for place in counts} == counts
    for place in ("p.over", "table.theories", "table.settings"):
        for name in (HOSTILE, IMAGE):
            assert name in page.locator(place).text_content()
    assert SOURCE in page.locator("table.settings").text_content()
    assert HOSTILE in page.title()


def test_page_is_no_wider_than_the_screen(opened):
    page = opened.page
    assert looking.overflow(page) == 0
    assert page.evaluate(CUT) == []
    looking.add(page, '<div class="added" style="width:3000px">w</div>')
    assert looking.overflow(page) > 0


def test_wide_tables_scroll_in_their_frame_and_by_keyboard(opened):
    page = opened.page
    frames = page.locator(".scroll")
    assert frames.count() == 4
    for at in range(frames.count()):
        frame = frames.nth(at)
        assert frame.get_attribute("tabindex") == "0" and frame.get_attribute("aria-label")
        box = frame.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]
    if page.viewport_size["width"] < 600:
        frames.first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.querySelector('.scroll').scrollLeft > 0")


def test_every_link_has_its_target(opened):
    page = opened.page
    assert looking.dead_links(page) == []
    assert page.locator("nav.contents a").count() >= 6
    page.locator("nav.contents a", has_text="Differences").click()
    assert -1 <= page.locator("#differences").bounding_box()["y"] < 400
    looking.add(page, '<a class="added" href="#nowhere"></a>')
    assert looking.dead_links(page) == ["#nowhere"]


def test_both_themes_are_legible(opened):
    page = opened.page
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
        assert looking.too_faint(page) == []
    assert looking.luminance(grounds[0]) > 0.8 and looking.luminance(grounds[1]) < 0.05
    page.locator("#theme").click()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == grounds[0]
    looking.add(page, '<p class="added" style="color:#999">faint</p>')
    assert [text for text, *_ in looking.too_faint(page)] == ["faint"]


def test_each_picture_says_what_it_shows(opened):
    page = opened.page
    assert page.locator("figure").evaluate_all("(all) => all.map((one) => one.id)") == PICTURES
    for name in PICTURES:
        picture = page.locator(f"#{name} [role=img]")
        assert len(picture.get_attribute("aria-label")) > 60
        assert picture.bounding_box()["width"] > 250


def check_files(name, drawing, numbers, comparison):
    """A drawing that holds nothing but a drawing, a table that names the runs."""
    elements = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawing).iter()}
    assert "path" in elements and not elements & {"script", "image", "img", "foreignObject"}
    assert "var(" not in drawing
    table = list(csv.DictReader(io.StringIO(numbers, newline="")))
    others = comparison.names[1:] if name == "mean-field" else comparison.names
    assert {row["run"] for row in table} == set(others)
    return table


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_offers_its_drawing_and_its_numbers(laptop, name, comparison):
    texts = {}
    for kind, media in (("SVG", "image/svg+xml"), ("CSV", "text/csv")):
        link = laptop.page.locator(f"#{name} .files a", has_text=kind)
        assert link.get_attribute("download") == f"comparison-{name}.{kind.lower()}"
        head, _, content = link.get_attribute("href").partition(",")
        assert head == f"data:{media};charset=utf-8"
        texts[kind] = unquote(content, errors="strict")
    check_files(name, texts["SVG"], texts["CSV"], comparison)


def test_a_click_downloads_the_numbers_of_the_comparison(laptop, comparison):
    texts = {}
    for kind in ("SVG", "CSV"):
        with laptop.page.expect_download() as waiting:
            laptop.page.locator("#two-point .files a", has_text=kind).click()
        assert waiting.value.suggested_filename == f"comparison-two-point.{kind.lower()}"
        texts[kind] = waiting.value.path().read_bytes().decode("utf-8")
    table = check_files("two-point", texts["SVG"], texts["CSV"], comparison)
    rows = [row for row in table if (row["run"], row["state"]) == (IMAGE, "posterior")]
    group = comparison.tree["two_point"].to_dataset()
    found = [float(row["two-point [hPa²]"]) for row in rows]
    np.testing.assert_array_equal(found, group["value"].values[1])


def test_page_is_small(file):
    assert file.stat().st_size < 6e6


def test_without_scripts_nothing_is_missing(visit, file):
    page = visit(file, java_script_enabled=False).page
    assert not page.locator("#theme").is_visible()
    assert page.locator("figure svg >> visible=true").count() == len(PICTURES)
    assert page.locator("table >> visible=true").count() == 4


def test_on_paper_every_table_is_whole(opened):
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("#theme", "nav.contents", ".files >> nth=0"):
        assert not page.locator(hidden).is_visible()
    assert looking.luminance(page.evaluate("() => getComputedStyle(document.body).backgroundColor")) == 1
    assert looking.too_faint(page) == []
