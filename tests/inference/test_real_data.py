"""The scripts on real data at toy size: printed numbers against algebra by hand and statsmodels."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from brg_prob import compare, load_run
from brg_prob.headlines import SAMPLED
from inference import _models_page, bayesian_network, hierarchical, logistic_regression, poisson_regression
from inference._models_figures import Figures, Scales

SCRIPTS = {
    "logistic": logistic_regression,
    "poisson": poisson_regression,
    "hierarchical": hierarchical,
    "network": bayesian_network,
}
_done = {}


def finished(name, tmp_path_factory):
    """Return the study, the stored tree and summary, and what was printed, of one small run of a script."""
    if name not in _done:
        script, folder, kept = SCRIPTS[name], tmp_path_factory.mktemp(name), []
        with pytest.MonkeyPatch.context() as patch:
            printed, ran = [], _models_page.ran
            patch.setattr("builtins.print", lambda *t, **o: None if o else printed.append(*t))
            # sampling anew at T is a second program for each model: once is enough
            few = {} if name == "logistic" else {"scales": 1}
            patch.setattr(_models_page, "ran", lambda *a, **o: kept.append(ran(*a, **o | few)) or kept[0])
            assert script.main(["--small", "--out", str(folder), "--seed", "1"]) == 0
        loaded = load_run(folder)
        assert loaded.summary == json.loads(json.dumps(kept[0].summary))
        with pytest.raises(ValueError, match="run 'it' holds draws of all latent sites"):
            compare({"it": loaded})
        assert "What the data determine" in (folder / "report.html").read_text(encoding="utf-8")
        assert printed[0].startswith((folder / _models_page.PAGE).read_text(encoding="utf-8"))
        _done[name] = (script.study(True), loaded.tree, printed[0], loaded.summary)
    return _done[name]


def numbers(printed, label):
    """Return the numbers of a printed row, all lines of it."""
    row = re.search(rf"^{label} +(.*(?:\n {{24}}.*)*)", printed, re.MULTILINE)[1]
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", row)]


def design(study, scales):
    kept = ~study.held_out
    return np.column_stack([np.ones(kept.sum()), study.x[kept]]) * scales, study.y[kept]


def mean_of(tree, scales):
    """Posterior mean in standard-normal coordinates, and its draws, intercept first."""
    parts = [tree["posterior"][name].values.reshape(200, -1) for name in ("intercept", "slope")]
    draws = np.column_stack(parts) / scales
    return draws.mean(axis=0), draws


def check_flow(tree, eigenvalues):
    """The table by scale: effective parameters by T6, losses from 0, the field's mean by its definition."""
    scales = vars(Scales.of(tree))
    signal = scales["observations"][:, None] * eigenvalues
    np.testing.assert_allclose(scales["effective"], np.sum(signal / (1 + signal), axis=1), rtol=1e-6)
    assert scales["loss"][0] == scales["missed"][0] == 0
    assert np.isfinite(scales["loss"]).all()
    assert np.isfinite(scales["p_value"]).tolist() == [False, True, True]
    means = [branch["flow"]["field_mean"].values[1] for branch in (tree, tree["tempering"])]
    off = (means[0] - means[1]) / tree["tempering"]["flow"]["field_sd"].values[1]
    assert scales["missed"][1] == pytest.approx(math.sqrt(np.mean(off**2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "poisson"])
def test_regressions_agree_with_algebra_by_hand_and_with_statsmodels(name, tmp_path_factory):
    study, tree, printed, summary = finished(name, tmp_path_factory)
    network = study.network
    scales = np.array([network.intercept_scale] + network.dim * [network.slope_scale])
    matrix, y = design(study, scales)
    mean, draws = mean_of(tree, scales)
    family = sm.families.Binomial() if name == "logistic" else sm.families.Poisson()
    weight = {"logistic": lambda f: 1 / (2 + 2 * np.cosh(f)), "poisson": np.exp}[name]
    eigenvalues = np.linalg.eigvalsh(matrix.T @ (weight(matrix @ mean)[:, None] * matrix) / len(y))[::-1]
    np.testing.assert_allclose(summary["fisher"]["eigenvalues"], eigenvalues, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(numbers(printed, "eigenvalues")[:4], eigenvalues[:4], rtol=6e-3)
    gain = len(y) * eigenvalues / (1 + len(y) * eigenvalues)
    assert numbers(printed, "effective parameters")[0] == pytest.approx(gain.sum(), abs=6e-3)
    # the mode of the posterior by statsmodels: a ridge of weight 1 per coefficient in these units
    model = sm.GLM(y, matrix, family=family)
    mode = model.fit_regularized(alpha=1 / len(y), L1_wt=0.0).params
    curvature = matrix.T @ (weight(matrix @ mode)[:, None] * matrix) + np.eye(len(mode))
    covariance = np.linalg.inv(curvature)
    distance = (mean - mode) @ curvature @ (mean - mode)
    # Monte-Carlo error of a hundred effective draws and, at most, a third of a deviation of skewness each
    assert distance < 2 * len(mode) * (1 / 50 + 1 / 9)
    ratio = np.linalg.eigvalsh(np.cov(draws.T) @ curvature).real
    assert 0.5 < np.median(ratio) < 2
    assert ("held against nothing" in printed) == (name == "poisson")
    # negative control: the unregularised fit is another point where directions are sloppy
    if name == "logistic":
        check_flow(tree, eigenvalues)
        free = model.fit().params
        assert (free - mode) @ curvature @ (free - mode) > 2 * len(mode) * (1 / 50 + 1 / 9)
    assert covariance.shape == (len(mode), len(mode))


@pytest.mark.slow
def test_what_is_said_of_diffusion_follows_the_checks_of_the_run(tmp_path_factory):
    study, tree, printed, summary = finished("logistic", tmp_path_factory)
    figures = Figures.of(tree, study)
    assert figures.teaches()[-1] in " ".join(printed.split())
    state = summary["flow_against_theory"]["state"]
    assert f"verdict on diffusion {state}" in " ".join(printed.split())

    def said(p_value, verdict):
        own = {"verdict": verdict, "smallest_detectable": 0.2}
        rows = [row | own if row["name"] in SAMPLED else row for row in figures.checks]
        scales = replace(figures.scales, p_value=np.array([math.nan, *p_value]))
        return replace(figures, scales=scales, checks=rows).teaches()[-1]

    second, third = (f"{scale:.3g}" for scale in figures.scales.observations[1:])
    # Holm: the larger p-value is held against the level itself, not against half of it
    assert f"told apart at T = {second}, {third} (" in said([0.001, 0.02], "inconsistent")
    assert f"told apart at T = {second} (" in said([0.012, 0.03], "inconsistent")
    assert "only tempering is to be trusted" in said([0.012, 0.03], "inconsistent")
    assert re.search("told apart at no scale .*: diffusion will do", said([0.015, 0.03], "consistent"))
    assert re.search("no scale .* stays open, as a shift below 0.20", said([0.015, 0.03], "undetermined"))


@pytest.mark.slow
def test_lines_are_pooled_and_the_columns_of_the_page_hold(tmp_path_factory):
    study, tree, printed, summary = finished("hierarchical", tmp_path_factory)
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    # the likelihood depends on lines and noise only: mean and spread of both laws leave four null directions
    spectrum = summary["fisher"]["eigenvalues"]
    assert spectrum[-4:] == [0.0] * 4 and spectrum[-5] > 0
    assert "eigenvalues" in printed and numbers(printed, "eigenvalues")[-1] == 4
    assert numbers(printed, "parameters") == [2 * study.network.groups + 5]
    slopes = tree["posterior"]["slope"].values.reshape(200, -1).mean(axis=0)
    kept = ~study.held_out
    alone = []
    for group in range(study.network.groups):
        rows = kept & (study.x[:, 0] == group)
        centred = study.x[rows, 1] - study.x[rows, 1].mean()
        alone.append(centred @ study.y[rows] / (centred @ centred))
    assert numbers(printed, "pooling")[0] == pytest.approx(100 * (1 - slopes.std() / np.std(alone)), abs=0.6)
    learnt = tree["parameters"]["contraction"].values.sum()
    assert numbers(printed, "effective parameters")[1] == pytest.approx(learnt, abs=6e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning:arviz_stats")
def test_the_metric_at_the_mean_of_symmetric_weights_is_smaller_than_over_draws(tmp_path_factory):
    _, tree, printed, _ = finished("network", tmp_path_factory)
    over, at_mean = (numbers(printed, "metric over draws")[at] for at in (0, -1))
    assert over > at_mean
    assert at_mean == pytest.approx(numbers(printed, "effective parameters")[0])
    logs = tree["log_likelihood"]["y"].values.reshape(200, -1)
    used = (logs**2).mean(axis=0) - logs.mean(axis=0) ** 2
    assert numbers(printed, "used in prediction")[0] == pytest.approx(used.sum() * 200 / 199, abs=6e-3)
    share = (tree["posterior"]["A"].values.reshape(200, -1) > 0).mean(axis=0)
    assert numbers(printed, "signs of the readout")[1] == pytest.approx(
        100 * np.abs(share - 0.5).max(), abs=0.6
    )


def test_every_word_printed_of_the_data_comes_from_them():
    study = logistic_regression.study(True)
    assert study.in_words("0.71·slope[1] − 0.70·slope[0]") == "0.71·mean texture − 0.70·mean radius"
    pairs, every = logistic_regression.collinear(study.x)
    assert (pairs, every) == (3, 15)  # radius, perimeter and area
    assert poisson_regression.dispersion(np.array([0.0, 2.0, 4.0]), np.log([2.0, 2.0, 2.0]), 1) == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--draws", "150"], "--draws 150 must be at least 100, and a multiple of the 4 chains"),
        (["--draws", "40"], "--draws 40 must be"),
        (["--seed", "-1"], "--seed -1 is out of range"),
        (["--out", "/dev/null/x"], "cannot write in '/dev/null'; choose another --out"),
        (["--out", str(Path(__file__).parent)], "is not a run folder and is not empty; choose another --out"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        logistic_regression.main(options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_package_is_named_with_its_remedy(capsys, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(SystemExit) as stopped:
        bayesian_network.main(["--small"])
    assert stopped.value.code == 2
    assert "pip install statsmodels" in capsys.readouterr().err.splitlines()[-1]
