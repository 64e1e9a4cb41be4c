"""The example tree, on which figures and report are tested, has the groups that a run writes."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from brg_prob.correspondence import erg_prediction
from brg_prob.observables import convergence_table, data_spectrum, field_theory, slides, trust

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
_EXAMPLE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_EXAMPLE)


@pytest.fixture(scope="module")
def example():
    return _EXAMPLE.example_tree()


@pytest.fixture(scope="module")
def groups(lattice, preparation):
    prediction = erg_prediction(lattice.network, lattice.x)
    theory = xr.Dataset(
        {
            "momentum": ("momentum", np.sort(np.abs(lattice.p))),
            "fisher_measured": ("momentum", np.asarray(lattice.metric.eigenvalues)[: lattice.p.size]),
        },
        attrs={"mass_squared": 1.0},
    )
    tree = lattice.posterior.copy()
    tree["theory"] = xr.DataTree(theory)
    tree["fisher"] = xr.DataTree(xr.Dataset({"eigenvalue": ("mode", lattice.metric.eigenvalues)}))
    tree.attrs["model_options"] = json.dumps({"box": 10.0})
    network, posterior, metric = lattice.network, lattice.posterior, lattice.metric
    return {
        "field_theory": field_theory(
            network, posterior, metric, key=jax.random.key(0), draws=50, preparation=preparation
        ),
        "data_spectrum": data_spectrum(lattice.flow, prediction, preparation=preparation),
        "trust": trust(tree, preparation=preparation),
        "diagnostics": convergence_table(posterior, metric, preparation=preparation, input_name="time"),
        "slides": slides(lattice.flow, preparation=preparation),
    }


@pytest.mark.parametrize("name", ["field_theory", "data_spectrum", "trust", "diagnostics", "slides"])
def test_variables_dimensions_and_attributes_are_the_same(name, groups, example):
    real, shown = groups[name], example[name].to_dataset()
    assert {n: v.dims for n, v in real.variables.items()} == {n: v.dims for n, v in shown.variables.items()}
    assert {n: v.dtype.kind for n, v in real.variables.items()} == {
        n: v.dtype.kind for n, v in shown.variables.items()
    }
    assert {n: type(v) for n, v in real.attrs.items()} == {n: type(v) for n, v in shown.attrs.items()}


def test_groups_survive_a_file(groups, tmp_path):
    xr.DataTree.from_dict({f"/{name}": data for name, data in groups.items()}).to_netcdf(
        tmp_path / "draws.nc", engine="h5netcdf"
    )
    with xr.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as back:
        for name, data in groups.items():
            xr.testing.assert_identical(back[name].to_dataset().load(), data)
