"""Place and spread of each parameter against tempering, as drawn."""

import numpy as np
import pytest
import xarray as xr

from brg_prob.figures import agreement_picture


def agreement(log_ratio, shift, width=0.05):
    """Return a tree with the group ``agreement`` of three scales; the first was not tested."""
    log_ratio, shift = np.atleast_2d(log_ratio), np.atleast_2d(shift)
    blank = np.full((1, log_ratio.shape[1]), np.nan)
    columns = {
        "log_ratio": np.concatenate([blank, log_ratio]),
        "log_ratio_width": np.concatenate([blank, np.full(log_ratio.shape, width)]),
        "shift": np.concatenate([blank, shift]),
        "shift_width": np.concatenate([blank, np.full(shift.shape, width)]),
    }
    data = xr.Dataset(
        {name: (("scale", "parameter"), values) for name, values in columns.items()},
        coords={"scale": [9.0, 3.0, 1.0], "parameter": [f"w[{at}]" for at in range(log_ratio.shape[1])]},
        attrs={"spread": 1.25, "place": 0.3},
    )
    return xr.DataTree.from_dict({"agreement": data})


def test_the_farthest_comes_first_with_its_scale_and_its_interval():
    picture = agreement_picture(agreement([[0.0, 0.1], [0.0, np.log(2)]], [[0.2, 0.0], [-0.1, 0.0]]))
    assert (
        picture.title
        == "Of 1 parameter it is not known; farthest is w[1] at T = 1 (spread 2 times, shift 0 sd)"
    )
    first, second = picture.numbers.iloc[0], picture.numbers.iloc[1]
    assert (first["parameter"], first["observations T"]) == ("w[1]", 1.0)
    assert first["its lower end"] == pytest.approx(2 * np.exp(-0.05))
    assert (second["parameter"], second["observations T"]) == ("w[0]", 3.0)


def test_all_within_is_said_and_many_are_cut_and_counted():
    picture = agreement_picture(agreement(np.zeros((2, 30)), np.zeros((2, 30))))
    assert picture.title.startswith(
        "Place and spread of every parameter lie within tolerance; farthest is w[0]"
    )
    assert len(picture.numbers) == 20
    assert "10 more parameters" in picture.caption


def test_draws_that_were_not_compared_are_no_picture():
    assert agreement_picture(xr.DataTree.from_dict({"flow": xr.Dataset()})) is None
    assert agreement_picture(agreement(np.full((2, 2), np.nan), np.full((2, 2), np.nan))) is None
