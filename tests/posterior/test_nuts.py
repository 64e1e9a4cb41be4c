"""The engine ``nuts``: NumPyro's own draws, the closed form at every T, hard geometries, what ArviZ reads."""

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats
from numpyro.infer.util import log_density
from scipy import stats

from brg_prob.network import Conditioned
from brg_prob.posterior import NUTS, Exact, OneByOne, as_data, fit
from brg_prob.posterior.reparam import reparametrised, reparams, sampled_names, sampled_values

HOLE = 5


@pytest.fixture(scope="module")
def tree(line):
    return fit(line, line.x, line.y, engine=NUTS(warmup=200), key=line.key, draws=line.draws)


@pytest.fixture(scope="module")
def ladder(line, tree):
    """Return y with a missing row, the trees at T = 7, 7/4, 0, and how often each ran the model in Python."""
    y = line.y.copy()
    y[HOLE] = np.nan
    along = NUTS(warm_warmup=200).along(
        line, as_data(line.x, y, missing=True), key=line.key, draws=2000, scales=[7.0, 1.75, 0.0], start=tree
    )
    trees, runs = [], []
    for _ in range(3):
        before = line.runs
        trees.append(next(along))
        runs.append(line.runs - before)
    return y, trees, runs


def scores(draws, mean, variance):
    """Return how many Monte-Carlo errors the means and variances of draws (chain, draw, k) are off."""
    found = []
    for k in range(draws.shape[-1]):
        x = draws[..., k]
        for part, expected in ((x, mean[k]), ((x - mean[k]) ** 2, variance[k])):
            error = part.std() / np.sqrt(array_stats.ess(part, method="mean"))
            found.append((part.mean() - expected) / error)
    return np.abs(found)


def bound(count):
    """Return what the largest of so many scores exceeds once in a thousand."""
    return stats.norm.isf(0.0005 / count)


def test_the_draws_are_those_of_a_bare_numpyro_run_bit_for_bit(tree, bare_run):
    np.testing.assert_array_equal(tree["posterior"]["w"], bare_run.get_samples(group_by_chain=True)["w"])
    fields = bare_run.get_extra_fields(group_by_chain=True)
    np.testing.assert_array_equal(tree["sample_stats"]["energy"], fields["energy"])
    np.testing.assert_array_equal(tree["sample_stats"]["lp"], -fields["potential_energy"])
    np.testing.assert_array_equal(tree["sample_stats"]["n_steps"], fields["num_steps"])
    assert tree["posterior"]["w"].dims == ("chain", "draw", "w_dim_0")
    assert (tree.attrs["engine"], tree.attrs["observations"], tree.attrs["independent"]) == ("nuts", 8.0, 0)


def test_statistics_have_the_names_that_arviz_reads(tree):
    found = tree["sample_stats"]
    names = {"diverging", "energy", "lp", "n_steps", "tree_depth", "acceptance_rate", "step_size"}
    assert set(found.data_vars) == names
    np.testing.assert_array_equal(found["tree_depth"], np.floor(np.log2(found["n_steps"])) + 1)
    density = tree["log_likelihood"]["y"].sum("x") + tree["log_prior"]["w"]
    np.testing.assert_allclose(found["lp"], density, rtol=1e-10)
    assert found.attrs["seconds_sampling"] > 0 and found.attrs["seconds_stored"] > 0


def test_the_posterior_is_the_closed_form_at_every_observation_weight(line, ladder):
    y, trees, _ = ladder
    for found, observations in zip(trees, (7.0, 1.75, 0.0), strict=True):
        mean, covariance = line.posterior(y, observations)
        assert found.attrs["observations"] == observations
        worst = scores(found["posterior"]["w"].values, mean, np.diag(covariance)).max()
        assert worst < bound(12), (observations, worst)
    mean, covariance = line.posterior(y, 7.0)  # the control: the draws at n/4 are no posterior at n
    assert scores(trees[1]["posterior"]["w"].values, mean, np.diag(covariance)).max() > 2 * bound(12)
    filled = line.posterior(np.where(np.isnan(y), line.y + 3, y), 8.0)[0]  # and a missing row would be seen
    assert scores(trees[0]["posterior"]["w"].values, filled, np.diag(covariance)).max() > 2 * bound(12)


def test_a_missing_row_is_nowhere_and_y_is_shown_as_it_was_given(ladder):
    y, trees, _ = ladder
    np.testing.assert_array_equal(trees[0]["observed_data"]["y"], y)
    assert trees[0].attrs["n"] == 7
    assert np.all(trees[0]["log_likelihood"]["y"].values[..., HOLE] == 0)


def test_a_ladder_compiles_one_program_for_all_its_steps(ladder):
    _, _, runs = ladder
    assert runs[0] > 0
    assert runs[1:] == [0, 0]


def test_an_engine_without_a_ladder_of_its_own_starts_each_fit_from_the_last():
    engine = _Recorder()
    list(engine.along(None, None, key=jax.random.key(0), draws=10, scales=[8.0, 2.0]))
    assert engine.seen == [(8.0, False), (2.0, True)]


class _Recorder(OneByOne):
    """An engine that takes ``start`` and has no ladder of its own."""

    def __init__(self):
        self.seen = []

    def fit(self, network, data, *, key, draws, observations, start=None):
        self.seen.append((observations, start is not None))
        return object()


def funnel(x, y=None):
    """Neal's funnel of four sites, and a scale with a half-normal prior."""
    v = numpyro.sample("v", dist.Normal(0.0, 3.0))
    with numpyro.plate("groups", 4):
        theta = numpyro.sample("theta", dist.Normal(0.0, jnp.exp(v / 2)))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.5))
    numpyro.sample("y", dist.Normal(theta[x[:, 0].astype(int)], sigma).to_event(1), obs=y)


GROUPS = np.arange(4.0)[:, None]
HEIGHTS = np.array([0.5, -1.0, 0.2, 2.0])


@pytest.fixture(scope="module")
def centred():
    """Return draws of the funnel in its own sites, in float32, one chain after the other."""
    engine = NUTS(chains=2, warmup=200, target_accept=0.5, init="prior", chain_method="sequential")
    with jax.enable_x64(False):
        return fit(funnel, GROUPS, HEIGHTS, engine=engine, key=jax.random.key(1), draws=600, observations=0.0)


def test_divergences_of_a_centred_funnel_reach_the_tree(centred, tree):
    assert centred["posterior"]["theta"].dtype == centred["log_likelihood"]["y"].dtype == np.float32
    assert centred["posterior"]["theta"].shape == (2, 300, 4)
    assert centred["sample_stats"]["diverging"].values.sum() > 20
    assert tree["sample_stats"]["diverging"].values.sum() == 0


def test_a_non_centred_funnel_returns_to_its_prior(centred):
    options = {"dense_sites": ("v", "sigma"), "chain_method": "sequential"}  # half as long to compile
    engine = NUTS(reparam="loc_scale", warm_warmup=300, **options)  # four chains, started from two
    data = as_data(GROUPS, HEIGHTS)
    found = engine.fit(funnel, data, key=jax.random.key(2), draws=2000, observations=0.0, start=centred)
    posterior = found["posterior"]
    assert set(posterior.data_vars) == {"v", "theta", "sigma", "f"} and posterior["theta"].dims[2:] == (
        "theta_dim_0",
    )
    assert found["sample_stats"]["diverging"].values.sum() < 5
    half = stats.halfnorm(scale=1.5)
    z = posterior["theta"] / np.exp(posterior["v"] / 2)
    columns = np.stack(
        [posterior["v"].values, *np.moveaxis(z.values, -1, 0), posterior["sigma"].values], axis=-1
    )
    mean, variance = [0.0] * 5 + [half.mean()], [9.0] + [1.0] * 4 + [None]
    # of the half-normal the mean square about the mean
    variance[-1] = half.var()
    assert scores(columns, mean, variance).max() < bound(12)
    v = centred["posterior"]["v"].values  # the control: the centred chains miss the narrow end
    assert v.std() < 0.9 * 3 or array_stats.ess(v, method="bulk") < 200


@pytest.mark.parametrize("kind", ["loc_scale", "standard_normal"])
def test_other_coordinates_are_the_same_model(kind):
    """The density of the auxiliary sites is that of the original ones with the Jacobian of the map."""
    data = Conditioned.of(funnel, GROUPS, HEIGHTS)
    config = reparams(data, kind)
    values = {"v": 1.3, "theta": jnp.array([0.3, -1.0, 2.0, 0.1]), "sigma": 0.7}
    auxiliary = sampled_values(data, config, values)
    assert set(auxiliary) == set(sampled_names(data, config).values())
    made = reparametrised(data.tempered(4.0), config)
    density, trace = log_density(made, (), {}, auxiliary)
    for name, value in values.items():
        np.testing.assert_allclose(trace[name]["value"], value, rtol=1e-9)
    z = stats.norm.logpdf(np.r_[1.3 / 3, np.asarray(values["theta"]) / np.exp(0.65)]).sum()
    likelihood = stats.norm.logpdf(HEIGHTS, values["theta"], 0.7).sum()
    if kind == "standard_normal":
        assert set(auxiliary) == {"v_standard_normal", "theta_standard_normal", "sigma_standard_normal"}
        z += stats.norm.logpdf(stats.norm.ppf(stats.halfnorm.cdf(0.7 / 1.5)))
    else:
        assert set(auxiliary) == {"v_decentered", "theta_decentered", "sigma"}
        z += stats.halfnorm.logpdf(0.7, scale=1.5)
    assert float(density) == pytest.approx(z + likelihood, rel=1e-9)


def test_arviz_reads_the_tree_as_it_is(tree, tmp_path):
    tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    run = az.from_netcdf(tmp_path / "draws.nc")
    table = az.summary(run, var_names=["w"], round_to="none")
    np.testing.assert_allclose(table["mean"].astype(float), tree["posterior"]["w"].values.mean((0, 1)))
    loo = az.loo(run)
    order = az.compare({"all": run, "half": run.isel(chain=[0, 1], missing_dims="ignore")})
    assert set(order.index) == {"all", "half"} and loo.n_data_points == 8
    assert np.all(np.isfinite(az.psense(run, var_names=["w"], group="prior")["w"]))
    matplotlib.use("agg")
    for number, draw in enumerate((az.plot_trace, az.plot_forest)):
        draw(run, var_names=["w"], backend="matplotlib").savefig(tmp_path / f"{number}.png")
    az.plot_ppc_dist(run, backend="matplotlib").savefig(tmp_path / "2.png")
    assert all((tmp_path / f"{number}.png").stat().st_size > 5000 for number in range(3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chains": 0}, r"chains = 0 .* at least 1"),
        ({"target_accept": 1.0}, r"target_accept = 1.0 is no acceptance"),
        ({"init": "media"}, r"'media' is unknown; .*did you mean 'median'"),
        ({"reparam": "noncentred"}, r"'noncentred' is unknown"),
        ({"step_size": float("nan")}, r"step_size = nan must be positive"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        NUTS(**options)


def test_a_model_without_a_possible_start_is_refused_in_one_line():
    def impossible(x, y=None):
        rate = numpyro.sample("rate", dist.Exponential(1.0))
        numpyro.sample("y", dist.Exponential(rate).expand([x.shape[0]]), obs=y)
        numpyro.factor("never", jnp.log(0.0 * rate))

    engine = NUTS(init="mean", chains=1)
    with pytest.raises(ValueError, match=r"no start .* init = 'mean'; use another init \(median, mean"):
        fit(impossible, GROUPS, np.ones(4), engine=engine, key=jax.random.key(0), draws=10)


def test_what_cannot_be_sampled_is_refused_in_one_line(line):
    options = {"key": line.key, "draws": 1000}
    with pytest.raises(ValueError, match=r"draws = 1001 do not divide among 4 chains; ask for 1000 or 1004"):
        fit(line, line.x, line.y, engine=NUTS(), key=line.key, draws=1001)
    with pytest.raises(ValueError, match=r"dense site 'slope' is no latent site"):
        fit(line, line.x, line.y, engine=NUTS(dense_sites=("slope",)), **options)
    with pytest.raises(ValueError, match="none of the 8 rows"):
        fit(line, line.x, np.full(8, np.nan), engine=NUTS(), **options)
    with pytest.raises(ValueError, match="y has 1 rows that are not finite"):
        fit(line, line.x, np.r_[line.y[:7], np.inf], engine=NUTS(), **options)
    with pytest.raises(
        ValueError, match="y has 1 rows that are not finite"
    ):  # no missing rows for other engines
        fit(line, line.x, np.r_[line.y[:7], np.nan], engine=Exact(), **options)


def test_a_start_outside_the_support_says_nothing_beside_the_refusal(monkeypatch):
    """NumPyro shows a warning of its own, past every filter of warnings that have been raised."""
    shown = []
    monkeypatch.setattr("warnings.showwarning", lambda message, *args, **options: shown.append(str(message)))

    def bounded(x, y=None):
        a = numpyro.sample("a", dist.LogNormal(0, 0.1))
        numpyro.sample("y", dist.Uniform(0, a).expand([x.shape[0]]), obs=y)

    engine = NUTS(chains=1, warmup=5)
    with pytest.raises(ValueError, match="no start with a finite density"):
        fit(bounded, np.zeros((3, 1)), np.full(3, 9.0), engine=engine, key=jax.random.key(0), draws=4)
    assert shown == []


def test_deterministic_sites_are_no_part_of_the_chain():
    def wide(x, y=None):
        a = numpyro.sample("a", dist.Normal(0, 1))
        numpyro.deterministic("large", a * jnp.ones((300, 300)))
        f = numpyro.deterministic("f", a * x[:, 0])
        numpyro.sample("y", dist.Normal(f, 1), obs=y)

    x, y = np.ones((3, 1)), np.zeros(3)
    engine, key = NUTS(chains=1, warmup=5), jax.random.key(0)
    chain = engine.sample(Conditioned.of(wide, x, y), key=key, draws=4, observations=3.0)
    assert set(chain.get_samples()) == {"a"}
    tree = fit(wide, x, y, engine=engine, key=key, draws=4)
    np.testing.assert_array_equal(tree["posterior"]["a"][0], chain.get_samples()["a"])
    assert "large" not in tree["posterior"]
    assert "'large' of 90000 entries is not stored" in tree.attrs["notes"]
