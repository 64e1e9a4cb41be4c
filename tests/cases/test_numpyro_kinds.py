"""Models of the kinds that people write: each is read and rehearsed; a few run whole, more in the exam.

They are held against plain NumPyro, closed forms and quadrature.
"""

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import arviz as az
import jax
import numpy as np
import pytest
from numpyro.infer import log_likelihood
from scipy import stats

import brg_prob
from brg_prob.data_record import Record
from brg_prob.network import Conditioned
from brg_prob.posterior import NUTS, Laplace, rehearse
from brg_prob.transform import Standardisation

_SPEC = importlib.util.spec_from_file_location("kinds", Path(__file__).parent / "kinds.py")
kinds = sys.modules["kinds"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kinds)
KINDS = kinds.KINDS

DRAWS = 400
STACKS = ("x", "X", "data")
SAMPLED = NUTS(chains=2, warmup=150)


def bound(kind):
    table = {name: list(v) if isinstance(v[0], str) else np.asarray(v) for name, v in kind.table.items()}
    return brg_prob.bind(table, kind.model, target=kind.target, **kind.options)


def called(kind):
    """Return the arguments of the model, taken from the table by hand."""
    targets = (kind.target,) if isinstance(kind.target, str) else kind.target
    table, names = dict(kind.table), list(inspect.signature(kind.model).parameters)
    found = dict(kind.options)
    for name in names:
        if name in table and name not in STACKS:
            found[name] = np.asarray(table[name])
        elif name.endswith("_idx"):
            found[name] = np.unique(table.pop(name.removesuffix("_idx")), return_inverse=True)[1]
    rest = [np.asarray(v, float) for name, v in table.items() if name not in (*found, *targets)]
    if rest:
        found[next(name for name in STACKS if name in names)] = np.column_stack(rest)
    if not set(targets) & set(found):
        y = np.column_stack([table[name] for name in targets])
        found[next(n for n in ("y", "Y", "obs") if n in names)] = y if len(targets) > 1 else y[:, 0]
    if kind.shape[1:] == (1,):  # this model's targets are a column
        found["Y"] = found["Y"][:, None]
    return found


def ran(name, engine, **options):
    kind = KINDS[name]
    data = bound(kind)
    record = Record(
        source=f"{name}.csv",
        inputs=data.inputs,
        targets=data.target,
        levels=data.levels,
        preparation=Standardisation.identity(data.x.shape[1], data.y),
    )
    options = {"draws": DRAWS, "scales": 2, "second": None} | options
    return brg_prob.run(
        data.network, data.x, data.y, key=jax.random.key(0), engine=engine, record=record, **options
    )


# --- every kind ----------------------------------------------------------------------------------


FEW = {"meta_analysis": Laplace(), "two_outcomes": Laplace(), "censored": SAMPLED, "gp_marginal": SAMPLED}
MORE = {
    "bayesian_network": Laplace(),
    "ordinal": Laplace(),
    "recapture": SAMPLED,
    "subsampled_logistic": SAMPLED,
    "autoregression": Laplace(),
    "eight_schools": Laplace(),
    "robust": Laplace(),
    "errors_in_variables": Laplace(),
}
WHOLE = FEW | MORE
RUN = [*FEW, *(pytest.param(name, marks=pytest.mark.exam) for name in MORE)]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_and_rehearsed(name):
    kind = KINDS[name]
    data = bound(kind)
    conditioned = Conditioned.of(data.network, data.x, data.y)
    reading = conditioned.reading
    assert conditioned.sites.field_shape == kind.shape
    assert conditioned.n == kind.shape[0] == len(conditioned.inputs)
    assert conditioned.latent_by_row == kind.by_row
    assert (bool(reading.joint), bool(reading.mixed)) == (kind.joint, kind.mixed)
    assert reading.notes == kind.notes
    if name not in FEW:  # those are rehearsed when they run
        found = rehearse(conditioned, NUTS(), draws=DRAWS)
        assert (found.no_metric == "") == kind.metric
        assert found.no_transport == ""


# --- a few, whole --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs():
    return {}


@pytest.mark.parametrize("name", RUN)
def test_a_run_has_numpyros_likelihood_its_rows_and_a_report(name, runs, tmp_path):
    kind = KINDS[name]
    run = runs[name] = ran(name, WHOLE[name])
    tree, n = run.tree, kind.shape[0]
    assert tree.attrs["n"] == n
    assert tree["posterior"]["f"].shape[2:] == kind.shape
    said, further = np.split(np.array(run.summary["notes"], dtype=object), [len(kind.notes)])
    assert tuple(said) == kind.notes
    assert [note.partition(":")[0] for note in further] == (
        [] if kind.metric else ["diffusion cannot be done"]
    )
    assert run.summary["flow"]["scheme"] == ("diffusion" if kind.metric else "tempering")
    nothing = "none"  # their chances are nothing to stand beside the data, as a factor has no mean
    assert (tree["record"].attrs["shown"] == nothing) == (name in ("ordinal", "censored"))
    if kind.plated:
        sites = json.loads(tree.attrs["sites"])
        draws = {site: tree["posterior"][at].values[0, :3] for at, site in sites.items()}
        plain = log_likelihood(kind.model, draws, parallel=True, **called(kind))
        for site, expected in plain.items():
            found = tree["log_likelihood"][site].values[0, :3]
            np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-9, atol=1e-12)
            assert found.shape == (3, n)
    page = (run.save(tmp_path / "run") / "report.html").read_text(encoding="utf-8")
    assert "What the data determine" in page
    assert all(note.split("'")[0] in page for note in kind.notes)


def agrees(draws, mean, sd):
    """Return whether draws (chain, draw) have this mean and standard deviation, within 5 standard errors."""
    ess = float(az.ess(draws)) if draws.shape[0] > 1 else draws.size
    near = abs(draws.mean() - mean) < 5 * sd / np.sqrt(ess)
    return bool(near and abs(draws.std() / sd - 1) < 5 / np.sqrt(2 * min(ess, draws.size)) + 0.05)


def moments(axes, log_density):
    """Return mean and standard deviation along each axis of a density on a grid."""
    grid = np.meshgrid(*axes, indexing="ij")
    weight = log_density(*grid)
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    means = [np.sum(weight * at) for at in grid]
    return [(m, np.sqrt(np.sum(weight * (at - m) ** 2))) for m, at in zip(means, grid, strict=True)]


def normal(at):
    return stats.norm.logpdf(at)


def by_closed_form_meta_analysis():
    t = KINDS["meta_analysis"].table
    precision = 1 + np.sum(t["se"] ** -2.0)
    return {"mu": (np.sum(t["effect"] / t["se"] ** 2) / precision, precision**-0.5)}, {"mu": (0, 1)}


def by_quadrature_recapture():
    t = {name: np.array(v)[:, None] for name, v in KINDS["recapture"].table.items()}
    z = np.linspace(-3, 9, 2001)
    chance = t["first"] / (t["first"] + t["second"] + np.exp(z))
    logp = stats.norm.logpdf(z, 3, 1) + stats.binom.logpmf(t["seen_twice"], t["second"], chance).sum(0)
    return {"log_extra": moments([z], lambda _: logp)[0]}, {"log_extra": (3, 1)}


def by_quadrature_subsampled_logistic():
    t = KINDS["subsampled_logistic"].table

    def logp(a, b):
        logits = a[..., None] * t["x1"] + b[..., None] * t["x2"]
        yes = -np.logaddexp(0, np.where(t["obs"], -logits, logits))
        return normal(a) + normal(b) + yes.sum(-1)

    first, second = moments([np.linspace(-5, 5, 301)] * 2, logp)
    return {"theta[0]": first, "theta[1]": second}, {"theta[0]": (0, 1), "theta[1]": (0, 1)}


def by_quadrature_censored():
    t = {name: np.array(v) for name, v in KINDS["censored"].table.items()}

    def logp(a, b):
        scale = np.exp(a[..., None] + b[..., None] * t["age"])
        dead = stats.weibull_min.logpdf(t["months"], 1.5, scale=scale)
        alive = stats.weibull_min.logsf(t["months"], 1.5, scale=scale)
        return normal(a) + normal(b) + np.where(t["dead"], dead, alive).sum(-1)

    a, b = moments([np.linspace(-4, 5, 301)] * 2, logp)
    return {"a": a, "b": b}, {"a": (0, 1), "b": (0, 1)}


def by_quadrature_gp_marginal():
    t = KINDS["gp_marginal"].table
    squared = (t["t"][:, None] - t["t"]) ** 2
    axes = np.linspace(-4, 4, 81), np.linspace(-2, 2, 81)

    def logp(v, s):
        k = np.exp(v)[..., None, None] * np.exp(-0.5 * squared / np.exp(2 * s)[..., None, None])
        k = k + 0.05 * np.eye(len(squared))
        fit = np.einsum("i,...i", t["Y"], np.linalg.solve(k, t["Y"][:, None])[..., 0])
        return normal(v) + stats.norm.logpdf(s, 0, 0.5) - 0.5 * fit - 0.5 * np.linalg.slogdet(k)[1]

    v, s = moments(axes, logp)
    return {"log variance": v, "log length": s}, {"log variance": (0, 1), "log length": (0, 0.5)}


RIGHT = {
    "meta_analysis": by_closed_form_meta_analysis,
    "recapture": by_quadrature_recapture,
    "subsampled_logistic": by_quadrature_subsampled_logistic,
    "censored": by_quadrature_censored,
    "gp_marginal": by_quadrature_gp_marginal,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exam] * (name in MORE)) for name in RIGHT]
)
def test_the_posterior_is_the_right_one_and_not_the_prior(name, runs):
    run = runs[name] if name in runs else ran(name, WHOLE[name])
    right, prior = RIGHT[name]()
    posterior = run.tree["posterior"]

    def series(label):
        site, _, at = label.removeprefix("log ").partition("[")
        values = posterior[site].values
        values = values[..., int(at[:-1])] if at else values
        return np.log(values) if label.startswith("log ") else values

    for label, (mean, sd) in right.items():
        assert agrees(series(label), mean, sd), (label, mean, sd, series(label).mean(), series(label).std())
    assert not all(agrees(series(label), *moments) for label, moments in prior.items())
