"""Draws as 16-bit integers: never off by more than was said, and only where they are soon made again."""

import jax
import numpy as np
import pytest
import xarray as xr

from brg_prob import Laplace, fit
from brg_prob.store import packing as module
from brg_prob.store.packing import is_packed, packing
from brg_prob.store.stages import tree_bytes
from models.cosnet import CosNet

X = np.arange(20)[:, None] / 4.0
NETWORK = CosNet(box=5.0, cutoff=6.0)


@pytest.fixture
def posterior(monkeypatch):
    """Return a posterior all of whose draws are large enough."""
    monkeypatch.setattr(module, "_LARGE", 1)
    return fit(NETWORK, X, np.sin(X[:, 0]), key=jax.random.key(0), draws=400)


def read(tree, tmp_path):
    """Return a tree written and read again."""
    (tmp_path / "tree.nc").write_bytes(tree_bytes(tree, packing))
    with xr.open_datatree(tmp_path / "tree.nc", engine="h5netcdf") as stored:
        return stored.load()


def deviations(tree, stored, name):
    """Return by how much a variable is off, in standard deviations over draws at its row."""
    before, after = (one["posterior"][name].values for one in (tree, stored))
    return np.abs(after - before) / before.std(axis=(0, 1))


def test_no_number_is_off_by_more_than_a_thousandth_of_its_draws_deviation(posterior, tmp_path):
    stored = read(posterior, tmp_path)
    assert is_packed(stored) and not is_packed(posterior)
    assert stored["posterior"]["f"].encoding["dtype"] == np.int16
    for name in ("f", "dual"):
        assert 0 < deviations(posterior, stored, name).max() <= 1e-3


@pytest.mark.parametrize(
    "change", [lambda f: f + 1e4 * X[:, 0], lambda f: f * [0, *[1] * 19]], ids=["trend", "0"]
)
def test_draws_that_hardly_vary_beside_their_range_are_stored_as_they_are(posterior, tmp_path, change):
    posterior["posterior"]["f"] = posterior["posterior"]["f"].copy(
        data=change(posterior["posterior"]["f"].values)
    )
    stored = read(posterior, tmp_path)
    np.testing.assert_array_equal(stored["posterior"]["f"], posterior["posterior"]["f"])
    assert stored["posterior"]["dual"].encoding["dtype"] == np.int16


def test_what_is_not_finite_and_what_cannot_be_made_again_is_stored_as_it_is(posterior, tmp_path):
    posterior["posterior"]["f"][0, 3, 2] = np.nan
    np.testing.assert_array_equal(read(posterior, tmp_path)["posterior"]["f"], posterior["posterior"]["f"])
    sampled = fit(NETWORK, X, np.sin(X[:, 0]), engine=Laplace(), key=jax.random.key(0), draws=40)
    assert packing(sampled) == {}
    assert packing(xr.DataTree.from_dict({"posterior": posterior["posterior"].to_dataset()})) == {}
