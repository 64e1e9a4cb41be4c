"""Trees of engines other than NUTS (whose own test is beside it) in a session that knows ArviZ alone."""

import arviz as az
import jax
import matplotlib
import numpy as np
import pytest

from brg_prob.posterior import SVI, Given, Laplace, fit


@pytest.fixture(scope="module")
def trees(line, bare_run):
    """Return the tree of each engine."""
    engines = {"laplace": Laplace(), "svi": SVI(steps=1500), "given": Given(mcmc=bare_run)}
    options = {"key": jax.random.key(2), "draws": line.draws}
    return {name: fit(line, line.x, line.y, engine=engine, **options) for name, engine in engines.items()}


@pytest.fixture(scope="module")
def runs(trees, tmp_path_factory):
    """Return the trees as ArviZ reads them from disk."""
    folder = tmp_path_factory.mktemp("engines")
    for name, tree in trees.items():
        tree.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
    return {name: az.from_netcdf(folder / f"{name}.nc") for name in trees}


@pytest.mark.parametrize("name", ["laplace", "svi", "given"])
def test_arviz_summarises_scores_and_draws_it(name, trees, runs, line):
    table = az.summary(runs[name], var_names=["w"], round_to="none")
    drawn = trees[name]["posterior"]["w"].values
    np.testing.assert_allclose(table["mean"].astype(float), drawn.mean((0, 1)))
    assert az.loo(runs[name]).n_data_points == 8
    assert np.all(np.isfinite(az.psense(runs[name], var_names=["w"], group="prior")["w"]))
    matplotlib.use("agg")
    for plot in (az.plot_trace, az.plot_forest):
        assert plot(runs[name], var_names=["w"], backend="matplotlib") is not None
    assert az.plot_ppc_dist(runs[name], backend="matplotlib") is not None


def test_arviz_compares_the_engines_and_finds_them_alike(runs):
    order = az.compare(runs)
    assert set(order.index) == {"laplace", "svi", "given"}
    elpd = order["elpd"].astype(float)
    assert np.ptp(elpd) < 0.5  # the same posterior three times; nats, all eight observations
