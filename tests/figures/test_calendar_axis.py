"""Inputs that count time have dates along their axis, at the places where these dates are."""

import json

import numpy as np
import pytest
import xarray as xr

from brg_prob import figures
from brg_prob.figures.calendar_axis import calendar_ticks
from brg_prob.figures.style import new_figure
from brg_prob.tables import Calendar

MONTHS = Calendar("yr", "0000-01-01", "month")
QUARTERS = Calendar("yr", "0000-01-01", "quarter")
DAYS = Calendar("yr", "0000-01-01", "day")
SINCE = Calendar("d", "2001-02-27", "day")
CLOCK = Calendar("h", "2001-02-27T00:00", "minute", True)


def ticks(calendar, low, high):
    fig, ax = new_figure()
    ax.set_xlim(low, high)
    calendar_ticks(ax, calendar)
    fig.draw_without_rendering()
    return dict(zip([t.get_text() for t in ax.get_xticklabels()], ax.get_xticks().tolist(), strict=True))


@pytest.mark.parametrize(
    ("calendar", "low", "high", "some"),
    [
        (MONTHS, 1950.0, 2001.0, {"1960": 1960, "1990": 1990}),
        (MONTHS, 2001.0, 2001.75, {"2001-03": 2001 + 2 / 12, "2001-05": 2001 + 4 / 12}),
        (QUARTERS, 1995.0, 1996.0, {"1995Q1": 1995, "1995Q3": 1995.5}),
        (DAYS, 2000.0, 2004.5, {"2001": 2001, "2004": 2004}),
        (SINCE, 0, 20, {"2001-03-01": 2, "2001-03-05": 6}),
        (SINCE, 0, 700, {"2001-05": 63, "2002-01": 308}),  # days of months, counted by hand
        (CLOCK, 0, 6, {"2001-02-27\n01:00": 1, "2001-02-27\n05:00": 5}),
    ],
)
def test_ticks_stand_at_the_dates_that_they_name(calendar, low, high, some):
    found = ticks(calendar, low, high)
    assert 2 <= len(found) <= 8
    for label, place in some.items():
        assert found[label] == pytest.approx(place, abs=1e-12)
    assert all(low <= at <= high for at in found.values())


def test_dates_outside_the_calendar_of_python_keep_their_numbers():
    fig, ax = new_figure()
    ax.set_xlim(9990, 20000)
    calendar_ticks(ax, DAYS)
    fig.draw_without_rendering()
    assert all(text.get_text().isdecimal() for text in ax.get_xticklabels())


def record(**attrs):
    """A record of four years of months."""
    at = 2001 + np.arange(48) / 12
    wave = np.sin(2 * np.pi * at)
    named = {"value": wave, "prior_mean": 0 * wave, "prior_sd": 1 + 0 * wave, "posterior_mean": wave / 2,
             "posterior_sd": 0.1 + 0 * wave, "training": np.arange(48) % 2, "input": at}  # fmt: skip
    names = {"input_name": "date", "input_unit": "yr", "value_name": "level", "value_unit": "m"}
    data = xr.Dataset({key: ("row", values) for key, values in named.items()}, attrs=names | attrs)
    return xr.DataTree.from_dict({"record": data})


def test_a_record_that_counts_time_has_dates_on_its_figure_and_in_its_table():
    picture = figures.field_picture(record(calendar=MONTHS.to_json()))
    after = picture.figure.axes[1]
    picture.figure.draw_without_rendering()
    labels = [text.get_text() for text in after.get_xticklabels()]
    assert labels == ["2001", "2002", "2003", "2004"]
    assert after.get_xlabel() == "date"
    assert picture.numbers["input: date"].tolist()[:2] == ["2001-01", "2001-02"]
    assert "2002" in figures.svg(picture)


def test_a_record_without_a_calendar_has_numbers():
    picture = figures.field_picture(record())
    assert picture.figure.axes[1].get_xlabel() == "date (yr)"
    assert not any("date" in name for name in picture.numbers)


def test_levels_are_named_on_the_figure_and_texts_stand_beside_all_numbers_of_its_table():
    tree = record(input_name="soil", levels=json.dumps({"soil": ["clay", "sand"], "level": ["low", "high"]}))
    data = tree["record"].to_dataset()
    data["input"] = data["training"]
    data["value"] = 1.0 - data["training"]
    data["value"][3] = np.nan
    picture = figures.field_picture(xr.DataTree.from_dict({"record": data}))
    picture.figure.draw_without_rendering()
    assert [text.get_text() for text in picture.figure.axes[1].get_xticklabels()] == ["clay", "sand"]
    assert picture.numbers["input: soil"].tolist()[:3] == ["clay", "sand", "clay"]
    assert picture.numbers["value: level"].tolist()[:4] == ["high", "low", "high", ""]
    pair = data.assign(
        input=(("row", "dim"), np.stack([data["training"].values, 2001 + np.arange(48) / 12], 1))
    )
    pair.attrs |= {
        "inputs": json.dumps(["soil", "when"]),
        "calendars": json.dumps({"when": MONTHS.to_json()}),
    }
    numbers = figures.field_picture(xr.DataTree.from_dict({"record": pair})).numbers
    assert numbers["input 1: soil"].tolist()[:2] == ["clay", "sand"]
    assert numbers["input 2: when"].tolist()[:2] == ["2001-01", "2001-02"]
