"""A stored run in a session that knows ArviZ alone: tables, scores and plots work on draws.nc as it is."""

import json
import os
import subprocess
import sys

import arviz as az
import jax
import numpy as np
import pytest
import xarray as xr
from scipy import signal, stats

from brg_prob import pipeline, store
from models.cosnet import CosNet

# sizes and shapes of test_pipeline.py: what jax has compiled is used again
N, DRAWS, SCALES = 63, 500, 3
NETWORK = CosNet(box=10.0)

SESSION = """
import json, sys, warnings
import matplotlib
matplotlib.use("agg")
import arviz as az

run = az.from_netcdf("draws.nc")
said = {"groups": list(run.children)}
table = az.summary(run, var_names=["f"], round_to="none")
said["summary"] = {name: table[name].astype(float).tolist() for name in ("mean", "sd", "ess_bulk")}
with warnings.catch_warnings():  # Pareto k of single observations
    warnings.simplefilter("ignore", UserWarning)
    loo = az.loo(run, pointwise=True)
said["loo"] = [loo.elpd, loo.se, loo.elpd_i.values.tolist()]
said["ess"] = az.ess(run, var_names=["f"]).dataset["f"].values.tolist()
said["psense"] = az.psense_summary(run, var_names=["f"])["prior"].astype(float).tolist()

# one chain of independent draws: in four parts, R-hat and ranks have something to compare
field = run["posterior"]["f"].values
parts = az.from_dict({"posterior": {"f": field.reshape(4, -1, field.shape[-1])}}, dims={"f": ["x"]})
said["parts"] = dict(parts["posterior"].sizes)
said["rhat"] = az.rhat(parts).dataset["f"].values.tolist()
az.plot_rank(parts, var_names=["f"], coords={"x": [0, 5]}, backend="matplotlib").savefig("rank.png")
for plot, file in ((az.plot_dist, "dist.png"), (az.plot_forest, "forest.png")):
    plot(run, var_names=["f"], coords={"x": [0, 5]}, backend="matplotlib").savefig(file)

# what this project adds to the schema is plain xarray
said["eigenvalue"] = run["fisher"]["eigenvalue"].values.tolist()
said["verdict"] = run.attrs["verdict"]
said["modules"] = [name for name in sys.modules if name.split(".")[0] in ("brg_prob", "models")]
print(json.dumps(said))
"""


def covariance(x):
    """Prior covariance of the field, the sum over the lattice's momenta written out."""
    p = 2 * np.pi * np.arange(1, 32) / 10.0
    waves = np.cos(p * (x - x.T)[..., None]) / (p**2 + 1)
    return (1 + 2 * waves.sum(-1)) / 10.0


@pytest.fixture(scope="module")
def run():
    """A run on a draw of the prior with its noise."""
    rng = np.random.default_rng(11)
    x = np.arange(2 * N)[:, None] * NETWORK.box / (2 * N)
    root = np.linalg.cholesky(covariance(x) + NETWORK.noise**2 * np.eye(2 * N))
    y = root @ rng.standard_normal(2 * N)
    held_out = (x[1::2], y[1::2])
    return pipeline.run(
        NETWORK, x[::2], y[::2], key=jax.random.key(4), scales=SCALES, draws=DRAWS, held_out=held_out
    )


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """The run as it is stored, without its report."""
    return store.write_run(
        tmp_path_factory.mktemp("runs") / "run",
        tree=run.tree,
        summary=run.summary,
        model=run.model,
        pages={},
    ).folder


@pytest.fixture(scope="module")
def said(folder):
    """What a session without brg_prob finds; a warning there is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SESSION],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_session_needs_nothing_of_this_project(said):
    assert said["modules"] == []
    groups = {"posterior", "log_likelihood", "log_prior", "observed_data", "constant_data", "predictions"}
    assert groups | {"fisher", "flow", "theory", "checks"} <= set(said["groups"])


def test_the_table_is_that_of_the_draws(said, run):
    draws = run.tree["posterior"]["f"].values[0]
    np.testing.assert_allclose(said["summary"]["mean"], draws.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(said["summary"]["sd"], draws.std(axis=0, ddof=1), rtol=1e-9)


def test_the_draws_are_as_good_as_their_number(said):
    noise = np.random.default_rng(0).standard_normal((1, DRAWS, 300))
    sizes = az.ess(az.from_dict({"posterior": {"z": noise}}))["z"].values  # the law for independent draws
    for found in (np.asarray(said["ess"]), np.asarray(said["summary"]["ess_bulk"])):
        assert found.shape == (N,)
        assert found.min() > 0.8 * sizes.min()
        assert abs(np.median(found) - np.median(sizes)) < 0.5 * sizes.std()
    kept = signal.lfilter([1], [1, -0.5], noise[..., :20], axis=1)  # the control: half of the last draw
    repeated = az.ess(az.from_dict({"posterior": {"z": kept}}))["z"].values
    assert np.median(repeated) < 0.8 * sizes.min()
    assert said["parts"] == {"chain": 4, "draw": DRAWS // 4, "x": N}
    assert np.max(said["rhat"]) < 1.05


def test_leave_one_out_is_that_of_the_gaussian_process(said, run):
    x, y = run.tree["constant_data"]["inputs"].values, run.tree["observed_data"]["y"].values
    inverse = np.linalg.inv(covariance(x) + NETWORK.noise**2 * np.eye(N))
    variance = 1 / np.diag(inverse)
    exact = stats.norm.logpdf(y, y - variance * (inverse @ y), np.sqrt(variance))
    elpd, error, each = said["loo"]
    assert elpd == pytest.approx(np.sum(each))
    assert elpd == pytest.approx(exact.sum(), abs=1.5)  # importance weights of 500 draws
    assert error == pytest.approx(np.std(exact) * np.sqrt(N), rel=0.2)
    assert np.corrcoef(each, exact)[0, 1] > 0.98
    unread = stats.norm.logpdf(y, 0, np.sqrt(np.diag(covariance(x)) + NETWORK.noise**2))  # the control
    assert abs(unread.sum() - elpd) > 5


def test_the_prior_matters_where_ever_it_is_weighted(said):
    sensitivity = np.asarray(said["psense"])
    assert sensitivity.shape == (N,) and np.all(np.isfinite(sensitivity)) and np.all(sensitivity >= 0)
    assert sensitivity.max() > 0.01


def test_the_plots_are_drawn(said, folder):
    for name in ("rank", "dist", "forest"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / f"{name}.png").stat().st_size > 5000


def test_groups_of_this_project_are_plain_arrays(said, run, folder):
    np.testing.assert_array_equal(said["eigenvalue"], run.tree["fisher"]["eigenvalue"].values)
    assert said["verdict"] == run.tree.attrs["verdict"]
    with xr.open_datatree(folder / store.DRAWS, engine="h5netcdf") as plain:
        # what follows from field, targets and noise is made again when a run is read
        derived = {"posterior_predictive", "predictions_log_likelihood"} & set(run.tree.children)
        assert derived
        assert set(plain.children) == set(run.tree.children) - derived
        assert set(pipeline.load_run(folder).tree.children) == set(run.tree.children)
        assert plain["posterior"]["f"].dims == ("chain", "draw", "x")


def test_arviz_may_be_imported_before_the_library():
    """ArviZ puts a lazy numpyro in its place, which a first import of a submodule would run twice."""
    code = "import arviz, brg_prob.posterior, numpyro; print(hasattr(numpyro.distributions, 'distribution'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split()[-1] == "True"
