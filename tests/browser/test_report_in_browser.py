"""The report in a real browser: slider, links, downloads, themes; nothing requested, nothing executed."""

import csv
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

from brg_prob.report import write_report
from brg_prob.report.page import render_page
from brg_prob.summary import summarise

LAST = 11

# Every visible text with its colour and what it stands on.
TEXTS = """() => {
  const clear = "rgba(0, 0, 0, 0)", found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    const other = element.closest("script, style, noscript, button:disabled, .skip");
    if (!text || other || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    let under = element, ground = clear;
    for (; under && ground === clear; under = under.parentElement) {
      ground = getComputedStyle(under).backgroundColor;
    }
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    found.push({ text, colour, ground, size, bold });
  }
  return found;
}"""

# Marks of a panel by layer, and its axes' labels with the places of their ticks, in pixels.
DRAWN = """(place) => {
  const shift = (element) => {
    const at = element.transform.baseVal.consolidate()?.matrix;
    return [at?.e ?? 0, at?.f ?? 0];
  };
  const axes = [...place.querySelectorAll(".role-axis")].map((axis) => {
    const ticks = [...axis.querySelectorAll(".role-axis-tick line")].map(shift);
    const labels = [...axis.querySelectorAll(".role-axis-label text")];
    return labels.map((label, index) => ({ said: label.textContent, at: ticks[index] }));
  }).filter((axis) => axis.length > 1);
  const upright = (axis) => new Set(axis.map((label) => label.at[0])).size === 1;
  const isLayer = (group) => /layer_\\d+_marks/.test(group.getAttribute("class"));
  const layers = [...place.querySelectorAll("g")].filter(isLayer);
  const mark = (element) => ({
    shift: shift(element), path: element.getAttribute("d") || "", fill: element.getAttribute("fill"),
  });
  return {
    x: axes.find((axis) => !upright(axis)),
    y: axes.find(upright),
    layers: layers.map((group) => [...group.querySelectorAll("path, line")].map(mark)),
  };
}"""


def luminance(colour):
    """Relative luminance of ``rgb(…)``, WCAG 2.2."""
    channel = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def too_faint(page):
    """Return the texts below the contrast that WCAG AA asks for."""
    faint = []
    for text in page.evaluate(TEXTS):
        dark, bright = sorted([luminance(text["colour"]), luminance(text["ground"])])
        large = text["size"] >= 24 or (text["bold"] and text["size"] >= 18.66)
        if (bright + 0.05) / (dark + 0.05) < (3.0 if large else 4.5):
            faint.append((text["text"][:40], text["colour"], text["ground"]))
    return faint


def dead_links(page):
    """Return in-page links without a target."""
    return page.evaluate(
        "() => [...document.querySelectorAll('a[href^=\"#\"]')].map((link) => link.getAttribute('href'))"
        ".filter((target) => !document.getElementById(decodeURIComponent(target.slice(1))))"
    )


def overflow(page):
    """Return by how many pixels the page is wider than the screen."""
    return page.evaluate("() => document.documentElement.scrollWidth - innerWidth")


def move(page, at):
    """Put the slider at a scale and wait until all panels are there."""
    page.locator("#scale").fill(str(at))
    page.locator(f'#moving[data-at="{at}"]').wait_for()


def add(page, html):
    """Put something at the end of the page."""
    page.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", html)


def drawn(page, name, *, log=False):
    """Return the marks of a panel by layer and functions from pixels to values, read off the axes."""
    found = page.locator(f"#{name} .plot").evaluate(DRAWN)
    return found["layers"], _scale(found["x"], 0), _scale(found["y"], 1, log=log)


def _scale(labels, axis, *, log=False):
    """Fit the axis through its labels."""
    pixel = np.array([label["at"][axis] for label in labels])
    value = np.array([float(label["said"].replace("−", "-").replace(",", "")) for label in labels])
    slope, offset = np.polyfit(pixel, np.log(value) if log else value, 1)
    return lambda at: np.exp(slope * np.asarray(at) + offset) if log else slope * np.asarray(at) + offset


def points(path):
    """Return the corners of an SVG path, (n, 2)."""
    return np.array(re.findall(r"[ML](-?[\d.e-]+),(-?[\d.e-]+)", path), dtype=float)


# --- the slider -----------------------------------------------------------------------------------


def check_field(page, tree, at):
    layers, x, y = drawn(page, "moving-field")
    line = points(layers[2][0]["path"])
    slides = tree["slides"]
    np.testing.assert_allclose(x(line[:, 0]), slides["input"].values, atol=0.05)
    np.testing.assert_allclose(y(line[:, 1]), slides["field_mean"].values[at], atol=0.1)
    corners = points(layers[0][0]["path"])
    upper = slides["field_mean"].values[at] + 2 * slides["field_sd"].values[at]
    assert abs(y(corners[:, 1]).max() - upper.max()) < 0.1


def check_propagator(page, tree, at):
    layers, x, y = drawn(page, "moving-propagator", log=True)
    marks = np.array([mark["shift"] for mark in layers[2]])
    theory = tree["theory"]
    np.testing.assert_allclose(x(marks[:, 0]), theory["momentum"].values, atol=0.05)
    np.testing.assert_allclose(y(marks[:, 1]), theory["measured"].values[at], rtol=0.02)
    curve = points(layers[0][0]["path"])
    np.testing.assert_allclose(y(curve[:, 1]), theory["predicted"].values[at], rtol=0.02)


def check_fisher(page, tree, at):
    layers, _, y = drawn(page, "moving-fisher", log=True)
    level = 1 / tree["flow"]["observations"].values[at]
    assert y(layers[1][0]["shift"][1]) == pytest.approx(level, rel=0.03)
    above = tree["theory"]["fisher_measured"].values >= level
    filled = [mark["fill"] != "transparent" for mark in layers[0]]
    assert filled == above.tolist()
    said = page.locator("#moving-fisher figcaption").text_content()
    assert f"{above.sum()} of {above.size} modes" in said


def check_histogram(page, tree, at):
    layers, x, y = drawn(page, "moving-histogram")
    slides = tree["slides"]
    count, edge = slides["histogram"].values[at], slides["bin_edge"].values
    density = count / count.sum() / np.diff(edge)
    rise = [float(re.search(r"v(-?[\d.e-]+)", mark["path"])[1]) for mark in layers[0]]
    heights = np.array([y(0) - y(height) for height in rise])  # from the bar's top to the axis
    np.testing.assert_allclose(heights, density, atol=0.01 * density.max())
    normal = points(layers[1][0]["path"])
    peak = float(x(normal[np.argmin(normal[:, 1]), 0]))
    spread = float(slides["normal_sd"].values[at])
    assert peak == pytest.approx(float(slides["normal_mean"].values[at]), abs=0.1 * spread + 0.1)


@pytest.mark.parametrize("at", [5, LAST, 0])
def test_slider_moves_all_four_panels_to_the_numbers_of_the_tree(opened, tree, at):
    move(opened.page, at)
    for check in (check_field, check_propagator, check_fisher, check_histogram):
        check(opened.page, tree, at)


def test_panels_at_another_scale_are_noticed(opened, tree):
    move(opened.page, 2)
    for check in (check_field, check_propagator, check_fisher, check_histogram):
        with pytest.raises(AssertionError):
            check(opened.page, tree, 6)


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_eigenvalues_of_zero_are_drawn_under_all_others(visit, tree, tmp_path, size):
    changed = tree.copy(deep=True)
    theory = changed["theory"].to_dataset().copy(deep=True)
    theory["fisher_measured"].values[[5, 60]] = 0.0
    changed["theory"] = xr.DataTree(theory)
    changed["fisher"].attrs["floor"] = 1e-12
    run = SimpleNamespace(tree=changed, summary=summarise(changed), model={"source": "", "sha256": ""})
    page = visit(write_report(run, tmp_path / "report.html"), size).page
    page.locator("#moving[data-at]").wait_for()
    found = page.locator("#moving-fisher .plot").evaluate(DRAWN)
    height = np.array([mark["shift"][1] for mark in found["layers"][0]])  # pixels from the top
    others = np.delete(height, [5, 60])
    assert height[5] == height[60] > others.max() + 5
    zero, *labels = sorted(found["y"], key=lambda label: -label["at"][1])
    assert zero["said"] == "0" and zero["at"][1] == pytest.approx(height[5], abs=1)
    assert all(float(label["said"]) > 0 for label in labels)
    y = _scale(labels, 1, log=True)  # the others stand where they stood
    values = np.delete(theory["fisher_measured"].values, [5, 60])
    np.testing.assert_allclose(y(others), values, rtol=0.03)


def test_slider_says_where_it_stands(opened, tree):
    page = opened.page
    move(page, 4)
    said = page.locator("#scale-text").text_content()
    assert f"T = {tree['flow']['observations'].values[4]:.3g} " in said
    assert f"Λ′ = {tree['theory']['momentum_cutoff'].values[4]:.3g} rad/year" in said
    assert f"effective dimension {tree['flow']['effective_dimension'].values[4]:.3g}" in said
    assert page.locator("#scale").get_attribute("aria-valuetext") == said
    assert page.locator("#scale-text").get_attribute("aria-live") == "polite"
    for name in ("field", "propagator", "fisher", "histogram"):
        alt = page.locator(f"#moving-{name} .plot").get_attribute("aria-label")
        assert page.locator(f"#moving-{name} figcaption").text_content() in alt


def test_keyboard_and_buttons_move_the_slider(opened):
    page = opened.page
    assert page.get_by_label("Scale:").get_attribute("id") == "scale"
    page.locator("#scale").focus()
    for key, at in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", LAST), ("Home", 0)):
        page.keyboard.press(key)
        page.locator(f'#moving[data-at="{at}"]').wait_for()
    assert page.locator("#scale-back").is_disabled()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "scale-on"
    page.keyboard.press("Enter")
    page.locator('#moving[data-at="1"]').wait_for()
    page.locator("#scale-back").click()
    page.locator('#moving[data-at="0"]').wait_for()


# --- the page -------------------------------------------------------------------------------------


def test_every_link_in_the_page_has_its_target(opened):
    page = opened.page
    assert dead_links(page) == []
    assert page.locator("nav.contents a").count() >= 6
    page.locator("nav.contents a", has_text="Checks").click()
    assert -1 <= page.locator("#checks").bounding_box()["y"] < 400
    add(page, '<a class="added" href="#nowhere"></a>')
    assert dead_links(page) == ["#nowhere"]


def test_skip_link_comes_first_and_leads_to_the_content(opened):
    page = opened.page
    page.evaluate(
        "() => { document.body.insertAdjacentHTML('afterbegin', '<p class=added tabindex=-1></p>');"
        " document.querySelector('.added').focus(); }"
    )
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"


def test_page_is_no_wider_than_the_screen(opened):
    page = opened.page
    assert overflow(page) == 0
    add(page, '<div class="added" style="width:3000px">w</div>')
    assert overflow(page) > 0


def test_light_and_dark_follow_system_and_button_and_are_legible(opened):
    page = opened.page
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
        assert too_faint(page) == []
    assert luminance(grounds[0]) > 0.8
    assert luminance(grounds[1]) < 0.05
    button = page.locator("#theme")
    assert button.text_content() == "Light theme"
    button.click()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == grounds[0]
    page.emulate_media(color_scheme="light")
    button.click()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == grounds[1]
    button.click()
    add(page, '<p class="added" style="color:#999">faint</p>')
    assert [text for text, *_ in too_faint(page)] == ["faint"]


def test_moving_panels_are_drawn_in_colours_of_the_theme(opened):
    page = opened.page
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(
            page.locator("#moving-field .mark-line path").first.evaluate(
                "(path) => getComputedStyle(path).stroke"
            )
        )
    assert colours == ["rgb(0, 114, 178)", "rgb(93, 180, 234)"]


def test_on_paper_the_panels_stand_at_the_scale_chosen(opened):
    page = opened.page
    move(page, 3)
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("#scale", "#scale-on", "#theme", "nav.contents", ".files >> nth=0"):
        assert not page.locator(hidden).is_visible()
    assert page.locator("#scale-text").is_visible()
    assert "(scale 4 of 12)" in page.locator("#scale-text").text_content()
    assert page.locator("#moving-field svg").is_visible()
    assert luminance(page.evaluate("() => getComputedStyle(document.body).backgroundColor")) == 1
    assert too_faint(page) == []


def test_a_drawing_downloads_as_svg_that_opens_alone(opened, visit, tmp_path):
    page = opened.page
    with page.expect_download() as waiting:
        page.locator("#propagators .files a", has_text="SVG").click()
    assert waiting.value.suggested_filename == "CosNet-propagators.svg"
    target = tmp_path / "alone.svg"
    waiting.value.save_as(target)
    text = target.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert "var(" not in text
    assert root.find("{http://www.w3.org/2000/svg}rect").get("fill") == "#ffffff"
    alone = visit(target, color_scheme="dark")
    assert alone.page.evaluate("() => document.documentElement.getBBox().width") > 100
    line = alone.page.evaluate(
        "() => [...document.querySelectorAll('path')].map((path) => getComputedStyle(path).stroke)"
    )
    assert "rgb(0, 114, 178)" in line
    assert alone.troubles == []


def test_numbers_download_as_the_csv_of_the_tree(opened, tree):
    page = opened.page
    with page.expect_download() as waiting:
        page.locator("#spectrum .files a", has_text="CSV").click()
    assert waiting.value.suggested_filename == "CosNet-spectrum.csv"
    with waiting.value.path().open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    theory = tree["theory"]
    for column, name in (("eigenvalue measured", "fisher_measured"), ("momentum [rad/year]", "momentum")):
        assert sorted(float(row[column]) for row in table) == sorted(theory[name].values.tolist())


def test_nothing_was_said_asked_or_executed_that_should_not(opened):
    assert opened.troubles == []
    assert opened.page.evaluate("() => document.querySelectorAll('script:not([type])').length") == 3


# --- conditions -----------------------------------------------------------------------------------


def test_troubles_are_noticed(visit, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!DOCTYPE html><script>console.warn('w'); alert('x'); missing()</script>"
        "<img src='http://127.0.0.1:9/x.png'>",
        encoding="utf-8",
    )
    kinds = {trouble.split(":")[0] for trouble in visit(bad).troubles}
    assert {"console warning", "error", "dialog", "request"} <= kinds


def test_a_script_that_came_in_with_text_would_not_run(visit, tmp_path):
    """The second lock: were something not escaped, the page's policy still forbids it."""
    intrusion = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    text = render_page("base.html.jinja").replace("<footer>", "<footer>" + intrusion)
    page = tmp_path / "intruded.html"
    page.write_text(text, encoding="utf-8")
    found = visit(page)
    assert found.page.title() != "taken"
    assert any("Content Security Policy" in trouble for trouble in found.troubles)
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text), encoding="utf-8")
    assert visit(page).page.title() == "taken"


def test_page_is_small_and_opens_at_once(visit, report):
    """Opening is counted in the page's own time on the processor: other tests run beside this one."""
    assert report.stat().st_size < 6e6
    found = visit(report, load=False)
    tools = found.page.context.new_cdp_session(found.page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})
    found.go()
    found.page.locator("#moving[data-at]").wait_for()
    metrics = {entry["name"]: entry["value"] for entry in tools.send("Performance.getMetrics")["metrics"]}
    assert 0.01 < metrics["TaskDuration"] < 2  # parsing, style, layout, scripts, all four panels drawn
    painted = found.page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 2000


def test_without_scripts_the_page_is_a_full_report(visit, report):
    page = visit(report, java_script_enabled=False).page
    assert page.locator("noscript p").is_visible()
    for hidden in ("#scale", "#theme", "#moving-field"):
        assert not page.locator(hidden).is_visible()
    assert page.locator("h1").is_visible()
    assert page.locator("figure svg >> visible=true").count() >= 5
    assert page.locator("table.checks").is_visible()
    assert page.locator("table.scales tbody tr >> visible=true").count() == 24
    with page.expect_download() as waiting:
        page.locator("#field .files a", has_text="CSV").click()
    assert waiting.value.path().read_text(encoding="utf-8").count("\n") > 800
