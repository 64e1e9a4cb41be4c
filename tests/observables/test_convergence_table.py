"""Convergence table: ArviZ's own numbers, ranks by hand, chains that do not agree."""

from types import SimpleNamespace

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from brg_prob.observables import convergence_table

METRIC = SimpleNamespace(modes=np.linalg.qr(np.random.default_rng(9).standard_normal((6, 6)))[0])
X = np.array([3.0, 0.0, 1.0, 2.0, 5.0, 4.0])[:, None]


def posterior(f, *, x=X, independent=0, **scalars):
    """A posterior's groups from field draws (chain, draw, x)."""
    dims = ("chain", "draw", "x", "output")[: f.ndim]
    variables = {"f": (dims, f), **{name: (("chain", "draw"), v) for name, v in scalars.items()}}
    tree = xr.DataTree.from_dict(
        {
            "/posterior": xr.Dataset(variables),
            "/constant_data": xr.Dataset({"inputs": (("x", "dim"), x)}),
            "/log_likelihood": xr.Dataset({"y": (dims, -(f**2))}),
        }
    )
    tree.attrs["independent"] = independent
    return tree


def test_chains_have_arviz_own_numbers(preparation):
    rng = np.random.default_rng(0)
    f, noise = rng.standard_normal((4, 300, 6)).cumsum(axis=1) * 0.05, rng.lognormal(size=(4, 300))
    tree = posterior(f, noise=noise, member=np.zeros((4, 300), int))
    found = convergence_table(tree, METRIC, preparation=preparation, input_name="year")
    names = found.quantity.values.tolist()
    assert names[:2] == ["f at year = 1950", "f at year = 1951"]
    assert names[5:] == ["mode 1", "mode 2", "mode 3", "noise", "log likelihood"]
    series = {"f at year = 1950": 2.5 * f[..., 1], "noise": 2.5 * noise}
    series["mode 2"] = 2.5 * f @ METRIC.modes[:, 1] / np.sqrt(6)
    series["log likelihood"] = -(f**2).sum(axis=-1)
    for name, values in series.items():
        at = found.sel(quantity=name)
        data = az.convert_to_datatree({"q": values})
        for measure, exact in (
            ("r_hat", az.rhat(data)),
            ("ess_bulk", az.ess(data, method="bulk")),
            ("ess_tail", az.ess(data, method="tail", prob=(0.05, 0.95))),
            ("mcse_mean", az.mcse(data, method="mean")),
        ):
            assert at[measure].item() == pytest.approx(float(exact["q"]), rel=1e-9), name
    assert found.attrs["chains"] == found.attrs["parts"] == 4
    assert "1200 draws in 4 chains;" in found.attrs["status"] and "band is that of" in found.attrs["status"]


def test_a_single_chain_is_cut_into_four():
    f = np.random.default_rng(1).standard_normal((1, 402, 6))
    found = convergence_table(posterior(f, independent=1), METRIC)
    quarters = f[0, :400, 1].reshape(4, 100)
    exact = az.rhat(az.convert_to_datatree({"q": quarters}))["q"]
    assert found.r_hat.values[0] == pytest.approx(float(exact), rel=1e-9)
    assert found.attrs["chains"] == 1 and found.attrs["parts"] == 4
    assert "402 independent draws in 1 chain, cut into 4 parts" in found.attrs["status"]


def test_ranks_are_counted_by_hand():
    f = np.random.default_rng(2).permutation(400).reshape(2, 200)[..., None] * np.ones(6)
    found = convergence_table(posterior(f), METRIC)
    counts = np.stack([np.histogram(chain, np.arange(21) * 20 - 0.5)[0] for chain in f[..., 0]])
    np.testing.assert_array_equal(found.rank_count.values[0], counts)
    assert found.attrs["expected"] == 10.0
    law = stats.hypergeom(400, 20, 200)
    assert law.cdf(found.attrs["low"] - 1) < 0.025 < law.cdf(found.attrs["low"])
    assert law.sf(found.attrs["high"]) <= 0.025 < law.sf(found.attrs["high"] - 1)


def outside(f, **options):
    """The fraction of rank counts outside the band, and the worst R-hat."""
    found = convergence_table(posterior(f, **options), METRIC)
    counts = found.rank_count.values[:5]
    return np.mean((counts < found.attrs["low"]) | (counts > found.attrs["high"])), found.r_hat.values.max()


def test_the_band_holds_independent_draws_and_not_chains_that_disagree():
    rng = np.random.default_rng(3)
    law, beyond = stats.hypergeom(4000, 200, 1000), 0
    found = [outside(rng.standard_normal((4, 1000, 6))) for _ in range(20)]
    low, high = law.ppf([0.025, 0.975])
    beyond = law.cdf(low - 1) + law.sf(high)
    # 5 × 4 × 20 counts a time, their sums fixed: fewer than so many are free
    assert abs(np.mean([f for f, _ in found]) - beyond) < 4 * np.sqrt(beyond / (20 * 5 * 3 * 19))
    assert max(r for _, r in found) < 1.01
    shifted = rng.standard_normal((4, 1000, 6)) + np.array([0, 0, 0, 1.0])[:, None, None]
    fraction, r_hat = outside(shifted)
    assert fraction > 0.3 and r_hat > 1.05


def test_a_drifting_single_chain_is_seen():
    rng = np.random.default_rng(4)
    still = rng.standard_normal((1, 1000, 6))
    drifting = still + np.linspace(-1, 1, 1000)[:, None]
    assert outside(still, independent=1)[1] < 1.02
    fraction, r_hat = outside(drifting)
    assert fraction > 0.2 and r_hat > 1.1


def test_several_outputs_and_dimensions_and_pinned_fields_are_served():
    rng = np.random.default_rng(5)
    f = rng.standard_normal((2, 50, 6, 2))
    f[:, :, 3, 0] = 1.0
    found = convergence_table(posterior(f, x=np.hstack([X, X])), METRIC)
    assert "f at x = (0, 0)" in found.quantity.values and "f at x = (2, 2)" not in found.quantity.values
    assert found.rank_count.shape == (found.sizes["quantity"], 2, 10)


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (1, 10), (2, 1)])
def test_few_draws_have_no_measures_but_a_table(shape):
    f = np.random.default_rng(6).standard_normal((*shape, 6))
    found = convergence_table(posterior(f), METRIC)
    assert np.isnan(found.r_hat).all() and found.rank_count.values[0].sum() == f[..., 0].size
    assert np.isnan(found.ess_bulk).all() == (shape[1] < 4)


def test_a_field_that_never_moves_has_an_empty_table():
    found = convergence_table(posterior(np.ones((2, 50, 6))), METRIC)
    assert found.sizes["quantity"] == 0 and found.rank_count.shape == (0, 2, 10)


def test_entries_of_a_site_have_the_names_of_their_axis():
    draws = np.random.default_rng(2).standard_normal((2, 50, 2))
    tree = posterior(np.random.default_rng(3).standard_normal((2, 50, 6)))
    tree["posterior"] = (
        tree["posterior"]
        .to_dataset()
        .assign(w=(("chain", "draw", "w_dim_0"), draws), v=(("chain", "draw", "v_dim_0"), draws))
        .assign_coords(w_dim_0=["dose", "age"])
    )
    names = convergence_table(tree, None).quantity.values.tolist()
    assert names[5:9] == ["w[dose]", "w[age]", "v[0]", "v[1]"]
    found = convergence_table(tree, None).sel(quantity="w[age]")["mcse_mean"].item()
    assert found == pytest.approx(float(az.mcse(az.convert_to_datatree({"q": draws[..., 1]}))["q"]), rel=1e-9)
