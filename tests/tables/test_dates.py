"""Dates are the times that they write, as numbers that come back as text; two readings are refused."""

import datetime as dt

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brg_prob.tables import Calendar, read_table

FIXED = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)

TWELFTH = "c: months as years, equispaced by a twelfth"
FOURTH = "c: quarters as years, equispaced by a fourth"
EQUAL = "c: calendar dates as years, months taken as equispaced twelfths"
WRITTEN = {
    "ISO": (["2001-02-27", "2001-03-01"], ["2001-02-27", "2001-03-01"], "c: days since 2001-02-27"),
    "slashes": (["2001/02/27", "2001/3/1"], ["2001-02-27", "2001-03-01"], "c: days since 2001-02-27"),
    "day first": (["01/02/2001", "13/04/2001"], ["2001-02-01", "2001-04-13"], "c: dates read as DD/MM/YYYY"),
    "month first": (["01/02/2001", "03/14/2001"], ["2001-01-02", "2001-03-14"],
                    "c: dates read as MM/DD/YYYY"),
    "points": (["01.02.2001", "15.02.2001"], ["2001-02-01", "2001-02-15"], "c: dates read as DD/MM/YYYY"),
    "the same either way": (["01/01/2001", "02/02/2001"], ["2001-01-01", "2001-02-02"],
                            "c: days since 2001-01-01"),
    "names of months": (["1 Jan 2001", "15-March-2001"], ["2001-01-01", "2001-03-15"],
                        "c: days since 2001-01-01"),
    "names first": (["Sept. 1, 2001", "October 3rd, 2001"], ["2001-09-01", "2001-10-03"],
                    "c: days since 2001-09-01"),
    "months": (["2001-02", "2001-03"], ["2001-02", "2001-03"], TWELFTH),
    "months by name": (["Feb 2001", "Mar 2001"], ["2001-02", "2001-03"], TWELFTH),
    "months by point": (["02.2001", "11.2001"], ["2001-02", "2001-11"], TWELFTH),
    "quarters": (["1995Q1", "1995-Q4"], ["1995Q1", "1995Q4"], FOURTH),
    "quarters first": (["Q1 1995", "Q2 1995"], ["1995Q1", "1995Q2"], FOURTH),
    "mid-month": (["2001-01-15", "2001-02-15"], ["2001-01", "2001-02"],
                  f"{EQUAL}, each at day 15"),
    "ends of months": (["2001-01-31", "2001-02-28"], ["2001-01", "2001-02"],
                       f"{EQUAL}, each at its last day"),
    "clock": (["2001-01-01 00:00", "2001-01-01T04:30:00"], ["2001-01-01T00:00", "2001-01-01T04:30"],
              "c: hours since 2001-01-01T00:00"),
    "half a day": (["1/20/2001 12:00 AM", "1/20/2001 1:05 pm"], ["2001-01-20T00:00", "2001-01-20T13:05"],
                   "c: hours since 2001-01-20T00:00"),
    "zones": (["2001-01-01T00:30:00+01:00", "2001-01-01T00:00:07Z"],
              ["2000-12-31T23:30:00Z", "2001-01-01T00:00:07Z"], "c: times converted to UTC"),
    "zones behind": (["2001-01-01 20:30 -05:00", "2001-01-01T00:00:07+0000"],
                     ["2001-01-02T01:30:00Z", "2001-01-01T00:00:07Z"], "c: times converted to UTC"),
    "UTC": (["2001-01-01T00:00:00Z", "2001-01-09T00:00:30Z"],
            ["2001-01-01T00:00:00Z", "2001-01-09T00:00:30Z"], "c: times are UTC"),
    "nanoseconds": (["2001-01-01T00:00:00.123456789", "2001-01-01T00:00:01"],
                    ["2001-01-01T00:00:00.123456", "2001-01-01T00:00:01.000000"],
                    "c: times kept to the microsecond"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITTEN)
def test_dates_as_people_write_them_come_back_as_iso_text(case, column):
    cells, texts, said = WRITTEN[case]
    table = column(*cells)
    calendar = table.calendars["c"]
    assert table.kinds["c"] == "time"
    assert table.units["c"] == calendar.unit
    assert calendar.labels(table.columns["c"]) == texts
    assert said in table.notes
    assert Calendar.from_json(calendar.to_json()) == calendar


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["01/02/2001", "03/04/2001"], ["'01/02/2001'", "DD/MM/YYYY or MM/DD/YYYY", "YYYY-MM-DD"]),
        (["01.02.2001", "03.04.2001"], ["'01.02.2001'", "DD/MM/YYYY or MM/DD/YYYY"]),
        (["13/02/2001", "03/14/2001"], ["'13/02/2001'", "'03/14/2001'"]),
        (["31/02/2001", "01/01/2001"], ["'31/02/2001'", "no time of the calendar"]),
        (["2001-02-29", "2004-02-29"], ["'2001-02-29'", "no time of the calendar"]),
        (["2001-01-01T25:00", "2001-01-01T01:00"], ["'2001-01-01T25:00'"]),
        (["2012-13", "2013-14"], ["'2012-13'"]),
        (["01/02/99", "13/02/99"], ["'01/02/99'", "two digits"]),
        (["Jan-01", "Feb-01"], ["'Jan-01'", "two digits"]),
        (["2001-01-01", "01/02/2001"], ["'2001-01-01'", "'01/02/2001'", "in one way"]),
        (["2001-01-01", "calm"], ["'2001-01-01'", "'calm'"]),
        (["2001-01-01T00:00Z", "2001-01-01T01:00"], ["'2001-01-01T01:00'", "time zone"]),
    ],
)
def test_dates_of_two_readings_or_none_are_refused_with_their_value(cells, said, column, one_line):
    message = one_line(column, *cells)
    assert "column 'c'" in message
    for part in said:
        assert part in message


def test_years_and_digits_stay_numbers(column):
    for cells in (["1990", "1991"], ["20010101", "20010102"], ["2001.25", "2001.5"]):
        table = column(*cells)
        assert table.columns["c"].tolist() == [float(cell) for cell in cells]
        assert table.kinds["c"] == "number"
        assert table.notes == ()


def test_months_and_quarters_are_equispaced_and_days_are_not(column):
    months = column(*[f"{2001 + at // 12}-{at % 12 + 1:02}-01" for at in range(36)]).columns["c"]
    np.testing.assert_array_equal(months, 2001 + np.arange(36) / 12)
    quarters = column(*[f"{1995 + at // 4}Q{at % 4 + 1}" for at in range(44)]).columns["c"]
    np.testing.assert_array_equal(quarters, np.arange(1995, 2006, 0.25))
    # the first days of months, told from days by one more: now February is shorter
    days = column("2001-01-01", "2001-02-01", "2001-03-01", "2001-03-02").columns["c"]
    np.testing.assert_array_equal(days, [0, 31, 59, 60])


def test_a_span_beyond_three_years_is_in_decimal_years(column):
    table = column("2000-01-01", "2000-07-01", "2001-07-02", "2004-01-01")
    # leap years have 366 days, of which 182 before July; 2 July 2001 is day 182 of 365
    np.testing.assert_allclose(
        table.columns["c"], [2000, 2000 + 182 / 366, 2001 + 182 / 365, 2004], rtol=1e-15
    )
    assert table.notes == ("c: calendar dates as decimal years",)


def test_missing_dates_stay_missing(column):
    table = column("2001-02-27", "", "2001-03-01", may_miss=["c"])
    np.testing.assert_array_equal(table.columns["c"], [0, np.nan, 2])
    assert table.calendars["c"].labels(table.columns["c"]) == ["2001-02-27", "", "2001-03-01"]


def test_ticks_between_the_rows_have_labels_too():
    assert Calendar("yr", "0000-01-01", "quarter").labels([1995.1, 1995.99]) == ["1995Q1", "1996Q1"]
    assert Calendar("yr", "0000-01-01", "day").labels([2000.5, 2000.9999]) == ["2000-07-02", "2001-01-01"]
    assert Calendar("h", "2001-01-01T00:00", "minute").labels([-0.5]) == ["2000-12-31T23:30"]


MOMENTS = st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(2900, 1, 1))
STEPS = {"day": dt.timedelta(1), "minute": dt.timedelta(minutes=1), "second": dt.timedelta(seconds=1)}


@settings(max_examples=150, **FIXED)
@given(
    moments=st.lists(MOMENTS, min_size=2, max_size=6), step=st.sampled_from(list(STEPS)), zone=st.booleans()
)
def test_every_time_comes_back_from_its_number(moments, step, zone, file):
    cut = [moment - (moment - dt.datetime.min) % STEPS[step] for moment in moments]
    texts = [f"{cell:%Y-%m-%d}" if step == "day" else f"{cell.isoformat()}{'Z' * zone}" for cell in cut]
    table = read_table(file("c,y\n" + "".join(f"{text},1\n" for text in texts)))
    labels = table.calendars["c"].labels(table.columns["c"])
    # normalised: as text of the resolution that was found, by the standard library
    forms = {"month": "%Y-%m", "day": "%Y-%m-%d", "minute": "%Y-%m-%dT%H:%M", "second": "%Y-%m-%dT%H:%M:%S"}
    calendar = table.calendars["c"]
    z = "Z" if calendar.utc and calendar.resolution not in ("day", "month") else ""
    assert labels == [cell.strftime(forms[calendar.resolution]) + z for cell in cut]


@settings(max_examples=40, **FIXED)
@given(moments=st.lists(MOMENTS, min_size=2, max_size=4))
def test_every_microsecond_comes_back_where_doubles_hold_it(moments, tmp_path):
    times = np.array(moments, dtype="M8[us]")
    np.savez(tmp_path / "a.npz", c=times, y=np.arange(len(times)))
    table = read_table(tmp_path / "a.npz")
    calendar = table.calendars["c"]
    if calendar.resolution == "month":
        return
    lost = np.abs(calendar.times(table.columns["c"]) - times)
    # a span of 1900 years in seconds has a step of 8 microseconds
    assert lost.max() <= np.timedelta64(8, "us")
    if np.ptp(times) < np.timedelta64(50 * 365, "D"):
        assert lost.max() == np.timedelta64(0, "us")


@pytest.mark.parametrize("how", ["npz", "parquet", "nc"])
def test_times_of_arrays_are_times(how, tmp_path):
    import pandas as pd

    path, times, y = (
        tmp_path / f"a.{how}",
        np.array(["2001-02-27", "2001-03-01"], dtype="M8[ns]"),
        np.arange(2.0),
    )
    if how == "npz":
        np.savez(path, time=times, y=y)
    elif how == "parquet":
        pd.DataFrame({"time": times, "y": y}).to_parquet(path)
    else:
        xr.Dataset({"y": ("time", y)}, coords={"time": times}).to_netcdf(path, engine="h5netcdf")
    table = read_table(path)
    np.testing.assert_array_equal(table.columns["time"], [0, 2])
    assert table.notes == ("time: days since 2001-02-27",)


def test_parquet_dates_and_zones(tmp_path):
    import pandas as pd

    zoned = pd.to_datetime(["2001-07-01 02:00", "2001-07-01 02:30"]).tz_localize("Europe/Berlin")
    days = [dt.date(2001, 2, 27), dt.date(2001, 3, 1)]
    pd.DataFrame({"day": days, "t": zoned, "y": [1.0, 2.0]}).to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.calendars["day"].labels(table.columns["day"]) == ["2001-02-27", "2001-03-01"]
    assert table.calendars["t"].labels(table.columns["t"]) == ["2001-07-01T00:00Z", "2001-07-01T00:30Z"]
    assert "t: times converted to UTC" in table.notes


@pytest.mark.parametrize(
    "attributes",
    [
        {"units": "days since 2001-01-01", "calendar": "noleap"},
        {"units": "months since 2001-01-01"},
        {"units": "days since the flood"},
    ],
)
def test_netcdf_times_that_cannot_be_decoded_stay_numbers_and_are_said(attributes, tmp_path):
    data = xr.Dataset({"y": ("time", [1.0, 2.0])}, coords={"time": ("time", [0.0, 5.0], attributes)})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    table = read_table(tmp_path / "a.nc")
    np.testing.assert_array_equal(table.columns["time"], [0, 5])
    assert (table.kinds["time"], table.units["time"]) == ("number", attributes["units"])
    assert "not decoded to dates" in table.notes[0]
    assert repr(attributes["units"]) in table.notes[0]
