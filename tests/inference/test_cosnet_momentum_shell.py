"""The momentum-shell script at toy size: its figures against T9, its folder, its page, its bad input."""

import html.parser
import json
import math

import jax
import numpy as np
import pytest
from scipy import stats

from inference import _momentum_shell, _page, cosnet_momentum_shell


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder, what was printed, and summary.json of one small run."""
    folder = tmp_path_factory.mktemp("run") / "new" / "out"
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *text, **options: None if options else printed.append(*text))
        assert cosnet_momentum_shell.main(["--small", "--out", str(folder), "--seed", "3"]) == 0
    return folder, "\n".join(printed), json.loads((folder / "summary.json").read_text())


# --- figures -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_lattice_shells_are_momentum_shells_without_exception(run):
    for lattice in run[2]["lattice"]:
        shells = lattice["shells"]
        assert lattice["eigenvalue_error"] < 1e-12
        assert shells["exceptions"] == 0 and shells["compared"] == 60 * lattice["modes"]
        assert min(shells["kept"]) == 0 and max(shells["kept"]) == lattice["modes"]
        # Λ′² = M_T² − m² written out, with the box and noise of each setting
        volume = {"d=1, L=10": 10.0, "d=2, L=5": 25.0}[lattice["setting"]]
        square = np.array(shells["observations"]) / (volume * 0.5**2) - 1
        expected = np.sqrt(np.clip(square, 0, {10.0: 14.0, 25.0: 5.0}[volume] ** 2))
        np.testing.assert_allclose(shells["predicted_cutoff"], expected, rtol=1e-12, atol=1e-12)


def test_a_shifted_momentum_shell_would_be_seen():
    box = _momentum_shell.Box(1, 10.0, 14.0, 64)
    momentum = np.abs(2 * math.pi / 10 * np.arange(-22, 23))
    eigenvalues = 1 / (momentum**2 + 1) / (10 * 0.25)
    assert _momentum_shell.count_exceptions(eigenvalues, momentum, box.theory)["exceptions"] == 0
    heavier = 1 / (momentum**2 + 1.1**2) / (10 * 0.25)
    assert _momentum_shell.count_exceptions(heavier, momentum, box.theory)["exceptions"] > 0


@pytest.mark.slow
def test_flowed_lattice_draws_are_the_exact_flow_of_both_schemes(run):
    verdicts = [verdict for lattice in run[2]["lattice"] for verdict in lattice["verdicts"].values()]
    assert len(verdicts) == 4 and "undetermined" not in verdicts
    # each errs with probability .05: three or more of four would be a one-in-2000 event
    assert verdicts.count("inconsistent") <= 2


@pytest.mark.slow
def test_running_mass_has_the_slope_of_the_formula(run):
    for lattice, volume in zip(run[2]["lattice"], (10.0, 25.0), strict=True):
        fit = lattice["running_mass"]
        assert fit["slope"]["formula"] == pytest.approx(1 / (volume * 0.5**2))
        assert fit["slope"]["p_value"] > 1e-4 and fit["intercept"]["p_value"] > 1e-4
        wrong = (fit["slope"]["value"] - 1 / (volume * 0.5)) / fit["slope"]["se"]  # σ instead of σ²
        assert stats.t.sf(abs(wrong), _momentum_shell.BATCHES - 1) < 1e-6


@pytest.mark.slow
def test_raw_cutoffs_are_momentum_cutoffs_within_a_percent(run):
    for box in run[2]["raw_units"]:
        assert box["width"] == 4096
        volume = 2 * box["cutoff"] if box["dim"] == 1 else math.pi * box["cutoff"] ** 2
        density = volume / (2 * math.pi) ** box["dim"]
        modes = box["length"] ** box["dim"] * density
        assert box["scale_ratio_formula"] == pytest.approx(modes / 4096)
        assert box["scale_ratio"] == pytest.approx(modes / 4096, rel=1e-3)
        for cut in box["cutoffs"]:
            momentum = math.sqrt(2 * density / (2 * 0.25 * cut["raw_cutoff"]) - 1)
            assert cut["formula"] == pytest.approx(momentum)
            assert cut["measured"] == pytest.approx(momentum, rel=0.01)


@pytest.mark.slow
def test_spectrum_approaches_the_continuum_with_the_width_down_to_the_boxs_error(run):
    small, large = run[2]["spectrum"]
    errors = [np.median(box["errors"], axis=1) for box in (small, large)]
    assert errors[1][0] > 3 * errors[1][-1]
    assert errors[1][0] > errors[0][0]  # at N = 125 the larger box is worse
    assert errors[1][-1] < errors[0][-1]  # at N = 32000 it is better
    for box, error in zip((small, large), errors, strict=True):
        assert error[-1] == pytest.approx(box["infinite_width"], rel=0.35)
    assert large["infinite_width"] < small["infinite_width"] / 2


@pytest.mark.slow
def test_draws_follow_the_networks_own_prediction_and_miss_the_continuum(run):
    for flow in run[2]["propagators"]:
        assert flow["p_values"]["finite width"] > 1e-4
        assert flow["p_values"]["finite width mean"] > 1e-4
        assert flow["verdicts"]["propagator"] == "inconsistent"
        assert flow["finite_size_deviation"] < 1.5 * flow["sampling_error"] < flow["continuum_deviation"]
    near, far = run[2]["propagators"]
    assert far["width"] / far["modes"] < near["width"] / near["modes"]
    assert far["continuum_deviation"] > near["continuum_deviation"]


@pytest.mark.slow
def test_relu_network_is_rejected_and_the_lattice_is_not(run):
    control = run[2]["control"]
    assert control["relu"]["rejected"] == control["seeds"]
    assert control["free"]["rejected"] <= stats.binom.ppf(1 - 1e-3, control["seeds"], 0.05)


@pytest.mark.slow
def test_rejection_rates_over_fifty_seeds():
    box, draws = cosnet_momentum_shell.SMALL.control, cosnet_momentum_shell.SMALL.control_draws
    found = _momentum_shell.measure_control(box, draws, 50, jax.random.key(11))  # programs of the run above
    assert found["relu"]["rejected"] > 0.95 * 50
    assert found["free"]["rejected"] <= stats.binom.ppf(1 - 1e-3, 50, 0.05)
    assert found["relu"]["low"] == pytest.approx(
        stats.beta.ppf(0.025, found["relu"]["rejected"], 51 - found["relu"]["rejected"])
    )


def test_relu_network_has_the_prior_variance_of_the_free_scalar():
    box = _momentum_shell.Box(1, 10.0, 14.0, 64)
    x = box.inputs - 5.0
    relu = _momentum_shell.relu_network(box.theory, x, width=4000)
    shapes, rng = jax.eval_shape(relu.sample_hidden, jax.random.key(0)), np.random.default_rng(0)
    features = np.asarray(relu.features(x, {k: rng.standard_normal(v.shape) for k, v in shapes.items()}))
    variance = np.sum(features**2, axis=1).mean()
    assert variance == pytest.approx(float(box.network().covariance([[0.0]], [[0.0]])[0, 0]), rel=0.05)


def test_effective_cutoff_parts_kept_from_dropped():
    size = np.array([0.1, 3.0, 1.0, 2.0])
    assert _momentum_shell.effective_cutoff(size, size < 1.5) == (1.5, 0)
    assert _momentum_shell.effective_cutoff(size, size < 0.0) == (0.05, 0)
    assert _momentum_shell.effective_cutoff(size, size < 9.0) == (3.0, 0)
    slow_one_lost = np.array([False, False, True, True])
    assert _momentum_shell.effective_cutoff(size, slow_one_lost) == (2.5, 1)


# --- what is printed and written -----------------------------------------------------------------


@pytest.mark.slow
def test_the_table_fits_a_terminal_and_shows_both_columns(run):
    lines = run[1].splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last one is a path
    for chapter in run[2]["chapters"]:
        assert chapter["title"] in lines
        for finding in chapter["findings"]:
            assert finding["measured"] and finding["formula"]
            assert finding["verdict"] in ("agrees", "differs", "undecided", "limit")


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.labels, self.figures, self.links, self.cells = [], 0, [], []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.figures += tag == "figure"
        if named.get("role") == "img":
            self.labels.append(named["aria-label"])
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.cells.append(data.strip())


@pytest.mark.slow
def test_the_page_stands_alone_and_holds_every_figure_with_an_alternative_text(run):
    text = (run[0] / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.figures == len(page.labels) == 4 and all(len(label) > 60 for label in page.labels)
    assert "<script" not in text and "@import" not in text
    assert all(link.startswith(("#", "data:")) for link in page.links)
    for chapter in run[2]["chapters"]:
        for finding in chapter["findings"]:
            assert finding["measured"] in page.cells and finding["quantity"] in page.cells
    assert "nan" not in " ".join(page.cells).lower().split()


def test_results_replace_older_ones_whole(tmp_path):
    _page.write_results(tmp_path, {"a": 1}, "old")
    with pytest.raises(ValueError, match="JSON"):
        _page.write_results(tmp_path, {"a": math.nan}, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "summary.json"]
    assert (tmp_path / "report.html").read_text() == "old"


def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for arguments in (["--seed", "-1"], ["--seed", "x"], ["--out", str(tmp_path / "file")], ["--large"]):
        with pytest.raises(SystemExit) as stop:
            cosnet_momentum_shell.main(arguments)
        assert stop.value.code == 2
        assert "error" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_numbers_in_tables():
    assert [_page.number(v) for v in (0.123456, 2.5e-14, 160.0, 12345.6)] == [
        "0.123",
        "2.5e-14",
        "160",
        "12346",
    ]
