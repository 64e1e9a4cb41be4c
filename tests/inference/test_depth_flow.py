"""The depth script at toy size: its rates and fields by independent recursions, its folder, its bad input."""

import json
import math
import re

import numpy as np
import pytest
from scipy import optimize, special, stats

from inference import _depth_draws, _depth_field, _depth_finite, _depth_phases, depth_flow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder, what was printed, and summary.json of one small run."""
    folder = tmp_path_factory.mktemp("run") / "new" / "out"
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *text, **options: None if options else printed.append(*text))
        assert depth_flow.main(["--small", "--out", str(folder), "--seed", "1"]) == 0
    return folder, "\n".join(printed), json.loads((folder / "summary.json").read_text())


# --- independent recursions, in numpy -------------------------------------------------------------


def relu_map(c):
    """E[φφ] of unit variances times 2 (Cho and Saul)."""
    return (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi


def erf_dual(a, b, c):
    """E[erf erf] (Williams)."""
    return 2 / np.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * a) * (1 + 2 * b)))


def erf_flow(weight, bias, layers):
    """K* and correlations of two inputs, at first orthogonal."""
    k = optimize.brentq(lambda k: bias + weight * erf_dual(k, k, k) - k, 1e-6, 50, xtol=1e-15)
    c = [0.0]
    for _ in range(layers):
        c.append((bias + weight * erf_dual(k, k, c[-1] * k)) / k)
    return k, np.array(c)


def phase_of(run, activation, phase):
    phases = next(each["phases"] for each in run[2]["phases"] if each["activation"] == activation)
    return next(each for each in phases if each["phase"] == phase)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["ordered", "chaotic"])
def test_correlations_decay_at_the_slope_of_the_map(run, phase):
    found = phase_of(run, "erf", phase)
    k, c = erf_flow(found["weight_variance"], found["bias_variance"], 300)
    assert found["variance"] == pytest.approx(k, rel=1e-10)
    np.testing.assert_allclose(found["correlation"][:41], c[:41], atol=1e-10)
    fixed = c[-1]
    assert found["fixed_correlation"] == pytest.approx(fixed, abs=1e-9)
    window = np.flatnonzero((fixed - c > 1e-8) & (fixed - c < 1e-4))
    rate = math.exp(np.polyfit(window, np.log(fixed - c[window]), 1)[0])
    assert found["correlation_decay"]["formula"] == pytest.approx(rate, rel=1e-4)
    for decay in (found["correlation_decay"], found["variance_decay"]):
        assert abs(decay["measured"] - decay["formula"]) <= decay["bound"] < 1e-2
    chi = found["weight_variance"] * 4 / np.pi / np.sqrt(1 + 4 * k)  # σ_w²⟨φ′²⟩
    assert found["perpendicular"] == pytest.approx(chi, rel=1e-9)
    assert (chi < 1) == (phase == "ordered")
    # negative control: χ_⊥ is not the rate at c* < 1, and the bound would tell
    if phase == "chaotic":
        assert abs(found["correlation_decay"]["measured"] - chi) > 100 * found["correlation_decay"]["bound"]


@pytest.mark.slow
def test_critical_correlations_approach_one_as_powers_of_the_depth(run):
    c, ease = 0.0, []
    for _ in range(300):
        ease.append(1 - c)
        c = relu_map(c)
    found = phase_of(run, "relu", "critical")
    assert found["weight_variance"] == pytest.approx(2)
    critical = found["critical"]
    np.testing.assert_allclose(
        critical["ease"][:-1], np.array(ease)[np.array(critical["layers"][:-1]) - 1], rtol=1e-8
    )
    assert critical["coefficient"]["formula"] == pytest.approx(2 * math.sqrt(2) / (3 * math.pi))
    erf = phase_of(run, "erf", "critical")
    k, weight = erf["variance"], erf["weight_variance"]
    second = stats.norm(scale=math.sqrt(k)).expect(  # ⟨φ″²⟩
        lambda z: (4 * z / math.sqrt(math.pi) * math.exp(-(z**2))) ** 2, lb=-10, ub=10
    )
    assert erf["critical"]["coefficient"]["formula"] == pytest.approx(weight * k * second / 2, rel=1e-7)
    for each, exponent in ((critical, -2), (erf["critical"], -1)):
        assert each["exponent"]["formula"] == exponent
        for rate in (each["exponent"], each["coefficient"]):
            assert abs(rate["measured"] - rate["formula"]) <= rate["bound"]
        # the other class is told apart
        assert abs(each["exponent"]["measured"] - (-3 - exponent)) > each["exponent"]["bound"]


def test_kernels_by_depth_are_those_of_a_recursion():
    x = np.random.default_rng(0).normal(size=(6, 3))
    every = _depth_field.kernels_by_depth(_depth_phases.Setting("erf", "chaotic", 1.7, 0.2, 1.0), x, 3)
    k = 0.2 + 1.7 * x @ x.T / 3
    assert len(every) == 3
    for kernel in every:
        k = 0.2 + 1.7 * erf_dual(np.diag(k)[:, None], np.diag(k)[None, :], k)
        np.testing.assert_allclose(kernel, k, rtol=1e-10)


# --- fields on the record ---------------------------------------------------------------------------


@pytest.mark.slow
def test_spectra_and_scores_by_dense_algebra(run):
    record = _depth_field.read_record(2)
    n, held_out = len(record.y), len(record.y_held_out)
    assert (n, held_out) == (run[2]["data"]["n"], run[2]["data"]["held_out"]) and n > 80
    np.testing.assert_allclose(record.x.mean(axis=0), 0, atol=1e-12)
    assert record.y.std() == pytest.approx(1)
    for each in (e for e in run[2]["fields"] if e["activation"] == "erf"):
        weight, bias = each["weight_variance"], each["bias_variance"]
        k = bias + weight * record.inputs @ record.inputs.T / 12
        for _ in range(2):  # L = 2
            k = bias + weight * erf_dual(np.diag(k)[:, None], np.diag(k)[None, :], k)
        at = each["depths"].index(2)
        inverse = np.linalg.inv(k[:n, :n] + 0.7**2 * np.eye(n))
        assert each["effective_dimension"][at][0] == pytest.approx(np.trace(k[:n, :n] @ inverse), rel=1e-8)
        rows = slice(n, n + held_out)
        mean = k[rows, :n] @ inverse @ record.y
        variance = np.diag(k[rows, rows] - k[rows, :n] @ inverse @ k[:n, rows])
        score = stats.norm.logpdf(record.y_held_out, mean, np.sqrt(variance + 0.7**2)).mean()
        assert each["score"][at] == pytest.approx(score, rel=1e-8)


@pytest.mark.slow
def test_deep_spectra_collapse_or_turn_white(run):
    deep = {(e["activation"], e["phase"]): e for e in run[2]["fields"]}
    n = run[2]["data"]["n"]
    ordered, critical, chaotic = (deep["erf", p] for p in ("ordered", "critical", "chaotic"))
    dimension = [each["effective_dimension"][-1][0] for each in (ordered, critical, chaotic)]
    assert dimension[0] < 2 < dimension[1] < dimension[2]
    assert ordered["kept"][-1][0] == 1 and chaotic["kept"][-1][0] == n
    limit = chaotic["limit"]
    k, c = erf_flow(chaotic["weight_variance"], chaotic["bias_variance"], 400)
    signal = np.full(n, k * (1 - c[-1]) / 0.49)
    signal[0] += n * k * c[-1] / 0.49
    assert limit["effective_dimension"] == pytest.approx(np.sum(signal / (1 + signal)), rel=1e-8)
    decay = ordered["limit"]
    assert abs(decay["decay"] - decay["decay_formula"]) <= decay["decay_bound"]


@pytest.mark.slow
def test_draws_follow_the_exact_flow_and_another_depth_is_rejected(run):
    for each in run[2]["draws"]:
        assert each["p_value"] > 1e-3 and each["control_p_value"] < 1e-6
        assert each["fisher_error"] < 1e-12 and each["smallest_detectable"] < 0.06


def test_the_depths_of_the_draws():
    assert _depth_draws.check_depths((1, 2, 4, 8)) == (1, 4)
    assert _depth_draws.check_depths((16, 32)) == (16, 17)


# --- finite width -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_finite_width_corrections(run):
    widths, sampled = run[2]["widths"], run[2]["cumulant"]
    for key, exponent in (("mean_slope", -1), ("single_slope", -0.5)):
        value, error = widths[key]
        assert abs(value - exponent) < 3.5 * error < 0.12
    assert abs(widths["control_slope"][0] + 1) > 10 * widths["control_slope"][1]
    # T3 at one point by Gauss-Hermite, for z of variance σ_b² + σ_w² x²
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    phi = special.erf(math.sqrt(0.1 + 1.5 * 0.25) * nodes)
    second, fourth = (np.average(phi**power, weights=weights) for power in (2, 4))
    assert sampled["exact"][0] == pytest.approx(3 * 1.5**2 / 10 * (fourth - second**2), rel=1e-6)
    assert sampled["p_value"] > 1e-3 > 1e3 * sampled["control_p_value"]


def test_a_distance_and_its_error():
    found = _depth_finite._distance(type("D", (), {"value": 0.5, "square": 0.25, "square_se": 0.1}))
    assert found["se"] == pytest.approx(0.1)


# --- what is printed and written --------------------------------------------------------------------


@pytest.mark.slow
def test_the_table_fits_and_nothing_differs(run):
    lines = run[1].splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last one is a path
    for chapter in run[2]["chapters"]:
        assert chapter["title"] in lines
        for finding in chapter["findings"]:
            assert finding["measured"] and finding["formula"]
            assert finding["verdict"] in ("agrees", "limit", "measured"), finding


@pytest.mark.slow
def test_the_page_stands_alone_in_colours_that_are_defined(run):
    text = (run[0] / "report.html").read_text(encoding="utf-8")
    assert text.count("<figure") == text.count('role="img"') == 6
    assert "<script" not in text and "@import" not in text
    used, defined = (set(re.findall(p, text)) for p in (r"var\((--[\w-]+)\)", r"(--[\w-]+):"))
    assert used <= defined
    assert all(link.startswith(("#", "data:")) for link in re.findall(r'(?:src|href)="([^"]*)"', text))


def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for given, said in (
        (["--depths", "0"], "--depths 0"),
        (["--depths", "1,two"], "--depths 1,two"),
        (["--depths", "1,1000"], "--depths 1,1000"),
        (["--activations", "rleu"], "did you mean 'relu'"),
        (["--activations", "leaky_relu(x)"], "leaky_relu"),
        (["--seed", "-1"], "--seed -1"),
        (["--out", str(tmp_path / "file")], "name a folder"),
        (["--large"], "--large"),
    ):
        with pytest.raises(SystemExit) as stop:
            depth_flow.main(given)
        assert stop.value.code == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert "error" in last and said in last
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_settings_of_other_activations():
    assert [s.phase for s in _depth_phases.settings_of("leaky_relu(0.2)")] == ["ordered", "critical"]
    assert [s.phase for s in _depth_phases.settings_of("sign")] == ["chaotic"]
