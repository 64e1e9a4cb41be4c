"""The page of a comparison: figures with messages and numbers, everything inside, hostile names inert."""

import html
import importlib.util
import io
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from brg_prob.comparison import compare, headline
from brg_prob.figures.comparison_curves import comparison_pictures
from brg_prob.figures.comparison_style import MOST_RUNS, RUNS, grid_axis
from brg_prob.figures.style import new_figure
from brg_prob.report import render_comparison

_SPEC = importlib.util.spec_from_file_location("free_runs", Path(__file__).parent / "free_runs.py")
free_runs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(free_runs)
free_run = free_runs.free_run
HOSTILE = "$x^2$</script><script>alert('x')</script>"


@pytest.fixture(scope="module")
def runs():
    masses = [1.0, 1.0, 1.3, 0.8, 1.0, 1.1, 1.2]
    return {f"run {at}": free_run(seed=at, mass=mass, draws=400) for at, mass in enumerate(masses)}


@pytest.fixture(scope="module")
def pair(runs):
    return compare({HOSTILE: runs["run 0"], "heavy": runs["run 2"]})


@pytest.fixture(scope="module")
def page(pair):
    return render_comparison(pair)


def numbers(page, name):
    """Return the numbers behind a figure as the page offers them."""
    link = re.search(rf'download="comparison-{name}\.csv" href="data:text/csv;charset=utf-8,([^"]*)"', page)
    return pd.read_csv(io.StringIO(unquote(html.unescape(link.group(1)))))


def test_the_headline_is_the_title_and_every_figure_is_there(page, pair):
    assert html.unescape(re.search(r"<h1>(.*?)</h1>", page, re.DOTALL).group(1)) == headline(pair)
    figures = re.findall(r'<figure id="([^"]+)">\s*<h3>(.+?)</h3>', page)
    assert [name for name, _ in figures] == [
        "two-point",
        "four-point",
        "power",
        "mean-field",
        "fisher",
        "flow",
    ]
    labels = re.findall(r'role="img" aria-label="([^"]*)"', page)
    assert len(labels) == 6
    assert all(len(label) > 30 for label in labels)


def test_the_numbers_on_the_page_are_those_of_the_comparison(page, pair):
    table = numbers(page, "two-point")
    tree = pair.tree["two_point"].to_dataset()
    for number, theory in enumerate(pair.pairs.theories):
        rows = table[(table["run"] == pair.names[theory.run]) & (table["state"] == theory.state)]
        np.testing.assert_array_equal(rows["two-point [hPa²]"], tree["value"].values[number])
        np.testing.assert_array_equal(rows["lag [year]"], tree["lag"].values)
    changed = table[(table["run"] == "heavy") & (table["state"] == "prior")]
    np.testing.assert_array_equal(changed["difference [standard errors]"], tree["z"].values[1])
    spectra = numbers(page, "fisher")
    found = spectra[spectra["run"] == "heavy"]["T times eigenvalue"]
    np.testing.assert_array_equal(found, pair.tree["fisher"]["weight"].values[1])


def test_hostile_names_are_text_everywhere(page):
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 3
    assert "$x^2$" in page  # in the legends: no mathematics, plain text


def test_the_page_asks_nothing_of_a_network(page):
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "default-src 'none'" in html.unescape(page)
    assert len(page) < 2_000_000


def test_settings_that_differ_are_marked(page):
    row = re.search(r'<th scope="row">model\.mass(.*?)</tr>', page, re.DOTALL).group(1)
    assert "≠" in row
    row = re.search(r'<th scope="row">model\.noise(.*?)</tr>', page, re.DOTALL).group(1)
    assert "≠" not in row


def test_one_run_shows_prior_and_posterior(runs):
    found = compare({"only": runs["run 0"]})
    page = render_comparison(found)
    assert re.findall(r'<figure id="([^"]+)">', page) == [
        "two-point",
        "four-point",
        "power",
        "fisher",
        "flow",
    ]
    assert "only: posterior against prior" in page


def test_of_seven_runs_six_are_drawn_and_all_are_listed(runs):
    found = compare(runs)
    pictures = comparison_pictures(found)
    assert all("first 6 of 7 runs" in picture.caption for picture in pictures)
    assert all(picture.numbers["run"].nunique() >= 6 for picture in pictures)
    assert len({(colour, marker) for colour, marker, _ in RUNS}) == MOST_RUNS
    for position in range(3):  # each tells the runs apart alone: in grey, in print, for any eye
        assert len({look[position] for look in RUNS}) == MOST_RUNS


def test_messages_are_true_of_the_numbers(pair):
    titles = {picture.name: picture.title for picture in comparison_pictures(pair)}
    tests = pair.tree["differences"].to_dataset()
    for name, words in (("two-point", "two-point function"), ("four-point", "four-point function")):
        rows = tests.where(tests["quantity"] == words, drop=True)
        significant = float(rows["p_value"].min()) < tests.attrs["level"]
        assert ("differ most" in titles[name]) == significant
        assert ("exceeds chance" in titles[name]) != significant
    count = pair.tree["fisher"]["distinguishable"].values
    assert all(f"{each} of 21 modes" in titles["fisher"] for each in count)


def test_a_grid_whose_steps_grow_stands_on_a_logarithmic_axis():
    _, ax = new_figure()
    even = np.linspace(0, 4, 20)
    np.testing.assert_array_equal(grid_axis(ax, even), even)
    assert ax.get_xscale() == "linear"
    growing = np.concatenate([[0.0], np.geomspace(0.1, 40, 20)])
    places = grid_axis(ax, growing)
    assert ax.get_xscale() == "log"
    assert places[0] == 0.05
    np.testing.assert_array_equal(places[1:], growing[1:])
    assert ax.xaxis.get_major_formatter()(0.05, 0) == "0"
