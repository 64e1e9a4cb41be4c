"""Fifty thousand rows and five thousand modes: a page that is small and quick, and loses no extreme."""

import csv
import io
import re
import time
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr

from brg_prob import figures
from brg_prob.arrays import thin
from brg_prob.figures.thinning import MOST_MARKERS, MOST_POINTS
from brg_prob.report import page as shared

ROWS, MODES = 50_000, 5001
PEAKS = {"value": 40.0, "prior_draw": 60.0, "posterior_mean": -50.0, "posterior_sd": 25.0}


@pytest.fixture(scope="module")
def large(fields):
    """The example's tree at another size, with a single peak in each series of the record."""
    small = fields.N, fields.CUTOFF
    fields.N, fields.CUTOFF = ROWS // 2, 2 * np.pi / fields.BOX * (MODES // 2 + 0.5)
    try:
        tree = fields.example_tree()
    finally:
        fields.N, fields.CUTOFF = small
    for place, (name, peak) in enumerate(PEAKS.items()):
        tree["record"][name].values[..., 12_347 + 7001 * place] = peak
    tree["theory"]["fisher_predicted"].values[4321] = 30.0  # a mode off the line
    return tree


@pytest.fixture(scope="module")
def made(large, reported):
    """Its report, and the seconds of processor that it took."""
    before = time.process_time()
    text = reported(large)
    return text, time.process_time() - before


@pytest.fixture(scope="module")
def drawn(large):
    """Its pictures by name."""
    return {picture.name: picture for picture in figures.pictures(large)}


def test_page_is_small_and_quick(made, large):
    text, seconds = made
    assert large["record"].sizes["row"] == ROWS
    assert large["theory"].sizes["momentum"] == MODES
    assert len(text.encode()) < 6e6
    assert seconds < 6


def test_downloads_keep_to_their_room_and_what_is_left_out_is_named(made, parse):
    page = parse(made[0])
    assert sum(len(uri) for _, uri in page.files) <= shared.MOST_DOWNLOADS
    names = {name for name, _ in page.files}
    assert "CosNet-field.csv" not in names
    assert "CosNet-field.svg" in names
    section = re.search(r'<figure id="field">.*?</figure>', made[0], flags=re.DOTALL)[0]
    assert "CSV: too large for this page; the numbers are in draws.nc" in section
    assert "1500 of 50000 data points are drawn, evenly spread, with the smallest and the largest." in section
    # what fits is whole
    table = dict(page.files)["CosNet-trust.csv"]
    assert len(list(csv.reader(io.StringIO(unquote(table))))) == 1 + MODES


def test_no_drawing_grows_with_the_record(made, text):
    sizes = [
        {
            name: len(svg)
            for name, svg in re.findall(r'<figure id="([^"]+)">.*?(<svg .*?</svg>)', one, re.DOTALL)
        }
        for one in (made[0], text)
    ]
    assert sizes[0].keys() == sizes[1].keys()
    for name, size in sizes[0].items():
        assert size < 1.4 * sizes[1][name] + 20_000, name
        assert size < 250_000


def test_extremes_of_the_field_are_drawn(drawn, large):
    record = large["record"].to_dataset()
    before, after = drawn["field"].figure.axes
    value, training = record["value"].values, record["training"].values == 1
    for ax in (before, after):
        lines = {line.get_label(): line for line in ax.lines}
        for label, rows in (("trained on", training), ("held out", ~training)):
            ends(lines[label].get_ydata(), value[rows])
        assert sum(lines[label].get_xdata().size for label in ("trained on", "held out")) <= MOST_MARKERS
        ends(lines["trained on"].get_xdata(), record["input"].values[training])
    for ax, label, curve in (
        (before, "one prior draw", record["prior_draw"].values[0]),
        (after, "posterior mean", record["posterior_mean"].values),
    ):
        line = next(line for line in ax.lines if line.get_label() == label)
        ends(line.get_ydata(), curve)
        assert line.get_xdata().size <= MOST_POINTS
    for ax, name in ((before, "prior"), (after, "posterior")):
        mean, spread = record[f"{name}_mean"].values, record[f"{name}_sd"].values
        corners = ax.collections[0].get_paths()[0].vertices
        ends(corners[:, 1], np.concatenate([mean - 2 * spread, mean + 2 * spread]))
        assert len(corners) <= 2 * MOST_POINTS + 3


def test_extremes_of_the_modes_are_drawn(drawn, large):
    theory = large["theory"].to_dataset()
    predicted = theory["fisher_predicted"].values
    line = next(line for line in drawn["spectrum"].figure.axes[0].lines if "predicted" in line.get_label())
    ends(line.get_ydata(), predicted)
    assert predicted.max() == 30
    line = next(line for line in drawn["cutoff"].figure.axes[0].lines if "predicted" in line.get_label())
    ends(line.get_xdata(), predicted)
    curves = [line for line in drawn["propagators"].figure.axes[0].lines if len(line.get_xdata()) > 100]
    scales = thin(theory.sizes["scale"], 4)
    for line, scale in zip(curves, scales, strict=True):
        ends(line.get_ydata(), theory["predicted"].values[scale])
        assert line.get_xdata().size <= MOST_POINTS
    shown = [line.get_ydata() for line in drawn["trust"].figure.axes[0].lines if len(line.get_xdata()) > 2]
    ends(np.concatenate(shown), large["trust"]["signal"].values)


def test_numbers_are_complete(drawn, large):
    np.testing.assert_array_equal(drawn["field"].numbers["value [hPa]"], large["record"]["value"].values)
    assert len(drawn["spectrum"].numbers) == len(drawn["trust"].numbers) == MODES


def test_many_observations_in_the_plane_are_thinned_too(large):
    record = large["record"].to_dataset()
    plane = np.stack([record["input"].values] * 2, axis=1)
    changed = large.copy()
    changed["record"] = xr.DataTree(record.drop_vars("input").assign(input=(("row", "dim"), plane)))
    picture = figures.field_picture(changed)
    markers = [bars[0].get_xdata() for bars in picture.figure.axes[0].containers]
    assert sum(map(len, markers)) <= MOST_MARKERS
    ends(np.concatenate(markers), record["value"].values)
    assert "1500 of 50000 data points are drawn" in picture.caption


def ends(drawn, there):
    """What is drawn reaches as far as the data, and no farther."""
    assert (np.nanmin(drawn), np.nanmax(drawn)) == (np.min(there), np.max(there))
