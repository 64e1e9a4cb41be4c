"""Stiff and sloppy directions, contraction and prior–data conflict, against dense linear algebra."""

from types import SimpleNamespace

import arviz_stats as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy import stats

from brg_prob.geometry import StandardNormalCoordinates
from brg_prob.geometry.contraction import contraction, parameter_table
from brg_prob.geometry.site_metric import site_metric
from brg_prob.geometry.sloppiness import (
    direction_table,
    effective_parameters,
    participation,
    participation_ratio,
    phrase,
    sloppiness,
    stiff_share,
)
from brg_prob.posterior import Laplace, fit
from brg_prob.results import build_tree

N, NOISE, DRAWS = 20, 0.5, 4000
X = np.random.default_rng(0).standard_normal((N, 2))
SD = np.array([2.0, 1.0, 0.5, 0.5, 1.0])
MEAN = np.array([1.0, 0.0, 0.3, 0.3, 0.0])
LABELS = ("a", "b", "slope[0]", "slope[1]", "unused")


def line(x, y=None):
    """Two constants of which the data see the sum, two slopes, and a site that the likelihood ignores."""
    a = numpyro.sample("a", dist.Normal(1.0, 2.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    slope = numpyro.sample("slope", dist.Normal(0.3, 0.5).expand([2]).to_event(1))
    numpyro.sample("unused", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(a + b + x @ slope, NOISE), obs=y)


DESIGN = np.column_stack([np.ones((N, 2)), X, np.zeros(N)])
INFORMATION = (DESIGN * SD).T @ (DESIGN * SD) / (N * NOISE**2)


def stub(information=INFORMATION, labels=LABELS, coordinates=None):
    """A metric by numpy's eigenvectors, with what is read of a metric."""
    values, vectors = np.linalg.eigh(information)
    values = np.where(values > 1e-12 * values.max(), values, 0.0)
    if coordinates is None:
        maps = {}
    else:
        maps = {
            "whiten": jax.jit(jax.vmap(lambda one: coordinates.flatten(coordinates.forward(one)))),
            "unwhiten": jax.jit(jax.vmap(lambda one: coordinates.inverse(coordinates.unflatten(one)))),
        }
    return SimpleNamespace(
        **maps,
        eigenvalues=values[::-1],
        directions=vectors.T[::-1],
        labels=labels,
        observations=N,
        coordinates=coordinates,
    )


@pytest.fixture(scope="module")
def metric():
    return stub(coordinates=StandardNormalCoordinates(line, jnp.asarray(X), jnp.zeros(N)))


def exact(y):
    """Mean and covariance of z given y."""
    covariance = np.linalg.inv(np.eye(5) + N * INFORMATION)
    return covariance @ (DESIGN * SD).T @ (y - DESIGN @ MEAN) / NOISE**2, covariance


Y = DESIGN @ (MEAN + SD * [0.5, -0.5, 1.0, 0.0, 0.0]) + NOISE * np.random.default_rng(1).standard_normal(N)


def posterior(y=Y, seed=0, observations=N):
    """Exact draws of the sites, as the engines store them."""
    mean, covariance = exact(y)
    z = np.random.default_rng(seed).multivariate_normal(mean, covariance, size=(2, DRAWS // 2))
    theta = MEAN + SD * z
    sample = ["chain", "draw"]
    prior = stats.norm.logpdf(z) - np.log(SD)
    return build_tree(
        {
            "posterior": {
                "a": theta[..., 0],
                "b": theta[..., 1],
                "slope": theta[..., 2:4],
                "unused": theta[..., 4],
            },
            "log_prior": {"a": prior[..., 0], "b": prior[..., 1], "slope": prior[..., 2:4].sum(-1)},
            "log_likelihood": {"y": stats.norm.logpdf(y, theta @ DESIGN.T, NOISE)},
        },
        dims={
            **dict.fromkeys(("a", "b", "unused", "log_prior/slope"), sample),
            "posterior/slope": [*sample, "slope_dim_0"],
            "y": [*sample, "x"],
        },
        attrs={"observations": float(observations), "n": N, "independent": 1},
    )


@pytest.fixture(scope="module")
def report(metric):
    return sloppiness(metric, posterior())


def test_a_direction_of_which_the_data_see_nothing_is_named(report):
    """Whitened, a + b is 2 z_a + z_b: nothing is learnt of (z_a − 2 z_b)/√5, nor of the unused site."""
    table = report["directions"].to_dataset()
    assert table.attrs["undetermined"] == 2
    assert table.attrs["stiff"] == 3
    assert table["stiff"].values.tolist() == [1, 1, 1, 0, 0]
    assert table["phrase"].values[3:].tolist() == ["unused", "0.89·b − 0.45·a"]
    np.testing.assert_allclose(table["participation"][4], [0.2, 0.8, 0, 0, 0], atol=1e-10)
    np.testing.assert_allclose(table["participation_ratio"][3:], [1, 1 / (0.2**2 + 0.8**2)], rtol=1e-9)


def test_the_metric_of_a_model_gives_the_same_report(report):
    found = site_metric(line, jnp.asarray(X), y=jnp.zeros(N), at=posterior())
    ours = sloppiness(found, posterior())
    for group, name in (
        ("directions", "eigenvalue"),
        ("parameters", "z_mean"),
        ("parameters", "prior_width"),
    ):
        np.testing.assert_allclose(ours[group][name], report[group][name], atol=1e-12)
    assert ours["directions"]["phrase"].values.tolist() == report["directions"]["phrase"].values.tolist()
    part = site_metric(line, jnp.asarray(X), y=jnp.zeros(N), at=posterior(), sites=("slope",))
    table = sloppiness(part)
    assert "parameters" not in table.children
    assert all("slope" in phrase and "a" not in phrase for phrase in table["directions"]["phrase"].values)


def test_effective_number_of_parameters_is_the_trace_of_what_was_learnt(report):
    covariance = exact(Y)[1]
    expected = 5 - np.trace(covariance)
    attrs = report["directions"].attrs
    np.testing.assert_allclose(attrs["effective_parameters"], expected, rtol=1e-10)
    error = np.sqrt(2 / (DRAWS - 1) * np.sum(covariance**2))  # of a sum of sample variances of normal draws
    z = (report["parameters"].attrs["effective_parameters"] - expected) / error
    assert abs(z) < stats.norm.isf(1e-3 / 2)
    assert effective_parameters(np.linalg.eigvalsh(INFORMATION), observations=0.0) == 0.0


def test_stiffness_depends_on_the_scale(metric):
    values = np.linalg.eigvalsh(INFORMATION)
    for observations in (0.01, 1.0, N):
        table = direction_table(metric, observations=observations)
        assert table.attrs["stiff"] == np.sum(observations * values >= 1)
        share = stiff_share(metric, observations=observations)
        np.testing.assert_allclose(share.sum(), table.attrs["stiff"], atol=1e-10)
        assert np.all((share > -1e-12) & (share < 1 + 1e-12))
    np.testing.assert_allclose(stiff_share(metric, observations=N)[:2], [0.8, 0.2], atol=0.05)


def test_contraction_is_one_minus_the_exact_variance(report):
    table = report["parameters"].to_dataset()
    variance = np.diag(exact(Y)[1])
    p_value = stats.chi2.cdf((DRAWS - 1) * table["z_sd"].values ** 2 / variance, DRAWS - 1)
    assert np.all(np.abs(p_value - 0.5) < 0.5 - 1e-4)
    np.testing.assert_allclose(table["contraction"], 1 - table["z_sd"] ** 2, rtol=1e-12)
    error = np.sqrt(2 / DRAWS) * variance  # of a variance of normal draws; itself known to 1/√S or so
    np.testing.assert_allclose(table["contraction_se"], error, rtol=0.1)
    assert list(table["parameter"].values) == list(LABELS)


def test_medians_and_widths_are_in_the_parameters_own_units(report):
    table = report["parameters"].to_dataset()
    mean, covariance = exact(Y)
    np.testing.assert_allclose(table["prior_median"], MEAN, atol=1e-10)
    # quantiles at ±1 sd have the variance p(1 − p)/(S φ(1)²) of the normal law
    error = np.sqrt(stats.norm.cdf(1) * stats.norm.sf(1) / DRAWS) / stats.norm.pdf(1)
    np.testing.assert_allclose(table["prior_width"] / SD, 1, atol=4 * error)
    sd = SD * np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(table["posterior_width"] / sd, 1, atol=4 * error)
    np.testing.assert_allclose((table["posterior_median"] - MEAN - SD * mean) / sd, 0, atol=4 * error)


def test_conflict_is_uniform_over_data_of_the_prior_and_found_where_the_prior_is_wrong():
    """Exact draws given 300 data sets of the prior predictive; then of a prior three deviations aside."""
    rng, spread, p_values, moved = np.random.default_rng(3), 0.3, [], []
    for shift, found in ((0.0, p_values), (4.0, moved)):
        for truth in shift + rng.standard_normal(300):
            mean = (truth + spread * rng.standard_normal()) / (1 + spread**2)
            sd = spread / np.sqrt(1 + spread**2)
            draws = mean + sd * rng.standard_normal((1, 1000, 1))
            found.append(contraction(draws, independent=True)["conflict_p"][0])
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert np.mean(np.array(moved) < 0.05) > 0.95
    assert np.isnan(contraction(draws, conflicts=False)["conflict_p"]).all()


def test_a_parameter_of_which_nothing_was_learnt_is_in_no_conflict():
    """Its mean is Monte-Carlo noise, and so is its contraction, whose ratio must raise no alarm."""
    draws = np.random.default_rng(4).standard_normal((1, 400, 2000))
    assert np.mean(contraction(draws, independent=True)["conflict_p"] < 0.05) < 0.06
    assert contraction(draws, independent=True)["conflict"].sum() == 0


def test_errors_know_that_chains_move_slowly():
    rng, length, rho = np.random.default_rng(5), 1000, 0.9
    steps = np.sqrt(1 - rho**2) * rng.standard_normal((4, length, 30))
    steps[:, 0] /= np.sqrt(1 - rho**2)
    draws = steps.copy()
    for at in range(1, length):
        draws[:, at] = rho * draws[:, at - 1] + steps[:, at]
    chains, naive = (contraction(draws, independent=flag)["contraction_se"].mean() for flag in (False, True))
    # squared deviations of AR(1) have autocorrelation ρ², so (1 + ρ²)/(1 − ρ²) times the variance
    np.testing.assert_allclose(chains / naive, np.sqrt((1 + rho**2) / (1 - rho**2)), rtol=0.1)


def test_conflict_is_judged_at_full_weight_only(metric):
    conflicting = DESIGN @ (MEAN + SD * [0, 0, 7.0, 0, 0]) + NOISE * np.random.default_rng(2).standard_normal(
        N
    )
    found = parameter_table(metric, posterior(conflicting))
    assert found["conflict"].values.tolist() == [0, 0, 1, 0, 0]
    assert found.attrs["conflicts"] == 1
    assert "1 in conflict" in found.attrs["status"]
    tempered = parameter_table(metric, posterior(conflicting, observations=2.0))
    assert tempered["conflict"].sum() == 0
    assert np.isnan(tempered["conflict_p"]).all()
    assert "at T = n only" in tempered.attrs["status"]


def test_sensitivities_are_arvizs_in_the_order_of_the_labels(report):
    theirs = az.psense(posterior(), group="likelihood")
    ours = report["parameters"]["likelihood_sensitivity"].values
    expected = [float(theirs["a"]), float(theirs["b"]), *theirs["slope"].values, float(theirs["unused"])]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    assert ours[2] > 0.05 > ours[4]


def test_a_flat_prior_has_no_sensitivity_and_few_draws_have_none(metric):
    tree = posterior()
    tree["log_prior"] = xr.DataTree(tree["log_prior"].to_dataset() * 0)
    table = parameter_table(metric, tree)
    np.testing.assert_array_equal(table["prior_sensitivity"], 0)
    assert table["likelihood_sensitivity"][2] > 0.05
    assert "prior_sensitivity" not in parameter_table(metric, posterior().isel(draw=slice(5)))


def test_held_fixed_sites_are_left_out(metric):
    part = stub(INFORMATION[2:4, 2:4], LABELS[2:4], metric.coordinates)
    table = sloppiness(part, posterior())["parameters"].to_dataset()
    assert list(table["parameter"].values) == ["slope[0]", "slope[1]"]
    whole = sloppiness(metric, posterior())["parameters"].to_dataset()
    np.testing.assert_array_equal(table["z_mean"], whole["z_mean"][2:4])
    np.testing.assert_array_equal(table["posterior_width"], whole["posterior_width"][2:4])


def test_a_site_without_draws_is_named(metric):
    tree = posterior()
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars("b"))
    with pytest.raises(ValueError, match="no draws of site 'b'; the posterior holds a, slope"):
        sloppiness(metric, tree)


def test_the_report_survives_netcdf(report, tmp_path):
    report.to_netcdf(tmp_path / "report.nc")
    again = xr.load_datatree(tmp_path / "report.nc")
    assert list(again["directions"]["phrase"].values) == list(report["directions"]["phrase"].values)
    assert again["parameters"].attrs["status"] == report["parameters"].attrs["status"]
    np.testing.assert_array_equal(again["directions"]["participation"], report["directions"]["participation"])


@pytest.mark.parametrize(("sites", "entries"), [(1, 5), (3, 50), (3, 1), (10, 3), (40, 2), (300, 1)])
def test_participation_is_written_in_few_columns_and_loses_nothing(sites, entries):
    labels = [f"s{site}[{entry}]" for site in range(sites) for entry in range(entries)]
    rows = np.random.default_rng(6).standard_normal((12, len(labels)))
    rows[0] = 100.0 * (np.arange(len(labels)) == 1 % len(labels))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names, shares = participation(rows, labels)
    assert len(names) == shares.shape[1] == len(set(names)) <= 20
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    one = names[int(np.argmax(shares[0]))]
    assert labels[1 % len(labels)].startswith(one)
    assert np.all(participation_ratio(rows) <= len(labels) + 1e-9)


def test_directions_of_many_parameters_are_said_by_site():
    labels = [f"w[{i}]" for i in range(900)] + [f"v[{i}]" for i in range(100)]
    row = np.full(1000, 1000**-0.5)
    assert phrase(row, labels) == "90 % w + 10 % v (≈ 1000 parameters)"
    assert phrase([0.6, 0.0, -0.8], ["a", "b", "c"]) == "0.80·c − 0.60·a"
    assert phrase([0.5, 0.5, 0.5, 0.4, 0.3], list("abcde")).endswith(" + …")


def test_a_parameter_whose_prior_depends_on_others_is_said_to_be_given_these():
    def grouped(x, y=None):
        mu = numpyro.sample("mu", dist.Normal(0, 1))
        tau = numpyro.sample("tau", dist.HalfNormal(1))
        with numpyro.plate("groups", 2):
            a = numpyro.sample("a", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(a[x[:, 0].astype(int)], 1.0), obs=y)

    x, y = np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([1.0, 2.0, 1.5, 2.5])
    tree = fit(grouped, x, y, engine=Laplace(), key=jax.random.key(0), draws=50)
    table = parameter_table(site_metric(grouped, x, y, at=tree), tree)
    given = dict(zip(table["parameter"].values.tolist(), table["given"].values.tolist(), strict=True))
    assert given == {"mu": "", "tau": "", "a[0]": "mu, tau", "a[1]": "mu, tau"}
